"""Shows live skeletons, images and the rig in the Rerun viewer, or saves them to a file for it."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

import rclpy
from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node

from voxelpose_core.errors import InputError
from voxelpose_core.findings import LogThrottle
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.output_files import RERUN_FILES, check_outputs
from voxelpose_core.rerun_destination import check_available
from voxelpose_core.rerun_view import RerunView
from voxelpose_core.ros_messages.skeletons import skeletons_from_message
from voxelpose_core.skeletons import written_joint_set
from voxelpose_ros import clocks, conversions, image_messages, process, topics
from voxelpose_ros.calibration import WORLD_FRAME, changed_rig, follow_calibration
from voxelpose_ros.camera_inputs import CameraInputs, Received
from voxelpose_ros.latest_slot import LatestOfEach
from voxelpose_ros.msg import SkeletonArray
from voxelpose_ros.parameters import Parameters
from voxelpose_ros.rerun_settings import NO_IMAGES, RerunSettings

_SKELETON_TYPE = "voxelpose_ros/msg/SkeletonArray"
_SKELETONS_DEPTH = 50
_WATCH_PERIOD_S = 0.5
# Skeletons stay for so long after the last message, as RViz's markers do.
_SHOWN_S = 2.0
_SILENT_AFTER_S = 5.0
# A bag that starts again, not messages that overtake each other.
_BACK_S = 1.0
_JOIN_S = 5.0
# A window drops the oldest data when it fills so much of the computer's memory.
_MEMORY = "25%"


class Gate(CallbackGroup):
    """Lets one message of its subscription through, and no other until it is opened again.

    A message that is not let through is not taken from the middleware: it costs no deserialization, and a
    newer one replaces it.
    """

    def __init__(self):
        super().__init__()
        self._open = True

    def open(self) -> None:
        """Let the next message through."""
        self._open = True

    def can_execute(self, entity) -> bool:
        """See `CallbackGroup`."""
        return self._open

    def beginning_execution(self, entity) -> bool:
        """See `CallbackGroup`."""
        was_open, self._open = self._open, False
        return was_open

    def ending_execution(self, entity) -> None:
        """See `CallbackGroup`."""


class LoggedReports:
    """What is wrong with the cameras, in the log: each kind of line every 30 s."""

    def __init__(self, node: Node, camera_topics: Mapping[str, str]):
        self._node = node
        self._topics = camera_topics
        self._throttle = LogThrottle()

    def problem(self, text: str, camera: str = "") -> None:
        """See `camera_inputs.Reports`."""
        # Lines of one kind differ in their figures.
        kind = re.sub(r"[\d.]+", "", text)
        if self._throttle.due(f"{camera}: {kind}", time.monotonic()):
            self._node.get_logger().warning(text)

    def incompatible_publisher(self, camera: str, reliability: str, policy: str) -> None:
        """See `camera_inputs.Reports`."""
        self.problem(
            f"topic {self._topics[camera]}: a publisher offers another {policy} than is asked for "
            f"(parameter 'qos.reliability' is {reliability})",
            camera,
        )


class RerunViewNode(Node):
    """Sends what comes from the node and its cameras to the Rerun viewer.

    Raises:
        InputError: when a parameter or the rig file is not as expected, rerun-sdk is missing, or the viewer
            cannot be opened or reached.
    """

    def __init__(self):
        super().__init__("rerun_view", allow_undeclared_parameters=True)
        p = Parameters(self)
        self._settings = settings = RerunSettings.read(p)
        p.finish()
        _check_destination(settings)
        self._acquired = ExitStack()
        self._calibration, rig, camera_topics = follow_calibration(self, settings, self._acquired)
        self._frame_id = settings.frame_id or (WORLD_FRAME if rig is None else rig.frame)
        self._topics = _shown_topics(settings, camera_topics)
        self._skeletons_topic = self.resolve_topic_name(topics.checked(settings.skeletons_topic))
        self._reports = LoggedReports(self, camera_topics)
        self._frame_sets = self._images = 0
        self._newest_ns = 0
        self._people_shown = False
        now_s = time.monotonic()
        # By camera; those of the skeletons under an empty name.
        self._heard_s = dict.fromkeys(("", *self._topics), now_s)
        self._view = RerunView(
            save=settings.save or None,
            connect=settings.connect or None,
            image_width=settings.image_width or None,
            covariances=settings.covariances,
            memory=_MEMORY,
        )
        self._rig: Rig | None = None
        if rig is not None:
            self._show_rig(rig)
        self._subscribe()
        self.get_logger().info(self._what_is_shown(len(camera_topics)))

    def close(self) -> None:
        """Finish the file, before the node is destroyed."""
        self._acquired.close()
        self._newest.close()
        self._worker.join(timeout=_JOIN_S)
        try:
            self._view.finish()
        except InputError as error:
            print(error, file=sys.stderr)
            return
        # ROS, and its log, may have ended already.
        where = self._settings.save or "the Rerun viewer"
        print(f"{where}: {self._frame_sets} frame sets of skeletons, {self._images} images")

    def _subscribe(self) -> None:
        self.create_subscription(
            SkeletonArray,
            self._skeletons_topic,
            self._on_skeletons,
            topics.sensor_qos(depth=_SKELETONS_DEPTH),
        )
        self._inputs = CameraInputs(self, self._topics, self._reports, self._on_image, lambda: self._rig)
        self._gates: list[Gate] = []
        # Decoding must not keep skeletons waiting.
        self._newest = LatestOfEach()
        self._worker = threading.Thread(target=self._show_images, name="images", daemon=True)
        self._worker.start()
        self._inputs.subscribe(self._settings, 1, self._acquired, self._gate)
        if self._gates:
            clocks.steady_timer(self, 1.0 / self._settings.image_rate, self._open_gates)
        clocks.steady_timer(self, _WATCH_PERIOD_S, self._watch)

    def _gate(self) -> Gate:
        self._gates.append(Gate())
        return self._gates[-1]

    def _open_gates(self) -> None:
        for gate in self._gates:
            gate.open()

    def _what_is_shown(self, cameras: int) -> str:
        rig = "calibration from topics" if self._rig is None else f"rig '{self._rig.name}'"
        images = f"images of {', '.join(self._topics)}" if self._topics else "no images"
        where = self._settings.save or self._settings.connect or "the Rerun viewer"
        return f"{where}: {rig} with {cameras} cameras, skeletons of {self._skeletons_topic}, {images}"

    # Messages -------------------------------------------------------------------------------------

    def _on_skeletons(self, message: SkeletonArray) -> None:
        self._heard_s[""] = time.monotonic()
        try:
            self._show_skeletons(message)
        except InputError as error:
            self._reports.problem(f"topic {self._skeletons_topic}: {error}")

    def _show_skeletons(self, message: SkeletonArray) -> None:
        frame_id, stamp_ns = message.header.frame_id, conversions.to_nanoseconds(message.header.stamp)
        if frame_id != self._frame_id:
            raise InputError(
                f"skeletons are in frame '{frame_id}', expected the rig's frame '{self._frame_id}': give "
                f"-p frame_id:={frame_id} if they are the same, or the rig that the skeletons come from"
            )
        skeletons = skeletons_from_message(message)
        joint_set = written_joint_set(message.joint_set, message.joint_names)
        if stamp_ns < self._newest_ns - _BACK_S * conversions.SECOND:
            self._reports.problem(
                f"topic {self._skeletons_topic}: stamps went back by "
                f"{(self._newest_ns - stamp_ns) / conversions.SECOND:.1f} s, as when a bag starts again: the "
                "viewer's timeline log_time goes on, its timeline time does not"
            )
        self._newest_ns = stamp_ns
        self._view.at_time(stamp_ns)
        self._view.show_skeletons(skeletons, joint_set)
        self._joint_set = joint_set
        self._people_shown = bool(skeletons)
        self._frame_sets += 1

    def _on_image(self, camera: str, stamp_ns: int, received: Received) -> None:
        self._heard_s[camera] = time.monotonic()
        fault = self._inputs.calibration_faults.get(camera)
        if fault is not None:
            self._reports.problem(fault, camera)
            return
        self._newest.put(camera, (stamp_ns, received.message))

    def _show_images(self) -> None:
        while (item := self._newest.take()) is not None:
            camera, (stamp_ns, message) = item
            try:
                image = image_messages.to_bgr(message)
                # Rerun keeps a time for each thread.
                self._view.at_time(stamp_ns)
                self._view.show_image(camera, image)
                self._images += 1
            except InputError as error:
                self._reports.problem(f"topic {self._topics[camera]}: {error}", camera)
            # Whatever is wrong with an image, the next one gets its chance.
            except Exception as error:
                text = f"topic {self._topics[camera]}: {type(error).__name__}: {error}"
                self._reports.problem(text, camera)

    # Calibration and health -----------------------------------------------------------------------

    def _watch(self) -> None:
        # A viewer that was closed ends the process.
        self._view.check()
        self._recalibrate()
        missing_clock = clocks.missing_clock(self)
        if missing_clock is not None:
            self._reports.problem(missing_clock.text)
        now_s = time.monotonic()
        if self._people_shown and now_s - self._heard_s[""] > _SHOWN_S:
            self._view.at_time(self._newest_ns + 1)
            self._view.show_skeletons([], self._joint_set)
            self._people_shown = False
        for camera, heard_s in self._heard_s.items():
            if now_s - heard_s > _SILENT_AFTER_S:
                topic = self._topics[camera] if camera else self._skeletons_topic
                advice = self._image_advice(topic) if camera else self._skeletons_advice()
                text = f"nothing on {topic} for {now_s - heard_s:.0f} s, {advice}"
                self._reports.problem(text, camera)

    def _recalibrate(self) -> None:
        rig = changed_rig(self._calibration, self._settings, self._reports.problem)
        if rig is not None:
            self._show_rig(rig)

    def _show_rig(self, rig: Rig) -> None:
        self._rig = rig.with_space(self._settings.space or rig.space)
        self._view.show_rig(self._rig)

    def _skeletons_advice(self) -> str:
        """What is expected where no skeletons come, and what to type."""
        count = self.count_publishers(self._skeletons_topic)
        expected = f"expected skeletons ({topics.publishers(count)} there)"
        if count:
            return f"{expected}: `ros2 topic echo /diagnostics` says why the node sends none"
        others = [
            name
            for name, types in self.get_topic_names_and_types()
            if _SKELETON_TYPE in types and self.count_publishers(name)
        ]
        if others:
            return f"{expected}; they come on {', '.join(others)}: -p skeletons_topic:=TOPIC"
        return f"{expected}: start the node, `ros2 launch voxelpose_ros rig.launch.py rig:=RIG`"

    def _image_advice(self, topic: str) -> str:
        """What is expected where a camera's images do not come, and that those of the other kind do."""
        expected = f"expected images ({topics.publishers(self.count_publishers(topic))} there)"
        plain = topic.removesuffix(topics.COMPRESSED_SUFFIX)
        kind, other = ("image", plain) if plain != topic else ("compressed", plain + topics.COMPRESSED_SUFFIX)
        if not self.count_publishers(other):
            return expected
        return f"{expected}; they come on {other}: -p input:={kind}"


def _check_destination(settings: RerunSettings) -> None:
    """Fail early, before anything is opened."""
    check_available()
    if settings.save and settings.connect:
        raise InputError("parameters 'save' and 'connect' exclude each other, expected one of them")
    check_outputs({"parameter 'save':": settings.save or None}, endings={"parameter 'save':": RERUN_FILES})


def _shown_topics(settings: RerunSettings, camera_topics: Mapping[str, str]) -> dict[str, str]:
    """The image topics of the cameras that are to be shown."""
    if settings.input == "keypoints" or list(settings.images) == [NO_IMAGES]:
        return {}
    for name in settings.images:
        if name not in camera_topics:
            raise InputError(
                f"parameter 'images': camera '{name}' is unknown, expected {NO_IMAGES}, or some of "
                f"{', '.join(camera_topics)}"
            )
    return {name: camera_topics[name] for name in settings.images or camera_topics}


def main(args: Sequence[str] | None = None) -> int:
    """Run the viewer's node as a process."""
    return process.run(RerunViewNode, rclpy.spin, args)


if __name__ == "__main__":
    sys.exit(main())
