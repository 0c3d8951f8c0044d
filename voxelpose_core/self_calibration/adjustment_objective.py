"""What the bundle adjustment (`adjustment`) minimizes: a function of cameras, offsets, joints and bones."""

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


@dataclass
class State:
    """Where the search is: V cameras, K poses, J joints, P people, B bone lengths."""

    rotations: np.ndarray
    centers: np.ndarray
    offsets: np.ndarray
    log_focals: np.ndarray
    points: np.ndarray
    bone_logs: np.ndarray
    rays: ObservedRays


def independent_weights(poses: SharedPoses) -> np.ndarray:
    """(K,) how much news each pose brings: one over the sum of its errors' correlations with the others'."""
    apart = np.abs(poses.times[:, None] - poses.times[None])
    same = poses.people[:, None] == poses.people[None]
    correlation = np.where(same, _LASTING * np.exp(-apart / _LASTING_S), 0.0)
    np.fill_diagonal(correlation, 1.0)
    return 1.0 / correlation.sum(axis=1)


class Objective:
    """The detections, and what is minimized as a function of the state."""

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

    def start(self) -> State:
        """The given cameras, and the joints that they triangulate."""
        rays = observe(self.cameras, self.poses, self.settings.least_score)
        rotations = np.stack([camera.R for camera in self.cameras])
        centers = np.stack([camera.C for camera in self.cameras])
        points, self.good = triangulate_rays(rays, rotations, centers, share=0.05)
        logs = self.bones.mean_logs(points, self.good, self.person, len(self.people))
        count = len(self.cameras)
        return State(rotations, centers, np.zeros(count), np.zeros(count), points, logs, rays)

    def moved(self, state: State, rest: np.ndarray, points: np.ndarray) -> State:
        """The state after a step (8 V + P B,) and (K, 3 J)."""
        count = len(self.cameras)
        step = rest[: PARAMETERS * count].reshape(count, PARAMETERS)
        rotations = Rotation.from_rotvec(step[:, ROTATION]).as_matrix() @ state.rotations
        rays, log_focals = state.rays, state.log_focals
        if (self.deviations[:, FOCAL] > 0).any():
            log_focals = log_focals + np.clip(step[:, FOCAL], -0.3, 0.3)
            rays = observe(self.zoomed(log_focals), self.poses, self.settings.least_score)
            rays = dataclasses.replace(rays, used=rays.used & state.rays.used)
        return State(
            rotations,
            state.centers + step[:, CENTER],
            state.offsets + step[:, OFFSET],
            log_focals,
            state.points + points.reshape(state.points.shape),
            state.bone_logs + rest[PARAMETERS * count :].reshape(state.bone_logs.shape),
            rays,
        )

    def zoomed(self, log_focals: np.ndarray) -> list[Camera]:
        """The given cameras with focal lengths that are longer by exp(log_focals), (V,)."""
        zoomed = []
        for camera, log_focal in zip(self.cameras, log_focals, strict=True):
            K = camera.K.copy()
            K[0, :2] *= np.exp(log_focal)
            K[1, 1] *= np.exp(log_focal)
            zoomed.append(dataclasses.replace(camera, K=K))
        return zoomed

    def used(self, state: State) -> np.ndarray:
        """(K, V, J) bool."""
        return state.rays.used & self.good[:, None]

    # --- objective --------------------------------------------------------------------------------

    def estimate_noise(self, state: State) -> None:
        """The deviation of the detections, by the median of their errors; fewer views fit them better."""
        used = self.used(state)
        views = np.maximum(used.sum(axis=1), 2)
        freedom = np.sqrt(2 * views / (2 * views - 3.0))
        shares = np.linalg.norm(self.errors(state)[0], axis=-1) / state.rays.sizes[..., None]
        shares = (shares * freedom[:, None])[used]
        if len(shares):
            self.noise = float(np.clip(np.median(shares) / _RAYLEIGH_MEDIAN, _SMALLEST_SHARE, _LARGEST_SHARE))

    def cost(self, state: State) -> float:
        """Value of the objective."""
        errors, _ = self.errors(state)
        squares = (errors**2).sum(axis=-1) / (self.noise * state.rays.sizes[..., None]) ** 2
        data = (self._loss(squares) * self.used(state)).sum(axis=(1, 2)) @ self.weights
        prior = np.where(self.has_prior, (self.off_prior(state) / self.prior_scale) ** 2, 0.0).sum()
        return float(data + prior + self._bone_cost(state))

    def _bone_cost(self, state: State) -> float:
        if not self.settings.bone_share:
            return 0.0
        errors, there = self.bone_errors(state)
        return float((self._loss(errors**2) * there).sum(axis=1) @ self.weights)

    def _loss(self, squares: np.ndarray) -> np.ndarray:
        c2 = self.settings.cauchy**2
        return c2 * np.log1p(squares / c2)

    def robust_weights(self, squares: np.ndarray) -> np.ndarray:
        """Derivative of Cauchy's loss by squared errors, in squared standard deviations."""
        return 1.0 / (1.0 + squares / self.settings.cauchy**2)

    def errors(self, state: State) -> tuple[np.ndarray, np.ndarray]:
        """(K, V, J, 2) px with time offsets, and distances (K, V, J)."""
        errors, distances = image_errors(state.rays, state.rotations, state.centers, state.points)
        return errors + state.rays.velocities * state.offsets[:, None, None], distances

    def bone_errors(self, state: State) -> tuple[np.ndarray, np.ndarray]:
        """(K, bones) in standard deviations, and where there is one."""
        logs, there = self.bones.logs(state.points, self.good)
        return (logs - state.bone_logs[self.person][:, self.bones.length]) / self.settings.bone_share, there

    @property
    def has_prior(self) -> np.ndarray:
        """(V, 8) which parameters have a prior: neither free nor fixed."""
        return np.isfinite(self.deviations) & (self.deviations > 0)

    @property
    def prior_scale(self) -> np.ndarray:
        """(V, 8) standard deviations of the priors; 1 where there is none."""
        return np.where(self.has_prior, self.deviations, 1.0)

    def off_prior(self, state: State) -> np.ndarray:
        """(V, 8) how far the cameras are from where the priors have them."""
        off = np.zeros((len(self.cameras), PARAMETERS))
        turned = state.rotations @ self.prior_rotations.swapaxes(-1, -2)
        off[:, ROTATION] = Rotation.from_matrix(turned).as_rotvec()
        off[:, CENTER] = state.centers - self.prior_centers
        off[:, OFFSET] = state.offsets
        off[:, FOCAL] = state.log_focals - self.prior_log_focals
        return off


def _prior_deviations(settings: AdjustmentSettings, count: int) -> np.ndarray:
    """(V, 8) in the units of the parameters."""
    deviations = np.empty((count, PARAMETERS))
    deviations[:, ROTATION] = np.radians(np.broadcast_to(settings.rotation_deg, count))[:, None]
    deviations[:, CENTER] = np.broadcast_to(settings.center_mm, count)[:, None]
    deviations[:, OFFSET] = np.broadcast_to(settings.offset_ms, count) / 1000.0
    deviations[0, OFFSET] = 0.0
    deviations[:, FOCAL] = np.broadcast_to(settings.focal, count)
    return deviations
