"""The ROS 2 node: camera topics in, skeletons, markers and diagnostics out."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import rclpy
from rcl_interfaces.msg import SetParametersResult
from rclpy.parameter import Parameter

from voxelpose_core.errors import InputError
from voxelpose_core.estimator import PoseEstimator
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.self_calibration.monitor import RigFault
from voxelpose_core.synchronization.synchronizer import Synchronizer
from voxelpose_core.time_offsets import offsets_text
from voxelpose_ros import clocks, process
from voxelpose_ros.calibration import changed_rig, follow_calibration
from voxelpose_ros.camera_inputs import CameraInputs
from voxelpose_ros.health_reports import HealthReports
from voxelpose_ros.managed_node import ManagedNode
from voxelpose_ros.outputs import Outputs
from voxelpose_ros.parameters import Parameters
from voxelpose_ros.renamed_parameters import NODE
from voxelpose_ros.rig_refinement import RefineRigService, advice, propose_rig
from voxelpose_ros.settings import NodeSettings
from voxelpose_ros.worker import EstimationWorker

_SYNCHRONIZER_PERIOD_S = 0.01
_CALIBRATION_PERIOD_S = 0.5
_DIAGNOSTICS_PERIOD_S = 1.0


class VoxelPoseNode(ManagedNode):
    """Subscribes to N calibrated cameras and publishes the people that they see, in 3D.

    A managed node: `configure` loads calibration and weights and advertises the output, `activate`
    subscribes and starts to estimate, `deactivate` and `cleanup` undo the one and the other.
    Callbacks only sort messages into frame sets; a worker thread decodes, estimates and publishes the
    newest frame set. A bad message is dropped and reported on /diagnostics.

    Raises:
        InputError: when a parameter is not as expected.
    """

    def __init__(self):
        super().__init__("voxelpose")
        self._declared = Parameters(self, fixed=False, renamed=NODE)
        self._settings = NodeSettings.read(self._declared)
        self.add_on_set_parameters_callback(self._on_parameters)
        self._declared.finish()

    # Transitions ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Configure and activate, unless the parameter `autostart` leaves that to others."""
        if self._settings.autostart:
            super().start()

    def configure(self, acquired: ExitStack) -> None:
        """Load calibration and weights, advertise the output."""
        settings = self._settings
        self._calibration, rig, self._topics = follow_calibration(self, settings, acquired)
        rig_name = rig.name if rig is not None else settings.calibration
        self._reports = HealthReports(self, rig_name, self._topics, acquired)
        self._synchronizer = self._make_synchronizer(settings, rig)
        self._inputs = CameraInputs(
            self,
            self._topics,
            self._reports,
            # Both may be replaced while the node runs.
            receive=lambda *message: self._synchronizer.add(*message),
            rig=lambda: self._worker.rig,
        )
        incompatible = partial(self._reports.incompatible_subscriber, settings.output_reliability)
        self._outputs = Outputs(self, tuple(self._topics), settings, incompatible)
        acquired.callback(self._outputs.close)
        self._worker = EstimationWorker(
            settings,
            self._make_estimator,
            self._topics,
            self._outputs,
            self._reports.health,
            self._reports.problem,
            self._inputs.calibration_faults,
            partial(clocks.now_ns, self),
            self._advice,
        )
        acquired.callback(self._release_worker)
        acquired.callback(RefineRigService(self, self._propose_rig).close)
        self._worker.rig = rig
        if rig is not None:
            self._reports.calibrated(rig)
            self._worker.calibrated()
        self.every(_CALIBRATION_PERIOD_S, self._recalibrate, acquired)
        self.every(_DIAGNOSTICS_PERIOD_S, self._publish_diagnostics, acquired)

    def activate(self, acquired: ExitStack) -> None:
        """Subscribe to the cameras and start to estimate."""
        self._reports.health.begin(time.monotonic())
        self._synchronizer.begin()
        # After the subscriptions are gone.
        acquired.callback(self._worker.stop)
        self._worker.start()
        self._inputs.subscribe(self._settings, self._settings.queue_depth, acquired)
        self.every(_SYNCHRONIZER_PERIOD_S, lambda: self._synchronizer.poll(), acquired)

    def _release_worker(self) -> None:
        # Weights and heatmaps fill a device's memory.
        del self._worker

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

    def _make_synchronizer(self, settings: NodeSettings, rig: Rig | None) -> Synchronizer:
        """The synchronizer with the parameter's time offsets, or the rig's where it gives none."""
        offsets = settings.offsets_ms or (rig.time_offsets_ms if rig else [0.0] * len(self._topics))
        if len(offsets) != len(self._topics):
            raise InputError(
                f"parameter 'sync.offsets_ms' has {len(offsets)} values, expected one for each of the "
                f"cameras {', '.join(self._topics)}"
            )
        if any(offsets):
            whose = "sync.offsets_ms" if settings.offsets_ms else "the rig file"
            self.get_logger().info(f"time offsets {offsets_text(offsets)} ms, of {whose}")
        synchronizer = Synchronizer(
            tuple(self._topics),
            slop_s=settings.slop_ms / 1e3,
            max_wait_s=settings.max_wait_ms / 1e3,
            min_cameras=settings.min_cameras,
            stamp_clock=partial(clocks.now_ns, self),
            offsets_s={name: ms / 1e3 for name, ms in zip(self._topics, offsets)},
        )
        synchronizer.registerCallback(lambda frame_set: self._worker.put(frame_set))
        return synchronizer

    # Parameters -----------------------------------------------------------------------------------

    def _on_parameters(self, given: Sequence[Parameter]) -> SetParametersResult:
        """Take new values, all or none."""
        changes = {parameter.name: parameter.value for parameter in given}
        try:
            if self.is_configured:
                self._refuse_fixed(changes)
            settings = NodeSettings.read(self._declared.changed(changes))
            if self.is_configured:
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
            self._synchronize_anew(settings, self._worker.rig)
        self._worker.settings = settings

    def _synchronize_anew(self, settings: NodeSettings, rig: Rig | None) -> None:
        synchronizer = self._make_synchronizer(settings, rig)
        # Counts go on.
        synchronizer.statistics.update(self._synchronizer.statistics)
        self._synchronizer = synchronizer

    # Calibration ----------------------------------------------------------------------------------

    def _recalibrate(self) -> None:
        rig = changed_rig(self._calibration, self._settings, self._reports.problem)
        if rig is not None:
            before = self._worker.rig
            if before is not None and before.time_offsets_ms != rig.time_offsets_ms:
                self._synchronize_anew(self._settings, rig)
            self._worker.rig = rig
            self.get_logger().info(f"calibration is new: {rig.source}")
            self._reports.calibrated(rig)

    def _propose_rig(self) -> str:
        """Answer ~/refine_rig; runs in a thread of its own."""
        settings = self._settings
        if not settings.rig_monitor:
            raise InputError(
                "parameter 'rig_monitor.enabled' is false: the node keeps nothing to refine the rig from"
            )
        if not self.is_active:
            raise InputError("the node is inactive, expected it active, and somebody who walks about")
        if texts := [finding.text for finding in self._worker.findings() if finding.key == "views"]:
            raise InputError(texts[0])
        rig_file = settings.rig_file if settings.calibration == "rig_file" else ""
        return propose_rig(self._worker.monitor, self._synchronizer.offsets_ms, rig_file)

    def _advice(self, fault: RigFault) -> str:
        return advice(fault, self, tuple(self._topics), self._synchronizer.offsets_ms)

    # Health ---------------------------------------------------------------------------------------

    def _publish_diagnostics(self) -> None:
        description = {"frame sets skipped while busy": self._worker.skipped}
        if self._worker.estimator is not None:
            description |= self._worker.estimator.description()
        findings = self._synchronizer.findings() + self._worker.findings() if self.is_active else []
        self._reports.publish(self.is_active, self._synchronizer.statistics, description, findings)


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
