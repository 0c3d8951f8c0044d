"""What people say of a rig: are the views at the right cameras and in sync, does the calibration fit, where
is the floor, how tall are they."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.camera_arrangement import camera_spread, scaled
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.self_calibration.adjustment import Adjustment, adjust
from voxelpose_core.self_calibration.adjustment_objective import FOCAL, AdjustmentSettings
from voxelpose_core.self_calibration.arrangement import Arrangement, find_arrangement
from voxelpose_core.self_calibration.bodies import Bodies, measure_bodies, triangulate_poses
from voxelpose_core.self_calibration.floor import Floor, find_floor
from voxelpose_core.self_calibration.halves import halves_in_time
from voxelpose_core.self_calibration.held_out import Disagreement, disagreement
from voxelpose_core.self_calibration.movement import stand_still
from voxelpose_core.self_calibration.observations import Recording, SharedPoses
from voxelpose_core.self_calibration.offsets import Alignment as Synchronized
from voxelpose_core.self_calibration.offsets import (
    OffsetEstimate,
    align,
    estimate_offsets,
    fit_halves,
    shared_counts,
)
from voxelpose_core.self_calibration.rig_faults import (
    LEAST_SHARED,
    SURE,
    CameraDiagnosis,
    Fault,
    find_rig_faults,
)
from voxelpose_core.skeletons import JointSet

SEARCH_S = 2.0
# Cameras farther apart, or nearer to each other, mm: the world has another unit.
_SPREAD_MM = (300.0, 100_000.0)
_ROOM_MM = 5000.0
# Focal lengths: freedom of the fit, and the error that is a fault, as shares; both halves must say so, and
# held-out disagreement must fall to this share.
_FOCAL_FREE, _FOCAL_FAULT, _FOCAL_FALL = 0.3, 0.05, 0.9


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """All that people say of a rig.

    Attributes:
        rig: as given.
        cameras: one each, in the order of the rig.
        faults: the most basic first; those that follow may come from it.
        unknown: one line for each thing that this recording cannot tell.
        arrangement: order, turns and mirroring.
        offsets_ms: (V,) total offsets for `--offsets-ms`, relative to the first camera; 0 where not known.
        poses: K poses at stamps that agree.
        disagreement: of the poses.
        bodies: the poses in the world of the rig, in its unit.
        floor: in the world of the rig; None where it is not known.
        statures: by person, in the unit of the rig.
        seconds: between the first and the last of the poses.
    """

    rig: Rig
    cameras: tuple[CameraDiagnosis, ...]
    faults: tuple[Fault, ...]
    unknown: tuple[str, ...]
    arrangement: Arrangement
    offsets_ms: tuple[float, ...]
    poses: SharedPoses
    disagreement: Disagreement
    bodies: Bodies
    floor: Floor | None
    statures: dict[int, float]
    seconds: float

    @property
    def well(self) -> bool:
        """Nothing is wrong, and everything could be judged."""
        return not self.faults and not self.unknown


def diagnose(
    rig: Rig, recording: Recording, search_s: float = SEARCH_S, calibration: bool = True
) -> Diagnosis:
    """Compare a rig with the people in a recording.

    Args:
        rig: in any world and unit; its time offsets are taken for known.
        recording: views as they were given, in the order of the rig.
        search_s: time offsets of up to so much are found.
        calibration: False: focal lengths are left out, which take most of the time.

    Raises:
        InputError: no person is in view.
    """
    _require_people(recording)
    synchronized = recording.shifted([offset / 1000.0 for offset in rig.time_offsets_ms])
    arrangement = find_arrangement(rig, synchronized, search_s)
    cameras = _in_a_room(rig.cameras)
    aligned, halves, estimate = _synchronize(arrangement.recording, cameras, search_s)
    poses = aligned.poses
    measured = disagreement(cameras, poses)
    bodies = measure_bodies(triangulate_poses(rig.cameras, poses), poses.people, recording.joint_set)
    focal = None
    if calibration and not stand_still(bodies, rig.cameras) and halves:
        focal = _focal_changes(cameras, poses, halves, recording.joint_set)
    floor, floor_reason = _floor(bodies, poses)
    reports = _camera_reports(recording, rig, poses, measured, estimate, focal)
    faults, unknown = find_rig_faults(rig, arrangement, reports, bodies, floor, floor_reason)
    return Diagnosis(
        rig,
        reports,
        faults,
        unknown,
        arrangement,
        _total_offsets(rig, estimate),
        poses,
        measured,
        bodies,
        floor,
        bodies.statures(),
        float(np.ptp(poses.times)) if len(poses) else 0.0,
    )


def _total_offsets(rig: Rig, estimate: OffsetEstimate) -> tuple[float, ...]:
    """(V,) ms, relative to the first camera."""
    total = np.array(rig.time_offsets_ms) + estimate.offsets_ms
    return tuple((total - total[0]).tolist())


def _synchronize(
    recording: Recording, cameras: Sequence[Camera], search_s: float
) -> tuple[Synchronized, Sequence[Adjustment], OffsetEstimate]:
    """Offsets with the given cameras, and where these leave them unclear, with those that fit people."""
    start = tuple(cameras)
    for _ in range(2):
        aligned = align(recording, start, search_s)
        halves = fit_halves(aligned, start, recording.joint_set, AdjustmentSettings())
        estimate = estimate_offsets(aligned, halves, search_s)
        if estimate.known.all() or not len(aligned.poses):
            break
        start = aligned.fit.cameras
    return aligned, halves, estimate


def _require_people(recording: Recording) -> None:
    if not any(len(people) for camera in recording.cameras for people in camera.people):
        raise InputError(
            "no person is in view of any camera, expected a person who walks where two or more see them"
        )


def _in_a_room(cameras: Sequence[Camera]) -> list[Camera]:
    """The cameras, in a world that is as large as a room in mm; people's statures are judged elsewhere."""
    spread = camera_spread(cameras)
    if _SPREAD_MM[0] <= spread <= _SPREAD_MM[1] or spread <= 0:
        return list(cameras)
    return scaled(cameras, _ROOM_MM / spread)


