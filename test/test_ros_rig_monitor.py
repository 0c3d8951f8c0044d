"""A real node notices a camera that was knocked, and proposes a mended rig on ~/refine_rig."""

import dataclasses
import time

import numpy as np
import pytest

pytest.importorskip("voxelpose_ros.msg", reason="the package's messages are not built")

from builtin_interfaces.msg import Time
from ros_processes import Cameras, Ros, python_command, room_rig
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from voxelpose_core.errors import InputError
from voxelpose_core.generated_motion import random_walks
from voxelpose_core.geometry.rig import load_rig
from voxelpose_core.self_calibration.camera_faults import LATE, MOVED
from voxelpose_core.self_calibration.monitor import BLIND, RigFault
from voxelpose_core.skeletons import COCO17
from voxelpose_ros import conversions
from voxelpose_ros.msg import Keypoints2DArray
from voxelpose_ros.rig_refinement import advice, free_path, propose_rig
from voxelpose_ros.rig_simulator import knocked_camera, observe

RATE = 5.0


@pytest.fixture
def ros(tmp_path):
    domain = Ros(tmp_path, number=14)
    yield domain
    domain.close()


def start(ros, rig, tmp_path, **parameters):
    process = ros.start(
        python_command(
            "voxelpose_ros.node",
            rig_file=tmp_path / "rig.yaml",
            input="keypoints",
            device="cpu",
            **parameters,
        )
    )
    cameras = Cameras(ros, rig, Keypoints2DArray, "/{camera}/keypoints")
    cameras.wait_for_node(process)
    return process, cameras


class Walk:
    """Sends what the cameras see of somebody who walks, faster than real time: stamps run ahead."""

    def __init__(self, ros, cameras):
        self.ros, self.cameras = ros, cameras
        self.poses = random_walks(1, RATE, 120.0, 7, room_mm=3000)
        self.index, self.start_s = 0, time.time()

    def send(self):
        random = np.random.default_rng(self.index)
        nanoseconds = round(1e9 * (self.start_s + self.index / RATE))
        stamp = Time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)
        for camera in self.cameras.rig.cameras:
            seen = observe(self.poses[self.index], camera, random, 2.0, 0.02)
            message = conversions.keypoints_to_message(seen, camera, COCO17, Header(stamp=stamp))
            self.cameras.publishers[camera.name].publish(message)
        self.index = (self.index + 1) % len(self.poses)

    def until(self, condition, what):
        def sent():
            self.send()
            self.ros.spin_for(0.02)
            return condition()

        self.ros.spin_until(sent, what)


def knocked(rig, name, degrees):
    """How the cameras really hang."""
    cameras = [knocked_camera(c, degrees) if c.name == name else c for c in rig.cameras]
    return dataclasses.replace(rig, cameras=tuple(cameras))


def test_a_knocked_camera_is_named_and_mended(ros, tmp_path):
    rig = room_rig(tmp_path / "rig.yaml")
    process, cameras = start(ros, rig, tmp_path)
    refused = ros.call(Trigger, "/voxelpose/refine_rig")
    assert not refused.success and refused.message.startswith("no rig is proposed: nothing was seen yet")
    cameras.rig = knocked(rig, "camera2", 1.5)
    walk = Walk(ros, cameras)

    def text():
        status = cameras.status("camera2")
        return "" if status is None else status.message

    walk.until(lambda: "'camera2' seems turned by 1." in text(), "an alarm")
    assert "`ros2 service call /voxelpose/refine_rig std_srvs/srv/Trigger`" in text()
    for name in ("camera0", "camera1", "camera3"):
        assert "turned" not in cameras.status(name).message
    # A proposal of before is not replaced, nor is the rig in use.
    before = (tmp_path / "rig.yaml").read_bytes()
    (tmp_path / "rig.refined.yaml").write_text("mine")
    answer = ros.call(Trigger, "/voxelpose/refine_rig")
    assert answer.success, answer.message
    assert str(tmp_path / "rig.refined-2.yaml") in answer.message and "camera2 1." in answer.message
    assert (tmp_path / "rig.yaml").read_bytes() == before
    assert (tmp_path / "rig.refined.yaml").read_text() == "mine"
    mended = load_rig(tmp_path / "rig.refined-2.yaml")
    turned = mended.camera("camera2").R @ cameras.rig.camera("camera2").R.T
    assert np.degrees(np.arccos((np.trace(turned) - 1) / 2)) < 0.6
    assert ros.stop(process) == 0


