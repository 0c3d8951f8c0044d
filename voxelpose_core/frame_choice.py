"""Which frame sets of a recording are wanted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from voxelpose_core.errors import InputError

# Stamps are compared to this, seconds: those of frames are rounded.
_SAME_S = 1e-6


@dataclass(frozen=True)
class FrameChoice:
    """A part of a recording, and every how manieth of its frame sets.

    Attributes:
        start_s: first stamp that is wanted, seconds.
        end_s: stamps from here on are not.
        every: 1 for all frame sets between, 2 for every other one from the first on.
    """

    start_s: float = 0.0
    end_s: float = math.inf
    every: int = 1

    def of(self, stamps: Sequence[float]) -> list[int]:
        """Indices of the frame sets that are wanted.

        Args:
            stamps: of all frame sets, seconds, rising.

        Raises:
            InputError: none is.
        """
        if not self.start_s < self.end_s:
            raise InputError(
                f"--start {self.start_s:g} --end {self.end_s:g}: expected an end after the start"
            )
        inside = [
            index
            for index, stamp in enumerate(stamps)
            if self.start_s - _SAME_S <= stamp < self.end_s - _SAME_S
        ]
        if stamps and not inside:
            raise InputError(
                f"{self._words()}: no frame lies there, expected times from {stamps[0]:.6g} to "
                f"{stamps[-1]:.6g} s, which is what the recording has"
            )
        return inside[:: self.every]

    def _words(self) -> str:
        words = f"--start {self.start_s:g}"
        return words if math.isinf(self.end_s) else f"{words} --end {self.end_s:g}"
