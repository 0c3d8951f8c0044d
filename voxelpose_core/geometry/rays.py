"""Where rays of two cameras come closest. The ray model has its own, in torch: models/rays.py."""

from __future__ import annotations

import numpy as np


def closest_approach(
    origin: np.ndarray,
    directions: np.ndarray,
    other_origin: np.ndarray,
    other_directions: np.ndarray,
    least_angle: float = 3e-5,
) -> tuple[np.ndarray, np.ndarray]:
    """Middle and length of the shortest connection of two rays.

    Args:
        origin, other_origin: (..., 3) camera centres, mm.
        directions, other_directions: (..., 3) of length 1; all shapes broadcast.
        least_angle: rays closer to parallel, rad, have no meeting point that means anything.

    Returns:
        (..., 3) midpoints, mm, and (...) distances of the rays there, mm; infinite where the rays are
        parallel or come together behind an origin.
    """
    between = origin - other_origin
    cosine = (directions * other_directions).sum(axis=-1)
    along, other_along = (directions * between).sum(axis=-1), (other_directions * between).sum(axis=-1)
    sine2 = 1.0 - cosine**2
    apart = sine2 > least_angle**2
    sine2 = np.where(apart, sine2, 1.0)
    depth = (cosine * other_along - along) / sine2
    other_depth = (other_along - cosine * along) / sine2
    point = origin + depth[..., None] * directions
    other_point = other_origin + other_depth[..., None] * other_directions
    gap = np.linalg.norm(point - other_point, axis=-1)
    meets = apart & (depth > 0) & (other_depth > 0)
    return (point + other_point) / 2, np.where(meets, gap, np.inf)
