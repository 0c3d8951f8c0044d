"""Rays of 2D detections and the places where they meet."""

import dataclasses

import numpy as np
import pytest
import torch

from voxelpose_core.datasets.people import sample_people
from voxelpose_core.datasets.random_rigs import look_at
from voxelpose_core.geometry import rays as rays_in_numpy
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.models.rays import (
    SUPPRESSION,
    Rays,
    closest_approach,
    propose,
    rays_of_cameras,
    rays_of_views,
    undistort,
)
from voxelpose_core.skeletons import COCO17
from voxelpose_core.voxel import Views

LENSES = {
    "pinhole": (False, [0.0] * 5),
    "radial": (False, [-0.28, 0.09, 0.0, 0.0, -0.01]),
    "tangential": (False, [-0.2, 0.05, 0.004, -0.003, 0.0]),
    "pincushion": (False, [0.15, 0.05, 0.0, 0.0, 0.02]),
    "rational": (False, [0.3, -0.1, 0.001, 0.0005, 0.01, 0.5, -0.05, 0.02]),
    "fisheye": (True, [0.05, -0.01, 0.003, -0.0005]),
    "plain fisheye": (True, [0.0] * 4),
}


def make_camera(name="c", center=(0.0, -4000.0, 1500.0), aim=(0.0, 0.0, 1000.0), lens="pinhole"):
    fisheye, distortion = LENSES[lens]
    center = torch.tensor(center, dtype=torch.float64)
    R = look_at(center, torch.tensor(aim, dtype=torch.float64), torch.zeros((), dtype=torch.float64))
    focal = 400.0 if fisheye else 900.0
    K = [[focal, 0.0, 640.0], [0.0, focal * 1.02, 360.0], [0.0, 0.0, 1.0]]
    return Camera(name, (1280, 720), K, distortion, R.numpy(), center.numpy(), fisheye)


def ring(count, lens="pinhole", radius=4500.0):
    angles = 2 * np.pi * (np.arange(count) + 0.2) / count
    return [
        make_camera(f"c{i}", (radius * np.cos(a), radius * np.sin(a), 1800.0 + 100 * i), lens=lens)
        for i, a in enumerate(angles)
    ]


def people_at(*places, seed=3):
    """(P, 17, 3) upright people, mm."""
    drawn = sample_people(80, torch.Generator().manual_seed(seed), child_share=0.0).double().numpy()
    standing = drawn[(drawn[:, 0, 2] > 1400) & (drawn[:, 0, 2] < 1750)][: len(places)]
    standing[:, :, :2] += np.array(places)[:, None]
    return standing


def detections_of(cameras, people, noise=0.0, seed=0):
    """Per camera (P, 17, 3): x px, y px, score."""
    random = np.random.default_rng(seed)
    views = []
    for camera in cameras:
        view = np.zeros((len(people), 17, 3))
        for index, joints in enumerate(people):
            view[index, :, :2] = camera.project(joints)[0] + random.normal(0, noise, (17, 2))
            view[index, :, 2] = 0.9 * camera.sees(joints)
        views.append(view)
    return views


def grid_of_pixels(camera, step=80):
    """Pixels of the image that the lens model can invert."""
    x, y = np.meshgrid(np.arange(8, 1280, step), np.arange(8, 720, step))
    pixels = np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float64)
    points = camera.unproject(pixels, 1000.0)
    back, _ = camera.project(points)
    return pixels[(np.abs(back - pixels).max(axis=1) < 1e-3) & camera.sees(points)]


