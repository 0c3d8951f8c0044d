"""Times of functions, memory of this process, and tables of both."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True)
class Times:
    """Milliseconds of runs of the same thing."""

    values: list[float]

    @property
    def median(self) -> float:
        return round(float(np.median(self.values)), 2)

    def row(self) -> dict[str, float]:
        p95 = round(float(np.percentile(self.values, 95)), 2)
        return {"p50": self.median, "p95": p95, "per_second": round(1e3 / self.median, 1)}


class Stopwatch:
    """Runs functions again and again on a device.

    Args:
        device: waited for before and after each run.
        seconds: how long a measurement takes, about; slow things are run twice at least.
    """

    def __init__(self, device: torch.device, seconds: float):
        self.device, self.seconds = device, seconds

    def time(self, function: Callable[[], Any], prepare: Callable[[], Any] | None = None) -> Times:
        """Run a function again and again; the first run does not count."""
        times: list[float] = []
        until = None
        while until is None or len(times) < 2 or (time.perf_counter() < until and len(times) < 500):
            argument = prepare() if prepare else None
            self.synchronize()
            start = time.perf_counter()
            function(argument) if prepare else function()
            self.synchronize()
            elapsed = time.perf_counter() - start
            if until is None:
                until = time.perf_counter() + self.seconds
            else:
                times.append(elapsed * 1e3)
        return Times(times)

    def in_turns(self, functions: dict[str, Callable[[], Any]]) -> dict[str, tuple[Times, Times]]:
        """Wall and processor time of functions that are run in turns, so that other load on the machine
        meets all of them; the first three rounds do not count."""
        wall: dict[str, list[float]] = {name: [] for name in functions}
        processor: dict[str, list[float]] = {name: [] for name in functions}
        until = time.perf_counter() + self.seconds * len(functions)
        rounds = 0
        while rounds < 5 or (time.perf_counter() < until and rounds < 500):
            for name, function in functions.items():
                self.synchronize()
                start, used = time.perf_counter(), time.process_time()
                function()
                self.synchronize()
                wall[name].append((time.perf_counter() - start) * 1e3)
                processor[name].append((time.process_time() - used) * 1e3)
            rounds += 1
        return {name: (Times(wall[name][3:]), Times(processor[name][3:])) for name in functions}

    def backward(self, forward: Callable[[], torch.Tensor]) -> Times:
        gradient = torch.rand_like(forward())
        return self.time(lambda volumes: volumes.backward(gradient), prepare=forward)

    def synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def copy_bandwidth(self) -> float:
        """GB/s that a plain copy reads and writes, of more than caches hold."""
        source = torch.rand(2**26 if self.device.type == "cuda" else 2**25, device=self.device)
        target = torch.empty_like(source)
        best = min(self.time(lambda: target.copy_(source)).values)
        return 2 * source.numel() * source.element_size() / best / 1e6


def memory_of_process(field: str) -> int:
    """Bytes that this process holds (VmRSS) or held at most (VmHWM), on Linux.

    getrusage's peak would include that of the process that started this one.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(field))


def print_table(title: str, rows: list[dict[str, Any]]) -> None:
    """Columns that are as wide as what they hold."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    cells = [keys, *([str(row.get(key, "")) for key in keys] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(keys))]
    print(f"\n{title}")
    for line in lines_of(cells, widths):
        print(line, flush=True)


def lines_of(cells: list[list[str]], widths: list[int]) -> Iterator[str]:
    for row in cells:
        yield "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
