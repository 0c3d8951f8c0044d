"""Last step of a pose: move each joint to the nearby place that the heatmaps agree on."""

from __future__ import annotations

import torch

from voxelpose_core.voxel import (
    Boxes,
    PackedHeatmaps,
    Views,
    box_points,
    feature_volumes,
    pack_heatmaps,
)

# A person grid of 64 mm resolves a joint less finely than the views do together: within this reach,
# mm, and on a grid of so many voxels, their mean is looked at again.
_REACH = 100.0
_VOXELS = 9
# Voxels count by their heatmap value to this power, which narrows the Gaussians to a quarter.
_SHARPNESS = 16


def joint_heat(joints: torch.Tensor, heatmaps: torch.Tensor | PackedHeatmaps, views: Views) -> torch.Tensor:
    """Mean heatmap value at each joint's projections, over the views that see it.

    Args:
        joints: (P, J, 3), mm.
        heatmaps: (1, V, J, H, W), packed or not.
        views: the views of one scene.

    Returns:
        (P, J) in [0, 1]; 0 where no view sees the joint.
    """
    return _own_heat(joints, heatmaps, views, 0.0, 1)[..., 0]


def _own_heat(
    joints: torch.Tensor,
    heatmaps: torch.Tensor | PackedHeatmaps,
    views: Views,
    edge: float,
    voxels: int,
) -> torch.Tensor:
    """(P, J, M) mean heatmap value of each joint at the voxels of a cube around it, edge in mm."""
    people, count = joints.shape[:2]
    own = torch.arange(count, device=joints.device)
    # Every joint in the cube of every other: waste, but one call of a fast kernel.
    cubes = Boxes.in_one_scene(joints.flatten(0, 1), (edge,) * 3, (voxels,) * 3)
    volumes = feature_volumes(heatmaps, views, cubes)
    return volumes.unflatten(0, (people, count))[:, own, own].flatten(2)


def refine_joints(
    joints: torch.Tensor,
    heatmaps: torch.Tensor | PackedHeatmaps,
    views: Views,
    least_heat: float,
    passes: int = 2,
) -> torch.Tensor:
    """One or more mean-shift steps of every joint on the averaged heatmaps.

    A sum of Gaussians, one per view, is a robust vote: a view that saw something else elsewhere does
    not pull (Comaniciu and Meer, "Mean Shift", PAMI 2002, with the heatmaps as kernels).

    Args:
        joints: (P, J, 3), mm.
        heatmaps: (1, V, J, H, W), packed or not.
        views: the views of one scene.
        least_heat: joints whose neighbourhood stays below this mean value do not move.
        passes: how many steps.

    Returns:
        (P, J, 3), mm.
    """
    heatmaps = pack_heatmaps(heatmaps)
    cube = box_points(joints.new_zeros(1, 3), (2 * _REACH,) * 3, (_VOXELS,) * 3)[0]
    for _ in range(passes):
        heat = _own_heat(joints, heatmaps, views, 2 * _REACH, _VOXELS)
        peak = heat.amax(dim=-1, keepdim=True)
        votes = (heat / peak.clamp(min=1e-6)) ** _SHARPNESS
        mean = joints + (votes @ cube) / votes.sum(dim=-1, keepdim=True).clamp(min=1e-6)
        joints = torch.where(peak >= least_heat, mean, joints)
    return joints
