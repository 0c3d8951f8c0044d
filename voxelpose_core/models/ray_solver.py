"""The closed form at the heart of the ray model: joints from weighted rays and a prior.

Each joint is the minimum of

    sum_i w_i |(I - d_i d_i^T)(x - o_i)|^2 + lambda |x - mu|^2

over rays with origins o_i and directions d_i: A x = b with the symmetric 3x3 matrix
A = sum_i w_i (I - d_i d_i^T) + lambda I. (`voxelpose_core/models/ray_pose.py` tells where the weights
come from.)

Everything here can be traced into a fixed graph: no step depends on values, and sizes are read from
tensors. Small tensors in many operations cost more in overhead than in arithmetic: matrices are built by
tables in place of one operation per entry, and vectors of rays have their components first, because
operations on long rows cost a tenth of those on threes.

Shapes: M candidates, T chosen detections each, J joints. Lengths are in units of 300 mm around the
candidate's centre.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch

from voxelpose_core.models.rays import components_first, lengths

# The net's unit of length, mm.
UNIT = 300.0
# A ray that passes a joint by so much counts 1 / e of one through it, mm.
TRUST = 150.0
# In the last, robust solve a ray that passes the net's joint by so much counts half, mm; the joint is held
# by so many times the precision of the net's prior. On generated rigs 500 (3, 4 and 5 cameras), where bodies
# and joints are exactly those of the training, it costs 1 mm of MPJPE; more freedom would cost more.
AGREEMENT = 40.0
_HOLD = 8.0
_AGREEMENT_STEPS = 2
# Standard deviation of a ray and of the prior before training, mm.
RAY_DEVIATION = 50.0
PRIOR_DEVIATION = 500.0

# Symmetric matrices are six numbers, xx, yy, zz, xy, xz, yz: which of a vector's entries they multiply,
# where they stand in the full matrix, and the four factors of each cofactor.
_FIRST, _SECOND = (0, 1, 2, 0, 0, 1), (0, 1, 2, 1, 2, 2)
_FULL = (0, 3, 4, 3, 1, 5, 4, 5, 2)
_COFACTORS = (1, 0, 0, 4, 3, 3) + (2, 2, 1, 5, 5, 4) + (5, 4, 3, 2, 1, 0) + (5, 4, 3, 3, 4, 5)
_FIRST_ROW = ((1,), (0,), (0,), (1,), (1,), (0,))
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


def _entries(matrix: torch.Tensor, places: tuple[int, ...]) -> torch.Tensor:
    """Of the six numbers of symmetric matrices (..., 6) those, in that order.

    A product with zeros and ones, which is faster than to gather single numbers.
    """
    table = tuple(tuple(int(row == place) for place in places) for row in range(6))
    return matrix @ _constant(table, matrix.dtype, matrix.device)


def invert_symmetric(matrix: torch.Tensor) -> torch.Tensor:
    """Inverses (..., 6) of symmetric positive 3x3 matrices (..., 6): xx, yy, zz, xy, xz, yz."""
    a, b, c, d = _entries(matrix, _COFACTORS).split(6, dim=-1)
    cofactors = a * b - c * d
    determinant = (matrix * cofactors) @ _constant(_FIRST_ROW, matrix.dtype, matrix.device)
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
    """Vectors (M, J, 3) of the world in the frame of `facing` (M, 3, 3), or back."""
    return vectors @ (frame.transpose(1, 2) if back else frame)


def rays_turned(vectors: torch.Tensor, frame: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The three components (1, M, T, J) of vectors (3, M, T, J) in the frame of `facing` (M, 3, 3)."""
    x, y, z = vectors.split(1)
    c, s = frame[:, 0, 0, None, None], frame[:, 1, 0, None, None]
    return c * x + s * y, c * y - s * x, z


