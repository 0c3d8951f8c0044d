"""What the node says while the demonstration plays, kept by stamp."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo
from visualization_msgs.msg import Marker, MarkerArray

from voxelpose_core.geometry.rig import Rig
from voxelpose_ros import bringup, conversions, topics
from voxelpose_ros.msg import Keypoints2DArray, SkeletonArray

_QUEUE = 1000
# Of the latency, what passes before the estimator has a frame set (see EstimationWorker).
_WAITS = ("transport", "waiting", "queue")


class Listener(Node):
    """Keeps everything that the node says, by stamp (nanoseconds)."""

    def __init__(self, rig: Rig):
        super().__init__("voxelpose_demo")
        self.skeletons: dict[int, SkeletonArray] = {}
        self.keypoints: dict[tuple[int, str], Keypoints2DArray] = {}
        self.played: set[int] = set()
        self.drawn: set[int] = set()
        self.diagnostics: dict[str, DiagnosticStatus] = {}
        base = f"/{bringup.NODE_NAME}"
        self._listen(SkeletonArray, bringup.SKELETONS_TOPIC, self._on_skeletons)
        self._listen(MarkerArray, f"{base}/markers", self._on_markers)
        self._listen(DiagnosticArray, "/diagnostics", self._on_diagnostics)
        for camera in rig.names:
            topic = f"{base}/keypoints/{topics.ros_name(camera)}"
            self._listen(Keypoints2DArray, topic, partial(self._on_keypoints, camera))
            info = topics.camera_info_topic(topics.expand(topics.IMAGE_TOPIC, camera))
            self._listen(CameraInfo, info, self._on_camera_info)

    def _listen(self, message_type: type, topic: str, callback: Callable) -> None:
        self.create_subscription(message_type, topic, callback, _QUEUE)

    def _on_skeletons(self, message: SkeletonArray) -> None:
        self.skeletons[conversions.to_nanoseconds(message.header.stamp)] = message

    def _on_keypoints(self, camera: str, message: Keypoints2DArray) -> None:
        self.keypoints[conversions.to_nanoseconds(message.header.stamp), camera] = message

    def _on_camera_info(self, message: CameraInfo) -> None:
        self.played.add(conversions.to_nanoseconds(message.header.stamp))

    def _on_markers(self, message: MarkerArray) -> None:
        for marker in message.markers:
            if marker.action == Marker.ADD:
                self.drawn.add(conversions.to_nanoseconds(marker.header.stamp))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self.diagnostics[status.name] = status

    def value(self, key: str) -> str:
        """A value of the estimator's last diagnostics, empty where there is none."""
        status = self.diagnostics.get(f"{bringup.NODE_NAME}: estimator", DiagnosticStatus())
        return next((item.value for item in status.values if item.key == key), "")

    def knows_all(self) -> bool:
        """Whether the last diagnostics count all skeletons that came."""
        return self.value("frame sets estimated") == str(len(self.skeletons))

    def stage_medians_ms(self) -> dict[str, float]:
        """Median milliseconds of each stage, from the last diagnostics."""
        return {
            stage: ms
            for stage, ms in self._medians_ms().items()
            if stage not in ("latency", "total", *_WAITS)
        }

    def latency_parts_ms(self) -> dict[str, float]:
        """Median milliseconds of what lies between a frame set and its skeletons."""
        medians = self._medians_ms()
        if not medians:
            return {}
        inference = medians["total"] - medians["publish"]
        waits = {part: medians[part] for part in _WAITS}
        return {**waits, "inference": inference, "publishing": medians["publish"]}

    def _medians_ms(self) -> dict[str, float]:
        status = self.diagnostics.get(f"{bringup.NODE_NAME}: estimator", DiagnosticStatus())
        suffix = " p50 ms"
        return {
            item.key.removesuffix(suffix): float(item.value)
            for item in status.values
            if item.key.endswith(suffix)
        }

    def problems(self) -> list[str]:
        """What went wrong where, from the last diagnostics."""
        found = []
        for status in self.diagnostics.values():
            values = {item.key: item.value for item in status.values}
            if values.get("last problem"):
                found.append(f"{values['last problem']} ({values['problems']} times)")
        return found
