"""The options that trainings on generated scenes share, and their command line."""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass, fields
from pathlib import Path

from voxelpose_core.command import positive_number, whole_number
from voxelpose_core.output_files import check_outputs


@dataclass(frozen=True)
class TrainingOptions:
    """How long, how fast and where a training runs.

    Attributes:
        out: weights to write, *.safetensors; checkpoints lie beside it.
        steps, minutes: the training ends with whichever is reached first.
        batch: scenes per step; None: what the device suggests.
        lr: learning rate at the start.
        seed: of everything random.
        device: auto, cpu or cuda:N.
        threads: CPU threads; 0: the training's choice.
        print_every: steps between two lines of the log.
        held_out: batches of the final measurement.
        resume: continue from the last checkpoint.
    """

    out: Path
    steps: int
    minutes: float
    batch: int | None
    lr: float
    seed: int
    device: str
    threads: int
    print_every: int
    held_out: int
    resume: bool

    @classmethod
    def of(cls, args: argparse.Namespace) -> TrainingOptions:
        """From a command line with the options of `add_training_options`.

        Raises:
            InputError: when the weights could not be written.
        """
        check_outputs({"--out": args.out}, (), {"--out": (".safetensors",)})
        values = {field.name: getattr(args, field.name) for field in fields(cls)}
        return cls(**values | {"out": Path(args.out)})

    def learning_rate(self, step: int, minutes: float, warmup_steps: int, least_share: float = 0.0) -> float:
        """Of a step after so many minutes: a linear warm-up, then half a cosine to a share of `lr`."""
        progress = max(step / self.steps, minutes / self.minutes)
        warmup = min(1.0, (step + 1) / warmup_steps)
        fall = 0.5 * (1 + math.cos(math.pi * progress))
        return self.lr * warmup * (least_share + (1 - least_share) * fall)


def add_training_options(
    parser: argparse.ArgumentParser, *, steps: int, minutes: float, lr: float, batch: str, threads: str
) -> None:
    """Add the options of a training, with its defaults, and --people.

    Args:
        parser: of the training script.
        steps, minutes, lr: defaults, see `TrainingOptions`.
        batch: the default number of scenes per step, in words.
        threads: what --threads counts, in words.
    """
    parser.add_argument("--out", required=True, help="weights to write, *.safetensors")
    parser.add_argument(
        "--steps", type=whole_number(1), default=steps, help="stop after so many (default: %(default)s)"
    )
    parser.add_argument(
        "--minutes", type=positive_number, default=minutes, help="stop after so many (default: %(default)s)"
    )
    parser.add_argument("--batch", type=whole_number(1), help=f"scenes per step (default: {batch})")
    parser.add_argument(
        "--lr", type=positive_number, default=lr, help="learning rate at the start (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: %(default)s)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:N (default: %(default)s)")
    parser.add_argument("--threads", type=whole_number(0), default=0, help=threads)
    parser.add_argument(
        "--print-every",
        type=whole_number(1),
        default=50,
        help="steps between log lines (default: %(default)s)",
    )
    parser.add_argument(
        "--held-out",
        type=whole_number(1),
        default=12,
        help="batches of the final measurement (default: %(default)s)",
    )
    parser.add_argument("--resume", action="store_true", help="continue from the last checkpoint")
    parser.add_argument(
        "--people",
        default="",
        help="recorded people for half of the scenes: panoptic_training_pose.pkl or a folder of "
        "Panoptic sequences",
    )
