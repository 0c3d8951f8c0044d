"""Exchanged views and turned images are found in 2D detections; right ones raise no alarm."""

import itertools

import numpy as np
import pytest

from voxelpose_core.datasets import open_dataset
from voxelpose_core.generated_motion import random_walks
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.image_turns import turn_points
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.view_check import ViewCheck

NOISE_PX = 4.0


def ring(count, size=(640, 480), fisheye=False):
    """Cameras around the origin at unequal angles and heights that look at (0, 0, 900)."""
    rng = np.random.default_rng(count)
    cameras = []
    for index in range(count):
        angle = 2 * np.pi * (index + rng.uniform(-0.3, 0.3)) / count
        center = np.array([5000 * np.cos(angle), 5000 * np.sin(angle), rng.uniform(1200, 2800)])
        forward = np.array([*rng.uniform(-500, 500, 2), 900.0]) - center
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, [0, 0, 1.0])
        right /= np.linalg.norm(right)
        R = np.stack([right, np.cross(forward, right), forward])
        focal = rng.uniform(0.75, 0.85) * size[0]
        K = np.array([[focal, 0, size[0] / 2], [0, focal, size[1] / 2], [0, 0, 1.0]])
        distortion = [0.02, 0, 0, 0] if fisheye else [-0.05, 0.01, 0, 0, 0]
        cameras.append(Camera(f"cam{index}", size, K, distortion, R, center, fisheye=fisheye))
    return Rig(tuple(cameras))


def detections(rig, people=2, seconds=4.0, seed=0):
    """Per frame set, 5 a second, the people that each camera sees, in random order, with noise."""
    rng = np.random.default_rng(seed)
    for walkers in random_walks(people, 5, seconds, seed, room_mm=3000):
        views = []
        for camera in rig.cameras:
            view = []
            for joints in rng.permutation(walkers):
                pixels, _ = camera.project(joints)
                scores = 0.8 * camera.sees(joints)
                pixels += rng.normal(0, NOISE_PX, pixels.shape)
                view.append(np.column_stack([pixels, scores]))
            views.append(np.array(view))
        yield views


def checked(rig, frame_sets):
    check = ViewCheck(rig)
    for index, views in enumerate(frame_sets):
        check.add(views, 0.2 * index)
    return check


def turned(view, camera, quarter_turns):
    return np.concatenate(
        [turn_points(view[..., :2], camera.image_size, quarter_turns), view[..., 2:]], axis=-1
    )


@pytest.mark.parametrize("count", [2, 3, 4, 5, 8])
@pytest.mark.parametrize("fisheye", [False, True])
def test_right_views_raise_no_alarm(count, fisheye):
    rig = ring(count, fisheye=fisheye)
    assert checked(rig, detections(rig)).finding() is None


@pytest.mark.parametrize("fisheye", [False, True])
@pytest.mark.parametrize("pair", list(itertools.combinations(range(4), 2)))
def test_every_exchange_of_two_is_named(pair, fisheye):
    rig = ring(4, fisheye=fisheye)
    order = [0, 1, 2, 3]
    order[pair[0]], order[pair[1]] = order[pair[1]], order[pair[0]]
    check = checked(rig, ([views[i] for i in order] for views in detections(rig)))
    found = check.contradiction()
    assert found.cameras == tuple(order) and found.turns == (0, 0, 0, 0)
    assert found.given_px > 3 * found.fitting_px
    assert found.fitting_px < 3 * NOISE_PX
    assert str(found).startswith(f"cameras 'cam{pair[0]}' and 'cam{pair[1]}' look exchanged: ")
    assert check.finding() == str(found)


def test_the_order_that_fits_puts_every_view_where_it_belongs():
    rig = ring(4)
    given = [2, 0, 1, 3]
    found = checked(rig, ([views[i] for i in given] for views in detections(rig))).contradiction()
    assert found.cameras == (2, 0, 1, 3)
    assert [given[i] for i in found.order] == [0, 1, 2, 3]
    assert "what is given as 'cam0' fits 'cam2'" in str(found)


def test_an_exchange_among_eight_cameras():
    rig = ring(8)
    order = [0, 1, 6, 3, 4, 5, 2, 7]
    found = checked(rig, ([views[i] for i in order] for views in detections(rig))).contradiction()
    assert found.cameras == tuple(order)


