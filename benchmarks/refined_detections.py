#!/usr/bin/env python3
"""Whether refined 2D detections give better skeletons, judged by what neither detector had a part in.

    python benchmarks/refined_detections.py --pose2sim DIR --panoptic DIR --step 4

DIR of pose2sim holds SinglePerson/ and MultiPerson/, each with four videos and the Qualisys file;
SinglePerson/ the reference .trc, too, and in one file (openpose_body25b.json) OpenPose's detections of the
same frames. DIR of panoptic holds camera_parameters.json and one folder of images per camera. Detections
come from the shipped detector, plain and refined (`refine_detections`), skeletons from the ray model, every
frame set by itself.

Columns: reprojection error in px, mean / median, to the detections that the skeletons come from; with each
camera left out in turn, to the plain detections of that camera, of which the skeletons know nothing; to
OpenPose's detections; and the distance to the reference in mm.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch

from voxelpose_core.command import Parser, run_command
from voxelpose_core.datasets.pose2sim import open_recording, read_reference, reference_distances
from voxelpose_core.detectors import Detector, load_detector
from voxelpose_core.detectors.refinement import RefinedDetector
from voxelpose_core.errors import InputError
from voxelpose_core.estimator import PoseEstimator
from voxelpose_core.geometry.rig import Rig, load_rig
from voxelpose_core.results import ReprojectionError
from voxelpose_core.skeletons import COCO17

OPENPOSE_FILE = "openpose_body25b.json"
HEADS = (
    "recording",
    "detections",
    "people: frame sets",
    "px, own",
    "px, left-out camera",
    "px, OpenPose",
    "mm",
)
FrameSets = Iterable[tuple[int, "Sequence[np.ndarray | None]"]]
Keypoints = Sequence["np.ndarray | None"]


@dataclass
class Row:
    """What skeletons from one kind of detections reach on one recording."""

    own: ReprojectionError = field(default_factory=ReprojectionError)
    left_out: ReprojectionError = field(default_factory=ReprojectionError)
    openpose: ReprojectionError = field(default_factory=ReprojectionError)
    millimetres: list[float] = field(default_factory=list)
    people: Counter[int] = field(default_factory=Counter)

    def cells(self) -> list[str]:
        """As the columns say it."""
        counts = ", ".join(f"{people}: {frames}" for people, frames in sorted(self.people.items()))
        errors = [_pair(error.distances) for error in (self.own, self.left_out, self.openpose)]
        return [counts, *errors, _pair(self.millimetres)]


def _pair(values: Sequence[float]) -> str:
    return f"{np.nanmean(values):.1f} / {np.nanmedian(values):.1f}" if len(values) else ""


def main() -> int:
    args = parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    print(f"| {' | '.join(HEADS)} |\n|{' --- |' * len(HEADS)}")
    plain = load_detector("movenet", threads=1)
    detectors = {"plain": plain, "refined": RefinedDetector(plain, threads=1)}
    for name, rig, frame_sets, folder in recordings(args):
        for kind, row in measure(
            rig, islice(frame_sets, args.frames), detectors, folder, args.weights
        ).items():
            print(f"| {' | '.join([name, kind, *row.cells()])} |", flush=True)
    return 0


def parse_args() -> argparse.Namespace:
    parser = Parser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--pose2sim", type=Path, help="folder with SinglePerson and MultiPerson")
    parser.add_argument("--panoptic", type=Path, help="folder with camera_parameters.json and images")
    parser.add_argument(
        "--step", type=int, default=4, help="every N-th frame of a video (default: %(default)s)"
    )
    parser.add_argument("--frames", type=int, default=25, help="frame sets (default: %(default)s)")
    parser.add_argument("--weights", default="universal", help="3D weights: name or file")
    args = parser.parse_args()
    for folder in (args.pose2sim, args.panoptic):
        if folder is not None and not folder.is_dir():
            raise InputError(f"{folder} does not exist, expected a folder of recordings")
    if args.pose2sim is None and args.panoptic is None:
        raise InputError("nothing to measure: give --pose2sim or --panoptic")
    return args


def recordings(args: argparse.Namespace) -> Iterable[tuple[str, Rig, FrameSets, Path]]:
    """Name, rig, frame sets and folder of each recording."""
    if args.pose2sim is not None:
        for name in ("SinglePerson", "MultiPerson"):
            rig, frames = open_recording(args.pose2sim / name)
            yield name, rig, frames(args.step), args.pose2sim / name
    if args.panoptic is not None:
        views = sorted(path.name for path in args.panoptic.iterdir() if path.is_dir())
        rig = load_rig(args.panoptic / "camera_parameters.json").select(views)
        numbers = sorted(p.stem.removeprefix(views[0]) for p in (args.panoptic / views[0]).glob("*.jpg"))
        images = ([cv2.imread(str(args.panoptic / v / f"{v}{n}.jpg")) for v in views] for n in numbers)
        yield "Panoptic", rig, enumerate(images), args.panoptic


def measure(
    rig: Rig, frame_sets: FrameSets, detectors: dict[str, Detector], folder: Path, weights: str
) -> dict[str, Row]:
    """A row for each detector; the first one's detections are those that left-out cameras are judged by."""
    estimator = PoseEstimator(rig, weights, "cpu", detector=None)
    openpose = read_openpose(folder / OPENPOSE_FILE, rig) if (folder / OPENPOSE_FILE).exists() else []
    reference = read_reference(folder) if list(folder.glob("*.trc")) else None
    rows = {name: Row() for name in detectors}
    for frame, images in frame_sets:
        judge = None
        for name, detector in detectors.items():
            keypoints = detected(detector, images)
            judge = keypoints if judge is None else judge
            skeletons = estimator.estimate_keypoints(keypoints).skeletons
            row = rows[name]
            row.people[len(skeletons)] += 1
            row.own.add(rig, skeletons, keypoints)
            leave_out(estimator, keypoints, judge, row.left_out)
            if frame < len(openpose):
                row.openpose.add(rig, skeletons, openpose[frame])
            if reference is not None and skeletons:
                row.millimetres += reference_distances(skeletons, reference, frame)
    return rows


def detected(detector: Detector, images: Sequence[np.ndarray | None]) -> list[np.ndarray | None]:
    """2D detections per camera; None where it has no frame."""
    given = iter(detector.detect([image for image in images if image is not None]))
    return [None if image is None else next(given) for image in images]


def leave_out(
    estimator: PoseEstimator, keypoints: Keypoints, judge: Keypoints, error: ReprojectionError
) -> None:
    """Estimate without each camera in turn, and compare with the judge's detections of that camera."""
    for view in range(len(keypoints)):
        others = [None if index == view else people for index, people in enumerate(keypoints)]
        alone = [people if index == view else None for index, people in enumerate(judge)]
        error.add(estimator.rig, estimator.estimate_keypoints(others).skeletons, alone)


def read_openpose(path: Path, rig: Rig) -> list[list[np.ndarray]]:
    """Per frame and camera the people (P, 17, 3); BODY_25B begins with COCO's joints, in their order."""
    given = json.loads(path.read_text())
    frames = [given[name] for name in rig.names]
    return [
        [np.reshape(people, (-1, len(given["joints"]), 3))[:, : len(COCO17)] for people in frame]
        for frame in zip(*frames, strict=True)
    ]


if __name__ == "__main__":
    sys.exit(run_command(main))
