"""Where an experiment runs and what it leaves: processes, device, folders, log, curves."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import distributed

from voxelpose_core.allocator import keep_freed_memory
from voxelpose_core.config import Config
from voxelpose_core.errors import InputError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Process:
    """This process among those that train or test together.

    Attributes:
        rank: its number; 0 writes logs and files.
        count: how many there are.
        device: what it computes on.
    """

    rank: int
    count: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this process writes logs and files."""
        return self.rank == 0

    def gather(self, values: Sequence[Any]) -> list[Any]:
        """The values of all processes, process by process; every process gets them."""
        if self.count == 1:
            return list(values)
        gathered: list[Any] = [None] * self.count
        distributed.all_gather_object(gathered, list(values))
        return [value for part in gathered for value in part]

    def share_buffers(self, module: torch.nn.Module) -> None:
        """Give all processes the main one's buffers: each has its own running statistics."""
        if self.count > 1:
            for buffer in module.buffers():
                distributed.broadcast(buffer, 0)

    def close(self) -> None:
        """Leave the group of processes."""
        if self.count > 1:
            distributed.destroy_process_group()


def start_process(config: Config) -> Process:
    """Join the processes that torchrun started, if it did, and set the device up.

    Raises:
        InputError: GPUS names no GPU of this machine for this process.
    """
    count = int(os.environ.get("WORLD_SIZE", 1))
    device = choose_device(config.gpus, int(os.environ.get("LOCAL_RANK", 0)))
    if device.type == "cuda":
        torch.cuda.set_device(device)
        torch.backends.cudnn.benchmark = config.cudnn.benchmark
        torch.backends.cudnn.deterministic = config.cudnn.deterministic
        torch.backends.cudnn.enabled = config.cudnn.enabled
    else:
        keep_freed_memory()
    if count > 1:
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return Process(int(os.environ.get("RANK", 0)), count, device)


def choose_device(gpus: str, local_rank: int) -> torch.device:
    """The device of one process of a machine.

    Args:
        gpus: the configuration's GPUS, such as "0,1"; empty for the CPU, which is also what a
            machine without GPU gets.
        local_rank: number of the process on this machine.

    Raises:
        InputError: when GPUS names fewer GPUs than there are processes, or one that is not there.
    """
    names = [name.strip() for name in gpus.split(",") if name.strip()]
    if not names or not torch.cuda.is_available():
        return torch.device("cpu")
    if local_rank >= len(names):
        raise InputError(f"GPUS is '{gpus}', expected one for each of the {local_rank + 1} or more processes")
    name = names[local_rank]
    if not name.isdecimal() or int(name) >= torch.cuda.device_count():
        raise InputError(
            f"GPUS is '{gpus}', but PyTorch sees {torch.cuda.device_count()} GPUs here, "
            "expected their numbers from 0, or '' for the CPU"
        )
    return torch.device("cuda", int(name))


@dataclass(frozen=True)
class Experiment:
    """One configuration's place.

    Attributes:
        config: the effective configuration.
        process: this process.
        folder: for checkpoints, log, pictures, results.
        writer: of tensorboard's curves; None in other processes, or where it is not installed.
    """

    config: Config
    process: Process
    folder: Path
    writer: Any = None

    def scalars(self, prefix: str, values: dict[str, float], step: int) -> None:
        """Points on tensorboard's curves."""
        if self.writer is not None:
            for name, value in values.items():
                self.writer.add_scalar(f"{prefix}/{name}", value, step)

    def close(self) -> None:
        """Write the last of the curves and leave the group of processes."""
        if self.writer is not None:
            self.writer.close()
        self.process.close()


def open_experiment(config: Config, name: str, phase: str, process: Process) -> Experiment:
    """Make the folders, start the log, write the effective configuration.

    OUTPUT_DIR/TRAIN_DATASET/MODEL_LAYERS/NAME holds everything, LOG_DIR/... the curves.

    Args:
        config: the effective configuration.
        name: of the experiment: its file's name without ending.
        phase: "train" or "validate".
        process: this process.
    """
    layers = config.pose_resnet.num_layers
    place = Path(config.dataset.train_dataset) / f"{config.model}_{layers}" / name
    folder = Path(config.output_dir) / place
    if not process.is_main:
        logging.basicConfig(level=logging.WARNING, format="%(message)s")
        return Experiment(config, process, folder)
    folder.mkdir(parents=True, exist_ok=True)
    _start_log(folder / f"{phase}.log")
    text = yaml.safe_dump(config.to_dict(), sort_keys=False)
    (folder / f"{phase}.yaml").write_text(text)
    logger.info("configuration: %s", folder / f"{phase}.yaml")
    gpus = config.gpus.count(",") + 1
    if process.device.type == "cuda" and gpus > process.count:
        logger.info("GPUS lists %d, one is used: torchrun --nproc_per_node %d uses them", gpus, gpus)
    writer = _open_curves(Path(config.log_dir) / place) if phase == "train" else None
    return Experiment(config, process, folder, writer)


def _start_log(path: Path) -> None:
    console = logging.StreamHandler(sys.stdout)
    console.setFormatter(logging.Formatter("%(message)s"))
    file = logging.FileHandler(path)
    file.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[console, file], force=True)


def _open_curves(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        logger.warning("tensorboard is not installed: no curves are written")
        return None
    return SummaryWriter(str(folder))
