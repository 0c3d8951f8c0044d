"""Last step of a pose: move each joint to the nearby place that the heatmaps agree on."""

from __future__ import annotations

import torch

from voxelpose_core.voxel import Views, box_points, feature_volumes
from voxelpose_core.voxel.torch_reference import sample
from voxelpose_core.voxel.views import project

# A person grid of 64 mm resolves a joint less finely than the views do together: within this reach,
# mm, and on a grid of so many voxels, their mean is looked at again.
_REACH = 100.0
_VOXELS = 9
# Voxels count by their heatmap value to this power, which narrows the Gaussians to a quarter.
_SHARPNESS = 16


def joint_heat(
    points: torch.Tensor, heatmaps: torch.Tensor, views: Views
) -> torch.Tensor:
    """Mean heatmap value of each joint at candidate positions, over the views that see them.

    Args:
        points: (J, M, 3) M candidates for each joint, mm.
        heatmaps: (1, V, J, H, W).
        views: the views of one scene.

    Returns:
        (J, M) in [0, 1]; 0 where no view sees the point.
    """
    count = len(points)
    total = points.new_zeros(points.shape[:2])
    weight = points.new_zeros(points.shape[:2])
    for index in range(len(views)):
        view = views.map(lambda tensor, i=index: tensor[0, i].expand(count, *tensor.shape[2:]))
        pixels, seen = project(points, view)
        # Joints are the batch: each is looked up in its own heatmap.
        value = sample(heatmaps[0, index][:, None], pixels, view.to_heatmap)[:, 0]
        total += value * seen
        weight += seen
    return total / weight.clamp(min=1)


def refine_joints(
    joints: torch.Tensor, heatmaps: torch.Tensor, views: Views, least_heat: float, passes: int = 2
) -> torch.Tensor:
    """One or more mean-shift steps of every joint on the averaged heatmaps.

    A sum of Gaussians, one a view, is a robust vote: a view that saw something else elsewhere does
    not pull (Comaniciu and Meer, "Mean Shift", PAMI 2002, with the heatmaps as kernels).

    Args:
        joints: (P, J, 3), mm.
        heatmaps: (1, V, J, H, W).
        views: the views of one scene.
        least_heat: joints whose neighbourhood stays below this mean value do not move.
        passes: how many steps.

    Returns:
        (P, J, 3), mm.
    """
    people, count = joints.shape[:2]
    cube = box_points(joints.new_zeros(1, 3), (2 * _REACH,) * 3, (_VOXELS,) * 3)[0]
    scene = torch.zeros(people * count, dtype=torch.long, device=joints.device)
    own = torch.arange(count, device=joints.device)
    for _ in range(passes):
        # Every joint in the box of every other: waste, but one call of a fast kernel.
        volumes = feature_volumes(
            heatmaps, views, joints.flatten(0, 1), scene, (2 * _REACH,) * 3, (_VOXELS,) * 3
        )
        heat = volumes.unflatten(0, (people, count))[:, own, own].flatten(2)
        peak = heat.amax(dim=-1, keepdim=True)
        votes = (heat / peak.clamp(min=1e-6)) ** _SHARPNESS
        mean = joints + (votes @ cube) / votes.sum(dim=-1, keepdim=True).clamp(min=1e-6)
        joints = torch.where(peak >= least_heat, mean, joints)
    return joints