@pytest.mark.parametrize("lens", LENSES)
def test_undistortion_of_batches_agrees_with_the_camera(lens):
    camera = make_camera(lens=lens)
    pixels = grid_of_pixels(camera)
    assert len(pixels) > 60
    views = Views.from_cameras([camera, camera], (4, 4), (1, 1))
    points = undistort(torch.from_numpy(pixels).float().expand(1, 2, -1, -1), views)
    np.testing.assert_allclose(points[0, 1], camera.undistort(pixels), rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("lens", LENSES)
def test_rays_agree_with_unproject(lens):
    camera = make_camera(lens=lens)
    pixels = grid_of_pixels(camera)
    pixels = pixels[: len(pixels) // 17 * 17].reshape(-1, 17, 2)
    people = np.concatenate([pixels, np.full((*pixels.shape[:2], 1), 0.7)], axis=-1)
    expected = camera.unproject(pixels.reshape(-1, 2), 500.0) - camera.C
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    of_cameras = rays_of_cameras([camera], [people], 0.1)
    xy = torch.from_numpy(pixels).float()[None, None]
    views = Views.from_cameras([camera], (4, 4), (1, 1))
    of_views = rays_of_views(xy, torch.full(xy.shape[:-1], 0.7), views)
    for rays in (of_cameras, of_views):
        np.testing.assert_allclose(rays.directions[0, 0].reshape(-1, 3), expected, atol=2e-4)
        assert torch.allclose(rays.scores, torch.tensor(0.7))
        np.testing.assert_allclose(rays.origins[0, 0], camera.C, rtol=1e-6)


def test_absent_cameras_and_weak_keypoints_have_no_rays():
    cameras = ring(3)
    keypoints = detections_of(cameras, people_at((0, 0)))
    keypoints[0][0, 4, 2] = 0.05
    keypoints[1] = None
    rays = rays_of_cameras(cameras, keypoints, 0.1)
    assert rays.scores[0, 0, 0, 4] == 0 and rays.scores[0, 0, 0, 5] > 0
    assert not rays.scores[0, 1].any()
    views = Views.from_cameras(cameras, (4, 4), (1, 1)).with_present([True, False, True])
    scores = torch.ones(1, 3, 1, 17)
    assert rays_of_views(torch.zeros(1, 3, 1, 17, 2), scores, views).scores.sum(dim=(0, 2, 3)).tolist() == [
        17.0,
        0.0,
        17.0,
    ]


def test_closest_approach_of_two_lines():
    one, other = torch.tensor([0.0, 0.0, 0.0]), torch.tensor([1000.0, 0.0, 100.0])
    place, gap = closest_approach(one, torch.tensor([0.0, 1.0, 0.0]), other, torch.tensor([-0.6, 0.8, 0.0]))
    assert gap == pytest.approx(100.0, abs=1e-2)
    np.testing.assert_allclose(place, [0.0, 4000 / 3, 50.0], atol=0.1)
    # They meet behind the second start.
    _, gap = closest_approach(one, torch.tensor([0.0, 1.0, 0.0]), other, torch.tensor([0.6, -0.8, 0.0]))
    assert gap > 1e5


def test_numpy_and_torch_agree_where_rays_come_closest():
    generator = np.random.default_rng(2)
    origins = generator.uniform(-3000, 3000, (2, 3))
    rays = generator.normal(size=(2, 200, 3))
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    places, gaps = rays_in_numpy.closest_approach(origins[0], rays[0], origins[1], rays[1])
    tensors = (torch.from_numpy(part) for part in (origins[0], rays[0], origins[1], rays[1]))
    other_places, other_gaps = closest_approach(*tensors)
    meet = np.isfinite(gaps)
    assert 20 < meet.sum() < 180
    assert ((other_gaps < 1e5).numpy() == meet).all()
    np.testing.assert_allclose(places[meet], other_places[meet], atol=1e-6)
    np.testing.assert_allclose(gaps[meet], other_gaps[meet], atol=1e-6)


def test_parallel_rays_meet_nowhere():
    ray = np.array([0.0, 1.0, 0.0])
    turned = np.array([np.sin(1e-3), np.cos(1e-3), 0.0])
    start, other = np.zeros(3), np.array([100.0, 0.0, 0.0])
    assert rays_in_numpy.closest_approach(start, ray, other, ray)[1] == np.inf
    place, gap = rays_in_numpy.closest_approach(start, turned, other, ray)
    assert gap < 1e-3 and place[1] == pytest.approx(1e5, rel=1e-3)
    assert rays_in_numpy.closest_approach(start, turned, other, ray, 0.01)[1] == np.inf


@pytest.mark.parametrize("lens", ["radial", "fisheye"])
def test_people_are_proposed(lens):
    cameras = ring(4, lens)
    people = people_at((-800, 200), (900, -500))
    rays = rays_of_cameras(cameras, detections_of(cameras, people, 2.0), 0.1)
    proposals = propose(rays, 10)
    centers = proposals.centers[0][proposals.votes[0] > 0].numpy()
    for joints in people:
        assert np.linalg.norm(centers - joints[[11, 12]].mean(axis=0), axis=1).min() < 150
    gaps = np.linalg.norm(centers[:, None] - centers, axis=-1)
    assert (gaps[~np.eye(len(centers), dtype=bool)] >= SUPPRESSION).all()
    assert (proposals.votes[0].diff() <= 0).all()


def test_rays_that_cross_by_coincidence_propose_nobody():
    """With six cameras each detection belongs to its own person; with two nobody can tell."""
    people = people_at((-800, 200), (900, -500), (300, 1000))
    roots = COCO17.root_of(people)
    counts = {}
    for number in (2, 6):
        cameras = ring(number)
        rays = rays_of_cameras(cameras, detections_of(cameras, people, 2.0), 0.1)
        proposals = propose(rays, 20)
        centers = proposals.centers[0][proposals.votes[0] > 0].numpy()
        assert (np.linalg.norm(centers[:, None] - roots, axis=-1).min(axis=0) < 150).all()
        counts[number] = len(centers)
    assert counts[6] == 3


def test_who_is_seen_by_two_of_many_cameras_is_proposed():
    cameras = ring(6)
    keypoints = detections_of(cameras, people_at((-800, 200), (900, -500)), 2.0)
    for view in (1, 2, 4, 5):
        keypoints[view] = keypoints[view][:1]
    proposals = propose(rays_of_cameras(cameras, keypoints, 0.1), 20)
    centers = proposals.centers[0][proposals.votes[0] > 0].numpy()
    for root in COCO17.root_of(people_at((-800, 200), (900, -500))):
        assert np.linalg.norm(centers - root, axis=1).min() < 150


def test_the_order_of_views_and_detections_moves_no_proposal():
    cameras = ring(4)
    keypoints = detections_of(cameras, people_at((-800, 200), (900, -500)), 3.0)
    order = [2, 0, 3, 1]
    first = propose(rays_of_cameras(cameras, keypoints, 0.1), 8)
    second = propose(
        rays_of_cameras([cameras[i] for i in order], [keypoints[i][::-1] for i in order], 0.1), 8
    )
    torch.testing.assert_close(first.centers, second.centers, atol=0.2, rtol=0)
    torch.testing.assert_close(first.votes, second.votes)


def test_nothing_is_proposed_where_nothing_meets():
    cameras = ring(3)
    people = people_at((0, 0))
    keypoints = detections_of(cameras, people)
    alone = [keypoints[0], np.zeros((0, 17, 3)), None]
    assert not propose(rays_of_cameras(cameras, alone, 0.1), 5).votes.any()
    rays = rays_of_cameras(cameras, keypoints, 0.1)
    nobody = dataclasses.replace(rays, scores=torch.zeros_like(rays.scores))
    assert not propose(nobody, 5).votes.any()
    assert isinstance(nobody, Rays)
