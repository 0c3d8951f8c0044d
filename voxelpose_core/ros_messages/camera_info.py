"""Cameras from sensor_msgs/CameraInfo and transforms, and whether a CameraInfo agrees with a rig.

Errors name what is wrong in the message; the caller, who knows it, puts the topic in front.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.camera_info import (
    CameraInfoFields,
    Intrinsics,
    image_geometry,
    intrinsics_of,
    lens_of,
)
from voxelpose_core.geometry.image_scale import is_scaled_copy, scaled_camera
from voxelpose_core.sources import is_codec_crop

_MM_PER_M = 1000.0


def camera_from_messages(name: str, info: Any, transform: Any, rectified: bool = False) -> Camera:
    """A camera from its CameraInfo and the pose of its optical frame in the world (TF, metres).

    Args:
        name: the camera's name.
        info: its CameraInfo.
        transform: pose of the optical frame of the raw image.
        rectified: the images are rectified.

    Raises:
        InputError: when the intrinsics are missing (K all zero) or not usable.
    """
    position, rotation = transform.transform.translation, transform.transform.rotation
    quaternion = np.array([rotation.x, rotation.y, rotation.z, rotation.w])
    if not abs(np.linalg.norm(quaternion) - 1.0) < 1e-2:
        raise InputError(f"transform of '{name}' has no rotation, expected a unit quaternion")
    return intrinsics_from_message(info, rectified).camera(
        name,
        Rotation.from_quat(quaternion).as_matrix().T,
        _MM_PER_M * np.array([position.x, position.y, position.z]),
    )


def intrinsics_from_message(info: Any, rectified: bool = False) -> Intrinsics:
    """The intrinsics of the raw image, or of the rectified one (P and R, no distortion).

    Raises:
        InputError: when they are missing (K or P all zero) or not usable.
    """
    return intrinsics_of(_fields(info), rectified)


def _fields(info: Any) -> CameraInfoFields:
    roi = info.roi
    return CameraInfoFields(
        (info.width, info.height),
        np.reshape(info.k, (3, 3)),
        info.distortion_model,
        np.array(info.d),
        np.reshape(info.r, (3, 3)),
        np.reshape(info.p, (3, 4)),
        (info.binning_x, info.binning_y),
        (roi.x_offset, roi.y_offset, roi.width, roi.height),
    )


def check_camera_info(message: Any, camera: Camera, rectified: bool = False) -> None:
    """Compare a CameraInfo with the rig's calibration of that camera.

    A message without intrinsics (K all zero, as uncalibrated drivers send it) says nothing of them.

    Args:
        message: the CameraInfo.
        camera: the rig's camera.
        rectified: the images are rectified, so that P is compared, and distortion is to be zero.

    Raises:
        InputError: naming what contradicts: image size, K (or P) beyond 2 % of the image's width,
            or of the same lens model a distortion coefficient beyond 0.05.
    """
    fields = _fields(message)
    has_intrinsics = _has(fields.P if rectified else fields.K)
    if not has_intrinsics:
        # The size is compared all the same.
        fields = dataclasses.replace(fields, K=np.eye(3), P=np.eye(3, 4))
    size, K = image_geometry(fields, rectified)
    if not _fits(size, camera):
        raise InputError(
            f"CameraInfo says {size[0]}x{size[1]} pixels, the rig file "
            f"{camera.image_size[0]}x{camera.image_size[1]} for camera '{camera.name}'"
        )
    if not has_intrinsics:
        return
    scaled = ""
    if is_scaled_copy(size, camera):
        camera = scaled_camera(camera, size)
        scaled = f", scaled to {size[0]}x{size[1]},"
    if not _same_matrix(K, camera):
        raise InputError(
            f"CameraInfo says fx {K[0, 0]:.1f}, fy {K[1, 1]:.1f}, cx {K[0, 2]:.1f}, "
            f"cy {K[1, 2]:.1f}{' (P)' * rectified}, the rig file{scaled} {camera.K[0, 0]:.1f}, "
            f"{camera.K[1, 1]:.1f}, {camera.K[0, 2]:.1f}, {camera.K[1, 2]:.1f} for camera "
            f"'{camera.name}'{_other_image(fields, camera, rectified)}"
        )
    if rectified:
        _check_undistorted(camera)
    else:
        _check_distortion(fields, camera)


def _has(matrix: np.ndarray | None) -> bool:
    return matrix is not None and bool(np.any(matrix))


def _same_matrix(K: np.ndarray, camera: Camera) -> bool:
    return bool(np.abs(K - camera.K).max() <= 0.02 * camera.image_size[0])


def _other_image(fields: CameraInfoFields, camera: Camera, rectified: bool) -> str:
    """What to do where the rig file is that of the camera's other image, rectified or raw."""
    if not _has(fields.K if rectified else fields.P):
        return ""
    _, K = image_geometry(fields, not rectified)
    if not _same_matrix(K, camera):
        return ""
    if rectified:
        return ", which is that of the raw image: subscribe to image_raw, or set rectified:=false"
    return ", which is that of the rectified image: subscribe to image_rect, or set rectified:=true"


def _check_undistorted(camera: Camera) -> None:
    if camera.fisheye or np.any(camera.distortion):
        raise InputError(
            f"the images are rectified, but the rig file has a lens with distortion for camera "
            f"'{camera.name}', expected a rig from P: subscribe to image_raw, or set "
            "rectified:=false"
        )


def _check_distortion(fields: CameraInfoFields, camera: Camera) -> None:
    try:
        distortion, fisheye, _ = lens_of(fields)
    except InputError:
        # A lens model that this package lacks: there is nothing to compare.
        return
    if fisheye != camera.fisheye or len(distortion) != len(camera.distortion):
        return
    if not np.abs(distortion - camera.distortion).max() <= 0.05:
        raise InputError(
            f"CameraInfo says distortion {np.round(distortion, 4).tolist()}, the rig file "
            f"{np.round(camera.distortion, 4).tolist()} for camera '{camera.name}'"
        )


def check_image_size(size: tuple[int, int], camera: Camera) -> None:
    """InputError when (width, height), px, is not the size that the camera was calibrated at.

    The rim that a codec crops is let pass, see `sources.is_codec_crop`, and a scaled copy.
    """
    if not _fits(size, camera):
        raise InputError(
            f"image is {size[0]}x{size[1]}, camera '{camera.name}' is calibrated for "
            f"{camera.image_size[0]}x{camera.image_size[1]}"
        )


def _fits(size: tuple[int, int], camera: Camera) -> bool:
    whole = tuple(size) == camera.image_size
    return whole or is_codec_crop(size, camera) or is_scaled_copy(size, camera)
