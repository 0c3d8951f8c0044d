"""The voxel op in plain PyTorch: its definition."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from voxelpose_core.voxel.boxes import Boxes
from voxelpose_core.voxel.views import Views, project, project_counting_behind


def feature_volumes(
    heatmaps: torch.Tensor,
    views: Views,
    boxes: Boxes,
    count_points_behind: bool = False,
) -> torch.Tensor:
    """Mean heatmap value of every voxel over the views that see it (VoxelPose, section 3.1).

    Each voxel is projected into each view and the heatmaps are sampled there bilinearly
    (align_corners); views that do not see the voxel do not count. Clamped to [0, 1].

    Args:
        heatmaps: (B, V, J, H, W).
        views: the V views of each of the B scenes.
        boxes: N boxes of X x Y x Z voxels.
        count_points_behind: also count mirrored points behind a camera, as the original does.

    Returns:
        (N, J, X, Y, Z), in the heatmaps' dtype.
    """
    points, scene = boxes.points(), boxes.scene
    count, joints = len(boxes), heatmaps.shape[2]
    see = project_counting_behind if count_points_behind else project
    total = heatmaps.new_zeros(count, joints, points.shape[1])
    weight = heatmaps.new_zeros(count, 1, points.shape[1])
    for index in range(heatmaps.shape[1]):
        view = views.map(lambda tensor, i=index: tensor[scene, i])
        pixels, seen = see(points, view)
        seen = seen[:, None].to(heatmaps.dtype)
        total = total + seen * sample(heatmaps[scene, index], pixels, view.to_heatmap)
        weight = weight + seen
    mean = total / (weight + 1e-6)
    return mean.clamp(0.0, 1.0).reshape(count, joints, *boxes.voxels)


def sample(heatmaps: torch.Tensor, pixels: torch.Tensor, to_heatmap: torch.Tensor) -> torch.Tensor:
    """Sample heatmaps bilinearly at image pixels.

    Args:
        heatmaps: (N, J, H, W).
        pixels: (N, M, 2) in the original image.
        to_heatmap: (N, 2, 3) affine from image to heatmap pixels.

    Returns:
        (N, J, M); zero beyond the heatmap.
    """
    height, width = heatmaps.shape[-2:]
    position = pixels @ to_heatmap[:, :, :2].transpose(-1, -2) + to_heatmap[:, None, :, 2]
    extent = position.new_tensor([width - 1, height - 1])
    # Far-off points would overflow grid_sample's index arithmetic; beyond 1.1 all is zero anyway.
    grid = (position / extent * 2 - 1).nan_to_num(-1.1).clamp(-1.1, 1.1)
    return F.grid_sample(
        heatmaps, grid[:, None].to(heatmaps.dtype), align_corners=True, padding_mode="zeros"
    )[:, :, 0]
