"""Skeletons to and from voxelpose_ros/SkeletonArray: mm here, metres in the message (REP-103)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from voxelpose_core.errors import InputError
from voxelpose_core.pose_types import Skeleton
from voxelpose_core.ros_messages.message_classes import MessageClasses
from voxelpose_core.skeletons import JointSet, written_joint_set

MM_PER_M = 1000.0


def skeletons_to_message(
    classes: MessageClasses,
    skeletons: Sequence[Skeleton],
    joint_set: JointSet,
    cameras: Sequence[str],
    header: Any,
) -> Any:
    """A voxelpose_ros/SkeletonArray.

    Args:
        classes: the family of the message.
        skeletons: joints in mm.
        joint_set: of the skeletons.
        cameras: names of the cameras that contributed.
        header: std_msgs/Header of the same family; its `frame_id` is the rig's frame.
    """
    limbs = np.array([joint for limb in joint_set.limbs for joint in limb], np.uint8)
    return classes.own("SkeletonArray")(
        header=header,
        joint_set=joint_set.name,
        joint_names=list(joint_set.joint_names),
        limbs=classes.numbers(limbs),
        cameras=list(cameras),
        skeletons=[_to_message(classes, skeleton, joint_set) for skeleton in skeletons],
    )


def _to_message(classes: MessageClasses, skeleton: Skeleton, joint_set: JointSet) -> Any:
    point, vector = (classes.of(f"geometry_msgs/msg/{name}") for name in ("Point", "Vector3"))
    velocities, covariances = skeleton.joint_velocities, skeleton.joint_covariances
    square_metres = np.zeros(0) if covariances is None else np.asarray(covariances, np.float64) / MM_PER_M**2
    (root,) = vectors_in_metres(point, joint_set.root_of(np.asarray(skeleton.joints))[None])
    return classes.own("Skeleton")(
        track_id=int(skeleton.track_id),
        score=float(skeleton.score),
        root=root,
        joints=vectors_in_metres(point, skeleton.joints),
        joint_scores=classes.numbers(np.asarray(skeleton.joint_scores, np.float32)),
        joint_valid=classes.numbers(np.asarray(skeleton.joint_valid, bool)),
        joint_velocities=[] if velocities is None else vectors_in_metres(vector, velocities),
        # Nine values per joint, row-major.
        joint_covariances=classes.numbers(square_metres.ravel()),
    )


def vectors_in_metres(vector: Any, positions: np.ndarray) -> list[Any]:
    """Points (N, 3) in mm, or velocities in mm/s, as N messages of the class `vector` with x, y and z."""
    rows = np.asarray(positions, np.float64)[:, :3] / MM_PER_M
    return [vector(x=x, y=y, z=z) for x, y, z in rows.tolist()]


def skeletons_from_message(message: Any) -> list[Skeleton]:
    """The skeletons of a voxelpose_ros/SkeletonArray, back in mm.

    Raises:
        InputError: for an unknown joint set, or arrays that are not one value per joint (nine in
            `joint_covariances`).
    """
    joint_count = len(written_joint_set(message.joint_set, message.joint_names))
    return [_from_message(person, joint_count, message.joint_set) for person in message.skeletons]


def _from_message(person: Any, joint_count: int, joint_set: str) -> Skeleton:
    velocities, covariances = person.joint_velocities, person.joint_covariances
    lengths = {len(person.joints), len(person.joint_scores), len(person.joint_valid)}
    if len(velocities):
        lengths.add(len(velocities))
    if lengths != {joint_count}:
        raise InputError(
            f"skeleton {person.track_id} has {sorted(lengths)} joint values, expected "
            f"{joint_count} of {joint_set}"
        )
    if len(covariances) not in (0, 9 * joint_count):
        raise InputError(
            f"skeleton {person.track_id} has {len(covariances)} values in joint_covariances, "
            f"expected 9 for each of {joint_count} joints of {joint_set}, or none"
        )
    return Skeleton(
        joints=_in_millimetres(person.joints),
        joint_scores=np.array(person.joint_scores, dtype=np.float64),
        joint_valid=np.array(person.joint_valid, dtype=bool),
        score=person.score,
        track_id=person.track_id,
        joint_velocities=_in_millimetres(velocities) if len(velocities) else None,
        joint_covariances=MM_PER_M**2 * np.reshape(covariances, (joint_count, 3, 3))
        if len(covariances)
        else None,
    )


def _in_millimetres(vectors: Sequence[Any]) -> np.ndarray:
    """(N, 3) of messages with x, y and z in metres."""
    return MM_PER_M * np.array([[v.x, v.y, v.z] for v in vectors])
