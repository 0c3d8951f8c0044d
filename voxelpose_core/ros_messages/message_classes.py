"""Classes of ROS messages: rclpy's for a node, those of the package rosbags for a bag.

Both families have the same types and fields. They differ in where a class is found and in how a field takes
many numbers, and that is all that `MessageClasses` knows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from voxelpose_core.bags.definitions import message_type

SECOND = 1_000_000_000


@dataclass(frozen=True)
class MessageClasses:
    """One family of message classes.

    Attributes:
        of: the class of a message type such as "geometry_msgs/msg/Point"; it takes all fields as keywords.
        numbers: the value of a field of many numbers or bools, from an array (N,) of the field's dtype.
    """

    of: Callable[[str], Any]
    numbers: Callable[[np.ndarray], Any]

    def own(self, name: str) -> Any:
        """The class of a message of this package, such as "SkeletonArray"."""
        return self.of(message_type(name))


def bag_classes(types: Mapping[str, Any]) -> MessageClasses:
    """The classes of a rosbags type store, by message type (`Typestore.types`)."""
    return MessageClasses(types.__getitem__, np.asarray)


def header_message(classes: MessageClasses, stamp_ns: int, frame_id: str) -> Any:
    """A std_msgs/Header."""
    sec, nanosec = divmod(stamp_ns, SECOND)
    time = classes.of("builtin_interfaces/msg/Time")(sec=sec, nanosec=nanosec)
    return classes.of("std_msgs/msg/Header")(stamp=time, frame_id=frame_id)
