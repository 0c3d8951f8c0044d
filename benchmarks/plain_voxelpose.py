"""VoxelPose step by step as the original does it, for the benchmark to compare with.

Grids are rebuilt in every frame; views and people are loops in Python; each view is sampled into
its slice of a (1, J, M, V) tensor, which is summed up afterwards; every network runs in float32 on
contiguous volumes with its batch norms apart. The arithmetic is `feature_volumes` with
`count_points_behind`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from voxelpose_core.models.voxelpose import ProposalGrid, VoxelPose
from voxelpose_core.voxel import Views


def plain_grid(center: torch.Tensor, size: Sequence[float], voxels: Sequence[int]) -> torch.Tensor:
    """(M, 3) voxel positions of one box at center (3,), mm."""
    axes = [
        torch.linspace(-edge / 2, edge / 2, count, device=center.device) + middle
        for edge, count, middle in zip(size, voxels, center, strict=True)
    ]
    return torch.stack([axis.reshape(-1) for axis in torch.meshgrid(*axes, indexing="ij")], dim=1)


def plain_pixels(points: torch.Tensor, views: Views, view: int) -> torch.Tensor:
    """(M, 2) pixels of world points (M, 3) in one view of a scene, five distortion coefficients."""
    local = views.R[0, view] @ (points.T - views.C[0, view][:, None])
    y = local[:2] / (local[2] + 1e-5)
    k1, k2, p1, p2, k3 = views.distortion[0, view, :5]
    r2 = torch.sum(y**2, dim=0)
    radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
    tangential = p1 * y[1] + p2 * y[0]
    bent = y * (radial + 2 * tangential) + torch.outer(torch.stack([p2, p1]), r2)
    K = views.K[0, view]
    focal, middle = torch.stack([K[0, 0], K[1, 1]]), K[:2, 2]
    return (focal[:, None] * bent + middle[:, None]).T


def plain_volume(
    heatmaps: Sequence[torch.Tensor],
    views: Views,
    center: torch.Tensor,
    size: Sequence[float],
    voxels: Sequence[int],
) -> torch.Tensor:
    """(1, J, X, Y, Z) of one box from V heatmaps (1, J, H, W) of one scene."""
    joints, height, width = heatmaps[0].shape[1:]
    count = voxels[0] * voxels[1] * voxels[2]
    device = heatmaps[0].device
    cubes = torch.zeros(1, joints, count, len(heatmaps), device=device)
    bounding = torch.zeros(1, 1, count, len(heatmaps), device=device)
    grid = plain_grid(center, size, voxels)
    last = torch.tensor([width - 1, height - 1], device=device)
    for index, heatmap in enumerate(heatmaps):
        pixels = plain_pixels(grid, views, index)
        image = views.image_size[0, index]
        bounding[0, 0, :, index] = (
            (pixels[:, 0] >= 0) & (pixels[:, 1] >= 0) & (pixels[:, 0] < image[0]) & (pixels[:, 1] < image[1])
        )
        pixels = torch.clamp(pixels, -1.0, float(image.max()))
        ones = torch.ones(count, 1, device=device)
        position = torch.cat([pixels, ones], dim=1) @ views.to_heatmap[0, index].T
        sampling = torch.clamp((position / last * 2.0 - 1.0).reshape(1, 1, count, 2), -1.1, 1.1)
        cubes[:, :, :, index] += F.grid_sample(heatmap, sampling, align_corners=True)[:, :, 0]
    total = torch.sum(torch.mul(cubes, bounding), dim=-1)
    mean = total / (torch.sum(bounding, dim=-1) + 1e-6)
    mean[mean != mean] = 0.0
    return mean.clamp(0.0, 1.0).reshape(1, joints, *voxels)


def plain_proposals(
    model: VoxelPose, heatmaps: Sequence[torch.Tensor], views: Views, grid: ProposalGrid, people: int
) -> torch.Tensor:
    """(P, 3) centres of the strongest proposals, mm."""
    center = torch.tensor(grid.center, device=heatmaps[0].device)
    root = model.root_net(plain_volume(heatmaps, views, center, grid.size, grid.voxels))
    peaks = F.max_pool3d(root[:, None], 3, 1, 1)[:, 0] == root
    flat = torch.where(peaks, root, torch.zeros_like(root)).flatten().topk(people).indices
    return plain_grid(center, grid.size, grid.voxels)[flat]


def plain_pose(
    model: VoxelPose, heatmaps: Sequence[torch.Tensor], views: Views, center: torch.Tensor
) -> torch.Tensor:
    """(J, 3) joints of the person at center (3,), mm."""
    person = model.config.pict_struct
    volume = plain_volume(heatmaps, views, center, person.grid_size, person.cube_size)
    scores = model.pose_net.v2v_net(volume)
    probability = F.softmax(model.pose_net.beta * scores.flatten(2), dim=2)
    grid = plain_grid(center, person.grid_size, person.cube_size)
    return torch.sum(probability[0, :, :, None] * grid, dim=1)


@torch.no_grad()
def plain_frame(
    model: VoxelPose, heatmaps: torch.Tensor, views: Views, grid: ProposalGrid, people: int
) -> torch.Tensor:
    """(P, J, 3) joints, mm, of the strongest proposals of one frame's heatmaps (1, V, J, H, W)."""
    maps = list(heatmaps.unbind(1))
    centers = plain_proposals(model, maps, views, grid, people)
    return torch.stack([plain_pose(model, maps, views, center) for center in centers])
