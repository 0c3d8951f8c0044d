"""The command line that trainings on drawn scenes share."""

from __future__ import annotations

import argparse


def add_training_options(
    parser: argparse.ArgumentParser, *, steps: int, minutes: float, lr: float, batch: str, threads: str
) -> None:
    """Add the options of a training, with its defaults.

    Args:
        parser: gets --out, --steps, --minutes, --batch, --lr, --seed, --device, --threads,
            --print-every, --held-out, --resume and --people.
        steps, minutes: the training ends with whichever is reached first.
        lr: learning rate at the start.
        batch: the default number of scenes per step, in words.
        threads: what --threads counts, in words.
    """
    parser.add_argument("--out", required=True, help="weights to write, *.safetensors")
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--minutes", type=float, default=minutes, help="stop by then")
    parser.add_argument("--batch", type=int, help=f"scenes per step (default: {batch})")
    parser.add_argument("--lr", type=float, default=lr)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:N")
    parser.add_argument("--threads", type=int, default=0, help=threads)
    parser.add_argument("--print-every", type=int, default=50)
    parser.add_argument("--held-out", type=int, default=12, help="batches of the final measurement")
    parser.add_argument("--resume", action="store_true", help="continue from the last checkpoint")
    parser.add_argument(
        "--people",
        default="",
        help="recorded people for half of the scenes: panoptic_training_pose.pkl or a folder of "
        "Panoptic sequences",
    )
