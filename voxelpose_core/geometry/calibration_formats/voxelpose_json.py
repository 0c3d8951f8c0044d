"""The original VoxelPose's Campus and Shelf JSON.

{name: {R, T, fx, fy, cx, cy, k (3), p (2)}} with T the camera centre in mm.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from voxelpose_core.geometry.calibration_formats.values import (
    CameraEntry,
    FileContents,
    ImageSize,
    image_size_or,
    intrinsic_matrix,
    number,
    numbers,
    require,
)
from voxelpose_core.geometry.camera import Camera

DESCRIPTION = "VoxelPose Campus/Shelf JSON (T is the centre)"

_KEYS = ("R", "T", "fx", "fy", "cx", "cy", "k", "p")


def matches(document: Any) -> bool:
    return (
        isinstance(document, dict)
        and bool(document)
        and all(isinstance(entry, dict) for entry in document.values())
        and any({"R", "T"} <= set(entry) or "fx" in entry for entry in document.values())
    )


def read(document: dict[str, Any], image_size: ImageSize | None) -> FileContents:
    entries = [
        CameraEntry(str(name), partial(_camera, str(name), entry, image_size))
        for name, entry in document.items()
    ]
    return FileContents(entries, "mm")


def _camera(name: str, entry: dict[str, Any], image_size: ImageSize | None) -> Camera:
    where = f"camera '{name}'"
    R, T, fx, fy, cx, cy, k, p = (require(entry, key, where) for key in _KEYS)
    fx, fy, cx, cy = (
        number(v, f"{where}: {key}")
        for v, key in zip((fx, fy, cx, cy), ("fx", "fy", "cx", "cy"), strict=True)
    )
    k = numbers(k, (3,), f"{where}: k")
    p = numbers(p, (2,), f"{where}: p")
    return Camera(
        name,
        image_size_or(image_size, name),
        intrinsic_matrix(fx, fy, cx, cy),
        [k[0], k[1], p[0], p[1], k[2]],
        numbers(R, (3, 3), f"{where}: R"),
        numbers(T, (3,), f"{where}: T"),
    )
