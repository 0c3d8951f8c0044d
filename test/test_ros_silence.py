"""What a user sees where nothing comes out: cameras out of phase, simulated time that never begins."""

import re
import time

import pytest

pytest.importorskip("voxelpose_ros.msg", reason="the package's messages are not built")

from diagnostic_msgs.msg import DiagnosticStatus
from ros_processes import Cameras, python_command, room_rig
from rosgraph_msgs.msg import Clock

from voxelpose_ros import conversions
from voxelpose_ros.msg import Keypoints2DArray

PERIOD_S = 0.1
TOPIC = "/{camera}/keypoints"
NO_CLOCK = (
    "use_sim_time is true but nothing comes on /clock: play the bag with --clock, or set "
    "use_sim_time to false"
)


def start_node(ros, folder, **parameters):
    """A node with three cameras; returns its process and the cameras."""
    rig = room_rig(folder / "room.yaml", cameras=3)
    process = ros.start(
        python_command(
            "voxelpose_ros.node",
            rig_file=folder / "room.yaml",
            input="keypoints",
            device="cpu",
            sync__max_wait_ms=90,
            estimator__recenter=False,
            estimator__refine=False,
            **parameters,
        )
    )
    cameras = Cameras(ros, rig, Keypoints2DArray, TOPIC)
    cameras.wait_for_node(process)
    return process, cameras


def stream(cameras, condition, what, late_s=0.0, clock=None):
    """Publish until it happens; the last camera's stamps and messages come `late_s` later."""
    due = [(time.monotonic(), names) for names in (cameras.rig.names[:-1], cameras.rig.names[-1:])]
    due[1] = (due[1][0] + late_s, due[1][1])

    def happened():
        for index, (at, names) in enumerate(due):
            if time.monotonic() >= at:
                # On the beat, however late this process was woken.
                stamp_ns = time.time_ns() - round((time.monotonic() - at) * 1e9)
                for name in names:
                    message = cameras.keypoints(name, conversions.to_stamp(stamp_ns))
                    cameras.publishers[name].publish(message)
                if clock is not None:
                    clock.publish(Clock(clock=conversions.to_stamp(stamp_ns)))
                due[index] = (at + PERIOD_S, names)
        return condition()

    cameras.ros.spin_until(happened, what, timeout_s=120.0)


def test_cameras_out_of_phase_are_told_in_diagnostics_and_log(ros, tmp_path):
    process, cameras = start_node(ros, tmp_path, sync__min_cameras=3)

    def message():
        status = cameras.status("estimator")
        return "" if status is None else status.message

    stream(cameras, lambda: ros.heard[cameras.skeletons], "skeletons of cameras in phase")
    # After the first frame set, too.
    said = re.compile(r"camera0 and camera2 are (\d+) ms apart in the median, sync.slop_ms is 15: ")

    def told():
        match = said.match(message())
        return match is not None and abs(int(match[1]) - 40) <= 5

    stream(cameras, told, "a word", late_s=0.04)
    assert cameras.status("estimator").level == DiagnosticStatus.WARN
    assert "raise sync.slop_ms to at least " in message()
    ros.spin_until(lambda: "sync.slop_ms is 15: " in process.output(), "a line in the log")
    assert "WARN" in process.output() or "warning" in process.output().lower()
    # In phase again, it is said no longer.
    stream(cameras, lambda: message().endswith("frame sets per second"), "the end of it")


def test_a_node_that_waits_for_simulated_time_says_so(ros, tmp_path):
    process, cameras = start_node(ros, tmp_path, use_sim_time=True)
    status = lambda: cameras.status("estimator")  # noqa: E731
    stream(cameras, lambda: status() is not None and ros.heard[cameras.skeletons], "both")
    assert (status().level, status().message) == (DiagnosticStatus.WARN, NO_CLOCK)
    assert abs(ros.heard["/diagnostics"][-1].header.stamp.sec - time.time()) < 60
    assert NO_CLOCK in process.output()
    # No latency can be told.
    assert cameras.value("estimator", "latency p50 ms") is None
    # A frame set that lacks a camera goes on without simulated time, too.
    cameras.publish(cameras.keypoints, ["camera0", "camera1"])
    partial = lambda m: list(m.cameras) == ["camera0", "camera1"]  # noqa: E731
    ros.spin_until(lambda: any(map(partial, ros.heard[cameras.skeletons])), "a partial frame set")
    clock = ros.node.create_publisher(Clock, "/clock", 10)
    stream(cameras, lambda: NO_CLOCK not in status().message, "the clock", clock=clock)
    stream(
        cameras,
        lambda: cameras.value("estimator", "latency p50 ms") is not None,
        "latencies",
        clock=clock,
    )


def test_a_simulator_waits_for_simulated_time_and_says_so(ros, tmp_path):
    room_rig(tmp_path / "room.yaml", cameras=2)
    ros.listen(Keypoints2DArray, "/camera0/keypoints")
    simulator = ros.start(
        python_command(
            "voxelpose_ros.rig_simulator",
            rig_file=tmp_path / "room.yaml",
            people=1,
            use_sim_time=True,
        )
    )
    ros.spin_until(lambda: NO_CLOCK in simulator.output(), "a word about /clock")
    assert not ros.heard["/camera0/keypoints"]
    clock = ros.node.create_publisher(Clock, "/clock", 10)
    ticks = iter(range(1000, 10**9))

    def tick():
        clock.publish(Clock(clock=conversions.to_stamp(next(ticks) * 10**7)))
        return ros.heard["/camera0/keypoints"]

    ros.spin_until(tick, "keypoints")
    assert 10 <= ros.heard["/camera0/keypoints"][0].header.stamp.sec < 1000
