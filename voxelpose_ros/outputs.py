"""What the node publishes of a frame set."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from voxelpose_core.drawing.camera_view import draw_view
from voxelpose_core.estimator import PoseEstimator
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.geometry.space import Space
from voxelpose_core.pose_types import Estimate
from voxelpose_ros import camera_info_messages, conversions, image_messages, topics
from voxelpose_ros.calibration import tf2_ros
from voxelpose_ros.markers import SkeletonMarkers, rig_markers
from voxelpose_ros.msg import Keypoints2DArray, SkeletonArray
from voxelpose_ros.settings import NodeSettings

_OVERLAY_WIDTH = 960


class Outputs:
    """The publishers of one node, from `configure` to `cleanup`.

    Args:
        node: which publishes.
        cameras: names of the cameras.
        settings: of the node.
        incompatible_qos: hears of subscribers who want another quality: topic, policy.

    Raises:
        InputError: when transforms are wanted where tf2_ros is not installed.
    """

    def __init__(
        self,
        node: Node,
        cameras: Sequence[str],
        settings: NodeSettings,
        incompatible_qos: Callable[[str, str], None],
    ):
        self._node = node
        self._frame_id = settings.frame_id
        self._publishers: list[Publisher] = []
        self._incompatible_qos = incompatible_qos
        self._broadcaster = None
        if settings.publish_tf:
            self._broadcaster = tf2_ros("publish_tf").TransformBroadcaster(node)
        qos = topics.sensor_qos(settings.output_reliability, depth=10)
        self._markers = SkeletonMarkers()
        self._skeletons = self._advertise(SkeletonArray, "~/skeletons", qos)
        self._people = self._advertise(MarkerArray, "~/markers", qos)
        self._rig = self._advertise(MarkerArray, "~/rig_markers", topics.latched_qos())
        self._keypoints = {
            name: self._advertise(Keypoints2DArray, f"~/keypoints/{topics.ros_name(name)}", qos)
            for name in cameras
        }
        newest = topics.sensor_qos(settings.output_reliability, depth=1)
        self._overlays = {
            name: self._advertise(Image, f"~/overlay/{topics.ros_name(name)}", newest) for name in cameras
        }

    @property
    def alive(self) -> bool:
        """Whether ROS still runs."""
        return self._node.context.ok()

    def close(self) -> None:
        """Take the topics back."""
        for publisher in self._publishers:
            self._node.destroy_publisher(publisher)

    def show_rig(self, rig: Rig, space: Space) -> None:
        """Show cameras and capture space to whoever listens, now or later."""
        header = Header(stamp=self._node.get_clock().now().to_msg(), frame_id=self._frame_id or rig.frame)
        self._rig.publish(rig_markers(rig, space, header))

    def publish(
        self,
        stamp_ns: int,
        estimator: PoseEstimator,
        estimate: Estimate,
        images: Sequence[np.ndarray | None] | None,
    ) -> None:
        """Publish what is known of one frame set and has subscribers, the skeletons first.

        Args:
            stamp_ns: stamp of the frame set.
            estimator: which made the estimate.
            estimate: of that frame set, tracked.
            images: BGR uint8 (H, W, 3), one per camera, or None where only keypoints came.
        """
        stamp = conversions.to_stamp(stamp_ns)
        header = Header(stamp=stamp, frame_id=self._frame_id or estimator.rig.frame)
        skeletons = conversions.skeletons_to_message(
            estimate.skeletons, estimator.joint_set, estimate.cameras, header
        )
        self._skeletons.publish(skeletons)
        for index, camera in enumerate(estimator.rig.cameras):
            optical = Header(stamp=stamp, frame_id=camera_info_messages.optical_frame(camera.name))
            self._publish_keypoints(camera, estimate.keypoints[index], estimator, optical)
            image = None if images is None else images[index]
            self._publish_overlay(index, image, estimator, estimate, optical)
        if self._broadcaster is not None:
            self._broadcaster.sendTransform(
                [
                    conversions.body_transform(skeleton, estimator.joint_set, header)
                    for skeleton in estimate.skeletons
                    if skeleton.track_id >= 0
                ]
            )
        if self._people.get_subscription_count():
            self._people.publish(self._markers.update(skeletons))

    def _publish_keypoints(
        self, camera: Camera, people: np.ndarray | None, estimator: PoseEstimator, header: Header
    ) -> None:
        publisher = self._keypoints[camera.name]
        if people is not None and publisher.get_subscription_count():
            publisher.publish(conversions.keypoints_to_message(people, camera, estimator.joint_set, header))

    def _publish_overlay(
        self,
        index: int,
        image: np.ndarray | None,
        estimator: PoseEstimator,
        estimate: Estimate,
        header: Header,
    ) -> None:
        camera = estimator.rig.cameras[index]
        publisher = self._overlays[camera.name]
        if camera.name in estimate.cameras and publisher.get_subscription_count():
            picture = draw_view(
                camera,
                image,
                estimate.skeletons,
                estimator.joint_set,
                estimate.keypoints[index],
                _OVERLAY_WIDTH,
            )
            publisher.publish(image_messages.bgr_to_image(picture, header))

    def _advertise(self, message_type: type, topic: str, qos: QoSProfile) -> Publisher:
        events = topics.publisher_events(
            lambda policy: self._incompatible_qos(self._node.resolve_topic_name(topic), policy)
        )
        publisher = self._node.create_publisher(message_type, topic, qos, event_callbacks=events)
        self._publishers.append(publisher)
        return publisher
