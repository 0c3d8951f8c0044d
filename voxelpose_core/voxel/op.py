"""The public voxel op: a compiled kernel where there is one, else the torch reference."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from voxelpose_core.voxel import bindings, torch_ops, torch_reference
from voxelpose_core.voxel.boxes import Boxes, SamplingGrid
from voxelpose_core.voxel.views import Views

# A pixel's number and two fractions.
_BYTES_PER_SAMPLE = 12
_MOST_GRID_BYTES = 2**28
# PyTorch 2.1 and 2.2 do not tell; torch.compile then breaks the graph before the op.
_is_compiling = getattr(torch.compiler, "is_compiling", lambda: False)


@dataclass(frozen=True)
class PackedHeatmaps:
    """Heatmaps as the kernels read them, for callers that sample the same ones several times.

    Gradients flow through. Made by `pack_heatmaps`; later changes of the heatmaps are not seen.

    Attributes:
        shape: B, V, J, H, W.
        dtype: of the heatmaps.
        values: packed (see torch_ops.py); where the reference runs, the heatmaps as they are.
        occupied: (B, V, H + 2, W + 2) uint8, where a bilinear sample is not zero; None where the
            reference runs.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    values: torch.Tensor
    occupied: torch.Tensor | None

    @property
    def device(self) -> torch.device:
        """Where the heatmaps are."""
        return self.values.device


def pack_heatmaps(heatmaps: torch.Tensor | PackedHeatmaps) -> PackedHeatmaps:
    """Heatmaps (B, V, J, H, W) as the kernels read them; packed ones stay what they are."""
    if isinstance(heatmaps, PackedHeatmaps):
        return heatmaps
    values, occupied = heatmaps, None
    # The kernels compute in float32: float64 is the reference's.
    if heatmaps.dtype != torch.float64 and _has_kernel(heatmaps.device):
        values, occupied = torch.ops.voxelpose.pack_heatmaps(heatmaps)
    return PackedHeatmaps(tuple(heatmaps.shape), heatmaps.dtype, values, occupied)


def feature_volumes(
    heatmaps: torch.Tensor | PackedHeatmaps,
    views: Views,
    boxes: Boxes,
    count_points_behind: bool = False,
    dtype: torch.dtype | None = None,
    channels_last: bool = False,
) -> torch.Tensor:
    """Mean heatmap value of every voxel over the views that see it (VoxelPose, section 3.1).

    `torch_reference.feature_volumes` is the definition. The kernels compute in float32 and
    differentiate with respect to the heatmaps, once; float64 heatmaps are the reference's.

    Args:
        heatmaps: (B, V, J, H, W), or packed for more than one call.
        views: the V views of each of the B scenes.
        boxes: N boxes of X x Y x Z voxels.
        count_points_behind: also count mirrored points behind a camera, as the original does.
        dtype: of the volumes; None: the heatmaps'.
        channels_last: memory format torch.channels_last_3d, which convolutions take as it is.

    Returns:
        (N, J, X, Y, Z).

    Raises:
        ValueError: shapes that do not go together, or a scene index out of range (on CUDA devices
            the latter ends the process's work on the device, as torch's own indexing does).
    """
    _check(heatmaps, views, boxes)
    packed = pack_heatmaps(heatmaps)
    dtype = dtype or packed.dtype
    if packed.occupied is None:
        torch_ops.check_scene(boxes.scene, packed.shape[0])
        volumes = torch_reference.feature_volumes(packed.values, views, boxes, count_points_behind)
        memory_format = torch.channels_last_3d if channels_last else torch.contiguous_format
        return volumes.to(dtype).contiguous(memory_format=memory_format)
    return torch.ops.voxelpose.sample_volumes(
        packed.values,
        packed.occupied,
        packed.shape[2],
        views.table,
        boxes.centers,
        boxes.scene,
        boxes.size,
        boxes.voxels,
        boxes.sampling.tensors if boxes.sampling else [],
        count_points_behind,
        dtype,
        channels_last,
    )


def sampling_grid(
    views: Views,
    boxes: Boxes,
    heatmap_size: tuple[int, int],
    count_points_behind: bool = False,
) -> SamplingGrid | None:
    """Where `feature_volumes` samples the views for boxes that never move before fixed cameras.

    Which views are present is asked at each call of `feature_volumes`, not here.

    Args:
        views, boxes, count_points_behind: see `feature_volumes`.
        heatmap_size: (width, height), pixels.

    Returns:
        None where the reference runs, or where the grid would take more than 256 MiB.
    """
    device = boxes.centers.device
    kernel = bindings.kernel_for(device)
    shape = (len(boxes), len(views), math.prod(boxes.voxels))
    count = math.prod(shape)
    if kernel is None or count * _BYTES_PER_SAMPLE > _MOST_GRID_BYTES:
        return None
    pixel = torch.empty(shape, dtype=torch.int32, device=device)
    right, down = (torch.empty(shape, device=device) for _ in range(2))
    if count:
        scenes = len(views.table)
        problem = bindings.VoxelProblem.of_heatmaps(scenes, len(views), 0, 0, heatmap_size)
        problem.set_boxes(
            views.table, boxes.centers, boxes.scene, boxes.size, boxes.voxels, count_points_behind
        )
        kernel.call("voxel_spots", problem, pixel, right, down)
    return SamplingGrid(pixel, right, down, heatmap_size)


def _has_kernel(device: torch.device) -> bool:
    # torch.compile must not trace how a library is built. Without one the operators compute as the
    # reference does, so that a graph of them is right everywhere.
    return _is_compiling() or bindings.kernel_for(device) is not None


def _check(heatmaps: torch.Tensor | PackedHeatmaps, views: Views, boxes: Boxes) -> None:
    """That heatmaps, views and sampling grid belong together."""
    scenes, view_count, _, height, width = heatmaps.shape
    given = tuple(views.K.shape[:2])
    if given != (scenes, view_count):
        raise ValueError(f"views are {given}, expected {(scenes, view_count)} as heatmaps")
    if boxes.sampling is None:
        return
    samples, expected = (
        tuple(boxes.sampling.pixel.shape),
        (len(boxes), view_count, math.prod(boxes.voxels)),
    )
    if samples != expected:
        raise ValueError(f"grid is {samples}, expected {expected} as boxes and views")
    size = boxes.sampling.heatmap_size
    if size != (width, height):
        raise ValueError(f"grid is for heatmaps of {size}, expected {(width, height)}")
