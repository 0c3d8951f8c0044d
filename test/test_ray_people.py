"""PoseEstimator with the shipped ray model: people and rigs that it never saw, from keypoints alone."""

import numpy as np
import pytest
import torch
from test_rays import detections_of, people_at, ring

from voxelpose_core.errors import InputError
from voxelpose_core.estimator import EstimatorSettings, PoseEstimator
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.geometry.space import Space
from voxelpose_core.models.checkpoints import (
    load_ray_weights,
    load_voxel_weights,
    load_weights,
    save_weights,
)
from voxelpose_core.models.ray_confidence import fits, joint_support
from voxelpose_core.models.ray_pose import RayConfig, RayPose
from voxelpose_core.models.rays import rays_of_cameras
from voxelpose_core.tracking import Tracker

WEIGHTS = "universal"
SPACE = Space((0, 0, 1000), (5000, 5000, 2600))
PLACES = ((-900, 300), (800, -600), (300, 1200))


def rig_of(views, lens="radial", **changes):
    return Rig(cameras=ring(views, lens), space=SPACE, name="ring", **changes)


def estimator_of(rig, **settings):
    return PoseEstimator(rig, WEIGHTS, device="cpu", detector=None, settings=EstimatorSettings(**settings))


def errors(estimate, people):
    """Mean joint error in mm of the nearest skeleton of each person."""
    found = np.array([s.joints for s in estimate.skeletons]).reshape(-1, 1, 17, 3)
    return np.linalg.norm(found - people, axis=-1).mean(axis=-1).min(axis=0, initial=np.inf)


@pytest.mark.parametrize("views,lens", [(2, "radial"), (3, "pinhole"), (5, "fisheye"), (8, "rational")])
def test_three_people_are_found(views, lens):
    rig, people = rig_of(views, lens), people_at(*PLACES)
    estimate = estimator_of(rig).estimate_keypoints(detections_of(rig.cameras, people, 3.0))
    assert len(estimate.skeletons) == 3
    assert errors(estimate, people).max() < (90 if views == 2 else 50)
    assert estimate.cameras == rig.names
    assert list(estimate.timings_ms) == ["rays", "proposals", "poses"]
    for skeleton in estimate.skeletons:
        assert skeleton.joints.shape == (17, 3) and skeleton.joints.dtype == np.float64
        assert 0.5 <= skeleton.score <= 1
        assert 0 <= skeleton.joint_scores.min() and skeleton.joint_scores.max() <= 1
        assert np.linalg.eigvalsh(skeleton.joint_covariances).min() > 0


def test_errors_are_as_large_as_the_covariances_say():
    rig, people = rig_of(3), people_at(*PLACES)
    distances = []
    for seed in range(6):
        keypoints = detections_of(rig.cameras, people, 6.0, seed)
        for skeleton in estimator_of(rig).estimate_keypoints(keypoints).skeletons:
            truth = min(people, key=lambda p: np.linalg.norm(p - skeleton.joints))
            error = skeleton.joints - truth
            solved = np.linalg.solve(skeleton.joint_covariances, error[..., None])[..., 0]
            distances.append((error * solved).sum(axis=-1))
    # Of a Gaussian in three dimensions half of the squared distances are below 2.4, 95 % below 7.8.
    assert 0.3 < np.median(distances) < 5 and np.mean(np.array(distances) < 7.8) > 0.85


def test_nobody_is_found_where_nobody_is():
    rig = rig_of(4)
    estimator = estimator_of(rig)
    empty = [np.zeros((0, 17, 3))] * 4
    assert estimator.estimate_keypoints(empty).skeletons == []
    assert estimator.estimate_keypoints([None] * 4).skeletons == []
    one_view = [detections_of(rig.cameras, people_at((0, 0)))[0], *empty[1:]]
    assert estimator.estimate_keypoints(one_view).skeletons == []


def test_a_camera_without_a_frame_and_one_without_people():
    rig, people = rig_of(5), people_at(*PLACES)
    keypoints = detections_of(rig.cameras, people, 3.0)
    keypoints[1], keypoints[3] = None, np.zeros((0, 17, 3))
    estimate = estimator_of(rig).estimate_keypoints(keypoints)
    assert estimate.cameras == ("c0", "c2", "c3", "c4")
    assert len(estimate.skeletons) == 3 and errors(estimate, people).max() < 60


def test_the_order_of_cameras_and_detections_is_nothing():
    rig, people = rig_of(4), people_at(*PLACES)
    keypoints = detections_of(rig.cameras, people, 4.0)
    order = [2, 0, 3, 1]
    other = rig.select([rig.names[i] for i in order])
    one = estimator_of(rig).estimate_keypoints(keypoints)
    two = estimator_of(other).estimate_keypoints([keypoints[i][::-1] for i in order])
    assert len(one.skeletons) == len(two.skeletons) == 3
    assert errors(two, np.array([s.joints for s in one.skeletons])).max() < 1.0


