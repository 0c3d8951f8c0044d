"""Normal equations of the bundle adjustment (`adjustment`), solved with the joints eliminated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from voxelpose_core.self_calibration.adjustment_objective import (
    CENTER,
    FOCAL,
    OFFSET,
    PARAMETERS,
    ROTATION,
    Objective,
    State,
)
from voxelpose_core.self_calibration.observed_rays import image_errors, observe

# Of the log focal length, for its numerical derivative.
_FOCAL_STEP = 1e-5


@dataclass
class NormalEquations:
    """Normal equations, J^T J and -J^T r: of the cameras and bones of all, of the points of each pose."""

    points: np.ndarray  # (K, 3 J, 3 J)
    points_right: np.ndarray  # (K, 3 J)
    mixed: np.ndarray  # (K, 3 J, 8 V + B), with the bones of the pose's own person
    rest: np.ndarray  # (8 V + P B, 8 V + P B)
    rest_right: np.ndarray  # (8 V + P B,)


def linearize(objective: Objective, state: State) -> NormalEquations:
    """The normal equations at a state."""
    poses, views, joints = state.rays.used.shape
    cameras = PARAMETERS * views
    errors, by_point, by_camera = jacobians(objective, state)
    scale = objective.noise * state.rays.sizes[..., None, None]
    errors, by_point, by_camera = (
        errors / scale,
        by_point / scale[..., None],
        by_camera / scale[..., None],
    )
    weights = objective.robust_weights((errors**2).sum(axis=-1)) * objective.used(state)
    weights = (weights * objective.weights[:, None, None])[..., None]

    linear = NormalEquations(
        np.zeros((poses, 3 * joints, 3 * joints)),
        -np.einsum("kvjpa,kvjp->kja", by_point, weights * errors).reshape(poses, 3 * joints),
        np.zeros((poses, 3 * joints, cameras + objective.bones.lengths)),
        np.zeros((objective.rest_size, objective.rest_size)),
        np.zeros(objective.rest_size),
    )
    weighted = weights[..., None] * by_camera
    blocks = _outer_sum(weights[..., None] * by_point, by_point).sum(axis=1)
    for joint in range(joints):
        own = slice(3 * joint, 3 * joint + 3)
        linear.points[:, own, own] = blocks[:, joint]
    mixed = _outer_sum(by_point, weighted).transpose(0, 2, 3, 1, 4)
    linear.mixed[..., :cameras] = mixed.reshape(poses, 3 * joints, cameras)
    for view in range(views):
        own = slice(PARAMETERS * view, PARAMETERS * (view + 1))
        flat = by_camera[:, view].reshape(-1, PARAMETERS)
        linear.rest[own, own] = flat.T @ weighted[:, view].reshape(-1, PARAMETERS)
    linear.rest_right[:cameras] = -np.einsum("kvjpb,kvjp->vb", weighted, errors).ravel()
    _add_priors(objective, linear, state)
    if objective.settings.bone_share:
        _add_bones(objective, linear, state)
    return linear


def jacobians(objective: Objective, state: State) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Errors (K, V, J, 2) px, and their derivatives by points (..., 3) and cameras (..., 8)."""
    rays = state.rays
    local = (state.points[:, None] - state.centers[:, None]) @ state.rotations.swapaxes(-1, -2)
    errors, distance = objective.errors(state)
    spatial = errors - rays.velocities * state.offsets[:, None, None]
    forward = np.einsum("kvja,kvja->kvj", rays.directions, local)
    total = np.maximum(distance + forward, 1e-6 * distance + 1e-9)[..., None, None]
    # x = 2 M d / (|d| + u d): dx/dd = (2 M - x (d / |d| + u)^T) / (|d| + u d).
    growth = local / np.maximum(distance, 1e-9)[..., None] + rays.directions
    by_local = (2 * rays.metric - spatial[..., :, None] * growth[..., None, :]) / total
    by_point = by_local @ state.rotations[:, None]
    by_camera = np.empty((*errors.shape, PARAMETERS))
    # The camera turns by w: d + w x d; by_local (w x d) = w (d x by_local).
    by_camera[..., ROTATION] = np.cross(local[..., None, :], by_local)
    by_camera[..., CENTER] = -by_point
    by_camera[..., OFFSET] = rays.velocities
    by_camera[..., FOCAL] = _by_log_focal(objective, state, spatial)
    return errors, by_point, by_camera


def _by_log_focal(objective: Objective, state: State, errors: np.ndarray) -> np.ndarray:
    """(K, V, J, 2) derivative of the errors without time offsets by the log focal length.

    By differences: the metric of the rays depends on the focal length as well. The lever of the detection
    alone leaves out the error's own growth, which all detections have in common: focal lengths came
    out 4 % too long with detections that are off by 2 % of people's size.
    """
    if not (objective.deviations[:, FOCAL] > 0).any():
        return np.zeros(errors.shape)
    cameras = objective.zoomed(state.log_focals + _FOCAL_STEP)
    zoomed = observe(cameras, objective.poses, objective.settings.least_score)
    moved, _ = image_errors(zoomed, state.rotations, state.centers, state.points)
    return (moved - errors) / _FOCAL_STEP


def _add_priors(objective: Objective, linear: NormalEquations, state: State) -> None:
    precision = np.where(objective.has_prior, 1.0 / objective.prior_scale**2, 0.0).ravel()
    index = np.arange(len(precision))
    linear.rest[index, index] += precision
    linear.rest_right[index] -= precision * objective.off_prior(state).ravel()


