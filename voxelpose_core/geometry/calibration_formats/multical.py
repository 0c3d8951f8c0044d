"""multical's calibration.json: {cameras: {name: {K, dist, image_size}}, camera_poses: {...}}.

A pose is {R, T} from the rig to the camera, x = R X + T, in the unit of the board's squares. With
a master camera, whose frame then is the world, the others' poses are called NAME_to_MASTER.
"""

from __future__ import annotations

from typing import Any

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.calibration_formats.values import (
    Calibration,
    ImageSize,
    center_of,
    coefficients,
    numbers,
    parse_image_size,
    require,
    rotation,
    table,
)
from voxelpose_core.geometry.camera import Camera

DESCRIPTION = "multical JSON"


def matches(document: Any) -> bool:
    if not isinstance(document, dict) or not isinstance(document.get("cameras"), dict):
        return False
    entries = document["cameras"].values()
    return any(isinstance(entry, dict) and {"K", "dist"} <= set(entry) for entry in entries)


def read(document: dict[str, Any], image_size: ImageSize | None) -> Calibration:
    poses = table(require(document, "camera_poses", "the file"), "camera_poses")
    by_camera = {str(key).split("_to_")[0]: pose for key, pose in poses.items()}
    cameras = []
    for name, entry in document["cameras"].items():
        if name not in by_camera:
            raise InputError(f"camera '{name}': has no pose in camera_poses")
        cameras.append(_camera(name, entry, by_camera[name]))
    return Calibration(cameras, None)


def _camera(name: str, entry: Any, pose: Any) -> Camera:
    where = f"camera '{name}'"
    R = rotation(require(pose, "R", where), f"{where}: R")
    T = numbers(require(pose, "T", where), (3,), f"{where}: T")
    return Camera(
        name,
        parse_image_size(require(entry, "image_size", where), f"{where}: image_size"),
        numbers(require(entry, "K", where), (3, 3), f"{where}: K"),
        coefficients(require(entry, "dist", where), False, f"{where}: dist"),
        R,
        center_of(R, T),
    )
