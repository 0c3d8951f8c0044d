"""Runs the 2D detector beside the cameras, so that only keypoints cross the network."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Sequence
from functools import partial

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image

from voxelpose_core.detectors import detect_upright, load_detector
from voxelpose_core.detectors.refinement import RefinedDetector
from voxelpose_core.errors import InputError
from voxelpose_ros import clocks, conversions, image_messages, process, topics
from voxelpose_ros.latest_slot import LatestOfEach
from voxelpose_ros.msg import Keypoints2DArray
from voxelpose_ros.parameters import Parameters
from voxelpose_ros.renamed_parameters import DETECTOR

_MESSAGE_TYPES = {"image": Image, "compressed": CompressedImage}
_DIAGNOSTICS_PERIOD_S = 1.0
_JOIN_S = 30.0
_LOG_PERIOD_S = 10.0
_SILENT_AFTER_S = 2.0


class DetectorNode(Node):
    """Publishes the 2D detections in the newest image of each of its cameras.

    The keypoints keep the image's stamp and frame, so that `voxelpose_node` with
    `input:=keypoints` synchronizes them like images. Cameras take turns; images that come while the
    detector is busy are skipped, the newest one counts.

    Raises:
        InputError: when a parameter is not as expected.
    """

    def __init__(self):
        super().__init__("detector", allow_undeclared_parameters=True)
        p = Parameters(self, renamed=DETECTOR)
        self._cameras = p.texts("cameras", "Names of the cameras; required.")
        kind = p.text("input", "image", "What the cameras publish.", tuple(_MESSAGE_TYPES))
        image_topic = p.text("image_topic", topics.IMAGE_TOPIC, "Image topic of a camera.")
        keypoints_topic = p.text("keypoints_topic", topics.KEYPOINTS_TOPIC, "Where answers go.")
        detector = p.text("detector", "movenet", "2D detector: movenet or an ONNX file (docs/detectors.md).")
        refine = p.flag("refine_detections", False, "Refine each 2D detection with a second net on a crop.")
        device = p.text("device", "auto", "cpu, cuda:N, or auto: CUDA where onnxruntime has it.")
        threads = p.integer("threads", 0, "CPU threads of the detector; 0: all.", 0, 1024)
        reliability = p.text(
            "qos.reliability", "best_effort", "Reliability (QoS) of the image topics.", topics.RELIABILITIES
        )
        turns = _turns(p)
        p.finish()
        if not self._cameras:
            raise InputError("parameter 'cameras' is empty, expected the names of the cameras")
        suffix = topics.COMPRESSED_SUFFIX if kind == "compressed" else ""
        self._topics = {name: topics.expand(image_topic, name) + suffix for name in self._cameras}
        self._quarter_turns = _for_each(turns, self._cameras)
        self._detector = load_detector(detector, threads, device)
        if refine:
            self._detector = RefinedDetector(self._detector, threads, device)
        self._publishers_of = {
            name: self.create_publisher(Keypoints2DArray, topics.expand(keypoints_topic, name), 10)
            for name in self._cameras
        }
        self._newest = LatestOfEach()
        self._counts = dict.fromkeys(self._cameras, 0)
        self._problems = dict.fromkeys(self._cameras, "")
        self._milliseconds = 0.0
        self._heard_s = dict.fromkeys(self._cameras, time.monotonic())
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        for name, topic in self._topics.items():
            self.create_subscription(
                _MESSAGE_TYPES[kind],
                topic,
                partial(self._on_image, name),
                topics.sensor_qos(reliability),
                event_callbacks=topics.subscription_events(partial(self._on_incompatible_qos, name)),
            )
        clocks.steady_timer(self, _DIAGNOSTICS_PERIOD_S, self._publish_diagnostics)
        self._worker = threading.Thread(target=self._work, name="detector", daemon=True)
        self._worker.start()
        self.get_logger().info(f"{detector} for {', '.join(self._cameras)}")

    def close(self) -> None:
        """Stop the worker, before the node is destroyed."""
        self._newest.close()
        self._worker.join(timeout=_JOIN_S)

    def _on_image(self, camera: str, message: Image | CompressedImage) -> None:
        self._heard_s[camera] = time.monotonic()
        self._newest.put(camera, message)

    def _on_incompatible_qos(self, camera: str, policy: str) -> None:
        self._problem(camera, f"a publisher offers another {policy} than is asked for")

    def _work(self) -> None:
        while (item := self._newest.take()) is not None:
            camera, message = item
            try:
                self._detect(camera, message)
            except InputError as error:
                self._problem(camera, str(error))
            # Whatever an image does to the detector, the next one gets its chance.
            except Exception as error:
                if not self.context.ok():
                    return
                self._problem(camera, f"{type(error).__name__}: {error}")
                self.get_logger().debug(traceback.format_exc())

    def _detect(self, camera: str, message: Image | CompressedImage) -> None:
        start = time.perf_counter()
        image = image_messages.to_bgr(message)
        (people,) = detect_upright(self._detector, [image], [self._quarter_turns[camera]])
        self._publishers_of[camera].publish(
            conversions.keypoints_message(
                people, camera, image.shape[1::-1], self._detector.joint_set, message.header
            )
        )
        self._counts[camera] += 1
        self._milliseconds = 1e3 * (time.perf_counter() - start)
        self._problems[camera] = ""

    def _problem(self, camera: str, text: str) -> None:
        self._problems[camera] = f"topic {self._topics[camera]}: {text}"
        self.get_logger().warning(self._problems[camera], throttle_duration_sec=_LOG_PERIOD_S)

    def _publish_diagnostics(self) -> None:
        name = self.get_fully_qualified_name().strip("/")
        message = DiagnosticArray()
        message.header.stamp = clocks.diagnostics_stamp(self)
        for camera, problem in self._problems.items():
            level = DiagnosticStatus.WARN if problem else DiagnosticStatus.OK
            silence = self._silence(camera)
            if silence:
                level, problem = DiagnosticStatus.ERROR, "; ".join(filter(None, (silence, problem)))
            values = {
                "topic": self._topics[camera],
                "images": self._counts[camera],
                "last image ms": f"{self._milliseconds:.1f}",
            }
            message.status.append(
                DiagnosticStatus(
                    level=level,
                    name=f"{name}: {camera}",
                    message=problem or f"{self._counts[camera]} images",
                    values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
                )
            )
        self._diagnostics.publish(message)

    def _silence(self, camera: str) -> str:
        """How long nothing has come from a camera that should send; empty while it does."""
        silent_s = time.monotonic() - self._heard_s[camera]
        if silent_s < _SILENT_AFTER_S:
            return ""
        topic = self._topics[camera]
        text = (
            f"nothing on {topic} for {silent_s:.1f} s, expected a stream "
            f"({topics.publishers(self.count_publishers(topic))} there)"
        )
        self.get_logger().warning(text, throttle_duration_sec=_LOG_PERIOD_S)
        return text


def _turns(p: Parameters) -> list[float]:
    """What the parameter `quarter_turns` says."""
    return p.numbers(
        "quarter_turns",
        "Clockwise quarter turns (0 to 3) that make the images upright, for all cameras or one per "
        "camera; the keypoints are those of the images as they come.",
        0,
        3,
    )


def _for_each(given: list[float], cameras: Sequence[str]) -> dict[str, int]:
    """Quarter turns of each camera; one value is for all of them."""
    if len(given) not in (0, 1, len(cameras)) or any(turns % 1 for turns in given):
        raise InputError(
            f"parameter 'quarter_turns' is {given}, expected whole numbers from 0 to 3, one for all "
            f"cameras or {len(cameras)}"
        )
    turns = [int(value) for value in given] or [0]
    if len(turns) == 1:
        turns *= len(cameras)
    return dict(zip(cameras, turns, strict=True))


def main(args: Sequence[str] | None = None) -> int:
    """Run the detector as a process."""
    return process.run(DetectorNode, rclpy.spin, args)


if __name__ == "__main__":
    sys.exit(main())
