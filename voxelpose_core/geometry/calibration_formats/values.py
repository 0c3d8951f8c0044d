"""What every reader needs: values that are checked as they are read, poses, coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.camera import Camera

ImageSize = tuple[int, int]


@dataclass(frozen=True)
class Calibration:
    """What a reader took from a file.

    Attributes:
        cameras: their positions in `unit`.
        unit: mm, cm or m; None where the format does not fix it.
        frame: name of the world frame.
        tool: overrides the description of the format, where the file tells more.
        notes: one line for each thing that was left out or assumed.
        axes: (3, 3) rotation from the file's world to that of `cameras`, where a reader turns it.
    """

    cameras: Sequence[Camera]
    unit: str | None
    frame: str = "world"
    tool: str | None = None
    notes: tuple[str, ...] = ()
    axes: np.ndarray = field(default_factory=lambda: np.eye(3))


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
        return float(np.asarray(value, dtype=np.float64).reshape(()))
    except (TypeError, ValueError):
        raise InputError(f"{what} is {_short(value)}, expected a number") from None


def numbers(value: Any, shape: tuple[int, ...], what: str) -> np.ndarray:
    """`value` as a float64 array of that shape (columns may come as rows), or an InputError."""
    try:
        return np.array(value, dtype=np.float64).reshape(shape)
    except (TypeError, ValueError):
        raise InputError(
            f"{what} is {_short(value)}, expected {'x'.join(map(str, shape))} numbers"
        ) from None


def parse_image_size(value: Any, what: str) -> ImageSize:
    """[width, height] in whole, positive pixels, or an InputError."""
    size = numbers(value, (2,), what)
    if not np.isfinite(size).all() or (size != np.round(size)).any() or (size <= 0).any():
        raise InputError(f"{what} is {_short(value)}, expected [width, height] in pixels")
    return int(size[0]), int(size[1])


def table(value: Any, where: str) -> dict[str, Any]:
    """`value` if it holds keys and values, or an InputError."""
    if not isinstance(value, dict):
        raise InputError(f"{where}: is {_kind(value)}, expected keys and values")
    return value


def matrix(value: Any, shape: tuple[int, ...], what: str) -> np.ndarray:
    """A matrix as plain numbers, or as OpenCV and ROS write it: rows, cols, data."""
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
    """Distortion coefficients in OpenCV's order, without zeros that a longer model ends in.

    Raises:
        InputError: no numbers, or OpenCV's thin prism or tilt, which `Camera` lacks.
    """
    given = matrix(value, (-1,), what)
    if len(given) == 0:
        return np.zeros(4 if fisheye else 5)
    for count in (4,) if fisheye else (5, 8):
        if len(given) > count and not given[count:].any():
            return given[:count]
    if len(given) > 8:
        raise InputError(f"{what} has thin prism or tilt terms, expected at most 8 coefficients")
    return given


def image_size_or(given: ImageSize | None, name: str) -> ImageSize:
    """The image size that the user gave, where a format does not hold it."""
    if given is None:
        raise InputError(
            f"camera '{name}': the image size is not in this format, give --image-size WxH"
        )
    return given


def _kind(value: Any) -> str:
    return "empty" if value is None else f"a {type(value).__name__}"


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 40 else text[:37] + "..."
