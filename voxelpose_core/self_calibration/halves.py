"""A recording in two halves: what one half says is tried on the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from voxelpose_core.self_calibration.observations import SharedPoses

# People's places and detectors' errors change over this time, s: halves are made of blocks as long.
BLOCK_S = 4.0


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
    """Blocks of about `BLOCK_S` take turns; short recordings have one block per half."""
    if not len(poses):
        return Halves(np.zeros(0, int))
    start, end = poses.times.min(), poses.times.max()
    pairs = max(1, round((end - start) / (2 * BLOCK_S)))
    share = (poses.times - start) / max(end - start, 1e-9)
    return Halves(np.minimum((share * 2 * pairs).astype(int), 2 * pairs - 1))
