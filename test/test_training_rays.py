"""Scenes for the ray model, and training on them."""

import argparse
import dataclasses
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from voxelpose_core.datasets import ray_scenes
from voxelpose_core.datasets.people import sample_people
from voxelpose_core.datasets.ray_scenes import (
    OneRigRayScenes,
    RandomRayScenes,
    confuse_people,
    previous_poses,
)
from voxelpose_core.errors import InputError
from voxelpose_core.geometry.rig import load_rig
from voxelpose_core.heatmaps import box_side
from voxelpose_core.models.checkpoints import load_ray_weights
from voxelpose_core.models.ray_pose import RayConfig, RayPose
from voxelpose_core.models.rays import propose
from voxelpose_core.resources import find_resource, find_weights
from voxelpose_core.training.options import TrainingOptions
from voxelpose_core.training.ray_model import (
    add_arguments,
    draw_candidates,
    losses,
    measure,
    roots_of,
    run,
    train,
)
from voxelpose_core.voxel.views import Views

SCRIPT = Path(__file__).parents[1] / "training" / "train_for_rig.py"
RIG = find_resource("config/rigs/campus.yaml")
TINY = RayConfig(width=16, heads=2, layers=(1, 1))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def arguments(out, **changes):
    parser = argparse.ArgumentParser()
    add_arguments(parser, steps=100, minutes=math.inf, lr=1e-3)
    args = parser.parse_args(["--out", str(out), "--batch", "4", "--held-out", "1", "--print-every", "1"])
    return dataclasses.replace(TrainingOptions.of(args), **changes)


@pytest.mark.parametrize("views", [2, 3, 8])
def test_scenes_are_what_detectors_see(views):
    scenes = RandomRayScenes(view_counts={views: 1.0})(6, generator())
    B, V, D, J = scenes.rays.scores.shape
    assert (B, V, J) == (6, views, 17) and scenes.joints.shape[2:] == (17, 3)
    torch.testing.assert_close(scenes.rays.directions.norm(dim=-1), torch.ones(B, V, D, J))
    # Most rays of a person pass near the joint that they are of.
    roots = roots_of(scenes.joints)
    findable = scenes.valid & (scenes.person_views >= 2)
    centers = propose(scenes.rays, 20)
    distance = (centers.centers[:, :, None] - roots[:, None]).norm(dim=-1)
    distance = distance.masked_fill((centers.votes == 0)[..., None], torch.inf).amin(dim=1)
    assert (distance[findable] < 350).float().mean() > 0.8
    assert (scenes.joint_views <= V).all() and (scenes.person_views <= V).all()


def test_scenes_are_the_same_for_the_same_seed():
    one, other = (RandomRayScenes()(3, generator(5)) for _ in range(2))
    assert torch.equal(one.rays.directions, other.rays.directions)
    assert torch.equal(one.joints, other.joints)


def test_people_are_confused_only_with_neighbours():
    """Two who stand side by side, one alone: what is not split stays as it was for the loner."""
    xy = torch.rand(200, 1, 3, 17, 2, generator=generator()) * 100
    xy[:, :, 1] = 1.1 * xy[:, :, 0] + 20.0
    xy[:, :, 2] += 3000.0
    scores = torch.ones(200, 1, 3, 17)
    mixed, left = confuse_people(xy, scores, torch.ones(200), generator(1))
    assert mixed.shape == (200, 1, 4, 17, 2)
    assert torch.equal(mixed[:, :, 2], xy[:, :, 2])
    assert not torch.equal(mixed[:, :, :2], xy[:, :, :2])
    merged = (left[:, :, :2] == 0).all(dim=-1).float().mean()
    assert 0.005 < merged < 0.2
    # Halves of split people: together they are one.
    split = (left[:, 0, 3] > 0).any(dim=-1)
    assert 0.05 < split.float().mean() < 0.5
    assert (left[split].sum(dim=(1, 2, 3)) <= 3 * 17).all()


def test_everybodys_joints_lie_a_little_elsewhere():
    """By centimetres, alike on both sides of the body, and the nose stays in its middle."""
    as_made = sample_people(4000, generator(3))
    moved = ray_scenes._with_own_joints(sample_people)(4000, generator(3))
    shift = moved - as_made
    assert shift.mean(dim=0).abs().max() < 2.5
    length = shift.norm(dim=-1).mean(dim=0)
    assert (length > 12).all() and (length < 55).all()
    left = as_made[:, [5, 11], :2].sum(dim=1) - as_made[:, [6, 12], :2].sum(dim=1)
    left = torch.nn.functional.normalize(left, dim=-1)
    hips = (shift[:, [11, 12], :2] * left[:, None]).sum(dim=-1)
    heights = shift[:, [11, 12], 2]
    assert torch.corrcoef(hips.T)[0, 1] < -0.7 and torch.corrcoef(heights.T)[0, 1] > 0.7
    assert (shift[:, 0, :2] * left).sum(dim=-1).std() < 10 < shift[:, 0, 2].std()


