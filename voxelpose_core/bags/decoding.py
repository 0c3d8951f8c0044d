"""Images and joint sets of a bag's messages."""

from __future__ import annotations

from typing import Any

import numpy as np

from voxelpose_core.bags.bag import Bag, RawMessage
from voxelpose_core.bags.topics import COMPRESSED
from voxelpose_core.errors import InputError
from voxelpose_core.joint_set import JointSet
from voxelpose_core.ros_messages.images import compressed_to_bgr, image_to_bgr
from voxelpose_core.skeletons import get_joint_set


def decoded_image(bag: Bag, message: RawMessage) -> np.ndarray:
    """The picture (H, W, 3), uint8, BGR, of an image message; InputError for a bad one."""
    decoded = bag.decoded(message)
    return compressed_to_bgr(decoded) if bag.types[message.topic] == COMPRESSED else image_to_bgr(decoded)


def image_size(bag: Bag, message: RawMessage) -> tuple[int, int] | None:
    """(width, height) of an image message; None for a bad one."""
    try:
        height, width = decoded_image(bag, message).shape[:2]
    except InputError:
        return None
    return width, height


def joint_set_of(keypoints: Any) -> JointSet:
    """Of a voxelpose_ros/Keypoints2DArray; InputError where its name is not known."""
    return get_joint_set(keypoints.joint_set)
