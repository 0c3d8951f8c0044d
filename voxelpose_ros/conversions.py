"""rclpy's messages of what the core knows. `voxelpose_core.ros_messages` fills those that bags have, too."""

from __future__ import annotations

import array
import functools
import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, TransformStamped
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header

from voxelpose_core.geometry.camera import Camera
from voxelpose_core.pose_types import Skeleton
from voxelpose_core.ros_messages import keypoints as keypoint_messages
from voxelpose_core.ros_messages import skeletons as skeleton_messages
from voxelpose_core.ros_messages.message_classes import MessageClasses
from voxelpose_core.ros_messages.skeletons import MM_PER_M, vectors_in_metres
from voxelpose_core.skeletons import JointSet
from voxelpose_ros.camera_info_messages import optical_frame
from voxelpose_ros.msg import Keypoints2DArray, SkeletonArray

SECOND = 1_000_000_000


@functools.cache
def _message_class(kind: str) -> Any:
    """The class of a message type such as "geometry_msgs/msg/Point"."""
    package, _, name = kind.split("/")
    return getattr(importlib.import_module(f"{package}.msg"), name)


def _numbers(values: np.ndarray) -> Any:
    """An array whose elements rclpy need not check one by one; of bools, for which it has none, a list."""
    return values.tolist() if values.dtype == bool else array.array(values.dtype.char, values.tobytes())


RCLPY_CLASSES = MessageClasses(_message_class, _numbers)


def to_nanoseconds(stamp: Time) -> int:
    """A message's stamp as integer nanoseconds."""
    return stamp.sec * SECOND + stamp.nanosec


def to_stamp(nanoseconds: int) -> Time:
    """Integer nanoseconds as a message's stamp."""
    sec, nanosec = divmod(int(nanoseconds), SECOND)
    return Time(sec=sec, nanosec=nanosec)


def camera_transform(camera: Camera, frame_id: str) -> TransformStamped:
    """Where the camera's optical frame is in the rig's frame, as TF wants it."""
    transform = TransformStamped(child_frame_id=optical_frame(camera.name))
    transform.header.frame_id = frame_id
    position, rotation = transform.transform.translation, transform.transform.rotation
    position.x, position.y, position.z = (float(v) for v in camera.C / MM_PER_M)
    quaternion = Rotation.from_matrix(camera.R.T).as_quat()
    rotation.x, rotation.y, rotation.z, rotation.w = (float(v) for v in quaternion)
    return transform


def body_transform(skeleton: Skeleton, joint_set: JointSet, header: Header) -> TransformStamped:
    """The frame `body_<id>` of a person (REP-155): at mid-hip, x forward, z up (REP-103)."""
    transform = TransformStamped(header=header, child_frame_id=f"body_{skeleton.track_id}")
    position, rotation = transform.transform.translation, transform.transform.rotation
    root = joint_set.root_of(skeleton.joints) / MM_PER_M
    position.x, position.y, position.z = (float(value) for value in root)
    left, right = (skeleton.joints[joint_set.index(f"{side}_hip")] for side in ("left", "right"))
    # Forward is what lies a quarter turn clockwise of the way from the right hip to the left.
    heading = np.arctan2(-(left - right)[0], (left - right)[1])
    _, _, rotation.z, rotation.w = Rotation.from_euler("z", heading).as_quat().tolist()
    return transform


def skeletons_to_message(
    skeletons: Sequence[Skeleton],
    joint_set: JointSet,
    cameras: Sequence[str],
    header: Header,
) -> SkeletonArray:
    """Skeletons in mm as a message in metres; `header.frame_id` is the rig's frame."""
    return skeleton_messages.skeletons_to_message(RCLPY_CLASSES, skeletons, joint_set, cameras, header)


def joints_to_message(
    people: np.ndarray, joint_set: JointSet, cameras: Sequence[str], header: Header
) -> SkeletonArray:
    """Known joints (P, J, 3) in mm, numbered and certain, as a message in metres."""
    certain = [
        Skeleton(joints, np.ones(len(joints)), np.ones(len(joints), bool), 1.0, number)
        for number, joints in enumerate(people)
    ]
    return skeletons_to_message(certain, joint_set, cameras, header)


def point_in_metres(position: np.ndarray) -> Point:
    """A position (3,) in mm as a message."""
    return vectors_in_metres(Point, position[None])[0]


def keypoints_to_message(
    keypoints: np.ndarray, camera: Camera, joint_set: JointSet, header: Header
) -> Keypoints2DArray:
    """A camera's 2D detections (P, J, 3) of x px, y px, score as a message."""
    return keypoints_message(keypoints, camera.name, camera.image_size, joint_set, header)


def keypoints_message(
    keypoints: np.ndarray,
    camera: str,
    image_size: tuple[int, int],
    joint_set: JointSet,
    header: Header,
) -> Keypoints2DArray:
    """2D detections (P, J, 3), x px, y px, score, of a camera of which only its name and the size of its
    image, (width, height) px, are known."""
    return keypoint_messages.keypoints_to_message(
        RCLPY_CLASSES, keypoints, camera, image_size, joint_set, header
    )
