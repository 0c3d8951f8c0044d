#!/usr/bin/env python3
"""Measure universal weights on recordings and rigs that they never saw, without retraining.

    python training/validate_universal.py --shelf DIR --campus DIR --pose2sim DIR --panoptic DIR
    python training/validate_universal.py --generated

Each argument is optional. DIR of Shelf and Campus is in the original's layout (calibration,
actorsGT.mat, 2D predictions, which for Campus are simulated); of pose2sim it holds SinglePerson/
(with the reference .trc) and MultiPerson/, each with four videos and the Qualisys file; of panoptic
it holds camera_parameters.json and one folder of images per camera. --generated needs no data: rigs
of 2 to 8 cameras on fixed seeds (voxelpose_core/datasets/generated_rigs.py). --specialize trains for
three such rigs. Prints what it finds and writes JSON with --out.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from voxelpose_core.allocator import keep_freed_memory
from voxelpose_core.command import Parser, positive_number, run_command, whole_number
from voxelpose_core.datasets.actors import ActorsDataset
from voxelpose_core.datasets.campus import Campus
from voxelpose_core.datasets.generated_rigs import LEVELS, VIEW_COUNTS, generate_rig
from voxelpose_core.datasets.pose2sim import LIMB_JOINTS, open_recording, read_reference
from voxelpose_core.datasets.shelf import Shelf
from voxelpose_core.errors import InputError
from voxelpose_core.estimator import PoseEstimator
from voxelpose_core.evaluation import triangulate_actors
from voxelpose_core.geometry.rig import load_rig, save_rig
from voxelpose_core.keypoint_evaluation import Predictions, actors_pcp, predict, rig_metrics
from voxelpose_core.metrics.pcp import evaluate_pcp
from voxelpose_core.output_files import check_outputs
from voxelpose_core.pose_types import Estimate
from voxelpose_core.results import ReprojectionError
from voxelpose_core.skeletons import COCO17

SHELF_FRAMES = range(300, 450)
CAMPUS_FRAMES = range(751, 901)
SPECIALIZED_VIEWS = (2, 3, 5)
# No rig of --generated, which counts from 0.
SPECIALIZED_NUMBER = 100


def main() -> int:
    args = parse_args()
    keep_freed_memory()
    report = {}
    if args.shelf:
        frames = SHELF_FRAMES[:: args.step]
        report["shelf"] = measure_actors(args, Shelf(args.shelf, frames=frames))
    if args.campus:
        frames = CAMPUS_FRAMES[:: args.step]
        report["campus"] = measure_actors(args, Campus(args.campus, frames=frames, simulated=True))
    if args.pose2sim:
        report["single_person"] = measure_single_person(args)
        report["two_people"] = measure_two_people(args)
    if args.panoptic:
        report["panoptic"] = measure_panoptic(args)
    if args.generated:
        report["generated"] = measure_generated(args)
    if args.specialize:
        report["specialized"] = measure_specialization(args)
    if not report:
        raise InputError("nothing to measure: give --shelf, --campus, --pose2sim, --panoptic or --generated")
    text = json.dumps(report, indent=2)
    print(text)
    if args.out:
        Path(args.out).write_text(text + "\n")
        print(f"written: {args.out}", file=sys.stderr)
    return 0


def parse_args() -> argparse.Namespace:
    parser = Parser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--shelf", help="folder of the Shelf data set")
    parser.add_argument("--campus", help="folder of the Campus data set: simulated detections of it")
    parser.add_argument("--pose2sim", help="folder with SinglePerson and MultiPerson")
    parser.add_argument("--panoptic", help="folder with camera_parameters.json and images")
    parser.add_argument("--generated", action="store_true", help="measure on generated rigs")
    parser.add_argument(
        "--specialize",
        type=positive_number,
        default=0.0,
        metavar="MINUTES",
        help="train this long for each of three generated rigs, and compare",
    )
    parser.add_argument("--rigs", type=whole_number(1), default=6, help="generated rigs per setting")
    parser.add_argument("--weights", default="universal", help="name or file (default: %(default)s)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:N (default: %(default)s)")
    parser.add_argument("--step", type=whole_number(1), default=1, help="measure only every N-th frame")
    parser.add_argument("--out", help="JSON file to write")
    args = parser.parse_args()
    check_outputs({"--out": args.out})
    return args


def measure_actors(args, dataset: ActorsDataset) -> dict:
    """Ten-part PCP per actor from 2D predictions, beside plain triangulation of the same."""
    estimator = PoseEstimator(dataset.rig, args.weights, args.device, detector=None)
    samples = list(dataset.samples())
    bar = tqdm(samples, dataset.name, disable=None)
    predictions = predict(estimator, (sample.keypoints for sample in bar))
    dlt = [triangulate_actors(sample, dataset) for sample in samples]
    return {
        "frames": len(dataset),
        "voxelpose": actors_pcp(predictions, dataset).to_dict(),
        "dlt_ideal_association": evaluate_pcp(dlt, dataset.actors).to_dict(),
    }


def measure_single_person(args) -> dict:
    """Mean distance to the reference over the twelve limb joints of the person found."""
    folder = Path(args.pose2sim) / "SinglePerson"
    reference = read_reference(folder)
    rig, frames = open_recording(folder)
    estimator = PoseEstimator(rig, args.weights, args.device)
    errors, counts = [], Counter()
    for frame, images in tqdm(frames(args.step), desc="single person", disable=None):
        skeletons = estimator.estimate_images(images).skeletons
        counts[len(skeletons)] += 1
        if skeletons and frame < len(next(iter(reference.values()))):
            best = max(skeletons, key=lambda s: s.joint_scores.mean())
            errors.append(
                [
                    np.linalg.norm(best.joints[COCO17.index(name)] - reference[name][frame])
                    for name in LIMB_JOINTS
                ]
            )
    errors = np.array(errors)
    return {
        "people_per_frame": dict(sorted(counts.items())),
        "mean_mm": float(np.nanmean(errors)),
        "median_mm": float(np.nanmedian(errors)),
        "mean_mm_by_joint": dict(zip(LIMB_JOINTS, np.nanmean(errors, axis=0).round(1).tolist(), strict=True)),
    }


def measure_two_people(args) -> dict:
    """How many people are found in each frame, and how well they fit the 2D detections."""
    rig, frames = open_recording(Path(args.pose2sim) / "MultiPerson")
    estimator = PoseEstimator(rig, args.weights, args.device)
    return _count_people(estimator, frames(args.step), "two people")


def measure_panoptic(args) -> dict:
    """People per frame on images of the Panoptic studio."""
    folder = Path(args.panoptic)
    views = sorted(p.name for p in folder.iterdir() if p.is_dir())
    rig = load_rig(folder / "camera_parameters.json").select(views)
    estimator = PoseEstimator(rig, args.weights, args.device)
    numbers = sorted(p.stem.removeprefix(views[0]) for p in (folder / views[0]).glob("*.jpg"))
    frame_sets = ((n, [cv2.imread(str(folder / v / f"{v}{n}.jpg")) for v in views]) for n in numbers)
    return _count_people(estimator, frame_sets, "panoptic", per_frame=True)


def measure_generated(args) -> dict:
    """AP, MPJPE, recall and false positives by number of cameras and by detector noise."""
    result = {}
    settings = [(views, name) for views in VIEW_COUNTS for name in LEVELS]
    for views, name in tqdm(settings, desc="generated", disable=None):
        rigs = [generate_rig(views, LEVELS[name], number) for number in range(args.rigs)]
        result[f"{views} views, {name} detections"] = _measure_rigs(args, rigs, args.weights)
    return result


def measure_specialization(args) -> dict:
    """What train_for_rig.py adds on three generated rigs."""
    script = Path(__file__).with_name("train_for_rig.py")
    result = {}
    for views in SPECIALIZED_VIEWS:
        rigs = [generate_rig(views, LEVELS["usual"], SPECIALIZED_NUMBER, frame_sets=24)]
        with tempfile.TemporaryDirectory() as folder:
            rig_file, weights = Path(folder) / "rig.yaml", Path(folder) / "rig.safetensors"
            save_rig(rigs[0][0], rig_file)
            command = [sys.executable, script, rig_file, "--out", weights, "--init", args.weights]
            command += ["--minutes", str(args.specialize), "--threads", "1"]
            subprocess.run(list(map(str, command)), check=True)
            result[f"{views} views"] = {
                "universal": _measure_rigs(args, rigs, args.weights),
                "specialized": _measure_rigs(args, rigs, weights),
            }
    return result


def _measure_rigs(args, rigs, weights) -> dict:
    predictions, frame_sets = Predictions(), []
    for rig, own in rigs:
        estimator = PoseEstimator(rig, weights, args.device, detector=None)
        for frame_set in own:
            predictions.add(estimator, frame_set.keypoints)
            frame_sets.append(frame_set)
    found = rig_metrics(predictions, frame_sets)
    return {
        "people": found.metrics.people,
        "recall_by_whole_views": _as_text(found.recall_by_whole_views),
        "of_whom_two_views_detect": _as_text(found.recall_of_detected),
        "recall_500mm": round(found.metrics.recall_500, 3),
        "mpjpe_mm": round(found.metrics.mpjpe, 1),
        "ap": {str(mm): round(100 * ap, 1) for mm, ap in found.metrics.ap.items()},
        "false_positives_per_frame_set": round(found.false_positives_per_frame, 3),
    }


def _as_text(recall: dict[int, tuple[int, int]]) -> dict[str, str]:
    return {str(views): f"{found} of {people}" for views, (found, people) in recall.items()}


def _count_people(estimator: PoseEstimator, frame_sets, title: str, per_frame=False) -> dict:
    counts, error, supports = [], ReprojectionError(), []
    for _, images in tqdm(frame_sets, desc=title, disable=None):
        estimate: Estimate = estimator.estimate_images(images)
        counts.append(len(estimate.skeletons))
        supports += [round(float(s.joint_scores.mean()), 3) for s in estimate.skeletons]
        error.add(estimator.rig, estimate.skeletons, estimate.keypoints)
    return {
        "people_per_frame": counts if per_frame else dict(sorted(Counter(counts).items())),
        "reprojection_px": {"mean": error.mean_px, "median": error.median_px},
        "views_paired": f"{error.paired} of {error.in_view}",
        "least_support": min(supports, default=None),
    }


if __name__ == "__main__":
    sys.exit(run_command(main))
