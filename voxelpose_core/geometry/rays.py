"""Where rays of two cameras come closest, and the points nearest to weighted rays of many.

Which rays to trust differs by what is known, so that there is one solver and several ways of weighting:

- `additional_joints`: the rig is right, and a hand's keypoint may be the other hand's. A consensus of pairs
  of views, with a limit in mm, drops whole views.
- `self_calibration.observed_rays`: cameras may be off by decimetres, in a world of any unit, so that no limit
  in mm holds. Errors in the image, as shares of people's size, lower weights gradually.
- `triangulation.triangulate` trusts all views alike, by the direct linear transform, with which published
  tables are compared.
- `models.ray_solver` learns its weights; it is in torch, and can be traced.
"""

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


def nearest_point_equations(
    origins: np.ndarray, directions: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Normal equations A x = b of the points nearest to weighted rays (midpoint method).

    x minimizes sum_i w_i |(I - d_i d_i^T)(x - o_i)|^2.

    Args:
        origins: (..., V, 3) camera centres, near the world's origin for the sake of rounding.
        directions: (..., V, 3) of length 1; shapes broadcast.
        weights: (..., V).

    Returns:
        A (..., 3, 3) and b (..., 3).
    """
    weighted = weights[..., None] * directions
    normal = weights.sum(axis=-1)[..., None, None] * np.eye(3) - weighted.swapaxes(-1, -2) @ directions
    off_axis = origins - directions * (directions * origins).sum(axis=-1, keepdims=True)
    return normal, (weights[..., None] * off_axis).sum(axis=-2)
