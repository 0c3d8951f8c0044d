#!/usr/bin/env python3
"""What additional joints (feet, hands, faces) cost, and how well feet fit what the cameras see.

    python benchmarks/additional_joints.py
    python benchmarks/additional_joints.py --rig Calib.qca.txt --keypoints pose --out feet.json

The first times them on five generated people in the five views of the shipped Shelf rig, with one thread.
The second measures, on a recording with feet (a folder that `voxelpose estimate --keypoints` reads), the
distances between its keypoints and the projected joints.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch

from voxelpose_core.additional_joints import AdditionalJoints
from voxelpose_core.association import own_detections
from voxelpose_core.command import Parser, run_command
from voxelpose_core.datasets.people import sample_people
from voxelpose_core.detector_joint_sets import HALPE26, WHOLEBODY133
from voxelpose_core.estimator import PoseEstimator
from voxelpose_core.geometry.rig import Rig, load_rig
from voxelpose_core.joint_set import JointSet
from voxelpose_core.keypoint_files import read_keypoints
from voxelpose_core.resources import find_resource

PEOPLE, REPEATS = 5, 50
NOISE_PX = 3.0


def main() -> int:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rig", help="calibration of the recording")
    parser.add_argument("--keypoints", nargs="+", help="2D detections of the recording")
    parser.add_argument("--out", help="JSON to write")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.keypoints:
        result = reprojection(load_rig(arguments.rig), arguments.keypoints)
    else:
        result = {joint_set.name: times(joint_set) for joint_set in (HALPE26, WHOLEBODY133)}
    text = json.dumps(result, indent=1)
    print(text)
    if arguments.out:
        Path(arguments.out).write_text(text + "\n", encoding="utf-8")
    return 0


def times(joint_set: JointSet) -> dict[str, float]:
    """Milliseconds per frame set: medians of CPU time, which excludes waiting for other jobs."""
    rig = load_rig(find_resource("config/rigs/shelf.yaml"))
    estimator = PoseEstimator(rig, device="cpu", detector=None)
    extended = estimator.for_detections(joint_set)
    views = generated_views(rig, joint_set)
    bodies = [joint_set.body_part(view) for view in views]
    estimate = extended.estimate_keypoints(views)
    plain, full, added = [], [], []
    for _ in range(REPEATS):
        start = time.process_time()
        estimator.estimate_keypoints(bodies)
        middle = time.process_time()
        extended.estimate_keypoints(views)
        end = time.process_time()
        plain.append(1e3 * (middle - start))
        full.append(1e3 * (end - middle))
        added.append(full[-1] - plain[-1])
    extra = list(joint_set.additional)
    valid = np.mean([skeleton.joint_valid[extra] for skeleton in estimate.skeletons])
    return {
        "views": len(views),
        "people": len(estimate.skeletons),
        "additional_joints_valid": round(float(valid), 3),
        "coco17_ms": round(float(np.median(plain)), 1),
        "all_joints_ms": round(float(np.median(full)), 1),
        "additional_ms": round(float(np.median(added)), 1),
    }


def generated_views(rig: Rig, joint_set: JointSet) -> list[np.ndarray]:
    """2D detections of five people 1.2 m apart, whose additional joints are within 150 mm of the body."""
    rng = np.random.default_rng(0)
    bodies = sample_people(PEOPLE, torch.Generator().manual_seed(5)).double().numpy()
    places = 1200.0 * np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]])
    bodies[..., :2] += rig.space.center[:2] + places[:, None]
    people = np.zeros((PEOPLE, len(joint_set), 3))
    people[:, list(joint_set.body)] = bodies
    anchors = AdditionalJoints(rig.cameras, joint_set).anchors
    for joint, anchor in zip(joint_set.additional, anchors):
        people[:, joint] = bodies[:, anchor].mean(axis=1) + rng.uniform(-85, 85, (PEOPLE, 3))
    views = []
    for camera in rig.cameras:
        flat = people.reshape(-1, 3)
        pixels = camera.project(flat)[0] + rng.normal(0, NOISE_PX, (len(flat), 2))
        scores = np.where(camera.sees(flat), 0.8, 0.0)
        views.append(np.column_stack([pixels, scores]).reshape(*people.shape).astype(np.float32))
    return views


def reprojection(rig: Rig, keypoints: list[str]) -> dict[str, dict[str, float]]:
    """Pixels between projected joints and the keypoints of the same person, by part of the body."""
    read = read_keypoints(keypoints, rig)
    joint_set = read.joint_set
    estimator = PoseEstimator(rig, device="cpu", detector=None).for_detections(joint_set)
    parts = {
        "body": list(joint_set.body),
        "ankles": [joint_set.index(f"{side}_ankle") for side in ("left", "right")],
        "feet": [j for j, name in enumerate(joint_set.joint_names) if "toe" in name or "heel" in name],
    }
    distances: dict[str, list[float]] = {part: [] for part in parts}
    valid: dict[str, list[float]] = {part: [] for part in parts}
    body = list(joint_set.body)
    for views in read.frames.values():
        skeletons = estimator.estimate_keypoints(views).skeletons
        joints = np.array([s.joints[body] for s in skeletons]).reshape(-1, len(body), 3)
        bodies = [None if view is None else joint_set.body_part(view) for view in views]
        own = own_detections(rig.cameras, joints, bodies, 0.1)
        for index, skeleton in enumerate(skeletons):
            for part, chosen in parts.items():
                valid[part] += skeleton.joint_valid[chosen].tolist()
            for camera, view, person in zip(rig.cameras, views, own[:, index]):
                if person >= 0:
                    pixels = camera.project(skeleton.joints)[0]
                    seen = skeleton.joint_valid & (view[person, :, 2] >= 0.1)
                    gaps = np.where(seen, np.linalg.norm(pixels - view[person, :, :2], axis=1), np.nan)
                    for part, chosen in parts.items():
                        distances[part] += gaps[chosen][seen[chosen]].tolist()
    return {
        part: {
            "median_px": round(float(np.median(values)), 1),
            "mean_px": round(float(np.mean(values)), 1),
            "p90_px": round(float(np.percentile(values, 90)), 1),
            "joints": len(values),
            "valid": round(float(np.mean(valid[part])), 3),
        }
        for part, values in distances.items()
        if values
    }


if __name__ == "__main__":
    sys.exit(run_command(main))
