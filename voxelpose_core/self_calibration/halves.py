"""A recording in two halves: what one half says is tried on the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from voxelpose_core.self_calibration.observations import SharedPoses

# People's places and detectors' errors change over this time, s: halves are made of blocks as long.
BLOCK_S = 4.0
# A block of fewer times says little.
_LEAST_TIMES = 6


@dataclass(frozen=True, eq=False)
class Halves:
    """Which of K poses belong to which half.

    Attributes:
        blocks: (K,) number of the block of time; even ones are the first half, odd ones the second.
    """

    blocks: np.ndarray

    @property
    def masks(self) -> tuple[np.ndarray, np.ndarray]:
        """(K,) bool of each half."""
        return self.blocks % 2 == 0, self.blocks % 2 == 1


def halves_in_time(poses: SharedPoses) -> Halves:
    """Blocks of about `BLOCK_S`, of equally many times, take turns; short recordings have one per half."""
    times, rank = np.unique(poses.times, return_inverse=True)
    if not len(times):
        return Halves(np.zeros(0, int))
    by_time = round((times[-1] - times[0]) / (2 * BLOCK_S))
    pairs = max(1, min(by_time, len(times) // (2 * _LEAST_TIMES)))
    return Halves(rank * 2 * pairs // len(times))
