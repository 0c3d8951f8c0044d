"""Definitions of this package's messages, for bags."""

from __future__ import annotations

from voxelpose_core.resources import find_resource

# Messages before those that hold them.
_MESSAGES = ("Keypoints2D", "Keypoints2DArray", "Skeleton", "SkeletonArray")
PACKAGE = "voxelpose_ros"


def message_type(name: str) -> str:
    """The full type of a message of this package, such as "voxelpose_ros/msg/SkeletonArray"."""
    return f"{PACKAGE}/msg/{name}"


def message_definitions() -> dict[str, str]:
    """Text of msg/*.msg by full type.

    Raises:
        InputError: this copy of the package lacks them.
    """
    return {
        message_type(name): find_resource(f"msg/{name}.msg").read_text(encoding="utf-8") for name in _MESSAGES
    }