def _add_bones(objective: Objective, linear: NormalEquations, state: State) -> None:
    errors, there = objective.bone_errors(state)
    weights = objective.robust_weights(errors**2) * there * objective.weights[:, None]
    share, cameras = objective.settings.bone_share, PARAMETERS * len(objective.cameras)
    for bone, (first, second) in enumerate(objective.bones.ends):
        between = state.points[:, first] - state.points[:, second]
        slope = between / np.maximum((between**2).sum(axis=-1), 1.0)[:, None] / share
        weight, length = weights[:, bone], int(objective.bones.length[bone])
        outer = weight[:, None, None] * slope[:, :, None] * slope[:, None, :]
        one, other = slice(3 * first, 3 * first + 3), slice(3 * second, 3 * second + 3)
        linear.points[:, one, one] += outer
        linear.points[:, other, other] += outer
        linear.points[:, one, other] -= outer
        linear.points[:, other, one] -= outer
        pull = weight[:, None] * slope
        linear.points_right[:, one] -= pull * errors[:, bone, None]
        linear.points_right[:, other] += pull * errors[:, bone, None]
        linear.mixed[:, one, cameras + length] -= pull / share
        linear.mixed[:, other, cameras + length] += pull / share
        own = cameras + objective.person * objective.bones.lengths + length
        np.add.at(linear.rest, (own, own), weight / share**2)
        np.add.at(linear.rest_right, own, weight * errors[:, bone] / share)


def _reduced(
    objective: Objective, linear: NormalEquations, damping: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Schur complement of the points, its right side, and what gives the points back (K, 3 J, G + 1)."""
    blocks = linear.points.copy()
    diagonal = np.arange(blocks.shape[1])
    # Joints that are not known have empty blocks and do not move.
    own = blocks[:, diagonal, diagonal]
    blocks[:, diagonal, diagonal] = own * (1.0 + damping) + np.where(own > 0, 1e-12, 1.0)
    back = np.linalg.solve(blocks, np.concatenate([linear.mixed, linear.points_right[..., None]], axis=2))
    rest, right = linear.rest.copy(), linear.rest_right.copy()
    index = np.arange(objective.rest_size)
    rest[index, index] *= 1.0 + damping
    count = PARAMETERS * len(objective.cameras)
    for number in range(len(objective.people)):
        own_poses = objective.person == number
        taken = _gram(linear.mixed[own_poses], back[own_poses])
        own_bones = count + number * objective.bones.lengths + np.arange(objective.bones.lengths)
        local = np.concatenate([index[:count], own_bones])
        rest[np.ix_(local, local)] -= taken[:, :-1]
        right[local] -= taken[:, -1]
    return rest, right, back


def step(objective: Objective, linear: NormalEquations, damping: float) -> tuple[np.ndarray, np.ndarray]:
    """The step of the rest (8 V + P B,) and of the points (K, 3 J)."""
    rest, right, back = _reduced(objective, linear, damping)
    solved = _solve_symmetric(rest, right, _solvable(objective, rest))
    count = PARAMETERS * len(objective.cameras)
    bones = solved[count:].reshape(len(objective.people), objective.bones.lengths)[objective.person]
    local = np.concatenate([np.broadcast_to(solved[:count], (len(bones), count)), bones], axis=1)
    return solved, back[..., -1] - (back[..., :-1] @ local[..., None])[..., 0]


def _solvable(objective: Objective, rest: np.ndarray) -> np.ndarray:
    """Which of the rest are free and tied to anything."""
    free = np.ones(objective.rest_size, bool)
    free[: len(objective.free)] = objective.free
    return free & (np.diag(rest) > 0)


def covariance(objective: Objective, state: State) -> np.ndarray:
    """(8 V, 8 V) of the cameras' parameters; 0 for what is fixed."""
    rest, _, _ = _reduced(objective, linearize(objective, state), 0.0)
    solvable = _solvable(objective, rest)
    count = PARAMETERS * len(objective.cameras)
    inverse = np.zeros_like(rest)
    kept = np.flatnonzero(solvable)
    scale = 1.0 / np.sqrt(np.diag(rest)[kept])
    scaled = rest[np.ix_(kept, kept)] * scale[:, None] * scale
    inverse[np.ix_(kept, kept)] = np.linalg.pinv(scaled, hermitian=True) * scale[:, None] * scale
    return inverse[:count, :count]


def _gram(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Sum over the poses of one^T other, of (K, N, G) and (K, N, H): (G, H)."""
    return one.reshape(-1, one.shape[-1]).T @ other.reshape(-1, other.shape[-1])


def _outer_sum(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """one^T other over the two pixel coordinates, of (..., 2, A) and (..., 2, B): (..., A, B)."""
    first = one[..., 0, :, None] * other[..., 0, None, :]
    return first + one[..., 1, :, None] * other[..., 1, None, :]


def _solve_symmetric(system: np.ndarray, right: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Of the free unknowns, scaled to a unit diagonal; the others 0."""
    kept = np.flatnonzero(free)
    scale = 1.0 / np.sqrt(np.diag(system)[kept])
    scaled = system[np.ix_(kept, kept)] * scale[:, None] * scale
    solved = np.zeros(len(right))
    solved[kept] = scale * np.linalg.lstsq(scaled, scale * right[kept], rcond=1e-14)[0]
    return solved
