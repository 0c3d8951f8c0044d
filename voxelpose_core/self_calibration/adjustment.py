"""Bundle adjustment of cameras and people: the one solver of self-calibration.

Minimizes over the poses of the cameras, their time offsets and (where asked for) focal lengths, over the 3D
joints X of people, and over the lengths of their bones,

    sum_kvj a_k rho(|x_v(X_kj) - p_kvj + u_kvj o_v|^2 / s_kv^2)
  + sum_kb  a_k rho((log|X_ki - X_kj| - l_b)^2 / s_b^2)  +  priors on the cameras

with p and u the pixels and velocities of the detections (`SharedPoses`), o_v the camera's time offset, s_kv a
share of the person's size in the image, l_b the log-length of a bone, the same on both sides of the body and
at all times, and Cauchy's rho(e) = c^2 log(1 + e / c^2), c = 2. Bones enter as log-lengths: lengths in mm
would shrink the world.

Errors of detectors last for seconds, so poses that follow each other at once tell the same again. The weight
a_k is one over the sum of the correlations of a pose's errors with those of the person's other poses: the
number of independent poses, not of frames, stands against the priors and gives the covariances.

The joints of a pose are eliminated (Schur complement; Triggs, McLauchlan, Hartley and Fitzgibbon, "Bundle
adjustment - a modern synthesis", 2000, section 6); all poses are treated at once. Steps are damped as by
Levenberg and Marquardt. Each lens is linearized at the detections, see `observed_rays`.

Shapes: K poses, V cameras, J joints, P people, B bone lengths per person.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from voxelpose_core.geometry.camera import Camera
from voxelpose_core.self_calibration.adjustment_equations import covariance, linearize, step
from voxelpose_core.self_calibration.adjustment_objective import (
    PARAMETERS,
    AdjustmentSettings,
    Objective,
    State,
)
from voxelpose_core.self_calibration.observations import SharedPoses
from voxelpose_core.skeletons import JointSet

_FIRST_DAMPING, _LARGEST_DAMPING = 1e-3, 1e8


@dataclass(frozen=True, eq=False)
class Adjustment:
    """What fits best.

    Attributes:
        cameras: V, in their order.
        offsets_s: (V,) to be added to the stamps that the poses were taken with; the first is 0.
        joints: (K, J, 3) mm; NaN where they are not known.
        shares: (K, V, J) distance of the detections from the projected joints, as a share of the person's
            size in the image; NaN where not used.
        noise: estimated deviation of the detections per coordinate, as such a share.
        covariance: (8 V, 8 V), per camera rotation (rad, about its own axes), centre (mm), offset (s), log
            focal length; 0 for what is fixed. As sure as the data make it, priors included.
        cost: of the objective at the end.
        steps: taken.
    """

    cameras: tuple[Camera, ...]
    offsets_s: np.ndarray
    joints: np.ndarray
    shares: np.ndarray
    noise: float
    covariance: np.ndarray
    cost: float
    steps: int

    def deviations(self, which: slice | int) -> np.ndarray:
        """(V,) standard deviation of a parameter; of three (`ROTATION`, `CENTER`) the root of their sum."""
        variances = np.diag(self.covariance).reshape(-1, PARAMETERS)[:, which]
        return np.sqrt(variances.reshape(len(variances), -1).sum(axis=1))


def adjust(
    cameras: Sequence[Camera],
    poses: SharedPoses,
    joint_set: JointSet,
    settings: AdjustmentSettings = AdjustmentSettings(),
    prior: Sequence[Camera] | None = None,
) -> Adjustment:
    """The cameras, offsets and joints that fit the detections best.

    Args:
        cameras: V, where the search starts.
        poses: K, of people whom cameras share; at least one.
        joint_set: of the detections.
        settings: what is free, and how far.
        prior: V cameras at which the priors are centred; by default the given ones.
    """
    objective = Objective(tuple(cameras), poses, joint_set, settings, tuple(prior or cameras))
    state = objective.start()
    steps = 0
    for _ in range(settings.stages):
        objective.estimate_noise(state)
        state, taken = _descend(objective, state, settings)
        steps += taken
    return _result(objective, state, steps)


def _descend(objective: Objective, state: State, settings: AdjustmentSettings) -> tuple[State, int]:
    """Damped steps as long as they pay."""
    damping, cost = _FIRST_DAMPING, objective.cost(state)
    for taken in range(settings.steps):
        linear = linearize(objective, state)
        while True:
            moved = objective.moved(state, *step(objective, linear, damping))
            new_cost = objective.cost(moved)
            if new_cost < cost or damping > _LARGEST_DAMPING:
                break
            damping *= 10.0
        if not new_cost < cost:
            return state, taken
        gain, state, cost = cost - new_cost, moved, new_cost
        damping = max(damping / 10.0, 1e-9)
        if gain < settings.tolerance * cost:
            return state, taken + 1
    return state, settings.steps


def _result(objective: Objective, state: State, steps: int) -> Adjustment:
    cameras = tuple(
        dataclasses.replace(camera, R=_orthonormal(rotation), C=center)
        for camera, rotation, center in zip(
            objective.zoomed(state.log_focals), state.rotations, state.centers, strict=True
        )
    )
    shares = np.linalg.norm(objective.errors(state)[0], axis=-1) / state.rays.sizes[..., None]
    used = objective.used(state)
    return Adjustment(
        cameras,
        state.offsets.copy(),
        np.where(objective.good[..., None], state.points, np.nan),
        np.where(used, shares, np.nan),
        objective.noise,
        covariance(objective, state),
        objective.cost(state),
        steps,
    )


def _orthonormal(rotation: np.ndarray) -> np.ndarray:
    u, _, vt = np.linalg.svd(rotation)
    return u @ vt
