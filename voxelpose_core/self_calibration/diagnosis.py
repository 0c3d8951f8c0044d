"""What people say of a rig: are the views at the right cameras and in sync, does the calibration fit, where
is the floor, how tall are they."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.camera_arrangement import camera_spread, scaled
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.plain_numbers import plain
from voxelpose_core.self_calibration.adjustment import Adjustment, adjust
from voxelpose_core.self_calibration.adjustment_objective import FOCAL, AdjustmentSettings
from voxelpose_core.self_calibration.alignment import Floor, find_floor
from voxelpose_core.self_calibration.arrangement import Arrangement, find_arrangement
from voxelpose_core.self_calibration.bodies import Bodies, measure_bodies, triangulate_poses
from voxelpose_core.self_calibration.halves import halves_in_time
from voxelpose_core.self_calibration.held_out import Disagreement, disagreement
from voxelpose_core.self_calibration.observations import Recording, SharedPoses
from voxelpose_core.self_calibration.offsets import Alignment as Synchronized
from voxelpose_core.self_calibration.offsets import (
    OffsetEstimate,
    align,
    estimate_offsets,
    fit_halves,
    shared_counts,
)
from voxelpose_core.skeletons import JointSet

SEARCH_S = 2.0
# Cameras farther apart, or nearer to each other, mm: the world has another unit.
_SPREAD_MM = (300.0, 100_000.0)
_ROOM_MM = 5000.0
# An offset is a fault where it is larger than this, ms, and than three standard deviations.
_OFFSET_MS, _SURE = 10.0, 3.0
# A camera that sees fewer of the shared poses shares no person with the others.
_LEAST_SHARED = 5
# Disagreement, as a share of people's size: of all cameras, or of one against the others' median.
MUCH, _OUTLIER, _OUTLIER_RATIO = 0.08, 0.04, 2.0
# Focal lengths: freedom of the fit, and the error that is a fault, as shares; both halves must say so, and
# held-out disagreement must fall to this share.
_FOCAL_FREE, _FOCAL_FAULT, _FOCAL_FALL = 0.3, 0.05, 0.9
# The floor is elsewhere, mm, up is not z, degrees; people are no people, mm.
_GROUND_MM, _UP_DEG, _STATURE_MM = 200.0, 5.0, (900.0, 2300.0)
# Deviation of each person's hips as a share of the distance from the cameras: less is standing still (0.01;
# a person who walks for two seconds has 0.04).
LEAST_SPREAD = 0.02


@dataclass(frozen=True)
class CameraDiagnosis:
    """One camera.

    Attributes:
        name: the camera's.
        frames: with or without people.
        seen: share of the frames with people.
        shared: number of poses that it shares with others.
        share: median distance of its detections from what the others say, of people's size; NaN: not known.
        pixels: the same in px.
        offset_ms: to be added to its stamps to agree with the first camera.
        offset_sigma_ms: standard deviation; infinite where it is not known.
        offset_reason: in words, why it is not known; else ''.
        focal_change: factor minus one by which people would change the focal length; NaN where not known.
    """

    name: str
    frames: int
    seen: float
    shared: int
    share: float
    pixels: float
    offset_ms: float
    offset_sigma_ms: float
    offset_reason: str
    focal_change: float


@dataclass(frozen=True)
class Fault:
    """Something wrong.

    Attributes:
        line: what, naming the camera.
        remedy: what to type; '' where that follows from how the views were given.
        kind: "views" for their order or turns, "offsets" for time offsets, else "".
    """

    line: str
    remedy: str = ""
    kind: str = ""


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


def is_out_of_sync(offset_ms: float, sigma_ms: float) -> bool:
    """Whether a time offset is more than its uncertainty and matters."""
    return abs(offset_ms) > max(_OFFSET_MS, _SURE * sigma_ms)


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
    room = dataclasses.replace(rig, cameras=tuple(cameras))
    aligned, halves, estimate = _synchronize(arrangement.recording, cameras, search_s)
    poses = aligned.poses
    measured = disagreement(cameras, poses)
    bodies = measure_bodies(triangulate_poses(rig.cameras, poses), poses.people, recording.joint_set)
    moving = hip_spread(bodies, rig.cameras)
    focal = None
    if calibration and moving >= LEAST_SPREAD and halves:
        focal = _focal_changes(cameras, poses, halves, recording.joint_set)
    floor, floor_reason = _floor(bodies, poses)
    reports = _camera_reports(recording, rig, poses, measured, estimate, focal)
    judge = _Judge(room, arrangement, reports, poses, estimate, moving)
    judge.views()
    judge.sharing()
    judge.offsets(rig)
    judge.calibration()
    judge.focal_lengths()
    judge.world(rig, bodies, floor, floor_reason)
    return Diagnosis(
        rig,
        reports,
        tuple(judge.faults),
        tuple(judge.unknown),
        arrangement,
        tuple(judge.total_offsets(rig)),
        poses,
        measured,
        bodies,
        floor,
        bodies.statures(),
        float(np.ptp(poses.times)) if len(poses) else 0.0,
    )


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


def hip_spread(bodies: Bodies, cameras: Sequence[Camera]) -> float:
    """Deviation of each person's hips as a share of the distance from the cameras; 0: none is known."""
    hips = bodies.hips[np.isfinite(bodies.hips).all(axis=-1)]
    if len(hips) < 2:
        return 0.0
    centers = np.stack([camera.C for camera in cameras])
    distance = float(np.median(np.linalg.norm(hips[:, None] - centers, axis=-1)))
    # Of several people who stand still, each one's own.
    people = bodies.people[np.isfinite(bodies.hips).all(axis=-1)]
    variances = [
        ((own - own.mean(axis=0)) ** 2).sum(axis=1) for own in (hips[people == p] for p in set(people))
    ]
    return float(np.sqrt(np.concatenate(variances).mean())) / distance


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
    if min(int(mask.sum()) for mask in masks) < 2 * _LEAST_SHARED:
        return None
    logs, ratios = [], []
    for mask, held in zip(masks, halves, strict=True):
        other = poses.select(~mask)
        settings = AdjustmentSettings(focal=_FOCAL_FREE)
        free = adjust(held.cameras, poses.select(mask), joint_set, settings, prior=cameras)
        before, after = (disagreement(fit.cameras, other).share for fit in (held, free))
        ratios.append(after / before)
        change = np.log([new.K[0, 0] / old.K[0, 0] for new, old in zip(free.cameras, cameras, strict=True)])
        sure = np.abs(change) > _SURE * free.deviations(FOCAL)
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


