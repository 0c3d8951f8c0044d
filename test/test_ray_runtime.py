"""The ray model as fixed graphs: the same answers as PyTorch's, for every size, lens and weights."""

import importlib
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from test_rays import detections_of, people_at, ring

from voxelpose_core.errors import InputError
from voxelpose_core.estimator import PoseEstimator
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.geometry.space import Space
from voxelpose_core.models.checkpoints import load_ray_weights
from voxelpose_core.models.ray_pose import RayConfig, RayPose
from voxelpose_core.models.rays import detection_pairs, ray_arrays
from voxelpose_core.ray_runtime import FOLDER, FRAME, PROPOSALS, GraphRays, TorchRays, ray_runtime
from voxelpose_core.resources import find_weights
from voxelpose_core.voxel.views import PRESENT, Views

TRAINING = Path(__file__).resolve().parents[1] / "training"
SPACE = Space((0, 0, 1000), (8000, 8000, 2600))


@pytest.fixture(scope="module")
def model():
    return load_ray_weights(find_weights("universal"))


@pytest.fixture(scope="module")
def graphs(model):
    return GraphRays(model)


def crowd(count):
    """People on a spiral, half a metre and more apart."""
    steps = np.arange(count)
    radius, angle = 300.0 + 220.0 * steps, 2.4 * steps
    places = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return people_at(*(tuple(place) for place in places))


def inputs_of(views, people, lens="radial", missing=(), noise=4.0):
    """Cameras, directions and scores as the runtimes take them."""
    cameras = ring(views, lens)
    keypoints = detections_of(cameras, crowd(people), noise) if people else [np.zeros((0, 17, 3))] * views
    keypoints = [None if view in missing else seen for view, seen in enumerate(keypoints)]
    table = Views.from_cameras(cameras, (4, 4), (1, 1)).table[0].numpy().copy()
    table[:, PRESENT] = [view not in missing for view in range(views)]
    return table, *ray_arrays(cameras, keypoints, 0.1, 17)


def candidates_of(graphs, rays):
    centers, votes = graphs.propose(*rays, detection_pairs(*rays[2].shape[:2]))
    return centers[votes > 0]


def last_poses(centers, share):
    """Poses near the centers, for some of them."""
    random = np.random.default_rng(1)
    poses = centers[:, None] + random.normal(0, 300, (len(centers), 17, 3))
    return poses.astype(np.float32), random.random(len(centers)) < share


def assert_same(ours, theirs):
    assert np.abs(ours.joints - theirs.joints).max() < 0.5
    assert np.abs(ours.confidence - theirs.confidence).max() < 1e-3
    assert np.abs(ours.support - theirs.support).max() < 1e-3
    np.testing.assert_allclose(ours.covariances, theirs.covariances, rtol=1e-2, atol=1.0)


@pytest.mark.parametrize("share", [0.0, 0.5])
@pytest.mark.parametrize("people", [1, 3, 12])
@pytest.mark.parametrize(
    "views,lens,missing",
    [(2, "radial", ()), (3, "pinhole", ()), (5, "fisheye", (1,)), (8, "rational", (0, 4, 5))],
)
def test_graphs_and_pytorch_agree(model, graphs, views, lens, missing, people, share):
    rays = inputs_of(views, people, lens, missing)
    eager, pairs = TorchRays(model), detection_pairs(*rays[2].shape[:2])
    (centers, votes), (expected, expected_votes) = (r.propose(*rays, pairs) for r in (graphs, eager))
    np.testing.assert_allclose(votes, expected_votes, atol=1e-3)
    assert np.abs(centers - expected)[votes > 0.05].max() < 0.5
    chosen = expected[expected_votes > 0]
    assert len(chosen) >= min(people, 3)
    last = last_poses(chosen, share)
    assert_same(*(runtime.solve(*rays, chosen, *last) for runtime in (graphs, eager)))


def test_last_poses_reach_the_graph(graphs):
    rays = inputs_of(3, 2)
    centers = candidates_of(graphs, rays)
    last, _ = last_poses(centers, 1.0)
    none, some = np.zeros(len(centers), bool), np.arange(len(centers)) == 0
    without, given, other = (
        graphs.solve(*rays, centers, poses, known).joints
        for poses, known in ((last, none), (last, some), (0 * last, none))
    )
    assert np.abs(given - without)[0].max() > 1.0
    assert np.abs(given - without)[1:].max() < 1e-3 and np.abs(other - without).max() < 1e-3


