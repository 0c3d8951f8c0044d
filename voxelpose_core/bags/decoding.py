"""Images and joint sets of a bag's messages."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from voxelpose_core.bags.bag import Bag, RawMessage
from voxelpose_core.bags.topics import COMPRESSED
from voxelpose_core.errors import InputError
from voxelpose_core.joint_set import JointSet
from voxelpose_core.ros_messages.images import compressed_to_bgr, image_to_bgr
from voxelpose_core.skeletons import get_joint_set


def decoded_image(bag: Bag, message: RawMessage) -> np.ndarray | None:
    """The picture (H, W, 3), uint8, BGR, of an image message; None, and a warning, for a bad one."""
    try:
        decoded = bag.decoded(message)
        return compressed_to_bgr(decoded) if bag.types[message.topic] == COMPRESSED else image_to_bgr(decoded)
    except InputError as error:
        warnings.warn(f"topic {message.topic}: {error}")
        return None


def joint_set_of(keypoints: Any) -> JointSet:
    """Of a voxelpose_ros/Keypoints2DArray; InputError where its name is not known."""
    return get_joint_set(keypoints.joint_set)
