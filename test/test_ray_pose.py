"""The ray model: closed-form solve, an untrained net, symmetries, confidence, suppression."""

import dataclasses

import numpy as np
import pytest
import torch
from test_rays import detections_of, people_at, ring

from voxelpose_core.models.ray_confidence import confidence_logits, fits, suppress, visibility
from voxelpose_core.models.ray_pose import Poses, RayConfig, RayPose
from voxelpose_core.models.ray_solver import (
    UNIT,
    ChosenRays,
    agree,
    apply_symmetric,
    facing,
    full_matrix,
    invert_symmetric,
    rays_turned,
    turned,
)
from voxelpose_core.models.rays import Rays, propose, rays_of_cameras
from voxelpose_core.skeletons import COCO17
from voxelpose_core.voxel import Views

TINY = RayConfig(width=16, heads=2, layers=(1, 1))


def make_net(config=TINY, seed=0, scale=0.0):
    """A net; `scale` moves the weights that start at zero, as if it were trained."""
    torch.manual_seed(seed)
    net = RayPose(config).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += scale * torch.randn_like(parameter)
    return net


def scene_of(views, places=((-700, 200), (900, -400)), noise=0.0):
    cameras = ring(views)
    people = people_at(*places)
    return cameras, people, rays_of_cameras(cameras, detections_of(cameras, people, noise), 0.1)


def poses_of(net, rays, centers):
    centers = torch.as_tensor(np.asarray(centers), dtype=torch.float32)
    with torch.no_grad():
        return net(rays, centers, torch.zeros(len(centers), dtype=torch.long))


def roots(people):
    return people[:, [11, 12]].mean(axis=1)


def test_symmetric_matrices():
    random = np.random.default_rng(0)
    root = random.normal(size=(50, 3, 3))
    matrices = root @ root.transpose(0, 2, 1) + 0.1 * np.eye(3)
    six = torch.from_numpy(matrices[:, [0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]])
    vector = torch.from_numpy(random.normal(size=(50, 3)))
    np.testing.assert_allclose(full_matrix(six), matrices)
    np.testing.assert_allclose(full_matrix(invert_symmetric(six)), np.linalg.inv(matrices), rtol=1e-6)
    np.testing.assert_allclose(apply_symmetric(six, vector), (matrices @ vector.numpy()[..., None])[..., 0])


def test_frames_face_along_x():
    """The matrices turn about the vertical, so that the left side lies along y."""
    poses = torch.from_numpy(np.random.default_rng(3).normal(size=(6, 17, 3)))
    frames = facing(poses)
    torch.testing.assert_close(frames @ frames.transpose(1, 2), torch.eye(3).double().expand(6, 3, 3))
    seen = turned(poses, frames)
    left = seen[:, 5] - seen[:, 6] + seen[:, 11] - seen[:, 12]
    assert left[:, 0].abs().max() < 1e-9 and left[:, 1].min() > 0
    torch.testing.assert_close(seen[..., 2], poses[..., 2])
    torch.testing.assert_close(turned(seen, frames, back=True), poses)
    rays = torch.stack([poses, 2 * poses], dim=1)
    components = torch.cat(rays_turned(rays.movedim(-1, 0), frames)).movedim(0, -1)
    torch.testing.assert_close(components, torch.stack([seen, 2 * seen], dim=1))


def test_the_solve_is_a_least_squares_problem():
    """Against numpy's lstsq on the stacked rows sqrt(w) (I - d d^T) x = sqrt(w) (I - d d^T) o."""
    random = np.random.default_rng(1)
    rays, joints = 5, 17
    origins = random.normal(size=(1, rays, 3)) * 10
    directions = random.normal(size=(1, rays, joints, 3))
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    weights = random.uniform(0.1, 5.0, size=(2, 1, rays, joints))
    mean, precision = random.normal(size=(1, joints, 3)), random.uniform(0.1, 2.0, size=(1, joints))
    mirror = torch.tensor(COCO17.mirror)
    zeros = torch.zeros(1, rays, dtype=torch.long)
    double = [torch.from_numpy(a) for a in (origins, directions)]
    chosen = ChosenRays.of(
        *double, torch.ones(1, rays, joints, dtype=torch.float64), zeros, zeros, zeros, mirror
    )
    solved, matrix = chosen.solve(*(torch.from_numpy(a) for a in (weights, mean, precision)))
    for joint in range(joints):
        rows, right = (
            [np.sqrt(precision[0, joint]) * np.eye(3)],
            [np.sqrt(precision[0, joint]) * mean[0, joint]],
        )
        for kind, source in ((0, joint), (1, COCO17.mirror[joint])):
            for ray in range(rays):
                d = directions[0, ray, source]
                across = np.sqrt(weights[kind, 0, ray, source]) * (np.eye(3) - np.outer(d, d))
                rows.append(across)
                right.append(across @ origins[0, ray])
        expected, *_ = np.linalg.lstsq(np.concatenate(rows), np.concatenate(right), rcond=None)
        np.testing.assert_allclose(solved[0, joint], expected, atol=1e-9)
        system = np.concatenate(rows)
        np.testing.assert_allclose(full_matrix(matrix)[0, joint], system.T @ system, atol=1e-9)


