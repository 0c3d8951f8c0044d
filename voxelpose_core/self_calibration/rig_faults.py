"""What is wrong with a rig, by what was measured of the people in a recording, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from voxelpose_core.geometry.rig import Rig
from voxelpose_core.plain_numbers import plain
from voxelpose_core.self_calibration.arrangement import Arrangement
from voxelpose_core.self_calibration.bodies import Bodies
from voxelpose_core.self_calibration.floor import Floor
from voxelpose_core.self_calibration.movement import stand_still

# An offset is a fault where it is larger than this, ms, and than so many standard deviations.
_OFFSET_MS, SURE = 10.0, 3.0
# A camera that sees fewer of the shared poses shares no person with the others.
LEAST_SHARED = 5
# Disagreement, as a share of people's size: of all cameras, or of one against the others' median.
_MUCH, _OUTLIER, _OUTLIER_RATIO = 0.08, 0.04, 2.0
# The floor is elsewhere, mm, up is not z, degrees; people are no people, mm.
_GROUND_MM, _UP_DEG, _STATURE_MM = 200.0, 5.0, (900.0, 2300.0)


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


def is_out_of_sync(offset_ms: float, sigma_ms: float) -> bool:
    """Whether a time offset is more than its uncertainty and matters."""
    return abs(offset_ms) > max(_OFFSET_MS, SURE * sigma_ms)


def find_rig_faults(
    rig: Rig,
    arrangement: Arrangement,
    reports: Sequence[CameraDiagnosis],
    bodies: Bodies,
    floor: Floor | None,
    floor_reason: str,
) -> tuple[tuple[Fault, ...], tuple[str, ...]]:
    """What is wrong, the most basic first, and one line for each thing that the recording cannot tell.

    Args:
        rig: as given.
        arrangement: order, turns and mirroring of the views.
        reports: one per camera, in the order of the rig.
        bodies: K poses in the world of the rig; none where no two cameras share a person.
        floor: in the world of the rig; None where it is not known.
        floor_reason: why it is not known.
    """
    judge = _Judge(rig, arrangement, reports, bodies)
    judge.views()
    judge.sharing()
    judge.offsets()
    judge.calibration()
    judge.focal_lengths()
    judge.world(floor, floor_reason)
    return tuple(judge.faults), tuple(judge.unknown)


class _Judge:
    """Collects what is wrong, and what cannot be told."""

    def __init__(
        self, rig: Rig, arrangement: Arrangement, reports: Sequence[CameraDiagnosis], bodies: Bodies
    ):
        self.faults: list[Fault] = []
        self.unknown: list[str] = []
        self._rig, self._arrangement, self._reports = rig, arrangement, reports
        self._bodies = bodies
        self._still = stand_still(bodies, rig.cameras)

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
        lonely = [r.name for r in self._reports if r.seen > 0 and r.shared < LEAST_SHARED]
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
        if len(self._bodies.people) and self._still:
            self.unknown.append(self._still)

    def offsets(self) -> None:
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
        if self._still:
            return
        for report in self._reports:
            if report.offset_reason and report.shared >= LEAST_SHARED:
                self.unknown.append(f"time offset of camera '{report.name}': {report.offset_reason}")

    def calibration(self) -> None:
        """Disagreement that nothing before explains."""
        known = [report for report in self._reports if np.isfinite(report.share)]
        if not known:
            return
        middle = float(np.median([report.share for report in known]))
        outliers = [
            report
            for report in known
            if report.share > max(_OUTLIER, _OUTLIER_RATIO * middle) or report.share > 2 * _MUCH
        ]
        if outliers and len(outliers) < len(known):
            what = ", ".join(f"camera '{r.name}' is {100 * r.share:.1f} %" for r in outliers)
            line = f"{what} of people's size off what the others say, where {100 * middle:.1f} % is usual"
            remedy = "voxelpose rig refine, which moves cameras; if it refuses, check the intrinsics"
            self.faults.append(Fault(line, remedy))
        elif middle > _MUCH:
            self.faults.append(
                Fault(
                    f"the cameras disagree by {100 * middle:.0f} % of people's size, expected up to "
                    f"{100 * _MUCH:.0f} %: the calibration does not fit the images",
                    "voxelpose rig refine, or calibrate anew: voxelpose rig from-people",
                )
            )

    def focal_lengths(self) -> None:
        """Intrinsics."""
        for view, report in enumerate(self._reports):
            if np.isfinite(report.focal_change) and report.focal_change:
                given = self._rig.cameras[view].K[0, 0]
                self.faults.append(
                    Fault(
                        f"camera '{report.name}': its focal length is given as {given:.0f} px, people fit "
                        f"{given * (1 + report.focal_change):.0f} px ({100 * report.focal_change:+.0f} %)",
                        "check its intrinsics: resolution, zoom, cropping",
                    )
                )

    def world(self, floor: Floor | None, reason: str) -> None:
        """Unit, up and floor."""
        stature = self._bodies.typical_stature
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
        if tilt > max(_UP_DEG, SURE * floor.sigma_deg):
            self.faults.append(
                Fault(f"the world is not z up: up is {tilt:.0f} degrees off z", "voxelpose rig align")
            )
        elif abs(floor.height - self._rig.ground) > _GROUND_MM:
            gap = floor.height - self._rig.ground
            self.faults.append(
                Fault(
                    f"people stand {abs(gap) / 1000:.2f} m {'above' if gap > 0 else 'below'} the ground of "
                    f"this rig (z = {self._rig.ground / 1000:g} m)",
                    f"give --ground {50 * round(floor.height / 50)}, or voxelpose rig align",
                )
            )


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
