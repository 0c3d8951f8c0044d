"""Which of the skeletons found are people: no false positives, and no person twice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from voxelpose_core.geometry.rig import Rig
from voxelpose_core.geometry.space import Space
from voxelpose_core.pose_types import Skeleton


def floor_of(rig: Rig, space: Space) -> float:
    """Height of the floor, mm: the rig's ground or the space's floor, whichever is lower."""
    return min(rig.ground, float(space.low[2]))


def supported(skeletons: Sequence[Skeleton], least_support: float) -> list[Skeleton]:
    """Those whose joints have enough support in the mean."""
    return [s for s in skeletons if s.joint_scores.mean() >= least_support]


def split_at_floor(skeletons: Sequence[Skeleton], lowest: float) -> tuple[list[Skeleton], list[Skeleton]]:
    """Those with no joint below height `lowest`, mm, and the others."""
    above: list[Skeleton] = []
    below: list[Skeleton] = []
    for skeleton in skeletons:
        (above if skeleton.joints[:, 2].min() >= lowest else below).append(skeleton)
    return above, below


def without_doubles(skeletons: Sequence[Skeleton], distance: float) -> list[Skeleton]:
    """Most support first; of two skeletons nearer than that in the mean, mm, the first stays."""
    kept: list[Skeleton] = []
    for skeleton in sorted(skeletons, key=lambda s: -s.joint_scores.mean()):
        gaps = [np.linalg.norm(skeleton.joints - other.joints, axis=1).mean() for other in kept]
        if min(gaps, default=np.inf) >= distance:
            kept.append(skeleton)
    return kept
