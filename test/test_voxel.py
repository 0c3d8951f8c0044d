"""The voxel op's definition, against a slow loop over cv2's projection; boxes; gradients."""

import cv2
import numpy as np
import pytest
import torch

from voxelpose_core.datasets.random_rigs import look_at
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.voxel import Boxes, Views, box_points, feature_volumes, fit_voxels
from voxelpose_core.voxel.views import heatmap_affine

IMAGE, NETWORK, HEATMAP = (640, 480), (320, 256), (80, 64)
SIZE, VOXELS = (2000.0, 1600.0, 1200.0), (8, 4, 4)


def ring(count, distortion=(-0.2, 0.05, 1e-3, -1e-3, 0.01), radius=3000.0):
    """`count` distorted cameras around the origin, looking inwards."""
    cameras = []
    for index in range(count):
        angle = 2 * np.pi * index / count + 0.3
        center = torch.tensor([radius * np.cos(angle), radius * np.sin(angle), 1500.0])
        R = look_at(center, torch.tensor([0.0, 0, 500]).double(), torch.tensor(0.1)).numpy()
        R = np.linalg.svd(R)[0] @ np.linalg.svd(R)[2]
        K = [[500, 0, 315], [0, 505, 242], [0, 0, 1]]
        cameras.append(Camera(f"cam{index}", IMAGE, K, distortion, R, center.numpy()))
    return cameras


def random_heatmaps(views, joints=3, seed=0, batch=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, views, joints, HEATMAP[1], HEATMAP[0], generator=generator)


def slow_volume(heatmaps, cameras, center):
    """One box, one voxel and one view at a time, in NumPy and OpenCV. Heatmaps (V, J, H, W)."""
    points = box_points(torch.tensor(center)[None], SIZE, VOXELS)[0].double().numpy()
    total = np.zeros((heatmaps.shape[1], len(points)))
    weight = np.zeros(len(points))
    for heatmap, camera in zip(heatmaps.numpy(), cameras, strict=True):
        rvec, _ = cv2.Rodrigues(camera.R)
        pixels, _ = cv2.projectPoints(points, rvec, camera.t, camera.K, camera.distortion)
        seen = camera.sees(points)
        to_heatmap = heatmap_affine(IMAGE, NETWORK, HEATMAP)
        for index, pixel in enumerate(pixels[:, 0]):
            if seen[index]:
                x, y = to_heatmap @ [*pixel, 1.0]
                total[:, index] += bilinear(heatmap, x, y)
                weight[index] += 1
    return np.clip(total / (weight + 1e-6), 0, 1).reshape(-1, *VOXELS), weight


def bilinear(heatmap, x, y):
    value = np.zeros(len(heatmap))
    left, top = int(np.floor(x)), int(np.floor(y))
    for column, row in ((left, top), (left + 1, top), (left, top + 1), (left + 1, top + 1)):
        if 0 <= column < HEATMAP[0] and 0 <= row < HEATMAP[1]:
            value += heatmap[:, row, column] * (1 - abs(x - column)) * (1 - abs(y - row))
    return value


def volumes(heatmaps, cameras, centers, **options):
    views = Views.from_cameras(cameras, NETWORK, HEATMAP)
    centers = torch.tensor(centers, dtype=torch.float32).reshape(-1, 3)
    return feature_volumes(heatmaps, views, Boxes.in_one_scene(centers, SIZE, VOXELS), **options)


@pytest.mark.parametrize("view_count", [1, 2, 5, 16])
@pytest.mark.parametrize("center", [(0.0, 0.0, 600.0), (1800.0, -1500.0, 600.0)])
def test_matches_the_slow_loop(view_count, center):
    cameras = ring(view_count)
    heatmaps = random_heatmaps(view_count)
    expected, weight = slow_volume(heatmaps[0], cameras, center)
    assert (weight > 0).any()
    ours = volumes(heatmaps, cameras, center)[0]
    np.testing.assert_allclose(ours, expected, atol=2e-3)


