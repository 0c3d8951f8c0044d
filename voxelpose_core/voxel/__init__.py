"""The voxel op: 2D heatmaps of calibrated views -> 3D feature volumes."""

from voxelpose_core.voxel.bindings import implementation
from voxelpose_core.voxel.boxes import Boxes, SamplingGrid, box_points, fit_voxels
from voxelpose_core.voxel.op import (
    PackedHeatmaps,
    feature_volumes,
    pack_heatmaps,
    sampling_grid,
)
from voxelpose_core.voxel.pointwise import (
    Pointwise,
    output_scores,
    projection_shortcut,
    soft_argmax,
)
from voxelpose_core.voxel.views import Views

__all__ = [
    "Boxes",
    "PackedHeatmaps",
    "Pointwise",
    "SamplingGrid",
    "Views",
    "box_points",
    "feature_volumes",
    "fit_voxels",
    "implementation",
    "output_scores",
    "pack_heatmaps",
    "projection_shortcut",
    "sampling_grid",
    "soft_argmax",
]
