#!/usr/bin/env python3
"""Setting up a rig from the people in it, on generated recordings whose truth is known.

    python benchmarks/self_calibration.py                  # everything; about an hour and a half on one core
    python benchmarks/self_calibration.py refine --cells usual perfect --count 5

Every cell of a table is a number of recordings that differ in rig, walks and detectors' errors. Thresholds
were chosen on recordings 1000 to 1011; by default 2000 to 2019 are reported. Errors of detectors last for up
to seconds, as MoveNet's do, one joint in a hundred is an outlier, and one person in thirty is missed. "pair"
is the median 3D error of what pairs of cameras triangulate, after one rigid alignment of the whole.
"""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from voxelpose_core.command import Parser, run_command
from voxelpose_core.datasets.generated_recordings import (
    GeneratedRecording,
    RecordingSettings,
    generate_recording,
)
from voxelpose_core.metrics.rig_error import rig_error
from voxelpose_core.self_calibration.alignment import Similarity, align_to_people
from voxelpose_core.self_calibration.arrangement import find_arrangement
from voxelpose_core.self_calibration.bodies import measure_bodies, triangulate_poses
from voxelpose_core.self_calibration.correspondence import shared_poses
from voxelpose_core.self_calibration.offsets import find_offsets
from voxelpose_core.self_calibration.refine import refine
from voxelpose_core.skeletons import COCO17

FIRST, COUNT = 2000, 20
_OFF = {"degrees": 1.0, "mm": 50.0}
# 15 Hz, 20 s, 2 % noise, offsets of up to 150 ms, but for what is said.
REFINE_CELLS = {
    "usual": ("4 cameras, 1 degree / 50 mm off", _OFF),
    "perfect": ("a perfect rig", {}),
    "small": ("0.3 degrees / 10 mm off", {"degrees": 0.3, "mm": 10.0}),
    "large": ("3 degrees / 150 mm off", {"degrees": 3.0, "mm": 150.0}),
    "noisy": ("4 % noise", {**_OFF, "noise": 0.04}),
    "noisy_perfect": ("4 % noise, a perfect rig", {"noise": 0.04}),
    "short": ("4 s: 20 frame sets", {**_OFF, "duration_s": 4.2}),
    "short_perfect": ("4 s, a perfect rig", {"duration_s": 4.2}),
    "three": ("3 cameras", {**_OFF, "cameras": 3}),
    "three_perfect": ("3 cameras, a perfect rig", {"cameras": 3}),
    "five": ("5 cameras", {**_OFF, "cameras": 5}),
    "knocked": ("one of 4 cameras 2 degrees / 50 mm off", {"degrees": 2.0, "mm": 50.0, "off_cameras": (1,)}),
    "people": ("3 people", {**_OFF, "people": 3}),
    "fisheye": ("fisheyes", {**_OFF, "fisheye": True}),
    "two": ("2 cameras", {**_OFF, "cameras": 2}),
    "two_perfect": ("2 cameras, a perfect rig", {"cameras": 2}),
    "sixteen": ("16 cameras", {**_OFF, "cameras": 16}),
}
OFFSET_CELLS = {
    "usual": ("30 Hz, 5 s, up to 150 ms", {"duration_s": 5.0, "offsets_ms": 150.0}),
    "off": ("the same, the rig 1 degree / 50 mm off", {**_OFF, "duration_s": 5.0, "offsets_ms": 150.0}),
    "seconds": ("20 s, up to 1.5 s", {"offsets_ms": 1500.0}),
    "rates": ("20 s, cameras of 30, 25, 15 and 12 Hz", {"offsets_ms": 150.0, "rates_hz": (30, 25, 15, 12)}),
}


@dataclass(frozen=True)
class Refined:
    """One recording: pair errors, mm, of the given and of the fitted rig, and what was decided."""

    before: float
    fitted: float
    accepted: bool
    degrees: float
    mm: float
    offset_rms: float
    ratio: float
    seconds: float

    @property
    def after(self) -> float:
        return self.fitted if self.accepted else self.before


