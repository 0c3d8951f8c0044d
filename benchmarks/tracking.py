#!/usr/bin/env python3
"""Measure the tracker on generated walks, whose truth is known, or on a skeletons.json.

    python benchmarks/tracking.py [--out FILE]
    python benchmarks/tracking.py --skeletons skeletons.json

The walks have crossings, losses, noise and false positives (voxelpose_core/generated_motion.py) and come
at several rates. Prints id switches, MOTA and IDF1, and what smoothing gains and costs. A skeletons.json of
`voxelpose estimate` is tracked again; where its people are known to stay, more ids than people are
mistakes.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from voxelpose_core.command import Parser, run_command
from voxelpose_core.generated_motion import Flaws, flawed, random_walks
from voxelpose_core.metrics import TrackingEvaluation
from voxelpose_core.pose_types import Skeleton
from voxelpose_core.skeleton_files import read_skeletons
from voxelpose_core.skeletons import COCO17
from voxelpose_core.tracking import NO_ID, Tracker, TrackerSettings

RATES_HZ = (1.0, 5.0, 10.0, 25.0)
NOISES_MM = (None, 30.0, 60.0, 120.0)  # None: not smoothed
_QUIET = Flaws(miss=0, losses_per_s=0, hidden_per_s=0, invalid=0, outliers=0, false_positives_per_s=0)


def main() -> int:
    parser = Parser(description=__doc__.split("\n")[0])
    parser.add_argument("--people", type=int, default=4, help="number of people in a room of 5 x 5 m")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of a walk")
    parser.add_argument("--walks", type=int, default=10, help="walks per rate")
    parser.add_argument("--skeletons", metavar="FILE", help="track this skeletons.json instead")
    parser.add_argument("--out", type=Path, metavar="FILE", help="JSON file to write")
    arguments = parser.parse_args()
    result = track_again(arguments.skeletons) if arguments.skeletons else on_walks(arguments)
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=1))
    return 0


def on_walks(arguments: argparse.Namespace) -> dict[str, list[dict[str, float]]]:
    """Identities and smoothing at every rate."""
    print("  Hz  people  missed  false  switches    MOTA   IDF1")
    identities = []
    for rate in RATES_HZ:
        found = identities_on_walks(rate, arguments.people, arguments.seconds, arguments.walks)
        identities.append(found)
        print(
            f"{rate:4.0f}  {found['truths']:6d}  {found['misses']:6d}  "
            f"{found['false_positives']:5d}  {found['switches']:8d}  {found['mota']:6.3f} "
            f"{found['idf1']:6.3f}"
        )
    print(
        "\n  Hz  smoothing mm  body: error mm  delay ms  wrist: error mm  delay ms  hip velocity: error mm/s"
    )
    smoothing = []
    for rate in RATES_HZ:
        for noise_mm in NOISES_MM:
            found = smoothing_on_walks(rate, noise_mm, arguments.seconds, arguments.walks)
            smoothing.append(found)
            print(
                f"{rate:4.0f}  {noise_mm or 'none':>12}  {found['body_error_mm']:14.1f}  "
                f"{found['body_delay_ms']:8.0f}  {found['wrist_error_mm']:15.1f}  "
                f"{found['wrist_delay_ms']:8.0f}  {found['velocity_error_mm_s']:24.0f}"
            )
    return {"identities": identities, "smoothing": smoothing}


def identities_on_walks(rate: float, people: int, seconds: float, walks: int) -> dict[str, float]:
    """The tracking metrics of all walks at one rate, as if they were one."""
    evaluation = TrackingEvaluation()
    for seed in range(walks):
        truth = random_walks(people, rate, seconds, seed)
        numbers = [seed * people + person for person in range(people)]
        for truths, tracked in zip(truth, track(truth, rate, seed, Flaws(), TrackerSettings())):
            named = [s for s in tracked if s.track_id != NO_ID]
            ids = [seed * 10**6 + s.track_id for s in named]
            joints = np.array([s.joints for s in named]).reshape(-1, len(COCO17), 3)
            evaluation.add(numbers, truths, ids, joints)
    return {"rate_hz": rate, **dataclasses.asdict(evaluation.result())}


def smoothing_on_walks(
    rate: float, noise_mm: float | None, seconds: float, walks: int
) -> dict[str, float | None]:
    """Error and delay of one walker's mid-hip and wrists, whose joints all carry noise."""
    settings = TrackerSettings()
    if noise_mm is not None:
        settings = TrackerSettings(smooth=True, joint_noise_mm=noise_mm)
    wrists = [COCO17.index("left_wrist"), COCO17.index("right_wrist")]
    tracked, truths, errors = [], [], []
    for seed in range(walks):
        truth = random_walks(1, rate, seconds, seed)
        (found,) = zip(*track(truth, rate, seed, _QUIET, settings))
        tracked.append(np.array([s.joints for s in found]))
        truths.append(random_walks(1, 100.0, seconds, seed)[:, 0])
        velocity = np.array([COCO17.root_of(s.joint_velocities) for s in found])
        true_velocity = np.gradient(COCO17.root_of(truth[:, 0]), 1 / rate, axis=0)
        errors.append(np.linalg.norm(velocity - true_velocity, axis=1))
    body = [(COCO17.root_of(a), COCO17.root_of(b)) for a, b in zip(tracked, truths)]
    # Relative to the hips, so that it is the swing of the arms that counts.
    arms = [
        (a[:, wrists] - COCO17.root_of(a)[:, None], b[:, wrists] - COCO17.root_of(b)[:, None])
        for a, b in zip(tracked, truths)
    ]
    return {
        "rate_hz": rate,
        "joint_noise_mm": noise_mm,
        "body_error_mm": _rms(body, rate, 0),
        "body_delay_ms": _delay_ms(body, rate),
        "wrist_error_mm": _rms(arms, rate, 0),
        "wrist_delay_ms": _delay_ms(arms, rate),
        "velocity_error_mm_s": float(np.sqrt(np.mean(np.concatenate(errors) ** 2))),
    }


