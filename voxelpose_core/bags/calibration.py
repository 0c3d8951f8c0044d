"""A rig from a bag's CameraInfo and TF."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from voxelpose_core.bags.bag import Bag
from voxelpose_core.bags.topics import CAMERA_INFO, TF, TF_STATIC, camera_topics
from voxelpose_core.errors import InputError
from voxelpose_core.geometry.calibration_formats import Notes
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.ros_messages.camera_info import check_camera_info, intrinsics_from_message
from voxelpose_core.topic_names import camera_info_topic, is_rectified

_MM_PER_M = 1000.0
# Longer chains of frames than any robot has: a loop.
_LONGEST_CHAIN = 100


def rig_from_bag(bag: Bag, given: Sequence[str] | None = None, world_frame: str | None = None) -> Rig:
    """The cameras of a bag: intrinsics from the first CameraInfo of each, extrinsics from TF.

    Args:
        bag: which is open.
        given: topics of the cameras, see `camera_topics`.
        world_frame: frame with z up in which the rig is wanted; None: the root of the cameras' frames.

    Raises:
        InputError: naming the camera, topic or frame that is missing or wrong.
    """
    topics = camera_topics(bag.types, given)
    infos = _first_infos(bag, topics)
    tree = _FrameTree(bag)
    optical = {name: _frame_of(info, topics[name]) for name, info in infos.items()}
    world = world_frame or _common_root(tree, optical)
    cameras, notes = [], Notes()
    for name, info in infos.items():
        rectified = is_rectified(topics[name])
        try:
            intrinsics = intrinsics_from_message(info, rectified)
            pose = tree.pose(optical[name], world, name)
            cameras.append(intrinsics.camera(name, pose.R.T, _MM_PER_M * pose.t))
        except InputError as error:
            raise InputError(f"bag '{bag.path}': topic {camera_info_topic(topics[name])}: {error}") from None
        for assumption in intrinsics.assumptions:
            notes.add(name, assumption)
    return Rig(
        tuple(cameras),
        name=bag.path.stem,
        frame=world,
        source="CameraInfo and TF of the bag",
        unit="m",
        notes=notes.lines(topics),
    )


def unposed_rig_from_bag(bag: Bag, given: Sequence[str] | None = None) -> Rig:
    """The cameras of a bag with the intrinsics of their CameraInfo, all at the origin.

    Raises:
        InputError: naming the topic that is missing or wrong.
    """
    topics = camera_topics(bag.types, given)
    cameras = []
    for name, info in _first_infos(bag, topics).items():
        try:
            intrinsics = intrinsics_from_message(info, is_rectified(topics[name]))
        except InputError as error:
            raise InputError(f"bag '{bag.path}': topic {camera_info_topic(topics[name])}: {error}") from None
        cameras.append(intrinsics.camera(name, np.eye(3), np.zeros(3)))
    return Rig(tuple(cameras), name=bag.path.stem, source="CameraInfo of the bag", unit="m")


def check_camera_infos(bag: Bag, topics: Mapping[str, str], rig: Rig) -> None:
    """Compare the first CameraInfo beside each camera's topic with the rig; a bag without any passes.

    Raises:
        InputError: naming the topic and what contradicts, see `check_camera_info`.
    """
    names = {camera_info_topic(topic): name for name, topic in topics.items()}
    found = bag.first_messages([topic for topic in names if bag.types.get(topic) == CAMERA_INFO])
    for topic, message in found.items():
        name = names[topic]
        try:
            check_camera_info(bag.decoded(message), rig.camera(name), is_rectified(topics[name]))
        except InputError as error:
            raise InputError(
                f"bag '{bag.path}': topic {topic}: {error}: a bag of another rig? (--cameras leaves a camera "
                "out, --no-check-camera-info goes by the rig file)"
            ) from None


def _first_infos(bag: Bag, topics: Mapping[str, str]) -> dict[str, Any]:
    """CameraInfo by camera."""
    names = {camera_info_topic(topic): name for name, topic in topics.items()}
    first = bag.first_messages([topic for topic in names if bag.types.get(topic) == CAMERA_INFO])
    for topic in names:
        if topic not in first:
            raise InputError(f"bag '{bag.path}': topic {topic} has no CameraInfo, expected one, or --rig")
    return {name: bag.decoded(first[topic]) for topic, name in names.items()}


def _frame_of(info: Any, topic: str) -> str:
    frame = str(info.header.frame_id).lstrip("/")
    if not frame:
        raise InputError(f"topic {camera_info_topic(topic)}: frame_id is empty, expected the optical frame's")
    return frame


@dataclass(frozen=True, eq=False)
class _Pose:
    """Of a frame in another: x_other = R x + t, t in metres."""

    R: np.ndarray
    t: np.ndarray

    def inside(self, outer: _Pose) -> _Pose:
        """The pose in the frame in which the other frame's pose is `outer`."""
        return _Pose(outer.R @ self.R, outer.R @ self.t + outer.t)


