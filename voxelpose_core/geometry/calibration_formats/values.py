"""What every reader needs: cameras read one by one, checked values, poses, coefficients."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.calibration_formats.documents import UnreadableFile
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.camera_info import distortion_coefficients

ImageSize = tuple[int, int]


# Of a list of names in one line.
_MOST_NAMES = 8
_LONGEST_NAME = 100


@dataclass(frozen=True)
class CameraEntry:
    """A camera of a file. It is read by itself, so that its faults stop no other camera.

    Attributes:
        name: the camera's name.
        read: the camera, its position in the unit of the file; raises InputError.
        left_out: why it is taken only where it is asked for by name, in words; None: it is taken.
    """

    name: str
    read: Callable[[], Camera]
    left_out: str | None = None


class Notes:
    """What reading left out or assumed: one line per remark, for all cameras that it is about."""

    def __init__(self) -> None:
        # Names as keys, in the order in which they came.
        self._cameras: dict[str, dict[str, None]] = {}

    def add(self, camera: str, remark: str) -> None:
        """Remember a remark about a camera."""
        self._cameras.setdefault(remark, {})[camera] = None

    def lines(self, cameras: Collection[str]) -> tuple[str, ...]:
        """The remarks about these cameras."""
        lines, wanted = [], set(cameras)
        for remark, names in self._cameras.items():
            about = [name for name in names if name in wanted]
            if about:
                lines.append(f"{cameras_in_words(about)}: {remark}")
        return tuple(lines)


def cameras_in_words(names: Sequence[str]) -> str:
    """Cameras by their names, in a line."""
    return f"camera{'s' * (len(names) > 1)} {listed([repr(name) for name in names])}"


@dataclass(frozen=True)
class FileContents:
    """What a reader found in a file.

    Attributes:
        entries: the cameras, in the order of the file.
        unit: mm, cm or m; None where the format does not fix it.
        frame: name of the world frame.
        tool: overrides the description of the format, where the file tells more.
        notes: filled as cameras are read.
        remarks: one line for each thing that was left out or assumed and is about no camera above.
        axes: (3, 3) rotation from the file's world to that of the cameras, where a reader turns it.
    """

    entries: Sequence[CameraEntry]
    unit: str | None
    frame: str = "world"
    tool: str | None = None
    notes: Notes = field(default_factory=Notes)
    remarks: tuple[str, ...] = ()
    axes: np.ndarray = field(default_factory=lambda: np.eye(3))


@dataclass(frozen=True)
class Calibration:
    """What was taken from a file.

    Attributes:
        cameras: in mm.
        unit: that of the file: mm, cm or m.
        frame: name of the world frame.
        tool: what it was read as, in words.
        notes: one line for each thing that was left out or assumed.
        axes: (3, 3) rotation from the file's world to that of `cameras`, where a reader turns it.
    """

    cameras: Sequence[Camera]
    unit: str
    frame: str
    tool: str
    notes: tuple[str, ...] = ()
    axes: np.ndarray = field(default_factory=lambda: np.eye(3))


def select_entries(entries: Sequence[CameraEntry], names: Sequence[str] | None) -> list[CameraEntry]:
    """The entries of these names, in their order; None: all that are not left out.

    Raises:
        InputError: a name is not in the file.
    """
    if names is None:
        return [entry for entry in entries if entry.left_out is None]
    by_name = {entry.name: entry for entry in reversed(entries)}
    for name in names:
        if name not in by_name:
            known = listed([entry.name for entry in entries])
            raise InputError(f"camera '{short(name)}' is not in the rig, expected one of {known}")
    return [by_name[name] for name in names]


def check_names(names: Sequence[str]) -> None:
    """InputError that names the first name that comes twice, or does not fit into a message."""
    seen: set[str] = set()
    for name in names:
        if len(name) > _LONGEST_NAME or not name.isprintable():
            raise InputError(
                f"camera {short(repr(name))}: expected a name of at most {_LONGEST_NAME} printable characters"
            )
        if name in seen:
            raise InputError(f"camera '{name}' appears twice, expected unique names")
        seen.add(name)


def require(entry: Any, key: str, where: str) -> Any:
    """`entry[key]`, or an InputError that names the key and the place."""
    if not isinstance(entry, dict):
        raise InputError(f"{where}: is {_kind(entry)}, expected keys and values")
    if key not in entry:
        raise InputError(f"{where}: key '{key}' is missing")
    return entry[key]


def number(value: Any, what: str) -> float:
    """`value` as a float, or an InputError that says what it is."""
    try:
        if isinstance(value, bool):
            raise TypeError
        return float(np.asarray(value, dtype=np.float64).reshape(()))
    except (TypeError, ValueError):
        raise InputError(f"{what} is {short(repr(value))}, expected a number") from None


def numbers(value: Any, shape: tuple[int, ...], what: str) -> np.ndarray:
    """`value` as a float64 array of `shape` (columns may come as rows).

    Raises:
        InputError: that begins with `what`, when it is not.
    """
    try:
        return np.array(value, dtype=np.float64).reshape(shape)
    except (TypeError, ValueError):
        count = "" if -1 in shape else "x".join(map(str, shape)) + " "
        raise InputError(f"{what} is {short(repr(value))}, expected {count}numbers") from None


def parse_image_size(value: Any, what: str) -> ImageSize:
    """[width, height] in whole, positive pixels, or an InputError."""
    size = numbers(value, (2,), what)
    if not np.isfinite(size).all() or (size != np.round(size)).any() or (size <= 0).any():
        raise InputError(f"{what} is {short(repr(value))}, expected [width, height] in pixels")
    return int(size[0]), int(size[1])


def table(value: Any, where: str) -> dict[str, Any]:
    """`value` if it holds keys and values, or an InputError: its own of a file that is not read."""
    if isinstance(value, UnreadableFile):
        raise value.error
    if not isinstance(value, dict):
        raise InputError(f"{where}: is {_kind(value)}, expected keys and values")
    return value


def matrix(value: Any, shape: tuple[int, ...], what: str) -> np.ndarray:
    """A float64 matrix of `shape`, from plain numbers or as OpenCV and ROS write it: rows, cols, data.

    Raises:
        InputError: as `numbers`.
    """
    return numbers(value.get("data") if isinstance(value, dict) else value, shape, what)


def intrinsic_matrix(fx: float, fy: float, cx: float, cy: float) -> np.ndarray:
    """(3, 3) K of focal lengths and principal point, pixels."""
    return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])


def rotation(value: Any, what: str) -> np.ndarray:
    """(3, 3) from a rotation matrix, or from a rotation vector (Rodrigues, radians)."""
    if np.size(value) == 3:
        return cv2.Rodrigues(numbers(value, (3,), what))[0]
    return numbers(value, (3, 3), what)


def center_of(R: np.ndarray, t: np.ndarray) -> np.ndarray:
    """(3,) camera centre of the world-to-camera transform x = R X + t."""
    return -np.asarray(R).T @ np.asarray(t)


def coefficients(value: Any, fisheye: bool, what: str) -> np.ndarray:
    """(N,) distortion coefficients in OpenCV's order, without zeros that a longer model ends in.

    Raises:
        InputError: no numbers, or OpenCV's thin prism or tilt, which `Camera` lacks.
    """
    return distortion_coefficients(matrix(value, (-1,), what), fisheye, what)


def flag(value: Any, what: str) -> bool:
    """`value` if it is true or false (or 1 or 0), or an InputError."""
    if value in (True, False):
        return bool(value)
    raise InputError(f"{what} is {short(repr(value))}, expected true or false")


def image_size_or(given: ImageSize | None, name: str) -> ImageSize:
    """(width, height) px that the user gave, where a format does not hold it.

    Raises:
        InputError: when none was given; says how to.
    """
    if given is None:
        raise InputError(f"camera '{name}': the image size is not in this format, give --image-size WxH")
    return given


def _kind(value: Any) -> str:
    return "empty" if value is None else f"a {type(value).__name__}"


def short(text: str) -> str:
    """What a file says, in a form that fits into a line."""
    text = " ".join(text[:200].split())
    return text if len(text) <= 40 else text[:37] + "..."


def listed(names: Collection[str]) -> str:
    """Names in a line: the first few, and how many more."""
    shown = ", ".join(short(name) for name in list(names)[:_MOST_NAMES])
    more = len(names) - _MOST_NAMES
    return shown if more <= 0 else f"{shown} and {more} more"
