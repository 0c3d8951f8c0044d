"""A whole calibration from people who walk: cameras, clocks and, where asked for, focal lengths.

Association and rough poses (`unknown_poses`), then the bundle adjustment from several starts, then the two
halves of the recording apart: what comes out is given only if starts and halves agree. The world is that of
the people: z up, the floor at 0, the origin where they walked, millimetres.
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
from voxelpose_core.self_calibration.adjustment import (
    FOCAL,
    OFFSET,
    Adjustment,
    AdjustmentSettings,
    adjust,
)
from voxelpose_core.self_calibration.alignment import Alignment, align_to_people
from voxelpose_core.self_calibration.bodies import measure_bodies, triangulate_poses
from voxelpose_core.self_calibration.gauge import relative_deviations
from voxelpose_core.self_calibration.missing_links import explain_missing_links
from voxelpose_core.self_calibration.observations import Recording, SharedPoses
from voxelpose_core.self_calibration.unknown_poses import (
    Association,
    RoughRig,
    associate,
    rough_rigs,
    separated,
    shared_by_tracks,
    spread_of_places,
    with_lenses,
)

# Nobody said how tall people are.
ASSUMED_HEIGHT_MM = 1700.0
# How well a body's segments tell its stature: a share.
_STATURE_SHARE = 0.04
# Deviation of a guessed focal length, and guesses tried around it.
_FOCAL_GUESS = 0.4
_FOCAL_FACTORS = (1.0, 0.8, 1.25, 0.65, 1.55)
# The start is anywhere within this: infinite priors would leave the world without hold.
_FREE_DEG, _FREE_SHARE, _OFFSET_MS = 60.0, 1.0, 200.0
_STARTS = 2
# Standing people: deviation of the hips as a share of their distance from the cameras.
_LEAST_SPREAD = 0.1
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


@dataclass(frozen=True)
class FromPeopleSettings:
    """How a rig is looked for.

    Attributes:
        height_mm: how tall people are; of several, their mean. None: 1700 mm, and the scale is said to be
            unknown, unless `distance` gives it.
        distance: names of two cameras and how far apart they stand, mm; gives the scale.
        free_focal: the focal lengths of the cameras are guesses.
        max_offset_s: clocks of cameras differ from the first one's by at most this.
        seed: of the random draws.
    """

    height_mm: float | None = None
    distance: tuple[str, str, float] | None = None
    free_focal: bool = False
    max_offset_s: float = 1.0
    seed: int = 0


@dataclass(frozen=True, eq=False)
class RigFromPeople:
    """A calibration, and how sure it is.

    Attributes:
        rig: z up, floor at 0, mm; with the time offsets of its cameras.
        offsets_ms: (V,) ADDED to the stamps, all cameras agree; the first is 0.
        sigma_deg, sigma_mm: (V,) standard deviations of the cameras' rotations and centres.
        sigma_offsets_ms: (V,).
        sigma_focal: (V,) as a share; 0 where it was given.
        sigma_scale: of all lengths, as a share.
        halves_deg, halves_mm: (V,) by which the two halves of the recording differ per camera.
        noise: deviation of the 2D detections, as a share of people's size.
        poses: the people it follows from, at times on the first camera's clock.
        alignment: floor, statures.
        notes: one line for each thing that a user should know.
    """

    rig: Rig
    offsets_ms: np.ndarray
    sigma_deg: np.ndarray
    sigma_mm: np.ndarray
    sigma_offsets_ms: np.ndarray
    sigma_focal: np.ndarray
    sigma_scale: float
    halves_deg: np.ndarray
    halves_mm: np.ndarray
    noise: float
    poses: SharedPoses
    alignment: Alignment
    notes: tuple[str, ...]


def guessed_cameras(
    names: Sequence[str], image_sizes: Sequence[tuple[int, int]], fov_deg: float | Sequence[float]
) -> tuple[Camera, ...]:
    """Cameras without poses and distortion, from the field of view of the longer side of their images.

    Args:
        names: of the V cameras.
        image_sizes: (width, height) of each.
        fov_deg: one guess for all, or one each.

    Raises:
        InputError: for a field of view that no pinhole has.
    """
    fields = np.broadcast_to(np.asarray(fov_deg, float), len(names))
    cameras = []
    for name, (width, height), field in zip(names, image_sizes, fields.tolist(), strict=True):
        if not 5.0 <= field <= 150.0:
            raise InputError(f"camera '{name}': field of view is {field:g} degrees, expected 5 to 150")
        focal = max(width, height) / 2 / np.tan(np.radians(field) / 2)
        K = [[focal, 0.0, (width - 1) / 2], [0.0, focal, (height - 1) / 2], [0.0, 0.0, 1.0]]
        cameras.append(Camera(name, (width, height), K, np.zeros(5), np.eye(3), np.zeros(3)))
    return tuple(cameras)


def rig_from_people(
    recording: Recording, lenses: Sequence[Camera], settings: FromPeopleSettings = FromPeopleSettings()
) -> RigFromPeople:
    """The rig that saw the people of a recording.

    Args:
        recording: of V cameras, with somebody who walks to and fro, best for twenty seconds.
        lenses: V cameras in the order of the recording. Intrinsics and distortion are used, poses are not;
            `guessed_cameras` makes them from a field of view.
        settings: how the rig is looked for.

    Raises:
        InputError: with the reason and what to do, where the recording does not tell the rig: nobody in
            view, people who stand still, a camera that shares nobody with the others, clocks farther apart
            than searched, a wrong focal length, starts or halves that do not agree.
    """
    lenses = tuple(dataclasses.replace(camera, time_offset_ms=0.0) for camera in lenses)
    if len(lenses) != len(recording.cameras) or len(lenses) < 2:
        raise InputError(
            f"{len(recording.cameras)} recorded cameras and intrinsics of {len(lenses)}, expected as many of "
            "each and at least 2"
        )
    _require_people(recording)
    stature = settings.height_mm or ASSUMED_HEIGHT_MM
    association = associate(recording, lenses, stature, settings.max_offset_s, settings.seed)
    if settings.free_focal:
        association = _best_focal(association, recording, stature)
    _require_walks(spread_of_places(association))
    if len(separated(association)) > 1:
        raise InputError(explain_missing_links(association, recording, stature, settings.max_offset_s))
    fitted = _fit_from_starts(association, recording, settings)
    _require_enough(fitted, recording)
    halves = _halves(fitted, recording)
    if settings.free_focal:
        _require_sure_focal(fitted)
    else:
        _require_right_focal(fitted, recording)
    return _result(fitted, halves, recording, settings)


@dataclass(frozen=True, eq=False)
class _Fit:
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


def _require_people(recording: Recording) -> None:
    empty = [camera.name for camera in recording.cameras if not any(map(len, camera.people))]
    if len(empty) == len(recording.cameras):
        raise InputError("nobody is in view of any camera: let somebody walk where several cameras see them")
    if empty:
        raise InputError(f"camera {_quoted(empty)}: nobody is in view in the whole recording")


def _best_focal(association: Association, recording: Recording, stature: float) -> Association:
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


def _fit_from_starts(association: Association, recording: Recording, settings: FromPeopleSettings) -> _Fit:
    """The best of several starts, which must agree unless one is clearly better."""
    fits = [_fit(association, rough, recording, settings) for rough in rough_rigs(association)[:_STARTS]]
    fits.sort(key=lambda fit: fit.adjustment.noise)
    best = fits[0]
    for other in fits[1:]:
        if other.adjustment.noise > _AS_GOOD * best.adjustment.noise or not len(best.joints):
            continue
        difference = _difference(other, best)
        if difference.degrees.max() > _STARTS_DEG:
            raise InputError(
                "the recording does not tell the rig: two rigs fit equally well and differ by "
                f"{difference.degrees.max():.1f} degrees; let somebody walk to and fro for twenty seconds"
            )
    return best


def _fit(
    association: Association, rough: RoughRig, recording: Recording, settings: FromPeopleSettings
) -> _Fit:
    poses = shared_by_tracks(association, rough)
    if not len(poses):
        raise InputError("no person is seen by two cameras at one time: check that the clocks agree")
    adjusted = adjust(rough.cameras, poses, recording.joint_set, _free(rough.cameras, settings.free_focal))
    return _Fit(adjusted, poses, rough.offsets_s + adjusted.offsets_s)


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


def _difference(one: _Fit, other: _Fit) -> RigError:
    """Of two fits after the similarity that brings them together."""
    return rig_error(one.rig, other.rig, other.joints, similarity=True)


def _require_enough(fit: _Fit, recording: Recording) -> None:
    names = [camera.name for camera in recording.cameras]
    known = np.isfinite(fit.adjustment.joints[..., 0]).sum(axis=1) >= 4
    if known.sum() < _LEAST_POSES:
        raise InputError(
            f"{int(known.sum())} poses of people seen by two cameras, expected at least {_LEAST_POSES}: the "
            "recording is too short; twenty seconds of somebody who walks are enough"
        )
    own = np.isfinite(fit.adjustment.shares).any(axis=-1).sum(axis=0)
    few = [name for name, count in zip(names, own, strict=True) if count < _LEAST_OWN_POSES]
    if few:
        raise InputError(
            f"camera {_quoted(few)}: sees people together with others at {int(own.min())} times only, "
            f"expected at least {_LEAST_OWN_POSES}; walk where it sees you, too"
        )
    _require_walks(_spread(fit))
    if fit.adjustment.noise > _MOST_NOISE:
        raise InputError(
            f"no rig fits: 2D detections are {100 * fit.adjustment.noise:.0f} % of people's size off, "
            f"expected {100 * _MOST_NOISE:.0f} % or less; check the intrinsics, or leave them out (--fov)"
        )


def _require_walks(spread: float) -> None:
    if spread < _LEAST_SPREAD:
        raise InputError(
            f"people hardly moved: over {100 * spread:.0f} % of their distance from the cameras, expected "
            f"{100 * _LEAST_SPREAD:.0f} % or more; let somebody walk to and fro for twenty seconds"
        )


def _spread(fit: _Fit) -> float:
    """Deviation of the middles of people, as a share of their distance from the cameras."""
    joints = fit.adjustment.joints
    known = np.isfinite(joints[..., 0])
    rows = known.sum(axis=1) >= 4
    middles = np.array([np.median(pose[good], axis=0) for pose, good in zip(joints[rows], known[rows])])
    centers = np.stack([camera.C for camera in fit.adjustment.cameras])
    distance = np.median(np.linalg.norm(middles[:, None] - centers, axis=-1))
    return float(np.sqrt(((middles - middles.mean(axis=0)) ** 2).sum(axis=1).mean()) / distance)


def _halves(fit: _Fit, recording: Recording) -> RigError:
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


def _distances(fit: _Fit) -> np.ndarray:
    """(V,) median distance of people from the cameras."""
    return np.array([np.median(np.linalg.norm(fit.joints - c.C, axis=1)) for c in fit.adjustment.cameras])


def _require_sure_focal(fit: _Fit) -> None:
    sigma = fit.adjustment.deviations(FOCAL)
    worst = int(np.argmax(sigma))
    if sigma[worst] > _UNSURE_FOCAL:
        raise InputError(
            f"camera '{fit.adjustment.cameras[worst].name}': its focal length is known to "
            f"{100 * sigma[worst]:.0f} % only, expected {100 * _UNSURE_FOCAL:.0f} % or better: walk towards "
            "it, or give its intrinsics (--intrinsics)"
        )


def _require_right_focal(fit: _Fit, recording: Recording) -> None:
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


def _result(fit: _Fit, halves: RigError, recording: Recording, settings: FromPeopleSettings) -> RigFromPeople:
    cameras = tuple(
        dataclasses.replace(camera, name=recorded.name)
        for camera, recorded in zip(fit.adjustment.cameras, recording.cameras, strict=True)
    )
    rig = Rig(cameras, name="from_people", source="people")
    bodies = measure_bodies(triangulate_poses(cameras, fit.poses), fit.poses.people, recording.joint_set)
    height = settings.height_mm
    if height is None and settings.distance is None:
        height = ASSUMED_HEIGHT_MM
    alignment = align_to_people(
        rig, bodies, fit.poses.times, None if settings.distance else height, settings.distance
    )
    scale = alignment.similarity.scale
    sigma_rad, sigma_mm = relative_deviations(cameras, fit.adjustment.covariance, free_scale=True)
    sigma_mm = scale * sigma_mm
    offsets = 1000.0 * (fit.offsets_s - fit.offsets_s[0])
    sigma_scale, notes = _scale_certainty(settings, cameras, sigma_mm, alignment)
    return RigFromPeople(
        alignment.rig.with_time_offsets(offsets.tolist()),
        offsets,
        np.degrees(sigma_rad),
        sigma_mm,
        1000.0 * fit.adjustment.deviations(OFFSET),
        fit.adjustment.deviations(FOCAL),
        sigma_scale,
        halves.degrees,
        scale * halves.mm,
        fit.adjustment.noise,
        fit.poses,
        alignment,
        (*notes, *alignment.notes),
    )


def _scale_certainty(
    settings: FromPeopleSettings, cameras: Sequence[Camera], sigma_mm: np.ndarray, alignment: Alignment
) -> tuple[float, list[str]]:
    """Standard deviation of the scale, as a share, and what to say of it."""
    if settings.distance is not None:
        names = [camera.name for camera in cameras]
        pair = [names.index(name) for name in settings.distance[:2]]
        return float(np.hypot(*sigma_mm[pair]) / settings.distance[2]), []
    people = max(len(alignment.statures), 1)
    if settings.height_mm is not None:
        return _STATURE_SHARE / float(np.sqrt(people)), []
    return 0.08 / float(np.sqrt(people)), [
        f"scale: people are taken to be {ASSUMED_HEIGHT_MM:.0f} mm tall, lengths may be 4 to 12 % off; "
        "give --height or --distance"
    ]


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
