#!/usr/bin/env python3
"""Time and agreement of the 2D detector with its settings, on recordings of several views.

    python benchmarks/detection_settings.py --pose2sim DIR --step 2 --frames 30

DIR holds SinglePerson/ and MultiPerson/, each with four videos and the Qualisys file, SinglePerson/ the
reference .trc, too. Every setting runs on every frame set, one after the other, so that a busy computer
slows all of them alike; times are of the processor, on one thread. Each setting follows people with a
tracker of its own. Reprojection errors are those of its skeletons to its own 2D detections, and to the
detections of the first setting.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch

from voxelpose_core.command import Parser, run_command
from voxelpose_core.datasets.pose2sim import open_recording, read_reference, reference_distances
from voxelpose_core.detectors import load_detector
from voxelpose_core.detectors.refinement import RefinedDetector
from voxelpose_core.errors import InputError
from voxelpose_core.estimator import PoseEstimator
from voxelpose_core.estimator_settings import EstimatorSettings
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.results import ReprojectionError
from voxelpose_core.skeletons import COCO17
from voxelpose_core.tracking import Tracker

RECORDINGS = ("SinglePerson", "MultiPerson")
FRAMES_PER_S = 60.0


class TimedDetector:
    """A detector whose processor time is added up."""

    joint_set = COCO17

    def __init__(self, detector):
        self._detector = detector
        self.seconds = 0.0

    def detect(self, images):
        return self._timed(self._detector.detect, images)

    def detect_crops(self, crops, whole_sizes):
        return self._timed(self._detector.detect_crops, crops, whole_sizes)

    def _timed(self, function, *arguments):
        start = time.process_time()
        found = function(*arguments)
        self.seconds += time.process_time() - start
        return found


@dataclass
class Run:
    """One setting on one recording: its estimator, and what came out so far."""

    detector: TimedDetector
    estimator: PoseEstimator
    tracker: Tracker = field(default_factory=Tracker)
    own: ReprojectionError = field(default_factory=ReprojectionError)
    first: ReprojectionError = field(default_factory=ReprojectionError)
    people: Counter[int] = field(default_factory=Counter)
    ms_per_view: list[float] = field(default_factory=list)
    errors_mm: list[float] = field(default_factory=list)

    def line(self) -> str:
        counts = ", ".join(f"{people} in {frames}" for people, frames in sorted(self.people.items()))
        reference = ""
        if self.errors_mm:
            reference = f"{np.nanmean(self.errors_mm):.1f} / {np.nanmedian(self.errors_mm):.1f}"
        return (
            f"{np.mean(self.ms_per_view):.1f} | {np.median(self.ms_per_view):.1f} | "
            f"{self.own.mean_px:.1f} / {self.own.median_px:.1f} | "
            f"{self.first.mean_px:.1f} / {self.first.median_px:.1f} | {counts} | {reference}"
        )


def main() -> int:
    args = parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    for name in RECORDINGS:
        folder = Path(args.pose2sim) / name
        if not folder.is_dir():
            raise InputError(f"--pose2sim: {folder} does not exist, expected a folder of the recording")
        print(f"\n{name}\n")
        heads = "setting | ms per view, mean | median | px to own, mean / median | px to first | people | mm"
        print(f"| {heads} |")
        print("| --- | --- | --- | --- | --- | --- | --- |")
        for setting, run in measure(folder, args).items():
            print(f"| {setting} | {run.line()} |", flush=True)
    return 0


def parse_args() -> argparse.Namespace:
    parser = Parser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--pose2sim", required=True, help="folder with SinglePerson and MultiPerson")
    parser.add_argument("--step", type=int, default=2, help="every N-th frame (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=30, help="frame sets (default: %(default)s)")
    parser.add_argument("--every", type=int, nargs="+", default=[5, 10], help="full_detection_every")
    parser.add_argument("--weights", default="universal", help="3D weights: name or file")
    return parser.parse_args()


def measure(folder: Path, args: argparse.Namespace) -> dict[str, Run]:
    """All settings on the frame sets of one recording."""
    rig, frames = open_recording(folder)
    reference = read_reference(folder) if list(folder.glob("*.trc")) else None
    runs = make_runs(rig, args)
    for frame, images in islice(frames(args.step), args.frames):
        first = None
        for run in runs.values():
            run.detector.seconds = 0.0
            stamp = frame / FRAMES_PER_S
            answer = run.estimator.estimate_images(images, run.tracker.predict(stamp))
            run.ms_per_view.append(1e3 * run.detector.seconds / len(images))
            run.tracker.update(answer.skeletons, stamp)
            run.people[len(answer.skeletons)] += 1
            run.own.add(rig, answer.skeletons, answer.keypoints)
            first = answer.keypoints if first is None else first
            run.first.add(rig, answer.skeletons, first)
            if reference is not None and answer.skeletons:
                run.errors_mm += reference_distances(answer.skeletons, reference, frame)
    return runs


def make_runs(rig: Rig, args: argparse.Namespace) -> dict[str, Run]:
    movenet = load_detector("movenet", threads=1)
    thunder = RefinedDetector(movenet, threads=1)
    settings = {"as shipped": (movenet, 1), "refine_detections": (thunder, 1)}
    for every in args.every:
        settings[f"full_detection_every {every}"] = (movenet, every)
    settings[f"both, {args.every[-1]}"] = (thunder, args.every[-1])
    runs = {}
    for name, (detector, every) in settings.items():
        timed = TimedDetector(detector)
        estimator = PoseEstimator(
            rig,
            args.weights,
            device="cpu",
            detector=timed,
            settings=EstimatorSettings(full_detection_every=every),
        )
        runs[name] = Run(timed, estimator)
    return runs


if __name__ == "__main__":
    sys.exit(run_command(main))
