"""Bags for tests, written by the package rosbags: no ROS needed."""

import cv2
import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from scipy.spatial.transform import Rotation

from voxelpose_core.bags.definitions import message_definitions
from voxelpose_core.skeletons import COCO17

START_NS = 1_700_000_000_000_000_000


def typestore():
    store = get_typestore(Stores.ROS2_HUMBLE)
    for name, text in message_definitions().items():
        store.register(get_types_from_msg(text, name))
    return store


class BagMaker:
    """Writes messages into a bag; use it with `with`."""

    def __init__(self, path, storage="sqlite3"):
        plugin = {"sqlite3": StoragePlugin.SQLITE3, "mcap": StoragePlugin.MCAP}[storage]
        self.store = typestore()
        self._writer = Writer(path, version=8, storage_plugin=plugin)
        self._connections = {}

    def __enter__(self):
        self._writer.open()
        return self

    def __exit__(self, *_):
        self._writer.close()

    def type(self, name):
        return self.store.types[name]

    def header(self, stamp_ns, frame="world"):
        time = self.type("builtin_interfaces/msg/Time")(*divmod(stamp_ns, 10**9))
        return self.type("std_msgs/msg/Header")(time, frame)

    def write(self, topic, kind, message, received_ns):
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(topic, kind, typestore=self.store)
        self._writer.write(self._connections[topic], received_ns, self.store.serialize_cdr(message, kind))

    def image(self, topic, picture, stamp_ns, received_ns=None, encoding="bgr8"):
        """A picture (H, W, 3), BGR."""
        kind = "sensor_msgs/msg/Image"
        height, width = picture.shape[:2]
        data = np.ascontiguousarray(picture).reshape(-1)
        message = self.type(kind)(self.header(stamp_ns), height, width, encoding, 0, 3 * width, data)
        self.write(topic, kind, message, received_ns or stamp_ns)

    def compressed(self, topic, picture, stamp_ns, received_ns=None, ending=".jpg", quality=90):
        """A picture (H, W, 3), BGR, as JPEG or PNG."""
        kind = "sensor_msgs/msg/CompressedImage"
        options = [cv2.IMWRITE_JPEG_QUALITY, quality] if ending == ".jpg" else []
        data = cv2.imencode(ending, picture, options)[1].ravel()
        message = self.type(kind)(self.header(stamp_ns), ending[1:], data)
        self.write(topic, kind, message, received_ns or stamp_ns)

    def keypoints(self, topic, camera, people, stamp_ns, received_ns=None, joint_set=COCO17.name):
        """2D detections (P, J, 3)."""
        kind, of_one = "voxelpose_ros/msg/Keypoints2DArray", self.type("voxelpose_ros/msg/Keypoints2D")
        rows = [of_one(float(p[:, 2].max()), *(p[:, i].astype(np.float32) for i in range(3))) for p in people]
        message = self.type(kind)(self.header(stamp_ns), camera.name, *camera.image_size, joint_set, rows)
        self.write(topic, kind, message, received_ns or stamp_ns)

    def camera_info(self, topic, camera, frame, stamp_ns=START_NS):
        kind, region = "sensor_msgs/msg/CameraInfo", self.type("sensor_msgs/msg/RegionOfInterest")
        width, height = camera.image_size
        message = self.type(kind)(
            self.header(stamp_ns, frame), height, width, "plumb_bob", camera.distortion.astype(float),
            camera.K.ravel(), np.eye(3).ravel(), np.hstack([camera.K, np.zeros((3, 1))]).ravel(), 0, 0,
            region(0, 0, 0, 0, False),
        )  # fmt: skip
        self.write(topic, kind, message, stamp_ns)

    def transforms(self, poses, topic="/tf_static", stamp_ns=START_NS):
        """Poses (parent, child, R, t in metres): x_parent = R x_child + t."""
        kind, of_one = "tf2_msgs/msg/TFMessage", self.type("geometry_msgs/msg/TransformStamped")
        vector, quaternion = self.type("geometry_msgs/msg/Vector3"), self.type("geometry_msgs/msg/Quaternion")
        transform = self.type("geometry_msgs/msg/Transform")
        rows = [
            of_one(
                self.header(stamp_ns, parent),
                child,
                transform(vector(*map(float, t)), quaternion(*Rotation.from_matrix(R).as_quat().tolist())),
            )
            for parent, child, R, t in poses
        ]
        self.write(topic, kind, self.type(kind)(rows), stamp_ns)

    def camera_poses(self, rig, parent="map"):
        """The rig's cameras in TF."""
        self.transforms([(parent, f"{c.name}_optical_frame", c.R.T, c.C / 1000.0) for c in rig.cameras])