def test_nearest_points_of_rays():
    cameras, people, rays = scene_of(3, places=((0, 0),))
    net = make_net()
    center = torch.from_numpy(roots(people)).float()
    chosen = net._choose(rays, center, torch.zeros(1, dtype=torch.long))
    pose = (torch.from_numpy(people).float() - center[:, None]) / UNIT
    gaps = chosen.nearest_points(pose + torch.tensor([0.1, 0.0, 0.0]))
    # Perpendicular to the ray, and from the moved joint back to a ray through the true one.
    assert ((gaps * chosen.directions).sum(dim=0).abs() < 1e-4).all()
    assert (gaps.norm(dim=0) <= 0.1 + 1e-4).all()
    assert chosen.nearest_points(pose).norm(dim=0)[chosen.present > 0].max() < 1e-3


@pytest.mark.parametrize("views", [2, 3, 5, 8])
def test_an_untrained_net_triangulates(views):
    cameras, people, rays = scene_of(views)
    shift = np.array([60.0, -50.0, 40.0])
    poses = poses_of(make_net(), rays, roots(people) + shift)
    seen = np.array([camera.sees(people.reshape(-1, 3)) for camera in cameras]).reshape(views, 2, 17)
    error = np.linalg.norm(poses.joints.numpy() - people, axis=-1)
    assert np.median(error[seen.sum(axis=0) >= 2]) < 25
    assert len(poses.stages) == 1 + len(TINY.layers)


def test_detections_of_the_other_side_are_used_when_weights_say_so():
    """Left and right exchanged in one view: its mirrored rays agree with the others."""
    _, people, rays = scene_of(3, places=((0, 0),))
    directions, scores = rays.directions.clone(), rays.scores.clone()
    directions[0, 1], scores[0, 1] = (
        directions[0, 1][:, list(COCO17.mirror)],
        scores[0, 1][:, list(COCO17.mirror)],
    )
    swapped = Rays(rays.origins, directions, scores)
    net = make_net()
    chosen = net._choose(swapped, torch.from_numpy(roots(people)).float(), torch.zeros(1, dtype=torch.long))
    weights = 100.0 * chosen.present
    own = torch.where((chosen.view == 1)[..., None], 0.0, weights)
    other = torch.where((chosen.view == 1)[..., None], weights, 0.0)
    stacked = torch.stack([own, other])
    solved, _ = chosen.solve(stacked, torch.zeros(1, 17, 3), torch.full((1, 17), 1e-4))
    joints = solved[0].numpy() * UNIT + roots(people)[0]
    # The two views on their own and with the mirrored one: the same places.
    assert np.linalg.norm(joints - people[0], axis=-1).max() < 5


def test_the_order_of_views_and_detections_changes_nothing():
    _, people, rays = scene_of(4, noise=4.0)
    net = make_net(scale=0.05)
    order = torch.tensor([3, 1, 0, 2])
    shuffled = Rays(rays.origins[:, order], rays.directions[:, order].flip(2), rays.scores[:, order].flip(2))
    one, other = (poses_of(net, r, roots(people)) for r in (rays, shuffled))
    torch.testing.assert_close(one.joints, other.joints, atol=0.05, rtol=0)
    torch.testing.assert_close(one.embedding, other.embedding, atol=1e-3, rtol=0)


def padded(rays, views, detections):
    """The same rays with absent views and empty slots behind them."""
    B, V, D, J = rays.scores.shape
    directions = torch.zeros(B, V + views, D + detections, J, 3)
    directions[..., 0] = 1.0
    directions[:, :V, :D] = rays.directions
    scores = torch.zeros(B, V + views, D + detections, J)
    scores[:, :V, :D] = rays.scores
    origins = torch.cat([rays.origins, 1000.0 * torch.ones(B, views, 3)], dim=1)
    return Rays(origins, directions, scores)