def test_people_outside_the_space_are_left_alone():
    rig, people = rig_of(4), people_at((0, 0), (1900, 0))
    keypoints = detections_of(rig.cameras, people, 2.0)
    assert len(estimator_of(rig).estimate_keypoints(keypoints).skeletons) == 2
    small = rig.with_space(Space((0, 0, 1000), (1600, 1600, 2600)))
    estimate = estimator_of(small).estimate_keypoints(keypoints)
    assert len(estimate.skeletons) == 1 and errors(estimate, people[:1])[0] < 60


def test_people_below_the_floor_are_counted():
    rig, people = rig_of(4), people_at((0, 0), (900, 0))
    people[1, :, 2] -= 700.0
    estimate = estimator_of(rig).estimate_keypoints(detections_of(rig.cameras, people, 2.0))
    assert len(estimate.skeletons) == 1 and estimate.dropped_below_floor == 1


def test_thresholds_act():
    rig, people = rig_of(4), people_at(*PLACES)
    keypoints = detections_of(rig.cameras, people, 3.0)
    assert estimator_of(rig, proposal_threshold=1.1).estimate_keypoints(keypoints).skeletons == []
    assert len(estimator_of(rig, max_people=2).estimate_keypoints(keypoints).skeletons) == 2
    assert len(estimator_of(rig, duplicate_distance=1e5).estimate_keypoints(keypoints).skeletons) == 1
    for view in keypoints:
        view[..., 2] *= 0.2
    assert estimator_of(rig, keypoint_threshold=0.3).estimate_keypoints(keypoints).skeletons == []


def poses_of(estimate):
    return sorted((s.joints for s in estimate.skeletons), key=lambda joints: joints[0, 0])


def test_expected_people_are_looked_for_where_no_pair_proposes_them(monkeypatch):
    rig, people = rig_of(4), people_at(*PLACES)
    keypoints = detections_of(rig.cameras, people, 3.0)
    estimator = estimator_of(rig)
    monkeypatch.setattr(estimator.people, "_proposals", lambda *rays: np.zeros((0, 3), np.float32))
    assert estimator.estimate_keypoints(keypoints).skeletons == []
    beside = people + np.random.default_rng(0).normal(0, 40, people.shape)
    estimate = estimator.estimate_keypoints(keypoints, beside)
    assert len(estimate.skeletons) == 3 and errors(estimate, people).max() < 60
    # It is the rays that say whether somebody is there.
    empty = people_at((-300, -1500), (1700, 1300), (9000, 0))
    assert estimator.estimate_keypoints(keypoints, empty).skeletons == []


@pytest.mark.parametrize("last_pose", [False, True])
@pytest.mark.parametrize("wrong", ["a metre off", "of nobody", "exchanged", "lying"])
def test_wrong_expectations_change_nothing(wrong, last_pose):
    rig, people = rig_of(4), people_at(*PLACES)
    keypoints = detections_of(rig.cameras, people, 3.0)
    expected = {
        "a metre off": people + [1000.0, 0, 0],
        "of nobody": people_at((0, -1700), (1900, 1500)),
        "exchanged": people[:, ::-1] - people[:, :1] + people[[1, 2, 0], :1],
        "lying": people[..., [2, 1, 0]] + people[:, [11]] - people[:, [11]][..., [2, 1, 0]],
    }[wrong]
    estimator = estimator_of(rig, last_pose=last_pose)
    without = estimator.estimate_keypoints(keypoints)
    estimate = estimator.estimate_keypoints(keypoints, expected)
    assert len(estimate.skeletons) == 3 and errors(estimate, people).max() < 50
    for before, after in zip(poses_of(without), poses_of(estimate)):
        assert np.linalg.norm(before - after, axis=1).mean() < 20


def test_last_poses_steady_the_joints():
    rig, people = rig_of(3), people_at(*PLACES)
    random, found = np.random.default_rng(0), {False: [], True: []}
    for seed in range(6):
        keypoints = detections_of(rig.cameras, people, 8.0, seed)
        expected = people + random.normal(0, 15.0, people.shape)
        for last_pose, poses in found.items():
            estimator = estimator_of(rig, last_pose=last_pose)
            poses.append(poses_of(estimator.estimate_keypoints(keypoints, expected)))
    spread = {key: np.std(poses, axis=0).mean() for key, poses in found.items()}
    assert spread[True] < 0.95 * spread[False]


def test_who_leaves_leaves_nobody_behind():
    """A tracker expects him for a while; nothing else speaks for him."""
    rig, people = rig_of(4), people_at(*PLACES)
    estimator, tracker = estimator_of(rig), Tracker()
    for step in range(20):
        there = people if step < 8 else people[:2]
        keypoints = detections_of(rig.cameras, there, 3.0, step)
        estimate = estimator.estimate_keypoints(keypoints, tracker.predict(step / 25))
        assert len(tracker.predict(step / 25)) == (3 if step else 0)
        assert len(tracker.update(estimate.skeletons, step / 25)) == len(there)