def test_most_detections_become_sharper_and_gross_errors_stay():
    rig = load_rig(RIG)
    views = Views.from_cameras(rig.cameras, (4, 4), (1, 1))
    views = views.map(lambda tensor: tensor.expand(40, *tensor.shape[1:]))
    joints = sample_people(80, generator(1)).reshape(40, 2, 17, 3)
    joints = joints + torch.tensor([*rig.space.center[:2].tolist(), 0.0])
    true, seen = ray_scenes._pixels(joints[:, None].expand(-1, len(rig), -1, -1, -1), views)
    scores = seen.float()
    side = box_side(true, seen)[..., None, None]
    direction = torch.nn.functional.normalize(torch.randn(true.shape, generator=generator(2)), dim=-1)
    error = 0.02 * side * direction
    error[..., 9, :] = 0.4 * side[..., 0, :] * direction[..., 9, :]
    sharper = ray_scenes._sharpen(true + error, scores, true, seen, generator(3)) - true
    torch.testing.assert_close(sharper[..., 9, :], error[..., 9, :])
    small = seen & (error.norm(dim=-1) < 0.1 * side[..., 0])
    factor = (sharper.norm(dim=-1) / error.norm(dim=-1).clamp(min=1e-6))[small]
    assert 0.5 < factor.median() < 0.9 and factor.std() > 0.2


def test_people_of_one_rig_stand_on_its_floor():
    rig = load_rig(RIG)
    scenes = OneRigRayScenes(rig, rig.space)(4, generator(1))
    assert scenes.rays.origins.shape == (4, len(rig), 3)
    roots = roots_of(scenes.joints)[scenes.valid].double().numpy()
    assert (abs(roots[:, :2] - rig.space.center[:2]) < rig.space.size[:2] / 2 + 900).all()
    torch.testing.assert_close(scenes.floor, torch.full((4,), float(rig.space.low[2])))


def test_weights_are_specialized_by_the_script(tmp_path):
    out = tmp_path / "rig.safetensors"
    command = [sys.executable, SCRIPT, RIG, "--out", out, "--steps", "2", "--batch", "2"]
    done = subprocess.run(
        [*map(str, command), "--threads", "1", "--held-out", "1"],
        capture_output=True,
        text=True,
        timeout=1500,
    )
    assert done.returncode == 0, done.stderr
    before, after = (load_ray_weights(path) for path in (find_weights("universal"), out))
    changed = [
        not torch.equal(one, other)
        for one, other in zip(before.parameters(), after.parameters(), strict=True)
    ]
    assert any(changed)
    assert json.loads(safe_open(out, "pt").metadata()["notes"])["steps"] == 2
    assert not list(tmp_path.glob("*.pt"))


def test_last_poses_are_near_and_say_nothing_of_who_is_there():
    """People have mostly their own, in error as the present detections are; others have any, as often."""
    random = generator()
    people = 1000 * torch.rand(4000, 17, 3, generator=random)
    found = people + 50 * torch.randn(4000, 17, 3, generator=random)
    near = torch.arange(4000) < 2000
    last, present = previous_poses(found, people, near, 0.25, random)
    assert last.isfinite().all()
    for group in (near, ~near):
        assert 0.2 < present[group].float().mean() < 0.3
    gap = (last - people).norm(dim=-1)[near]
    assert 20 < gap.median() < 150
    own = gap.mean(dim=1) < 250
    assert 0.8 < own.float().mean() < 0.99
    error, repeated = (found - people)[near][own], (last - people)[near][own]
    share = (error * repeated).sum() / error.square().sum()
    assert 0.3 < share < 0.6
    # False positives have tracks of false positives, too.
    assert ((last - found)[~near].norm(dim=-1).mean(dim=1) < 150).float().mean() > 0.2


def test_nobody_has_no_last_pose():
    nobody = torch.zeros(0, 17, 3)
    last, present = previous_poses(nobody, nobody, torch.zeros(0, dtype=torch.bool), 1.0, generator())
    assert last.shape == (0, 17, 3) and present.shape == (0,)


