"""CameraInfo messages of the core's cameras, and the names of their frames."""

from __future__ import annotations

import numpy as np
from builtin_interfaces.msg import Time
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from voxelpose_core.geometry.camera import Camera


def optical_frame(camera_name: str) -> str:
    """TF frame of a camera: x right, y down, z forward (REP-103)."""
    return f"{camera_name}_optical_frame"


def camera_info(camera: Camera, stamp: Time) -> CameraInfo:
    """A camera's intrinsics as a message."""
    width, height = camera.image_size
    projection = np.hstack([camera.K, np.zeros((3, 1))])
    return CameraInfo(
        header=Header(stamp=stamp, frame_id=optical_frame(camera.name)),
        width=width,
        height=height,
        distortion_model=_distortion_model(camera),
        d=camera.distortion.tolist(),
        k=camera.K.ravel().tolist(),
        r=np.eye(3).ravel().tolist(),
        p=projection.ravel().tolist(),
    )


def _distortion_model(camera: Camera) -> str:
    if camera.fisheye:
        return "equidistant"
    return "plumb_bob" if len(camera.distortion) == 5 else "rational_polynomial"
