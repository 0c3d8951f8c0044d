"""Real ROS processes for tests: in a domain of their own, always ended, with a listener."""

import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.rig import Rig, Space, save_rig
from voxelpose_ros.bringup import image_transport

TIMEOUT_S = 240.0

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
        self._domain = 1 + (os.getpid() + 17 * number) % 101
        self._environment = {
            **os.environ,
            "ROS_DOMAIN_ID": str(self._domain),
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
            "ROS_LOG_DIR": str(folder / "log"),
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": "1",
        }
        self._processes = []
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=self._domain)
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

    def start_described(self, described):
        """Start a process that voxelpose_ros.bringup describes."""
        return self.start(described.command(), described.environment)

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

    def stop(self, process):
        """End a process as Ctrl-C does; returns its exit code."""
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
        return process.wait()

    def close(self):
        """End everything."""
        for process in self._processes:
            self.stop(process)
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)


def python_command(module, **parameters):
    """Command line of a module's ROS node with parameters."""
    command = [sys.executable, "-m", module, "--ros-args"]
    for name, value in parameters.items():
        command += ["-p", f"{name}:={value}"]
    return command


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
