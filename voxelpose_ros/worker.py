"""The thread that turns frame sets into people: decode, estimate, track, publish."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from voxelpose_core.errors import InputError
from voxelpose_core.estimator import PoseEstimator
from voxelpose_core.findings import Finding
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.image_scale import is_scaled_copy, scale_note
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.pose_types import Estimate
from voxelpose_core.ros_messages.images import calibrated_image
from voxelpose_core.ros_messages.keypoints import joint_set_of_most, keypoints_from_message
from voxelpose_core.self_calibration.monitor import RigFault, RigMonitor
from voxelpose_core.skeletons import JointSet
from voxelpose_core.synchronization.synchronizer import SynchronizedSet
from voxelpose_core.tracking import Tracker
from voxelpose_ros import image_messages
from voxelpose_ros.calibration_watch import CalibrationWatch
from voxelpose_ros.diagnostics import Health
from voxelpose_ros.latest_slot import LatestSlot
from voxelpose_ros.msg import Keypoints2DArray
from voxelpose_ros.outputs import Outputs
from voxelpose_ros.settings import NodeSettings

_JOIN_S = 30.0


class EstimationWorker:
    """Works on the newest frame set, again and again, from `start` to `stop`.

    A bad message or frame set is dropped and reported to `health`.

    Args:
        settings: of the node.
        make_estimator: the estimator of a rig; called once, when the rig is known.
        topics: each camera's topic, in the rig's order.
        outputs: publishes what comes of a frame set.
        health: collects problems and timings.
        problem: says what went wrong with a camera, or at large.
        faults: what is wrong with the calibration of a camera, whose messages are then dropped.
        now_ns: ROS's clock.
        advice: what to do about a camera that no longer fits the others.

    Attributes:
        settings: may be replaced at any time; the next frame set follows them.
        rig: the calibration, None while it is unknown; may be replaced likewise.
        estimator: None before there is a rig.
    """

    def __init__(
        self,
        settings: NodeSettings,
        make_estimator: Callable[[Rig], PoseEstimator],
        topics: Mapping[str, str],
        outputs: Outputs,
        health: Health,
        problem: Callable[[str, str], None],
        faults: Mapping[str, str],
        now_ns: Callable[[], int],
        advice: Callable[[RigFault], str],
    ):
        self.settings = settings
        self.rig: Rig | None = None
        self.estimator: PoseEstimator | None = None
        self._make_estimator = make_estimator
        self._topics = topics
        self._outputs = outputs
        self._health = health
        self._problem = problem
        self._faults = faults
        self._now_ns = now_ns
        self._advice = advice
        self._tracker = Tracker(settings.tracker)
        self._joint_set: JointSet | None = None
        self._first_ns: int | None = None
        self._watch: CalibrationWatch | None = None
        self._slot: LatestSlot | None = None
        self._thread: threading.Thread | None = None
        self._skipped = 0

    @property
    def skipped(self) -> int:
        """Frame sets that were replaced by newer ones while the worker was busy."""
        return self._skipped + (self._slot.replaced if self._slot is not None else 0)

    def start(self) -> None:
        """Begin to work."""
        self._slot = LatestSlot()
        self._watch = CalibrationWatch(self.settings.rig_monitor, self._advice)
        self._thread = threading.Thread(target=self._work, args=(self._slot,), name="estimator", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Finish the frame set at hand; no-op if not running."""
        slot, self._slot = self._slot, None
        if slot is not None:
            self._skipped += slot.replaced
            slot.close()
            self._thread.join(timeout=_JOIN_S)
            self._watch.close()

    def findings(self) -> list[Finding]:
        """What the estimated frame sets say against the calibration."""
        return [] if self._watch is None else list(self._watch.findings())

    @property
    def monitor(self) -> RigMonitor | None:
        """The monitor of the rig in use; None while there is none."""
        return None if self._slot is None or self._watch is None else self._watch.monitor

    def put(self, frame_set: SynchronizedSet) -> None:
        """Give the next frame set; never waits."""
        if self._slot is not None:
            self._slot.put((frame_set, time.monotonic_ns()))

    def _work(self, slot: LatestSlot) -> None:
        while (item := slot.take()) is not None:
            try:
                self._process(*item)
            except InputError as error:
                self._problem(str(error), "")
            # Whatever a frame set does to the estimator, the next one gets its chance.
            except Exception as error:
                if not self._outputs.alive:
                    return
                where = traceback.extract_tb(error.__traceback__)[-1]
                self._problem(
                    f"estimation failed: {type(error).__name__}: {' '.join(str(error).split())} "
                    f"({where.filename}:{where.lineno})",
                    "",
                )

    def _process(self, frame_set: SynchronizedSet, released_ns: int) -> None:
        waits = self._waits_ms(frame_set, released_ns)
        start = time.perf_counter()
        settings = self.settings
        estimator = self._for_detections(self.calibrated(), frame_set)
        estimator.settings = settings.estimator
        self._tracker.settings = settings.tracker
        inputs = [
            None if received is None else self._read(camera, received.message)
            for camera, received in zip(estimator.rig.cameras, frame_set.messages)
        ]
        usable = sum(given is not None for given in inputs)
        if usable < settings.min_cameras:
            raise InputError(
                f"frame set dropped: usable messages of {usable} of {len(inputs)} cameras, "
                f"sync.min_cameras is {settings.min_cameras}"
            )
        decoded = time.perf_counter()
        # Seconds since 1970 as a float are no finer than a quarter of a microsecond, which a filter shows.
        if self._first_ns is None:
            self._first_ns = frame_set.stamp_ns
        stamp_s = (frame_set.stamp_ns - self._first_ns) / 1e9
        estimate = self._estimate(estimator, inputs, self._tracker.predict(stamp_s))
        tracked = time.perf_counter()
        estimate.skeletons = self._tracker.update(estimate.skeletons, stamp_s)
        estimated = time.perf_counter()
        images = None if settings.input == "keypoints" else inputs
        self._outputs.publish(frame_set.stamp_ns, estimator, estimate, images)
        published = time.perf_counter()
        # After the skeletons are out, since its thread takes turns with this one.
        stamps_s = [None if stamp is None else stamp / 1e9 for stamp in frame_set.stamps_ns]
        self._watch.put(estimator.rig, estimator.joint_set, estimate, frame_set.stamp_ns / 1e9, stamps_s)
        timings = {
            **waits,
            "decode": 1e3 * (decoded - start),
            **estimate.timings_ms,
            "tracking": 1e3 * (estimated - tracked),
            "publish": 1e3 * (published - estimated),
            "total": 1e3 * (published - start),
        }
        now_ns = self._now_ns()
        self._health.frame_set(
            (now_ns - frame_set.stamp_ns) / 1e6 if now_ns else None,
            timings,
            len(estimate.skeletons),
            estimate.dropped_below_floor,
            _views_with_people(estimate, settings.estimator.keypoint_threshold),
            time.monotonic(),
        )

    def calibrated(self) -> PoseEstimator:
        """The estimator for the rig as it is known now; only the worker calls this once it works.

        Raises:
            InputError: when the rig is not known, or nothing can be estimated with it.
        """
        rig = self.rig
        if rig is None:
            raise InputError("frame set dropped: the cameras' calibration is not known yet")
        if self.estimator is None or self.estimator.rig is not rig:
            if self.estimator is None:
                self.estimator = self._make_estimator(rig)
            else:
                self.estimator = self.estimator.recalibrated(rig, self.settings.space)
            self._outputs.show_rig(rig, self.estimator.space)
        return self.estimator

    def _for_detections(self, estimator: PoseEstimator, frame_set: SynchronizedSet) -> PoseEstimator:
        """The estimator for the joint set of most cameras' 2D detections; the others are refused as read."""
        names = [
            received.message.joint_set
            for received in frame_set.messages
            if received is not None and isinstance(received.message, Keypoints2DArray)
        ]
        joint_set = joint_set_of_most(names, estimator.detection_joints, estimator.for_detections)
        if joint_set != estimator.detection_joints:
            self.estimator = estimator.for_detections(joint_set)
        if self._joint_set != self.estimator.joint_set:
            self._joint_set = self.estimator.joint_set
            self._tracker.reset()
            self._tracker.body = self._joint_set.body
        return self.estimator

    @staticmethod
    def _waits_ms(frame_set: SynchronizedSet, released_ns: int) -> dict[str, float]:
        """Where the time went before this thread took the frame set.

        transport: from a camera's stamp to the arrival of its message, of the slowest camera;
        waiting: from the first message to the set; queue: while the frame set before was estimated.
        """
        received = [message for message in frame_set.messages if message is not None]
        first = min(message.arrived_monotonic_ns for message in received)
        # ROS's clock is 0 before simulated time begins.
        transport = max((m.arrived_ns - m.stamp_ns for m in received if m.arrived_ns), default=None)
        return {
            **({} if transport is None else {"transport": transport / 1e6}),
            "waiting": (released_ns - first) / 1e6,
            "queue": (time.monotonic_ns() - released_ns) / 1e6,
        }

    def _read(self, camera: Camera, message: Any) -> np.ndarray | None:
        """The image or the keypoints in a message, or None, with a diagnostic, for a bad one."""
        fault = self._faults.get(camera.name)
        if fault is not None:
            self._problem(fault, camera.name)
            return None
        try:
            if isinstance(message, Keypoints2DArray):
                joint_set = self.estimator.detection_joints
                people = keypoints_from_message(message, camera, joint_set)
                size = (message.image_width, message.image_height)
                if is_scaled_copy(size, camera):
                    self._health.remark(camera.name, scale_note(size, camera, "keypoints are scaled"))
                return people
            return self._whole(image_messages.to_bgr(message), camera)
        except InputError as error:
            self._problem(f"topic {self._topics[camera.name]}: {error}", camera.name)
            return None

    def _whole(self, image: np.ndarray, camera: Camera) -> np.ndarray:
        """The image in its calibrated size."""
        whole, note = calibrated_image(image, camera)
        if note:
            self._health.remark(camera.name, note)
        return whole

    def _estimate(
        self,
        estimator: PoseEstimator,
        inputs: Sequence[np.ndarray | None],
        previous: np.ndarray,
    ) -> Estimate:
        if self.settings.input == "keypoints":
            return estimator.estimate_keypoints(inputs, previous)
        return estimator.estimate_images(inputs, previous)


def _views_with_people(estimate: Estimate, threshold: float) -> int:
    """In how many cameras a person was detected, with joints of at least this score."""
    return sum(
        bool((keypoints[..., 2] >= threshold).any())
        for keypoints in estimate.keypoints
        if keypoints is not None and len(keypoints)
    )
