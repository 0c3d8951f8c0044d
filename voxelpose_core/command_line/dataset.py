"""`voxelpose dataset`: check a data set for training or evaluation."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from voxelpose_core.command_line.options import EXIT_SUSPICIOUS
from voxelpose_core.drawing.files import write_image
from voxelpose_core.drawing.frame import FramePainter
from voxelpose_core.errors import InputError
from voxelpose_core.output_files import PICTURES, check_outputs
from voxelpose_core.pose_types import Skeleton


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add `dataset` and its action."""
    parser = commands.add_parser("dataset", help="check a data set for training or evaluation")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    check = actions.add_parser(
        "check", help="report what a data set holds and lacks (exit code 1 if anything is missing)"
    )
    check.set_defaults(run=dataset_check)
    check.add_argument("path", type=Path, metavar="PATH", help="folder, in the data set's original layout")
    check.add_argument("--name", help="panoptic, campus or shelf, if the files do not tell")
    check.add_argument("--picture", metavar="FILE", help="picture of a labelled frame, *.png or *.jpg")


def dataset_check(arguments: argparse.Namespace) -> int:
    """`voxelpose dataset check`: 1 if something is missing."""
    from voxelpose_core.datasets import check_dataset

    check_outputs({"--picture": arguments.picture}, (), {"--picture": PICTURES})
    report = check_dataset(arguments.path, arguments.name)
    print(f"{report.name}: {report.path}")
    for line in report.found:
        print(f"  {line}")
    for line in report.missing:
        print(f"missing: {line}")
    if not report.missing:
        print("nothing is missing")
    if arguments.picture:
        write_image(arguments.picture, _draw_sample(report.name, arguments.path))
        print(f"written: {arguments.picture}")
    return EXIT_SUSPICIOUS if report.missing else 0


def _draw_sample(name: str, path: Path) -> np.ndarray:
    """The true people of a data set's first labelled frame, over its images if there are any."""
    from voxelpose_core.datasets import open_dataset

    for images in (True, False):
        try:
            dataset = open_dataset(name, path, subset="all", images=images)
        except InputError:
            if images:
                continue
            raise
        limbs = dataset.joint_set.limbs
        for sample in dataset.samples():
            if len(sample.poses):
                people = zip(sample.poses, sample.visible, strict=True)
                skeletons = [
                    Skeleton(_shown(pose, seen, limbs), seen.astype(float), seen, 1.0, number)
                    for number, (pose, seen) in enumerate(people)
                ]
                painter = FramePainter(sample.rig, dataset.joint_set)
                return painter.paint(sample.images, skeletons, sample.keypoints, sample.key)
    raise InputError(f"{path}: has no labelled frame to draw")


def _shown(pose: np.ndarray, seen: np.ndarray, limbs: Sequence[tuple[int, int]]) -> np.ndarray:
    """The pose (J, 3) with joints that are not labelled moved to a neighbour that is."""
    pose, known = pose.copy(), seen.copy()
    for _ in range(len(pose)):
        for first, second in limbs:
            if known[first] != known[second]:
                source, target = (first, second) if known[first] else (second, first)
                pose[target], known[target] = pose[source], True
    return pose
