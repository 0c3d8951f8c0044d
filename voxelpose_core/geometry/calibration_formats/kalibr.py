"""Kalibr's camchain YAML: cam0, cam1, ... with T_cn_cnm1 from each camera to the next, in metres.

A point p of camera n - 1 is at T_cn_cnm1 p in camera n; the world is the optical frame of cam0.
Keys and conventions: github.com/ethz-asl/kalibr, wiki page "yaml formats".
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
    center_of,
    intrinsic_matrix,
    numbers,
    parse_image_size,
    require,
    short,
)
from voxelpose_core.geometry.camera import Camera

DESCRIPTION = "Kalibr camchain"

_NAME = re.compile(r"cam(\d{1,9})")
_DISTORTION_MODELS = {"radtan": False, "equidistant": True, "none": False}


def matches(document: Any) -> bool:
    return (
        isinstance(document, dict)
        and isinstance(document.get("cam0"), dict)
        and "camera_model" in document["cam0"]
    )


def read(document: dict[str, Any], image_size: ImageSize | None) -> FileContents:
    names = sorted(filter(_NAME.fullmatch, map(str, document)), key=lambda name: int(name[3:]))
    entries: list[CameraEntry] = []
    pose: np.ndarray | InputError = np.eye(4)
    broken = None
    for name in names:
        entry = document[name]
        # A chain ends where a link is missing.
        if entries and broken is None and isinstance(entry, dict) and "T_cn_cnm1" not in entry:
            broken = name
        if entries:
            pose = _next_pose(name, entry, pose)
        left_out = f"no T_cn_cnm1 of '{broken}', so no pose" if broken else None
        entries.append(CameraEntry(name, partial(_camera, name, entry, pose), left_out))
    return FileContents(entries, "m")


def _next_pose(name: str, entry: Any, previous: np.ndarray | InputError) -> np.ndarray | InputError:
    """(4, 4) from the frame of cam0 to that of the camera, or what is wrong with the chain to it."""
    if isinstance(previous, InputError):
        return previous
    where = f"camera '{name}'"
    try:
        link = numbers(require(entry, "T_cn_cnm1", where), (4, 4), f"{where}: T_cn_cnm1")
    except InputError as error:
        return error
    return link @ previous


def _camera(name: str, entry: Any, pose: np.ndarray | InputError) -> Camera:
    where = f"camera '{name}'"
    model = short(str(require(entry, "camera_model", where)))
    if model != "pinhole":
        raise InputError(
            f"{where}: camera_model is '{model}', expected pinhole: calibrate with --models "
            "pinhole-equi for a fisheye, pinhole-radtan for others"
        )
    lens = short(str(require(entry, "distortion_model", where)))
    if lens not in _DISTORTION_MODELS:
        raise InputError(f"{where}: distortion_model is '{lens}', expected {', '.join(_DISTORTION_MODELS)}")
    distortion = [0.0] * 4 if lens == "none" else require(entry, "distortion_coeffs", where)
    if isinstance(pose, InputError):
        raise pose
    R = pose[:3, :3]
    return Camera(
        name,
        parse_image_size(require(entry, "resolution", where), f"{where}: resolution"),
        intrinsic_matrix(*numbers(require(entry, "intrinsics", where), (4,), f"{where}: intrinsics")),
        distortion,
        R,
        center_of(R, pose[:3, 3]),
        fisheye=_DISTORTION_MODELS[lens],
    )
