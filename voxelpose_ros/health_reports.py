"""Reports the node's health: /diagnostics once a second, and one line in the log when it matters."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node

from voxelpose_core.findings import Finding
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.geometry.rig_check import rig_findings
from voxelpose_core.synchronization.camera_statistics import CameraStatistics
from voxelpose_ros import clocks
from voxelpose_ros.diagnostics import Health


class HealthReports:
    """Hears of problems from any thread, logs them sparingly, and publishes the node's health.

    Args:
        node: whose logger, clock and publisher are used.
        hardware_id: the rig's name.
        camera_topics: full name of each camera's topic.
        acquired: the publisher lives until this is closed.

    Attributes:
        health: what is counted and remembered.
    """

    def __init__(self, node: Node, hardware_id: str, camera_topics: Mapping[str, str], acquired: ExitStack):
        name = node.get_fully_qualified_name().strip("/")
        self.health = Health(name, hardware_id, camera_topics, time.monotonic())
        self._node = node
        self._topics = camera_topics
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        acquired.callback(node.destroy_publisher, self._publisher)

    def problem(self, text: str, camera: str = "") -> None:
        """Something went wrong once, with a camera or at large."""
        if self.health.problem(text, time.monotonic(), camera):
            self._node.get_logger().warning(text)

    def calibrated(self, rig: Rig) -> None:
        """What looks wrong with a new calibration: in the log now, in the diagnostics from now on."""
        self.health.calibrated(rig_findings(rig), time.monotonic())
        self._log_findings()

    def incompatible_publisher(self, camera: str, reliability: str, policy: str) -> None:
        """A publisher of a camera's topic offers less than is asked for."""
        self.health.note(camera, f"a publisher there offers another {policy} than is asked for")
        self.problem(
            f"topic {self._topics[camera]}: a publisher offers another {policy} than is asked for "
            f"(parameter 'qos.reliability' is {reliability})",
            camera,
        )

    def incompatible_subscriber(self, reliability: str, topic: str, policy: str) -> None:
        """A subscriber of an output topic asks for more than is offered."""
        self.problem(
            f"topic {topic}: a subscriber asks for another {policy} than is offered "
            f"(parameter 'qos.output_reliability' is {reliability})"
        )

    def publish(
        self,
        active: bool,
        statistics: Mapping[str, CameraStatistics],
        description: Mapping[str, object],
        findings: Sequence[Finding],
    ) -> None:
        """Publish the diagnostics: see `Health.report`."""
        missing_clock = clocks.missing_clock(self._node)
        self._publisher.publish(
            self.health.report(
                clocks.diagnostics_stamp(self._node),
                time.monotonic(),
                active,
                statistics,
                {name: self._node.count_publishers(topic) for name, topic in self._topics.items()},
                description,
                [*([] if missing_clock is None else [missing_clock]), *findings],
            )
        )
        self._log_findings()

    def _log_findings(self) -> None:
        for line in self.health.new_lines():
            self._node.get_logger().warning(line)
