"""The reprojection error and the report."""

import math

import numpy as np
import pytest

from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.pose_types import Estimate, Skeleton
from voxelpose_core.results import ReprojectionError, RunReport

BODY = np.random.default_rng(5).uniform([-300, -300, 0], [300, 300, 1700], (17, 3))


def camera(name, x):
    """At (x, -5 m, 1 m), looking along +y: 1 px is 5 mm at 5 m."""
    K = [[1000, 0, 500], [0, 1000, 500], [0, 0, 1]]
    R = [[1, 0, 0], [0, 0, -1], [0, 1, 0]]
    return Camera(name, (1000, 1000), np.array(K, float), np.zeros(5), np.array(R), [x, -5e3, 1e3])


RIG = Rig((camera("left", -500.0), camera("right", 500.0)))


def person(x=0.0, track_id=0):
    return Skeleton(BODY + [x, 0, 0], np.full(17, 0.8), np.ones(17, bool), 0.9, track_id)


def seen_by(camera, skeleton, shift=(0.0, 0.0), score=0.9):
    pixels, _ = camera.project(skeleton.joints)
    return np.column_stack([pixels + shift, np.full(17, score)]).astype(np.float32)


def views(*people, shift=(0.0, 0.0)):
    return [np.stack([seen_by(c, p, shift) for p in people]) for c in RIG.cameras]


def test_error_is_the_mean_distance_in_pixels():
    error = ReprojectionError()
    error.add(RIG, [person()], views(person(), shift=(3.0, 4.0)))
    assert error.mean_px == pytest.approx(5.0, abs=1e-3)
    assert error.median_px == pytest.approx(5.0, abs=1e-3)
    assert (error.in_view, error.paired, len(error.distances)) == (2, 2, 34)


def test_people_are_paired_one_to_one():
    people = [person(-600), person(600)]
    error = ReprojectionError()
    error.add(RIG, people, views(*people[::-1], shift=(2.0, 0.0)))
    assert error.mean_px == pytest.approx(2.0, abs=1e-3)
    assert error.paired == error.in_view == 4
    # Both would like the one detection best; only one gets it.
    error = ReprojectionError()
    error.add(RIG, [person(0), person(50)], [views(person(0))[0], None])
    assert (error.paired, error.in_view) == (1, 2) and error.mean_px < 1e-3


def test_someone_else_is_no_pair():
    error = ReprojectionError()
    error.add(RIG, [person(-700)], [views(person(700))[0], np.zeros((0, 17, 3), np.float32)])
    assert (error.paired, error.in_view) == (0, 2)
    assert math.isnan(error.mean_px) and math.isnan(error.median_px)


def test_unsure_unseen_and_invalid_joints_do_not_count():
    skeleton = person()
    detections = views(skeleton)
    for people in detections:
        people[0, 0] = (999, 999, 0.1)  # unsure
        people[0, 1] = (999, 999, 0.9)  # its 3D joint is not valid
        people[0, 2] = (999, 999, 0.9)  # its 3D joint is out of the image
    skeleton.joint_valid[1] = False
    skeleton.joints = skeleton.joints.copy()
    skeleton.joints[2, 0] = 9000.0
    error = ReprojectionError()
    error.add(RIG, [skeleton], detections)
    assert error.mean_px < 1e-3 and len(error.distances) == 28


def test_cameras_must_match():
    with pytest.raises(ValueError):
        ReprojectionError().add(RIG, [], [None])


def test_report_counts():
    report = RunReport(RIG)
    people = [person(-600, track_id=0), person(600, track_id=3)]
    timings = {"detector": 20.0, "poses": 10.0}
    for _ in range(3):
        answer = Estimate(people, views(*people), ("left", "right"), timings)
        report.add(answer)
    report.add(Estimate([], [None, None], (), {}))
    assert (report.frames, report.estimated, report.track_ids) == (4, 3, {0, 3})
    text = "\n".join(report.lines())
    assert "4 in, 3 estimated" in text
    assert "2 in 3 frames, 0 in 1 frame; 2 track ids" in text
    assert "0.0 px mean" in text and "100 %" in text
    assert "detector 20, poses 10; together 30" in text
    assert RunReport(RIG).lines()[0].endswith("0 in, 0 estimated")


def test_a_camera_that_sees_nobody_is_told():
    cameras = (*RIG.cameras, camera("dark", 0.0))
    report = RunReport(Rig(cameras))
    one = np.ones((1, 17, 3))
    for _ in range(3):
        report.add(Estimate([], [one, one, one[:0]], ("left", "right", "dark"), {}))
    (no_skeleton,) = report.findings()
    assert no_skeleton.startswith(
        "no skeletons, though two cameras or more detect people in 3 of 3 frame sets: look at the"
    )


def test_detections_of_one_camera_alone_are_told():
    """Its own keypoints file only was given, say: the others have no frame, or see nobody."""
    for other in (None, np.zeros((0, 17, 3))):
        report = RunReport(RIG)
        report.add(Estimate([], [np.ones((1, 17, 3)), other], ("left",), {}))
        assert report.findings()[-1].startswith(
            "no skeletons: none of 1 frame sets has 2D detections of two cameras (there are some of 'left')"
        )


def test_an_empty_recording_and_one_with_people_have_no_findings():
    empty, full = RunReport(RIG), RunReport(RIG)
    empty.add(Estimate([], [np.zeros((0, 17, 3))] * 2, RIG.names, {}))
    full.add(Estimate([person()], views(person()), RIG.names, {}))
    assert empty.findings() == full.findings() == []
