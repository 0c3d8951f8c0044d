"""What happens in a lab: cameras die, lag and return, time jumps back, nodes are killed; two nodes
side by side in namespaces."""

import signal
import time

import pytest

pytest.importorskip("voxelpose_ros.msg", reason="the package's messages are not built")

from diagnostic_msgs.msg import DiagnosticStatus
from ros_processes import Cameras, Ros, python_command, room_rig, stamp_ns

from voxelpose_ros import conversions
from voxelpose_ros.msg import Keypoints2DArray

SIDES = ("left", "right")
PERIOD_S = 0.1
HOUR_NS = 3600 * 10**9


class Lab:
    """Two nodes, each in a namespace with four cameras of its own."""

    def __init__(self, folder):
        self.ros = Ros(folder)
        self.rig_file = folder / "room.yaml"
        self.rig = room_rig(self.rig_file)
        self.cameras = {
            side: Cameras(
                self.ros,
                self.rig,
                Keypoints2DArray,
                f"/{side}/{{camera}}/keypoints",
                node_name=f"/{side}/voxelpose",
            )
            for side in SIDES
        }
        self.processes = {side: self.start(side) for side in SIDES}
        for side in SIDES:
            self.cameras[side].wait_for_node(self.processes[side])

    def start(self, side):
        command = python_command(
            "voxelpose_ros.node",
            rig_file=self.rig_file,
            input="keypoints",
            keypoints_topic="'{camera}/keypoints'",
            device="cpu",
            space="'0,0,1000,3000,3000,2000'",
            sync__max_wait_ms=400,
            estimator__recenter=False,
            estimator__refine=False,
        )
        return self.ros.start([*command, "-r", f"__ns:=/{side}"])

    def answers(self, side):
        return self.ros.heard[self.cameras[side].skeletons]

    def stream(self, condition, what, sides=SIDES, rates=(1, 1, 1, 1), ago_ns=0):
        """Publish frame sets until it happens; a camera's rate is 1, 0, or 1 of so many frame sets."""
        frame_sets = 0
        following = time.monotonic()

        def happened():
            nonlocal frame_sets, following
            if time.monotonic() >= following:
                following = time.monotonic() + PERIOD_S
                now = self.ros.node.get_clock().now().nanoseconds - ago_ns
                stamp = conversions.to_stamp(now)
                for side in sides:
                    cameras = self.cameras[side]
                    for name, every in zip(self.rig.names, rates):
                        if every and frame_sets % every == 0:
                            cameras.publishers[name].publish(cameras.keypoints(name, stamp))
                frame_sets += 1
            return condition()

        self.ros.spin_until(happened, what)

    def next_from(self, side, cameras, count=2, **options):
        """Stream until so many new frame sets with just these cameras have come; returns them."""
        before = len(self.answers(side))

        def fitting():
            new = self.answers(side)[before:]
            return [m for m in new if list(m.cameras) == [f"camera{i}" for i in cameras]]

        self.stream(lambda: len(fitting()) >= count, f"frame sets of cameras {cameras}", **options)
        return fitting()


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    lab = Lab(tmp_path_factory.mktemp("lab"))
    yield lab
    lab.ros.close()


def test_two_nodes_side_by_side_answer_for_themselves(lab):
    for side, other in (("left", "right"), ("right", "left")):
        start = lab.ros.node.get_clock().now().nanoseconds
        messages = lab.next_from(side, [0, 1, 2, 3], sides=[side])
        assert len(messages[-1].skeletons) == 1
        assert all(stamp_ns(message) < start for message in lab.answers(other))


def test_a_dead_camera_silences_nobody_and_returns(lab):
    messages = lab.next_from("left", [0, 1, 2], rates=(1, 1, 1, 0), sides=["left"])
    assert len(messages[-1].skeletons) == 1

    def level(camera):
        status = lab.cameras["left"].status(camera)
        return None if status is None else status.level

    def named():
        # Before the stream began, all cameras were silent.
        return level("camera3") == DiagnosticStatus.ERROR and level("camera0") == DiagnosticStatus.OK

    lab.stream(named, "a word about camera3 alone", rates=(1, 1, 1, 0), sides=["left"])
    text = lab.cameras["left"].status("camera3").message
    assert text.startswith("nothing on /left/camera3/keypoints for ")
    lab.next_from("left", [0, 1, 2, 3], sides=["left"])


def test_a_slow_camera_is_used_when_it_is_there(lab):
    slow = {"rates": (1, 1, 5, 1), "sides": ["left"]}
    assert lab.next_from("left", [0, 1, 3], **slow)
    assert lab.next_from("left", [0, 1, 2, 3], count=1, **slow)


def test_a_player_that_starts_again_is_followed_back_in_time(lab):
    before = stamp_ns(lab.next_from("left", [0, 1, 2, 3], count=1, sides=["left"])[-1])
    message = lab.next_from("left", [0, 1, 2, 3], sides=["left"], ago_ns=HOUR_NS)[-1]
    assert stamp_ns(message) < before
    assert len(message.skeletons) == 1
    # And forth again.
    message = lab.next_from("left", [0, 1, 2, 3], sides=["left"])[-1]
    assert stamp_ns(message) > before


def test_a_node_that_was_killed_and_starts_again_goes_on(lab):
    lab.processes["left"].send_signal(signal.SIGKILL)
    lab.processes["left"].wait()
    # The other one does not mind.
    assert lab.next_from("right", [0, 1, 2, 3])
    lab.processes["left"] = lab.start("left")
    message = lab.next_from("left", [0, 1, 2, 3])[-1]
    assert len(message.skeletons) == 1
    assert lab.ros.stop(lab.processes["right"]) == 0
    assert "Traceback" not in lab.processes["right"].output()
