"""The public voxel op: a compiled kernel where there is one, else the torch reference."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from voxelpose_core.voxel import torch_reference
from voxelpose_core.voxel.native import Boxes, SamplingGrid, Volumes, find_spots, kernel_for
from voxelpose_core.voxel.views import Views

# A pixel's number and two fractions.
_BYTES_PER_SAMPLE = 12
_MOST_GRID_BYTES = 2**28


def feature_volumes(
    heatmaps: torch.Tensor,
    views: Views,
    centers: torch.Tensor,
    scene: torch.Tensor,
    size: Sequence[float],
    voxels: Sequence[int],
    count_points_behind: bool = False,
    dtype: torch.dtype | None = None,
    channels_last: bool = False,
    grid: SamplingGrid | None = None,
) -> torch.Tensor:
    """Mean heatmap value of every voxel over the views that see it (VoxelPose, section 3.1).

    `torch_reference.feature_volumes` is the definition. The kernels compute in float32 and
    differentiate with respect to the heatmaps, once; float64 heatmaps are the reference's.

    Args:
        heatmaps: (B, V, J, H, W).
        views: the V views of each of the B scenes.
        centers: (N, 3) centres of the boxes, mm.
        scene: (N,) index of the scene that each box lies in.
        size: edge lengths of every box, mm.
        voxels: X, Y, Z.
        count_points_behind: also count mirrored points behind a camera, as the original does.
        dtype: of the volumes; None: the heatmaps'.
        channels_last: memory format torch.channels_last_3d, which convolutions take as it is.
        grid: `sampling_grid` of the same cameras and boxes, which spares finding it again. The
            reference does without.

    Returns:
        (N, J, X, Y, Z).

    Raises:
        ValueError: shapes that do not go together, or a scene index out of range (on CUDA devices
            the latter ends the process's work on the device, as torch's own indexing does).
    """
    _check(heatmaps, views, centers, scene, voxels)
    dtype = dtype or heatmaps.dtype
    kernel = kernel_for(heatmaps.device)
    if kernel is None or heatmaps.dtype == torch.float64:
        volumes = torch_reference.feature_volumes(
            heatmaps, views, centers, scene, size, voxels, count_points_behind
        ).to(dtype)
        memory_format = torch.channels_last_3d if channels_last else torch.contiguous_format
        return volumes.contiguous(memory_format=memory_format)
    if grid is not None:
        _check_grid(grid, heatmaps, centers, voxels)
    written = dtype if dtype in kernel.dtypes else torch.float32
    boxes = Boxes(views, centers, scene, size, voxels, count_points_behind)
    arguments = (kernel, boxes, channels_last, written, grid)
    if torch.is_grad_enabled() and heatmaps.requires_grad:
        return _FeatureVolumes.apply(heatmaps, *arguments).to(dtype)
    return _forward(heatmaps, *arguments)[0].to(dtype)


def sampling_grid(
    views: Views,
    centers: torch.Tensor,
    scene: torch.Tensor,
    size: Sequence[float],
    voxels: Sequence[int],
    heatmap_size: tuple[int, int],
    count_points_behind: bool = False,
) -> SamplingGrid | None:
    """Where `feature_volumes` samples the views for boxes that never move before fixed cameras.

    Which views are present is asked at each call of `feature_volumes`, not here.

    Args:
        heatmap_size: (width, height), pixels; for the others see `feature_volumes`.

    Returns:
        None where the reference runs, or where the grid would take more than 256 MiB.
    """
    kernel = kernel_for(centers.device)
    count = len(centers) * len(views) * math.prod(voxels)
    if kernel is None or count * _BYTES_PER_SAMPLE > _MOST_GRID_BYTES:
        return None
    boxes = Boxes(views, centers, scene, size, voxels, count_points_behind)
    return find_spots(kernel, boxes, heatmap_size)


class _FeatureVolumes(torch.autograd.Function):
    @staticmethod
    def forward(ctx, heatmaps, kernel, *arguments):
        volumes, ctx.call = _forward(heatmaps, kernel, *arguments)
        ctx.kernel, ctx.dtype = kernel, heatmaps.dtype
        return volumes

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        return ctx.call.backward(ctx.kernel, gradient).to(ctx.dtype), *(None,) * 5


def _forward(heatmaps, kernel, boxes, channels_last, dtype, grid) -> tuple[torch.Tensor, Volumes]:
    call = Volumes.prepare(kernel, heatmaps, boxes, channels_last, dtype, grid)
    return call.forward(kernel, dtype), call


def _check(heatmaps, views, centers, scene, voxels) -> None:
    expected = tuple(heatmaps.shape[:2])
    if tuple(views.K.shape[:2]) != expected:
        raise ValueError(f"views are {tuple(views.K.shape[:2])}, expected {expected} as heatmaps")
    if centers.ndim != 2 or centers.shape[1] != 3 or tuple(scene.shape) != (len(centers),):
        raise ValueError(
            f"centers are {tuple(centers.shape)} and scene {tuple(scene.shape)}, "
            "expected (N, 3) and (N,)"
        )
    if len(voxels) != 3 or min(voxels) < 1:
        raise ValueError(f"voxels are {tuple(voxels)}, expected three positive numbers")
    if scene.device.type == "cpu" and len(scene):
        low, high = scene.aminmax()
        if low < 0 or high >= len(heatmaps):
            raise ValueError(f"scene is in {low}..{high}, expected 0..{len(heatmaps) - 1}")


def _check_grid(grid, heatmaps, centers, voxels) -> None:
    expected = (len(centers), heatmaps.shape[1], math.prod(voxels))
    if tuple(grid.pixel.shape) != expected:
        raise ValueError(f"grid is {tuple(grid.pixel.shape)}, expected {expected} as boxes and views")
    size = (heatmaps.shape[-1], heatmaps.shape[-2])
    if grid.heatmap_size != size:
        raise ValueError(f"grid is for heatmaps of {grid.heatmap_size}, expected {size}")
