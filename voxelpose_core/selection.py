"""Which of the skeletons found are people: no phantoms, and nobody twice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from voxelpose_core.estimate import Skeleton


def without_phantoms(
    skeletons: Sequence[Skeleton], least_support: float, lowest: float
) -> list[Skeleton]:
    """Those whose joints have enough support in the mean, none of them lower than `lowest`, mm."""
    return [
        skeleton
        for skeleton in skeletons
        if skeleton.joint_scores.mean() >= least_support
        and skeleton.joints[:, 2].min() >= lowest
    ]


def without_doubles(skeletons: Sequence[Skeleton], distance: float) -> list[Skeleton]:
    """Most support first; of two skeletons nearer than that in the mean, mm, the first stays."""
    kept: list[Skeleton] = []
    for skeleton in sorted(skeletons, key=lambda s: -s.joint_scores.mean()):
        gaps = [np.linalg.norm(skeleton.joints - other.joints, axis=1).mean() for other in kept]
        if min(gaps, default=np.inf) >= distance:
            kept.append(skeleton)
    return kept