@pytest.mark.parametrize("extra", [(1, 0), (0, 2), (3, 3)])
def test_padding_changes_nothing(extra):
    cameras, people, rays = scene_of(3, noise=4.0)
    net = make_net(scale=0.05)
    more = padded(rays, *extra)
    torch.testing.assert_close(propose(more, 6).centers[:, :2], propose(rays, 6).centers[:, :2])
    one, other = (poses_of(net, r, roots(people)) for r in (rays, more))
    torch.testing.assert_close(one.joints, other.joints, atol=0.05, rtol=0)
    scene = torch.zeros(len(people), dtype=torch.long)
    visible = visibility(one.joints, scene, Views.from_cameras(cameras, (4, 4), (1, 1)))
    filled = torch.cat([visible, torch.zeros(len(people), extra[0], 17)], dim=1)
    for a, b in zip(
        confidence_logits(net, rays, one, scene, visible, fits(rays, one.joints, scene)),
        confidence_logits(net, more, other, scene, filled, fits(more, other.joints, scene)),
        strict=True,
    ):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=0)


def test_scenes_of_a_batch_do_not_meet():
    _, people, first = scene_of(3, noise=3.0)
    _, other_people, second = scene_of(3, places=((100, 900), (-1200, -300)), noise=3.0)
    both = Rays(
        *(
            torch.cat(pair)
            for pair in zip(*((r.origins, r.directions, r.scores) for r in (first, second)), strict=True)
        )
    )
    net = make_net(scale=0.05)
    centers = torch.from_numpy(np.concatenate([roots(people), roots(other_people)])).float()
    with torch.no_grad():
        together = net(both, centers, torch.tensor([0, 0, 1, 1]))
    apart = [poses_of(net, first, centers[:2]), poses_of(net, second, centers[2:])]
    torch.testing.assert_close(together.joints, torch.cat([p.joints for p in apart]), atol=0.05, rtol=0)