def _floor(bodies: Bodies, poses: SharedPoses) -> tuple[Floor | None, str]:
    try:
        return find_floor(bodies, poses.times), ""
    except InputError as error:
        return None, str(error)


def _focal_changes(
    cameras: Sequence[Camera], poses: SharedPoses, halves: Sequence[Adjustment], joint_set: JointSet
) -> np.ndarray | None:
    """(V,) changes of the focal lengths that both halves ask for and that help the other half; 0 for none.

    None where a half is too short to tell.
    """
    masks = halves_in_time(poses).masks
    if min(int(mask.sum()) for mask in masks) < 2 * LEAST_SHARED:
        return None
    logs, ratios = [], []
    for mask, held in zip(masks, halves, strict=True):
        other = poses.select(~mask)
        settings = AdjustmentSettings(focal=_FOCAL_FREE)
        free = adjust(held.cameras, poses.select(mask), joint_set, settings, prior=cameras)
        before, after = (disagreement(fit.cameras, other).share for fit in (held, free))
        ratios.append(after / before)
        change = np.log([new.K[0, 0] / old.K[0, 0] for new, old in zip(free.cameras, cameras, strict=True)])
        sure = np.abs(change) > SURE * free.deviations(FOCAL)
        logs.append(np.where(sure, change, 0.0))
    if not np.mean(ratios) <= _FOCAL_FALL:
        return np.zeros(len(cameras))
    agreed = np.where(np.sign(logs[0]) == np.sign(logs[1]), np.minimum(*np.abs(logs)), 0.0)
    return np.where(agreed > np.log1p(_FOCAL_FAULT), np.exp(np.mean(logs, axis=0)) - 1.0, 0.0)


def _camera_reports(
    recording: Recording,
    rig: Rig,
    poses: SharedPoses,
    measured: Disagreement,
    estimate: OffsetEstimate,
    focal: np.ndarray | None,
) -> tuple[CameraDiagnosis, ...]:
    counts = shared_counts(poses) if len(poses) else np.zeros(len(rig), int)
    reports = []
    for view, given in enumerate(recording.cameras):
        seen = [len(people) > 0 for people in given.people]
        reports.append(
            CameraDiagnosis(
                rig.names[view],
                len(seen),
                float(np.mean(seen)) if seen else 0.0,
                int(counts[view]),
                float(measured.shares[view]) if len(poses) else float("nan"),
                float(measured.pixels[view]) if len(poses) else float("nan"),
                float(estimate.offsets_ms[view]),
                float(estimate.sigma_ms[view]),
                estimate.reasons[view],
                float("nan") if focal is None else float(focal[view]),
            )
        )
    return tuple(reports)
