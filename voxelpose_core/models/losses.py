"""Losses of the two networks."""

from __future__ import annotations

import torch

from voxelpose_core.heatmaps import gaussian_volume

# Standard deviations of the targets, mm: the root volume's is the original's, the joints' is about
# one voxel of the small preset.
ROOT_SIGMA = 200.0
JOINT_SIGMA = 60.0
# Weight of the volumetric cross-entropy beside the L1 distance in decimetres. The soft-argmax alone
# gives a flat distribution no direction to sharpen in, and training stalls for a long time.
CROSS_ENTROPY_WEIGHT = 0.15


def root_loss(
    root_volumes: torch.Tensor, points: torch.Tensor, roots: torch.Tensor, valid: torch.Tensor
) -> torch.Tensor:
    """Mean squared error of root volumes (VoxelPose, equation 1).

    Args:
        root_volumes: (B, X, Y, Z).
        points: (B, X * Y * Z, 3) positions of their voxels, mm.
        roots: (B, P, 3) of the people, mm.
        valid: (B, P) bool, which people count.
    """
    target = gaussian_volume(points, roots, valid, ROOT_SIGMA)
    return (root_volumes.flatten(1) - target).square().mean()


def joint_loss(
    log_probability: torch.Tensor,
    points: torch.Tensor,
    joints: torch.Tensor,
    weights: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """L1 distance (VoxelPose, equation 4) beside a volumetric cross-entropy.

    Args:
        log_probability: (N, J, M) of every voxel to be each joint.
        points: (N, M, 3) positions of the voxels, mm.
        joints: (N, J, 3) true joints, mm.
        weights: (N, J).

    Returns:
        the loss, and the weighted mean joint error in mm (detached).
    """
    predicted = log_probability.exp() @ points
    total = weights.sum().clamp(min=1e-6)
    offset = predicted - joints
    l1 = (offset.abs().mean(dim=-1) * weights).sum() / total / 100.0

    squared = (points[:, None] - joints[:, :, None]).square().sum(dim=-1)
    target = torch.softmax(-squared / (2 * JOINT_SIGMA**2), dim=-1)
    cross_entropy = (-(target * log_probability).sum(dim=-1) * weights).sum() / total
    error = (offset.detach().norm(dim=-1) * weights).sum() / total
    return l1 + CROSS_ENTROPY_WEIGHT * cross_entropy, error
