#!/usr/bin/env python3
"""Compare simulated 2D detections with real ones: misses, errors, swaps, scores.

    python benchmarks/measure_detections.py --shelf DIR --pose2sim DIR

Shelf: the data set's 2D predictions against its projected ground truth. Pose2Sim's SinglePerson:
the shipped detector against the projected .trc. Simulated: voxelpose_core/datasets/detection_noise.py
on random scenes, at four noise levels.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch

from voxelpose_core.command import Parser, run_command
from voxelpose_core.datasets import open_dataset
from voxelpose_core.datasets.detection_noise import detect
from voxelpose_core.datasets.detection_statistics import (
    DetectionStatistics,
    coco17_truth,
    view_statistics,
)
from voxelpose_core.datasets.pose2sim import LIMB_JOINTS, open_recording, read_reference
from voxelpose_core.datasets.random_rigs import (
    HEATMAP_SIZES,
    sample_rigs,
    sample_spaces,
)
from voxelpose_core.datasets.random_scenes import place_people
from voxelpose_core.detectors import load_detector
from voxelpose_core.skeletons import CAMPUS14
from voxelpose_core.voxel.views import project

SHELF_FRAMES = range(300, 600)
LEVELS = (0.0, 0.3, 0.6, 1.0)


def main() -> int:
    args = parse_args()
    report = {}
    if args.shelf:
        report["shelf"] = measure_shelf(args.shelf)
    if args.pose2sim:
        report["single person"] = measure_single_person(args.pose2sim, args.step)
    for level in LEVELS:
        report[f"simulated, level {level:g}"] = measure_simulated(level, args.scenes)
    print_table(report)
    if args.out:
        Path(args.out).write_text(json.dumps(report, indent=2) + "\n")
    return 0


def parse_args() -> argparse.Namespace:
    parser = Parser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--shelf", help="folder of the Shelf data set")
    parser.add_argument("--pose2sim", help="folder with SinglePerson")
    parser.add_argument("--step", type=int, default=5, help="every N-th frame of the video")
    parser.add_argument("--scenes", type=int, default=96, help="simulated scenes per noise level")
    parser.add_argument("--out", help="JSON file to write")
    return parser.parse_args()


def measure_shelf(folder: str) -> dict:
    dataset = open_dataset("shelf", folder, frames=SHELF_FRAMES)
    statistics = DetectionStatistics()
    for index in range(len(dataset)):
        sample = dataset[index]
        joints = {name: sample.poses[:, CAMPUS14.index(name)] for name in LIMB_JOINTS}
        poses = coco17_truth(joints, len(sample.poses))
        view_statistics(sample.rig.cameras, poses, sample.keypoints, statistics)
    return statistics.summary()


def measure_single_person(folder: str, step: int) -> dict:
    folder = Path(folder) / "SinglePerson"
    reference = read_reference(folder)
    rig, frames = open_recording(folder)
    detector = load_detector("movenet")
    statistics = DetectionStatistics()
    for frame, images in frames(step):
        if frame < len(next(iter(reference.values()))):
            poses = coco17_truth({name: xyz[frame] for name, xyz in reference.items()}, 1)
            view_statistics(rig.cameras, poses, detector.detect(images), statistics)
    return statistics.summary()


def measure_simulated(level: float, scenes: int) -> dict:
    generator = torch.Generator().manual_seed(2**41)
    statistics = DetectionStatistics()
    for batch in range(scenes // 8):
        spaces = sample_spaces(8, generator)
        views = sample_rigs(spaces, 3 + batch % 3, HEATMAP_SIZES[batch % 4], generator)
        joints, valid, _ = place_people(spaces, generator)
        found = detect(joints, valid, views, torch.full((8,), level), generator)
        keypoints = torch.cat([found.xy, found.scores[..., None]], dim=-1).numpy()
        for view in range(len(views)):
            camera = views.map(lambda tensor, v=view: tensor[:, v])
            pixels, seen = project(joints.flatten(1, 2), camera)
            pixels = pixels.reshape(*joints.shape[:3], 2).numpy()
            seen = (seen.reshape(joints.shape[:3]) & valid[..., None]).numpy()
            for scene in range(8):
                people = keypoints[scene, view]
                people = people[(people[..., 2] > 0).any(axis=1)]
                exists = valid[scene].numpy()
                statistics.add_view(pixels[scene][exists], seen[scene][exists], people)
    return statistics.summary()


def print_table(report: dict) -> None:
    for name, result in report.items():
        parts = result.pop("parts")
        print(f"\n{name}: " + ", ".join(f"{key} {value}" for key, value in result.items()))
        columns = list(next(iter(parts.values())))
        print(f"{'':10}" + "".join(f"{column:>13}" for column in columns))
        for part, values in parts.items():
            print(f"{part:10}" + "".join(f"{values[column]:13}" for column in columns))
        result["parts"] = parts


if __name__ == "__main__":
    sys.exit(run_command(main))
