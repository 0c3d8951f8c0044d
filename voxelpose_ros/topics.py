"""Names and qualities of the topics that belong to cameras."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from rclpy.exceptions import InvalidTopicNameException
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSProfile,
    ReliabilityPolicy,
    qos_policy_name_from_kind,
)
from rclpy.validate_topic_name import validate_topic_name

from voxelpose_core.errors import InputError

try:
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
except ImportError:  # before ROS 2 Jazzy
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks

IMAGE_TOPIC = "/{camera}/image_raw"
KEYPOINTS_TOPIC = "/{camera}/keypoints"
COMPRESSED_SUFFIX = "/compressed"
RELIABILITIES = ("best_effort", "reliable")


def ros_name(camera: str) -> str:
    """The camera's name as part of a topic: letters, digits, underscores, no digit first."""
    name = re.sub(r"\W", "_", camera, flags=re.ASCII)
    return f"camera_{name}" if name[:1].isdigit() or not name else name


def expand(template: str, camera: str) -> str:
    """The camera's topic from a template that holds `{camera}`.

    Raises:
        InputError: when the template lacks `{camera}` or no topic comes of it.
    """
    if "{camera}" not in template:
        raise InputError(f"topic '{template}' has no '{{camera}}' in it, expected a template")
    return checked(template.replace("{camera}", ros_name(camera)))


def checked(topic: str) -> str:
    """The same topic; InputError when ROS does not allow it."""
    try:
        validate_topic_name(topic)
    except InvalidTopicNameException as error:
        reason = " ".join(str(error).split())
        raise InputError(f"topic '{topic}' is not a ROS name: {reason}") from None
    return topic


def camera_info_topic(image_topic: str) -> str:
    """The topic of the CameraInfo beside an image or keypoints topic (image_transport's rule)."""
    base = image_topic.removesuffix(COMPRESSED_SUFFIX)
    return f"{base.rpartition('/')[0]}/camera_info"


def is_rectified(image_topic: str) -> bool:
    """Whether the name of an image topic says that its images are rectified (image_proc's names)."""
    return "rect" in image_topic.removesuffix(COMPRESSED_SUFFIX).rpartition("/")[2]


def sensor_qos(reliability: str = "best_effort", depth: int = 5) -> QoSProfile:
    """SensorDataQoS (REP-2003), or the reliable variant."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy[reliability.upper()],
    )


def latched_qos() -> QoSProfile:
    """For what stays true: late subscribers get the last message."""
    return QoSProfile(
        depth=1,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL,
    )


def subscription_events(incompatible: Callable[[str], None]) -> SubscriptionEventCallbacks:
    """Calls back with the policy in which a publisher offers less than is asked for."""
    return SubscriptionEventCallbacks(incompatible_qos=lambda event: incompatible(_policy(event)))


def publisher_events(incompatible: Callable[[str], None]) -> PublisherEventCallbacks:
    """Calls back with the policy in which a subscriber asks for more than is offered."""
    return PublisherEventCallbacks(incompatible_qos=lambda event: incompatible(_policy(event)))


def publishers(count: int) -> str:
    """The number of publishers in words."""
    return "1 publisher" if count == 1 else f"{count or 'no'} publishers"


def _policy(event: Any) -> str:
    return qos_policy_name_from_kind(event.last_policy_kind).lower()
