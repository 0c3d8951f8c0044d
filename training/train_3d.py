#!/usr/bin/env python3
"""Train VoxelPose (Tu, Wang and Zeng, ECCV 2020) on what a configuration says.

One GPU, or the CPU where there is none:

    python training/train_3d.py --cfg config/campus/prn64_cpn80x80x20.yaml

Two GPUs of one machine, with a value of the configuration changed:

    torchrun --nproc_per_node 2 training/train_3d.py --cfg config/campus/prn64_cpn80x80x20.yaml \\
        GPUS=0,1 TRAIN.LR=2e-4

Checkpoints, log, pictures and the effective configuration go to output/TRAIN_DATASET/MODEL/NAME,
curves for tensorboard to log/. A run that was stopped goes on with TRAIN.RESUME=true.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import torch
from torch.nn.parallel import DistributedDataParallel

from voxelpose_core.command import Parser, run_command
from voxelpose_core.config import load_config
from voxelpose_core.datasets.configured import check_rigs, open_configured
from voxelpose_core.datasets.loading import make_loader, set_epoch
from voxelpose_core.models.checkpoints import load_backbone, save_weights
from voxelpose_core.models.voxelpose import VoxelPose
from voxelpose_core.training.checkpoints import (
    Progress,
    load_checkpoint,
    save_checkpoint,
    save_state,
)
from voxelpose_core.training.experiment import open_experiment, start_process
from voxelpose_core.training.loops import train_3d, validate_3d
from voxelpose_core.training.network import TrainedNetwork

logger = logging.getLogger("train_3d")


def main() -> None:
    parser = Parser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--cfg", required=True, help="configuration, *.yaml")
    parser.add_argument("--strict", action="store_true", help="a rig that looks wrong is an error")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="such as TRAIN.LR=1e-4")
    args = parser.parse_args()

    # Where and with what: processes, device, folders, log.
    config = load_config(args.cfg, args.overrides)
    process = start_process(config)
    experiment = open_experiment(config, Path(args.cfg).stem, "train", process)
    logger.info("%d process(es), %s", process.count, process.device)

    # Data: each process loads its share.
    share = {"rank": process.rank, "processes": process.count}
    pin = process.device.type == "cuda"
    datasets = [open_configured(config, train=train) for train in (True, False)]
    check_rigs(datasets, logger.warning, args.strict)
    train_loader = make_loader(datasets[0], config, True, pin, **share)
    test_loader = make_loader(datasets[1], config, False, pin, **share)
    frames = len(train_loader.dataset), len(test_loader.dataset)
    logger.info("%d frames to train on, %d to test on", *frames)

    # Model: random weights, the same in all processes, then a pretrained backbone if there is one.
    torch.manual_seed(config.train.seed)
    model = VoxelPose(config)
    for file in (config.network.pretrained, config.network.pretrained_backbone):
        if file:
            logger.info("backbone: %s", load_backbone(model, Path(config.data_dir) / file))
    network = TrainedNetwork(model.to(process.device), config)

    # Adam over what is trained: root net and pose net, and the backbone with TRAIN.BACKBONE.
    trained = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=config.train.lr)
    count = sum(p.numel() for p in trained)
    logger.info("%.2f of %.2f million parameters are trained", count / 1e6, _millions(network))

    # Where a run left off.
    checkpoint = experiment.folder / "checkpoint.pth.tar"
    progress = Progress(config.train.begin_epoch, None)
    if config.train.resume and checkpoint.is_file():
        progress = load_checkpoint(checkpoint, model, optimizer)
        logger.info("going on after epoch %d of %s", progress.epoch - 1, checkpoint)

    if process.count > 1:
        devices = [process.device] if pin else None
        network = DistributedDataParallel(network, device_ids=devices)

    for epoch in range(progress.epoch, config.train.end_epoch):
        set_epoch(train_loader, epoch)
        losses = train_3d(network, optimizer, train_loader, epoch, experiment)
        evaluation = validate_3d(network, test_loader, experiment)
        logger.info("epoch %d: %s\n%s", epoch, _listed(losses), evaluation.table)
        experiment.scalars("epoch", {**losses, "precision": evaluation.precision}, epoch)

        is_best = progress.precision is None or evaluation.precision >= progress.precision
        best = evaluation.precision if is_best else progress.precision
        progress = Progress(epoch + 1, best)
        if process.is_main:
            if is_best:
                save_state(model, experiment.folder / "model_best.pth.tar")
                notes = {"epoch": epoch, "precision": best}
                save_weights(model, experiment.folder / "model_best.safetensors", notes)
            save_checkpoint(checkpoint, model, optimizer, progress)

    if process.is_main:
        save_state(model, experiment.folder / "final_state.pth.tar")
        logger.info("done: best precision %s, %s", progress.precision, experiment.folder)
    experiment.close()


def _millions(network: torch.nn.Module) -> float:
    return sum(p.numel() for p in network.parameters()) / 1e6


def _listed(losses: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.6g}" for name, value in losses.items())


if __name__ == "__main__":
    sys.exit(run_command(main))
