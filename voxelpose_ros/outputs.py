"""What the node publishes of a moment."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from rclpy.node import Node
from rclpy.publisher import Publisher
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from voxelpose_core.estimator import Estimate, PoseEstimator
from voxelpose_ros import conversions, topics
from voxelpose_ros.markers import SkeletonMarkers
from voxelpose_ros.msg import Keypoints2DArray, SkeletonArray


class Outputs:
    """The publishers of one node, from `configure` to `cleanup`.

    Args:
        node: which publishes.
        cameras: names of the cameras.
        frame_id: the world frame; empty: the rig's.
        reliability: quality of service of the topics.
        incompatible_qos: hears of subscribers who want another quality: topic, policy.
    """

    def __init__(
        self,
        node: Node,
        cameras: Sequence[str],
        frame_id: str,
        reliability: str,
        incompatible_qos: Callable[[str, str], None],
    ):
        self._node = node
        self._frame_id = frame_id
        self._publishers: list[Publisher] = []
        self._qos = topics.sensor_qos(reliability, depth=10)
        self._incompatible_qos = incompatible_qos
        self._markers = SkeletonMarkers()
        self._skeletons = self._advertise(SkeletonArray, "~/skeletons")
        self._marker_array = self._advertise(MarkerArray, "~/markers")
        self._keypoints = {
            name: self._advertise(Keypoints2DArray, f"~/keypoints/{topics.ros_name(name)}")
            for name in cameras
        }

    @property
    def alive(self) -> bool:
        """Whether ROS still runs."""
        return self._node.context.ok()

    def close(self) -> None:
        """Take the topics back."""
        for publisher in self._publishers:
            self._node.destroy_publisher(publisher)

    def publish(
        self,
        stamp_ns: int,
        estimator: PoseEstimator,
        estimate: Estimate,
        inputs: Sequence[np.ndarray | None],
    ) -> None:
        """Publish all that is known of one moment."""
        stamp = conversions.to_stamp(stamp_ns)
        header = Header(stamp=stamp, frame_id=self._frame_id or estimator.rig.frame)
        skeletons = conversions.skeletons_to_message(
            estimate.skeletons, estimator.joint_set, estimate.cameras, header
        )
        # Keypoints first: whoever waits for the skeletons of a moment has everything by then.
        for camera, keypoints in zip(estimator.rig.cameras, estimate.keypoints):
            publisher = self._keypoints[camera.name]
            if keypoints is not None and publisher.get_subscription_count():
                optical = Header(stamp=stamp, frame_id=conversions.optical_frame(camera.name))
                publisher.publish(
                    conversions.keypoints_to_message(
                        keypoints, camera, estimator.joint_set, optical
                    )
                )
        self._marker_array.publish(self._markers.update(skeletons))
        self._skeletons.publish(skeletons)

    def _advertise(self, message_type: type, topic: str) -> Publisher:
        events = topics.publisher_events(
            lambda policy: self._incompatible_qos(self._node.resolve_topic_name(topic), policy)
        )
        publisher = self._node.create_publisher(
            message_type, topic, self._qos, event_callbacks=events
        )
        self._publishers.append(publisher)
        return publisher
