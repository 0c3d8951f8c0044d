"""Which 2D detection is the image of a skeleton, and which detections of two views may be one person.

A projected skeleton and a 2D detection are compared by the distance of the joints that they have in
common, as a share of the person's size in the image, so that one limit serves near and far people. What
limit is right depends on where the skeleton comes from, so every user has a criterion of its own:

=============== ====== ========= ======================= ===========================================
criterion       joints limit     of the size of          the skeleton is
=============== ====== ========= ======================= ===========================================
`EXPLAINED`     4      0.12      the detection's box     an estimate; whether another person is there
`REPROJECTION`  4      0.5       the projected skeleton  an estimate whose error is to be measured
`DETECTION`     3      0.3       the projected skeleton  the truth; the detection's error is measured
`TRUTH`         3      0.2       the projected skeleton  the truth; its detections are triangulated
=============== ====== ========= ======================= ===========================================

An estimate explains a detection only where it fits closely: a person who stands beside a skeleton is not
to be taken for it. Where the error itself is measured, a close limit would hide the large errors.

Shapes: S skeletons, P 2D detections of a view, J joints, V views. NumPy only.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import linear_sum_assignment

from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.rays import closest_approach
from voxelpose_core.geometry.space import Space

# Keypoints with a lower score were not detected.
_LEAST_SCORE = 1e-6


@dataclass(frozen=True)
class Criterion:
    """When a 2D detection counts as the image of a skeleton.

    Attributes:
        average: of the distances of common joints. The median forgives single wrong joints; the mean
            counts them, as the error that is reported does.
        min_common_joints: with fewer in common nothing is decided.
        max_share: largest average distance, as a share of the person's size in the image.
    """

    average: Literal["mean", "median"]
    min_common_joints: int
    max_share: float


EXPLAINED = Criterion("median", min_common_joints=4, max_share=0.12)
REPROJECTION = Criterion("mean", min_common_joints=4, max_share=0.5)
DETECTION = Criterion("median", min_common_joints=3, max_share=0.3)
TRUTH = Criterion("mean", min_common_joints=3, max_share=0.2)

# 2D detections whose rays pass each other by more, in the median of their joints, are two people, mm.
MEETING_GAP = 500.0
# So far outside the space, mm, two views may still put the middle of a person inside.
SPACE_MARGIN = 1000.0


def usable_joints(people: np.ndarray, least_score: float = 0.0) -> np.ndarray:
    """(P, J) bool: joints of 2D detections (P, J, 3) that were detected, with that score at least."""
    return people[..., 2] >= max(least_score, _LEAST_SCORE)


def image_sizes(pixels: np.ndarray, used: np.ndarray) -> np.ndarray:
    """(N,) longer side of the box around the used (N, J) of pixels (N, J, 2); 0 where none is used."""
    low = np.where(used[..., None], pixels, np.inf).min(axis=-2)
    high = np.where(used[..., None], pixels, -np.inf).max(axis=-2)
    return np.where(used.any(axis=-1), (high - low).max(axis=-1), 0.0)


def pixel_distances(
    pixels: np.ndarray,
    visible: np.ndarray,
    people: np.ndarray,
    criterion: Criterion,
    least_score: float = 0.0,
) -> np.ndarray:
    """How far each projected skeleton lies from each 2D detection of one view.

    Args:
        pixels: (S, J, 2) projected joints.
        visible: (S, J) bool, which of them count.
        people: (P, J, 3) x px, y px, score.
        criterion: gives the average and the least number of joints.
        least_score: keypoints with a lower score do not count.

    Returns:
        (S, P) average distance of the common joints, px; infinite where too few are common.
    """
    common = visible[:, None] & usable_joints(people, least_score)
    distance = np.linalg.norm(pixels[:, None] - people[None, ..., :2], axis=-1)
    count = common.sum(axis=-1)
    if criterion.average == "median":
        average = masked_median(distance, common)
    else:
        average = np.where(common, distance, 0.0).sum(axis=-1) / np.maximum(count, 1)
    return np.where(count >= criterion.min_common_joints, average, np.inf)


def masked_median(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(...,) medians along the last axis of values (..., N) where mask (..., N) is true; infinite where it
    nowhere is. (nanmedian is slow for few.)"""
    ranked = np.sort(np.where(mask, values, np.inf), axis=-1)
    count = mask.sum(axis=-1)
    low, high = np.maximum(count - 1, 0) // 2, count // 2
    middle = [np.take_along_axis(ranked, i[..., None], axis=-1)[..., 0] for i in (low, high)]
    return (middle[0] + middle[1]) / 2


