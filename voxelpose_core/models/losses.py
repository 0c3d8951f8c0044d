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

    cross_entropy = volume_cross_entropy(log_probability, points, joints)
    cross_entropy = (cross_entropy * weights).sum() / total
    error = (offset.detach().norm(dim=-1) * weights).sum() / total
    return l1 + CROSS_ENTROPY_WEIGHT * cross_entropy, error


def volume_cross_entropy(
    log_probability: torch.Tensor, points: torch.Tensor, joints: torch.Tensor
) -> torch.Tensor:
    """(N, J) cross-entropy of predicted joint volumes against Gaussians at the true joints.

    Args:
        log_probability: (N, J, M) of every voxel to be each joint.
        points: (N, M, 3) positions of the voxels, mm.
        joints: (N, J, 3) true joints, mm.
    """
    squared = (points[:, None] - joints[:, :, None]).square().sum(dim=-1)
    target = torch.softmax(-squared / (2 * JOINT_SIGMA**2), dim=-1)
    return -(target * log_probability).sum(dim=-1)


def heatmap_loss(heatmaps: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Mean squared error of 2D heatmaps (Simple Baselines, section 3).

    Args:
        heatmaps: (B, V, J, H, W).
        targets: (B, V, J, H, W).
        weights: (B, V, J), 0 for joints that no person in the view shows.
    """
    return ((heatmaps - targets) * weights[..., None, None]).square().mean()


def coordinate_loss(predicted: torch.Tensor, joints: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """(N,) mean L1 distance of people's joints, mm (VoxelPose, equation 4).

    Args:
        predicted: (N, J, 3), mm.
        joints: (N, J, 3) true joints, mm.
        weights: (N, J), 0 for joints that were not labelled; they count as right.
    """
    return ((predicted - joints).abs() * weights[..., None]).mean(dim=(1, 2))


def mean_over_scenes(values: torch.Tensor, scene: torch.Tensor, count: int) -> torch.Tensor:
    """Mean over `count` scenes of the mean of the values (N,) that belong to each, scenes (N,).

    So a frame weighs the same in a batch of one and in one of many, on one GPU and on several. A
    scene without values counts as 0.
    """
    in_scene = torch.bincount(scene, minlength=count)
    return (values / in_scene[scene]).sum() / count