def test_time_offsets_are_the_rigs_or_the_parameters(ros, tmp_path):
    rig = room_rig(tmp_path / "rig.yaml", cameras=2)
    text = (tmp_path / "rig.yaml").read_text()
    (tmp_path / "rig.yaml").write_text(
        text.replace("name: camera1", "name: camera1\n  time_offset_ms: -250.0")
    )
    process, cameras = start(ros, rig, tmp_path)
    assert "time offsets 0,-250 ms, of the rig file" in process.output()

    def show(late_ns):
        """Frame sets of two cameras, whose stamps are so far apart."""
        now = ros.node.get_clock().now().nanoseconds
        for name, own in (("camera0", now), ("camera1", now + late_ns)):
            stamp = Time(sec=own // 10**9, nanosec=own % 10**9)
            cameras.publishers[name].publish(cameras.keypoints(name, stamp))
        ros.spin_for(0.05)
        return [m for m in ros.heard[cameras.skeletons] if len(m.cameras) == 2]

    ros.spin_until(lambda: show(250_000_000), "frame sets with the rig's offsets")
    ros.stop(process)
    process = ros.start(
        python_command(
            "voxelpose_ros.node",
            rig_file=tmp_path / "rig.yaml",
            input="keypoints",
            sync__offsets_ms="[0.0, 100.0]",
            rig_monitor__enabled="false",
        )
    )
    cameras.wait_for_node(process)
    assert "time offsets 0,100 ms, of sync.offsets_ms" in process.output()
    ros.heard[cameras.skeletons].clear()
    ros.spin_until(lambda: show(-100_000_000), "frame sets with the parameter's offsets")
    refused = ros.call(Trigger, "/voxelpose/refine_rig")
    assert not refused.success and "parameter 'rig_monitor.enabled' is false" in refused.message


class Named:
    def get_fully_qualified_name(self):
        return "/hall/voxelpose"


def test_advice_says_what_to_type():
    offsets = [0.0, -5.0, 0.0]
    assert "ros2 service call /hall/voxelpose/refine_rig" in advice(
        RigFault("b", MOVED), Named(), ["a", "b", "c"], offsets
    )
    late = advice(RigFault("b", LATE, offset_ms=80.04), Named(), ["a", "b", "c"], offsets)
    assert 'ros2 param set /hall/voxelpose sync.offsets_ms "[0.0,75.0,0.0]"' in late
    # Of the first camera: the others are moved instead.
    first = advice(RigFault("a", LATE, offset_ms=80.0), Named(), ["a", "b", "c"], offsets)
    assert '"[0.0,-85.0,-80.0]"' in first
    assert advice(RigFault("b", BLIND), Named(), ["a", "b", "c"], offsets) == ""


def test_a_proposal_never_lies_over_another_file(tmp_path):
    assert free_path(tmp_path / "rig.yaml") == tmp_path / "rig.refined.yaml"
    for name in ("rig.refined.yaml", "rig.refined-2.yaml"):
        (tmp_path / name).write_text("mine")
        assert not free_path(tmp_path / "rig.yaml").exists()
    assert free_path(tmp_path / "Calib.qca.txt").name == "Calib.qca.refined.yaml"
    (tmp_path / "calib").mkdir()
    assert free_path(tmp_path / "calib") == tmp_path / "calib.refined.yaml"


def test_nothing_seen_is_a_refusal():
    with pytest.raises(InputError, match="nothing was seen yet"):
        propose_rig(None, [], "rig.yaml")
