"""Between ROS messages and the core's types: the one place where millimetres meet metres.

Errors name what is wrong in the message; the caller, who knows it, puts the topic in front.
"""

from __future__ import annotations

import array
from collections.abc import Sequence

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, TransformStamped, Vector3
from scipy.spatial.transform import Rotation
from std_msgs.msg import Header

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.pose_types import Skeleton
from voxelpose_core.skeletons import JointSet, written_joint_set
from voxelpose_ros.camera_info_messages import optical_frame
from voxelpose_ros.msg import Keypoints2D, Keypoints2DArray, SkeletonArray
from voxelpose_ros.msg import Skeleton as SkeletonMessage

SECOND = 1_000_000_000
MM_PER_M = 1000.0


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
    return SkeletonArray(
        header=header,
        joint_set=joint_set.name,
        joint_names=list(joint_set.joint_names),
        limbs=[joint for limb in joint_set.limbs for joint in limb],
        cameras=list(cameras),
        skeletons=[_skeleton_to_message(skeleton, joint_set) for skeleton in skeletons],
    )


def joints_to_message(
    people: np.ndarray, joint_set: JointSet, cameras: Sequence[str], header: Header
) -> SkeletonArray:
    """Known joints (P, J, 3) in mm, numbered and certain, as a message in metres."""
    message = skeletons_to_message([], joint_set, cameras, header)
    message.skeletons = [
        SkeletonMessage(
            track_id=number,
            score=1.0,
            root=point_in_metres(joint_set.root_of(joints)),
            joints=[point_in_metres(joint) for joint in joints],
            joint_scores=[1.0] * len(joints),
            joint_valid=[True] * len(joints),
        )
        for number, joints in enumerate(people)
    ]
    return message


def _skeleton_to_message(skeleton: Skeleton, joint_set: JointSet) -> SkeletonMessage:
    return SkeletonMessage(
        track_id=int(skeleton.track_id),
        score=float(skeleton.score),
        root=point_in_metres(joint_set.root_of(np.asarray(skeleton.joints))),
        joints=[point_in_metres(joint) for joint in skeleton.joints],
        joint_scores=[float(score) for score in skeleton.joint_scores],
        joint_valid=[bool(valid) for valid in skeleton.joint_valid],
        joint_velocities=_velocities(skeleton.joint_velocities),
        joint_covariances=_covariances(skeleton.joint_covariances),
    )


def _velocities(mm_per_s: np.ndarray | None) -> list[Vector3]:
    if mm_per_s is None:
        return []
    return [Vector3(x=x, y=y, z=z) for x, y, z in (np.asarray(mm_per_s) / MM_PER_M).tolist()]


def _covariances(mm2: np.ndarray | None) -> array.array:
    """Nine values per joint, row-major, m^2; an array, whose elements rclpy need not check one by one."""
    if mm2 is None:
        return array.array("d")
    return array.array("d", (np.asarray(mm2, np.float64) / MM_PER_M**2).tobytes())


def point_in_metres(position: np.ndarray) -> Point:
    """A position (3,) in mm as a message."""
    x, y, z = (float(value) / MM_PER_M for value in position[:3])
    return Point(x=x, y=y, z=z)


def skeletons_from_message(message: SkeletonArray) -> list[Skeleton]:
    """A message's skeletons, back in mm.

    Raises:
        InputError: for an unknown joint set, or arrays that are not one value per joint (nine in
            `joint_covariances`).
    """
    joints = len(written_joint_set(message.joint_set, message.joint_names))
    skeletons = []
    for person in message.skeletons:
        velocities = person.joint_velocities or None
        arrays = (person.joints, person.joint_scores, person.joint_valid, velocities)
        lengths = {len(values) for values in arrays if values is not None}
        if lengths != {joints}:
            raise InputError(
                f"skeleton {person.track_id} has {sorted(lengths)} joint values, expected "
                f"{joints} of {message.joint_set}"
            )
        covariances = person.joint_covariances
        if len(covariances) not in (0, 9 * joints):
            raise InputError(
                f"skeleton {person.track_id} has {len(covariances)} values in joint_covariances, "
                f"expected 9 for each of {joints} joints of {message.joint_set}, or none"
            )
        skeletons.append(
            Skeleton(
                joints=MM_PER_M * np.array([[p.x, p.y, p.z] for p in person.joints]),
                joint_scores=np.array(person.joint_scores, dtype=np.float64),
                joint_valid=np.array(person.joint_valid, dtype=bool),
                score=person.score,
                track_id=person.track_id,
                joint_velocities=velocities and MM_PER_M * np.array([[v.x, v.y, v.z] for v in velocities]),
                joint_covariances=MM_PER_M**2 * np.reshape(covariances, (joints, 3, 3))
                if len(covariances)
                else None,
            )
        )
    return skeletons


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
    people = []
    for person in np.asarray(keypoints, dtype=np.float32):
        x, y, scores = (column.tolist() for column in person.T)
        people.append(Keypoints2D(score=max(scores), x=x, y=y, keypoint_scores=scores))
    return Keypoints2DArray(
        header=header,
        camera=camera,
        image_width=image_size[0],
        image_height=image_size[1],
        joint_set=joint_set.name,
        people=people,
    )
