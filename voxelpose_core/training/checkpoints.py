"""Checkpoints of a training run in the paper's loop."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from voxelpose_core.atomic_files import write_whole
from voxelpose_core.errors import InputError
from voxelpose_core.models.checkpoints import fill_module, read_torch_file, state_of
from voxelpose_core.models.voxelpose import VoxelPose


@dataclass(frozen=True)
class Progress:
    """How far a training run is.

    Attributes:
        epoch: epochs that are done.
        precision: the best so far; None before the first validation.
    """

    epoch: int
    precision: float | None


def save_checkpoint(
    path: str | Path, model: VoxelPose, optimizer: torch.optim.Optimizer, progress: Progress
) -> None:
    """Write all that a training run needs to go on. The old file stays until the new one is whole.

    Of the random states only torch's are kept: data sets and their order are drawn from seed and
    epoch.
    """
    state = {
        "epoch": progress.epoch,
        "state_dict": model.state_dict(),
        "precision": progress.precision,
        "optimizer": optimizer.state_dict(),
        "random": torch.get_rng_state(),
        "random_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "config": json.dumps(model.config.to_dict()),
    }
    save_whole(state, path)


def load_checkpoint(path: str | Path, model: VoxelPose, optimizer: torch.optim.Optimizer) -> Progress:
    """Go on from a file of `save_checkpoint`, or from a `checkpoint.pth.tar` of the original.

    Raises:
        InputError: the file is broken, or of another model.
    """
    path = Path(path)
    content = read_torch_file(path)
    if not isinstance(content, dict) or not {"epoch", "state_dict", "optimizer"} <= set(content):
        raise InputError(f"checkpoint {path}: expected epoch, state_dict and optimizer to go on")
    fill_module(model, state_of(content, path), path, whole=True)
    try:
        optimizer.load_state_dict(content["optimizer"])
    except (ValueError, KeyError) as error:
        raise InputError(
            f"checkpoint {path}: its optimizer does not fit ({error}), expected the same TRAIN.BACKBONE"
        ) from None
    if "random" in content:
        torch.set_rng_state(content["random"])
    cuda_states = content.get("random_cuda", [])
    if len(cuda_states) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(cuda_states)
    precision = content.get("precision")
    return Progress(int(content["epoch"]), None if precision is None else float(precision))


def save_state(model: VoxelPose, path: str | Path) -> None:
    """Write a bare state dict, which the original loads too."""
    save_whole(model.state_dict(), path)


def save_whole(content: Any, path: str | Path) -> None:
    """`torch.save` into a file that is whole, old or new, whenever the process or machine dies."""
    write_whole(Path(path), lambda partial: torch.save(content, partial))


def save_resume(
    path: Path,
    net: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    progress: dict[str, Any],
) -> None:
    """Write what --resume needs of a training on generated scenes.

    Args:
        path: of the file.
        net, optimizer, generator: as they are now.
        progress: plain values.
    """
    state = {
        "net": net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "generator": generator.get_state(),
        "progress": json.dumps(progress),
    }
    save_whole(state, path)


def load_resume(
    path: Path, net: torch.nn.Module, optimizer: torch.optim.Optimizer, generator: torch.Generator
) -> dict[str, Any]:
    """Put a training back to where `save_resume` left it, and return the progress.

    Raises:
        InputError: there is no such file.
    """
    require_resume(path)
    state = torch.load(path, weights_only=True)
    net.load_state_dict(state["net"])
    optimizer.load_state_dict(state["optimizer"])
    generator.set_state(state["generator"].cpu())
    return json.loads(state["progress"])


def require_resume(path: Path) -> None:
    """InputError where there is no checkpoint for --resume."""
    if not path.is_file():
        raise InputError(f"--resume: no checkpoint at {path}")
