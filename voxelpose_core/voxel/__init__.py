"""The voxel op: 2D heatmaps of calibrated views -> 3D feature volumes."""

from voxelpose_core.voxel.boxes import box_points, fit_voxels
from voxelpose_core.voxel.native import SamplingGrid, implementation, unchanged_heatmaps
from voxelpose_core.voxel.op import feature_volumes, sampling_grid
from voxelpose_core.voxel.pointwise import (
    Pointwise,
    output_scores,
    projection_shortcut,
    soft_argmax,
)
from voxelpose_core.voxel.views import Views

__all__ = [
    "Pointwise",
    "SamplingGrid",
    "Views",
    "box_points",
    "feature_volumes",
    "fit_voxels",
    "implementation",
    "output_scores",
    "projection_shortcut",
    "sampling_grid",
    "soft_argmax",
    "unchanged_heatmaps",
]
