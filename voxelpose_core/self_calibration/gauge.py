"""The world of a rig that was fitted anew: cameras move against each other, not all together.

What people tell is how cameras lie to each other; moved as a whole, a rig fits them as well. The given world,
with its floor and origin, is kept where most cameras stayed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from voxelpose_core.geometry.camera import Camera
from voxelpose_core.self_calibration.adjustment_objective import CENTER, PARAMETERS, ROTATION

# Cameras that moved by more than this against the others hardly hold the world.
_DEGREES, _MM = 0.2, 10.0
_ROUNDS = 20


def hold_world(cameras: Sequence[Camera], given: Sequence[Camera]) -> tuple[Camera, ...]:
    """The cameras (V), moved as a whole such that most are where the given ones are.

    Least squares with Cauchy weights: a camera that was knocked does not turn the world.
    """
    moved = list(cameras)
    for _ in range(_ROUNDS):
        off = _off(moved, given)
        jacobian = (
            np.concatenate([_whole_motion(camera) for camera in moved])
            / np.tile(_SCALES, len(moved))[:, None]
        )
        weights = np.repeat(1.0 / (1.0 + (off**2).sum(axis=1)), 6)
        system = jacobian.T @ (weights[:, None] * jacobian)
        step = np.linalg.solve(system, -jacobian.T @ (weights * off.ravel()))
        turn = Rotation.from_rotvec(step[:3]).as_matrix()
        moved = [
            dataclasses.replace(camera, R=camera.R @ turn.T, C=turn @ camera.C + step[3:]) for camera in moved
        ]
    return tuple(moved)


def relative_deviations(
    cameras: Sequence[Camera], covariance: np.ndarray, free_scale: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """How sure the cameras' poses are against each other, of a covariance (8 V, 8 V) of `Adjustment`.

    Args:
        cameras: V.
        covariance: of their parameters.
        free_scale: the scale of the rig does not count either.

    Returns:
        (V,) standard deviations of the rotations, rad, and of the centres, mm: roots of the sums over axes.
    """
    count = len(cameras)
    index = (np.arange(count)[:, None] * PARAMETERS + np.arange(6)).ravel()
    scales = np.tile(_SCALES, count)
    scaled = covariance[np.ix_(index, index)] / scales[:, None] / scales
    whole = np.concatenate([_whole_motion(camera) for camera in cameras]) / scales[:, None]
    if free_scale:
        centers = np.stack([camera.C for camera in cameras])
        growth = np.concatenate([np.zeros((count, 3)), centers - centers.mean(axis=0)], axis=1)
        whole = np.column_stack([whole, growth.ravel() / scales])
    # Columns of one length: a pseudo-inverse would drop the small ones.
    whole /= np.maximum(np.linalg.norm(whole, axis=0), 1e-12)
    projector = np.eye(6 * count) - whole @ np.linalg.pinv(whole)
    variances = np.diag(projector @ scaled @ projector.T) * scales**2
    variances = np.maximum(variances.reshape(count, 6), 0.0)
    return np.sqrt(variances[:, ROTATION].sum(axis=1)), np.sqrt(variances[:, CENTER].sum(axis=1))


_SCALES = np.array([np.radians(_DEGREES)] * 3 + [_MM] * 3)


def _off(cameras: Sequence[Camera], given: Sequence[Camera]) -> np.ndarray:
    """(V, 6) rotation and centre against the given cameras, in units of what counts as moved."""
    rows = [
        np.concatenate([Rotation.from_matrix(own.R @ true.R.T).as_rotvec(), own.C - true.C])
        for own, true in zip(cameras, given, strict=True)
    ]
    return np.array(rows) / _SCALES


def _whole_motion(camera: Camera) -> np.ndarray:
    """(6, 6) how a camera's rotation (about its axes) and centre change as the world turns and shifts."""
    x, y, z = camera.C
    jacobian = np.zeros((6, 6))
    jacobian[:3, :3] = -camera.R
    jacobian[3:, :3] = -np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    jacobian[3:, 3:] = np.eye(3)
    return jacobian
