"""The adjustment of a rig from people alone, from several starts, and whether it may be believed.

Everything that refuses does so with one line that names the camera and says what to do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.metrics.rig_error import RigError, rig_error
from voxelpose_core.self_calibration.adjustment import Adjustment, adjust
from voxelpose_core.self_calibration.adjustment_objective import FOCAL, AdjustmentSettings
from voxelpose_core.self_calibration.movement import uncovered
from voxelpose_core.self_calibration.observations import Recording, SharedPoses
from voxelpose_core.self_calibration.unknown_poses import (
    Association,
    RoughRig,
    rough_rigs,
    shared_by_tracks,
    with_lenses,
)

# Deviation of a guessed focal length, and guesses tried around it.
_FOCAL_GUESS = 0.4
_FOCAL_FACTORS = (1.0, 0.8, 1.25, 0.65, 1.55)
# The start is anywhere within this: infinite priors would leave the world without hold.
_FREE_DEG, _FREE_SHARE, _OFFSET_MS = 60.0, 1.0, 200.0
_STARTS = 2
# Fewer poses seen by two cameras are no calibration, nor is a camera with fewer of them.
_LEAST_POSES, _LEAST_OWN_POSES = 12, 8
# Starts that differ by more, degrees, while one fits hardly worse, as a share of the noise.
_STARTS_DEG, _AS_GOOD = 1.0, 1.03
# Halves of the recording may differ by so much, degrees, and as a share of the rig's distance from people.
_HALVES_DEG, _HALVES_SHARE = 1.5, 0.04
# A detector's errors as a share of people's size; more is another cause.
_MOST_NOISE = 0.06
# A given focal length that people contradict by more than this share, and so many standard deviations.
_WRONG_FOCAL, _SURE = 0.08, 3.5
# Standard deviation of an estimated focal length, as a share, that is no answer.
_UNSURE_FOCAL = 0.06


@dataclass(frozen=True, eq=False)
class Fit:
    """An adjusted rig in the first camera's upright world."""

    adjustment: Adjustment
    poses: SharedPoses
    offsets_s: np.ndarray

    @property
    def rig(self) -> Rig:
        return Rig(self.adjustment.cameras)

    @property
    def joints(self) -> np.ndarray:
        """(N, 3) all joints."""
        joints = self.adjustment.joints.reshape(-1, 3)
        return joints[np.isfinite(joints[:, 0])]


def require_people(recording: Recording) -> None:
    empty = [camera.name for camera in recording.cameras if not any(map(len, camera.people))]
    if len(empty) == len(recording.cameras):
        raise InputError(
            "no person is in view of any camera: let a person walk where several cameras see them"
        )
    if empty:
        raise InputError(f"camera {_quoted(empty)}: no person is in view in the whole recording")


def best_focal(association: Association, recording: Recording, stature: float) -> Association:
    """The association with focal lengths times that common factor under which most joints agree."""
    best, best_support = association, -1.0
    for factor in _FOCAL_FACTORS:
        lenses = [zoomed(view.camera, factor) for view in association.views]
        tried = with_lenses(association, lenses, recording.joint_set, stature)
        support = sum(match.support for match in tried.pairs.values())
        if support > best_support:
            best, best_support = tried, support
    return best


def zoomed(camera: Camera, factor: float) -> Camera:
    """The camera with its focal lengths multiplied."""
    K = camera.K.copy()
    K[:2, :2] *= factor
    return dataclasses.replace(camera, K=K)


def fit_from_starts(association: Association, recording: Recording, free_focal: bool) -> Fit:
    """The best of several starts, which must agree unless one is clearly better."""
    fits = [_fit(association, rough, recording, free_focal) for rough in rough_rigs(association)[:_STARTS]]
    fits.sort(key=lambda fit: fit.adjustment.noise)
    best = fits[0]
    for other in fits[1:]:
        if other.adjustment.noise > _AS_GOOD * best.adjustment.noise or not len(best.joints):
            continue
        difference = _difference(other, best)
        if difference.degrees.max() > _STARTS_DEG:
            raise InputError(
                "the recording does not tell the rig: two rigs fit equally well and differ by "
                f"{difference.degrees.max():.1f} degrees; let a person walk to and fro for twenty seconds"
            )
    return best


def _fit(association: Association, rough: RoughRig, recording: Recording, free_focal: bool) -> Fit:
    poses = shared_by_tracks(association, rough)
    if not len(poses):
        raise InputError("no person is seen by two cameras at one time: check that the clocks agree")
    adjusted = adjust(rough.cameras, poses, recording.joint_set, _free(rough.cameras, free_focal))
    return Fit(adjusted, poses, rough.offsets_s + adjusted.offsets_s)