def test_cameras_inside_the_box_do_not_see_behind_themselves():
    cameras = ring(3, radius=700.0)
    heatmaps = random_heatmaps(3)
    expected, _ = slow_volume(heatmaps[0], cameras, (0.0, 0.0, 1000.0))
    ours = volumes(heatmaps, cameras, (0.0, 0.0, 1000.0))[0]
    np.testing.assert_allclose(ours, expected, atol=5e-3)
    original = volumes(heatmaps, cameras, (0.0, 0.0, 1000.0), count_points_behind=True)[0]
    assert (original - ours).abs().max() > 0.1


def test_a_box_that_nobody_sees_is_empty():
    assert volumes(random_heatmaps(2), ring(2), (0.0, 0.0, 90000.0)).abs().max() == 0


def test_no_boxes():
    assert volumes(random_heatmaps(2), ring(2), np.zeros((0, 3))).shape == (0, 3, *VOXELS)


def test_absent_views_do_not_count():
    cameras, heatmaps = ring(3), random_heatmaps(3)
    views = Views.from_cameras(cameras, NETWORK, HEATMAP).with_present([True, False, True])
    box = Boxes.in_one_scene(torch.tensor([[0.0, 0, 600]]), SIZE, VOXELS)
    ours = feature_volumes(heatmaps, views, box)
    without = volumes(heatmaps[:, [0, 2]], [cameras[0], cameras[2]], (0.0, 0.0, 600.0))
    torch.testing.assert_close(ours, without)


def test_every_box_reads_the_heatmaps_of_its_scene():
    cameras = ring(2)
    heatmaps = random_heatmaps(2, batch=2)
    views = Views.from_cameras(cameras, NETWORK, HEATMAP).map(lambda t: torch.cat([t, t]))
    centers = torch.tensor([[0.0, 0, 600], [200.0, 0, 600], [0.0, 0, 600]])
    together = feature_volumes(heatmaps, views, Boxes(centers, torch.tensor([0, 1, 1]), SIZE, VOXELS))
    for index, (scene, x) in enumerate(((0, 0.0), (1, 200.0), (1, 0.0))):
        alone = volumes(heatmaps[scene : scene + 1], cameras, (x, 0.0, 600.0))[0]
        torch.testing.assert_close(together[index], alone)


def test_gradient_to_the_heatmaps():
    cameras = ring(2)
    views = Views.from_cameras(cameras, NETWORK, HEATMAP).map(lambda t: t.double())
    heatmaps = (0.1 + 0.8 * random_heatmaps(2, joints=1)).double()
    # A few pixels suffice: the rest of a heatmap's pixels go the same way.
    patch = heatmaps[..., 30:34, 38:42].clone().requires_grad_()

    def volume_of(values):
        full = heatmaps.clone()
        full[..., 30:34, 38:42] = values
        box = Boxes.in_one_scene(torch.zeros(1, 3).double(), (300.0,) * 3, (4, 4, 4))
        return feature_volumes(full, views, box)

    assert torch.autograd.gradcheck(volume_of, (patch,))


def test_box_points_reach_from_face_to_face():
    points = box_points(torch.tensor([[100.0, 200, 300]]), (20.0, 40.0, 60.0), (3, 2, 2))[0]
    assert points.shape == (12, 3)
    torch.testing.assert_close(points[0], torch.tensor([90.0, 180, 270]))
    torch.testing.assert_close(points[1], torch.tensor([90.0, 180, 330]))
    torch.testing.assert_close(points[-1], torch.tensor([110.0, 220, 330]))


@pytest.mark.parametrize(
    "edge, expected", [(2000.0, 16), (2000.0001, 16), (2100.0, 20), (8000.0, 64), (100.0, 4)]
)
def test_fit_voxels_tiles_the_box_with_multiples_of_four(edge, expected):
    size, voxels = fit_voxels((edge, 2000.0, 2000.0), 125.0)
    assert voxels[0] == expected
    assert size[0] == 125.0 * (expected - 1)