@pytest.mark.parametrize("last_pose", [False, True])
def test_two_people_who_change_places_keep_their_poses_apart(last_pose):
    rig = rig_of(4)
    estimator, tracker = estimator_of(rig, last_pose=last_pose), Tracker()
    first = []
    for step in range(50):
        along = -1200 + 2400 * step / 49
        people = people_at((along, 350), (-along, -350))
        keypoints = detections_of(rig.cameras, people, 3.0, step)
        estimate = estimator.estimate_keypoints(keypoints, tracker.predict(step / 25))
        assert len(estimate.skeletons) == 2 and errors(estimate, people).max() < 80
        tracked = tracker.update(estimate.skeletons, step / 25)
        gaps = [np.linalg.norm(s.joints - people, axis=-1).mean(axis=-1) for s in tracked]
        ids = [int(np.argmin(gap)) for gap in sorted(gaps, key=np.argmin)]
        numbers = [s.track_id for s in sorted(tracked, key=lambda s: s.joints[:, 1].mean(), reverse=True)]
        assert ids == [0, 1]
        first.append(numbers)
        assert numbers == first[0]


@pytest.mark.parametrize(
    "previous, words",
    [
        (np.zeros((1, 16, 3)), r"\(1, 16, 3\), expected \(people, 17, 3\)"),
        (np.full((1, 17, 3), np.nan), "not finite"),
    ],
)
def test_bad_expectations_are_one_line(previous, words):
    rig = rig_of(2)
    keypoints = detections_of(rig.cameras, people_at((0, 0)))
    with pytest.raises(InputError, match=words):
        estimator_of(rig).estimate_keypoints(keypoints, previous)


def test_support_is_the_share_of_views_that_agree():
    cameras, people = ring(4), people_at((0, 0))
    keypoints = detections_of(cameras, people)
    keypoints[1][0, 9, 2] = 0
    keypoints[2][0, 9, :2] += 300.0
    rays = rays_of_cameras(cameras, keypoints, 0.1)
    fit = fits(rays, torch.from_numpy(people).float(), torch.zeros(1, dtype=torch.long))
    support, shares = joint_support(rays, fit, torch.ones(1, 4, 17))
    assert shares.shape == (1, 4, 1)
    assert shares[0, 0, 0] > 0.95 > shares[0, 2, 0] > 0.85
    assert support[0, 5] == pytest.approx(0.9, abs=0.01)
    assert support[0, 9] == pytest.approx(0.45, abs=0.05)


def test_warm_up_and_new_calibrations():
    rig, people = rig_of(4), people_at(*PLACES)
    estimator = estimator_of(rig)
    estimator.warm_up()
    moved = rig_of(4)
    other = estimator.recalibrated(moved)
    assert other.model is estimator.model and other.people is not estimator.people
    estimate = other.estimate_keypoints(detections_of(moved.cameras, people, 3.0))
    assert len(estimate.skeletons) == 3
    description = estimator.description()
    assert description["weights"] == "universal_rays.safetensors"
    assert description["people"] == "rays"


def test_weights_are_written_and_read_whole(tmp_path):
    torch.manual_seed(0)
    net = RayPose(RayConfig(width=16, heads=2, layers=(1, 2), confidence_threshold=0.3))
    save_weights(net, tmp_path / "full.safetensors", {"steps": 3})
    save_weights(net, tmp_path / "half.safetensors", half=True)
    full, half = (load_weights(tmp_path / f"{name}.safetensors") for name in ("full", "half"))
    assert isinstance(full, RayPose) and full.config == net.config
    for key, value in net.state_dict().items():
        assert torch.equal(full.state_dict()[key], value)
        torch.testing.assert_close(half.state_dict()[key], value, rtol=1e-3, atol=1e-3)


def test_weights_of_the_other_kind_are_refused(tmp_path):
    path = tmp_path / "tiny.safetensors"
    save_weights(RayPose(RayConfig(width=16, heads=2, layers=(1,))), path)
    assert isinstance(load_ray_weights(path), RayPose)
    with pytest.raises(InputError, match="of the ray model, expected voxel nets"):
        load_voxel_weights(path)


@pytest.mark.parametrize(
    "change,words",
    [
        ({"width": 30}, "width 30 is not a multiple"),
        ({"depth": 1}, "depth: extra"),
        ({"width": 10**6}, "width"),
    ],
)
def test_bad_configurations_in_a_file_are_one_line(tmp_path, change, words):
    net = RayPose(RayConfig(width=16, heads=2, layers=(1,)))
    net.config = type("Config", (), {"model_dump": lambda self: RayConfig().model_dump() | change})()
    path = tmp_path / "bad.safetensors"
    save_weights(net, path)
    with pytest.raises(InputError, match=words):
        load_weights(path)
