"""Names and qualities of the topics that belong to cameras."""

from __future__ import annotations

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
from voxelpose_core.topic_names import COMPRESSED_SUFFIX as COMPRESSED_SUFFIX
from voxelpose_core.topic_names import camera_info_topic as camera_info_topic
from voxelpose_core.topic_names import is_rectified as is_rectified
from voxelpose_core.topic_names import ros_name as ros_name

try:
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
except ImportError:  # before ROS 2 Jazzy
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks

IMAGE_TOPIC = "/{camera}/image_raw"
KEYPOINTS_TOPIC = "/{camera}/keypoints"
RELIABILITIES = ("best_effort", "reliable")


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
