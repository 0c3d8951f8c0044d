"""OpenCV FileStorage YAML, as EasyMocap and OpenCV's own multi-camera calibration write it.

EasyMocap: names, and K_NAME, dist_NAME (or D_NAME), Rot_NAME (or the rotation vector R_NAME), T_NAME
of x = R X + T in metres; in one file, or in a folder as intri.yml and extri.yml. Its tools undistort
with cv2.undistort, as pinholes; the file does not say when a lens is a fisheye.
OpenCV's multiview_calibration.py: Ks, distortions, Rs, Ts, models (1: fisheye), image_sizes and
cam_ids, all cameras in one matrix each; the world is camera 0, the unit is the board's.
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
    image_size_or,
    matrix,
    number,
    parse_image_size,
    require,
    rotation,
    table,
)
from voxelpose_core.geometry.camera import Camera

DESCRIPTION = "OpenCV FileStorage YAML (EasyMocap, or OpenCV's multi-camera calibration)"

_MULTIVIEW_KEYS = ("Ks", "distortions", "Rs", "Ts")


def matches(document: Any) -> bool:
    if not isinstance(document, dict):
        return False
    return {"intri", "extri"} <= set(document) or _is_easymocap(document) or _is_multiview(document)


def read(document: dict[str, Any], image_size: ImageSize | None) -> FileContents:
    if _is_multiview(document):
        entries = _multiview_entries(document, image_size)
        return FileContents(entries, None, tool="OpenCV multi-camera calibration YAML")
    files = [document]
    if "intri" in document:
        files = [table(document[name], name) for name in ("intri", "extri")]
    # Either file may have cameras that the other lacks.
    names = list(dict.fromkeys(name for file in files for name in _easymocap_names(file)))
    values = {key: value for file in files for key, value in file.items()}
    notes = Notes()
    entries = [_easymocap_entry(name, values, image_size, notes) for name in names]
    return FileContents(entries, "m", tool="EasyMocap YAML", notes=notes)


def _easymocap_names(document: dict[str, Any]) -> list[str]:
    names = require(document, "names", "the file")
    if not isinstance(names, list):
        raise InputError("names: expected a list of cameras")
    return [str(name) for name in names]


def _easymocap_entry(
    name: str, document: dict[str, Any], given: ImageSize | None, notes: Notes
) -> CameraEntry:
    left_out = None
    if f"K_{name}" not in document:
        left_out = "no K"
    elif f"T_{name}" not in document or {f"R_{name}", f"Rot_{name}"}.isdisjoint(document):
        left_out = "no rotation R or translation T"
    read_camera = partial(_easymocap_camera, name, document, given, notes)
    return CameraEntry(name, read_camera, left_out)


def _is_easymocap(document: dict[str, Any]) -> bool:
    names = document.get("names")
    return isinstance(names, list) and any(
        f"{key}_{name}" in document for name in names for key in ("K", "T")
    )


def _is_multiview(document: dict[str, Any]) -> bool:
    return set(_MULTIVIEW_KEYS) <= set(document)


def _easymocap_camera(name: str, document: dict[str, Any], given: ImageSize | None, notes: Notes) -> Camera:
    where = f"camera '{name}'"

    def value(key: str) -> Any:
        return require(document, f"{key}_{name}", where)

    key = f"dist_{name}"
    if key not in document and f"D_{name}" in document:
        key = f"D_{name}"
    distortion = coefficients(require(document, key, where), False, f"{where}: {key}")
    if len(distortion) == 4 and distortion.any():
        notes.add(
            name,
            "four distortion coefficients, read as k1, k2, p1, p2 of a pinhole lens: if it is a "
            "fisheye, convert the file and write lens: fisheye into the rig YAML",
        )
    turn = f"Rot_{name}" if f"Rot_{name}" in document else f"R_{name}"
    turned = matrix(require(document, turn, where), (-1,), f"{where}: {turn}")
    R = rotation(turned, f"{where}: {turn}")
    size = given
    if f"W_{name}" in document and f"H_{name}" in document:
        sides = [number(value(key), f"{where}: {key}") for key in ("W", "H")]
        size = parse_image_size(sides, f"{where}: W and H")
    return Camera(
        name,
        image_size_or(size, name),
        matrix(value("K"), (3, 3), f"{where}: K"),
        distortion,
        R,
        center_of(R, matrix(value("T"), (3,), f"{where}: T")),
    )


def _multiview_entries(document: dict[str, Any], given: ImageSize | None) -> list[CameraEntry]:
    Ks = matrix(document["Ks"], (-1, 3, 3), "Ks")
    count = len(Ks)
    if count == 0:
        raise InputError("Ks is empty, expected a matrix of each camera")
    Rs = matrix(document["Rs"], (-1,), "Rs")
    if len(Rs) not in (3 * count, 9 * count):
        raise InputError(f"Rs has {len(Rs)} numbers, expected rotations of {count} cameras")
    Ts = matrix(document["Ts"], (count, 3), "Ts")
    fisheye = matrix(document.get("models", np.zeros(count)), (count,), "models") == 1
    distortions = _split(matrix(document["distortions"], (-1,), "distortions"), fisheye)
    names = [str(index) for index in range(count)]
    if "cam_ids" in document:
        names = str(document["cam_ids"]).split(",")
        if len(names) != count:
            raise InputError(f"cam_ids has {len(names)} names, expected {count} as in Ks")
    sizes: Any = [given] * count
    if "image_sizes" in document:
        sizes = matrix(document["image_sizes"], (count, 2), "image_sizes")
    poses = zip(Rs.reshape(count, -1), Ts, strict=True)
    lenses = zip(Ks, distortions, map(bool, fisheye), strict=True)
    return [
        CameraEntry(name, partial(_multiview_camera, name, image_size, lens, pose))
        for name, image_size, lens, pose in zip(names, sizes, lenses, poses, strict=True)
    ]


def _multiview_camera(
    name: str,
    image_size: Any,
    lens: tuple[np.ndarray, np.ndarray, bool],
    pose: tuple[np.ndarray, np.ndarray],
) -> Camera:
    where = f"camera '{name}'"
    K, distortion, fisheye = lens
    R = rotation(pose[0], f"{where}: Rs")
    return Camera(
        name,
        parse_image_size(image_size_or(image_size, name), f"{where}: image_sizes"),
        K,
        coefficients(distortion, fisheye, f"{where}: distortions"),
        R,
        center_of(R, pose[1]),
        fisheye=fisheye,
    )


def _split(values: np.ndarray, fisheye: np.ndarray) -> list[np.ndarray]:
    """The coefficients of each camera, which follow each other: four of a fisheye, equally many
    of every pinhole."""
    pinholes = int((~fisheye).sum())
    each, rest = divmod(len(values) - 4 * int(fisheye.sum()), max(pinholes, 1))
    if rest or each < 0 or (pinholes and each == 0):
        raise InputError(f"distortions has {len(values)} numbers, which {len(fisheye)} cameras cannot share")
    return np.split(values, np.cumsum(np.where(fisheye, 4, each))[:-1])