def refine_recording(made: GeneratedRecording) -> Refined | None:
    """None where there is nothing to fit."""
    start = time.process_time()
    found = refine(made.rig, made.recording)
    seconds = time.process_time() - start
    if found.proposal is None:
        return None
    joints = made.true_joints()
    before = rig_error(made.rig, made.true_rig, joints).pair_mm
    error = rig_error(found.proposal, made.true_rig, joints)
    offsets = np.array([camera.offset_ms for camera in found.cameras])
    known = np.isfinite([camera.offset_sigma_ms for camera in found.cameras])
    known[0] = False
    rms = float(np.sqrt(np.mean((offsets - made.offsets_ms)[known] ** 2))) if known.any() else np.nan
    ratio = found.after_share / found.before_share
    degrees, mm = float(np.median(error.degrees)), float(np.median(error.mm))
    return Refined(before, error.pair_mm, found.accepted, degrees, mm, rms, ratio, seconds)


def report_refine(names: list[str], numbers: range) -> None:
    print("| refine | pair before | fitted | worst | degrees, mm | accepted | worse | offsets, rms | CPU |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for name in names or REFINE_CELLS:
        words, changes = REFINE_CELLS[name]
        settings = RecordingSettings(**{"offsets_ms": 150.0, "rates_hz": 15.0, **changes})
        results = [refine_recording(generate_recording(number, settings)) for number in numbers]
        rows = [row for row in results if row is not None]
        accepted = [row for row in rows if row.accepted]
        worse = sum(row.fitted > row.before for row in accepted)
        print(
            f"| {words} | {_median(rows, 'before'):.1f} mm | {_median(rows, 'fitted'):.1f} mm "
            f"| {max((row.fitted for row in rows), default=np.nan):.1f} mm "
            f"| {_median(rows, 'degrees'):.2f}, {_median(rows, 'mm'):.0f} "
            f"| {len(accepted)} of {len(results)} | {worse} "
            f"| {_median(rows, 'offset_rms'):.1f} ms | {_median(rows, 'seconds'):.1f} s |",
            flush=True,
        )
        ratios = " ".join(f"{row.ratio:.3f}{'' if row.accepted else '-'}" for row in rows)
        print(f"<!-- {name}: held-out after / before (-: refused) {ratios} -->", flush=True)


def _median(rows: list[Refined], name: str) -> float:
    return float(np.nanmedian([getattr(row, name) for row in rows])) if rows else np.nan


def report_offsets(names: list[str], numbers: range) -> None:
    print("| time offsets | rms before | rms after | worst | known | CPU |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in names or OFFSET_CELLS:
        words, changes = OFFSET_CELLS[name]
        errors, given, known, seconds = [], [], [], []
        for number in numbers:
            made = generate_recording(number, RecordingSettings(**changes))
            start = time.process_time()
            found = find_offsets(made.recording, made.rig)
            seconds.append(time.process_time() - start)
            given.append(made.offsets_ms[1:])
            known.append(found.known[1:])
            errors.append((found.offsets_ms - made.offsets_ms)[1:])
        told = np.array(known)
        error = np.array(errors)[told]
        print(
            f"| {words} | {_rms(np.array(given)):.0f} ms | {_rms(error):.1f} ms "
            f"| {np.abs(error).max(initial=0):.0f} ms | {told.sum()} of {told.size} cameras "
            f"| {np.median(seconds):.1f} s |",
            flush=True,
        )


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))


# --- world and views -------------------------------------------------------------------------------------

ALIGN_CELLS = {
    "usual": ("4 cameras, 20 s, 2 % noise", {}),
    "noisy": ("4 % noise", {"noise": 0.04}),
    "people": ("3 people", {"people": 3}),
    "two": ("2 cameras", {"cameras": 2}),
    "off": ("the rig 0.3 degrees / 10 mm off", {"degrees": 0.3, "mm": 10.0}),
}
VIEW_CELLS = {
    "right": ("right views", {"degrees": 1.0, "mm": 50.0}),
    "late": ("right views, clocks up to 1.5 s off", {"offsets_ms": 1500.0}),
    "two": ("two exchanged, rig 1 degree / 50 mm off", {"degrees": 1.0, "mm": 50.0, "order": (0, 2, 1, 3)}),
    "all": ("all permuted, clocks up to 0.2 s off", {"order": (2, 0, 3, 1), "offsets_ms": 200.0}),
    "turned": ("one turned by 180 degrees", {"turns": (0, 2, 0, 0)}),
    "both": ("two exchanged, one turned", {"order": (1, 0, 2, 3), "turns": (0, 0, 0, 2)}),
}


