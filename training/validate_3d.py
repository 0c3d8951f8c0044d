#!/usr/bin/env python3
"""Evaluate weights as the paper does: PCP on Campus and Shelf, AP, recall and MPJPE on Panoptic.

The best model of a training run, weights of the original, or shipped ones:

    python training/validate_3d.py --cfg config/campus/prn64_cpn80x80x20.yaml
    python training/validate_3d.py --cfg config/campus/prn64_cpn80x80x20.yaml \\
        --checkpoint final_state.pth.tar
    python training/validate_3d.py --cfg config/shelf/prn64_cpn80x80x20.yaml \\
        --checkpoint voxelpose DATASET.TEST_SUBSET=300-449

Prints a table, and writes validation.json and pictures to the experiment's output folder. Like
training it runs on many GPUs under torchrun.
"""

from __future__ import annotations

import json
import logging
import math
import sys
from pathlib import Path
from typing import Any

from voxelpose_core.command import Parser, run_command
from voxelpose_core.config import Config, load_config
from voxelpose_core.datasets.configured import open_configured
from voxelpose_core.datasets.loading import make_loader
from voxelpose_core.models.checkpoints import load_original, load_voxel_weights
from voxelpose_core.models.voxelpose import VoxelPose
from voxelpose_core.resources import find_weights
from voxelpose_core.training.experiment import open_experiment, start_process
from voxelpose_core.training.loops import validate_3d
from voxelpose_core.training.network import TrainedNetwork

logger = logging.getLogger("validate_3d")


def main() -> None:
    parser = Parser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--cfg", required=True, help="configuration, *.yaml")
    parser.add_argument(
        "--checkpoint",
        help="*.pth.tar, *.safetensors or the name of shipped weights; by default TEST.MODEL_FILE "
        "in the experiment's output folder",
    )
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="such as TEST.BATCH_SIZE=8")
    args = parser.parse_args()

    config = load_config(args.cfg, args.overrides)
    process = start_process(config)
    experiment = open_experiment(config, Path(args.cfg).stem, "validate", process)

    checkpoint = args.checkpoint or str(experiment.folder / config.test.model_file)
    model = load_model(checkpoint, config)
    config = with_joints_of(model, config)
    network = TrainedNetwork(model.to(process.device), config)
    logger.info("%s on %d process(es), %s", checkpoint, process.count, process.device)

    pin = process.device.type == "cuda"
    dataset = open_configured(config, train=False)
    loader = make_loader(dataset, config, False, pin, process.rank, process.count)
    evaluation = validate_3d(network, loader, experiment)

    if process.is_main:
        logger.info("%s", evaluation.table)
        result = {"config": args.cfg, "checkpoint": checkpoint, **evaluation.values}
        path = experiment.folder / "validation.json"
        path.write_text(json.dumps(without_nan(result), indent=2) + "\n")
        logger.info("written: %s", path)
    experiment.close()


def load_model(checkpoint: str, config: Config) -> VoxelPose:
    """The model of a checkpoint; one of the original's kind is what the configuration says."""
    if not checkpoint.endswith((".pth", ".pth.tar")):
        return load_voxel_weights(find_weights(checkpoint))
    model = VoxelPose(config)
    logger.info("%s", load_original(model, checkpoint))
    return model


def with_joints_of(model: VoxelPose, config: Config) -> Config:
    """The configuration for weights that carry another one: its data, their joints and backbone."""
    config = config.model_copy(deep=True)
    config.backbone_model = model.config.backbone_model
    config.network.num_joints = model.config.network.num_joints
    config.dataset.joint_set = model.config.joint_set_name
    return config


def without_nan(value: Any) -> Any:
    """The value with None for each number that is not one: JSON has no NaN."""
    if isinstance(value, dict):
        return {str(key): without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


if __name__ == "__main__":
    sys.exit(run_command(main))
