"""CMU Panoptic JSON.

[{panel, node, K, distCoef, R, t}] or {"cameras": [...]}: x = R X + t in cm, y down. The HD cameras
are taken; where a file names no type, all cameras.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.calibration_formats.values import (
    CameraEntry,
    FileContents,
    ImageSize,
    image_size_or,
    numbers,
    parse_image_size,
    require,
    table,
)
from voxelpose_core.geometry.camera import Camera

DESCRIPTION = "Panoptic JSON (y down; HD cameras)"

# Panoptic's world is y down; a column point X there is M X' of our z-up world.
PANOPTIC_TO_Z_UP = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])


def _entries(document: Any) -> Any:
    return document.get("cameras") if isinstance(document, dict) else document


def matches(document: Any) -> bool:
    entries = _entries(document)
    return (
        isinstance(entries, list)
        and bool(entries)
        and isinstance(entries[0], dict)
        and {"panel", "node"} <= set(entries[0])
    )


def read(document: Any, image_size: ImageSize | None) -> FileContents:
    entries = [table(entry, f"camera {index}") for index, entry in enumerate(_entries(document))]
    high_definition = [e for e in entries if e.get("type") == "hd"]
    cameras = []
    for entry in high_definition or entries:
        name = str(entry.get("name") or _name(entry))
        cameras.append(CameraEntry(name, partial(_camera, name, entry, image_size)))
    return FileContents(cameras, "cm", axes=PANOPTIC_TO_Z_UP.T)


def _camera(name: str, entry: dict[str, Any], image_size: ImageSize | None) -> Camera:
    where = f"camera '{name}'"
    if "resolution" in entry:
        image_size = parse_image_size(entry["resolution"], f"{where}: resolution")
    R = numbers(require(entry, "R", where), (3, 3), f"{where}: R")
    t = numbers(require(entry, "t", where), (3,), f"{where}: t")
    return Camera(
        name,
        image_size_or(image_size, name),
        numbers(require(entry, "K", where), (3, 3), f"{where}: K"),
        numbers(require(entry, "distCoef", where), (5,), f"{where}: distCoef"),
        R @ PANOPTIC_TO_Z_UP,
        -PANOPTIC_TO_Z_UP.T @ R.T @ t,
    )


def _name(entry: dict[str, Any]) -> str:
    panel, node = require(entry, "panel", "a camera"), require(entry, "node", "a camera")
    if not (isinstance(panel, int) and isinstance(node, int)):
        raise InputError(f"a camera: panel {panel!r}, node {node!r}, expected whole numbers")
    return f"{panel:02d}_{node:02d}"