@pytest.mark.parametrize("quarter_turns", [1, 2, 3])
def test_turned_images_are_named(quarter_turns):
    rig = ring(4, size=(640, 640))

    def wrong():
        for views in detections(rig):
            yield [*views[:2], turned(views[2], rig.cameras[2], quarter_turns), views[3]]

    found = checked(rig, wrong()).contradiction()
    assert found.turns == (0, 0, 4 - quarter_turns, 0)
    angle = ["90 degrees clockwise", "180 degrees", "90 degrees counter-clockwise"][quarter_turns - 1]
    assert f"images of camera 'cam2' look turned by {angle}:" in str(found)


@pytest.mark.parametrize("count", [2, 4, 8])
def test_a_recording_that_is_upside_down_as_a_whole_is_named(count):
    rig = ring(count)
    wrong = (
        [turned(view, camera, 2) for view, camera in zip(views, rig.cameras, strict=True)]
        for views in detections(rig)
    )
    assert checked(rig, wrong).contradiction().turns == (2,) * count


def test_views_are_not_exchanged_between_cameras_of_different_image_sizes():
    small, large = ring(4), ring(4, size=(1280, 960))
    rig = Rig((small.cameras[0], small.cameras[1], large.cameras[2], large.cameras[3]))
    order = [1, 0, 2, 3]
    found = checked(rig, ([views[i] for i in order] for views in detections(rig))).contradiction()
    assert found.cameras == (1, 0, 2, 3)


def test_too_little_evidence_says_nothing():
    rig = ring(4)
    wrong = [[views[i] for i in (1, 0, 2, 3)] for views in detections(rig)]
    check = ViewCheck(rig)
    for views in wrong[:2] * 10:
        check.add(views, 0.0)
    nobody = [np.zeros((0, 17, 3))] * 4
    for index in range(10):
        check.add(nobody, 1.0 + index)
        check.add([wrong[0][0], None, None, None], 1.5 + index)
    assert len(check) == 1 and check.finding() is None


def test_frame_sets_are_far_apart_and_bounded():
    rig = ring(2)
    views = next(detections(rig))
    check = ViewCheck(rig)
    for index in range(100):
        check.add(views, index / 50)
    assert len(check) == 10
    for index in range(100):
        check.add(views, 10.0 + index)
    assert len(check) == 40


@pytest.mark.parametrize("given", [[0, 1, 2, 3], [0, 2, 1, 3]])
def test_a_recording_of_less_than_a_second_is_judged_at_its_end(given):
    rig = ring(4)
    check = ViewCheck(rig)
    for index, views in enumerate(detections(rig)):
        check.add([views[i] for i in given], index / 60)
    assert check.finding() is None
    check.finish()
    exchanged = "cameras 'cam1' and 'cam2' look exchanged"
    assert (check.finding() or "").startswith(exchanged if given != sorted(given) else "")
    assert (check.finding() is None) == (given == sorted(given))


def test_somebody_in_the_middle_of_a_regular_rig_is_no_alarm():
    """Seen from there, exchanged views are as good as right ones: nothing to complain of."""
    rig = ring(4)
    joints = np.column_stack([np.linspace(-200, 200, 17), np.zeros(17), np.linspace(1700, 100, 17)])
    views = [np.column_stack([c.project(joints)[0] + 3, np.full(17, 0.9)])[None] for c in rig.cameras]
    assert checked(rig, [views] * 10).finding() is None


def test_the_answer_follows_the_newest_views():
    rig = ring(3)
    frame_sets = list(detections(rig, seconds=16))
    check = ViewCheck(rig)
    for index, views in enumerate(frame_sets[:40]):
        check.add(views, 0.2 * index)
    assert check.finding() is None
    for index, views in enumerate(frame_sets[40:], start=40):
        check.add([views[i] for i in (1, 0, 2)], 0.2 * index)
        if index < 45:
            assert check.finding(new_frame_sets=10) is None
    assert "'cam0' and 'cam1' look exchanged" in check.finding()


def test_real_detections_on_shelf(shared_dir):
    samples = list(open_dataset("shelf", shared_dir / "data/shelf", frames=range(300, 450, 6)).samples())
    rig, views = samples[0].rig, [sample.keypoints for sample in samples]
    assert checked(rig, views).finding() is None
    for first, second in itertools.combinations(range(len(rig)), 2):
        order = list(range(len(rig)))
        order[first], order[second] = second, first
        found = checked(rig, ([v[i] for i in order] for v in views)).contradiction()
        assert found.cameras == tuple(order)
