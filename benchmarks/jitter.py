#!/usr/bin/env python3
"""What time adds to the ray model: jitter, accuracy, delay, losses, false positives on generated walks.

    python benchmarks/jitter.py [--weights universal] [--walks 2]

People walk before generated rigs, stop and swing their arms, and the last of them vanishes after half of
the time (voxelpose_core/datasets/generated_walks.py; no data is needed). In the same run each frame set is
estimated

    alone            every frame set by itself
    smoothed 60 mm   tracker, one noise for all joints (`joint_noise_mm`), no one expected
    covariances      tracker, every joint by its covariance, no one expected
    expected         the same, and the estimator looks where the tracker expects people: what runs by default
    last pose        as expected, the net also sees the expected pose (`last_pose`), not smoothed
    last, smoothed   the same, smoothed

Columns: mean joint error in mm, of the limbs by their speed in m/s; jitter, the mean length of the second
difference of a joint's error from frame to frame, of people who move and who stand; delay of elbows, wrists,
knees and ankles in ms (least squares of the error on the true velocity); people who are missed, in %; false
positives per frame set before and after a person left. Errors are those of the people that all methods found.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from tqdm import tqdm

from voxelpose_core.command import Parser, run_command
from voxelpose_core.datasets.generated_rigs import LEVELS
from voxelpose_core.datasets.generated_walks import GeneratedWalk, generate_walk
from voxelpose_core.estimator import PoseEstimator
from voxelpose_core.estimator_settings import EstimatorSettings
from voxelpose_core.metrics.mpjpe import pose_distances
from voxelpose_core.pose_types import Skeleton
from voxelpose_core.skeletons import COCO17
from voxelpose_core.tracking import Tracker, TrackerSettings

LIMBS = [
    COCO17.index(f"{side}_{joint}")
    for joint in ("elbow", "wrist", "knee", "ankle")
    for side in ("left", "right")
]
SPEEDS = ((0.0, 1000.0), (1000.0, 2000.0), (2000.0, math.inf))
FOUND_MM, STANDING_MM_S = 500.0, 100.0
# Errors that are no lag: joints that were grouped wrongly.
_GROSS_MM = 300.0


@dataclass(frozen=True)
class Method:
    """How frame sets become skeletons.

    Attributes:
        tracker: None: every frame set by itself.
        constant: covariances are kept from the tracker.
        expects: the estimator gets the poses that the tracker expects.
        last_pose: `EstimatorSettings.last_pose`.
    """

    tracker: TrackerSettings | None = None
    constant: bool = False
    expects: bool = False
    last_pose: bool = False


METHODS = {
    "alone": Method(),
    "smoothed 60 mm": Method(TrackerSettings(smooth=True), constant=True),
    "covariances": Method(TrackerSettings(smooth=True)),
    "expected": Method(TrackerSettings(smooth=True), expects=True),
    "last pose": Method(TrackerSettings(smooth=False), expects=True, last_pose=True),
    "last, smoothed": Method(TrackerSettings(smooth=True), expects=True, last_pose=True),
}


@dataclass(frozen=True)
class Found:
    """What a method found of a walk: joints (T, P, 17, 3), mm, NaN who was missed; false positives (T,)."""

    joints: np.ndarray
    false_positives: np.ndarray


def main() -> int:
    args = parse_args()
    torch.set_num_threads(1)
    walks = [
        generate_walk(views, LEVELS[args.level], number, args.people, args.rate, args.seconds, leaving=True)
        for views in args.views
        for number in range(args.walks)
    ]
    found = {name: [] for name in args.methods}
    with tqdm(total=len(walks) * len(found), disable=None) as bar:
        for walk in walks:
            estimator = PoseEstimator(walk.rig, args.weights, args.device, detector=None)
            for name, results in found.items():
                results.append(follow(walk, estimator, METHODS[name]))
                bar.update()
    rows = measure(walks, found)
    print(table(rows))
    if args.out:
        args.out.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


def parse_args() -> argparse.Namespace:
    parser = Parser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--weights", default="universal", help="of the ray model")
    parser.add_argument("--walks", type=int, default=2, help="walks per number of cameras")
    parser.add_argument("--views", type=int, nargs="+", default=[2, 3, 5], help="numbers of cameras")
    parser.add_argument("--level", choices=LEVELS, default="usual", help="how good the 2D detector is")
    parser.add_argument("--people", type=int, default=3)
    parser.add_argument("--rate", type=float, default=25.0, help="frame sets per second")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of a walk")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    args = parser.parse_args()
    for name in ("walks", "people", "rate", "seconds"):
        if not getattr(args, name) > 0:
            parser.error(f"--{name} is {getattr(args, name)}, expected more than 0")
    if min(args.views) < 2:
        parser.error(f"--views is {min(args.views)}, expected at least 2")
    return args


def follow(walk: GeneratedWalk, estimator: PoseEstimator, method: Method) -> Found:
    """Run a method on all frame sets of a walk, in order."""
    estimator.settings = EstimatorSettings(last_pose=method.last_pose)
    tracker = None if method.tracker is None else Tracker(method.tracker)
    joints, false_positives = np.full(walk.poses.shape, np.nan), np.zeros(len(walk.poses))
    for step, keypoints in enumerate(walk.keypoints):
        stamp = step / walk.rate_hz
        expected = tracker.predict(stamp) if method.expects else None
        skeletons = estimator.estimate_keypoints(keypoints, expected).skeletons
        if method.constant:
            for skeleton in skeletons:
                skeleton.joint_covariances = None
        if tracker is not None:
            skeletons = tracker.update(skeletons, stamp)
        present = np.flatnonzero(walk.present[step])
        for person, skeleton in _matches(skeletons, walk.poses[step, present]):
            joints[step, present[person]] = skeleton.joints
        found = np.isfinite(joints[step, :, 0, 0]).sum()
        false_positives[step] = len(skeletons) - found
    return Found(joints, false_positives)


def _matches(skeletons: Sequence[Skeleton], truth: np.ndarray) -> list[tuple[int, Skeleton]]:
    if not len(skeletons) or not len(truth):
        return []
    gaps = pose_distances(truth, np.array([s.joints for s in skeletons]))
    pairs = zip(*linear_sum_assignment(gaps))
    return [(row, skeletons[column]) for row, column in pairs if gaps[row, column] < FOUND_MM]


def measure(walks: Sequence[GeneratedWalk], found: dict[str, list[Found]]) -> dict[str, dict[str, float]]:
    """The columns of every method."""
    common = [
        np.all([np.isfinite(results[index].joints[..., 0, 0]) for results in found.values()], axis=0)
        for index in range(len(walks))
    ]
    return {
        name: asdict(_figures(walks, results, common)) | _losses(walks, results)
        for name, results in found.items()
    }


@dataclass(frozen=True)
class _Figures:
    error_mm: float
    slow_limbs_mm: float
    limbs_mm: float
    fast_limbs_mm: float
    jitter_moving_mm: float
    jitter_standing_mm: float
    delay_ms: float


def _figures(walks, results: Sequence[Found], common: Sequence[np.ndarray]) -> _Figures:
    lengths, moving, standing = [], [], []
    by_speed: list[list[np.ndarray]] = [[] for _ in SPEEDS]
    against, square = 0.0, 0.0
    for walk, result, both in zip(walks, results, common, strict=True):
        error = np.where(both[..., None, None], result.joints - walk.poses, np.nan)
        velocity = np.gradient(walk.poses, 1.0 / walk.rate_hz, axis=0)
        length = np.linalg.norm(error, axis=-1)
        lengths.append(length.ravel())
        second = np.linalg.norm(np.diff(error, 2, axis=0), axis=-1)
        stands = np.linalg.norm(COCO17.root_of(velocity), axis=-1)[1:-1] < STANDING_MM_S
        standing.append(second[stands].ravel())
        moving.append(second[~stands].ravel())
        speed = np.linalg.norm(velocity, axis=-1)[..., LIMBS]
        for (low, high), into in zip(SPEEDS, by_speed, strict=True):
            into.append(length[..., LIMBS][(speed >= low) & (speed < high)])
        usual = length[..., LIMBS] < _GROSS_MM
        limb_error, limb_velocity = error[:, :, LIMBS][usual], velocity[:, :, LIMBS][usual]
        against -= (limb_error * limb_velocity).sum()
        square += (limb_velocity**2).sum()
    return _Figures(
        _mean(lengths),
        *(_mean(into) for into in by_speed),
        _mean(moving),
        _mean(standing),
        1e3 * float(against / square) if square else math.nan,
    )


def _losses(walks: Sequence[GeneratedWalk], results: Sequence[Found]) -> dict[str, float]:
    missed = people = 0
    before, after = [], []
    for walk, result in zip(walks, results, strict=True):
        there = np.isfinite(result.joints[..., 0, 0])
        missed += int((walk.present & ~there).sum())
        people += int(walk.present.sum())
        gone = ~walk.present.all(axis=1)
        before.append(result.false_positives[~gone])
        after.append(result.false_positives[gone])
    return {
        "missed_percent": 100.0 * missed / max(people, 1),
        "false_before": _mean(before),
        "false_after": _mean(after),
    }


def _mean(parts: Sequence[np.ndarray]) -> float:
    values = np.concatenate(parts)
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else math.nan


def table(rows: dict[str, dict[str, float]]) -> str:
    """The rows as a Markdown table."""
    heads = (
        "method",
        "error",
        "limbs < 1",
        "1..2",
        "> 2 m/s",
        "jitter moving",
        "standing",
        "delay ms",
        "missed %",
        "false before",
        "after",
    )
    lines = [heads, ("---",) * len(heads)]
    for name, row in rows.items():
        digits = (1,) * 8 + (3, 3)
        lines.append((name, *(f"{v:.{d}f}" for v, d in zip(row.values(), digits, strict=True))))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


if __name__ == "__main__":
    sys.exit(run_command(main))
