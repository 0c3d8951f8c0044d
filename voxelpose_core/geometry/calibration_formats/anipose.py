"""The TOML files of aniposelib and of what follows it: FreeMoCap, Pose2Sim, caliscope.

A table a camera: name, size, matrix, distortions, rotation (vector; caliscope: or matrix) and
translation of x = R X + t, and fisheye. caliscope keeps its tables in [cameras] and writes metres,
as Pose2Sim does; aniposelib and FreeMoCap use the unit of the calibration board.
"""

from __future__ import annotations

from typing import Any

from voxelpose_core.geometry.calibration_formats.values import (
    Calibration,
    ImageSize,
    center_of,
    coefficients,
    numbers,
    parse_image_size,
    require,
    rotation,
)
from voxelpose_core.geometry.camera import Camera

DESCRIPTION = "TOML of aniposelib, FreeMoCap, Pose2Sim or caliscope"

_KEYS = {"matrix", "distortions", "size"}


def matches(document: Any) -> bool:
    return bool(_entries(document))


def read(document: dict[str, Any], image_size: ImageSize | None) -> Calibration:
    cameras, notes = [], []
    for key, entry in _entries(document).items():
        # Without a value, caliscope writes a word, or nothing.
        posed = all(isinstance(entry.get(k), list) for k in ("rotation", "translation"))
        if posed and entry.get("ignore") is not True:
            cameras.append(_camera(_name(key, entry), entry))
        else:
            why = "is to be ignored" if posed else "has no pose"
            notes.append(f"camera '{_name(key, entry)}' {why}: left out")
    unit, tool = None, "TOML of aniposelib or Pose2Sim"
    if "cameras" in document:
        unit, tool = "m", "caliscope TOML"
    elif "charuco_square_size" in (document.get("metadata") or {}):
        tool = "FreeMoCap TOML"
    return Calibration(cameras, unit, tool=tool, notes=tuple(notes))


def _entries(document: Any) -> dict[str, dict[str, Any]]:
    if isinstance(document, dict) and isinstance(document.get("cameras"), dict):
        document = document["cameras"]
    if not isinstance(document, dict):
        return {}
    return {
        str(key): entry
        for key, entry in document.items()
        if isinstance(entry, dict) and _KEYS <= set(entry)
    }


def _name(key: str, entry: dict[str, Any]) -> str:
    return str(entry.get("name", key))


def _camera(name: str, entry: dict[str, Any]) -> Camera:
    where = f"camera '{name}'"
    fisheye = entry.get("fisheye") is True
    R = rotation(entry["rotation"], f"{where}: rotation")
    t = numbers(entry["translation"], (3,), f"{where}: translation")
    return Camera(
        name,
        parse_image_size(require(entry, "size", where), f"{where}: size"),
        numbers(require(entry, "matrix", where), (3, 3), f"{where}: matrix"),
        coefficients(require(entry, "distortions", where), fisheye, f"{where}: distortions"),
        R,
        center_of(R, t),
        fisheye=fisheye,
    )
