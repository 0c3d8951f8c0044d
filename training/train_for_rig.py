#!/usr/bin/env python3
"""Specialize weights to one rig, in minutes and without a single image of it.

    python training/train_for_rig.py rig.yaml --out my_rig.safetensors
    python training/train_for_rig.py rig.yaml --out my_rig.safetensors --init voxelpose

The rig's own cameras, lenses and capture space, with random people and detector errors before them;
otherwise as training/train_universal.py. --init says what is specialized: the ray model (universal) or
the voxel nets (voxelpose). Afterwards `weights:=my_rig.safetensors`, or
`voxelpose estimate --weights my_rig.safetensors`.
"""

from __future__ import annotations

import argparse
import math
import sys
from functools import partial

from voxelpose_core.command import Parser, run_command
from voxelpose_core.datasets.random_scenes import OneRig
from voxelpose_core.datasets.ray_scenes import OneRigRayScenes
from voxelpose_core.datasets.synthetic import open_scene_people
from voxelpose_core.estimator import PoseEstimator
from voxelpose_core.geometry.rig import load_rig
from voxelpose_core.geometry.rig_check import report_findings
from voxelpose_core.geometry.space import Space
from voxelpose_core.models.checkpoints import (
    load_voxel_weights,
    load_weights,
)
from voxelpose_core.models.ray_pose import RayPose
from voxelpose_core.models.voxelpose import VoxelPose
from voxelpose_core.resources import find_weights
from voxelpose_core.training import ray_model, voxel_nets
from voxelpose_core.training.options import TrainingOptions
from voxelpose_core.training.voxel_nets import SceneSource

_MOST_STEPS = 10**6


def main() -> int:
    args = parse_args()
    options = TrainingOptions.of(args)
    if args.rays:
        estimator = open_estimator(args)
        scenes = OneRigRayScenes(estimator.rig, estimator.space, open_scene_people(args.people))
        ray_model.train_to_file(options, estimator.model, scenes)
    else:
        voxel_nets.train_nets(options, partial(make_voxel_nets, args), partial(make_voxel_scenes, args))
    return 0


def parse_args() -> argparse.Namespace:
    parser = Parser(description=__doc__.split("\n\n")[0])
    parser.add_argument("rig", help="calibration of the rig, in any format that voxelpose reads")
    parser.add_argument("--space", help="CX,CY,CZ,SX,SY,SZ in mm, instead of the rig's")
    parser.add_argument(
        "--ground", type=float, metavar="Z", help="height of the floor, mm (default: the rig's)"
    )
    parser.add_argument("--strict", action="store_true", help="a rig that looks wrong is an error")
    parser.add_argument("--init", default="universal", help="weights to start from (default: %(default)s)")
    # Some defaults depend on what is trained, so --init is read first.
    first = Parser(add_help=False)
    first.add_argument("--init", default="universal")
    rays = isinstance(load_weights(find_weights(first.parse_known_args()[0].init)), RayPose)
    parser.set_defaults(rays=rays)
    training = ray_model if rays else voxel_nets
    training.add_arguments(parser, steps=_MOST_STEPS, minutes=10, lr=3e-4)
    args = parser.parse_args()
    if not math.isfinite(args.minutes) and args.steps == _MOST_STEPS:
        parser.error("--minutes inf needs --steps")
    return args


def open_estimator(args: argparse.Namespace) -> PoseEstimator:
    """The estimator that will use the weights, which knows the space; what looks wrong is told."""
    space = Space.parse(args.space) if args.space else None
    rig = load_rig(args.rig)
    if args.ground is not None:
        rig = rig.with_ground(args.ground)
    report_findings(rig, lambda line: print(f"warning: {line}", file=sys.stderr), args.strict)
    return PoseEstimator(rig, args.init, "cpu", detector=None, space=space)


def make_voxel_nets(args: argparse.Namespace) -> VoxelPose:
    """The voxel nets to specialize."""
    return load_voxel_weights(find_weights(args.init))


def make_voxel_scenes(args: argparse.Namespace) -> SceneSource:
    """People before the rig's cameras, at the sizes that the estimator uses for them."""
    estimator = open_estimator(args)
    return OneRig(
        estimator.rig,
        estimator.space,
        estimator.people.network_size,
        estimator.people.heatmap_size,
        open_scene_people(args.people),
    )


if __name__ == "__main__":
    sys.exit(run_command(main))
