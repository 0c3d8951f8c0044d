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
from voxelpose_core.models.ray_confidence import joint_support
from voxelpose_core.models.ray_pose import RayConfig, RayPose
from voxelpose_core.models.rays import rays_of_cameras

WEIGHTS = "universal"
SPACE = Space((0, 0, 1000), (5000, 5000, 2600))
PLACES = ((-900, 300), (800, -600), (300, 1200))


def rig_of(views, lens="radial", **changes):
    return Rig(cameras=ring(views, lens), space=SPACE, name="ring", **changes)


def estimator_of(rig, **settings):
    return PoseEstimator(
        rig, WEIGHTS, device="cpu", detector=None, settings=EstimatorSettings(**settings)
    )


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


def test_support_is_the_share_of_views_that_agree():
    cameras, people = ring(4), people_at((0, 0))
    keypoints = detections_of(cameras, people)
    keypoints[1][0, 9, 2] = 0
    keypoints[2][0, 9, :2] += 300.0
    rays = rays_of_cameras(cameras, keypoints, 0.1)
    support = joint_support(rays, torch.from_numpy(people).float(), torch.ones(1, 4, 17))
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