def report_align(names: list[str], numbers: range) -> None:
    print("| any world, `align` | up: median, 9 of 10, worst | ground: the same | scale by height | CPU |")
    print("| --- | --- | --- | --- | --- |")
    for name in names or ALIGN_CELLS:
        words, changes = ALIGN_CELLS[name]
        settings = RecordingSettings(**{"rates_hz": 15.0, **changes})
        rows = np.array([_aligned(generate_recording(number, settings), number) for number in numbers])
        up, ground, scale = (np.percentile(np.abs(rows[:, column]), (50, 90, 100)) for column in range(3))
        print(
            f"| {words} | {up[0]:.2f}, {up[1]:.2f}, {up[2]:.2f} degrees "
            f"| {ground[0]:.0f}, {ground[1]:.0f}, {ground[2]:.0f} mm | {100 * scale[0]:.1f} % "
            f"| {np.median(rows[:, 3]):.1f} s |",
            flush=True,
        )


def _aligned(made: GeneratedRecording, number: int) -> tuple[float, float, float, float]:
    """Errors of up, degrees, and of the ground at the origin, mm; of the scale, a share; CPU seconds."""
    random = np.random.default_rng(number)
    world = Similarity(
        Rotation.random(random_state=number).as_matrix(), 10 ** random.uniform(-3, 0), random.normal(size=3)
    )
    flat = made.poses.reshape(-1, *made.poses.shape[2:])
    true = measure_bodies(flat, np.zeros(len(flat)), COCO17)
    filed = world.rig(made.rig)
    start = time.process_time()
    poses = shared_poses(made.recording, filed.cameras)
    bodies = measure_bodies(triangulate_poses(filed.cameras, poses), poses.people, COCO17)
    found = align_to_people(filed, bodies, poses.times, height_mm=float(np.nanmean(true.stature)))
    seconds = time.process_time() - start
    up = np.degrees(np.arccos(np.clip(found.floor.up @ world.rotation[:, 2], -1.0, 1.0)))
    back = (-found.similarity.shift @ found.similarity.rotation) / found.similarity.scale
    origin = (back - world.shift) @ world.rotation / world.scale
    return float(up), float(origin[2]), found.similarity.scale * world.scale - 1.0, seconds


def report_views(names: list[str], numbers: range) -> None:
    print("| views, `diagnose` | as it is | CPU |")
    print("| --- | --- | --- |")
    for name in names or VIEW_CELLS:
        words, changes = VIEW_CELLS[name]
        right, seconds = 0, []
        for number in numbers:
            made = generate_recording(number, RecordingSettings(**{"rates_hz": 15.0, **changes}))
            start = time.process_time()
            found = find_arrangement(made.rig, made.recording)
            seconds.append(time.process_time() - start)
            order = tuple(changes.get("order", range(len(made.rig))))
            turns = tuple(-turn % 4 for turn in changes.get("turns", (0,) * len(made.rig)))
            said = (tuple(range(len(made.rig))), (0,) * len(made.rig))
            if found.contradiction is not None:
                said = (found.contradiction.cameras, found.contradiction.turns)
            right += said == (order, turns) and not found.mirrored
        print(f"| {words} | {right} of {len(numbers)} | {np.median(seconds):.1f} s |", flush=True)


REPORTS = {
    "refine": report_refine,
    "offsets": report_offsets,
    "align": report_align,
    "views": report_views,
}


def main() -> int:
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="*", help=f"of {', '.join(REPORTS)}; all by default")
    parser.add_argument("--cells", nargs="*", default=[], help="only these cells of one table")
    parser.add_argument("--first", type=int, default=FIRST, help="number of the first recording")
    parser.add_argument("--count", type=int, default=COUNT, help="recordings per cell")
    options = parser.parse_args()
    unknown = set(options.tables) - set(REPORTS)
    if unknown:
        parser.error(f"table '{unknown.pop()}' is unknown, expected {', '.join(REPORTS)}")
    for table in options.tables or REPORTS:
        REPORTS[table](options.cells, range(options.first, options.first + options.count))
        print()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory {peak:.0f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
