"""Axis-aligned boxes of voxels in the world, and where fixed cameras are sampled for them."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from voxelpose_core.errors import InputError

# A hall of 100 x 100 x 3 m at the shipped pitch.
_MAX_VOXELS = 2**24


@dataclass(frozen=True)
class SamplingGrid:
    """Where each of V views is sampled for the M voxels of each of N boxes that never move.

    Attributes:
        pixel: (N, V, M) int32, top left tap in the packed heatmap; -1 where the voxel is not seen.
        right, down: (N, V, M) float32, how far right of it and below it, pixels.
        heatmap_size: (width, height) of the heatmaps it is for.
    """

    pixel: torch.Tensor
    right: torch.Tensor
    down: torch.Tensor
    heatmap_size: tuple[int, int]

    @property
    def tensors(self) -> list[torch.Tensor]:
        """`pixel`, `right` and `down`."""
        return [self.pixel, self.right, self.down]


@dataclass(frozen=True)
class Boxes:
    """N boxes of voxels, all of the same size, in B scenes.

    Attributes:
        centers: (N, 3), mm.
        scene: (N,) int64, index of the scene in which each box lies, 0 to B - 1.
        size: edge lengths between the outermost voxels, mm.
        voxels: X, Y, Z, the number of voxels along each edge.
        sampling: `sampling_grid` of these boxes and the same cameras, so that the kernels need not
            project the voxels at every call; None: they do. The torch reference always does.

    Raises:
        ValueError: shapes that do not go together.
    """

    centers: torch.Tensor
    scene: torch.Tensor
    size: Sequence[float]
    voxels: Sequence[int]
    sampling: SamplingGrid | None = None

    def __post_init__(self):
        centers, scene = tuple(self.centers.shape), tuple(self.scene.shape)
        if len(centers) != 2 or centers[1] != 3 or scene != centers[:1]:
            raise ValueError(f"centers are {centers} and scene {scene}, expected (N, 3) and (N,)")
        if len(self.voxels) != 3 or min(self.voxels) < 1:
            raise ValueError(f"voxels are {tuple(self.voxels)}, expected three positive numbers")

    @classmethod
    def in_one_scene(cls, centers: torch.Tensor, size: Sequence[float], voxels: Sequence[int]) -> Boxes:
        """Boxes of a single scene (B = 1); see the attributes."""
        scene = torch.zeros(len(centers), dtype=torch.int64, device=centers.device)
        return cls(centers, scene, size, voxels)

    def points(self) -> torch.Tensor:
        """(N, X * Y * Z, 3) positions of the voxels, mm, x-major; see `box_points`."""
        return box_points(self.centers, self.size, self.voxels)

    def __len__(self) -> int:
        """N, the number of boxes."""
        return self.centers.shape[0]


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


@functools.lru_cache(maxsize=64)
def cached_axes(size: tuple[float, ...], voxels: tuple[int, ...], device: torch.device) -> list[torch.Tensor]:
    """`box_axes` (X,), (Y,), (Z,), mm, in float32, kept: on a GPU each call would compute them anew."""
    return box_axes(size, voxels, device)


def box_points(centers: torch.Tensor, size: Sequence[float], voxels: Sequence[int]) -> torch.Tensor:
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


def fit_voxels(
    size: Sequence[float], pitch: float
) -> tuple[tuple[float, float, float], tuple[int, int, int]]:
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
    x, y, z = (4 * max(1, math.ceil((edge / pitch - 0.1) / 4)) for edge in size)
    voxels = (x, y, z)
    if math.prod(voxels) > _MAX_VOXELS:
        raise InputError(
            f"space of {' x '.join(f'{edge:g}' for edge in size)} mm has {math.prod(voxels)} voxels "
            f"of {pitch:g} mm, expected at most {_MAX_VOXELS}"
        )
    return (pitch * (x - 1), pitch * (y - 1), pitch * (z - 1)), voxels
