"""How soon the monitor of a running rig names a faulty camera, and how often it is wrong.

    python benchmarks/rig_monitor.py [--numbers 20] [--first 0] [--only "turned 1 degree, 4 cameras" ...]

Generated people (`datasets/generated_recordings.py`) walk in front of a rig that is nearly right (0.1
degrees, 5 mm, half a minute), then one camera is knocked or its stamps are off, for a minute. The good rigs
see ten minutes: people walk, stand, and leave, turn by turn. The thresholds (`FaultLimits`,
`MonitorSettings`) were chosen on the numbers from 1000 to 2400.

Prints per case: faults found, of these with the right camera (the first that is named), median and longest
time to the alarm in seconds with people, false alarms, and processor time per look.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from voxelpose_core.command import Parser, run_command
from voxelpose_core.datasets.generated_recordings import (
    RecordingSettings,
    generate_recording,
    off_rig,
    record_people,
)
from voxelpose_core.self_calibration.monitor import RigFault, RigMonitor
from voxelpose_core.self_calibration.observations import Recording
from voxelpose_core.skeletons import COCO17

RATE_HZ = 10.0
BEFORE_S, AFTER_S, GOOD_S = 30.0, 60.0, 600.0
PART_S, AWAY_S = 50.0, 10.0
NEARLY_RIGHT = {"degrees": 0.1, "mm": 5.0}
FAULTY = 1
FIRST_NUMBER = 5000


@dataclass(frozen=True)
class Case:
    """A rig and what goes wrong with one of its cameras; nothing: a good rig."""

    rig: dict = field(default_factory=dict)
    fault: dict = field(default_factory=dict)


def turned(degrees: float, **rig: float) -> Case:
    """A camera is turned by so much, about a random axis."""
    return Case(rig, {"degrees": degrees})


def late(ms: float, **rig: float) -> Case:
    """The stamps of a camera are early by so much."""
    return Case(rig, {"offsets_ms": ms})


CASES = {
    "turned 1 degree, 4 cameras": turned(1.0),
    "turned 1 degree, 3 cameras": turned(1.0, cameras=3),
    "turned 1 degree, 2 cameras": turned(1.0, cameras=2),
    "turned 1 degree, 8 cameras": turned(1.0, cameras=8),
    "turned 1 degree, 2 people": turned(1.0, people=2),
    "turned 1 degree, 4 % noise": turned(1.0, noise=0.04),
    "turned 1 degree, fisheyes": turned(1.0, fisheye=True),
    "turned 3 degrees": turned(3.0),
    "turned 10 degrees": turned(10.0),
    "moved 150 mm": Case({}, {"mm": 150.0}),
    "stamps off by 40 ms": late(40.0),
    "stamps off by 80 ms": late(80.0),
    "stamps off by 500 ms": late(500.0),
    "good, 4 cameras": Case(),
    "good, 3 cameras, 4 % noise": Case({"cameras": 3, "noise": 0.04}),
    "good, 2 cameras": Case({"cameras": 2}),
    "good, 3 people": Case({"people": 3}),
    "good, fisheyes": Case({"fisheye": True}),
}


@dataclass
class Tally:
    """What came of the runs of a case."""

    runs: int = 0
    right: int = 0
    wrong: int = 0
    false: int = 0
    seconds: list[float] = field(default_factory=list)
    look_s: list[float] = field(default_factory=list)

    def line(self, name: str, faulty: bool) -> str:
        """One row of the table."""
        cpu = f"{np.mean(self.look_s):.2f} s per look" if self.look_s else ""
        if not faulty:
            return f"{name:32} false alarms in {self.false} of {self.runs}; {cpu}"
        found = self.right + self.wrong
        when = f"{np.median(self.seconds):.0f} s, at most {max(self.seconds):.0f} s" if self.seconds else "-"
        return (
            f"{name:32} found {found} of {self.runs}, right camera {self.right}; after {when}; false alarms "
            f"before in {self.false}; {cpu}"
        )


def watch(
    monitor: RigMonitor, recording: Recording, start_s: float, tally: Tally
) -> Iterator[tuple[float, tuple[RigFault, ...]]]:
    """Show a recording to the monitor, frame set by frame set: second and faults after each look."""
    cameras = recording.cameras
    for index in range(min(len(camera.people) for camera in cameras)):
        stamps = [start_s + float(camera.stamps[index]) for camera in cameras]
        monitor.add([camera.people[index] for camera in cameras], float(np.mean(stamps)), stamps)
        if monitor.is_due:
            start = time.thread_time()
            faults = monitor.look()
            tally.look_s.append(time.thread_time() - start)
            yield float(np.mean(stamps)) - start_s, faults


def run_faulty(case: Case, number: int, tally: Tally) -> None:
    """A camera is knocked after half a minute."""
    usual = RecordingSettings(rates_hz=RATE_HZ, duration_s=BEFORE_S, **NEARLY_RIGHT, **case.rig)
    made = generate_recording(number, dataclasses.replace(usual, duration_s=1.0))
    monitor = RigMonitor(made.rig, COCO17)
    before = record_people(made.true_rig.cameras, number, usual, walk=0)
    tally.runs += 1
    looks = list(watch(monitor, before, 1000.0, tally))
    tally.false += any(faults for _, faults in looks)

    fault = {"degrees": 0.0, "mm": 0.0, **case.fault, "off_cameras": [FAULTY]}
    offset_ms = fault.pop("offsets_ms", 0.0)
    offsets = [offset_ms * (view == FAULTY) for view in range(usual.cameras)]
    settings = dataclasses.replace(usual, duration_s=AFTER_S, offsets_ms=offsets, **fault)
    knocked = off_rig(made.true_rig, np.random.default_rng(number), settings)
    after = record_people(knocked.cameras, number, settings, walk=1)
    for second, faults in watch(monitor, after, 1000.0 + BEFORE_S + 5.0, tally):
        if faults:
            hit = made.rig.names[FAULTY] in (faults[0].camera, faults[0].other)
            tally.right, tally.wrong = tally.right + hit, tally.wrong + (not hit)
            tally.seconds.append(second)
            return


def run_good(case: Case, number: int, tally: Tally) -> None:
    """People walk, stand and leave for ten minutes."""
    settings = RecordingSettings(rates_hz=RATE_HZ, duration_s=PART_S, **NEARLY_RIGHT, **case.rig)
    made = generate_recording(number, dataclasses.replace(settings, duration_s=1.0))
    monitor, alarm = RigMonitor(made.rig, COCO17), False
    for part in range(round(GOOD_S / (PART_S + AWAY_S))):
        shown = dataclasses.replace(settings, standing=part % 3 == 1)
        recording = record_people(made.true_rig.cameras, number, shown, walk=part)
        start_s = 1000.0 + part * (PART_S + AWAY_S)
        looks = list(watch(monitor, recording, start_s, tally))
        alarm |= any(faults for _, faults in looks)
    tally.runs += 1
    tally.false += alarm


def main() -> int:
    """Print the table."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--numbers", type=int, default=20, help="generated rigs per case")
    parser.add_argument("--first", type=int, default=FIRST_NUMBER, help="number of the first")
    parser.add_argument("--only", nargs="+", choices=list(CASES), default=list(CASES), metavar="CASE")
    arguments = parser.parse_args()
    for name in arguments.only:
        case, tally = CASES[name], Tally()
        for number in range(arguments.first, arguments.first + arguments.numbers):
            (run_faulty if case.fault else run_good)(case, number, tally)
        print(tally.line(name, bool(case.fault)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
