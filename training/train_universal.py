#!/usr/bin/env python3
"""Train weights for any rig, on procedural people in random rigs. No image, no recording.

    python training/train_universal.py --out weights/universal_small.safetensors

Every step draws new rigs, people and detector errors (voxelpose_core/datasets/random_scenes.py); the
two nets train side by side, in a process each, on a GPU with 128 scenes per step, on a CPU with 8. A
killed run goes on with --resume. weights/universal_small.md says how the shipped weights were made.
"""

from __future__ import annotations

import argparse
import math
import sys

import torch

from voxelpose_core.command import Parser, run_command
from voxelpose_core.config import load_config
from voxelpose_core.datasets.random_scenes import RandomRigs
from voxelpose_core.datasets.synthetic import open_scene_people
from voxelpose_core.models.checkpoints import load_weights
from voxelpose_core.models.voxelpose import VoxelPose
from voxelpose_core.scene_training import SceneSource, add_arguments, train_nets


def main() -> int:
    train_nets(parse_args(), make_model, make_scenes)
    return 0


def parse_args() -> argparse.Namespace:
    parser = Parser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--cfg", default="config/universal/small.yaml")
    parser.add_argument("--init", help="weights to start from, in place of random ones and --cfg")
    add_arguments(parser, steps=2000, minutes=math.inf, lr=1e-3)
    return parser.parse_args()


def make_model(args: argparse.Namespace) -> VoxelPose:
    """The same initial weights in every process."""
    if args.init:
        return load_weights(args.init)
    torch.manual_seed(args.seed)
    return VoxelPose(load_config(args.cfg))


def make_scenes(args: argparse.Namespace) -> SceneSource:
    """Random rigs and people."""
    return RandomRigs(open_scene_people(args.people))


if __name__ == "__main__":
    sys.exit(run_command(main))
