"""MCAP, the file of rosbag2: the messages that the node publishes, for `ros2 bag play` and Foxglove."""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path

from voxelpose_core.atomic_files import writing
from voxelpose_core.bags.bag import SECOND, message_types
from voxelpose_core.bags.definitions import message_type
from voxelpose_core.errors import InputError
from voxelpose_core.ros_messages.message_classes import bag_classes, header_message
from voxelpose_core.ros_messages.skeletons import skeletons_to_message
from voxelpose_core.skeleton_files.recording import Recording
from voxelpose_core.skeleton_files.written import Written

TOPIC = "/voxelpose/skeletons"


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
    classes = bag_classes(types.types)
    with (
        writing(path) as partial,
        tempfile.TemporaryDirectory(dir=path.parent, prefix=".voxelpose_") as folder,
    ):
        bag = Path(folder) / "bag"
        try:
            with Writer(bag, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
                connection = writer.add_connection(TOPIC, kind, typestore=types)
                for frame_set in recording.frame_sets:
                    stamp_ns = recording.start_ns + round(frame_set.stamp * SECOND)
                    header = header_message(classes, stamp_ns, recording.frame_id)
                    message = skeletons_to_message(
                        classes, frame_set.skeletons, recording.joint_set, [], header
                    )
                    writer.write(connection, stamp_ns, types.serialize_cdr(message, kind))
        except WriterError as error:
            raise InputError(f"{path}: cannot be written ({error})") from None
        (found,) = bag.glob("*.mcap")
        found.replace(partial)
    return Written([path])
