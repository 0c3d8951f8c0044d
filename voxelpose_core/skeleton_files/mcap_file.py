"""MCAP, the file of rosbag2: the messages that the node publishes, for `ros2 bag play` and Foxglove."""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from voxelpose_core.bags.bag import SECOND, message_types
from voxelpose_core.bags.definitions import message_type
from voxelpose_core.errors import InputError
from voxelpose_core.pose_types import Skeleton
from voxelpose_core.skeleton_files.recording import FrameSkeletons, Recording
from voxelpose_core.skeleton_files.written import Written, writing
from voxelpose_core.skeletons import JointSet

TOPIC = "/voxelpose/skeletons"
_MM_PER_M = 1000.0


def check_available() -> None:
    """InputError where rosbags is not installed."""
    if importlib.util.find_spec("rosbags") is None:
        raise InputError("MCAP files need the Python package rosbags: pip install rosbags")


def write(path: Path, recording: Recording) -> Written:
    """Write an MCAP file with one voxelpose_ros/SkeletonArray per frame set on /voxelpose/skeletons.

    Stamps are those of the recording's start plus those of the frame sets: of a bag, ROS time; else from 0.
    The definitions of the messages are in the file.

    Raises:
        InputError: rosbags is missing, or the file cannot be written.
    """
    check_available()
    from rosbags.rosbag2 import StoragePlugin, Writer, WriterError

    types, kind = message_types(), message_type("SkeletonArray")
    messages = _Messages(types, recording)
    with writing(path), tempfile.TemporaryDirectory(dir=path.parent, prefix=".voxelpose_") as folder:
        bag = Path(folder) / "bag"
        try:
            with Writer(bag, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
                connection = writer.add_connection(TOPIC, kind, typestore=types)
                for frame_set in recording.frame_sets:
                    data = types.serialize_cdr(messages.skeleton_array(frame_set), kind)
                    writer.write(connection, messages.stamp_ns(frame_set), data)
        except WriterError as error:
            raise InputError(f"{path}: cannot be written ({error})") from None
        (found,) = bag.glob("*.mcap")
        found.replace(path)
    return Written([path])


class _Messages:
    """Makes messages of a recording's frame sets."""

    def __init__(self, types: Any, recording: Recording):
        self._types = types.types
        self._recording = recording

    def stamp_ns(self, frame_set: FrameSkeletons) -> int:
        """Nanoseconds."""
        return self._recording.start_ns + round(frame_set.stamp * SECOND)

    def skeleton_array(self, frame_set: FrameSkeletons) -> Any:
        """voxelpose_ros/SkeletonArray, metres."""
        joint_set = self._recording.joint_set
        time = self._types["builtin_interfaces/msg/Time"](*divmod(self.stamp_ns(frame_set), SECOND))
        limbs = np.array([joint for limb in joint_set.limbs for joint in limb], np.uint8)
        return self._types[message_type("SkeletonArray")](
            header=self._types["std_msgs/msg/Header"](stamp=time, frame_id=self._recording.frame_id),
            joint_set=joint_set.name,
            joint_names=list(joint_set.joint_names),
            limbs=limbs,
            cameras=[],
            skeletons=[self._skeleton(skeleton, joint_set) for skeleton in frame_set.skeletons],
        )

    def _skeleton(self, skeleton: Skeleton, joint_set: JointSet) -> Any:
        vector = self._types["geometry_msgs/msg/Vector3"]
        velocities, covariances = skeleton.joint_velocities, skeleton.joint_covariances
        metres = np.asarray(velocities if velocities is not None else np.zeros((0, 3))) / _MM_PER_M
        square_metres = np.zeros(0) if covariances is None else np.asarray(covariances, float) / _MM_PER_M**2
        return self._types[message_type("Skeleton")](
            track_id=int(skeleton.track_id),
            score=float(skeleton.score),
            root=self._point(joint_set.root_of(np.asarray(skeleton.joints))),
            joints=[self._point(joint) for joint in skeleton.joints],
            joint_scores=np.asarray(skeleton.joint_scores, np.float32),
            joint_valid=np.asarray(skeleton.joint_valid, bool),
            joint_velocities=[vector(*row) for row in metres.tolist()],
            joint_covariances=square_metres.ravel(),
        )

    def _point(self, position: np.ndarray) -> Any:
        return self._types["geometry_msgs/msg/Point"](*(float(value) / _MM_PER_M for value in position))
