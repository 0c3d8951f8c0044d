"""The paper's training and validation loops (Tu et al., ECCV 2020)."""

from __future__ import annotations

import contextlib
import logging
import math
import sys
from collections.abc import Iterator, Sized

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from voxelpose_core.config import TrainConfig
from voxelpose_core.datasets.batches import Batch
from voxelpose_core.datasets.loading import dataset_of
from voxelpose_core.drawing.training import Scene, save_pictures
from voxelpose_core.errors import InputError
from voxelpose_core.evaluation import Evaluation, FrameResult, evaluate
from voxelpose_core.skeletons import get_joint_set
from voxelpose_core.training.experiment import Experiment
from voxelpose_core.training.meters import Meters
from voxelpose_core.training.network import Outcome, TrainedNetwork

logger = logging.getLogger(__name__)


class DivergedError(InputError):
    """Training cannot go on with these frames or settings; the message names the frames."""


def train_3d(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    loader: DataLoader,
    epoch: int,
    experiment: Experiment,
) -> dict[str, float]:
    """Train for one epoch.

    Args:
        network: a `TrainedNetwork`, or DDP around one.
        optimizer: of its parameters that require gradients; its learning rate becomes TRAIN.LR's.
        loader: of training batches, set to the epoch.
        epoch: its number, from 0.
        experiment: configuration, process, log and curves.

    Returns:
        mean "loss", "loss_2d", "loss_3d", "loss_cord" over the epoch's batches of this process.

    Raises:
        DivergedError: a loss or gradient is not finite; the weights are those before this step.
    """
    config = experiment.config
    network.train()
    meters = Meters()
    with _progress(loader, f"epoch {epoch}", experiment) as batches:
        for step, batch in enumerate(batches):
            meters.loaded()
            group = _group(step, len(loader), config.train.accumulation)
            batch = None if batch is None else batch.to(experiment.process.device)
            where = f"epoch {epoch}, batch {step} ({batch.keys if batch else 'nothing readable'})"
            with _synchronized(network, step == group.stop - 1):
                outcome = network(batch)
                losses = outcome.losses()
                _require_finite(losses, where)
                (outcome.loss / len(group)).backward()
            if step == group.stop - 1:
                set_learning_rate(optimizer, config.train, epoch + step / len(loader))
                _step(network, optimizer, config.train.clip_grad_norm, where)
            meters.stepped(losses, batch, _frames_in_batch(loader, step))
            if step % config.print_freq == 0 or step == len(loader) - 1:
                logger.info("epoch %d [%d/%d] %s", epoch, step, len(loader), meters)
                experiment.scalars("train", meters.values(), epoch * len(loader) + step)
            if step % config.print_freq == 0 and batch is not None:
                name = f"train_{epoch:03d}_{step:06d}"
                _save_pictures(experiment, network, loader, batch, outcome, name)
    if meters.broken:
        logger.warning("epoch %d: %d frames could not be read", epoch, meters.broken)
    return meters.means()


def plain(network: nn.Module) -> TrainedNetwork:
    """The network without DDP around it."""
    inner = network.module if isinstance(network, DistributedDataParallel) else network
    assert isinstance(inner, TrainedNetwork)
    return inner


def set_learning_rate(optimizer: torch.optim.Optimizer, settings: TrainConfig, epochs: float) -> None:
    """Set the learning rate for the time `epochs` after the start; a resumed run has the same."""
    rate = settings.lr
    if settings.lr_decay == "cosine":
        rate *= 0.5 + 0.5 * math.cos(math.pi * min(epochs / settings.end_epoch, 1.0))
    for group in optimizer.param_groups:
        group["lr"] = rate


def _group(step: int, steps: int, size: int) -> range:
    """The batches whose gradients are added to that of batch `step`; the last may be fewer."""
    first = step - step % size
    return range(first, min(first + size, steps))


def _synchronized(network: nn.Module, last: bool) -> contextlib.AbstractContextManager:
    """Processes exchange gradients at the last batch of a group only."""
    if isinstance(network, DistributedDataParallel) and not last:
        return network.no_sync()
    return contextlib.nullcontext()


