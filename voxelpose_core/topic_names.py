"""Names of the topics that belong to cameras, as ROS writes them."""

from __future__ import annotations

import re

COMPRESSED_SUFFIX = "/compressed"


def ros_name(camera: str) -> str:
    """The camera's name as part of a topic: letters, digits, underscores, no digit first."""
    name = re.sub(r"\W", "_", camera, flags=re.ASCII)
    return f"camera_{name}" if name[:1].isdigit() or not name else name


def camera_info_topic(image_topic: str) -> str:
    """The topic of the CameraInfo beside an image or keypoints topic (image_transport's rule)."""
    base = image_topic.removesuffix(COMPRESSED_SUFFIX)
    return f"{base.rpartition('/')[0]}/camera_info"


def is_rectified(image_topic: str) -> bool:
    """Whether the name of an image topic says that its images are rectified (image_proc's names)."""
    return "rect" in image_topic.removesuffix(COMPRESSED_SUFFIX).rpartition("/")[2]
