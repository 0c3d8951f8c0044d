"""Which camera of a rig no longer fits the others: turned, moved, or late; from people whom they share.

The rays of a joint in two cameras lie in one plane with both centres. What is wrong with a camera shows in
all of its pairs and in no other pair, which tells whose fault it is: for each camera the motion (rotation
and centre) or the time offset is fitted that brings its pairs to agreement, and the camera whose fit
explains most is the one.

Shapes: K poses, V cameras, J joints, M residuals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from voxelpose_core.association import masked_median
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.self_calibration.observations import SharedPoses
from voxelpose_core.self_calibration.observed_rays import observe

# Epipolar distances, as shares of people's size, beyond which a residual counts less and less.
_SCALE = 0.04
# Deviations of what is fitted: it holds what the poses say nothing about.
_ROTATION_RAD, _CENTER_MM, _OFFSET_S = np.radians(3.0), 60.0, 0.3
# Of a residual, for the weight of these against the many joints of a person, whose errors go together.
_NOISE, _INDEPENDENT_JOINTS = 0.03, 3.0
_STEPS, _SETTLED = 8, 0.01
# Pairs of rays this close to parallel, or to the line between the cameras, rad, tell nothing.
_LEAST_ANGLE = 0.03
# A person has moved on when the median joint has, by this share of the person's size in some image.
_STEP_SHARE = 0.2
# With fewer poses a camera is not judged.
LEAST_POSES = 15
_MOST_FAULTS = 3

MOVED, LATE = "moved", "late"


@dataclass(frozen=True)
class CameraFault:
    """What is wrong with a camera.

    Attributes:
        camera: its index.
        kind: `MOVED` or `LATE`.
        degrees: by which it seems turned.
        mm: by which its centre seems moved; uncertain, see `_CENTER_MM`.
        offset_ms: to be added to its stamps.
        gain: of the cost of its pairs, how much the fit explains, 0 to 1.
        rival: index of the camera that may be the one in its place; -1: none.
        poses: that it shares.
    """

    camera: int
    kind: str
    degrees: float
    mm: float
    offset_ms: float
    gain: float
    rival: int
    poses: int


@dataclass(frozen=True)
class FaultLimits:
    """Above which a camera is at fault.

    Attributes:
        degrees: it seems turned by so much.
        mm: or moved.
        offset_ms: it seems late or early by so much.
        gain: least share of the cost of its pairs that the fit explains.
        rival: another camera whose fit explains as large a share of what this one's does may be the one.
    """

    degrees: float = 0.6
    mm: float = 120.0
    offset_ms: float = 30.0
    gain: float = 0.07
    rival: float = 0.85


def moving_poses(poses: SharedPoses) -> SharedPoses:
    """Those of people who have moved on since the one before; standing people repeat the same errors."""
    size = np.ptp(poses.pixels, axis=2).max(axis=-1)
    kept: list[int] = []
    for person in np.unique(poses.people):
        last = -1
        for index in np.flatnonzero(poses.people == person).tolist():
            if last < 0 or _has_moved(poses, last, index, size):
                kept.append(index)
                last = index
    return poses.select(np.array(sorted(kept), int))


def _has_moved(poses: SharedPoses, one: int, other: int, size: np.ndarray) -> bool:
    common = (poses.scores[one] > 0) & (poses.scores[other] > 0)
    step = np.linalg.norm(poses.pixels[one] - poses.pixels[other], axis=-1)
    share = masked_median(step, common) / np.maximum(np.maximum(size[one], size[other]), 1.0)
    return bool((share[common.sum(axis=-1) >= 4] >= _STEP_SHARE).any())


def find_faults(
    cameras: Sequence[Camera], poses: SharedPoses, limits: FaultLimits = FaultLimits()
) -> list[CameraFault]:
    """The cameras that are clearly at fault, the clearest first.

    Args:
        cameras: V, as calibrated.
        poses: K, of people who move (`moving_poses`).
        limits: what is clear.
    """
    evidence = _Evidence(cameras, poses)
    faults: list[CameraFault] = []
    while len(faults) < min(_MOST_FAULTS, len(cameras) - 1):
        fault = evidence.clearest(limits, {fault.camera for fault in faults})
        if fault is None:
            break
        faults.append(fault)
    return faults


@dataclass(frozen=True, eq=False)
class _Fit:
    """What brings a camera's pairs to agreement.

    Attributes:
        rays, velocities: (K, J, 3) of the camera, corrected.
        center: (3,) mm, corrected.
        fault: what was found; its rival is not yet known.
        saved: cost of all pairs, less.
    """

    rays: np.ndarray
    velocities: np.ndarray
    center: np.ndarray
    fault: CameraFault
    saved: float


class _Evidence:
    """The rays of all poses in the world, as corrected so far."""

    def __init__(self, cameras: Sequence[Camera], poses: SharedPoses):
        observed = observe(cameras, poses)
        rotations = np.stack([camera.R for camera in cameras])
        self.rays = observed.directions @ rotations
        metric = observed.metric
        square = metric @ metric.swapaxes(-1, -2)
        square = np.where(observed.used[..., None, None], square, np.eye(2))
        steps = np.linalg.solve(square, observed.velocities[..., None])
        self.velocities = (metric.swapaxes(-1, -2) @ steps)[..., 0] @ rotations
        per_radian = np.linalg.norm(metric, axis=(-2, -1)) / 2**0.5
        count = np.maximum(observed.used.sum(axis=-1), 1)
        per_radian = (per_radian * observed.used).sum(axis=-1) / count
        self.sizes = observed.sizes / np.maximum(per_radian, 1.0)
        self.used = observed.used
        self.centers = np.stack([camera.C for camera in cameras])
        self.shared = (self.used.any(axis=-1) & (self.used.any(axis=-1).sum(axis=1) > 1)[:, None]).sum(axis=0)

    def clearest(self, limits: FaultLimits, known: set[int]) -> CameraFault | None:
        """The fault that explains most, if it is above the limits; it is corrected from then on."""
        fits = [
            fit
            for view in range(len(self.centers))
            if view not in known and self.shared[view] >= LEAST_POSES
            for kind in (MOVED, LATE)
            if (fit := self._fit(view, kind)) is not None
        ]
        if not fits:
            return None
        best = max(fits, key=lambda fit: fit.saved)
        if not _is_clear(best.fault, limits):
            return None
        view = best.fault.camera
        rivals = [
            fit
            for fit in fits
            if fit.fault.camera != view
            and fit.saved >= limits.rival * best.saved
            and _is_clear(fit.fault, limits)
        ]
        rival = max(rivals, key=lambda fit: fit.saved).fault.camera if rivals else -1
        self.rays[:, view], self.velocities[:, view] = best.rays, best.velocities
        self.centers[view] = best.center
        return CameraFault(**{**vars(best.fault), "rival": rival})

    def _fit(self, view: int, kind: str) -> _Fit | None:
        """Fit what is wrong with one camera, by reweighted least squares."""
        rays, velocities, center = self.rays[:, view], self.velocities[:, view], self.centers[view]
        first, _ = self._residuals(view, rays, velocities, center)
        if not len(first):
            return None
        columns = slice(0, 6) if kind == MOVED else slice(6, 7)
        deviations = np.array([_ROTATION_RAD] * 3 + [_CENTER_MM] * 3 + [_OFFSET_S])[columns]
        turned, moved, offset = np.eye(3), np.zeros(3), 0.0
        rotation = Rotation.identity()
        for _ in range(_STEPS):
            residuals, slopes = self._residuals(view, rays, velocities, center)
            slopes = slopes[:, columns] * deviations
            weights = 1.0 / (1.0 + (residuals / _SCALE) ** 2)
            precision = weights / (_INDEPENDENT_JOINTS * _NOISE**2)
            state = np.array([*rotation.as_rotvec(), *moved, offset])[columns] / deviations
            normal = (slopes * precision[:, None]).T @ slopes + np.eye(len(deviations))
            step = deviations * np.linalg.solve(normal, -(slopes * precision[:, None]).T @ residuals - state)
            if kind == MOVED:
                rotation = Rotation.from_rotvec(step[:3]) * rotation
                moved = moved + step[3:]
            else:
                offset += float(np.clip(step[0], -0.3, 0.3))
            turned = rotation.as_matrix()
            velocities = self.velocities[:, view] @ turned.T
            rays = self.rays[:, view] @ turned.T + offset * velocities
            rays = rays / np.linalg.norm(rays, axis=-1, keepdims=True)
            center = self.centers[view] + moved
            if np.abs(step / deviations).max() < _SETTLED:
                break
        last, _ = self._residuals(view, rays, velocities, center)
        before, after = _cost(first), _cost(last)
        fault = CameraFault(
            view,
            kind,
            float(np.degrees(rotation.magnitude())),
            float(np.linalg.norm(moved)),
            # Rays are moved on where stamps would be moved back.
            -1e3 * offset,
            1.0 - after / max(before, 1e-9),
            -1,
            int(self.shared[view]),
        )
        return _Fit(rays, velocities, center, fault, before - after)

    def _residuals(
        self, view: int, rays: np.ndarray, velocities: np.ndarray, center: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Signed Sampson distances of a camera's pairs as shares of people's size, and their slopes.

        Returns:
            (M,) and (M, 7): by rotation about the world's axes, rad, by the centre, mm, and by the offset, s.
        """
        distances, slopes = [], []
        for other in range(len(self.centers)):
            if other == view:
                continue
            both = self.used[:, view] & self.used[:, other]
            pose = np.nonzero(both)[0]
            own, theirs, moving = rays[both], self.rays[:, other][both], velocities[both]
            baseline = self.centers[other] - center
            length = float(np.linalg.norm(baseline))
            if not len(own) or length < 1.0:
                continue
            line = baseline / length
            normal_own, normal_theirs = np.cross(line, own), np.cross(theirs, line)
            triple = (normal_own * theirs).sum(axis=1)
            variance = (normal_theirs**2).sum(axis=1) - triple**2
            variance = np.maximum(variance, _LEAST_ANGLE**2) * self.sizes[pose, view] ** 2
            other_variance = np.maximum((normal_own**2).sum(axis=1) - triple**2, _LEAST_ANGLE**2)
            scale = 1.0 / np.sqrt(variance + other_variance * self.sizes[pose, other] ** 2)
            across = np.cross(own, theirs)
            by_rotation = np.cross(own, normal_theirs)
            by_center = -(across - (across @ line)[:, None] * line) / length
            by_offset = (moving * normal_theirs).sum(axis=1)
            distances.append(triple * scale)
            slopes.append(np.column_stack([by_rotation, by_center, by_offset]) * scale[:, None])
        if not distances:
            return np.zeros(0), np.zeros((0, 7))
        return np.concatenate(distances), np.concatenate(slopes)


def _cost(residuals: np.ndarray) -> float:
    return float(np.log1p((residuals / _SCALE) ** 2).sum())


def _is_clear(fault: CameraFault, limits: FaultLimits) -> bool:
    large = (
        abs(fault.offset_ms) >= limits.offset_ms
        if fault.kind == LATE
        else fault.degrees >= limits.degrees or fault.mm >= limits.mm
    )
    return large and fault.gain >= limits.gain
