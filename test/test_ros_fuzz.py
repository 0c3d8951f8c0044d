"""Thousands of bad messages over real topics: every good frame set between them comes out.

VOXELPOSE_FUZZ_MESSAGES sets how many bad messages of each kind of input; CI sends some hundreds.
"""

import os
import random
import time

import numpy as np
import pytest

pytest.importorskip("voxelpose_ros.msg", reason="the package's messages are not built")

from bad_messages import SPOIL, spoil_camera_info, spoil_stamp
from rclpy.duration import Duration
from ros_processes import INPUTS, Cameras, Ros, positions, room_rig, stamp_ns, start_coloured_dots

from voxelpose_ros import camera_info_messages, conversions

BAD_MESSAGES = int(os.environ.get("VOXELPOSE_FUZZ_MESSAGES", 200))
# Farther apart than the slop: no message of one frame set may be taken for one of the other.
PAUSE_S = 0.04


class Fuzz:
    """A node, its cameras, and all the bad messages that they send.

    Content is spoiled of all cameras; stamps of one a round, as where one clock is broken. Two
    cameras that agree on a wrong time would be right.
    """

    def __init__(self, folder, kind):
        self.kind, self.source = kind, random.Random(kind)
        self.ros = Ros(folder, number=list(INPUTS).index(kind))
        self.rig = room_rig(folder / "room.yaml", image_size=(320, 240))
        self.cameras = Cameras(self.ros, self.rig, *INPUTS[kind])
        self.make = getattr(self.cameras, kind)
        self.process = start_coloured_dots(
            self.ros,
            rig_file=folder / "room.yaml",
            input=kind,
            device="cpu",
            qos__reliability="reliable",
            qos__depth=1000,
            sync__max_wait_ms=3000,
            # What is tested is the node: the estimator may be coarse.
            space="0,0,1000,2800,2800,2000",
            estimator__recenter=False,
            estimator__refine=False,
        )
        self.cameras.wait_for_node(self.process)
        self.sent = 0

    def round(self, count):
        """Bad messages, then a good frame set; returns the answer to that."""
        mad = self.source.choice(self.rig.names)
        names = self.source.choices(self.rig.names, k=count)
        # Every camera speaks last: nobody waits for one that has been silent for a second.
        for name in (*names, *self.rig.names):
            message = self.make(name, self.ros.node.get_clock().now().to_msg())
            if name == mad and self.source.random() < 0.4:
                spoil_stamp(message, self.source)
            else:
                SPOIL[self.kind](message, self.source)
            self.send(self.cameras.publishers[name], message)
        time.sleep(PAUSE_S)
        return self.good_frame_set()

    def camera_infos(self):
        """Each camera's intrinsics, bad, then good."""
        for good in (False, True, True):
            for name, publisher in self.cameras.infos.items():
                now = self.ros.node.get_clock().now().to_msg()
                message = camera_info_messages.camera_info(self.rig.camera(name), now)
                if not good:
                    spoil_camera_info(message, self.source)
                    self.sent += 1
                publisher.publish(message)
            self.ros.spin_for(0.1)

    def send(self, publisher, message):
        publisher.publish(message)
        self.sent += 1

    def good_frame_set(self):
        """The answer to a frame set in which everything is as it should be."""
        stamp = self.ros.node.get_clock().now().to_msg()
        for name, publisher in self.cameras.publishers.items():
            publisher.publish(self.make(name, stamp))
        for publisher in self.cameras.publishers.values():
            assert publisher.wait_for_all_acked(Duration(seconds=60.0))
        expected = conversions.to_nanoseconds(stamp)
        heard = self.ros.heard[self.cameras.skeletons]

        def answered():
            return self.process.poll() is not None or any(stamp_ns(m) == expected for m in heard)

        self.ros.spin_until(answered, f"the answer to a good frame set after {self.sent} bad messages")
        assert self.process.poll() is None, self.process.output()
        answer = next(m for m in heard if stamp_ns(m) == expected)
        heard.clear()
        return answer


@pytest.mark.parametrize("kind", INPUTS)
def test_good_frame_sets_between_bad_messages_all_come_out(kind, tmp_path):
    fuzz = Fuzz(tmp_path, kind)
    try:
        known = fuzz.good_frame_set()
        assert len(known.skeletons) == 1
        rounds = 0
        while fuzz.sent < BAD_MESSAGES:
            answer = fuzz.round(fuzz.source.randrange(1, 40))
            assert list(answer.cameras) == list(fuzz.rig.names)
            assert len(answer.skeletons) == 1
            moved = positions(answer.skeletons[0]) - positions(known.skeletons[0])
            assert np.abs(moved).max() < 0.001  # the same picture, the same answer
            rounds += 1
            if rounds % 5 == 0:
                fuzz.camera_infos()
        problems = sum(int(fuzz.cameras.value(name, "problems") or 0) for name in fuzz.rig.names)
        assert problems > 0
        for name in (*fuzz.rig.names, "estimator"):
            assert "\n" not in fuzz.cameras.value(name, "last problem")
        assert "Traceback" not in fuzz.process.output()
        print(f"{kind}: {fuzz.sent} bad messages, {rounds} good frame sets, {problems} problems told")
    finally:
        fuzz.ros.close()
