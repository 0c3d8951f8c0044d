"""The relative pose of two cameras from joints that both see, by their epipolar geometry.

Rays in place of pixels, so that every lens is the same; errors as shares of the person's size in the image,
so that near and far people count alike. What two views cannot tell, the distance of the cameras, comes from
elsewhere.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

# Errors of 2D detections as a share of the person's size; beyond twice that, weights fall (Cauchy).
SHARE = 0.02
_ROUNDS = 30
# A relative step of the cost below this ends the iteration.
_CONVERGED = 1e-5
# Prior on a change of the time offset in one fit, s: velocities say little about more.
_OFFSET_PRIOR_S = 0.15
_STEP = 1e-6


@dataclass(frozen=True, eq=False)
class RayPairs:
    """N persons seen by cameras a and b at one time each, J joints.

    Attributes:
        first, second: (N, J, 3) unit directions in the frames of a and b.
        rates: (N, J, 3) how the directions of b change, per second.
        first_sizes, second_sizes: (N,) of the person in the image, radians.
        used: (N, J) bool, both cameras see the joint.
    """

    first: np.ndarray
    second: np.ndarray
    rates: np.ndarray
    first_sizes: np.ndarray
    second_sizes: np.ndarray
    used: np.ndarray

    def __len__(self) -> int:
        return len(self.first)

    def select(self, index: np.ndarray) -> RayPairs:
        """Only the persons of `index`."""
        return RayPairs(*(getattr(self, field.name)[index] for field in dataclasses.fields(self)))


@dataclass(frozen=True, eq=False)
class RelativePose:
    """Camera b relative to camera a: x_b = R x_a + t, the length of t being free.

    Attributes:
        R: (3, 3).
        t: (3,) of length 1.
        delay_s: b's rays were taken so much too early: at stamps + delay they fit those of a.
    """

    R: np.ndarray
    t: np.ndarray
    delay_s: float = 0.0

    @property
    def essential(self) -> np.ndarray:
        """(3, 3) with x_b^T E x_a = 0."""
        x, y, z = self.t
        return np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]]) @ self.R


def sampson_shares(pairs: RayPairs, pose: RelativePose) -> np.ndarray:
    """(N, J) signed first-order epipolar errors on the sphere, as shares of the person's size.

    Sampson 1982, with the rays' tangent planes in place of the image plane.
    """
    second = pairs.second + pose.delay_s * pairs.rates
    second = second / np.linalg.norm(second, axis=-1, keepdims=True)
    at_second = pairs.first @ pose.essential.T
    at_first = second @ pose.essential
    value = (second * at_second).sum(axis=-1)
    slope_second = (at_second**2).sum(axis=-1) - value**2
    slope_first = (at_first**2).sum(axis=-1) - value**2
    variance = slope_second * pairs.second_sizes[:, None] ** 2 + slope_first * pairs.first_sizes[:, None] ** 2
    return value / np.sqrt(np.maximum(variance, 1e-12))


def depths(pairs: RayPairs, pose: RelativePose) -> tuple[np.ndarray, np.ndarray]:
    """(N, J) distances of the joints from a and from b along their rays, per length of t; NaN if parallel."""
    second = pairs.second + pose.delay_s * pairs.rates
    turned = pairs.first @ pose.R.T
    # d_a R f_a + t = d_b f_b, in least squares.
    cosine = (turned * second).sum(axis=-1)
    squared = (second**2).sum(axis=-1)
    determinant = squared - cosine**2
    along_a, along_b = -(turned @ pose.t), second @ pose.t
    safe = np.where(determinant > 1e-4, determinant, np.nan)
    first = (along_a * squared + along_b * cosine) / safe
    return first, (along_b + cosine * along_a) / safe


def refine_relative_pose(pairs: RayPairs, start: RelativePose, free_delay: bool = True) -> RelativePose:
    """The relative pose near `start` that fits best (Levenberg-Marquardt, Cauchy loss)."""
    pose, damping = start, 1e-3
    errors = _residuals(pairs, pose)
    cost = _cost(errors) + _delay_cost(pose, start)
    for _ in range(_ROUNDS):
        jacobian = np.stack(
            [(_residuals(pairs, _moved(pose, step)) - errors) / _STEP for step in _STEP * np.eye(6)], axis=1
        )
        weights = 1.0 / (1.0 + (errors / 2.0) ** 2)
        normal = jacobian.T @ (weights[:, None] * jacobian)
        gradient = jacobian.T @ (weights * errors)
        normal[5, 5] += _OFFSET_PRIOR_S**-2
        gradient[5] += (pose.delay_s - start.delay_s) / _OFFSET_PRIOR_S**2
        if not free_delay:
            normal[5], normal[:, 5], gradient[5], normal[5, 5] = 0.0, 0.0, 0.0, 1.0
        gained = 0.0
        for _ in range(6):
            step = -np.linalg.solve(normal + damping * np.diag(np.diag(normal) + 1e-9), gradient)
            trial = _moved(pose, step)
            trial_errors = _residuals(pairs, trial)
            trial_cost = _cost(trial_errors) + _delay_cost(trial, start)
            if trial_cost < cost:
                gained = cost - trial_cost
                pose, errors, cost = trial, trial_errors, trial_cost
                damping = max(damping / 5.0, 1e-9)
                break
            damping *= 5.0
        if gained <= _CONVERGED * cost:
            break
    return pose


def _residuals(pairs: RayPairs, pose: RelativePose) -> np.ndarray:
    return sampson_shares(pairs, pose)[pairs.used] / SHARE


def _cost(errors: np.ndarray) -> float:
    return float(2.0 * np.log1p((errors / 2.0) ** 2).sum())


def _delay_cost(pose: RelativePose, start: RelativePose) -> float:
    return 0.5 * ((pose.delay_s - start.delay_s) / _OFFSET_PRIOR_S) ** 2


def _moved(pose: RelativePose, step: np.ndarray) -> RelativePose:
    """The pose after a step: rotation vector (3), two angles of t, seconds."""
    tangent = np.linalg.svd(pose.t[None])[2][1:]
    t = pose.t + step[3:5] @ tangent
    turned = Rotation.from_rotvec(step[:3]).as_matrix() @ pose.R
    return RelativePose(turned, t / np.linalg.norm(t), pose.delay_s + float(step[5]))
