"""MC-Calib's calibrated_cameras_data.yml: OpenCV FileStorage with camera_0, camera_1, ...

camera_pose_matrix (4x4) takes points of the camera to the frame of camera 0, the world (it is the
inverse of what the tool projects with: saveCamerasParams in McCalib.cpp), in the unit of the board's
squares. distortion_type is 0 for Brown's model, 1 for Kannala's. Keys: the README's "Output
explanation". Cameras that share no view with the others are in another camera_group, or not written.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import numpy as np

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.calibration_formats.values import (
    CameraEntry,
    FileContents,
    ImageSize,
    coefficients,
    matrix,
    number,
    parse_image_size,
    require,
    short,
)
from voxelpose_core.geometry.camera import Camera

DESCRIPTION = "MC-Calib YAML"

_NAME = re.compile(r"camera_(\d{1,9})")
_DISTORTION_TYPES = {0: False, 1: True}


def matches(document: Any) -> bool:
    return isinstance(document, dict) and any(
        isinstance(entry, dict) and "camera_pose_matrix" in entry for entry in document.values()
    )


def read(document: dict[str, Any], image_size: ImageSize | None) -> FileContents:
    names = [str(key) for key in document if _NAME.fullmatch(str(key))]
    names.sort(key=lambda name: int(name.removeprefix("camera_")))
    groups = [_group(document[name]) for name in names]
    entries = [
        CameraEntry(name, partial(_camera, name, document[name]), _left_out(group, groups[0]))
        for name, group in zip(names, groups, strict=True)
    ]
    return FileContents(entries, None, remarks=_missing(document.get("nb_camera"), names))


def _group(entry: Any) -> Any:
    return entry.get("camera_group", 0) if isinstance(entry, dict) else 0


def _left_out(group: Any, first: Any) -> str | None:
    """Groups have worlds of their own; the first camera's is taken."""
    return None if group == first else "in another camera_group, so no pose beside the first camera"


def _missing(count: Any, names: list[str]) -> tuple[str, ...]:
    if not isinstance(count, int) or count <= len(names):
        return ()
    return (f"the file has {len(names)} of {count} cameras: MC-Calib could not place the others",)


def _camera(name: str, entry: Any) -> Camera:
    where = f"camera '{name}'"
    kind = require(entry, "distortion_type", where)
    if kind not in (0, 1):
        raise InputError(
            f"{where}: distortion_type is {short(repr(kind))}, expected 0 (Brown) or 1 (Kannala)"
        )
    fisheye = _DISTORTION_TYPES[kind]
    sides = [number(require(entry, key, where), f"{where}: {key}") for key in ("img_width", "img_height")]
    pose = matrix(require(entry, "camera_pose_matrix", where), (4, 4), f"{where}: camera_pose_matrix")
    return Camera(
        name,
        parse_image_size(sides, f"{where}: img_width and img_height"),
        matrix(require(entry, "camera_matrix", where), (3, 3), f"{where}: camera_matrix"),
        coefficients(require(entry, "distortion_vector", where), fisheye, f"{where}: distortion_vector"),
        np.ascontiguousarray(pose[:3, :3].T),
        pose[:3, 3],
        fisheye=fisheye,
    )
