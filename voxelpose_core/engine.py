"""Training and validation of VoxelPose (Tu et al., ECCV 2020)."""

from __future__ import annotations

import contextlib
import logging
import math
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from voxelpose_core.config import Config, TrainConfig
from voxelpose_core.datasets.loading import Batch
from voxelpose_core.devices import select_dtype
from voxelpose_core.drawing.training import Scene, save_pictures
from voxelpose_core.errors import InputError
from voxelpose_core.evaluation import Evaluation, FrameResult, evaluate
from voxelpose_core.experiment import Experiment
from voxelpose_core.heatmaps import render_keypoints
from voxelpose_core.models.cuboid_proposal import Proposals
from voxelpose_core.models.losses import (
    coordinate_loss,
    heatmap_loss,
    mean_over_scenes,
    root_loss,
    volume_cross_entropy,
)
from voxelpose_core.models.voxelpose import VoxelPose
from voxelpose_core.skeletons import get_joint_set
from voxelpose_core.voxel import box_points

logger = logging.getLogger(__name__)

# A proposal belongs to the nearest person within this distance of it, mm (the original's).
MATCH_DISTANCE = 500.0
# Standard deviation that heatmaps.py draws with unless told otherwise; NETWORK.SIGMA is relative.
_RENDER_SIGMA = 3.0
# People whose volumes are evaluated at once: 64^3 voxels of more would fill a small GPU.
_PEOPLE_AT_ONCE = 10


class DivergedError(InputError):
    """Training cannot go on with these frames or settings; the message names the frames."""


@dataclass
class Outcome:
    """What a network made of a batch of B frames.

    Attributes:
        loss_2d: mean squared error of heatmaps, 0 where none are learned from images.
        loss_3d: mean squared error of root volumes.
        loss_cord: L1 of joints, mm, with the cross-entropy beside it where LOSS asks for it.
        heatmaps: (B, V, J, H, W).
        root_volumes: (B, X, Y, Z).
        joints: (N, J, 3), mm, of N people.
        scores: (N,) root scores.
        scene: (N,) which frame each is in.
    """

    loss_2d: torch.Tensor
    loss_3d: torch.Tensor
    loss_cord: torch.Tensor
    heatmaps: torch.Tensor | None = None
    root_volumes: torch.Tensor | None = None
    joints: torch.Tensor | None = None
    scores: torch.Tensor | None = None
    scene: torch.Tensor | None = None

    @property
    def loss(self) -> torch.Tensor:
        """The sum, which is trained on."""
        return self.loss_2d + self.loss_3d + self.loss_cord

    def losses(self) -> dict[str, float]:
        """The sum and its parts as numbers, waiting for the device once."""
        names = ("loss", "loss_2d", "loss_3d", "loss_cord")
        values = torch.stack([getattr(self, name).detach().float() for name in names])
        return dict(zip(names, values.tolist(), strict=True))