def pair_one_to_one(costs: np.ndarray, no_pair: float) -> Iterator[tuple[int, int]]:
    """Pairs (skeleton, detection) with the least sum of costs (S, P) (Hungarian algorithm).

    Args:
        costs: finite or infinite.
        no_pair: costs above this are as good as no pair; pairs that cost as much may be among the answer.
    """
    if costs.size:
        rows, columns = linear_sum_assignment(np.minimum(costs, no_pair))
        yield from zip(rows.tolist(), columns.tolist(), strict=True)


# --- estimated skeletons and the detections that they explain -----------------------------------


def image_gaps(camera: Camera, joints: np.ndarray, people: np.ndarray, least_score: float) -> np.ndarray:
    """How far the image of each skeleton lies from each 2D detection, see `EXPLAINED`.

    Args:
        camera: whose image.
        joints: (S, J, 3) skeletons, mm.
        people: (P, J, 3) x and y in pixels, and score.
        least_score: keypoints with a lower score do not count.

    Returns:
        (S, P) median distance of their common joints as a share of the longer side of the 2D
        detection's box; infinite where fewer than four are common.
    """
    pixels, depth = camera.project(joints.reshape(-1, 3))
    pixels, in_front = pixels.reshape(*joints.shape[:2], 2), (depth > 0).reshape(joints.shape[:2])
    distances = pixel_distances(pixels, in_front, people, EXPLAINED, least_score)
    sizes = image_sizes(people[..., :2], usable_joints(people, least_score))
    return distances / np.maximum(sizes, 1.0)


def unexplained_people(
    cameras: Sequence[Camera],
    joints: np.ndarray,
    keypoints: Sequence[np.ndarray | None],
    least_score: float,
) -> list[np.ndarray | None]:
    """The 2D detections of each camera (P, J, 3) that are no skeleton's image; None stays None."""
    return [
        None if people is None else people[_left_over(camera, joints, people, least_score)]
        for camera, people in zip(cameras, keypoints, strict=True)
    ]


def _left_over(camera: Camera, joints: np.ndarray, people: np.ndarray, least_score: float) -> np.ndarray:
    enough = usable_joints(people, least_score).sum(axis=-1) >= EXPLAINED.min_common_joints
    gaps = image_gaps(camera, joints, people, least_score)
    return enough & (gaps > EXPLAINED.max_share).all(axis=0)


def explained_views(
    cameras: Sequence[Camera],
    joints: np.ndarray,
    keypoints: Sequence[np.ndarray | None],
    least_score: float,
) -> np.ndarray:
    """(S,) in how many views each skeleton (S, J, 3), mm, has a 2D detection as its image.

    Args:
        cameras: V.
        joints: (S, J, 3) mm, in the world of the cameras.
        keypoints: per camera (P, J, 3) x px, y px, score; None for a camera without a frame.
        least_score: keypoints with a lower score are ignored.
    """
    count = np.zeros(len(joints), dtype=int)
    for camera, people in zip(cameras, keypoints, strict=True):
        if people is not None and len(people):
            gaps = image_gaps(camera, joints, people, least_score)
            count += (gaps <= EXPLAINED.max_share).any(axis=1)
    return count


def owned_views(
    cameras: Sequence[Camera],
    joints: np.ndarray,
    keypoints: Sequence[np.ndarray | None],
    least_score: float,
) -> np.ndarray:
    """(S,) in how many views each skeleton (S, J, 3) has a 2D detection that is no other skeleton's image.

    In each view 2D detections and skeletons are paired one to one with the least sum of gaps.
    """
    return (own_detections(cameras, joints, keypoints, least_score) >= 0).sum(axis=0)


