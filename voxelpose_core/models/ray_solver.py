"""The closed form at the heart of the ray model: joints from weighted rays and a prior.

Each joint is the minimum of

    sum_i w_i |(I - d_i d_i^T)(x - o_i)|^2 + lambda |x - mu|^2

over rays with origins o_i and directions d_i: A x = b with the symmetric 3x3 matrix
A = sum_i w_i (I - d_i d_i^T) + lambda I. (`voxelpose_core/models/ray_pose.py` tells where the weights
come from.)

Everything here can be traced into a fixed graph: no step depends on values, and sizes are read from
tensors. Small tensors in many operations cost more in overhead than in arithmetic, so matrices are
built by index tables in place of one operation per entry.

Shapes: M candidates, T chosen detections each, J joints. Lengths are in units of 300 mm around the
candidate's centre.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch

# The net's unit of length, mm.
UNIT = 300.0
# A ray that passes a joint by so much counts 1 / e of one through it, mm.
TRUST = 150.0
# Standard deviation of a ray and of the prior before training, mm.
RAY_DEVIATION = 50.0
PRIOR_DEVIATION = 500.0

# Symmetric matrices are six numbers, xx, yy, zz, xy, xz, yz: which of a vector's entries they multiply,
# where they stand in the full matrix, and the four factors of each cofactor.
_FIRST, _SECOND = (0, 1, 2, 0, 0, 1), (0, 1, 2, 1, 2, 2)
_FULL = (0, 3, 4, 3, 1, 5, 4, 5, 2)
_COFACTORS = ((1, 0, 0, 4, 3, 3), (2, 2, 1, 5, 5, 4), (5, 4, 3, 2, 1, 0), (5, 4, 3, 3, 4, 5))
_FIRST_ROW = (0, 3, 4)
# From the unit vector (x, y) from the right to the left side to the matrix that turns who faces along
# (y, -x) to face along the x-axis, as (2, 9), and its constant part.
_TURN = ((0, 1, 0, -1, 0, 0, 0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 0))
_UPRIGHT = (0, 0, 0, 0, 0, 0, 0, 0, 1)
# COCO-17's left and right shoulder, left and right hip.
_SIDES = {5: 1.0, 6: -1.0, 11: 1.0, 12: -1.0}


@lru_cache(maxsize=256)
def _constant(values: tuple, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    # Made outside inference mode, whose tensors a later training could not use.
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=dtype, device=device)


def _entries(tensor: torch.Tensor, places: tuple[int, ...]) -> torch.Tensor:
    """Entries of the last axis, in that order."""
    return tensor.index_select(-1, _constant(places, torch.long, tensor.device))


def invert_symmetric(matrix: torch.Tensor) -> torch.Tensor:
    """Inverses (..., 6) of symmetric positive 3x3 matrices (..., 6): xx, yy, zz, xy, xz, yz."""
    a, b, c, d = (_entries(matrix, places) for places in _COFACTORS)
    cofactors = a * b - c * d
    determinant = (_entries(matrix, _FIRST_ROW) * _entries(cofactors, _FIRST_ROW)).sum(-1, keepdim=True)
    return cofactors / determinant.clamp(min=1e-30)


def apply_symmetric(matrix: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
    """Products (..., 3) of symmetric matrices (..., 6) and vectors (..., 3)."""
    return (full_matrix(matrix) * vector[..., None, :]).sum(dim=-1)


def full_matrix(matrix: torch.Tensor) -> torch.Tensor:
    """Symmetric matrices (..., 6) as (..., 3, 3)."""
    return _entries(matrix, _FULL).unflatten(-1, (3, 3))


def facing(pose: torch.Tensor) -> torch.Tensor:
    """Matrices (M, 3, 3) whose product v R turns vectors v about the vertical so that poses (M, J, 3)
    face along x: their shoulders and hips say where the left side is."""
    sides = tuple(_SIDES.get(joint, 0.0) for joint in range(pose.shape[1]))
    left = _constant((sides,), pose.dtype, pose.device) @ pose.detach()[..., :2]
    left = left / left.norm(dim=-1, keepdim=True).clamp(min=1e-4)
    turn = left @ _constant(_TURN, pose.dtype, pose.device)
    return (turn + _constant(_UPRIGHT, pose.dtype, pose.device)).reshape(-1, 3, 3)


def turned(vectors: torch.Tensor, frame: torch.Tensor, back: bool = False) -> torch.Tensor:
    """Vectors (M, ..., 3) of the world in the frame of `facing` (M, 3, 3), or back."""
    if back:
        frame = frame.transpose(1, 2)
    return (vectors.flatten(1, -2) @ frame).reshape_as(vectors)


@dataclass(frozen=True)
class ChosenRays:
    """T detections of each of M candidates, in units around the candidate's centre.

    Attributes:
        origins: (M, T, 3).
        directions: (M, T, J, 3).
        scores, present: (M, T, J).
        view, rank: (M, T) the view, and the place among the view's nearest.
        nearest: (M, T) distance from the candidate.
        moments: (M, T, J, 3) the point of each ray nearest to the centre.
        equations: (M, J, T, 9) of each ray the six numbers of I - d d^T and the three of its right
            side.
        mirror: (J,) the partner of each joint on the other side.
    """

    origins: torch.Tensor
    directions: torch.Tensor
    scores: torch.Tensor
    present: torch.Tensor
    view: torch.Tensor
    rank: torch.Tensor
    nearest: torch.Tensor
    moments: torch.Tensor
    equations: torch.Tensor
    mirror: torch.Tensor

    @classmethod
    def of(cls, origins, directions, scores, view, rank, nearest, mirror) -> ChosenRays:
        present = (scores > 0).to(scores.dtype)
        start = origins[:, :, None]
        moments = start - directions * (start * directions).sum(dim=-1, keepdim=True)
        products = _entries(directions, _FIRST) * _entries(directions, _SECOND)
        identity = _constant((1, 1, 1, 0, 0, 0), directions.dtype, directions.device)
        equations = torch.cat([identity - products, moments], dim=-1).transpose(1, 2).contiguous()
        return cls(
            origins, directions, scores, present, view, rank, nearest, moments, equations, mirror
        )

    def nearest_points(self, pose: torch.Tensor) -> torch.Tensor:
        """(M, T, J, 3) from each joint of poses (M, J, 3) to the nearest point of its ray."""
        x = pose[:, None]
        along = (self.directions * x).sum(dim=-1, keepdim=True)
        return self.moments - x + self.directions * along

    def solve(self, weights, mean, precision) -> tuple[torch.Tensor, torch.Tensor]:
        """The minimum over rays and a prior.

        Args:
            weights: (M, T, J, 1) of each ray for its joint, or (M, T, J, 2): also for the joint's
                partner on the other side, because detectors confuse left and right.
            mean: (M, J, 3) of the prior.
            precision: (M, J) of the prior.

        Returns:
            joints (M, J, 3) and the matrices A (M, J, 6) of the systems.
        """
        sums = weights.permute(0, 2, 3, 1) @ self.equations
        system = sums[:, :, 0]
        if weights.shape[-1] == 2:
            system = system + sums[:, :, 1].index_select(1, self.mirror)
        prior = precision[..., None]
        matrix = torch.cat([system[..., :3] + prior, system[..., 3:6]], dim=-1)
        right = system[..., 6:] + prior * mean
        return apply_symmetric(invert_symmetric(matrix), right), matrix


def triangulate_plainly(chosen: ChosenRays, upright: torch.Tensor) -> torch.Tensor:
    """(M, J, 3) the net's start: each view's nearest detection counts by how near it is, twice.

    Somebody upright is a weak prior; the second time rays count by how near they pass the first pose.

    Args:
        chosen: the rays.
        upright: (J, 3) joints of somebody upright around the mid-hip.
    """
    prior = upright.expand(chosen.origins.shape[0], -1, -1)
    precision = prior.new_full((1, 1), (UNIT / PRIOR_DEVIATION) ** 2)
    strength = (UNIT / RAY_DEVIATION) ** 2
    near = torch.exp(-(chosen.nearest * (UNIT / 250.0)).square()) * (chosen.rank == 0)
    weights = strength * near[..., None] * chosen.present
    pose = prior
    for _ in range(2):
        pose, _ = chosen.solve(weights[..., None], prior, precision)
        gap = chosen.nearest_points(pose).norm(dim=-1)
        weights = strength * torch.exp(-gap * (UNIT / TRUST)) * chosen.present
    return pose
