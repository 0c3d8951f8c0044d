"""The ROS 2 node: camera topics in, skeletons, markers and diagnostics out."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Sequence
from functools import partial

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from voxelpose_core.errors import InputError
from voxelpose_core.estimator import Estimate, PoseEstimator
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.tracking import Tracker
from voxelpose_ros import conversions, process, topics
from voxelpose_ros.diagnostics import Health
from voxelpose_ros.markers import SkeletonMarkers
from voxelpose_ros.msg import Keypoints2DArray, SkeletonArray
from voxelpose_ros.settings import NodeSettings
from voxelpose_ros.synchronizer import LatestSlot, SynchronizedSet, Synchronizer

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # before ROS 2 Jazzy
    from rclpy.qos_event import SubscriptionEventCallbacks

_MESSAGE_TYPES = {"image": Image, "compressed": CompressedImage, "keypoints": Keypoints2DArray}
_POLL_PERIOD_S = 0.01
_DIAGNOSTICS_PERIOD_S = 1.0


class VoxelPoseNode(Node):
    """Subscribes to N calibrated cameras and publishes the people that they see, in 3D.

    Callbacks only sort messages into moments; a worker thread decodes, estimates and publishes the
    newest moment. A bad message ends in a diagnostic and costs that message.

    Raises:
        InputError: when a parameter, the rig file or the weights are not as expected.
    """

    def __init__(self):
        super().__init__("voxelpose")
        self._settings = settings = NodeSettings.declare(self)
        self._rig = settings.load_rig()
        self._topics = settings.camera_topics(self._rig)
        self._frame = settings.frame_id or self._rig.frame
        self._estimator = PoseEstimator(
            self._rig,
            weights=settings.weights,
            device=settings.device,
            detector=None if settings.input == "keypoints" else settings.detector,
            space=settings.space,
            settings=settings.estimator,
        )
        self._tracker = Tracker(settings.tracker)
        self._markers = SkeletonMarkers()
        self._health = Health(self.get_name(), self._rig.name, self._topics, time.monotonic())
        self._calibration_faults: dict[str, str] = {}
        self._slot = LatestSlot()
        self._synchronizer = Synchronizer(
            self._rig.names,
            slop_s=settings.slop_ms / 1e3,
            max_wait_s=settings.max_wait_ms / 1e3,
            min_cameras=settings.min_cameras,
        )
        self._synchronizer.registerCallback(self._slot.put)
        self._advertise()
        self._subscribe()
        self.create_timer(_POLL_PERIOD_S, self._synchronizer.poll)
        self.create_timer(_DIAGNOSTICS_PERIOD_S, self._publish_diagnostics)
        self._worker = threading.Thread(target=self._work, name="estimator", daemon=True)
        self._worker.start()
        self.get_logger().info(
            f"rig '{self._rig.name}' with {len(self._rig)} cameras, space {self._estimator.space} "
            f"mm, weights '{settings.weights}' on {self._estimator.device}"
        )

    def close(self) -> None:
        """Stop the worker, before the node is destroyed."""
        self._slot.close()
        self._worker.join(timeout=30.0)

    def _advertise(self) -> None:
        self._skeleton_publisher = self.create_publisher(SkeletonArray, "~/skeletons", 10)
        self._marker_publisher = self.create_publisher(MarkerArray, "~/markers", 10)
        self._diagnostics_publisher = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._keypoint_publishers = {
            name: self.create_publisher(
                Keypoints2DArray, f"~/keypoints/{topics.ros_name(name)}", 10
            )
            for name in self._rig.names
        }

    def _subscribe(self) -> None:
        qos = topics.sensor_qos(self._settings.reliability)
        filters = []
        for camera in self._rig.cameras:
            topic = self._topics[camera.name]
            filters.append(
                topics.subscriber(
                    self,
                    _MESSAGE_TYPES[self._settings.input],
                    topic,
                    qos_profile=qos,
                    event_callbacks=SubscriptionEventCallbacks(
                        incompatible_qos=partial(self._on_incompatible_qos, camera.name)
                    ),
                )
            )
            if self._settings.check_camera_info:
                self.create_subscription(
                    CameraInfo,
                    topics.camera_info_topic(topic),
                    partial(self._on_camera_info, camera),
                    topics.sensor_qos(),
                )
        self._filters = filters
        self._synchronizer.connectInput(filters)

    def _on_incompatible_qos(self, camera: str, event) -> None:
        self._problem(
            f"topic {self._topics[camera]}: a publisher offers another quality of service than "
            f"{self._settings.reliability} ({event.last_policy_kind}), expected one that fits",
            camera,
        )

    def _on_camera_info(self, camera: Camera, message: CameraInfo) -> None:
        try:
            conversions.check_camera_info(message, camera)
            self._calibration_faults.pop(camera.name, None)
        except InputError as error:
            topic = topics.camera_info_topic(self._topics[camera.name])
            self._calibration_faults[camera.name] = f"topic {topic}: {error}"

    def _work(self) -> None:
        """The worker thread: the newest moment, again and again."""
        while (moment := self._slot.take()) is not None:
            try:
                self._process(moment)
            except InputError as error:
                self._problem(str(error))
            # Whatever a moment does to the estimator, the next one gets its chance.
            except Exception as error:
                if not self.context.ok():
                    return
                self._problem(f"estimation failed: {type(error).__name__}: {error}")
                self.get_logger().error(traceback.format_exc(), throttle_duration_sec=10.0)

    def _process(self, moment: SynchronizedSet) -> None:
        start = time.perf_counter()
        inputs = [
            None if message is None else self._read(camera, message)
            for camera, message in zip(self._rig.cameras, moment.messages)
        ]
        usable = sum(given is not None for given in inputs)
        needed = self._settings.min_cameras
        if usable < needed:
            self._problem(f"moment dropped: {usable} cameras usable, expected at least {needed}")
            return
        decoded = time.perf_counter()
        estimate = self._estimate(inputs)
        estimate.skeletons = self._tracker.update(estimate.skeletons, moment.stamp_ns / 1e9)
        estimated = time.perf_counter()
        self._publish(moment, estimate)
        published = time.perf_counter()
        timings = {
            "decode": 1e3 * (decoded - start),
            **estimate.timings_ms,
            "publish": 1e3 * (published - estimated),
            "total": 1e3 * (published - start),
        }
        latency_ms = (self.get_clock().now().nanoseconds - moment.stamp_ns) / 1e6
        self._health.moment(latency_ms, timings, len(estimate.skeletons))

    def _read(self, camera: Camera, message) -> np.ndarray | None:
        """The image or the keypoints in a message, or None, with a diagnostic, for a bad one."""
        fault = self._calibration_faults.get(camera.name)
        if fault is not None:
            self._problem(fault, camera.name)
            return None
        try:
            if isinstance(message, Keypoints2DArray):
                joint_set = self._estimator.joint_set
                return conversions.keypoints_from_message(message, camera, joint_set)
            if isinstance(message, CompressedImage):
                image = conversions.compressed_to_bgr(message)
            else:
                image = conversions.image_to_bgr(message)
            conversions.check_image_size((image.shape[1], image.shape[0]), camera)
            return image
        except InputError as error:
            self._problem(f"topic {self._topics[camera.name]}: {error}", camera.name)
            return None

    def _estimate(self, inputs: Sequence[np.ndarray | None]) -> Estimate:
        if self._settings.input == "keypoints":
            return self._estimator.estimate_keypoints(inputs)
        return self._estimator.estimate_images(inputs)

    def _publish(self, moment: SynchronizedSet, estimate: Estimate) -> None:
        stamp = conversions.to_stamp(moment.stamp_ns)
        joint_set = self._estimator.joint_set
        skeletons = conversions.skeletons_to_message(
            estimate.skeletons,
            joint_set,
            estimate.cameras,
            Header(stamp=stamp, frame_id=self._frame),
        )
        # Keypoints first: whoever waits for the skeletons of a moment has everything by then.
        for camera, keypoints in zip(self._rig.cameras, estimate.keypoints):
            publisher = self._keypoint_publishers[camera.name]
            if keypoints is not None and publisher.get_subscription_count():
                header = Header(stamp=stamp, frame_id=conversions.optical_frame(camera.name))
                publisher.publish(
                    conversions.keypoints_to_message(keypoints, camera, joint_set, header)
                )
        self._marker_publisher.publish(self._markers.update(skeletons))
        self._skeleton_publisher.publish(skeletons)

    def _publish_diagnostics(self) -> None:
        publishers = {
            name: self.count_publishers(topic) for name, topic in self._topics.items()
        }
        description = {
            "moments skipped while busy": self._slot.replaced,
            **self._estimator.description(),
        }
        self._diagnostics_publisher.publish(
            self._health.report(
                self.get_clock().now().to_msg(),
                time.monotonic(),
                self._synchronizer.statistics,
                publishers,
                description,
            )
        )

    def _problem(self, text: str, camera: str = "") -> None:
        if self._health.problem(text, time.monotonic(), camera):
            self.get_logger().warning(text)


def main(args: Sequence[str] | None = None) -> int:
    """Run the node as a process."""
    return process.run(VoxelPoseNode, rclpy.spin, args)


if __name__ == "__main__":
    sys.exit(main())
