"""Which cameras of a recording are wrong, and what is: told apart by the people whom they share."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from voxelpose_core.geometry.rig import Rig
from voxelpose_core.joint_set import JointSet
from voxelpose_core.pose_types import Estimate
from voxelpose_core.results import ViewAgreement
from voxelpose_core.self_calibration.camera_faults import LATE, MOVED
from voxelpose_core.self_calibration.monitor import (
    BLIND,
    STRANGE,
    MonitorSettings,
    RigFault,
    RigMonitor,
)

# A recording is judged in windows of so many seconds. In a longer one a fault must show in two in a row.
_WINDOW_S = 20.0
_SETTINGS = dataclasses.replace(
    MonitorSettings(), judged_s=_WINDOW_S, every_s=_WINDOW_S, kept_s=2 * _WINDOW_S
)
# One and a half times, and twice, what right rigs reached in generated recordings 1000..1011 (0.047 with
# detections of 4 % noise, and 0.09), see `benchmarks/recording_verdict.py`.
DISAGREEMENT_LIMIT, BLIND_LIMIT = 0.07, 0.2
# Fewer frame sets in which a camera should see people tell nothing.
_LEAST_EXPECTED = 10

_WHAT_TO_DO = {
    MOVED: "compare with `voxelpose rig diagnose`, mend with `voxelpose rig refine`",
    LATE: "`voxelpose rig diagnose` measures it for --offsets-ms",
    STRANGE: "compare with `voxelpose rig diagnose`",
}


@dataclass(frozen=True)
class CameraFinding:
    """Something wrong with a camera.

    Attributes:
        cameras: its name; of two, the one that is most likely, and the one that may be instead.
        short: what is wrong, in some words.
        line: the same in one line, with what to do.
    """

    cameras: tuple[str, ...]
    short: str
    line: str


class CameraWatch:
    """Collects a recording's 2D detections and says which cameras do not fit the others.

    Args:
        rig: the cameras.
        joint_set: of the detections.
    """

    def __init__(self, rig: Rig, joint_set: JointSet):
        self._rig = rig
        self._monitor = RigMonitor(rig, joint_set, _SETTINGS)
        self._looks: list[tuple[RigFault, ...]] = []
        self._stamps: list[float] = []
        self._agreement: list[Sequence[ViewAgreement | None]] = []

    def add(self, estimate: Estimate, agreement: Sequence[ViewAgreement | None], stamp: float) -> None:
        """Take one frame set.

        Args:
            estimate: its 2D detections.
            agreement: what `RunReport.add` answered.
            stamp: seconds.
        """
        self._stamps.append(stamp)
        self._agreement.append(agreement)
        self._monitor.add(estimate.keypoints, stamp)
        if self._monitor.is_due:
            self._look()

    def finish(self) -> None:
        """No frame set will follow."""
        self._look()

    @property
    def judged(self) -> bool:
        """Whether enough people moved to tell cameras that are turned a little, or late."""
        return bool(self._looks)

    def findings(self) -> list[CameraFinding]:
        """What is wrong, the clearest first."""
        found = [self._in_words(fault) for fault in self._faults()]
        found += [finding for view in range(len(self._rig)) if (finding := self._blindness(view))]
        if not found:
            found = [finding for view in range(len(self._rig)) if (finding := self._disagreement(view))]
        return found

    def _look(self) -> None:
        found = self._monitor.judge()
        if found is not None:
            self._looks.append(found)

    def _faults(self) -> list[RigFault]:
        """Those of two windows in a row, or of the only one; each camera once. Blindness is counted apart."""
        pairs = zip(self._looks, self._looks[1:])
        kept = [fault for before, now in pairs for fault in now if fault.is_again(before)]
        if len(self._looks) == 1:
            kept = list(self._looks[0])
        by_camera: dict[str, RigFault] = {}
        for fault in kept:
            if fault.kind != BLIND:
                by_camera.setdefault(fault.camera, fault)
        return list(by_camera.values())

    def _in_words(self, fault: RigFault) -> CameraFinding:
        cameras = (fault.camera, fault.other) if fault.other else (fault.camera,)
        if fault.kind == LATE:
            short = f"{abs(fault.offset_ms):.0f} ms {'early' if fault.offset_ms > 0 else 'late'}"
        else:
            short = f"turned {fault.degrees:.1f}°" if fault.kind == MOVED else "fits no other camera"
        return CameraFinding(cameras, short, f"{fault}; {_WHAT_TO_DO[fault.kind]}")

    def _blindness(self, view: int) -> CameraFinding | None:
        seen = [(row[view], stamp) for row, stamp in zip(self._agreement, self._stamps, strict=True)]
        name = self._rig.names[view]
        if self._never_detects(view):
            line = (
                f"no person was detected in any frame of camera '{name}', but in others: are its images "
                "dark, or of another place?"
            )
            return CameraFinding((name,), "sees no person", line)
        expected = [(own, stamp) for own, stamp in seen if own is not None and own.in_view]
        blind = [own.detected == 0 for own, _ in expected]
        if len(blind) < _LEAST_EXPECTED or np.mean(blind) < BLIND_LIMIT:
            return None
        share = f"{100 * np.mean(blind):.0f} %"
        first, last = _longest(blind)
        span = f"longest from {expected[first][1]:.1f} to {expected[last][1]:.1f} s"
        return CameraFinding(
            (name,),
            f"sees no person {share} of the time",
            f"camera '{name}' detects no person in {share} of the frame sets in which people stand in its "
            f"view ({span}): is it covered or dark there?",
        )

    def _never_detects(self, view: int) -> bool:
        """Whether the others detect people, and this camera, which has frames, none."""
        own = [row[view] for row in self._agreement]
        there = [agreement.detected for agreement in own if agreement is not None]
        others = any(
            agreement is not None and agreement.detected for row in self._agreement for agreement in row
        )
        return bool(there) and not any(there) and others

    def _disagreement(self, view: int) -> CameraFinding | None:
        shares = [row[view].share for row in self._agreement if row[view] is not None]  # type: ignore[union-attr]
        shares = [share for share in shares if np.isfinite(share)]
        if len(shares) < _LEAST_EXPECTED or np.median(shares) <= DISAGREEMENT_LIMIT:
            return None
        name, share = self._rig.names[view], f"{100 * np.median(shares):.1f} %"
        return CameraFinding(
            (name,),
            f"{share} of people's size off",
            f"camera '{name}' disagrees with the skeletons by {share} of people's size, expected up to "
            f"{100 * DISAGREEMENT_LIMIT:.0f} %: compare with `voxelpose rig diagnose`",
        )


def _longest(flags: Sequence[bool]) -> tuple[int, int]:
    """First and last index of the longest run of true."""
    best, start = (0, -1), None
    for index, flag in enumerate([*flags, False]):
        if flag and start is None:
            start = index
        elif not flag and start is not None:
            best = max(best, (start, index - 1), key=lambda run: run[1] - run[0])
            start = None
    return best
