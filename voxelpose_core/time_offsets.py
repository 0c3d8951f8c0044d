"""Cameras whose clocks differ: offsets as text, and 2D detections at times between two frames.

The time offset of a camera is added to its stamps, in the rig file (`time_offset_ms`), on the command line
(`--offsets-ms`) and in the node (`sync.offsets_ms`) alike. That of the first camera is 0 in files that
this package writes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from voxelpose_core.association import Criterion, image_sizes, pair_one_to_one, pixel_distances, usable_joints
from voxelpose_core.errors import InputError
from voxelpose_core.geometry.rig import Rig

# The same person in the next frame of a camera: limbs may swing far, the body does not.
_NEXT_FRAME = Criterion("median", min_common_joints=3, max_share=0.3)
_NO_PAIR_PX = 1e9


def parse_offsets(text: str) -> tuple[float, ...]:
    """Offsets written as "0,-33.3,12", in ms, one per camera."""
    try:
        offsets = tuple(float(part) for part in text.split(","))
    except ValueError:
        offsets = (math.nan,)
    if not all(map(math.isfinite, offsets)):
        raise InputError(f"'{text}', expected one offset in ms per camera, for example 0,-33.3,12")
    return offsets


def offsets_text(offsets_ms: Sequence[float]) -> str:
    """Offsets as `parse_offsets` reads them, to 0.1 ms."""
    return ",".join(f"{round(offset, 1) + 0.0:g}" for offset in offsets_ms)


def offsets_in_words(rig: Rig) -> str:
    """Whose stamps are moved, and by how much; empty where no stamps are."""
    return ", ".join(
        f"{camera.name} {camera.time_offset_ms:+.1f} ms" for camera in rig.cameras if camera.time_offset_ms
    )


def interpolate(before: np.ndarray, after: np.ndarray, share: float) -> np.ndarray:
    """The 2D detections of one camera at a time between two of its frames.

    People of the two frames are paired one to one by the distance of their joints, and move in straight
    lines. Whoever is in one frame only is there for the half of the time that is nearer to it, and so is a
    joint, which moves as the rest of the body does.

    Args:
        before: (P, J, 3) x px, y px, score in the earlier frame.
        after: (Q, J, 3) in the later frame.
        share: of the time between them that has gone by, 0 to 1.

    Returns:
        (R, J, 3).
    """
    nearer, other, away = (before, after, share) if share <= 0.5 else (after, before, 1.0 - share)
    moved = np.array(nearer)
    for index, partner in _same_people(nearer, other):
        moved[index] = _between(nearer[index], other[partner], away)
    return moved


def _same_people(first: np.ndarray, second: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of one person in two frames (P, J, 3) and (Q, J, 3) that follow each other."""
    if len(first) == 0 or len(second) == 0:
        return []
    used = usable_joints(first)
    distances = pixel_distances(first[..., :2], used, second, _NEXT_FRAME)
    limits = _NEXT_FRAME.max_share * image_sizes(first[..., :2], used)
    return [(i, j) for i, j in pair_one_to_one(distances, _NO_PAIR_PX) if distances[i, j] <= limits[i]]


def _between(person: np.ndarray, later: np.ndarray, away: float) -> np.ndarray:
    """(J, 3) one person, who moves on to `later`, after the share `away` of the way."""
    common = (person[:, 2] > 0) & (later[:, 2] > 0)
    steps = later[:, :2] - person[:, :2]
    steps = np.where(common[:, None], steps, np.median(steps[common], axis=0))
    moved = person.copy()
    seen = person[:, 2] > 0
    moved[seen, :2] += away * steps[seen]
    moved[common, 2] += away * (later - person)[common, 2]
    return moved