class TrainedNetwork(nn.Module):
    """VoxelPose with its losses: what a training step runs, and what DDP wraps.

    The backbone is frozen and stays in eval mode unless TRAIN.BACKBONE says otherwise.

    Args:
        model: the networks.
        config: of the experiment, which need not be the one that the model was made for.
    """

    def __init__(self, model: VoxelPose, config: Config):
        super().__init__()
        self.model = model
        self.config = config
        space = config.multi_person
        self.grid = model.proposal_grid(space.space_center, space.space_size)
        self._trains_backbone = config.train.backbone and hasattr(model, "backbone")
        if hasattr(model, "backbone"):
            model.backbone.requires_grad_(self._trains_backbone)

    def train(self, mode: bool = True) -> TrainedNetwork:
        """Training or eval mode; see the class on the backbone."""
        super().train(mode)
        if hasattr(self.model, "backbone") and not self._trains_backbone:
            self.model.backbone.eval()
        return self

    def forward(self, batch: Batch | None) -> Outcome:
        """Losses of a training batch. None, of which no frame could be read, costs nothing."""
        if batch is None:
            zero = self._nothing()
            return Outcome(zero, zero, zero)
        heatmaps = self.heatmaps(batch)
        root_volumes = self.root_volumes(heatmaps, batch)
        loss_3d = root_loss(root_volumes, self._points(heatmaps), batch.roots, batch.people)
        centers, scores, scene, person = self._matched_people(root_volumes, batch)
        joints, loss_cord = centers.new_zeros(0, heatmaps.shape[2], 3), self._nothing()
        if len(centers):
            joints, loss_cord = self._pose_loss(heatmaps, batch, centers, scene, person)
        return Outcome(
            self._heatmap_loss(heatmaps, batch),
            loss_3d,
            loss_cord,
            heatmaps.detach(),
            root_volumes.detach(),
            joints.detach(),
            scores,
            scene,
        )

    @torch.no_grad()
    def predict(self, batch: Batch) -> Outcome:
        """People of a batch as in the paper: proposals above the threshold, one pass each.

        With NETWORK.USE_GT the true roots are the proposals. Losses are zero.
        """
        heatmaps = self.heatmaps(batch)
        root_volumes = self.root_volumes(heatmaps, batch)
        proposals = self._proposals(root_volumes)
        if self.config.network.use_gt:
            scores = torch.ones_like(batch.roots[..., 0])
            proposals = Proposals(batch.roots, scores, batch.people)
        scene = proposals.valid.nonzero()[:, 0]
        centers = proposals.centers[proposals.valid]
        joints = [heatmaps.new_zeros(0, heatmaps.shape[2], 3)]
        for part in torch.arange(len(centers), device=centers.device).split(_PEOPLE_AT_ONCE):
            joints.append(self._regress(heatmaps, batch, centers[part], scene[part])[0])
        zero = heatmaps.new_zeros(())
        return Outcome(
            zero,
            zero,
            zero,
            heatmaps,
            root_volumes,
            torch.cat(joints),
            proposals.scores[proposals.valid],
            scene,
        )

    def heatmaps(self, batch: Batch) -> torch.Tensor:
        """(B, V, J, H, W) from images through the backbone, or from keypoints."""
        if batch.images is None:
            return self._draw(batch.keypoints)
        with self._number_format(batch.images.device):
            with torch.set_grad_enabled(self._trains_backbone and torch.is_grad_enabled()):
                answer = self.model.backbone(batch.network_images())
        return answer.float().unflatten(0, batch.images.shape[:2])

    def root_volumes(self, heatmaps: torch.Tensor, batch: Batch) -> torch.Tensor:
        """(B, X, Y, Z) scores of the proposal grid."""
        volumes = self.model.proposal_volumes(heatmaps, batch.views, self.grid)
        with self._number_format(heatmaps.device):
            answer = self.model.root_net(volumes)
        return answer.to(heatmaps.dtype)

    def true_heatmaps(self, batch: Batch) -> torch.Tensor | None:
        """(B, V, J, H, W) as a perfect detector would answer; None where the truth has others."""
        return None if batch.pixels is None else self._draw(batch.pixels)

    def _draw(self, keypoints: torch.Tensor) -> torch.Tensor:
        settings = self.config.network
        return render_keypoints(
            keypoints[..., :2],
            keypoints[..., 2],
            settings.heatmap_size,
            settings.sigma / _RENDER_SIGMA,
        )

    def _nothing(self) -> torch.Tensor:
        """0, in which every trained parameter takes part.

        Processes that train together wait for the gradients of all parameters, also where one of
        them has nobody to learn from.
        """
        return 0.0 * sum(p.sum() for p in self.parameters() if p.requires_grad)

    def _heatmap_loss(self, heatmaps: torch.Tensor, batch: Batch) -> torch.Tensor:
        if batch.images is None:
            return heatmaps.new_zeros(())
        weights = (batch.pixels[..., 2] > 0).any(dim=2).to(heatmaps.dtype)
        if not self.config.loss.use_target_weight:
            weights = torch.ones_like(weights)
        return heatmap_loss(heatmaps, self.true_heatmaps(batch), weights)

    def _points(self, heatmaps: torch.Tensor) -> torch.Tensor:
        """(B, M, 3) voxels of the proposal grid, mm."""
        center = heatmaps.new_tensor(self.grid.center)[None]
        return box_points(center, self.grid.size, self.grid.voxels).expand(len(heatmaps), -1, -1)

    def _proposals(self, root_volumes: torch.Tensor) -> Proposals:
        settings = self.config.multi_person
        return self.model.select(
            root_volumes.detach(), self.grid, settings.threshold, settings.max_people_num
        )

    def _matched_people(self, root_volumes: torch.Tensor, batch: Batch):
        """Centres (N, 3), scores, scene and person (N,) that the pose net is trained on.

        As in the paper these are all proposals, however weak, that a true person is near to.
        """
        if self.config.network.use_gt:
            scene, person = batch.people.nonzero(as_tuple=True)
            centers = batch.roots[scene, person]
            return centers, torch.ones_like(centers[:, 0]), scene, person
        proposals = self._proposals(root_volumes)
        distance = torch.cdist(proposals.centers, batch.roots.to(root_volumes.dtype))
        distance = distance.masked_fill(~batch.people[:, None], math.inf)
        nearest, person = distance.min(dim=2)
        scene, slot = (nearest <= MATCH_DISTANCE).nonzero(as_tuple=True)
        return (
            proposals.centers[scene, slot],
            proposals.scores[scene, slot],
            scene,
            person[scene, slot],
        )

    def _regress(self, heatmaps: torch.Tensor, batch: Batch, centers, scene):
        """Joints (N, J, 3) mm at centres (N, 3) of scenes (N,), with the volumes they come from.

        Only the network may run in half precision: positions in mm have more digits.
        """
        volumes = self.model.person_volumes(heatmaps, batch.views, centers, scene)
        with self._number_format(heatmaps.device):
            log_probability = self.model.pose_net.log_probability(volumes)
        points = self.model.person_points(centers)
        return log_probability.exp() @ points, log_probability, points

    def _pose_loss(self, heatmaps, batch: Batch, centers, scene, person):
        """Joints (N, J, 3) at the centres, and their loss."""
        joints, log_probability, points = self._regress(heatmaps, batch, centers, scene)
        truth = batch.joints[scene, person].to(joints.dtype)
        weights = batch.visible[scene, person].to(joints.dtype)
        if not self.config.loss.use_target_weight:
            weights = torch.ones_like(weights)
        loss = coordinate_loss(joints, truth, weights)
        if self.config.loss.cross_entropy:
            entropy = volume_cross_entropy(log_probability, points, truth)
            loss = loss + self.config.loss.cross_entropy * (entropy * weights).mean(dim=1)
        return joints, mean_over_scenes(loss, scene, len(batch))

    def _number_format(self, device: torch.device) -> torch.autocast:
        """Half precision, where it is asked for, in training; what is measured has all digits."""
        half = select_dtype(self.config.train.precision, device) == torch.bfloat16
        return torch.autocast(device.type, torch.bfloat16, enabled=half and self.training)


