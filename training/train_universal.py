#!/usr/bin/env python3
"""Train weights for any rig, on procedural people in random rigs. No image, no recording.

    python training/train_universal.py --out weights/universal_rays.safetensors
    python training/train_universal.py --model voxels --out weights/universal_small.safetensors

Every step draws new rigs, people and detector errors. The ray model (voxelpose_core/training/ray_model.py) is
trained in one process on one device. The voxel nets (voxelpose_core/training/voxel_nets.py) train side by
side, in a process each, on a GPU with 128 scenes per step, on a CPU with 8. A killed run continues with
--resume. weights/*.md say how the shipped weights were made.
"""

from __future__ import annotations

import argparse
import math
import sys
from functools import partial

import torch

from voxelpose_core.command import Parser, run_command
from voxelpose_core.config import load_config
from voxelpose_core.datasets.random_scenes import RandomRigs
from voxelpose_core.datasets.ray_scenes import RandomRayScenes
from voxelpose_core.datasets.synthetic import open_scene_people
from voxelpose_core.models.checkpoints import load_ray_weights, load_voxel_weights
from voxelpose_core.models.ray_pose import RayPose
from voxelpose_core.models.voxelpose import VoxelPose
from voxelpose_core.training import ray_model, voxel_nets
from voxelpose_core.training.options import TrainingOptions


def main() -> int:
    args = parse_args()
    if args.model == "voxels":
        voxel_nets.train_nets(
            TrainingOptions.of(args), partial(make_voxel_nets, args), partial(make_scenes, args)
        )
    else:
        train_ray_model(args)
    return 0


def parse_args() -> argparse.Namespace:
    parser = Parser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--model", choices=("rays", "voxels"), default="rays", help="what to train (default: rays)"
    )
    parser.add_argument("--init", help="weights to start from, instead of random ones")
    # The other options depend on the model, so it is read first.
    first = Parser(add_help=False)
    first.add_argument("--model")
    if first.parse_known_args()[0].model == "voxels":
        parser.add_argument(
            "--cfg", default="config/universal/small.yaml", help="configuration (default: %(default)s)"
        )
        voxel_nets.add_arguments(parser, steps=2000, minutes=math.inf, lr=1e-3)
    else:
        ray_model.add_arguments(parser, steps=100_000, minutes=math.inf, lr=1e-3)
    return parser.parse_args()


def train_ray_model(args: argparse.Namespace) -> None:
    """Train the ray model and write its weights."""
    torch.manual_seed(args.seed)
    model = load_ray_weights(args.init) if args.init else RayPose()
    scenes = RandomRayScenes(open_scene_people(args.people))
    ray_model.train_to_file(TrainingOptions.of(args), model, scenes)


def make_voxel_nets(args: argparse.Namespace) -> VoxelPose:
    """The same initial weights in every process."""
    if args.init:
        return load_voxel_weights(args.init)
    torch.manual_seed(args.seed)
    return VoxelPose(load_config(args.cfg))


def make_scenes(args: argparse.Namespace) -> voxel_nets.SceneSource:
    """Random rigs and people."""
    return RandomRigs(open_scene_people(args.people))


if __name__ == "__main__":
    sys.exit(run_command(main))
