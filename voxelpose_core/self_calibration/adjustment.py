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
from scipy.spatial.transform import Rotation

from voxelpose_core.geometry.camera import Camera
from voxelpose_core.self_calibration.bones import Bones
from voxelpose_core.self_calibration.observations import SharedPoses
from voxelpose_core.self_calibration.observed_rays import (
    LEAST_SCORE,
    ObservedRays,
    image_errors,
    observe,
    triangulate_rays,
)
from voxelpose_core.skeletons import JointSet

# Per camera: rotation (3) in rad about its own axes, centre (3) in mm, offset in s, log focal length.
ROTATION, CENTER, OFFSET, FOCAL = slice(0, 3), slice(3, 6), 6, 7
PARAMETERS = 8
# Median of the length of a 2D Gaussian of deviation 1.
_RAYLEIGH_MEDIAN = 1.1774
_SMALLEST_SHARE, _LARGEST_SHARE = 0.003, 0.15
# Correlation of a detector's errors: this share of the variance lasts so long, s (MoveNet, 60 Hz recordings).
_LASTING, _LASTING_S = 0.5, 2.0
_FIRST_DAMPING, _LARGEST_DAMPING = 1e-3, 1e8
# Of the log focal length, for its numerical derivative.
_FOCAL_STEP = 1e-5


@dataclass(frozen=True)
class AdjustmentSettings:
    """What is free, and how far.

    Priors are standard deviations from the given cameras, one number or one per camera: infinite is free,
    0 is fixed. Where no camera is fixed the priors also hold the world in place.

    Attributes:
        rotation_deg: of each of the three angles of a camera.
        center_mm: of each of the three coordinates of a camera's centre.
        offset_ms: of the time offsets. The first camera's is always 0.
        focal: of the relative change of the focal length.
        bone_share: standard deviation of a bone's log-length; 0: bones are not used.
        cauchy: standard deviations at which the loss begins to level out.
        least_score: keypoints with a lower score are not used.
        stages: how often the deviation of the detections is estimated anew; the first, of a rig that is far
            off, is large, which keeps right detections from being taken for outliers.
        steps: at most so many per stage.
        tolerance: a stage ends where a step lowers the cost by a smaller share.
    """

    rotation_deg: float | Sequence[float] = 0.5
    center_mm: float | Sequence[float] = 20.0
    offset_ms: float | Sequence[float] = 50.0
    focal: float | Sequence[float] = 0.0
    bone_share: float = 0.1
    cauchy: float = 2.0
    least_score: float = LEAST_SCORE
    stages: int = 4
    steps: int = 12
    tolerance: float = 1e-4


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
    problem = _Problem(tuple(cameras), poses, joint_set, settings, tuple(prior or cameras))
    state = problem.start()
    steps = 0
    for _ in range(settings.stages):
        problem.estimate_noise(state)
        state, taken = _descend(problem, state, settings)
        steps += taken
    return problem.result(state, steps)


def independent_weights(poses: SharedPoses) -> np.ndarray:
    """(K,) how much news each pose brings: one over the sum of its errors' correlations with the others'."""
    apart = np.abs(poses.times[:, None] - poses.times[None])
    same = poses.people[:, None] == poses.people[None]
    correlation = np.where(same, _LASTING * np.exp(-apart / _LASTING_S), 0.0)
    np.fill_diagonal(correlation, 1.0)
    return 1.0 / correlation.sum(axis=1)


@dataclass
class _State:
    rotations: np.ndarray
    centers: np.ndarray
    offsets: np.ndarray
    log_focals: np.ndarray
    points: np.ndarray
    bone_logs: np.ndarray
    rays: ObservedRays


@dataclass
class _Linear:
    """Normal equations, J^T J and -J^T r: of the cameras and bones of all, of the points of each pose."""

    points: np.ndarray  # (K, 3 J, 3 J)
    points_right: np.ndarray  # (K, 3 J)
    mixed: np.ndarray  # (K, 3 J, 8 V + B), with the bones of the pose's own person
    rest: np.ndarray  # (8 V + P B, 8 V + P B)
    rest_right: np.ndarray  # (8 V + P B,)


