"""Axis-aligned boxes of voxels in the world."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from voxelpose_core.errors import InputError

# A hall of 100 x 100 x 3 m at the shipped pitch.
_MAX_VOXELS = 2**24


def box_axes(
    size: Sequence[float],
    voxels: Sequence[int],
    device: torch.device,
    dtype: torch.dtype = torch.float32,
) -> list[torch.Tensor]:
    """Offsets (X,), (Y,) and (Z,) of a box's voxels from its centre, mm; see `box_points`."""
    return [
        torch.linspace(-edge / 2, edge / 2, count, device=device, dtype=dtype)
        for edge, count in zip(size, voxels, strict=True)
    ]


def box_points(
    centers: torch.Tensor, size: Sequence[float], voxels: Sequence[int]
) -> torch.Tensor:
    """World positions of every voxel of N equal boxes.

    The outermost voxels lie on the faces of the box, so the pitch is size / (voxels - 1), as in
    VoxelPose (`compute_grid`).

    Args:
        centers: (N, 3), mm.
        size: edge lengths of the box, mm.
        voxels: X, Y, Z, the number of voxels along each edge.

    Returns:
        (N, X * Y * Z, 3), mm, x-major.
    """
    axes = box_axes(size, voxels, centers.device, centers.dtype)
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(-1, 3)
    return centers[:, None] + grid


def fit_voxels(size: Sequence[float], pitch: float) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Fill a box with voxels of a given pitch.

    Voxels are the centres of cells of that pitch that tile the box, so the outermost lie half a
    pitch inside its faces. V2V halves the volume twice, so every edge gets a multiple of four.

    Args:
        size: edge lengths of the box, mm.
        pitch: distance between voxels, mm.

    Returns:
        edge lengths between the outermost voxels, mm, and X, Y, Z.

    Raises:
        InputError: when no memory could hold them.
    """
    # A tenth of a voxel of slack: 2000.0001 mm must not cost four more layers.
    voxels = tuple(4 * max(1, math.ceil((edge / pitch - 0.1) / 4)) for edge in size)
    if math.prod(voxels) > _MAX_VOXELS:
        raise InputError(
            f"space of {' x '.join(f'{edge:g}' for edge in size)} mm has {math.prod(voxels)} voxels "
            f"of {pitch:g} mm, expected at most {_MAX_VOXELS}"
        )
    return tuple(pitch * (count - 1) for count in voxels), voxels