@dataclass(frozen=True)
class ChosenRays:
    """T detections of each of M candidates, in units around the candidate's centre.

    Attributes:
        origins: (M, T, 3).
        directions: (3, M, T, J).
        scores, present: (M, T, J).
        view, rank: (M, T) the view, and the place among the view's nearest.
        nearest: (M, T) distance from the candidate.
        moments: (3, M, T, J) the point of each ray nearest to the centre.
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
        """The rays of origins (M, T, 3) and directions (M, T, J, 3)."""
        present = (scores > 0).to(scores.dtype)
        start = components_first(origins)[..., None]
        directions = components_first(directions)
        moments = start - directions * (start * directions).sum(dim=0)
        first, second = (
            directions.index_select(0, _constant(places, torch.long, directions.device))
            for places in (_FIRST, _SECOND)
        )
        x, y = (first * second).split(3)
        equations = torch.cat([1 - x, -y, moments]).permute(1, 3, 2, 0).contiguous()
        return cls(origins, directions, scores, present, view, rank, nearest, moments, equations, mirror)

    def nearest_points(self, pose: torch.Tensor) -> torch.Tensor:
        """(3, M, T, J) from each joint of poses (M, J, 3) to the nearest point of its ray."""
        x = components_first(pose)[:, :, None]
        along = (self.directions * x).sum(dim=0)
        return self.moments - x + self.directions * along

    def solve(self, weights, mean, precision) -> tuple[torch.Tensor, torch.Tensor]:
        """The minimum over rays and a prior.

        Args:
            weights: (1, M, T, J) of each ray for its joint, or (2, M, T, J): also for the joint's
                partner on the other side, because detectors confuse left and right.
            mean: (M, J, 3) of the prior.
            precision: (M, J) of the prior.

        Returns:
            joints (M, J, 3) and the matrices A (M, J, 6) of the systems.
        """
        system, *partners = (weights.permute(1, 3, 0, 2) @ self.equations).unbind(2)
        if partners:
            system = system + partners[0].index_select(1, self.mirror)
        prior = precision[..., None]
        diagonal, rest, right = system.split(3, dim=-1)
        matrix = torch.cat([diagonal + prior, rest], dim=-1)
        right = right + prior * mean
        return apply_symmetric(invert_symmetric(matrix), right), matrix


def triangulate_plainly(chosen: ChosenRays, upright: torch.Tensor) -> torch.Tensor:
    """(M, J, 3) the net's start: each view's nearest detection counts by how near it is, twice.

    An upright body is a weak prior; the second time rays count by how near they pass the first pose.

    Args:
        chosen: the rays.
        upright: (J, 3) joints of an upright person around the mid-hip.
    """
    prior = upright.expand(chosen.origins.shape[0], -1, -1)
    precision = prior.new_full((1, 1), (UNIT / PRIOR_DEVIATION) ** 2)
    strength = (UNIT / RAY_DEVIATION) ** 2
    near = torch.exp(-(chosen.nearest * (UNIT / 250.0)).square()) * (chosen.rank == 0)
    weights = strength * near[..., None] * chosen.present
    pose = prior
    for _ in range(2):
        pose, _ = chosen.solve(weights[None], prior, precision)
        gap = lengths(chosen.nearest_points(pose))
        weights = strength * torch.exp(-gap * (UNIT / TRUST)) * chosen.present
    return pose


def agree(
    chosen: ChosenRays, weights: torch.Tensor, pose: torch.Tensor, precision: torch.Tensor
) -> torch.Tensor:
    """(M, J, 3) the net's pose, moved to where most of the rays that it trusts agree.

    The net averages what it trusts, and its prior knows bodies and joints as they are generated; real
    detectors and people differ. So the system is solved again with Cauchy's weights, w_i / (1 + (r_i /
    40 mm)^2) of a ray that passes in a distance of r_i, and the net's pose as the prior (iteratively
    reweighted least squares; Holland and Welsch, "Robust regression using iteratively reweighted
    least-squares", 1977).

    Args:
        chosen: the rays.
        weights: (2, M, T, J) of the last stage.
        pose: (M, J, 3) of the last stage.
        precision: (M, J) of its prior.
    """
    agreed = pose
    for _ in range(_AGREEMENT_STEPS):
        gap = lengths(chosen.nearest_points(agreed)) * (UNIT / AGREEMENT)
        robust = torch.cat([weights[:1] / (1 + gap.square()), weights[1:]])
        agreed, _ = chosen.solve(robust, pose, _HOLD * precision)
    return agreed
