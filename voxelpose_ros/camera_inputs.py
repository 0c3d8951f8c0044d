"""Subscriptions to the cameras: checked messages in, stamps and CameraInfo that make no sense reported."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple, Protocol

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.ros_messages.camera_info import check_camera_info
from voxelpose_ros import clocks, conversions, topics
from voxelpose_ros.camera_settings import CameraSettings
from voxelpose_ros.msg import Keypoints2DArray

_MESSAGE_TYPES = {"image": Image, "compressed": CompressedImage, "keypoints": Keypoints2DArray}
# A stamp this far ahead of the node's clock is no camera's.
_MOST_AHEAD_NS = 3600 * conversions.SECOND


class Received(NamedTuple):
    """A camera's message and when it came.

    Attributes:
        message: as it came.
        stamp_ns: its stamp.
        arrived_ns: arrival by ROS's clock; 0 before simulated time begins.
        arrived_monotonic_ns: arrival by a clock that never jumps.
    """

    message: Any
    stamp_ns: int
    arrived_ns: int
    arrived_monotonic_ns: int


class Reports(Protocol):
    """Hears of what is wrong with the cameras."""

    def problem(self, text: str, camera: str = "") -> None:
        """Something went wrong once, with a camera or at large."""
        ...

    def incompatible_publisher(self, camera: str, reliability: str, policy: str) -> None:
        """A publisher of a camera's topic offers less than is asked for."""
        ...


class CameraInputs:
    """Subscribes to the cameras' topics and hands on what can be used.

    Args:
        node: which subscribes.
        camera_topics: full name of each camera's topic.
        reports: takes what is wrong.
        receive: called with a camera, a stamp in ns and the message.
        rig: gives the rig whose calibration CameraInfo messages must agree with; not asked for it with
            calibration:=topics.

    Attributes:
        calibration_faults: per camera, in what its CameraInfo contradicts the rig file; no entry
            where it does not.
    """

    def __init__(
        self,
        node: Node,
        camera_topics: Mapping[str, str],
        reports: Reports,
        receive: Callable[[str, int, Received], None],
        rig: Callable[[], Rig],
    ):
        self.calibration_faults: dict[str, str] = {}
        self._node = node
        self._topics = camera_topics
        self._reports = reports
        self._receive = receive
        self._rig = rig

    def subscribe(
        self,
        settings: CameraSettings,
        queue_depth: int,
        acquired: ExitStack,
        callback_group: Callable[[], CallbackGroup] | None = None,
    ) -> None:
        """Listen to every camera, until `acquired` is closed.

        Args:
            settings: type and quality of the topics, and whether CameraInfo is checked.
            queue_depth: messages of a camera that wait to be taken; older ones are dropped.
            acquired: takes the subscriptions.
            callback_group: makes the group of a camera's subscription; None: the node's.
        """
        qos = topics.sensor_qos(settings.reliability, queue_depth)
        for camera, topic in self._topics.items():
            subscription = self._node.create_subscription(
                _MESSAGE_TYPES[settings.input],
                topic,
                partial(self._on_message, camera),
                qos,
                callback_group=None if callback_group is None else callback_group(),
                event_callbacks=topics.subscription_events(
                    partial(self._reports.incompatible_publisher, camera, settings.reliability)
                ),
            )
            acquired.callback(self._node.destroy_subscription, subscription)
            if settings.check_camera_info and settings.calibration == "rig_file":
                subscription = self._node.create_subscription(
                    CameraInfo,
                    topics.camera_info_topic(topic),
                    partial(self._on_camera_info, camera, settings.is_rectified(topic)),
                    topics.sensor_qos(),
                )
                acquired.callback(self._node.destroy_subscription, subscription)

    def _on_message(self, camera: str, message: Any) -> None:
        stamp_ns = conversions.to_nanoseconds(message.header.stamp)
        now_ns = clocks.now_ns(self._node)
        # Simulated time is zero until its first message.
        if stamp_ns <= 0 or 0 < now_ns < stamp_ns - _MOST_AHEAD_NS:
            note = " on /clock, use_sim_time is true" if clocks.is_simulated(self._node) else ""
            self._reports.problem(
                f"topic {self._topics[camera]}: stamp is {stamp_ns / 1e9:.3f} s, expected the time "
                f"of the exposure (it is {now_ns / 1e9:.3f} s now{note})",
                camera,
            )
            return
        self._receive(camera, stamp_ns, Received(message, stamp_ns, now_ns, time.monotonic_ns()))

    def _on_camera_info(self, name: str, rectified: bool, message: CameraInfo) -> None:
        try:
            check_camera_info(message, self._rig().camera(name), rectified)
            self.calibration_faults.pop(name, None)
        except InputError as error:
            topic = topics.camera_info_topic(self._topics[name])
            self.calibration_faults[name] = f"topic {topic}: {error}"