def _free(cameras: Sequence[Camera], free_focal: bool) -> AdjustmentSettings:
    """All cameras but the first are free, held by next to nothing."""
    others = len(cameras) - 1
    reach = _FREE_SHARE * float(np.median([np.linalg.norm(c.C - cameras[0].C) for c in cameras[1:]]))
    return AdjustmentSettings(
        rotation_deg=[0.0, *[_FREE_DEG] * others],
        center_mm=[0.0, *[max(reach, 500.0)] * others],
        offset_ms=_OFFSET_MS,
        focal=_FOCAL_GUESS if free_focal else 0.0,
    )


def _difference(one: Fit, other: Fit) -> RigError:
    """Of two fits after the similarity that brings them together."""
    return rig_error(one.rig, other.rig, other.joints, similarity=True)


def require_enough(fit: Fit, recording: Recording) -> None:
    names = [camera.name for camera in recording.cameras]
    known = np.isfinite(fit.adjustment.joints[..., 0]).sum(axis=1) >= 4
    if known.sum() < _LEAST_POSES:
        raise InputError(
            f"{int(known.sum())} poses of people seen by two cameras, expected at least {_LEAST_POSES}: the "
            "recording is too short; twenty seconds of a person who walks are enough"
        )
    own = np.isfinite(fit.adjustment.shares).any(axis=-1).sum(axis=0)
    few = [name for name, count in zip(names, own, strict=True) if count < _LEAST_OWN_POSES]
    if few:
        raise InputError(
            f"camera {_quoted(few)}: sees people together with others at {int(own.min())} times only, "
            f"expected at least {_LEAST_OWN_POSES}; walk where it sees you, too"
        )
    if reason := uncovered(fit.adjustment.joints, fit.adjustment.cameras):
        raise InputError(reason)
    if fit.adjustment.noise > _MOST_NOISE:
        raise InputError(
            f"no rig fits: 2D detections are {100 * fit.adjustment.noise:.0f} % of people's size off, "
            f"expected {100 * _MOST_NOISE:.0f} % or less; check the intrinsics, or leave them out (--fov)"
        )


def compare_halves(fit: Fit, recording: Recording) -> RigError:
    """How far the rigs of the recording's two halves are from each other."""
    order = np.argsort(fit.poses.times, kind="stable")
    middle = len(order) // 2
    rigs = []
    for part in (order[:middle], order[middle:]):
        poses = fit.poses.select(part)
        # Focal lengths are those of the whole: a camera that zooms as it moves off hardly changes its image.
        free = _free(fit.adjustment.cameras, False)
        rigs.append(Rig(adjust(fit.adjustment.cameras, poses, recording.joint_set, free).cameras))
    difference = rig_error(rigs[0], rigs[1], fit.joints, similarity=True)
    share = difference.mm / _distances(fit)
    worst = int(np.argmax(np.maximum(difference.degrees / _HALVES_DEG, share / _HALVES_SHARE)))
    if difference.degrees[worst] > _HALVES_DEG or share[worst] > _HALVES_SHARE:
        raise InputError(
            f"camera '{recording.cameras[worst].name}': the two halves of the recording differ by "
            f"{difference.degrees[worst]:.1f} degrees and {difference.mm[worst]:.0f} mm, expected at most "
            f"{_HALVES_DEG:g} degrees and {100 * _HALVES_SHARE:.0f} % of the distance to people; record "
            "longer and walk through the whole space"
        )
    return difference


def _distances(fit: Fit) -> np.ndarray:
    """(V,) median distance of people from the cameras."""
    return np.array([np.median(np.linalg.norm(fit.joints - c.C, axis=1)) for c in fit.adjustment.cameras])


def require_sure_focal(fit: Fit) -> None:
    sigma = fit.adjustment.deviations(FOCAL)
    worst = int(np.argmax(sigma))
    if sigma[worst] > _UNSURE_FOCAL:
        raise InputError(
            f"camera '{fit.adjustment.cameras[worst].name}': its focal length is known to "
            f"{100 * sigma[worst]:.0f} % only, expected {100 * _UNSURE_FOCAL:.0f} % or better: walk towards "
            "it, or give its intrinsics (--intrinsics)"
        )


def require_right_focal(fit: Fit, recording: Recording) -> None:
    """Refuse intrinsics that people contradict."""
    free = _free(fit.adjustment.cameras, True)
    other = adjust(fit.adjustment.cameras, fit.poses, recording.joint_set, free)
    sigma = other.deviations(FOCAL)
    factors = np.array(
        [new.K[0, 0] / old.K[0, 0] for new, old in zip(other.cameras, fit.adjustment.cameras, strict=True)]
    )
    off = np.abs(np.log(factors))
    wrong = (off > _WRONG_FOCAL) & (off > _SURE * sigma)
    if wrong.any():
        worst = int(np.argmax(np.where(wrong, off, 0.0)))
        given = fit.adjustment.cameras[worst]
        raise InputError(
            f"camera '{given.name}': its focal length is {given.K[0, 0]:.0f} px, but people fit "
            f"{given.K[0, 0] * factors[worst]:.0f} px ({100 * (factors[worst] - 1):+.0f} %); check its "
            "intrinsics (resolution, zoom), or leave them out (--fov)"
        )


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
