#!/usr/bin/env python3
"""Choose the thresholds of the learning-free baseline on generated rigs that no report uses.

    python benchmarks/choose_thresholds.py

Each threshold in turn is tried at several values, and all of them a second time. The value is kept that has
the greatest sum of recall and of AP at 100 and 150 mm, less the false positives per frame set.
(`near_previous` needs consecutive frame sets, which generated rigs have not: it is the share by which the
estimator decides that a 2D detection is a skeleton's image.) Prints what it finds.
"""

from __future__ import annotations

import dataclasses
import sys

import torch
from pair_triangulation import PairTriangulation, Thresholds

from voxelpose_core.command import Parser, run_command
from voxelpose_core.datasets.generated_rigs import LEVELS, VIEW_COUNTS, generate_rig
from voxelpose_core.keypoint_evaluation import Predictions, RigMetrics, rig_metrics

# validate_universal.py and compare_methods.py count from 0; 100 is that of --specialize.
FIRST_NUMBER = 500
VALUES = {
    "pair_gap": (80.0, 120.0, 150.0, 200.0, 300.0),
    "pair_score": (0.1, 0.2, 0.3, 0.4, 0.5),
    "cluster_distance": (150.0, 200.0, 300.0, 400.0, 500.0),
    "ray_scale": (15.0, 25.0, 40.0, 60.0, 90.0, 130.0, 180.0),
    "joint_distance": (75.0, 100.0, 150.0, 200.0, 300.0),
    "support": (0.0, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35),
}


def main() -> int:
    parser = Parser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rigs", type=int, default=3, help="rigs per number of cameras and level")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rigs = [
        generate_rig(views, level, FIRST_NUMBER + number)
        for views in VIEW_COUNTS
        for level in LEVELS.values()
        for number in range(args.rigs)
    ]
    best, known = Thresholds(), {}
    for name in 2 * list(VALUES):
        tried = {}
        for value in VALUES[name]:
            candidate = dataclasses.replace(best, **{name: value})
            if candidate not in known:
                known[candidate] = measure(rigs, candidate)
            tried[value] = known[candidate]
        chosen = max(tried, key=lambda value: quality(tried[value]))
        best = dataclasses.replace(best, **{name: chosen})
        for value, found in tried.items():
            mark = "  <-" * (value == chosen)
            print(f"{name:<17} {value:>6g}  {describe(found)}{mark}", flush=True)
    print(best)
    return 0


def measure(rigs, thresholds: Thresholds) -> RigMetrics:
    """The baseline with these thresholds on all frame sets of the rigs."""
    predictions = Predictions()
    for rig, frame_sets in rigs:
        method = PairTriangulation(rig, thresholds=thresholds, use_previous=False)
        for frame_set in frame_sets:
            predictions.add(method, frame_set.keypoints)
    return rig_metrics(predictions, [frame_set for _, frame_sets in rigs for frame_set in frame_sets])


def quality(found: RigMetrics) -> float:
    """What is maximized; see the top."""
    metrics = found.metrics
    return metrics.recall_500 + metrics.ap[100] + metrics.ap[150] - found.false_positives_per_frame


def describe(found: RigMetrics) -> str:
    """One line."""
    metrics = found.metrics
    return (
        f"quality {quality(found):.4f}  recall {metrics.recall_500:.3f}  MPJPE {metrics.mpjpe:5.1f}  "
        f"AP100 {metrics.ap[100]:.3f}  false positives {found.false_positives_per_frame:.3f}"
    )


if __name__ == "__main__":
    sys.exit(run_command(main))
