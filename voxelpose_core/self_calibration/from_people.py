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
from voxelpose_core.metrics.rig_error import RigError
from voxelpose_core.self_calibration.adjustment_objective import FOCAL, OFFSET
from voxelpose_core.self_calibration.alignment import Alignment, align_to_people
from voxelpose_core.self_calibration.bodies import measure_bodies, triangulate_poses
from voxelpose_core.self_calibration.gauge import relative_deviations
from voxelpose_core.self_calibration.missing_links import explain_missing_links
from voxelpose_core.self_calibration.movement import too_narrow
from voxelpose_core.self_calibration.observations import Recording, SharedPoses
from voxelpose_core.self_calibration.people_fit import (
    Fit,
    best_focal,
    compare_halves,
    fit_from_starts,
    require_enough,
    require_people,
    require_right_focal,
    require_sure_focal,
)
from voxelpose_core.self_calibration.unknown_poses import (
    associate,
    separated,
    spread_of_places,
)

# Where the height of people is not given.
ASSUMED_HEIGHT_MM = 1700.0
# How well a body's segments tell its stature: a share.
_STATURE_SHARE = 0.04


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


def check_field_of_view(degrees: float) -> None:
    """InputError for a field of view that no pinhole has."""
    if not 5.0 <= degrees <= 150.0:
        raise InputError(f"field of view is {degrees:g} degrees, expected 5 to 150")


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
        try:
            check_field_of_view(field)
        except InputError as error:
            raise InputError(f"camera '{name}': {error}") from None
        focal = max(width, height) / 2 / np.tan(np.radians(field) / 2)
        K = [[focal, 0.0, (width - 1) / 2], [0.0, focal, (height - 1) / 2], [0.0, 0.0, 1.0]]
        cameras.append(Camera(name, (width, height), K, np.zeros(5), np.eye(3), np.zeros(3)))
    return tuple(cameras)


def rig_from_people(
    recording: Recording, lenses: Sequence[Camera], settings: FromPeopleSettings = FromPeopleSettings()
) -> RigFromPeople:
    """The rig that saw the people of a recording.

    Args:
        recording: of V cameras, with a person who walks to and fro, best for twenty seconds.
        lenses: V cameras in the order of the recording. Intrinsics and distortion are used, poses are not;
            `guessed_cameras` makes them from a field of view.
        settings: how the rig is looked for.

    Raises:
        InputError: with the reason and what to do, where the recording does not tell the rig: no person in
            view, people who stand still, a camera that shares no person with the others, clocks farther apart
            than searched, a wrong focal length, starts or halves that do not agree.
    """
    lenses = tuple(dataclasses.replace(camera, time_offset_ms=0.0) for camera in lenses)
    if len(lenses) != len(recording.cameras) or len(lenses) < 2:
        raise InputError(
            f"{len(recording.cameras)} recorded cameras and intrinsics of {len(lenses)}, expected as many of "
            "each and at least 2"
        )
    require_people(recording)
    stature = settings.height_mm or ASSUMED_HEIGHT_MM
    association = associate(recording, lenses, stature, settings.max_offset_s, settings.seed)
    if settings.free_focal:
        association = best_focal(association, recording, stature)
    if reason := too_narrow(spread_of_places(association)):
        raise InputError(reason)
    if len(separated(association)) > 1:
        raise InputError(explain_missing_links(association, recording, stature, settings.max_offset_s))
    fitted = fit_from_starts(association, recording, settings.free_focal)
    require_enough(fitted, recording)
    halves = compare_halves(fitted, recording)
    if settings.free_focal:
        require_sure_focal(fitted)
    else:
        require_right_focal(fitted, recording)
    return _result(fitted, halves, recording, settings)


def _result(fit: Fit, halves: RigError, recording: Recording, settings: FromPeopleSettings) -> RigFromPeople:
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
