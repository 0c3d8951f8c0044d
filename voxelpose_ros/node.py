"""The ROS 2 node: camera topics in, skeletons, markers and diagnostics out."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from voxelpose_core.errors import InputError
from voxelpose_core.estimator import PoseEstimator
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.geometry.rig_check import rig_findings
from voxelpose_ros import camera_info_messages, clocks, conversions, process, topics
from voxelpose_ros.calibration import WORLD_FRAME, Calibration, RigFile, TopicCalibration
from voxelpose_ros.diagnostics import Health
from voxelpose_ros.findings import Finding
from voxelpose_ros.msg import Keypoints2DArray
from voxelpose_ros.outputs import Outputs
from voxelpose_ros.parameters import Parameters
from voxelpose_ros.renamed_parameters import NODE
from voxelpose_ros.settings import NodeSettings
from voxelpose_ros.synchronizer import Synchronizer
from voxelpose_ros.worker import EstimationWorker, Received

_MESSAGE_TYPES = {"image": Image, "compressed": CompressedImage, "keypoints": Keypoints2DArray}
_SYNCHRONIZER_PERIOD_S = 0.01
_CALIBRATION_PERIOD_S = 0.5
_DIAGNOSTICS_PERIOD_S = 1.0
# A stamp this far ahead of the node's clock is no camera's.
_MOST_AHEAD_NS = 3600 * conversions.SECOND


class VoxelPoseNode(LifecycleNode):
    """Subscribes to N calibrated cameras and publishes the people that they see, in 3D.

    A managed node: `configure` loads calibration and weights and advertises the output, `activate`
    subscribes and starts to estimate, `deactivate` and `cleanup` undo the one and the other.
    Callbacks only sort messages into frame sets; a worker thread decodes, estimates and publishes the
    newest frame set. A bad message is dropped and reported on /diagnostics.

    Raises:
        InputError: when a parameter is not as expected.
    """

    def __init__(self):
        super().__init__("voxelpose", allow_undeclared_parameters=True)
        self._declared = Parameters(self, fixed=False, renamed=NODE)
        self._settings = NodeSettings.read(self._declared)
        self.add_on_set_parameters_callback(self._on_parameters)
        self._declared.finish()
        # What configure and activate acquired, and how to give it back.
        self._configured: ExitStack | None = None
        self._active: ExitStack | None = None
        self._starting = False
        self._failure: Exception | None = None

    # Transitions ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Configure and activate, unless the parameter `autostart` leaves that to others.

        Raises:
            InputError: when the calibration, the weights or a parameter are not as expected.
        """
        if not self._settings.autostart:
            return
        self._starting = True
        for trigger in (self.trigger_configure, self.trigger_activate):
            if trigger() != TransitionCallbackReturn.SUCCESS:
                raise self._failure
        self._starting = False

    def close(self) -> None:
        """Give everything back, before the node is destroyed."""
        self._deactivate()
        self._clean_up()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load calibration and weights, advertise the output."""
        return self._attempt(self._configure)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe to the cameras and start to estimate."""
        return self._attempt(self._activate)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe and stop to estimate."""
        return self._attempt(self._deactivate)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release weights and calibration, take the output back."""
        return self._attempt(self._clean_up)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything, from whatever state."""
        return self._attempt(self.close)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Back to the beginning."""
        return self._attempt(self.close)

    def _attempt(self, work: Callable[[], None]) -> TransitionCallbackReturn:
        try:
            work()
        except InputError as error:
            self._failure = error
            # A start by itself ends the process, with this line.
            if not self._starting:
                self.get_logger().error(str(error))
            return TransitionCallbackReturn.FAILURE
        # rclpy would swallow it.
        except Exception as error:
            self._failure = error
            self.get_logger().error(f"{type(error).__name__}: {error}")
            return TransitionCallbackReturn.ERROR
        return TransitionCallbackReturn.SUCCESS

    def _configure(self) -> None:
        settings = self._settings
        with ExitStack() as acquired:
            rig = self._open_calibration(settings, acquired)
            name = self.get_fully_qualified_name().strip("/")
            rig_name = rig.name if rig is not None else settings.calibration
            self._health = Health(name, rig_name, self._topics, time.monotonic())
            self._synchronizer = self._make_synchronizer(settings)
            self._outputs = Outputs(self, tuple(self._topics), settings, self._on_incompatible_subscriber)
            acquired.callback(self._outputs.close)
            self._calibration_faults: dict[str, str] = {}
            self._worker = EstimationWorker(
                settings,
                self._make_estimator,
                self._topics,
                self._outputs,
                self._health,
                self._problem,
                self._calibration_faults,
                self._now_ns,
            )
            self._worker.rig = rig
            if rig is not None:
                self._say_findings(rig)
                self._worker.calibrated()
            self._every(_CALIBRATION_PERIOD_S, self._recalibrate, acquired)
            self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
            acquired.callback(self.destroy_publisher, self._diagnostics)
            self._every(_DIAGNOSTICS_PERIOD_S, self._publish_diagnostics, acquired)
            self._configured = acquired.pop_all()

    def _open_calibration(self, settings: NodeSettings, acquired: ExitStack) -> Rig | None:
        """Begin to follow the calibration; the rig, where it is known at once."""
        if settings.calibration == "rig_file":
            self._calibration: Calibration = RigFile(settings.rig_file, settings.load_rig)
            rig = self._calibration.poll()
            self._topics = self._resolved(settings.camera_topics(rig.names))
            return rig
        if not settings.cameras:
            raise InputError("parameter 'cameras' is empty, expected the names of the cameras")
        self._topics = self._resolved(settings.camera_topics(settings.cameras))
        frame = settings.frame_id or WORLD_FRAME
        self._calibration = TopicCalibration(self, self._topics, frame, settings.is_rectified)
        acquired.callback(self._calibration.close)
        return None

    def _resolved(self, camera_topics: Mapping[str, str]) -> dict[str, str]:
        """The topics by their full names, which diagnostics tell."""
        return {name: self.resolve_topic_name(topic) for name, topic in camera_topics.items()}

    def _activate(self) -> None:
        with ExitStack() as acquired:
            self._health.begin(time.monotonic())
            self._synchronizer.begin()
            # After the subscriptions are gone.
            acquired.callback(self._worker.stop)
            self._worker.start()
            self._subscribe(acquired)
            self._every(_SYNCHRONIZER_PERIOD_S, lambda: self._synchronizer.poll(), acquired)
            self._active = acquired.pop_all()

    def _deactivate(self) -> None:
        if self._active is not None:
            self._active.close()
            self._active = None

    def _clean_up(self) -> None:
        if self._configured is not None:
            self._configured.close()
            self._configured = None
            # Weights and heatmaps fill a device's memory.
            del self._worker

    def _every(self, period_s: float, work: Callable[[], None], acquired: ExitStack) -> None:
        acquired.callback(self.destroy_timer, clocks.steady_timer(self, period_s, work))

    def _make_estimator(self, rig: Rig) -> PoseEstimator:
        settings = self._settings
        estimator = PoseEstimator(
            rig,
            weights=settings.weights,
            device=settings.device,
            detector=None if settings.input == "keypoints" else settings.detector,
            space=settings.space,
            settings=settings.estimator,
            precision=settings.precision,
            refine_detections=settings.refine_detections,
        )
        # A CPU compiles nothing, and a start that takes seconds longer gains nothing there.
        if estimator.device.type == "cuda":
            estimator.warm_up()
        self.get_logger().info(
            f"rig '{rig.name}' with {len(rig)} cameras ({rig.source}), space {estimator.space} mm, "
            f"weights '{settings.weights}' on {estimator.device}"
        )
        return estimator

    def _make_synchronizer(self, settings: NodeSettings) -> Synchronizer:
        offsets = settings.offsets_ms or [0.0] * len(self._topics)
        if len(offsets) != len(self._topics):
            raise InputError(
                f"parameter 'sync.offsets_ms' has {len(offsets)} values, expected one for each of the "
                f"cameras {', '.join(self._topics)}"
            )
        synchronizer = Synchronizer(
            tuple(self._topics),
            slop_s=settings.slop_ms / 1e3,
            max_wait_s=settings.max_wait_ms / 1e3,
            min_cameras=settings.min_cameras,
            stamp_clock=self._now_ns,
            offsets_s={name: ms / 1e3 for name, ms in zip(self._topics, offsets)},
        )
        synchronizer.registerCallback(lambda frame_set: self._worker.put(frame_set))
        return synchronizer

    # Parameters -----------------------------------------------------------------------------------

    def _on_parameters(self, given: Sequence[Parameter]) -> SetParametersResult:
        """Take new values, all or none."""
        changes = {parameter.name: parameter.value for parameter in given}
        try:
            if self._configured is not None:
                self._refuse_fixed(changes)
            settings = NodeSettings.read(self._declared.changed(changes))
            if self._configured is not None:
                self._adopt(settings)
        except InputError as error:
            return SetParametersResult(successful=False, reason=str(error))
        self._settings = settings
        return SetParametersResult(successful=True)

    def _refuse_fixed(self, changes: dict[str, Any]) -> None:
        for name in changes:
            if self._declared.needs_reconfigure(name):
                raise InputError(
                    f"parameter '{name}' needs a reconfigure: deactivate and clean up the node, "
                    "set it, configure and activate the node again"
                )

    def _adopt(self, settings: NodeSettings) -> None:
        if _synchronization(settings) != _synchronization(self._settings):
            synchronizer = self._make_synchronizer(settings)
            # Counts go on.
            synchronizer.statistics.update(self._synchronizer.statistics)
            self._synchronizer = synchronizer
        self._worker.settings = settings

    # Input ----------------------------------------------------------------------------------------

    def _subscribe(self, acquired: ExitStack) -> None:
        settings = self._settings
        qos = topics.sensor_qos(settings.reliability, settings.queue_depth)
        for camera, topic in self._topics.items():
            subscription = self.create_subscription(
                _MESSAGE_TYPES[settings.input],
                topic,
                partial(self._on_message, camera),
                qos,
                event_callbacks=topics.subscription_events(partial(self._on_incompatible_publisher, camera)),
            )
            acquired.callback(self.destroy_subscription, subscription)
            if settings.check_camera_info and settings.calibration == "rig_file":
                subscription = self.create_subscription(
                    CameraInfo,
                    topics.camera_info_topic(topic),
                    partial(self._on_camera_info, camera),
                    topics.sensor_qos(),
                )
                acquired.callback(self.destroy_subscription, subscription)

    def _on_message(self, camera: str, message: Any) -> None:
        stamp_ns = conversions.to_nanoseconds(message.header.stamp)
        now_ns = self._now_ns()
        # Simulated time is zero until its first message.
        if stamp_ns <= 0 or 0 < now_ns < stamp_ns - _MOST_AHEAD_NS:
            self._problem(
                f"topic {self._topics[camera]}: stamp is {stamp_ns / 1e9:.3f} s, expected the time "
                f"of the exposure (it is {now_ns / 1e9:.3f} s now{self._clock_note()})",
                camera,
            )
            return
        received = Received(message, stamp_ns, now_ns, time.monotonic_ns())
        self._synchronizer.add(camera, stamp_ns, received)

    def _on_camera_info(self, name: str, message: CameraInfo) -> None:
        try:
            rectified = self._settings.is_rectified(self._topics[name])
            camera_info_messages.check_camera_info(message, self._worker.rig.camera(name), rectified)
            self._calibration_faults.pop(name, None)
        except InputError as error:
            topic = topics.camera_info_topic(self._topics[name])
            self._calibration_faults[name] = f"topic {topic}: {error}"

    def _recalibrate(self) -> None:
        try:
            rig = self._calibration.poll()
        except InputError as error:
            self._problem(f"calibration: {error}")
            return
        if rig is not None:
            rig = self._settings.placed(rig)
            self._worker.rig = rig
            self.get_logger().info(f"calibration is new: {rig.source}")
            self._say_findings(rig)

    def _say_findings(self, rig: Rig) -> None:
        """What looks wrong with the calibration: in the log now, in the diagnostics from now on."""
        self._health.calibrated(rig_findings(rig), time.monotonic())
        self._log_findings()

    # Health ---------------------------------------------------------------------------------------

    def _on_incompatible_publisher(self, camera: str, policy: str) -> None:
        self._health.note(camera, f"a publisher there offers another {policy} than is asked for")
        self._problem(
            f"topic {self._topics[camera]}: a publisher offers another {policy} than is asked for "
            f"(parameter 'qos.reliability' is {self._settings.reliability})",
            camera,
        )

    def _on_incompatible_subscriber(self, topic: str, policy: str) -> None:
        self._problem(
            f"topic {topic}: a subscriber asks for another {policy} than is offered "
            f"(parameter 'qos.output_reliability' is {self._settings.output_reliability})"
        )

    def _publish_diagnostics(self) -> None:
        estimator = self._worker.estimator
        description = {"frame sets skipped while busy": self._worker.skipped}
        if estimator is not None:
            description |= estimator.description()
        publishers = {name: self.count_publishers(topic) for name, topic in self._topics.items()}
        self._diagnostics.publish(
            self._health.report(
                clocks.diagnostics_stamp(self),
                time.monotonic(),
                self._active is not None,
                self._synchronizer.statistics,
                publishers,
                description,
                self._findings(),
            )
        )
        self._log_findings()

    def _log_findings(self) -> None:
        for line in self._health.new_lines():
            self.get_logger().warning(line)

    def _findings(self) -> list[Finding]:
        found = [finding for finding in (clocks.missing_clock(self),) if finding is not None]
        if self._active is not None:
            found += self._synchronizer.findings() + self._worker.findings()
        return found

    def _problem(self, text: str, camera: str = "") -> None:
        if self._health.problem(text, time.monotonic(), camera):
            self.get_logger().warning(text)

    def _now_ns(self) -> int:
        return self.get_clock().now().nanoseconds

    def _clock_note(self) -> str:
        return " on /clock, use_sim_time is true" if self.get_clock().ros_time_is_active else ""


def _synchronization(settings: NodeSettings) -> tuple:
    return settings.slop_ms, settings.max_wait_ms, settings.min_cameras, settings.offsets_ms


def _start() -> VoxelPoseNode:
    node = VoxelPoseNode()
    node.start()
    return node


def main(args: Sequence[str] | None = None) -> int:
    """Run the node as a process."""
    return process.run(_start, rclpy.spin, args)


if __name__ == "__main__":
    sys.exit(main())