@pytest.mark.parametrize("views", [2, 4])
def test_nobody_detected_is_no_proposal(graphs, views):
    rays = inputs_of(views, 0)
    assert len(candidates_of(graphs, rays)) == 0
    people = graphs.solve(*rays, np.zeros((1, 3), np.float32), *last_poses(np.zeros((1, 3)), 0.0))
    assert all(np.isfinite(values).all() for values in people) and people.support.max() == 0


def test_other_weights_run_in_the_same_graphs():
    torch.manual_seed(4)
    other = RayPose().eval()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter += 0.03 * torch.randn_like(parameter)
    rays = inputs_of(4, 3)
    graphs = ray_runtime(other)
    assert isinstance(graphs, GraphRays)
    centers = candidates_of(graphs, rays)
    last = last_poses(centers, 0.5)
    assert_same(*(r.solve(*rays, centers, *last) for r in (graphs, TorchRays(other))))


def test_weights_of_another_shape_run_in_pytorch(caplog):
    small = RayPose(RayConfig(width=16, heads=2, layers=(1,)))
    with caplog.at_level(logging.WARNING):
        assert isinstance(ray_runtime(small), TorchRays)
    (message,) = caplog.messages
    assert "made for another configuration" in message and "runs in PyTorch instead" in message
    assert "\n" not in message


def test_graphs_of_another_configuration_are_not_used(model):
    """Of the same shapes, but for fewer detections per candidate."""
    other = RayPose(RayConfig(tokens=6))
    with pytest.raises(InputError, match="made for another configuration"):
        GraphRays(other)
    assert isinstance(ray_runtime(other), TorchRays)
    surer = RayPose(RayConfig(confidence_threshold=0.9))
    assert isinstance(ray_runtime(surer), GraphRays)


@pytest.mark.parametrize("name", [PROPOSALS, FRAME])
def test_damaged_and_missing_graphs_are_one_line(model, tmp_path, name):
    for file in (PROPOSALS, FRAME):
        (tmp_path / file).write_bytes((FOLDER / file).read_bytes())
    GraphRays(model, tmp_path)
    content = (tmp_path / name).read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"no graph"):
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(InputError, match=name) as error:
            GraphRays(model, tmp_path)
        assert "\n" not in str(error.value)
    (tmp_path / name).unlink()
    with pytest.raises(InputError, match=f"{name}: cannot be read"):
        GraphRays(model, tmp_path)


def test_the_estimator_runs_graphs_on_a_cpu():
    rig = Rig(cameras=ring(4), space=SPACE, name="ring")
    estimator = PoseEstimator(rig, device="cpu", detector=None)
    assert estimator.description()["runtime"] == "onnxruntime"
    other = estimator.recalibrated(rig)
    assert other.people.runtime is estimator.people.runtime
    keypoints = detections_of(rig.cameras, crowd(3), 3.0)
    found = estimator.estimate_keypoints(keypoints).skeletons
    other.people.runtime = TorchRays(other.model)
    expected = other.estimate_keypoints(keypoints).skeletons
    assert len(found) == len(expected) == 3
    for one, two in zip(found, expected, strict=True):
        assert np.abs(one.joints - two.joints).max() < 0.5 and one.score == pytest.approx(two.score, abs=1e-3)


def test_graphs_are_written_anew(model, graphs, tmp_path, monkeypatch):
    """By the script that wrote those that ship, and they say nothing of the machine that wrote them."""
    pytest.importorskip("onnx", reason="writing the graphs needs the package onnx")
    monkeypatch.syspath_prepend(str(TRAINING))
    importlib.import_module("write_ray_graphs").write_graphs(tmp_path)
    rays = inputs_of(5, 4)
    centers = candidates_of(graphs, rays)
    last = last_poses(centers, 0.5)
    assert_same(*(r.solve(*rays, centers, *last) for r in (graphs, GraphRays(model, tmp_path))))
    for file in (PROPOSALS, FRAME):
        for folder in (FOLDER, tmp_path):
            content = (folder / file).read_bytes()
            assert b".py" not in content and str(TRAINING.parent).encode() not in content
            assert len(content) < 1_000_000