def track(
    walks: np.ndarray, rate: float, seed: int, flaws: Flaws, settings: TrackerSettings
) -> Iterator[list[Skeleton]]:
    """What the tracker makes of what an estimator with such flaws says of walks."""
    tracker = Tracker(settings)
    for step, (joints, valid) in enumerate(flawed(walks, rate, seed, flaws)):
        skeletons = [Skeleton(j, v.astype(float), v, 1.0) for j, v in zip(joints, valid)]
        yield tracker.update(skeletons, step / rate)


def _rms(pairs: list[tuple[np.ndarray, np.ndarray]], rate: float, delay_ms: int) -> float:
    """Distance of (T, ..., 3) at `rate` from the truth at 100 Hz that long before."""
    squares = []
    for found, truth in pairs:
        index = np.round(np.arange(len(found)) * 100.0 / rate - delay_ms / 10).astype(int)
        inside = (index >= 100) & (index < len(truth))  # the filters have a second to settle
        squares.append((np.linalg.norm(found[inside] - truth[index[inside]], axis=-1) ** 2).ravel())
    return float(np.sqrt(np.concatenate(squares).mean()))


def _delay_ms(pairs: list[tuple[np.ndarray, np.ndarray]], rate: float) -> int:
    """By how much the truth must be shifted to lie nearest; steps of 10 ms."""
    return min(range(-100, 1000, 10), key=lambda delay_ms: _rms(pairs, rate, delay_ms))


def track_again(path: str) -> dict[str, list[dict[str, float]]]:
    """How many ids the people of a skeletons.json get, at its rate and with frame sets left out."""
    frame_sets = read_skeletons(path).frame_sets
    found = []
    for every in (1, 2, 5, 10, 25):
        tracker, lengths = Tracker(), Counter()
        for frame_set in frame_sets[::every]:
            lengths.update(s.track_id for s in tracker.update(frame_set.skeletons, frame_set.stamp))
        unnamed = lengths.pop(NO_ID, 0)
        found.append({"every": every, "ids": len(lengths), "unnamed": unnamed})
        print(
            f"one frame set of {every:2d}: {len(lengths)} ids of {sorted(lengths.values())} frame sets, "
            f"{unnamed} skeletons without"
        )
    return {"tracked_again": found}


if __name__ == "__main__":
    sys.exit(run_command(main))