class _Judge:
    """Collects what is wrong, and what cannot be told."""

    def __init__(
        self,
        room: Rig,
        arrangement: Arrangement,
        reports: Sequence[CameraDiagnosis],
        poses: SharedPoses,
        estimate: OffsetEstimate,
        moving: float,
    ):
        self.faults: list[Fault] = []
        self.unknown: list[str] = []
        self._room, self._arrangement, self._reports = room, arrangement, reports
        self._poses, self._estimate, self._moving = poses, estimate, moving

    def views(self) -> None:
        """Order, turns, mirror images."""
        if self._arrangement.mirrored:
            names = _quoted(self._arrangement.mirrored)
            self.faults.append(
                Fault(
                    f"images of camera {names} are mirrored: left is right",
                    "switch mirroring off in the camera's driver or recorder, or flip the videos",
                )
            )
        if self._arrangement.contradiction is not None:
            self.faults.append(Fault(str(self._arrangement.contradiction), kind="views"))

    def sharing(self) -> None:
        """Cameras without people, or without people that another camera sees; people who stand still."""
        empty = [report.name for report in self._reports if report.seen == 0]
        lonely = [r.name for r in self._reports if r.seen > 0 and r.shared < _LEAST_SHARED]
        if empty:
            self.faults.append(
                Fault(
                    f"camera {_quoted(empty)}: no person is in view in the whole recording", "walk there, too"
                )
            )
        if lonely:
            self.faults.append(
                Fault(
                    f"camera {_quoted(lonely)}: never sees a person that another camera sees at that time",
                    "walk where it and another camera see you; or its calibration or clock is far off",
                )
            )
        if len(self._poses) and self._moving < LEAST_SPREAD:
            self.unknown.append(
                f"people stand still (their hips spread over {100 * self._moving:.0f} % of their distance "
                f"from the cameras, expected {100 * LEAST_SPREAD:.0f} %): time offsets, focal lengths and "
                "small errors of the calibration do not show; let a person walk to and fro for twenty seconds"
            )

    def offsets(self, rig: Rig) -> None:
        """Clocks."""
        late = [
            report for report in self._reports if is_out_of_sync(report.offset_ms, report.offset_sigma_ms)
        ]
        if late:
            what = ", ".join(
                f"camera '{report.name}' {abs(report.offset_ms):.0f} +- {report.offset_sigma_ms:.0f} ms "
                f"{'late' if report.offset_ms < 0 else 'early'}"
                for report in late
            )
            line = f"out of sync with the first camera: {what}"
            self.faults.append(Fault(line, kind="offsets"))
        if self._moving < LEAST_SPREAD:
            return
        for report in self._reports:
            if report.offset_reason and report.shared >= _LEAST_SHARED:
                self.unknown.append(f"time offset of camera '{report.name}': {report.offset_reason}")

    def total_offsets(self, rig: Rig) -> list[float]:
        """(V,) ms, relative to the first camera."""
        total = np.array(rig.time_offsets_ms) + self._estimate.offsets_ms
        return (total - total[0]).tolist()

    def calibration(self) -> None:
        """Disagreement that nothing before explains."""
        known = [report for report in self._reports if np.isfinite(report.share)]
        if not known:
            return
        middle = float(np.median([report.share for report in known]))
        outliers = [
            report
            for report in known
            if report.share > max(_OUTLIER, _OUTLIER_RATIO * middle) or report.share > 2 * MUCH
        ]
        if outliers and len(outliers) < len(known):
            what = ", ".join(f"camera '{r.name}' is {100 * r.share:.1f} %" for r in outliers)
            line = f"{what} of people's size off what the others say, where {100 * middle:.1f} % is usual"
            remedy = "voxelpose rig refine, which moves cameras; if it refuses, check the intrinsics"
            self.faults.append(Fault(line, remedy))
        elif middle > MUCH:
            self.faults.append(
                Fault(
                    f"the cameras disagree by {100 * middle:.0f} % of people's size, expected up to "
                    f"{100 * MUCH:.0f} %: the calibration does not fit the images",
                    "voxelpose rig refine, or calibrate anew: voxelpose rig from-people",
                )
            )

    def focal_lengths(self) -> None:
        """Intrinsics."""
        for view, report in enumerate(self._reports):
            if np.isfinite(report.focal_change) and report.focal_change:
                given = self._room.cameras[view].K[0, 0]
                self.faults.append(
                    Fault(
                        f"camera '{report.name}': its focal length is given as {given:.0f} px, people fit "
                        f"{given * (1 + report.focal_change):.0f} px ({100 * report.focal_change:+.0f} %)",
                        "check its intrinsics: resolution, zoom, cropping",
                    )
                )

    def world(self, rig: Rig, bodies: Bodies, floor: Floor | None, reason: str) -> None:
        """Unit, up and floor."""
        stature = bodies.typical_stature
        if np.isfinite(stature) and not _STATURE_MM[0] <= stature <= _STATURE_MM[1]:
            self.faults.append(
                Fault(
                    f"people come out {plain(stature)} mm tall: the unit is not mm",
                    "voxelpose rig align --height",
                )
            )
            return
        if floor is None:
            self.unknown.append(f"floor: {reason}")
            return
        tilt = float(np.degrees(np.arccos(np.clip(floor.up[2], -1.0, 1.0))))
        if tilt > max(_UP_DEG, _SURE * floor.sigma_deg):
            self.faults.append(
                Fault(f"the world is not z up: up is {tilt:.0f} degrees off z", "voxelpose rig align")
            )
        elif abs(floor.height - rig.ground) > _GROUND_MM:
            gap = floor.height - rig.ground
            self.faults.append(
                Fault(
                    f"people stand {abs(gap) / 1000:.2f} m {'above' if gap > 0 else 'below'} the ground of "
                    f"this rig (z = {rig.ground / 1000:g} m)",
                    f"give --ground {50 * round(floor.height / 50)}, or voxelpose rig align",
                )
            )


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
