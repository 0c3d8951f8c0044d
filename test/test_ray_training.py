"""Scenes for the ray model, and training on them."""

import argparse
import json

import pytest
import torch

from voxelpose_core.datasets.ray_scenes import RandomRayScenes, confuse_people, previous_poses
from voxelpose_core.errors import InputError
from voxelpose_core.models.ray_pose import RayConfig, RayPose
from voxelpose_core.models.rays import propose
from voxelpose_core.ray_training import (
    add_arguments,
    draw_candidates,
    losses,
    measure,
    roots_of,
    run,
    train,
)

TINY = RayConfig(width=16, heads=2, layers=(1, 1))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def arguments(out, **changes):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    args = parser.parse_args(["--out", str(out), "--batch", "4", "--held-out", "1", "--print-every", "1"])
    for name, value in changes.items():
        setattr(args, name, value)
    return args


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


def test_poses_of_the_last_frame_are_near():
    joints = torch.rand(400, 17, 3) * 1000
    last, present = previous_poses(joints, generator(), 0.25)
    assert 0.15 < present.float().mean() < 0.35
    gap = (last - joints).norm(dim=-1)
    assert 20 < gap.median() < 150


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
    assert {"mean_mm", "median_mm", "recall", "phantoms_per_scene", "inside_95"} == set(notes["held_out"])


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

    import voxelpose_core.ray_training as training

    saved, training.CHECKPOINT_SECONDS = training.CHECKPOINT_SECONDS, 0.0
    try:
        with pytest.raises(KeyboardInterrupt):
            train(args, RayPose(TINY), three_steps)
        args.resume = True
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