def own_detections(
    cameras: Sequence[Camera],
    joints: np.ndarray,
    keypoints: Sequence[np.ndarray | None],
    least_score: float,
) -> np.ndarray:
    """(V, S) index of the 2D detection that is the image of each skeleton (S, J, 3) in each view; -1: none.

    No detection is the image of two skeletons, see `owned_views`.

    Args: as of `explained_views`; joints in mm, keypoints in pixels.
    """
    chosen = np.full((len(cameras), len(joints)), -1)
    for view, (camera, people) in enumerate(zip(cameras, keypoints, strict=True)):
        if people is not None and len(people):
            gaps = image_gaps(camera, joints, people, least_score)
            # Twice the limit: a pair that just misses it is still better than any two strangers.
            for skeleton, person in pair_one_to_one(gaps, 2 * EXPLAINED.max_share):
                if gaps[skeleton, person] <= EXPLAINED.max_share:
                    chosen[view, skeleton] = person
    return chosen


# --- true skeletons and their detections ----------------------------------------------------------


def detections_of(
    cameras: Sequence[Camera], keypoints: Sequence[np.ndarray | None], joints: np.ndarray
) -> np.ndarray:
    """The detection of a known person in each view: the ideal association, see `TRUTH`.

    In every view the person with the least mean pixel distance from the projected joints is taken,
    if that distance is at most 0.2 of the longer side of the projected person's box.

    Args:
        cameras: V cameras.
        keypoints: per view (P, J, 3) x px, y px, score (0: not detected), or None.
        joints: (J, 3) the person, mm; NaN joints are left out.

    Returns:
        (V, J, 3), all zero in views where none is taken.
    """
    chosen = np.zeros((len(cameras), len(joints), 3))
    known = np.isfinite(joints).all(axis=1)
    if not known.any():
        return chosen
    for view, (camera, people) in enumerate(zip(cameras, keypoints, strict=True)):
        pixels, depth = camera.project(joints[known])
        if people is None or len(people) == 0 or (depth <= 0).any():
            continue
        pixels, visible = pixels[None], np.ones((1, len(pixels)), dtype=bool)
        detections = np.asarray(people, dtype=np.float64)[:, known]
        (distances,) = pixel_distances(pixels, visible, detections, TRUTH)
        best = int(distances.argmin())
        if distances[best] <= TRUTH.max_share * image_sizes(pixels, visible)[0]:
            chosen[view] = people[best]
    return chosen


# --- detections of two views ----------------------------------------------------------------------


def may_be_inside(
    cameras: Sequence[Camera],
    people: Sequence[np.ndarray | None],
    space: Space,
    least_score: float,
) -> bool:
    """Whether any two of the 2D detections (P, J, 3), x px, y px, score, of each camera can be one person in
    the space (mm).

    Bystanders that two views show are not: the rays through their joints meet elsewhere.
    """
    room = Space(space.center, space.size + 2 * SPACE_MARGIN)
    shown = [
        _DetectionRays(camera.C, camera.ray_directions(own[..., :2]), usable_joints(own, least_score))
        for camera, own in zip(cameras, people, strict=True)
        if own is not None and len(own)
    ]
    return any(_meet_inside(one, other, room) for one, other in itertools.combinations(shown, 2))


@dataclass(frozen=True)
class _DetectionRays:
    """The rays of a view's P detections: origin (3,) mm, directions (P, J, 3), usable (P, J)."""

    origin: np.ndarray
    directions: np.ndarray
    usable: np.ndarray


def _meet_inside(one: _DetectionRays, other: _DetectionRays, room: Space) -> bool:
    """Whether a detection of one view and a detection of the other can be one person in the room."""
    common = one.usable[:, None] & other.usable
    places, gaps = closest_approach(one.origin, one.directions[:, None], other.origin, other.directions)
    by_axis = np.moveaxis(places, -1, -2)
    middle = masked_median(by_axis, np.broadcast_to(common[..., None, :], by_axis.shape))
    meet = (masked_median(gaps, common) <= MEETING_GAP) & room.contains(middle)
    # Detections with too little in common may be one person all the same.
    unknown = common.sum(axis=-1) < EXPLAINED.min_common_joints
    return bool((meet | unknown).any())