def test_the_world_may_be_turned():
    """A net never trained still answers the same for a rig and people turned about the vertical."""
    _, people, rays = scene_of(4, noise=4.0)
    net = make_net(scale=0.05)
    c, s = np.cos(1.1), np.sin(1.1)
    turn = torch.tensor([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float32)
    turned = Rays(rays.origins @ turn.T, rays.directions @ turn.T, rays.scores)
    one = poses_of(net, rays, roots(people))
    other = poses_of(net, turned, roots(people) @ turn.numpy().T)
    torch.testing.assert_close(one.joints @ turn.T, other.joints, atol=0.5, rtol=0)


def test_the_last_pose_counts_where_there_is_one():
    _, people, rays = scene_of(3, places=((0, 0), (1500, 900)))
    nothing = dataclasses.replace(rays, scores=torch.zeros_like(rays.scores))
    net = make_net()
    with torch.no_grad():
        net.stages[-1].weigh_last.bias += 4.0
    last = torch.from_numpy(people).float()
    with torch.no_grad():
        poses = net(
            nothing,
            last[:, [11, 12]].mean(dim=1),
            torch.zeros(2, dtype=torch.long),
            last,
            torch.tensor([True, False]),
        )
    error = (poses.joints - last).norm(dim=-1).mean(dim=1)
    assert error[0] < 30 < error[1]


def test_covariances_are_those_of_the_rays():
    """Two cameras side by side know little of the depth."""
    cameras = ring(12)[:2]
    people = people_at((0, 0))
    rays = rays_of_cameras(cameras, detections_of(cameras, people), 0.1)
    poses = poses_of(make_net(), rays, roots(people))
    covariance = poses.covariance()[0].numpy()
    np.testing.assert_allclose(covariance, covariance.transpose(0, 2, 1))
    values, vectors = np.linalg.eigh(covariance)
    assert (values > 0).all()
    depth = people[0] - (cameras[0].C + cameras[1].C) / 2
    depth /= np.linalg.norm(depth, axis=1, keepdims=True)
    along = np.abs((vectors[:, :, 2] * depth).sum(axis=1))
    assert np.median(along) > 0.9 and np.median(values[:, 2] / values[:, 1]) > 3


def test_fits_of_detections():
    _, people, rays = scene_of(3)
    joints = torch.from_numpy(people).float()
    fit = fits(rays, joints, torch.zeros(2, dtype=torch.long))
    own = fit[[0, 1], :, [0, 1]].mean(dim=-1)
    foreign = fit[[0, 1], :, [1, 0]].mean(dim=-1)
    assert own.min() > 0.9 and foreign.max() < 0.3
    behind = joints + 3 * (rays.origins[0, 0] - joints)
    assert not fits(rays, behind, torch.zeros(2, dtype=torch.long))[:, 0].any()


def test_visibility_is_that_of_the_cameras():
    cameras, people, _ = scene_of(4, places=((0, 0), (3800, 0)))
    views = Views.from_cameras(cameras, (4, 4), (1, 1)).with_present([True, True, False, True])
    seen = visibility(torch.from_numpy(people).float(), torch.zeros(2, dtype=torch.long), views)
    for index, camera in enumerate(cameras):
        expected = camera.sees(people.reshape(-1, 3)).reshape(2, 17) & (index != 2)
        assert (seen[:, index].numpy() == expected).all()


def test_poses_of_one_person_are_one():
    joints = np.zeros((4, 17, 3))
    joints[1] += 50.0
    joints[2, :, 0] += 900.0
    joints[3, :, 0] += 950.0
    confidence = np.array([0.6, 0.9, 0.4, 0.8])
    # Each explains a detection of its own in both views.
    shares = np.eye(4)[:, None].repeat(2, axis=1)
    assert suppress(joints, confidence, shares, 0.5).tolist() == [False, True, False, True]
    assert suppress(joints, confidence, shares, 0.85).tolist() == [False, True, False, False]
    assert suppress(joints, np.full(4, 0.7), shares, 0.5).tolist() == [True, False, True, False]
    assert suppress(joints[:0], confidence[:0], shares[:0], 0.5).tolist() == []


def test_whoever_explains_nothing_better_than_others_goes():
    joints = np.zeros((3, 17, 3))
    joints[1, :, 0], joints[2, :, 0] = 300.0, 2000.0
    confidence = np.array([0.9, 0.8, 0.7])
    # Two views with two detections: of the first person, and of the third; the second is a mixture.
    shares = np.array([[[0.5, 0.1], [0.4, 0.0]], [[0.3, 0.2], [0.35, 0.1]], [[0.1, 0.6], [0.0, 0.5]]])
    assert suppress(joints, confidence, shares, 0.5).tolist() == [True, False, True]
    shares[1, 1, 0] = 0.7
    assert suppress(joints, confidence, shares, 0.5).tolist() == [True, False, True]
    # Not clearly better in the other view, then clearly.
    shares[1, 0, 0] = 0.6
    assert suppress(joints, confidence, shares, 0.5).tolist() == [True, False, True]
    shares[1, 0, 0] = 0.8
    assert suppress(joints, confidence, shares, 0.5).tolist() == [True, True, True]


def test_a_rival_who_explains_a_detection_takes_it():
    """The second confidence hears of others, the first does not; other scenes are no rivals."""
    cameras, people, rays = scene_of(3)
    net = make_net(scale=0.3)
    views = Views.from_cameras(cameras, (4, 4), (1, 1))
    scene = torch.zeros(2, dtype=torch.long)
    phantom = people.copy()
    phantom[1] = people[0] + [0.0, 0.0, 260.0]
    joints = torch.from_numpy(phantom).float()
    poses = Poses(joints, (joints,), torch.ones(2, 17, 6), torch.zeros(2, 17), torch.zeros(2, TINY.width))
    visible = visibility(joints, scene, views)
    first, second = confidence_logits(net, rays, poses, scene, visible, fits(rays, joints, scene))
    assert (first - second).abs().min() > 1e-4
    twice = Rays(*(torch.cat([t, t]) for t in (rays.origins, rays.directions, rays.scores)))
    apart = torch.tensor([0, 1])
    first, second = confidence_logits(net, twice, poses, apart, visible, fits(twice, joints, apart))
    torch.testing.assert_close(first, second)


def test_configurations_are_checked():
    with pytest.raises(ValueError, match="width 30 is not a multiple of heads 4"):
        RayConfig(width=30)
    with pytest.raises(ValueError, match="extra"):
        RayConfig(depth=3)


def test_joints_move_to_where_most_rays_agree():
    """Four rays meet in a point and a fifth passes 450 mm beside it; the net's pose is their mean."""
    origins = torch.nn.functional.normalize(
        torch.randn(1, 5, 3, generator=torch.Generator().manual_seed(1)), dim=-1
    )
    origins = 12 * origins
    targets = torch.zeros(1, 5, 1, 3)
    targets[0, 4, 0] = torch.linalg.cross(origins[0, 4], torch.tensor([0.0, 0.0, 1.0]))
    targets[0, 4] *= 1.5 / targets[0, 4].norm()
    directions = torch.nn.functional.normalize(targets - origins[:, :, None], dim=-1)
    views = torch.arange(5)[None]
    zeros = torch.zeros(1, 5)
    chosen = ChosenRays.of(
        origins, directions, torch.ones(1, 5, 1), views, torch.zeros_like(views), zeros, torch.tensor([0])
    )
    weights = torch.zeros(2, 1, 5, 1)
    weights[0] = 36.0
    prior = torch.full((1, 1), 0.1)
    pose, _ = chosen.solve(weights, torch.zeros(1, 1, 3), prior)
    agreed = agree(chosen, weights, pose, prior)
    assert 60 < 300 * pose.norm() < 200
    assert agreed.norm() < 0.2 * pose.norm()
    held = agree(chosen, weights, pose, torch.full((1, 1), 1e4))
    torch.testing.assert_close(held, pose, atol=1e-2, rtol=0)
