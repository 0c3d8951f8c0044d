"""A rig: named, calibrated cameras and the space that they watch. Load, save, check."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from voxelpose_core.atomic_files import write_text
from voxelpose_core.errors import InputError
from voxelpose_core.geometry.calibration_formats import (
    UNITS_MM,
    Calibration,
    CameraEntry,
    check_names,
    coefficients,
    number,
    numbers,
    parse_image_size,
    read_calibration,
    read_document,
    require,
    select_entries,
)
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.space import Space

logger = logging.getLogger(__name__)

_FORMAT = "voxelpose_rig/1"
_RIG_KEYS = {"format", "name", "frame", "unit", "cameras", "space", "ground"}
_CAMERA_KEYS = {"name", "image_size", "K", "lens", "distortion", "R", "C", "quarter_turns", "time_offset_ms"}
_LENSES = ("pinhole", "fisheye")
# World frames of maps lie far from the ground; no floor lies farther.
_MAX_GROUND_MM = 1e6

_HEADER = """\
# A camera rig. Lengths in mm, world z up. A world point X is at x = R (X - C) in a camera:
# x right, y down, z forward.
#   image_size  width, height, pixels
#   K           intrinsic matrix, pixels, row by row
#   lens        pinhole, or fisheye (equidistant); pinhole where it is not given
#   distortion  in OpenCV's order: k1, k2, p1, p2, [k3, [k4, k5, k6]] of a pinhole;
#               k1, k2, k3, k4 of a fisheye
#   R           rotation from world to camera, row by row
#   C           camera centre in the world
#   quarter_turns  clockwise quarter turns that make the images upright; where it is not given, as R says
#   time_offset_ms  added to the stamps of the camera, so that those of all cameras agree; 0 where it
#               is not given
#   space       the box in which people are looked for: its centre, its edge lengths
#   ground      height of the floor on which people stand; 0 where it is not given
"""


@dataclass(frozen=True, eq=False)
class Rig:
    """Two or more cameras in one world frame.

    Attributes:
        cameras: the cameras, in the order of every view axis.
        space: the capture space, or None where it is to be proposed.
        name: the rig's name.
        frame: name of the world frame (the frame id of messages).
        source: in words, what the rig was read from.
        notes: one line for each thing that reading the calibration left out or assumed.
        ground: height z of the floor on which people stand, mm.
        unit: unit of the file that the rig was read from: mm, cm or m.
        axes: (3, 3) rotation from the file's world to the rig's, which is z up; for messages in
            the file's own axes.

    Raises:
        InputError: fewer than two cameras, two of one name, or a ground that is no finite number.
    """

    cameras: tuple[Camera, ...]
    space: Space | None = None
    name: str = "rig"
    frame: str = "world"
    source: str = ""
    notes: tuple[str, ...] = ()
    ground: float = 0.0
    unit: str = "mm"
    axes: np.ndarray = field(default_factory=lambda: np.eye(3))

    def __post_init__(self):
        object.__setattr__(self, "cameras", tuple(self.cameras))
        object.__setattr__(self, "ground", checked_ground(self.ground))
        if len(self.cameras) < 2:
            raise InputError(f"the rig has {len(self.cameras)} camera(s), expected at least 2")
        check_names(self.names)

    def __len__(self) -> int:
        return len(self.cameras)

    @property
    def names(self) -> tuple[str, ...]:
        """Camera names, in the order of the cameras."""
        return tuple(camera.name for camera in self.cameras)

    @property
    def time_offsets_ms(self) -> tuple[float, ...]:
        """What is added to the stamps of each camera, ms, in the order of the cameras."""
        return tuple(camera.time_offset_ms for camera in self.cameras)

    @property
    def has_time_offsets(self) -> bool:
        """Whether the stamps of any camera are moved."""
        return any(self.time_offsets_ms)

    def camera(self, name: str) -> Camera:
        """The camera of that name; InputError names the known ones."""
        for camera in self.cameras:
            if camera.name == name:
                return camera
        raise InputError(
            f"camera '{name}' is not in rig '{self.name}', expected one of {', '.join(self.names)}"
        )

    def select(self, names: Sequence[str]) -> Rig:
        """The rig of only these cameras, in this order."""
        return dataclasses.replace(self, cameras=tuple(self.camera(name) for name in names))

    def with_space(self, space: Space | None) -> Rig:
        """The same cameras with another capture space."""
        return dataclasses.replace(self, space=space)

    def with_time_offsets(self, offsets_ms: Sequence[float]) -> Rig:
        """The same cameras with these time offsets, ms, one per camera in the order of the rig.

        Raises:
            InputError: for another number of them than of cameras, or one that is no time offset.
        """
        if len(offsets_ms) != len(self):
            raise InputError(
                f"{len(offsets_ms)} time offsets given, expected one for each of the {len(self)} cameras "
                f"({', '.join(self.names)})"
            )
        cameras = (
            dataclasses.replace(camera, time_offset_ms=float(offset))
            for camera, offset in zip(self.cameras, offsets_ms)
        )
        return dataclasses.replace(self, cameras=tuple(cameras))

    def with_ground(self, ground: float) -> Rig:
        """The same cameras with the floor at another height, mm; the rig's space moves with it."""
        ground = checked_ground(ground)
        space = self.space
        if space is not None:
            space = Space(space.center + [0.0, 0.0, ground - self.ground], space.size)
        return dataclasses.replace(self, ground=ground, space=space)


