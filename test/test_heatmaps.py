"""Keypoints to heatmaps, and 3D targets."""

import math

import pytest
import torch

from voxelpose_core.heatmaps import (
    SIGMA_BY_BOX_SIDE,
    box_side,
    gaussian_volume,
    render_keypoints,
)
from voxelpose_core.voxel import bindings

SIZE = (120, 80)


def person(x, y, side, score=1.0):
    """(J=3) keypoints: two corners of a box of that side and its centre."""
    half = side / 2
    xy = torch.tensor([[x - half, y - half], [x + half, y + half], [x, y]])
    return xy, torch.full((3,), score)


def render(*people, **options):
    xy = torch.stack([p[0] for p in people])[None, None]
    scores = torch.stack([p[1] for p in people])[None, None]
    return render_keypoints(xy, scores, SIZE, **options)[0, 0]


def test_peak_is_the_score_at_the_keypoint():
    heatmap = render(person(60, 40, 60, score=0.7))[2]
    assert heatmap.shape == (80, 120)
    assert heatmap.max() == pytest.approx(0.7)
    assert divmod(int(heatmap.argmax()), 120) == (40, 60)


def test_width_follows_the_person():
    sigma = SIGMA_BY_BOX_SIDE * 60
    heatmap = render(person(60, 40, 60))[2]
    assert heatmap[40, 63] == pytest.approx(math.exp(-0.5 * (3 / sigma) ** 2), rel=1e-5)


def test_small_people_get_the_least_width_and_large_ones_the_most():
    small, smaller = render(person(60, 40, 20)), render(person(60, 40, 4))
    torch.testing.assert_close(small[2], smaller[2])
    large, larger = render(person(60, 40, 200)), render(person(60, 40, 300))
    torch.testing.assert_close(large[2], larger[2])


def test_cut_at_three_sigma():
    sigma = SIGMA_BY_BOX_SIDE * 60
    heatmap = render(person(60, 40, 60))[2]
    assert heatmap[40, 60 + math.ceil(3 * sigma) + 1] == 0
    assert heatmap[40, 60 + math.floor(3 * sigma)] > 0.01


def test_larger_value_stays_where_people_overlap():
    strong, weak = person(60, 40, 60, 0.9), person(62, 40, 60, 0.5)
    both = render(strong, weak)
    torch.testing.assert_close(both, torch.maximum(render(strong), render(weak)))
    torch.testing.assert_close(both, render(weak, strong))


def test_missing_joint_draws_nothing_and_does_not_widen_the_person():
    xy, scores = person(60, 40, 60)
    xy, scores = torch.cat([xy, torch.zeros(1, 2)]), torch.cat([scores, torch.zeros(1)])
    heatmaps = render_keypoints(xy[None, None, None], scores[None, None, None], SIZE)[0, 0]
    assert heatmaps[3].max() == 0
    torch.testing.assert_close(heatmaps[:3], render(person(60, 40, 60)))


@pytest.mark.parametrize("scale", [1.0, 0.4])
def test_the_kernel_draws_the_same(scale):
    """People all over a batch of heatmaps, at its edges and beyond."""
    if bindings.implementation("cpu") == bindings.REFERENCE:
        pytest.skip("no compiler")
    generator = torch.Generator().manual_seed(2)
    middle = torch.rand(3, 2, 4, 1, 2, generator=generator) * torch.tensor([180.0, 140.0]) - 30
    xy = middle + 15 * torch.randn(3, 2, 4, 17, 2, generator=generator)
    xy[0, 0, 0, 3], xy[0, 0, 1, 3] = 1e5, -1e9
    scores = 1.2 * torch.rand(3, 2, 4, 17, generator=generator)
    scores = scores * (torch.rand(scores.shape, generator=generator) < 0.7)
    ours = render_keypoints(xy, scores, SIZE, scale)
    with bindings.use(bindings.REFERENCE):
        reference = render_keypoints(xy, scores, SIZE, scale)
    torch.testing.assert_close(ours, reference, rtol=0, atol=1e-6)
    assert torch.equal(ours > 0, reference > 0) and ours.max() == 1
    transposed = xy.transpose(2, 3).contiguous().transpose(2, 3)
    assert torch.equal(render_keypoints(transposed, scores, SIZE, scale), ours)


def test_nobody():
    assert render_keypoints(torch.zeros(1, 2, 0, 3, 2), torch.zeros(1, 2, 0, 3), SIZE).max() == 0
    assert box_side(torch.zeros(3, 2), torch.zeros(3, dtype=torch.bool)) == 0


def test_volume_is_the_gaussian_of_the_nearest_valid_centre():
    points = torch.tensor([[[0.0, 0, 0], [200, 0, 0], [1000, 0, 0], [5000, 0, 0]]])
    centers = torch.tensor([[[0.0, 0, 0], [1000, 0, 0], [5000, 0, 0]]])
    valid = torch.tensor([[True, True, False]])
    values = gaussian_volume(points, centers, valid, 200.0)[0]
    torch.testing.assert_close(values[:3], torch.tensor([1.0, math.exp(-0.5), 1.0]))
    assert values[3] < 1e-6
    assert gaussian_volume(points, centers, ~valid & False, 200.0).max() == 0
