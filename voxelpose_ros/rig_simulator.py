"""People walk through a rig, and every camera's noisy 2D keypoints of them are published.

Needs no cameras and no detector: for a first look in RViz, and for tests that know the truth.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence

import numpy as np
from rclpy.node import Node
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from voxelpose_core.errors import InputError
from voxelpose_core.generated_motion import walking_pose
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.coverage import propose_space
from voxelpose_core.geometry.rig import Rig, load_rig
from voxelpose_core.geometry.space import Space
from voxelpose_core.skeletons import COCO17
from voxelpose_ros import camera_info_messages, clocks, conversions, process, topics
from voxelpose_ros.msg import Keypoints2DArray, SkeletonArray
from voxelpose_ros.pacing import Handshake, Pace, flush, spin_beside
from voxelpose_ros.parameters import Parameters
from voxelpose_ros.renamed_parameters import SIMULATOR

_MIN_SEEN_JOINTS = 5
_SPEED_MM_S = 1000.0
_STRIDES_PER_S = 0.9
_PERSONAL_SPACE_MM = 900.0


class WalkingPeople:
    """People who walk one behind the other around the centre of a space, without noise.

    Args:
        space: where they walk.
        count: how many.
        seed: of statures and of where they are in their stride.
        ground: height on which they walk, mm.

    Raises:
        InputError: when so many do not fit on their way around.
    """

    def __init__(self, space: Space, count: int, seed: int = 0, ground: float = 0.0):
        random = np.random.default_rng(seed)
        self._center = np.array([*space.center[:2], ground])
        self._radius = min(0.3 * float(space.size[:2].min()), 2500.0)
        fitting = int(2 * np.pi * self._radius / _PERSONAL_SPACE_MM)
        if count > fitting:
            raise InputError(f"{count} people, expected at most {fitting} in space {space} mm")
        self._angles = 2 * np.pi * (np.arange(count) + random.random()) / max(count, 1)
        self._statures = random.uniform(1550.0, 1900.0, count)
        self._phases = random.uniform(0.0, 2 * np.pi, count)

    def joints(self, time_s: float) -> np.ndarray:
        """(P, 17, 3) COCO-17 joints in mm at that time."""
        turn = time_s * _SPEED_MM_S / self._radius
        people = [
            self._person(stature, angle + turn, phase + 2 * np.pi * _STRIDES_PER_S * time_s)
            for stature, angle, phase in zip(self._statures, self._angles, self._phases)
        ]
        return np.array(people).reshape(-1, len(COCO17), 3)

    def _person(self, stature: float, angle: float, phase: float) -> np.ndarray:
        outward = np.array([np.cos(angle), np.sin(angle), 0.0])
        # Counter-clockwise, so that the left hand points to the centre.
        return walking_pose(stature, phase, self._center + self._radius * outward, angle + np.pi / 2)


def observe(
    people: np.ndarray, camera: Camera, random: np.random.Generator, noise_px: float, miss: float
) -> np.ndarray:
    """What a detector would say of people in a camera.

    Args:
        people: (P, J, 3) joints, mm.
        camera: the camera.
        random: source of noise.
        noise_px: standard deviation of each coordinate, pixels.
        miss: share of the joints that are missed; half that of whole people.

    Returns:
        (Q, J, 3) x px, y px, score of the Q people who are seen; missing joints are all zeros.
    """
    seen_people = []
    for joints in people:
        pixels, _ = camera.project(joints)
        pixels = pixels + random.normal(0.0, noise_px, pixels.shape)
        found = camera.sees(joints) & (random.random(len(joints)) >= miss)
        scores = random.uniform(0.6, 0.95, len(joints))
        if found.sum() >= _MIN_SEEN_JOINTS and random.random() >= miss / 2:
            seen_people.append(np.column_stack([pixels, scores]) * found[:, None])
    return np.array(seen_people, np.float32).reshape(-1, people.shape[1], 3)


class RigSimulator(Node):
    """Publishes Keypoints2DArray and CameraInfo of each camera, and the truth on ~/truth.

    Raises:
        InputError: when a parameter or the rig file is not as expected.
    """

    def __init__(self):
        super().__init__("rig_simulator", allow_undeclared_parameters=True)
        p = Parameters(self, renamed=SIMULATOR)
        rig_file = p.text("rig_file", "", "Calibration of the cameras; required.")
        count = p.integer("people", 3, "Number of walking people.", 0, 50)
        self._rate = p.number("rate", 10.0, "Frame sets per second.", 0.1, 1000.0)
        self._max_frame_sets = p.integer(
            "max_frame_sets", 0, "Stop after this many frame sets; 0: no limit.", 0, 2**31 - 1
        )
        self._noise_px = p.number(
            "faults.noise_px", 2.0, "Standard deviation of the keypoints, px.", 0.0, 100.0
        )
        self._miss = p.number(
            "faults.miss", 0.05, "Share of the joints that the simulated detector misses.", 0.0, 1.0
        )
        self._jitter_ns = 1e6 * p.number(
            "faults.jitter_ms", 0.0, "Stamps of a frame set are spread over +- this, ms.", 0.0, 1000.0
        )
        self._drop = p.number("faults.drop", 0.0, "Share of the messages to lose.", 0.0, 1.0)
        faulty = p.text("faults.camera", "", "Camera that is knocked or late; empty: none.")
        knocked = p.number("faults.knocked_deg", 0.0, "By how much that camera is turned.", 0.0, 180.0)
        self._late_s = 1e-3 * p.number(
            "faults.late_ms", 0.0, "How far what that camera shows is behind its stamps.", 0.0, 10000.0
        )
        self._after_s = p.number(
            "faults.after_s", 0.0, "When that camera is knocked or late, s after the start.", 0.0, 1e6
        )
        self._seed = p.integer("seed", 0, "Random seed.", 0, 2**31 - 1)
        template = p.text("keypoints_topic", topics.KEYPOINTS_TOPIC, "Keypoints topic of each camera.")
        wait_for = p.text(
            "lockstep.wait_for",
            "",
            "Topic of skeletons to wait for after each frame set; empty: real time.",
        )
        p.finish()
        if not rig_file:
            raise InputError("parameter 'rig_file' is empty, expected a calibration file")
        self._rig = load_rig(rig_file)
        self._faulty = None if not faulty else knocked_camera(self._rig.camera(faulty), knocked)
        self._people = WalkingPeople(walking_space(self._rig), count, self._seed, self._rig.ground)
        self._pace = Pace(self._rate)
        self._keypoints, self._infos = [], []
        for camera in self._rig.cameras:
            topic = topics.expand(template, camera.name)
            self._keypoints.append(self.create_publisher(Keypoints2DArray, topic, 10))
            info = topics.camera_info_topic(topic)
            self._infos.append(self.create_publisher(CameraInfo, info, 10))
        self._truth = self.create_publisher(SkeletonArray, "~/truth", 10)
        self._handshake = Handshake(self, wait_for, 120.0, 60.0) if wait_for else None

    def play(self) -> None:
        """Publish the frame sets."""
        if self._handshake is not None:
            self._handshake.wait_for_subscribers(self._keypoints, [self._truth])
        clocks.wait_for_time(self)
        index = 0
        while self.context.ok() and (self._max_frame_sets == 0 or index < self._max_frame_sets):
            self._pace.wait()
            if self.context.ok():
                self._publish(index)
            index += 1
        flush(self._keypoints)

    def _publish(self, index: int) -> None:
        # One generator per frame set: what is seen does not depend on what was lost before.
        random = np.random.default_rng((self._seed, index))
        time_s = index / self._rate
        people = self._people.joints(time_s)
        now = self.get_clock().now().nanoseconds
        self._truth.publish(self._truth_message(people, now))
        for camera, keypoints, infos in zip(self._rig.cameras, self._keypoints, self._infos):
            seen = observe(*self._before(camera, people, time_s), random, self._noise_px, self._miss)
            jitter = random.uniform(-self._jitter_ns, self._jitter_ns)
            if random.random() < self._drop:
                continue
            stamp = conversions.to_stamp(now + round(jitter))
            header = Header(stamp=stamp, frame_id=camera_info_messages.optical_frame(camera.name))
            infos.publish(camera_info_messages.camera_info(camera, stamp))
            keypoints.publish(conversions.keypoints_to_message(seen, camera, COCO17, header))
        if self._handshake is not None:
            self._handshake.wait_for_answer(now - round(self._jitter_ns))

    def _before(self, camera: Camera, people: np.ndarray, time_s: float) -> tuple[np.ndarray, Camera]:
        """The people (P, J, 3) whom a camera shows at that time, and how it really hangs."""
        if self._faulty is None or camera.name != self._faulty.name or time_s < self._after_s:
            return people, camera
        return self._people.joints(time_s - self._late_s), self._faulty

    def _truth_message(self, people: np.ndarray, now_ns: int) -> SkeletonArray:
        header = Header(stamp=conversions.to_stamp(now_ns), frame_id=self._rig.frame)
        return conversions.joints_to_message(people, COCO17, self._rig.names, header)


def knocked_camera(camera: Camera, degrees: float) -> Camera:
    """The camera turned about its vertical axis."""
    turn = Rotation.from_euler("y", degrees, degrees=True).as_matrix()
    return dataclasses.replace(camera, R=turn @ camera.R)


def walking_space(rig: Rig) -> Space:
    """Where the simulated people walk: the rig's space, or the one that its cameras see."""
    return rig.space if rig.space is not None else propose_space(rig)


def _work(node: RigSimulator) -> None:
    spin_beside(node, node.play)


def main(args: Sequence[str] | None = None) -> int:
    """Run the simulator as a process."""
    return process.run(RigSimulator, _work, args)


if __name__ == "__main__":
    sys.exit(main())