def load_rig(
    path: str | Path,
    image_size: tuple[int, int] | None = None,
    unit: str | None = None,
    cameras: Sequence[str] | None = None,
) -> Rig:
    """Read a rig from our YAML or from another tool's calibration; the content tells which.

    Args:
        path: the file, or a folder of YAML files (ROS, EasyMocap). `Rig.source` says in words what
            it was taken for; so does the log.
        image_size: (width, height) of every camera, pixels, where the file does not say it.
        unit: mm, cm or m: the unit of another tool's file, where it is not what the tool writes or
            what the distance of the cameras tells.
        cameras: names of the cameras to read, in this order; faults of the others do not matter.
            None: all that the file has a calibration of; `Rig.notes` names those that are left out.

    Raises:
        InputError: one line that names the file, the camera and the key.
    """
    path = Path(path)
    document = read_document(path)
    try:
        if _is_rig(document):
            rig = _rig_from(document, path.stem, unit, cameras)
        else:
            taken = read_calibration(document, image_size, unit, cameras)
            _require_two(taken)
            rig = Rig(
                tuple(taken.cameras),
                None,
                path.resolve().name.split(".")[0],
                taken.frame,
                source=taken.tool,
                notes=taken.notes,
                unit=taken.unit,
                axes=taken.axes,
            )
        _require_image_size(rig, image_size)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    logger.info("%s: %d cameras, read as %s", path, len(rig), rig.source)
    return rig


def save_rig(rig: Rig, path: str | Path) -> None:
    """Write a rig as our YAML (mm; the file explains its fields). Numbers keep full precision.

    Raises:
        InputError: the file cannot be written.
    """
    document: dict[str, Any] = {
        "format": _FORMAT,
        "name": rig.name,
        "frame": rig.frame,
        "unit": "mm",
        "cameras": [_camera_entry(camera) for camera in rig.cameras],
    }
    if rig.space is not None:
        document["space"] = {
            "center": rig.space.center.tolist(),
            "size": rig.space.size.tolist(),
        }
    if rig.ground:
        document["ground"] = rig.ground
    body = yaml.safe_dump(document, sort_keys=False, default_flow_style=None, width=100)
    write_text(Path(path), _HEADER + body)


def _camera_entry(camera: Camera) -> dict[str, Any]:
    entry = {
        "name": camera.name,
        "image_size": list(camera.image_size),
        "K": camera.K.tolist(),
        "lens": _LENSES[camera.fisheye],
        "distortion": camera.distortion.tolist(),
        "R": camera.R.tolist(),
        "C": camera.C.tolist(),
    }
    if camera.quarter_turns is not None:
        entry["quarter_turns"] = camera.quarter_turns
    if camera.time_offset_ms:
        entry["time_offset_ms"] = camera.time_offset_ms
    return entry


def _is_rig(document: Any) -> bool:
    if not isinstance(document, dict):
        return False
    if str(document.get("format", "")).startswith("voxelpose_rig"):
        return True
    entries = document.get("cameras")
    return isinstance(entries, list) and any(
        isinstance(entry, dict) and "C" in entry and "name" in entry for entry in entries
    )


def _require_two(taken: Calibration) -> None:
    if len(taken.cameras) < 2 and taken.notes:
        raise InputError(
            f"has {len(taken.cameras)} camera(s) to use, expected at least 2 ({'; '.join(taken.notes[:3])})"
        )