class _Problem:
    """The detections, and the objective as a function of the state."""

    def __init__(
        self,
        cameras: tuple[Camera, ...],
        poses: SharedPoses,
        joint_set: JointSet,
        settings: AdjustmentSettings,
        prior: tuple[Camera, ...],
    ):
        self.cameras, self.poses, self.settings = cameras, poses, settings
        self.bones = Bones.of(joint_set)
        self.people, self.person = np.unique(poses.people, return_inverse=True)
        self.weights = independent_weights(poses)
        self.prior_rotations = np.stack([camera.R for camera in prior])
        self.prior_centers = np.stack([camera.C for camera in prior])
        self.prior_log_focals = np.log([camera.K[0, 0] for camera in prior]) - np.log(
            [camera.K[0, 0] for camera in cameras]
        )
        self.deviations = _prior_deviations(settings, len(cameras))
        self.free = (self.deviations > 0).ravel()
        self.noise = _LARGEST_SHARE
        self.good = np.zeros((0, 0), bool)
        self.rest_size = PARAMETERS * len(cameras) + len(self.people) * self.bones.lengths

    # --- state ------------------------------------------------------------------------------------

    def start(self) -> _State:
        rays = observe(self.cameras, self.poses, self.settings.least_score)
        rotations = np.stack([camera.R for camera in self.cameras])
        centers = np.stack([camera.C for camera in self.cameras])
        points, self.good = triangulate_rays(rays, rotations, centers, share=0.05)
        logs = self.bones.mean_logs(points, self.good, self.person, len(self.people))
        count = len(self.cameras)
        return _State(rotations, centers, np.zeros(count), np.zeros(count), points, logs, rays)

    def moved(self, state: _State, rest: np.ndarray, points: np.ndarray) -> _State:
        """The state after a step (8 V + P B,) and (K, 3 J)."""
        count = len(self.cameras)
        step = rest[: PARAMETERS * count].reshape(count, PARAMETERS)
        rotations = Rotation.from_rotvec(step[:, ROTATION]).as_matrix() @ state.rotations
        rays, log_focals = state.rays, state.log_focals
        if (self.deviations[:, FOCAL] > 0).any():
            log_focals = log_focals + np.clip(step[:, FOCAL], -0.3, 0.3)
            rays = observe(self._zoomed(log_focals), self.poses, self.settings.least_score)
            rays = dataclasses.replace(rays, used=rays.used & state.rays.used)
        return _State(
            rotations,
            state.centers + step[:, CENTER],
            state.offsets + step[:, OFFSET],
            log_focals,
            state.points + points.reshape(state.points.shape),
            state.bone_logs + rest[PARAMETERS * count :].reshape(state.bone_logs.shape),
            rays,
        )

    def _zoomed(self, log_focals: np.ndarray) -> list[Camera]:
        zoomed = []
        for camera, log_focal in zip(self.cameras, log_focals, strict=True):
            K = camera.K.copy()
            K[0, :2] *= np.exp(log_focal)
            K[1, 1] *= np.exp(log_focal)
            zoomed.append(dataclasses.replace(camera, K=K))
        return zoomed

    def result(self, state: _State, steps: int) -> Adjustment:
        cameras = tuple(
            dataclasses.replace(camera, R=_orthonormal(rotation), C=center)
            for camera, rotation, center in zip(
                self._zoomed(state.log_focals), state.rotations, state.centers, strict=True
            )
        )
        shares = np.linalg.norm(self._errors(state)[0], axis=-1) / state.rays.sizes[..., None]
        used = self.used(state)
        return Adjustment(
            cameras,
            state.offsets.copy(),
            np.where(self.good[..., None], state.points, np.nan),
            np.where(used, shares, np.nan),
            self.noise,
            self._covariance(state),
            self.cost(state),
            steps,
        )

    def used(self, state: _State) -> np.ndarray:
        """(K, V, J) bool."""
        return state.rays.used & self.good[:, None]

    # --- objective --------------------------------------------------------------------------------

    def estimate_noise(self, state: _State) -> None:
        """The deviation of the detections, by the median of their errors; fewer views fit them better."""
        used = self.used(state)
        views = np.maximum(used.sum(axis=1), 2)
        freedom = np.sqrt(2 * views / (2 * views - 3.0))
        shares = np.linalg.norm(self._errors(state)[0], axis=-1) / state.rays.sizes[..., None]
        shares = (shares * freedom[:, None])[used]
        if len(shares):
            self.noise = float(np.clip(np.median(shares) / _RAYLEIGH_MEDIAN, _SMALLEST_SHARE, _LARGEST_SHARE))

    def cost(self, state: _State) -> float:
        errors, _ = self._errors(state)
        squares = (errors**2).sum(axis=-1) / (self.noise * state.rays.sizes[..., None]) ** 2
        data = (self._loss(squares) * self.used(state)).sum(axis=(1, 2)) @ self.weights
        prior = np.where(self._has_prior, (self._off_prior(state) / self._prior_scale) ** 2, 0.0).sum()
        return float(data + prior + self._bone_cost(state))

    def _bone_cost(self, state: _State) -> float:
        if not self.settings.bone_share:
            return 0.0
        errors, there = self._bone_errors(state)
        return float((self._loss(errors**2) * there).sum(axis=1) @ self.weights)

    def _loss(self, squares: np.ndarray) -> np.ndarray:
        c2 = self.settings.cauchy**2
        return c2 * np.log1p(squares / c2)

    def _robust_weights(self, squares: np.ndarray) -> np.ndarray:
        return 1.0 / (1.0 + squares / self.settings.cauchy**2)

    def _errors(self, state: _State) -> tuple[np.ndarray, np.ndarray]:
        """(K, V, J, 2) px with time offsets, and distances (K, V, J)."""
        errors, distances = image_errors(state.rays, state.rotations, state.centers, state.points)
        return errors + state.rays.velocities * state.offsets[:, None, None], distances

    def _bone_errors(self, state: _State) -> tuple[np.ndarray, np.ndarray]:
        """(K, bones) in standard deviations, and where there is one."""
        logs, there = self.bones.logs(state.points, self.good)
        return (logs - state.bone_logs[self.person][:, self.bones.length]) / self.settings.bone_share, there

    @property
    def _has_prior(self) -> np.ndarray:
        return np.isfinite(self.deviations) & (self.deviations > 0)

    @property
    def _prior_scale(self) -> np.ndarray:
        return np.where(self._has_prior, self.deviations, 1.0)

    def _off_prior(self, state: _State) -> np.ndarray:
        """(V, 8) how far the cameras are from where the priors have them."""
        off = np.zeros((len(self.cameras), PARAMETERS))
        turned = state.rotations @ self.prior_rotations.swapaxes(-1, -2)
        off[:, ROTATION] = Rotation.from_matrix(turned).as_rotvec()
        off[:, CENTER] = state.centers - self.prior_centers
        off[:, OFFSET] = state.offsets
        off[:, FOCAL] = state.log_focals - self.prior_log_focals
        return off

    # --- normal equations -------------------------------------------------------------------------

    def linearize(self, state: _State) -> _Linear:
        poses, views, joints = state.rays.used.shape
        cameras = PARAMETERS * views
        errors, by_point, by_camera = self._jacobians(state)
        scale = self.noise * state.rays.sizes[..., None, None]
        errors, by_point, by_camera = (
            errors / scale,
            by_point / scale[..., None],
            by_camera / scale[..., None],
        )
        weights = self._robust_weights((errors**2).sum(axis=-1)) * self.used(state)
        weights = (weights * self.weights[:, None, None])[..., None]

        linear = _Linear(
            np.zeros((poses, 3 * joints, 3 * joints)),
            -np.einsum("kvjpa,kvjp->kja", by_point, weights * errors).reshape(poses, 3 * joints),
            np.zeros((poses, 3 * joints, cameras + self.bones.lengths)),
            np.zeros((self.rest_size, self.rest_size)),
            np.zeros(self.rest_size),
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
        self._add_priors(linear, state)
        if self.settings.bone_share:
            self._add_bones(linear, state)
        return linear

    def _jacobians(self, state: _State) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Errors (K, V, J, 2) px, and their derivatives by points (..., 3) and cameras (..., 8)."""
        rays = state.rays
        local = (state.points[:, None] - state.centers[:, None]) @ state.rotations.swapaxes(-1, -2)
        errors, distance = self._errors(state)
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
        by_camera[..., FOCAL] = self._by_log_focal(state, spatial)
        return errors, by_point, by_camera

    def _by_log_focal(self, state: _State, errors: np.ndarray) -> np.ndarray:
        """(K, V, J, 2) derivative of the errors without time offsets by the log focal length.

        By differences: the metric of the rays depends on the focal length as well. The lever of the detection
        alone leaves out the error's own growth, which all detections have in common: focal lengths came
        out 4 % too long with detections that are off by 2 % of people's size.
        """
        if not (self.deviations[:, FOCAL] > 0).any():
            return np.zeros(errors.shape)
        cameras = self._zoomed(state.log_focals + _FOCAL_STEP)
        zoomed = observe(cameras, self.poses, self.settings.least_score)
        moved, _ = image_errors(zoomed, state.rotations, state.centers, state.points)
        return (moved - errors) / _FOCAL_STEP

    def _add_priors(self, linear: _Linear, state: _State) -> None:
        precision = np.where(self._has_prior, 1.0 / self._prior_scale**2, 0.0).ravel()
        index = np.arange(len(precision))
        linear.rest[index, index] += precision
        linear.rest_right[index] -= precision * self._off_prior(state).ravel()

    def _add_bones(self, linear: _Linear, state: _State) -> None:
        errors, there = self._bone_errors(state)
        weights = self._robust_weights(errors**2) * there * self.weights[:, None]
        share, cameras = self.settings.bone_share, PARAMETERS * len(self.cameras)
        for bone, (first, second) in enumerate(self.bones.ends):
            between = state.points[:, first] - state.points[:, second]
            slope = between / np.maximum((between**2).sum(axis=-1), 1.0)[:, None] / share
            weight, length = weights[:, bone], int(self.bones.length[bone])
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
            own = cameras + self.person * self.bones.lengths + length
            np.add.at(linear.rest, (own, own), weight / share**2)
            np.add.at(linear.rest_right, own, weight * errors[:, bone] / share)

    def reduced(self, linear: _Linear, damping: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Schur complement of the points, its right side, and what gives the points back (K, 3 J, G + 1)."""
        blocks = linear.points.copy()
        diagonal = np.arange(blocks.shape[1])
        # Joints that are not known have empty blocks and do not move.
        own = blocks[:, diagonal, diagonal]
        blocks[:, diagonal, diagonal] = own * (1.0 + damping) + np.where(own > 0, 1e-12, 1.0)
        back = np.linalg.solve(blocks, np.concatenate([linear.mixed, linear.points_right[..., None]], axis=2))
        rest, right = linear.rest.copy(), linear.rest_right.copy()
        index = np.arange(self.rest_size)
        rest[index, index] *= 1.0 + damping
        count = PARAMETERS * len(self.cameras)
        for number in range(len(self.people)):
            own_poses = self.person == number
            taken = _gram(linear.mixed[own_poses], back[own_poses])
            own_bones = count + number * self.bones.lengths + np.arange(self.bones.lengths)
            local = np.concatenate([index[:count], own_bones])
            rest[np.ix_(local, local)] -= taken[:, :-1]
            right[local] -= taken[:, -1]
        return rest, right, back

    def step(self, linear: _Linear, damping: float) -> tuple[np.ndarray, np.ndarray]:
        """The step of the rest (8 V + P B,) and of the points (K, 3 J)."""
        rest, right, back = self.reduced(linear, damping)
        solved = _solve_symmetric(rest, right, self._solvable(rest))
        count = PARAMETERS * len(self.cameras)
        bones = solved[count:].reshape(len(self.people), self.bones.lengths)[self.person]
        local = np.concatenate([np.broadcast_to(solved[:count], (len(bones), count)), bones], axis=1)
        return solved, back[..., -1] - (back[..., :-1] @ local[..., None])[..., 0]

    def _solvable(self, rest: np.ndarray) -> np.ndarray:
        """Which of the rest are free and tied to anything."""
        free = np.ones(self.rest_size, bool)
        free[: len(self.free)] = self.free
        return free & (np.diag(rest) > 0)

    def _covariance(self, state: _State) -> np.ndarray:
        rest, _, _ = self.reduced(self.linearize(state), 0.0)
        solvable = self._solvable(rest)
        count = PARAMETERS * len(self.cameras)
        inverse = np.zeros_like(rest)
        kept = np.flatnonzero(solvable)
        scale = 1.0 / np.sqrt(np.diag(rest)[kept])
        scaled = rest[np.ix_(kept, kept)] * scale[:, None] * scale
        inverse[np.ix_(kept, kept)] = np.linalg.pinv(scaled, hermitian=True) * scale[:, None] * scale
        return inverse[:count, :count]


def _descend(problem: _Problem, state: _State, settings: AdjustmentSettings) -> tuple[_State, int]:
    """Damped steps as long as they pay."""
    damping, cost = _FIRST_DAMPING, problem.cost(state)
    for taken in range(settings.steps):
        linear = problem.linearize(state)
        while True:
            moved = problem.moved(state, *problem.step(linear, damping))
            new_cost = problem.cost(moved)
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


def _gram(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Sum over the poses of one^T other, of (K, N, G) and (K, N, H): (G, H)."""
    return one.reshape(-1, one.shape[-1]).T @ other.reshape(-1, other.shape[-1])


def _outer_sum(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """one^T other over the two pixel coordinates, of (..., 2, A) and (..., 2, B): (..., A, B)."""
    first = one[..., 0, :, None] * other[..., 0, None, :]
    return first + one[..., 1, :, None] * other[..., 1, None, :]


def _prior_deviations(settings: AdjustmentSettings, count: int) -> np.ndarray:
    """(V, 8) in the units of the parameters."""
    deviations = np.empty((count, PARAMETERS))
    deviations[:, ROTATION] = np.radians(np.broadcast_to(settings.rotation_deg, count))[:, None]
    deviations[:, CENTER] = np.broadcast_to(settings.center_mm, count)[:, None]
    deviations[:, OFFSET] = np.broadcast_to(settings.offset_ms, count) / 1000.0
    deviations[0, OFFSET] = 0.0
    deviations[:, FOCAL] = np.broadcast_to(settings.focal, count)
    return deviations


def _solve_symmetric(system: np.ndarray, right: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Of the free unknowns, scaled to a unit diagonal; the others 0."""
    kept = np.flatnonzero(free)
    scale = 1.0 / np.sqrt(np.diag(system)[kept])
    scaled = system[np.ix_(kept, kept)] * scale[:, None] * scale
    solved = np.zeros(len(right))
    solved[kept] = scale * np.linalg.lstsq(scaled, scale * right[kept], rcond=1e-14)[0]
    return solved


def _orthonormal(rotation: np.ndarray) -> np.ndarray:
    u, _, vt = np.linalg.svd(rotation)
    return u @ vt