def test_places_that_somebody_left_are_candidates():
    scenes = RandomRayScenes(view_counts={4: 1.0})(8, generator(2))
    candidates = draw_candidates(scenes, generator(3))
    gaps = (candidates.centers[:, None] - roots_of(scenes.joints)[candidates.scene]).norm(dim=-1)
    gaps = gaps.masked_fill(~scenes.valid[candidates.scene], torch.inf)
    torch.testing.assert_close(candidates.person, gaps.argmin(dim=1))
    # Some candidates lie where no detection of anybody is.
    assert (gaps.amin(dim=1) > 700).any()


def test_everybody_findable_is_a_candidate():
    scenes = RandomRayScenes(view_counts={4: 1.0})(8, generator(2))
    candidates = draw_candidates(scenes, generator(3))
    near = set(zip(candidates.scene[candidates.near].tolist(), candidates.person[candidates.near].tolist()))
    for scene, person in (scenes.valid & (scenes.person_views >= 2)).nonzero().tolist():
        roots = roots_of(scenes.joints)[scene]
        others = (roots - roots[person]).norm(dim=-1)[scenes.valid[scene]].sort().values
        # Who stands within a step of somebody may be nearest to the same place.
        if len(others) == 1 or others[1] > 900:
            assert (scene, person) in near


def test_gradients_come_from_people_and_reach_every_weight():
    torch.manual_seed(0)
    net = RayPose(TINY)
    scenes = RandomRayScenes(view_counts={3: 1.0})(8, generator(4))
    candidates = draw_candidates(scenes, generator(5))
    parts = losses(net, scenes, candidates, run(net, scenes, candidates, generator(6)))
    assert set(parts) == {"joints", "uncertainty", "confidence"}
    sum(parts.values()).backward()
    silent = [name for name, p in net.named_parameters() if p.grad is None]
    assert silent == []


def test_some_steps_lower_the_loss(tmp_path):
    torch.manual_seed(0)
    source = RandomRayScenes(view_counts={3: 1.0})
    scenes = source(6, generator(7))
    args = arguments(tmp_path / "w.safetensors", steps=40, lr=2e-2, batch=6)

    def loss_of(net):
        candidates = draw_candidates(scenes, generator(8))
        with torch.no_grad():
            return losses(net, scenes, candidates, run(net, scenes, candidates))

    net = RayPose(TINY)
    before = loss_of(net)
    net, notes = train(args, net, lambda count, g: scenes if count == 6 else source(count, g))
    after = loss_of(net)
    assert notes["steps"] == 40 and notes["people"] > 100
    assert after["joints"] < 0.9 * before["joints"]
    assert after["confidence"] < 0.8 * before["confidence"]
    assert after["uncertainty"] < before["uncertainty"]
    plain = {"mean_mm", "median_mm", "recall", "false_positives_per_scene", "inside_95"}
    assert plain | {f"last_{name}" for name in plain} == set(notes["held_out"])


def test_a_stopped_run_goes_on(tmp_path):
    """Ten steps at once and five and five: the same weights."""
    scenes = RandomRayScenes(view_counts={2: 1.0})

    def trained(out, **changes):
        torch.manual_seed(0)
        args = arguments(tmp_path / out, steps=6, held_out=1, print_every=100, **changes)
        return train(args, RayPose(TINY), scenes)

    whole, _ = trained("whole.safetensors")
    args = arguments(tmp_path / "parts.safetensors", steps=6, held_out=1, print_every=100)
    torch.manual_seed(0)
    calls = iter(range(3))

    def three_steps(count, g):
        if count == 4 and next(calls, None) is None:
            raise KeyboardInterrupt
        return scenes(count, g)

    import voxelpose_core.training.ray_model as training

    saved, training.CHECKPOINT_SECONDS = training.CHECKPOINT_SECONDS, 0.0
    try:
        with pytest.raises(KeyboardInterrupt):
            train(args, RayPose(TINY), three_steps)
        args = dataclasses.replace(args, resume=True)
        parts, notes = train(args, RayPose(TINY), scenes)
    finally:
        training.CHECKPOINT_SECONDS = saved
    assert notes["steps"] == 6
    for key, value in whole.state_dict().items():
        torch.testing.assert_close(parts.state_dict()[key], value)
    assert json.dumps(notes)


def test_resuming_needs_a_checkpoint(tmp_path):
    with pytest.raises(InputError, match="--resume: no checkpoint"):
        train(arguments(tmp_path / "w.safetensors", resume=True), RayPose(TINY), RandomRayScenes())


def test_held_out_scenes_are_always_the_same():
    torch.manual_seed(0)
    net, scenes = RayPose(TINY), RandomRayScenes(view_counts={2: 1.0})
    assert measure(net, scenes, 1, 4) == measure(net, scenes, 1, 4)
