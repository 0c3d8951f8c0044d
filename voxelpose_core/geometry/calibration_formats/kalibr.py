"""Kalibr's camchain YAML: cam0, cam1, ... with T_cn_cnm1 from each camera to the next, in metres.

A point p of camera n - 1 is at T_cn_cnm1 p in camera n; the world is the optical frame of cam0.
Keys and conventions: github.com/ethz-asl/kalibr, wiki page "yaml formats".
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.calibration_formats.values import (
    Calibration,
    ImageSize,
    center_of,
    intrinsic_matrix,
    numbers,
    parse_image_size,
    require,
    table,
)
from voxelpose_core.geometry.camera import Camera

DESCRIPTION = "Kalibr camchain"

_NAME = re.compile(r"cam(\d+)")
_DISTORTION_MODELS = {"radtan": False, "equidistant": True, "none": False}


def matches(document: Any) -> bool:
    return (
        isinstance(document, dict)
        and isinstance(document.get("cam0"), dict)
        and "camera_model" in document["cam0"]
    )


def read(document: dict[str, Any], image_size: ImageSize | None) -> Calibration:
    names = sorted(filter(_NAME.fullmatch, map(str, document)), key=lambda name: int(name[3:]))
    cameras, pose = [], np.eye(4)
    for index, name in enumerate(names):
        entry = table(document[name], f"camera '{name}'")
        if index > 0:
            what = f"camera '{name}': T_cn_cnm1"
            pose = numbers(require(entry, "T_cn_cnm1", f"camera '{name}'"), (4, 4), what) @ pose
        cameras.append(_camera(name, entry, pose))
    return Calibration(cameras, "m")


def _camera(name: str, entry: dict[str, Any], pose: np.ndarray) -> Camera:
    where = f"camera '{name}'"
    model = require(entry, "camera_model", where)
    if model != "pinhole":
        raise InputError(f"{where}: camera_model is '{model}', expected pinhole")
    lens = str(entry.get("distortion_model", "none"))
    if lens not in _DISTORTION_MODELS:
        raise InputError(
            f"{where}: distortion_model is '{lens}', expected {', '.join(_DISTORTION_MODELS)}"
        )
    distortion = [0.0] * 4 if lens == "none" else require(entry, "distortion_coeffs", where)
    R = pose[:3, :3]
    return Camera(
        name,
        parse_image_size(require(entry, "resolution", where), f"{where}: resolution"),
        intrinsic_matrix(
            *numbers(require(entry, "intrinsics", where), (4,), f"{where}: intrinsics")
        ),
        distortion,
        R,
        center_of(R, pose[:3, 3]),
        fisheye=_DISTORTION_MODELS[lens],
    )