class _FrameTree:
    """The frames of a bag, each with its pose in its parent: static ones, and the first of those that move.

    Args:
        bag: which is open.
    """

    def __init__(self, bag: Bag):
        self._bag = bag
        self._parents: dict[str, tuple[str, _Pose]] = {}
        for topic in (TF_STATIC, TF):
            for message in bag.messages({topic} & set(bag.types)):
                for transform in bag.decoded(message).transforms:
                    self._add(transform)

    def _add(self, transform: Any) -> None:
        child = str(transform.child_frame_id).lstrip("/")
        position, rotation = transform.transform.translation, transform.transform.rotation
        quaternion = np.array([rotation.x, rotation.y, rotation.z, rotation.w])
        if not abs(np.linalg.norm(quaternion) - 1.0) < 1e-2:
            raise InputError(
                f"bag '{self._bag.path}': transform of '{child}' has no rotation, expected a unit quaternion"
            )
        pose = _Pose(
            Rotation.from_quat(quaternion).as_matrix(), np.array([position.x, position.y, position.z])
        )
        self._parents.setdefault(child, (str(transform.header.frame_id).lstrip("/"), pose))

    def chain(self, frame: str) -> dict[str, _Pose]:
        """The frame's pose in itself, its parent, the parent of that, up to the root, in this order."""
        poses = {frame: _Pose(np.eye(3), np.zeros(3))}
        while frame in self._parents and len(poses) < _LONGEST_CHAIN:
            parent, pose = self._parents[frame]
            if parent in poses:
                raise InputError(
                    f"bag '{self._bag.path}': frames '{parent}' and '{frame}' are each other's parent"
                )
            poses[parent] = poses[frame].inside(pose)
            frame = parent
        return poses

    def pose(self, frame: str, world: str, camera: str) -> _Pose:
        """Of a camera's frame in the world's; either may be above, or both below a third.

        Raises:
            InputError: no transforms lead from one to the other.
        """
        own, of_world = self.chain(frame), self.chain(world)
        common = next((name for name in own if name in of_world), None)
        if common is None:
            raise InputError(
                f"camera '{camera}': no transform from '{world}' to '{frame}'; its frames are "
                f"{' < '.join(own)}: give --world-frame, or --rig"
            )
        back = of_world[common]
        return own[common].inside(_Pose(back.R.T, -back.R.T @ back.t))


def _common_root(tree: _FrameTree, optical: Mapping[str, str]) -> str:
    """The uppermost frame of all cameras."""
    roots = {name: list(tree.chain(frame))[-1] for name, frame in optical.items()}
    if len(set(roots.values())) > 1:
        words = ", ".join(f"'{name}' below '{root}'" for name, root in roots.items())
        raise InputError(f"the cameras' frames have no common root ({words}): /tf_static lacks transforms")
    return next(iter(roots.values()))
