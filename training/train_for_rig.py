#!/usr/bin/env python3
"""Specialize universal weights to one rig, in minutes and without a single image of it.

    python training/train_for_rig.py rig.yaml --out my_rig.safetensors

The rig's own cameras, lenses and capture space, with random people and detector errors before them;
otherwise as training/train_universal.py. Afterwards `weights:=my_rig.safetensors`, or
`voxelpose estimate --weights my_rig.safetensors`.
"""

from __future__ import annotations

import argparse
import math
import sys

from voxelpose_core.command import Parser, run_command
from voxelpose_core.datasets.random_scenes import OneRig
from voxelpose_core.datasets.synthetic import open_scene_people
from voxelpose_core.estimator import PoseEstimator
from voxelpose_core.geometry.rig import load_rig
from voxelpose_core.geometry.rig_check import report_findings
from voxelpose_core.geometry.space import Space
from voxelpose_core.models.checkpoints import load_voxel_weights
from voxelpose_core.models.voxelpose import VoxelPose
from voxelpose_core.resources import find_weights
from voxelpose_core.scene_training import SceneSource, add_arguments, train_nets


def main() -> int:
    train_nets(parse_args(), make_model, make_scenes)
    return 0


def parse_args() -> argparse.Namespace:
    parser = Parser(description=__doc__.split("\n\n")[0])
    parser.add_argument("rig", help="calibration of the rig, in any format that voxelpose reads")
    parser.add_argument("--space", help="CX,CY,CZ,SX,SY,SZ in mm, in place of the rig's")
    parser.add_argument("--ground", type=float, metavar="Z", help="height of the floor, mm")
    parser.add_argument("--strict", action="store_true", help="a rig that looks wrong is an error")
    parser.add_argument("--init", default="voxelpose", help="weights to start from")
    add_arguments(parser, steps=10**6, minutes=10, lr=3e-4)
    args = parser.parse_args()
    if not math.isfinite(args.minutes) and args.steps == 10**6:
        parser.error("--minutes inf needs --steps")
    return args


def make_model(args: argparse.Namespace) -> VoxelPose:
    """The weights to specialize."""
    return load_voxel_weights(find_weights(args.init))


def make_scenes(args: argparse.Namespace) -> SceneSource:
    """People before the rig's cameras, at the sizes that the estimator uses for them."""
    space = Space.parse(args.space) if args.space else None
    rig = load_rig(args.rig)
    if args.ground is not None:
        rig = rig.with_ground(args.ground)
    report_findings(rig, lambda line: print(f"warning: {line}", file=sys.stderr), args.strict)
    estimator = PoseEstimator(rig, args.init, "cpu", detector=None, space=space)
    return OneRig(
        rig,
        estimator.space,
        estimator.people.network_size,
        estimator.people.heatmap_size,
        open_scene_people(args.people),
    )


if __name__ == "__main__":
    sys.exit(run_command(main))
