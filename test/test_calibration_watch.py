"""Checks of the calibration beside the estimation: what they find, another rig, and that frames never
wait for them."""

import dataclasses
import threading
import time

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from voxelpose_core.generated_motion import random_walks
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.pose_types import Estimate
from voxelpose_core.skeletons import COCO17
from voxelpose_ros.calibration_watch import CalibrationWatch


@pytest.fixture(scope="module")
def rig():
    cameras = []
    for index, (angle, height) in enumerate([(0.2, 2600.0), (1.6, 1900.0), (2.9, 2300.0), (4.9, 1500.0)]):
        center = np.array([4500 * np.cos(angle), 4500 * np.sin(angle), height])
        forward = np.array([0.0, 0.0, 900.0]) - center
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        K = [[500.0, 0, 319.5], [0, 500.0, 239.5], [0, 0, 1]]
        R = np.array([right, np.cross(forward, right), forward])
        cameras.append(Camera(f"camera{index}", (640, 480), K, np.zeros(5), R, center))
    return Rig(tuple(cameras))


@pytest.fixture(scope="module")
def frame_sets(rig):
    """Detections of two walking people, 5 frame sets a second."""
    sets = []
    for people in random_walks(2, 5, 4.0, 3, room_mm=3000):
        views = []
        for camera in rig.cameras:
            views.append(
                np.array([np.column_stack([camera.project(p)[0], 0.8 * camera.sees(p)]) for p in people])
            )
        sets.append(views)
    return sets


def feed(watch, rig, frame_sets, order=(0, 1, 2, 3)):
    for index, views in enumerate(frame_sets):
        estimate = Estimate([], [views[i] for i in order], rig.names)
        watch.put(rig, COCO17, estimate, 0.2 * index)


def test_exchanged_views_are_found_and_right_ones_are_not(rig, frame_sets):
    for order, expected in (
        ((0, 1, 2, 3), None),
        ((0, 2, 1, 3), "cameras 'camera1' and 'camera2' look exchanged"),
    ):
        watch = CalibrationWatch()
        feed(watch, rig, frame_sets, order)
        watch.close()
        texts = {finding.key: finding.text for finding in watch.findings()}
        assert set(texts) == ({"views"} if expected else set())
        assert expected is None or texts["views"].startswith(expected)


def test_a_floor_that_lies_elsewhere_is_found_with_the_parameter_to_set(rig, frame_sets):
    watch = CalibrationWatch()
    feed(watch, rig.with_ground(-750.0), frame_sets)
    watch.close()
    (finding,) = watch.findings()
    assert finding.key == "floor" and "(parameter ground:=0 of the node)" in finding.text


def feed_walk(watch, rig, cameras, order=(0, 1, 2, 3)):
    """Twenty-five seconds of somebody whom `cameras` see, given to the watch as it can take them."""
    for index, joints in enumerate(random_walks(1, 10, 25.0, 5, room_mm=3000)):
        random = np.random.default_rng(index)
        views = [
            np.column_stack(
                [c.project(joints[0])[0] + random.normal(0, 1.5, (17, 2)), 0.8 * c.sees(joints[0])]
            )[None]
            for c in cameras
        ]
        while watch._items.full():
            time.sleep(0.01)
        watch.put(rig, COCO17, Estimate([], [views[i] for i in order], rig.names), 0.1 * index)


def test_a_knocked_camera_is_found_with_what_to_do(rig, monkeypatch):
    monkeypatch.setattr("voxelpose_ros.calibration_watch._MONITOR_SHARE", 100.0)
    turn = Rotation.from_euler("y", 2.0, degrees=True).as_matrix()
    knocked = [*rig.cameras]
    knocked[3] = dataclasses.replace(knocked[3], R=turn @ knocked[3].R)
    watch = CalibrationWatch(advice=lambda fault: f"look at {fault.camera}")
    feed_walk(watch, rig, knocked)
    watch.close()
    (finding,) = watch.findings()
    assert (finding.key, finding.camera) == ("rig moved", "camera3")
    assert finding.text.startswith("camera 'camera3' seems turned by 2.")
    assert finding.text.endswith("; look at camera3")
    unwatched = CalibrationWatch(monitored=False)
    feed(unwatched, rig, [[np.zeros((0, 17, 3))] * 4])
    unwatched.close()
    assert unwatched.monitor is None and watch.monitor.seconds > 20


def test_exchanged_views_are_not_called_knocked_as_well(rig, monkeypatch):
    monkeypatch.setattr("voxelpose_ros.calibration_watch._MONITOR_SHARE", 100.0)
    watch = CalibrationWatch()
    feed_walk(watch, rig, rig.cameras, (0, 2, 1, 3))
    watch.close()
    assert [finding.key for finding in watch.findings()] == ["views"]


def test_another_calibration_begins_a_new_check(rig, frame_sets):
    watch = CalibrationWatch()
    feed(watch, rig, frame_sets[:12], (0, 2, 1, 3))
    feed(watch, Rig(rig.cameras, name="mended"), frame_sets[:12])
    watch.close()
    assert watch.findings() == ()


def test_nobody_waits_for_a_check_that_takes_long(rig, frame_sets):
    go_on = threading.Event()
    seen = []

    class Slow:
        def __init__(self, rig):
            self.rig = rig

        def add(self, keypoints, stamp):
            go_on.wait()
            seen.append(stamp)

        def finding(self, new_frame_sets):
            return None

    watch = CalibrationWatch(make_view_check=Slow)
    for _ in range(50):
        feed(watch, rig, frame_sets)
    go_on.set()
    watch.close()
    assert 32 <= len(seen) <= 34


def test_a_check_that_fails_says_so_and_goes_on(rig, frame_sets):
    class Broken:
        def __init__(self, rig):
            self.left = 3

        def add(self, keypoints, stamp):
            self.left -= 1
            if self.left == 0:
                raise ValueError("no such thing")

        def finding(self, new_frame_sets):
            return None

    texts = []
    for count in (3, 4):
        watch = CalibrationWatch(make_view_check=Broken)
        feed(watch, rig, frame_sets[:count])
        watch.close()
        texts.append([finding.text for finding in watch.findings()])
    assert texts == [["check of the calibration failed: ValueError: no such thing"], []]
