"""multical's calibration.json: {cameras: {name: {K, dist, image_size}}, camera_poses: {...}}.

A pose is {R, T} from the rig to the camera, x = R X + T, in the unit of the board's squares. With
a master camera, whose frame then is the world, the others' poses are called NAME_to_MASTER. Cameras
that could not be placed are in `cameras` alone.

`model` is standard, rational, thin_prism or tilted (FORMAT.md). Fisheyes are called standard, too
(camera_fisheye.py), or fix_k1 to fix_k4; what tells them is that cv2.fisheye.calibrate gives four
coefficients, cv2.calibrateCamera never fewer than five.
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
    Notes,
    center_of,
    coefficients,
    matrix,
    numbers,
    parse_image_size,
    require,
    rotation,
    short,
    table,
)
from voxelpose_core.geometry.camera import Camera

DESCRIPTION = "multical JSON"

_PINHOLES = ("standard", "rational", "thin_prism", "tilted")
_FISHEYES = ("fix_k1", "fix_k2", "fix_k3", "fix_k4")
_LONGEST_CHAIN = 100


def matches(document: Any) -> bool:
    if not isinstance(document, dict) or not isinstance(document.get("cameras"), dict):
        return False
    entries = document["cameras"].values()
    return any(isinstance(entry, dict) and {"K", "dist"} <= set(entry) for entry in entries)


def read(document: dict[str, Any], image_size: ImageSize | None) -> FileContents:
    poses = table(require(document, "camera_poses", "the file"), "camera_poses")
    by_camera = _poses_by_camera(poses, document["cameras"])
    notes, entries = Notes(), []
    for name, entry in document["cameras"].items():
        keys = by_camera.get(name)
        read_camera = partial(_camera, name, entry, poses, keys, notes)
        left_out = None if keys else "no pose in camera_poses"
        entries.append(CameraEntry(name, read_camera, left_out))
    return FileContents(entries, None, notes=notes)


def _poses_by_camera(poses: dict[str, Any], cameras: dict[str, Any]) -> dict[str, list[str]]:
    """The keys of the poses that, one after the other, lead from each camera to the world."""
    links: dict[str, tuple[str, str | None]] = {}
    for key in poses:
        source, _, target = key.rpartition("_to_")
        if key in cameras:
            links[key] = (key, None)
        elif source in cameras:
            links.setdefault(source, (key, target))
    chains = {}
    for name in cameras:
        chain: list[str] = []
        at: str | None = name
        while at in links and len(chain) <= _LONGEST_CHAIN:
            key, following = links[at]
            chain.append(key)
            at = following
        # A master without a pose of its own is the world.
        if 0 < len(chain) <= _LONGEST_CHAIN:
            chains[name] = chain
    return chains


def _pose(poses: dict[str, Any], keys: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """R (3, 3) and T (3,) of x = R X + T, from the world to the camera."""
    R, T = np.eye(3), np.zeros(3)
    for key in keys:
        where = f"camera_poses: '{short(key)}'"
        next_R = rotation(require(poses[key], "R", where), f"{where}: R")
        next_T = numbers(require(poses[key], "T", where), (3,), f"{where}: T")
        R, T = R @ next_R, R @ next_T + T
    return R, T


def _camera(name: str, entry: Any, poses: dict[str, Any], keys: list[str] | None, notes: Notes) -> Camera:
    where = f"camera '{name}'"
    if not keys:
        raise InputError(f"{where}: has no pose in camera_poses")
    R, T = _pose(poses, keys)
    distortion, fisheye = _lens(name, entry, notes)
    return Camera(
        name,
        parse_image_size(require(entry, "image_size", where), f"{where}: image_size"),
        numbers(require(entry, "K", where), (3, 3), f"{where}: K"),
        distortion,
        R,
        center_of(R, T),
        fisheye=fisheye,
    )


def _lens(name: str, entry: Any, notes: Notes) -> tuple[np.ndarray, bool]:
    """The coefficients, and whether they are a fisheye's."""
    where = f"camera '{name}'"
    given = matrix(require(entry, "dist", where), (-1,), f"{where}: dist")
    model = short(str(entry.get("model", "standard")))
    if model not in (*_PINHOLES, *_FISHEYES):
        raise InputError(
            f"{where}: model is '{model}', expected one of {', '.join((*_PINHOLES, *_FISHEYES))}"
        )
    fisheye = model in _FISHEYES or (model == "standard" and len(given) == 4)
    if fisheye and model == "standard":
        notes.add(
            name,
            "four distortion coefficients, which multical writes for fisheye lenses only: read as an "
            "equidistant fisheye",
        )
    return coefficients(given, fisheye, f"{where}: dist"), fisheye
