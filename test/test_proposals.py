"""Peaks of root volumes whose people are known."""

import pytest
import torch

from voxelpose_core.heatmaps import gaussian_volume
from voxelpose_core.models.cuboid_proposal import _largest_nearby, select_proposals
from voxelpose_core.voxel import box_points

CENTER, VOXELS = (500.0, -250.0, 900.0), (16, 20, 12)
SIZE = tuple(125.0 * (count - 1) for count in VOXELS)
PEOPLE = torch.tensor([[[320.0, -700.0, 850.0], [790.0, 260.0, 1010.0]]])


def select(people, scores=(1.0, 0.7), **options):
    points = box_points(torch.tensor([CENTER]), SIZE, VOXELS)
    volumes = [
        score * gaussian_volume(points, people[:, [index]], torch.ones(1, 1).bool(), 200.0)
        for index, score in enumerate(scores)
    ]
    volume = torch.stack(volumes).amax(dim=0).unflatten(1, VOXELS)
    return select_proposals(volume, CENTER, SIZE, 4, 0.3, **options)


def test_centres_of_the_original_are_voxels():
    found = select(PEOPLE)
    assert found.valid[0].tolist() == [True, True, False, False]
    voxels = (found.centers[0, :2] - torch.tensor(CENTER) + torch.tensor(SIZE) / 2) / 125.0
    torch.testing.assert_close(voxels, voxels.round(), atol=1e-3, rtol=0)
    assert (found.centers[0, :2] - PEOPLE[0]).abs().max() <= 62.6


def test_peaks_between_voxels():
    found = select(PEOPLE, between_voxels=True)
    torch.testing.assert_close(found.centers[0, :2], PEOPLE[0], atol=2.0, rtol=0)
    assert torch.equal(found.scores, select(PEOPLE).scores)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_peak_on_the_border_stays_there(axis):
    people = PEOPLE.clone()
    people[0, 0, axis] = CENTER[axis] - SIZE[axis] / 2 - 40.0
    center = select(people, between_voxels=True).centers[0, 0]
    assert center[axis] == pytest.approx(CENTER[axis] - SIZE[axis] / 2, abs=1e-2)
    others = [a for a in range(3) if a != axis]
    torch.testing.assert_close(center[others], people[0, 0][others], atol=2.0, rtol=0)


def test_flat_volumes_give_finite_centres():
    found = select_proposals(torch.zeros(1, *VOXELS), CENTER, SIZE, 3, 0.3, between_voxels=True)
    assert found.centers.isfinite().all() and not found.valid.any()


def test_peaks_are_the_largest_of_their_neighbourhood():
    volume = torch.rand(2, 7, 5, 6, generator=torch.Generator().manual_seed(1))
    expected = torch.nn.functional.max_pool3d(volume[:, None], 3, stride=1, padding=1)[:, 0]
    assert torch.equal(_largest_nearby(volume), expected)
    thin = volume[:, :1]
    expected = torch.nn.functional.max_pool3d(thin[:, None], 3, stride=1, padding=1)[:, 0]
    assert torch.equal(_largest_nearby(thin), expected)
