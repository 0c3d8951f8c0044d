"""Real ROS processes for tests: in a domain of their own, always ended, with a listener."""

import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import rclpy
from coloured_dots_node import draw_person
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.rig import Rig, save_rig
from voxelpose_core.geometry.space import Space
from voxelpose_core.skeletons import COCO17
from voxelpose_ros import conversions, image_messages
from voxelpose_ros.bringup import image_transport
from voxelpose_ros.msg import Keypoints2DArray, SkeletonArray
from voxelpose_ros.rig_simulator import WalkingPeople
from voxelpose_ros.topics import camera_info_topic

TIMEOUT_S = 600.0
# Message type and topics for each kind of input, by the name of the method of `Cameras` that makes them.
INPUTS = {
    "image": (Image, "/{camera}/image_raw"),
    "compressed": (CompressedImage, "/{camera}/image_raw/compressed"),
    "keypoints": (Keypoints2DArray, "/{camera}/keypoints"),
}

# For the images that tests publish. Fast DDS reads this once, when the process first uses it.
os.environ.update(image_transport())


class Ros:
    """A ROS domain that nothing outside of this test shares.

    Args:
        folder: where the processes' output goes.
        number: apart from the other domains of this process.
    """

    def __init__(self, folder: Path, number: int = 0):
        self._folder = folder
        # Up to 101, the ports of a domain are none that Linux gives to others meanwhile.
        self.domain = 1 + (os.getpid() + 17 * number) % 101
        self._environment = {
            **os.environ,
            "ROS_DOMAIN_ID": str(self.domain),
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
            "ROS_LOG_DIR": str(folder / "log"),
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": "1",
        }
        self._processes = []
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=self.domain)
        self.node = Node("listener", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self.heard = defaultdict(list)

    def start(self, command, environment=()):
        """Start a command; returns the process, whose `output()` gives what it wrote so far."""
        path = self._folder / f"output_{len(self._processes)}.txt"
        with path.open("w") as file:
            process = subprocess.Popen(
                command,
                env={**self._environment, **dict(environment)},
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        process.output = path.read_text
        self._processes.append(process)
        return process

    def listen(self, message_type, topic, qos=100):
        """Keep the messages of a topic in `heard[topic]`."""
        self.node.create_subscription(message_type, topic, self.heard[topic].append, qos)

    def spin_until(self, condition, what="", timeout_s=TIMEOUT_S):
        """Take messages until the condition holds; fails with the processes' output."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            self._executor.spin_once(timeout_sec=0.05)
            if time.monotonic() > deadline:
                outputs = "\n".join(process.output() for process in self._processes)
                raise AssertionError(f"{what or 'it'} did not happen in {timeout_s} s\n{outputs}")

    def spin_for(self, seconds):
        """Take messages for a while."""
        end = time.monotonic() + seconds
        self.spin_until(lambda: time.monotonic() >= end)

    def wait_for_node(self, process, topic):
        """Spin until the topic has a publisher; fails at once when the process has ended."""
        self.spin_until(
            lambda: self.node.count_publishers(topic) or process.poll() is not None,
            f"a publisher on {topic}",
        )
        assert process.poll() is None, process.output()

    def call(self, service_type, name, **request):
        """The answer of a service."""
        client = self.node.create_client(service_type, name)
        self.spin_until(client.service_is_ready, f"service {name}")
        answer = client.call_async(service_type.Request(**request))
        self.spin_until(answer.done, f"an answer of {name}")
        self.node.destroy_client(client)
        return answer.result()

    def stop(self, process):
        """End a process as Ctrl-C does; returns its exit code."""
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        return self._ended(process)

    def _ended(self, process):
        try:
            process.wait(timeout=120)
        except subprocess.TimeoutExpired:
            process.kill()
        return process.wait()

    def interrupt(self):
        """Tell all processes to end, as Ctrl-C does."""
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)

    def close(self):
        """End everything."""
        self.interrupt()
        for process in self._processes:
            self._ended(process)
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)


class Cameras:
    """Publishes what the cameras of a rig see, good or bad, and reads what the node says of it.

    Args:
        ros: the domain.
        rig: the cameras.
        message_type: Image, CompressedImage or Keypoints2DArray.
        topic: of the messages, with `{camera}`; the CameraInfo lies beside it.
        node: full name of the node.
    """

    def __init__(self, ros, rig, message_type, topic, node_name="/voxelpose"):
        self.ros, self.rig, self.problems = ros, rig, {}
        self.node_name = node_name
        self.skeletons = f"{node_name}/skeletons"
        self.joints = WalkingPeople(rig.space, 1, seed=5).joints(0.0)[0]
        node = ros.node
        self.publishers = {
            name: node.create_publisher(message_type, topic.format(camera=name), 10) for name in rig.names
        }
        self.infos = {
            name: node.create_publisher(CameraInfo, camera_info_topic(topic.format(camera=name)), 10)
            for name in rig.names
        }
        ros.listen(SkeletonArray, self.skeletons)
        ros.listen(DiagnosticArray, "/diagnostics")

    def wait_for_node(self, process):
        self.ros.heard["/diagnostics"].clear()
        self.ros.wait_for_node(process, self.skeletons)
        publishers = [*self.publishers.values(), *self.infos.values()]
        self.ros.spin_until(lambda: all(p.get_subscription_count() for p in publishers), "the subscriptions")
        # What is sent before the node has found its publishers, too, is lost.
        self.ros.spin_until(
            lambda: all(self.value(name, "publishers") not in (None, "0") for name in self.rig.names),
            "diagnostics that count the publishers",
        )
        self.ros.spin_for(0.2)

    def image(self, name, stamp):
        camera = self.rig.camera(name)
        width, height = camera.image_size
        image = np.zeros((height, width, 3), np.uint8)
        draw_person(image, camera.project(self.joints)[0], camera.sees(self.joints))
        return image_messages.bgr_to_image(image, Header(stamp=stamp))

    def compressed(self, name, stamp):
        image = image_messages.image_to_bgr(self.image(name, stamp))
        message = CompressedImage(header=Header(stamp=stamp), format="png")
        message.data.frombytes(cv2.imencode(".png", image)[1].tobytes())
        return message

    def keypoints(self, name, stamp):
        camera = self.rig.camera(name)
        pixels, _ = camera.project(self.joints)
        seen = camera.sees(self.joints)
        person = np.column_stack([pixels, seen * 0.9])[None]
        return conversions.keypoints_to_message(person, camera, COCO17, Header(stamp=stamp))

    def publish(self, make, names=None):
        """Publish one frame set of all or some cameras."""
        stamp = self.ros.node.get_clock().now().to_msg()
        for name in names or self.rig.names:
            self.publishers[name].publish(make(name, stamp))

    def show(self, make, spoil=None, bad=()):
        """Publish one frame set and return the answer to it; `spoil` changes the bad cameras'."""
        stamp = self.ros.node.get_clock().now().to_msg()
        before = len(self.ros.heard[self.skeletons])
        for name, publisher in self.publishers.items():
            message = make(name, stamp)
            if name in bad:
                spoil(message)
            publisher.publish(message)
        self.ros.spin_until(lambda: len(self.ros.heard[self.skeletons]) > before, "an answer")
        return self.ros.heard[self.skeletons][-1]

    def problem(self, name):
        """The next problem that the diagnostics tell of the camera, or of the estimator."""

        def values():
            status = self.status(name)
            return {v.key: v.value for v in status.values} if status else {"problems": 0}

        known = self.problems.get(name, 0)
        self.ros.spin_until(lambda: int(values()["problems"]) > known, f"a problem of {name}")
        self.problems[name] = int(values()["problems"])
        return values()["last problem"]

    def status(self, name):
        """The last status of the camera, or of the estimator."""
        for message in reversed(self.ros.heard["/diagnostics"]):
            for status in message.status:
                if status.name == f"{self.node_name.strip('/')}: {name}":
                    return status
        return None

    def value(self, name, key):
        """A value of the last status of the camera, or of the estimator; None without one."""
        status = self.status(name)
        return None if status is None else {v.key: v.value for v in status.values}.get(key)


def python_command(module, **parameters):
    """Command line of a module's ROS node with parameters, `__` for the dot in a name."""
    named = {parameter_name(name): value for name, value in parameters.items()}
    return [sys.executable, "-m", module, *ros_arguments(named)]


def ros_arguments(parameters):
    """The arguments that set parameters; None leaves one at its default."""
    arguments = ["--ros-args"]
    for name, value in parameters.items():
        if value is not None:
            arguments += ["-p", f"{name}:={value}"]
    return arguments


def start_coloured_dots(ros, *arguments, **parameters):
    """Start the node, or with the argument "detector_node" that one, with the detector of drawn people."""
    named = {parameter_name(name): value for name, value in parameters.items()}
    script = Path(__file__).with_name("coloured_dots_node.py")
    return ros.start(
        [sys.executable, str(script), *arguments, *ros_arguments({"detector": "coloured_dots", **named})]
    )


def parameter_name(keyword):
    """The parameter that a keyword argument stands for: sync__slop_ms is sync.slop_ms."""
    return keyword.replace("__", ".")


def room_rig(path, cameras=4, image_size=(640, 480)):
    """Write and return a rig: cameras around a room of 4 x 4 m, looking at its centre."""
    found = []
    for index in range(cameras):
        angle = 2 * np.pi * (index + 0.25) / cameras
        center = np.array([4000 * np.cos(angle), 4000 * np.sin(angle), 2300.0])
        found.append(look_at(f"camera{index}", center, np.array([0.0, 0.0, 900.0]), image_size))
    rig = Rig(tuple(found), Space((0, 0, 1000), (4000, 4000, 2000)), name="room")
    save_rig(rig, path)
    return rig


def look_at(name, center, target, image_size):
    """A camera at `center` (mm) whose axis points to `target`."""
    forward = (target - center) / np.linalg.norm(target - center)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    R = np.array([right, np.cross(forward, right), forward])
    width, height = image_size
    focal = 0.8 * width
    K = [[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]]
    return Camera(name, image_size, K, [-0.05, 0.01, 0.001, -0.001, 0.0], R, center)


def stamp_ns(message):
    """The stamp of a message, nanoseconds."""
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def positions(skeleton):
    """(J, 3) the joints of a Skeleton message, metres."""
    return np.array([[p.x, p.y, p.z] for p in skeleton.joints])