# --- training -----------------------------------------------------------------------------------


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
    return network.module if isinstance(network, DistributedDataParallel) else network


def set_learning_rate(
    optimizer: torch.optim.Optimizer, settings: TrainConfig, epochs: float
) -> None:
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


def _step(
    network: nn.Module, optimizer: torch.optim.Optimizer, limit: float | None, where: str
) -> None:
    norm = nn.utils.clip_grad_norm_(network.parameters(), limit or math.inf)
    _require_finite({"gradient's norm": norm.item()}, where)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def _require_finite(values: dict[str, float], where: str) -> None:
    if not all(map(math.isfinite, values.values())):
        numbers = ", ".join(f"{name} {value:g}" for name, value in values.items())
        raise DivergedError(f"{where}: {numbers}; the last checkpoint stays as it was")


def _frames_in_batch(loader: DataLoader, step: int) -> int:
    return min(loader.batch_size, len(loader.sampler) - step * loader.batch_size)


# --- validation ---------------------------------------------------------------------------------


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
    return evaluate(results, loader.dataset.frames, joint_set, config.test.one_to_one)


def _results(batch: Batch, outcome: Outcome) -> Iterator[FrameResult]:
    joints, scores = outcome.joints.double().cpu().numpy(), outcome.scores.cpu().numpy()
    scene = outcome.scene.cpu().numpy()
    for row, (index, sample) in enumerate(zip(batch.indices, batch.samples, strict=True)):
        yield FrameResult(index, sample, joints[scene == row], scores[scene == row])


# --- what people see ----------------------------------------------------------------------------


@dataclass
class Meters:
    """Times and losses of an epoch: the last values and the means so far."""

    broken: int = 0
    _totals: dict[str, float] = field(default_factory=dict)
    _last: dict[str, float] = field(default_factory=dict)
    _steps: int = 0
    _start: float = field(default_factory=time.perf_counter)
    _data_time: float = 0.0

    def loaded(self) -> None:
        """The next batch is here."""
        self._data_time = time.perf_counter() - self._start

    def stepped(self, losses: dict[str, float], batch: Batch | None, expected: int) -> None:
        """The batch is done; of `expected` frames those that are not in it were broken."""
        frames = len(batch) if batch else 0
        self.broken += expected - frames
        now = time.perf_counter()
        seconds = now - self._start
        self._last = {"time": seconds, "data_time": self._data_time, **losses}
        self._last["samples_per_s"] = frames / seconds
        for name, value in self._last.items():
            self._totals[name] = self._totals.get(name, 0.0) + value
        self._steps += 1
        self._start = now

    def values(self) -> dict[str, float]:
        """The last batch's."""
        return {**self._last, "memory_mib": _memory_mib()}

    def means(self) -> dict[str, float]:
        """Mean losses so far."""
        return {
            name: total / self._steps
            for name, total in self._totals.items()
            if name.startswith("loss")
        }

    def speed(self) -> str:
        """Times of the last batch, and means."""
        return (
            f"time {self._both('time')} s, data {self._both('data_time')} s, "
            f"{self._last['samples_per_s']:.1f} samples/s, memory {_memory_mib():.0f} MiB"
        )

    def __str__(self) -> str:
        losses = ", ".join(
            f"{label} {self._last[name]:.6g} ({self._totals[name] / self._steps:.6g})"
            for label, name in (
                ("loss", "loss"),
                ("2D", "loss_2d"),
                ("3D", "loss_3d"),
                ("coordinates", "loss_cord"),
            )
        )
        return f"{self.speed()}, {losses}"

    def _both(self, name: str) -> str:
        return f"{self._last[name]:.3f} ({self._totals[name] / self._steps:.3f})"


def _memory_mib() -> float:
    """Most memory so far: the GPU's, or else this process'."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated() / 2**20
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)


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
    mine = outcome.scene == 0
    scene = Scene(
        sample=batch.samples[0],
        true_joint_set=loader.dataset.frames.joint_set,
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