def _step(network: nn.Module, optimizer: torch.optim.Optimizer, limit: float | None, where: str) -> None:
    norm = nn.utils.clip_grad_norm_(network.parameters(), limit or math.inf)
    _require_finite({"gradient's norm": norm.item()}, where)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def _require_finite(values: dict[str, float], where: str) -> None:
    if not all(map(math.isfinite, values.values())):
        numbers = ", ".join(f"{name} {value:g}" for name, value in values.items())
        raise DivergedError(f"{where}: {numbers}; the last checkpoint stays as it was")


def _frames_in_batch(loader: DataLoader, step: int) -> int:
    # Loaders of `make_loader` have both.
    assert loader.batch_size is not None and isinstance(loader.sampler, Sized)
    return min(loader.batch_size, len(loader.sampler) - step * loader.batch_size)


def validate_3d(network: nn.Module, loader: DataLoader, experiment: Experiment) -> Evaluation:
    """Evaluate on a data set; processes share the frames, and all get the result.

    Args:
        network: a `TrainedNetwork`, or DDP around one.
        loader: of this process' share of the data set.
        experiment: configuration, process and log.
    """
    config = experiment.config
    inner = plain(network)
    inner.eval()
    experiment.process.share_buffers(inner)
    results: list[FrameResult] = []
    meters = Meters()
    with _progress(loader, "test", experiment) as batches:
        for step, batch in enumerate(batches):
            meters.loaded()
            if batch is None:
                continue
            batch = batch.to(experiment.process.device)
            outcome = inner.predict(batch)
            results += _results(batch, outcome)
            meters.stepped({}, batch, len(batch))
            if step % config.print_freq == 0:
                logger.info("test [%d/%d] %s", step, len(loader), meters.speed())
                name = f"validation_{step:06d}"
                _save_pictures(experiment, inner, loader, batch, outcome, name)
    results = experiment.process.gather(results)
    joint_set = get_joint_set(config.joint_set_name)
    return evaluate(results, dataset_of(loader), joint_set, config.test.one_to_one)


def _results(batch: Batch, outcome: Outcome) -> Iterator[FrameResult]:
    assert outcome.joints is not None and outcome.scores is not None and outcome.scene is not None
    joints, scores = outcome.joints.double().cpu().numpy(), outcome.scores.cpu().numpy()
    scene = outcome.scene.cpu().numpy()
    for row, (index, sample) in enumerate(zip(batch.indices, batch.samples, strict=True)):
        yield FrameResult(index, sample, joints[scene == row], scores[scene == row])


@contextlib.contextmanager
def _progress(loader: DataLoader, title: str, experiment: Experiment) -> Iterator[tqdm]:
    """The loader's batches, with a progress bar on a terminal, below which the log goes on."""
    hidden = not (experiment.process.is_main and sys.stderr.isatty())
    redirect = contextlib.nullcontext() if hidden else logging_redirect_tqdm()
    with redirect, tqdm(loader, title, leave=False, disable=hidden) as batches:
        yield batches


def _save_pictures(
    experiment: Experiment,
    network: nn.Module,
    loader: DataLoader,
    batch: Batch,
    outcome: Outcome,
    name: str,
) -> None:
    """Pictures of the batch's first frame."""
    if not (experiment.config.debug.debug and experiment.process.is_main):
        return
    inner = plain(network)
    targets = inner.true_heatmaps(batch)
    # Only the outcome of an empty batch lacks them.
    assert outcome.heatmaps is not None and outcome.root_volumes is not None
    assert outcome.joints is not None and outcome.scores is not None and outcome.scene is not None
    mine = outcome.scene == 0
    scene = Scene(
        sample=batch.samples[0],
        true_joint_set=dataset_of(loader).joint_set,
        joint_set=get_joint_set(experiment.config.joint_set_name),
        grid=inner.grid,
        heatmaps=outcome.heatmaps[0].cpu().numpy(),
        true_heatmaps=None if targets is None else targets[0].cpu().numpy(),
        root_volume=outcome.root_volumes[0].cpu().numpy(),
        poses=outcome.joints[mine].double().cpu().numpy(),
        scores=outcome.scores[mine].cpu().numpy(),
        images=None if batch.images is None else batch.images[0].cpu().numpy(),
    )
    save_pictures(experiment.folder / "pictures" / name, scene, experiment.config.debug)
