"""The simulated people walk like people, and cameras see of them what cameras would see."""

import numpy as np
import pytest

pytest.importorskip("voxelpose_ros.msg", reason="the package's messages are not built")

from ros_processes import look_at, room_rig

from voxelpose_core.errors import InputError
from voxelpose_core.floor_watch import FloorWatch
from voxelpose_core.geometry.rig import load_rig
from voxelpose_core.geometry.space import Space
from voxelpose_core.pose_types import Estimate
from voxelpose_core.resources import find_resource
from voxelpose_core.skeletons import COCO17
from voxelpose_ros.rig_simulator import WalkingPeople, knocked_camera, observe, walking_space

SPACE = Space((1000, -500, 1000), (6000, 5000, 2000))
TIMES = np.arange(0, 10, 0.05)


@pytest.fixture(scope="module")
def walks():
    """(T, P, 17, 3) ten seconds of four people."""
    people = WalkingPeople(SPACE, 4, seed=2)
    return np.array([people.joints(t) for t in TIMES])


def test_bones_keep_their_lengths(walks):
    for first, second in COCO17.limbs:
        lengths = np.linalg.norm(walks[:, :, first] - walks[:, :, second], axis=-1)
        np.testing.assert_allclose(lengths, np.broadcast_to(lengths[:1], lengths.shape), rtol=1e-9)


def test_they_are_as_tall_as_people_and_stand_on_the_floor(walks):
    heights = walks[..., 2].max(axis=-1)
    assert 1300 < heights.min() and heights.max() < 1950
    ankles = walks[:, :, [COCO17.index("left_ankle"), COCO17.index("right_ankle")], 2]
    lowest = ankles.min(axis=-1)
    assert 50 < lowest.min() and lowest.max() < 80


def test_they_walk_at_walking_speed_and_face_where_they_go(walks):
    roots = COCO17.root_of(walks)[..., :2]
    steps = np.diff(roots, axis=0)
    speed = np.linalg.norm(steps, axis=-1) / 0.05
    np.testing.assert_allclose(speed, 1000, rtol=0.01)
    nose = walks[:-1, :, COCO17.index("nose"), :2] - roots[:-1]
    assert ((nose * steps).sum(axis=-1) > 0).all()
    # The left hip is on the left of the way.
    left = walks[:-1, :, COCO17.index("left_hip"), :2] - roots[:-1]
    assert (steps[..., 0] * left[..., 1] - steps[..., 1] * left[..., 0] > 0).all()


def test_they_stay_in_the_space_and_apart(walks):
    assert SPACE.contains(walks).all()
    roots = COCO17.root_of(walks)
    for first in range(4):
        for second in range(first):
            gap = np.linalg.norm(roots[:, first] - roots[:, second], axis=-1)
            assert gap.min() > 800


def test_a_seed_is_a_walk():
    first, second, other = (WalkingPeople(SPACE, 2, seed=s).joints(3.0) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - other).max() > 10


def test_nobody_is_nobody():
    assert WalkingPeople(SPACE, 0).joints(1.0).shape == (0, 17, 3)


def test_too_many_people_are_refused():
    with pytest.raises(InputError, match="50 people, expected at most"):
        WalkingPeople(SPACE, 50)


@pytest.fixture
def camera():
    center, target = np.array([1000.0, -6000.0, 1500.0]), np.array([1000.0, -500.0, 900.0])
    return look_at("camera", center, target, (640, 480))


def test_without_noise_a_camera_sees_the_projections(camera, walks):
    seen = observe(walks[0], camera, np.random.default_rng(0), 0.0, 0.0)
    assert seen.dtype == np.float32
    for person, keypoints in zip(walks[0], seen, strict=True):
        found = keypoints[:, 2] > 0
        np.testing.assert_array_equal(found, camera.sees(person))
        pixels, _ = camera.project(person)
        np.testing.assert_allclose(keypoints[found, :2], pixels[found], atol=0.01)
        assert not keypoints[~found].any()


def test_noise_and_misses_are_as_large_as_asked(camera, walks):
    random = np.random.default_rng(0)
    offsets, joints, people, there = [], 0, 0, 0
    for frame_set in walks:
        exact = observe(frame_set, camera, np.random.default_rng(0), 0.0, 0.0)
        noisy = observe(frame_set, camera, random, 3.0, 0.2)
        people += len(noisy)
        there += len(exact)
        for person in noisy:
            gaps = [np.abs((person - e)[person[:, 2] > 0, :2]).mean() for e in exact]
            same = exact[int(np.argmin(gaps))]
            both = (person[:, 2] > 0) & (same[:, 2] > 0)
            offsets.append((person - same)[both, :2])
            joints += both.sum() / (same[:, 2] > 0).sum()
    assert np.std(np.concatenate(offsets)) == pytest.approx(3.0, rel=0.05)
    assert joints / people == pytest.approx(0.8, abs=0.02)
    # Some of those at the edge of the image show too few joints.
    assert 0.84 < people / there < 0.91


def test_a_camera_that_looks_away_sees_nobody(walks):
    center = np.array([1000.0, -6000.0, 1500.0])
    away = look_at("away", center, np.array([1000.0, -9000.0, 1500.0]), (640, 480))
    assert observe(walks[0], away, np.random.default_rng(0), 2.0, 0.0).shape == (0, 17, 3)


def test_without_a_space_they_walk_where_the_cameras_look(tmp_path):
    rig = room_rig(tmp_path / "room.yaml")
    assert walking_space(rig) is rig.space
    proposed = walking_space(rig.with_space(None))
    assert proposed.contains(np.array([0.0, 0.0, 500.0]))


@pytest.mark.parametrize("name", ["campus", "shelf"])
def test_people_of_the_shipped_rigs_walk_on_their_ground(name):
    """The node says nothing of the floor where `simulate:=true` shows it to a new user."""
    rig, random = load_rig(find_resource(f"config/rigs/{name}.yaml")), np.random.default_rng(1)
    people = WalkingPeople(walking_space(rig), 3, ground=rig.ground)
    watch = FloorWatch(rig, COCO17)
    for time_s in TIMES[::10]:
        joints = people.joints(time_s)
        views = [observe(joints, camera, random, 2.0, 0.02) for camera in rig.cameras]
        watch.add(Estimate([], views, tuple(rig.names)))
    assert watch.floor == pytest.approx(rig.ground, abs=50)
    assert watch.finding() is None


def test_a_knocked_camera_is_turned_about_its_vertical_axis(camera):
    knocked = knocked_camera(camera, 2.0)
    assert knocked.name == camera.name
    turn = knocked.R @ camera.R.T
    assert np.degrees(np.arccos((np.trace(turn) - 1) / 2)) == pytest.approx(2.0)
    np.testing.assert_allclose(turn @ [0, 1, 0], [0, 1, 0], atol=1e-12)
    np.testing.assert_array_equal(knocked.C, camera.C)
