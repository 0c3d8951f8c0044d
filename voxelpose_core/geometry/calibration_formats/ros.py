"""ROS: a folder with a camera_info YAML per camera and their poses in extrinsics.yaml.

camera_info is what camera_calibration writes (camera_matrix, distortion_model,
distortion_coefficients, image_width, image_height, camera_name), what `ros2 topic echo --once` prints
of a CameraInfo (k, d, width, height; ROS 1: K, D), or the file of OpenCV's calibration sample
(fisheye_model). ROS has no file for poses; extrinsics.yaml holds what
`tf2_echo FRAME CAMERA_optical_frame` prints, the pose of each optical frame in the world, in metres:

    frame: map
    rectified: true      # the images are rectified (image_rect); where that is not given: raw
    cameras:
      left: {translation: [x, y, z], rotation: [qx, qy, qz, qw]}

A camera goes by the name of its file or by its camera_name.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.calibration_formats.documents import UnreadableFile
from voxelpose_core.geometry.calibration_formats.values import (
    CameraEntry,
    FileContents,
    ImageSize,
    Notes,
    cameras_in_words,
    flag,
    matrix,
    number,
    numbers,
    parse_image_size,
    require,
    short,
    table,
)
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.camera_info import CameraInfoFields, intrinsics_of

DESCRIPTION = "folder of ROS camera_info YAML with extrinsics.yaml"


def matches(document: Any) -> bool:
    return isinstance(document, dict) and (
        _is_camera_info(document) or any(_is_camera_info(entry) for entry in document.values())
    )


def read(document: dict[str, Any], image_size: ImageSize | None) -> FileContents:
    if _is_camera_info(document):
        raise InputError(
            "is the camera_info of one camera, expected the folder of all cameras with their "
            "poses in extrinsics.yaml"
        )
    if "extrinsics" not in document:
        raise InputError(
            "is no known calibration, or a folder of camera_info that lacks extrinsics.yaml, the "
            "poses of the cameras' optical frames"
        )
    extrinsics = table(document["extrinsics"], "extrinsics.yaml")
    poses = table(require(extrinsics, "cameras", "extrinsics.yaml"), "extrinsics.yaml: cameras")
    rectified = flag(extrinsics.get("rectified", False), "extrinsics.yaml: rectified")
    infos, unused = _by_name(document, poses)
    notes, entries = Notes(), []
    for name, pose in poses.items():
        read_camera = partial(_camera, str(name), infos.get(name), pose, rectified, notes)
        left_out = None if name in infos else "no camera_info file has its name"
        entries.append(CameraEntry(str(name), read_camera, left_out))
    remarks: tuple[str, ...] = ()
    if unused:
        remarks = (f"{cameras_in_words(unused)} left out: no pose in extrinsics.yaml",)
    frame = str(extrinsics.get("frame", "world"))
    return FileContents(entries, "m", frame, notes=notes, remarks=remarks)


def _is_camera_info(document: Any) -> bool:
    return isinstance(document, dict) and (
        "camera_matrix" in document
        or {"k", "distortion_model"} <= set(document)
        or {"K", "distortion_model"} <= set(document)
    )


def _by_name(document: dict[str, Any], poses: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The camera_info of each posed camera, and the files that belong to none.

    The name of the file comes first: drivers' files share camera names.
    """
    infos = {
        stem: entry
        for stem, entry in document.items()
        if stem in poses and (_is_camera_info(entry) or isinstance(entry, UnreadableFile))
    }
    unused = []
    for stem, entry in document.items():
        if stem in infos or not _is_camera_info(entry):
            continue
        name = str(entry.get("camera_name"))
        if name in poses and name not in infos:
            infos[name] = entry
        else:
            unused.append(stem)
    return infos, unused


def _camera(name: str, entry: Any, pose: Any, rectified: bool, notes: Notes) -> Camera:
    where = f"camera '{name}'"
    if entry is None:
        raise InputError(f"{where}: no camera_info file is, or is named, {name}")
    info = camera_info_of(table(entry, where), where)
    R = _world_to_camera(require(pose, "rotation", where), f"{where}: rotation")
    C = numbers(require(pose, "translation", where), (3,), f"{where}: translation")
    try:
        intrinsics = intrinsics_of(info, rectified)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    for assumption in intrinsics.assumptions:
        notes.add(name, assumption)
    return intrinsics.camera(name, R, C)


def camera_info_of(entry: dict[str, Any], where: str) -> CameraInfoFields:
    """The fields of a camera_info file.

    Raises:
        InputError: naming the key.
    """

    def value(*keys: str) -> Any:
        return require(entry, next((k for k in keys if k in entry), keys[0]), where)

    def optional(shape: tuple[int, int], *keys: str) -> np.ndarray | None:
        present = [key for key in keys if entry.get(key) is not None]
        return matrix(entry[present[0]], shape, f"{where}: {present[0]}") if present else None

    size = [value("image_width", "width"), value("image_height", "height")]
    model = entry.get("distortion_model")
    if model is None and "fisheye_model" in entry:
        is_fisheye = flag(entry["fisheye_model"], f"{where}: fisheye_model")
        model = "equidistant" if is_fisheye else "plumb_bob"
    roi = table(entry.get("roi") or {}, f"{where}: roi")
    return CameraInfoFields(
        parse_image_size(size, f"{where}: image_width and image_height"),
        matrix(value("camera_matrix", "k", "K"), (3, 3), f"{where}: camera_matrix"),
        "" if model is None else str(model),
        matrix(value("distortion_coefficients", "d", "D"), (-1,), f"{where}: distortion_coefficients"),
        optional((3, 3), "rectification_matrix", "r", "R"),
        optional((3, 4), "projection_matrix", "p", "P"),
        (_count(entry, "binning_x", where), _count(entry, "binning_y", where)),
        (
            _count(roi, "x_offset", f"{where}: roi"),
            _count(roi, "y_offset", f"{where}: roi"),
            _count(roi, "width", f"{where}: roi"),
            _count(roi, "height", f"{where}: roi"),
        ),
    )


def _count(entry: dict[str, Any], key: str, where: str) -> int:
    """A whole number of pixels; 0 where it is not given."""
    count = number(entry.get(key, 0), f"{where}: {key}")
    if not (0 <= count <= 65535 and count == round(count)):
        said = short(repr(entry[key]))
        raise InputError(f"{where}: {key} is {said}, expected a whole number of pixels")
    return int(count)


def _world_to_camera(quaternion: Any, what: str) -> np.ndarray:
    given = numbers(quaternion, (4,), what)
    if not abs(np.linalg.norm(given) - 1) < 1e-2:
        raise InputError(f"{what} is no unit quaternion [x, y, z, w]")
    return Rotation.from_quat(given).as_matrix().T