def _rig_from(
    document: dict[str, Any], name: str, given_unit: str | None, names: Sequence[str] | None
) -> Rig:
    if document.get("format", _FORMAT) != _FORMAT:
        raise InputError(f"format is '{document['format']}', expected '{_FORMAT}'")
    _refuse_unknown(document, _RIG_KEYS, "the rig")
    unit = str(document.get("unit", "mm"))
    if unit not in UNITS_MM:
        raise InputError(f"unit is '{unit}', expected one of {', '.join(UNITS_MM)}")
    if given_unit not in (None, unit):
        raise InputError(f"unit is '{unit}', but '{given_unit}' was given")
    scale = UNITS_MM[unit]
    entries = require(document, "cameras", "the rig")
    if not isinstance(entries, list):
        raise InputError("cameras: expected a list of cameras")
    cameras = _read_cameras(entries, scale, names)
    space = None
    if document.get("space") is not None:
        space = _space_from(document["space"], scale)
    return Rig(
        cameras,
        space,
        str(document.get("name", name)),
        str(document.get("frame", "world")),
        source=f"rig YAML ({unit})",
        ground=_one_number(document.get("ground", 0.0), "ground") * scale,
        unit=unit,
    )


def _one_number(value: Any, what: str) -> float:
    if isinstance(value, list):
        raise InputError(f"{what} is {value}, expected a number")
    return number(value, what)


def _read_cameras(entries: Sequence[Any], scale: float, names: Sequence[str] | None) -> tuple[Camera, ...]:
    found = []
    for index, entry in enumerate(entries):
        name = _name_of(entry, index)
        found.append(CameraEntry(name, partial(_camera_from, name, entry, scale)))
    check_names([entry.name for entry in found])
    return tuple(entry.read() for entry in select_entries(found, names))


def _name_of(entry: Any, index: int) -> str:
    name = require(entry, "name", f"camera {index}")
    if not isinstance(name, str | int | float) or isinstance(name, bool) or not str(name).strip():
        raise InputError(f"camera {index}: name is {name!r}, expected a word")
    return str(name)


def _camera_from(name: str, entry: Any, scale: float) -> Camera:
    where = f"camera '{name}'"
    _refuse_unknown(entry, _CAMERA_KEYS, where)
    lens = entry.get("lens", "pinhole")
    if lens not in _LENSES:
        raise InputError(f"{where}: lens is '{lens}', expected {' or '.join(_LENSES)}")
    return Camera(
        name,
        parse_image_size(require(entry, "image_size", where), f"{where}: image_size"),
        numbers(require(entry, "K", where), (3, 3), f"{where}: K"),
        coefficients(require(entry, "distortion", where), lens == "fisheye", f"{where}: distortion"),
        numbers(require(entry, "R", where), (3, 3), f"{where}: R"),
        numbers(require(entry, "C", where), (3,), f"{where}: C") * scale,
        fisheye=lens == "fisheye",
        quarter_turns=entry.get("quarter_turns"),
        time_offset_ms=_one_number(entry.get("time_offset_ms", 0.0), f"{where}: time_offset_ms"),
    )


def checked_ground(value: Any) -> float:
    """A height of the floor, mm, as a number; InputError where it is none."""
    height = number(value, "ground")
    if not abs(height) <= _MAX_GROUND_MM:
        raise InputError(
            f"ground is {height:g} mm, expected the height of the floor within "
            f"{_MAX_GROUND_MM / 1000:g} m of z = 0"
        )
    return height


def _space_from(entry: Any, scale: float) -> Space:
    center = numbers(require(entry, "center", "space"), (3,), "space: center")
    size = numbers(require(entry, "size", "space"), (3,), "space: size")
    _refuse_unknown(entry, {"center", "size"}, "space")
    return Space(center * scale, size * scale)


def _refuse_unknown(entry: dict[str, Any], known: set[str], where: str) -> None:
    unknown = sorted(str(key) for key in set(entry) - known)
    if unknown:
        raise InputError(f"{where}: key '{unknown[0]}' is unknown, expected {', '.join(sorted(known))}")


def _require_image_size(rig: Rig, given: tuple[int, int] | None) -> None:
    for camera in rig.cameras:
        if given is not None and camera.image_size != tuple(given):
            raise InputError(
                f"camera '{camera.name}': its image size is "
                f"{camera.image_size[0]}x{camera.image_size[1]}, "
                f"but {given[0]}x{given[1]} was given"
            )
