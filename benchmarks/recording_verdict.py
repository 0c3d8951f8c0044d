"""Does the report of `voxelpose estimate` name the camera that is wrong, and none where all are right?

    python benchmarks/recording_verdict.py [--numbers 20] [--first 2000] [--only "right, 2 % noise" ...]

Generated people (`datasets/generated_recordings.py`) walk for twenty seconds; their 2D detections go through
estimator, tracker and `CameraWatch`, ten frame sets per second. All cameras are off by 0.1 degrees and 5 mm,
as those of good rigs are; of a faulty rig the second camera is turned about a random axis, late, or covered
from a quarter to three quarters of the time. The limits of `CameraWatch` were chosen on the numbers from 1000
to 1011.

Prints per case: recordings with any finding, of these with the right camera first, with the right kind, and
with others as well; for comparison, recordings in which the median distance of a camera from the skeletons is
above the limit that the report had before, and above `DISAGREEMENT_LIMIT`; and the largest such median.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from dataclasses import dataclass, field

import numpy as np
import torch

from voxelpose_core.camera_watch import DISAGREEMENT_LIMIT, CameraFinding, CameraWatch
from voxelpose_core.command import Parser, run_command, whole_number
from voxelpose_core.datasets.generated_recordings import (
    GeneratedRecording,
    RecordingSettings,
    generate_recording,
    off_rig,
)
from voxelpose_core.estimator import PoseEstimator
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.results import RunReport
from voxelpose_core.skeletons import COCO17
from voxelpose_core.tracking import Tracker

FIRST_NUMBER, SECONDS, RATE_HZ, FAULTY = 2000, 20.0, 10.0, 1
# Cameras see at a much higher rate, of which the frames at common times are taken.
SEEN_HZ, SAME_TIME_S = 100.0, 0.02
OLD_LIMIT = 0.08


@dataclass(frozen=True)
class Case:
    """A recording and what is wrong with its second camera.

    Attributes:
        turned: degrees; late: ms; covered: half of the time.
        kind: a word that the finding must have.
        settings: of the recording.
    """

    turned: float = 0.0
    late: float = 0.0
    covered: bool = False
    kind: str = ""
    settings: dict = field(default_factory=dict)


def cases() -> dict[str, Case]:
    """By name."""
    made: dict[str, Case] = {}
    for words, more in (("", {}), (", 3 cameras", {"cameras": 3}), (", 3 people", {"people": 3})):
        for noise in (2, 4):
            settings = {"noise": noise / 100, **more}
            made[f"right, {noise} % noise{words}"] = Case(settings=settings)
            for degrees in (1, 3):
                name = f"turned {degrees} degree{'s' * (degrees > 1)}, {noise} % noise{words}"
                made[name] = Case(turned=degrees, kind="turned", settings=settings)
            made[f"100 ms late, {noise} % noise{words}"] = Case(late=100.0, kind="late", settings=settings)
            name = f"covered half of the time, {noise} % noise{words}"
            made[name] = Case(covered=True, kind="no person", settings=settings)
    return made


@dataclass
class Tally:
    """What came of the recordings of a case."""

    runs: int = 0
    found: int = 0
    right: int = 0
    kind: int = 0
    more: int = 0
    old: int = 0
    limit: int = 0
    largest: float = 0.0

    def add(self, findings: list[CameraFinding], name: str, kind: str, shares: np.ndarray) -> None:
        """Count one recording."""
        self.runs += 1
        self.found += bool(findings)
        if findings:
            first = findings[0]
            self.right += name in first.cameras
            self.kind += kind in first.short
            self.more += len(findings) > 1
        self.old += bool((shares > OLD_LIMIT).any())
        self.limit += bool((shares > DISAGREEMENT_LIMIT).any())
        self.largest = max(self.largest, float(shares.max()))

    def row(self, name: str, faulty: bool) -> str:
        """One row of the table."""
        named = f"{self.right} | {self.kind} | {self.more}" if faulty else "- | - | -"
        return (
            f"| {name} | {self.found} of {self.runs} | {named} | {self.old} | {self.limit} | "
            f"{100 * self.largest:.1f} % |"
        )


def make_recording(case: Case, number: int) -> tuple[Rig, GeneratedRecording]:
    """The rig as its user knows it, and what its cameras see."""
    cameras = case.settings.get("cameras", 4)
    offsets = [-case.late * (view == FAULTY) for view in range(cameras)]
    settings = RecordingSettings(
        duration_s=SECONDS, rates_hz=SEEN_HZ, degrees=0.1, mm=5.0, offsets_ms=offsets, **case.settings
    )
    made = generate_recording(number, settings)
    turned = dataclasses.replace(settings, degrees=case.turned, mm=0.0, off_cameras=[FAULTY])
    return off_rig(made.rig, np.random.default_rng(number), turned), made


def frame_sets(case: Case, made: GeneratedRecording) -> list[tuple[float, list[np.ndarray]]]:
    """Stamps, and per camera the people (P, 17, 3) at that time on its own clock."""
    stamps = 0.2 + np.arange(round((SECONDS - 0.4) * RATE_HZ)) / RATE_HZ
    found = []
    for stamp in stamps.tolist():
        views = []
        for index, camera in enumerate(made.recording.cameras):
            nearest = int(np.argmin(np.abs(camera.stamps - stamp)))
            covered = case.covered and index == FAULTY and SECONDS / 4 <= stamp < 3 * SECONDS / 4
            seen = abs(camera.stamps[nearest] - stamp) < SAME_TIME_S and not covered
            views.append(camera.people[nearest] if seen else np.zeros((0, len(COCO17), 3)))
        found.append((stamp, views))
    return found


def run(case: Case, number: int, tally: Tally) -> None:
    """Estimate one recording, and judge it."""
    rig, made = make_recording(case, number)
    estimator = PoseEstimator(rig, "universal", "cpu", detector=None)
    tracker, report, watch, agreement = (
        Tracker(body=COCO17.body),
        RunReport(rig),
        CameraWatch(rig, COCO17),
        [],
    )
    for stamp, views in frame_sets(case, made):
        answer = estimator.estimate_keypoints(views, tracker.predict(stamp))
        answer.skeletons = tracker.update(answer.skeletons, stamp)
        agreement.append(report.add(answer))
        watch.add(answer, agreement[-1], stamp)
    watch.finish()
    shares = [[view.share for view in row if view is not None] for row in agreement]
    tally.add(watch.findings(), rig.names[FAULTY], case.kind, np.nanmedian(shares, axis=0))


def main() -> int:
    """Print the table."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--numbers", type=whole_number(1), default=20, help="recordings per case")
    parser.add_argument("--first", type=whole_number(0), default=FIRST_NUMBER, help="number of the first")
    parser.add_argument("--only", nargs="+", choices=list(cases()), default=list(cases()), metavar="CASE")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    columns = ["recording", "found in", "right camera", "right kind", "others as well", "above 8 %"]
    print(f"| {' | '.join(columns)} | above {100 * DISAGREEMENT_LIMIT:.0f} % | largest |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name in arguments.only:
        case, tally = cases()[name], Tally()
        for number in range(arguments.first, arguments.first + arguments.numbers):
            run(case, number, tally)
        print(tally.row(name, bool(case.kind)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
