"""Times, losses and memory of an epoch, for the log and the curves."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass, field

import torch

from voxelpose_core.datasets.batches import Batch


@dataclass
class Meters:
    """Times and losses of an epoch: the last values and the means so far.

    Attributes:
        broken: frames that could not be read.
    """

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
        return {name: total / self._steps for name, total in self._totals.items() if name.startswith("loss")}

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
