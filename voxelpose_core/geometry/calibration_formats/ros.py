"""ROS: a folder with a camera_info YAML a camera and their poses in extrinsics.yaml.

camera_info is what camera_calibration writes (camera_matrix, distortion_model,
distortion_coefficients, image_width, image_height, camera_name), what `ros2 topic echo` prints of a
CameraInfo (k, d, width, height), or the file of OpenCV's calibration sample (fisheye_model).
ROS has no file for poses; extrinsics.yaml holds what `tf2_echo FRAME CAMERA_optical_frame` prints,
the pose of each optical frame in the world, in metres:

    frame: map
    cameras:
      left: {translation: [x, y, z], rotation: [qx, qy, qz, qw]}

A camera goes by its camera_name or by the name of its file.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.calibration_formats.values import (
    Calibration,
    ImageSize,
    coefficients,
    matrix,
    numbers,
    parse_image_size,
    require,
    table,
)
from voxelpose_core.geometry.camera import Camera

DESCRIPTION = "folder of ROS camera_info YAML with extrinsics.yaml"

_DISTORTION_MODELS = {
    "plumb_bob": False,
    "rational_polynomial": False,
    "equidistant": True,
    "fisheye": True,
}


def matches(document: Any) -> bool:
    return isinstance(document, dict) and (
        _is_camera_info(document) or any(_is_camera_info(entry) for entry in document.values())
    )


def read(document: dict[str, Any], image_size: ImageSize | None) -> Calibration:
    if _is_camera_info(document):
        raise InputError(
            "is the camera_info of one camera, expected the folder of all cameras with their "
            "poses in extrinsics.yaml"
        )
    extrinsics = table(require(document, "extrinsics", "the folder"), "extrinsics.yaml")
    poses = table(require(extrinsics, "cameras", "extrinsics.yaml"), "extrinsics.yaml: cameras")
    infos = _by_name(document, poses)
    cameras = []
    for name, pose in poses.items():
        if name not in infos:
            raise InputError(f"camera '{name}': no camera_info file is, or is named, {name}")
        cameras.append(_camera(str(name), infos[name], pose))
    return Calibration(cameras, "m", frame=str(extrinsics.get("frame", "world")))


def _is_camera_info(document: Any) -> bool:
    return isinstance(document, dict) and (
        "camera_matrix" in document or {"k", "distortion_model"} <= set(document)
    )


def _by_name(document: dict[str, Any], poses: dict[str, Any]) -> dict[str, Any]:
    infos = {}
    for stem, entry in document.items():
        if not _is_camera_info(entry):
            continue
        names = [name for name in (str(entry.get("camera_name")), stem) if name in poses]
        if not names:
            raise InputError(f"camera '{stem}': extrinsics.yaml has no pose of it")
        infos[names[0]] = entry
    return infos


def _camera(name: str, info: dict[str, Any], pose: Any) -> Camera:
    where = f"camera '{name}'"

    def value(*keys: str) -> Any:
        return require(info, next((k for k in keys if k in info), keys[0]), where)

    default = "equidistant" if info.get("fisheye_model") else "plumb_bob"
    model = str(info.get("distortion_model", default))
    if model not in _DISTORTION_MODELS:
        raise InputError(
            f"{where}: distortion_model is '{model}', expected {', '.join(_DISTORTION_MODELS)}"
        )
    fisheye = _DISTORTION_MODELS[model]
    size = [value("image_width", "width"), value("image_height", "height")]
    what = f"{where}: translation"
    return Camera(
        name,
        parse_image_size(size, f"{where}: image_width and image_height"),
        matrix(value("camera_matrix", "k"), (3, 3), f"{where}: camera_matrix"),
        coefficients(
            value("distortion_coefficients", "d"), fisheye, f"{where}: distortion_coefficients"
        ),
        _world_to_camera(require(pose, "rotation", where), f"{where}: rotation"),
        numbers(require(pose, "translation", where), (3,), what),
        fisheye=fisheye,
    )


def _world_to_camera(quaternion: Any, what: str) -> np.ndarray:
    given = numbers(quaternion, (4,), what)
    if not abs(np.linalg.norm(given) - 1) < 1e-2:
        raise InputError(f"{what} is no unit quaternion [x, y, z, w]")
    return Rotation.from_quat(given).as_matrix().T
