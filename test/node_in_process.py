"""The node in the process of a test, with a tf2_ros of its own where none is installed."""

import sys
import threading
import types
from contextlib import contextmanager

import rclpy
from rclpy.executors import SingleThreadedExecutor
from ros_processes import Ros, parameter_name

from voxelpose_ros.node import VoxelPoseNode


class Transforms:
    """What tf2_ros has of the world: transforms by child frame, which were looked up, what was broadcast."""

    def __init__(self):
        self.known, self.asked, self.sent = {}, set(), []

    def package(self):
        """A module like tf2_ros, as far as the node uses it."""
        transforms = self

        class TransformException(Exception):
            pass

        class Buffer:
            def lookup_transform(self, target, source, time):
                if source not in transforms.known:
                    raise TransformException(f"frame {source} does not exist")
                transforms.asked.add(source)
                assert target == transforms.known[source].header.frame_id
                return transforms.known[source]

        class TransformListener:
            def __init__(self, buffer, node):
                pass

            def unregister(self):
                pass

        class TransformBroadcaster:
            def __init__(self, node):
                pass

            def sendTransform(self, given):
                transforms.sent += given

        package = types.ModuleType("tf2_ros")
        for part in (TransformException, Buffer, TransformListener, TransformBroadcaster):
            setattr(package, part.__name__, part)
        return package


def stand_in_for_tf2(monkeypatch):
    """Replace tf2_ros; returns the `Transforms` that it has."""
    transforms = Transforms()
    monkeypatch.setitem(sys.modules, "tf2_ros", transforms.package())
    return transforms


@contextmanager
def nodes_in_process(folder, monkeypatch):
    """Gives a function that starts the node with parameters, and returns the domain's other end."""
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    undo = []

    def start(**parameters):
        ros = Ros(folder)
        undo.append(ros.close)
        arguments = ["--ros-args"]
        for name, value in parameters.items():
            arguments += ["-p", f"{parameter_name(name)}:={value}"]
        rclpy.init(args=arguments, domain_id=ros.domain)
        undo.append(rclpy.try_shutdown)
        node = VoxelPoseNode()
        undo.append(node.destroy_node)
        undo.append(node.close)
        node.start()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        thread = threading.Thread(target=executor.spin, daemon=True)
        thread.start()
        undo.append(thread.join)
        undo.append(executor.shutdown)
        return ros

    try:
        yield start
    finally:
        for step in reversed(undo):
            step()
