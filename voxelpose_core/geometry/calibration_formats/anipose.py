"""The TOML files of aniposelib and of what follows it: FreeMoCap, Pose2Sim, caliscope.

A table a camera: name, size, matrix, distortions, rotation (vector; caliscope: or matrix) and
translation of x = R X + t, and fisheye. caliscope keeps its tables in [cameras] and writes metres,
as Pose2Sim does; aniposelib and FreeMoCap use the unit of the calibration board. Every tool writes
`fisheye` where a lens is one. caliscope's rotation_count are the clockwise quarter turns after which
its detector sees an upright image; the calibration is of the images before that. 0 is also what it
writes where the view was not turned.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.calibration_formats.values import (
    CameraEntry,
    FileContents,
    ImageSize,
    Notes,
    center_of,
    coefficients,
    flag,
    number,
    numbers,
    parse_image_size,
    require,
    rotation,
)
from voxelpose_core.geometry.camera import Camera

DESCRIPTION = "TOML of aniposelib, FreeMoCap, Pose2Sim or caliscope"

_KEYS = {"matrix", "distortions", "size"}


def matches(document: Any) -> bool:
    return any(set(entry) >= _KEYS for entry in _entries(document).values())


def read(document: dict[str, Any], image_size: ImageSize | None) -> FileContents:
    notes = Notes()
    entries = [_entry(_name(key, table), table, notes) for key, table in _entries(document).items()]
    unit, tool = None, "TOML of aniposelib or Pose2Sim"
    if "cameras" in document:
        unit, tool = "m", "caliscope TOML"
    elif "charuco_square_size" in (document.get("metadata") or {}):
        tool = "FreeMoCap TOML"
    return FileContents(entries, unit, tool=tool, notes=notes)


def _entry(name: str, entry: dict[str, Any], notes: Notes) -> CameraEntry:
    def has(*keys: str) -> bool:
        # Without a value, caliscope writes a word, or nothing.
        return all(isinstance(entry.get(key), list) for key in keys)

    left_out = None
    if not has("matrix", "distortions"):
        left_out = "no lens values"
    elif not has("rotation", "translation"):
        left_out = "no pose"
    elif entry.get("ignore") is True:
        left_out = "the file says ignore"
    return CameraEntry(name, partial(_camera, name, entry, notes), left_out)


def _entries(document: Any) -> dict[str, dict[str, Any]]:
    if isinstance(document, dict) and isinstance(document.get("cameras"), dict):
        document = document["cameras"]
    if not isinstance(document, dict):
        return {}
    return {
        str(key): entry
        for key, entry in document.items()
        if isinstance(entry, dict) and not {"size", "matrix"}.isdisjoint(entry)
    }


def _name(key: str, entry: dict[str, Any]) -> str:
    return str(entry.get("name", key))


def _camera(name: str, entry: dict[str, Any], notes: Notes) -> Camera:
    where = f"camera '{name}'"
    fisheye = flag(entry.get("fisheye", False), f"{where}: fisheye")
    R = rotation(require(entry, "rotation", where), f"{where}: rotation")
    t = numbers(require(entry, "translation", where), (3,), f"{where}: translation")
    distortion = coefficients(require(entry, "distortions", where), fisheye, f"{where}: distortions")
    if "fisheye" not in entry and len(distortion) == 4 and distortion.any():
        notes.add(
            name,
            "four distortion coefficients and no key 'fisheye', read as k1, k2, p1, p2 of a "
            "pinhole lens: add fisheye = true if it is a fisheye",
        )
    return Camera(
        name,
        parse_image_size(require(entry, "size", where), f"{where}: size"),
        numbers(require(entry, "matrix", where), (3, 3), f"{where}: matrix"),
        distortion,
        R,
        center_of(R, t),
        fisheye=fisheye,
        quarter_turns=_quarter_turns(entry, where),
    )


def _quarter_turns(entry: dict[str, Any], where: str) -> int | None:
    turns = number(entry.get("rotation_count", 0), f"{where}: rotation_count")
    if not turns.is_integer():
        raise InputError(f"{where}: rotation_count is {turns:g}, expected whole quarter turns")
    return int(turns) % 4 or None
