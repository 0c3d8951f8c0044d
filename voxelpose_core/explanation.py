"""Which 2D detections the skeletons explain: what is left over may show somebody not found yet."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.space import Space
from voxelpose_core.heatmaps import box_side

# Median distance of common joints up to which a 2D detection is a skeleton's image, as a share of the
# longer side of the 2D detection's box.
NEAR = 0.12
# Fewer joints in common decide nothing.
MIN_COMMON_JOINTS = 4
# Two 2D detections whose rays pass each other by more, in the median of their joints, are two people, mm.
MEETING_GAP = 500.0
# So far outside the space, mm, two views may still put the middle of somebody inside.
SPACE_MARGIN = 1000.0


def usable_joints(people: np.ndarray, least_score: float) -> np.ndarray:
    """(P, J) bool: joints of 2D detections (P, J, 3) that were detected, with that score at least."""
    return people[..., 2] >= max(least_score, 1e-6)


def image_gaps(
    camera: Camera, joints: np.ndarray, people: np.ndarray, least_score: float
) -> np.ndarray:
    """How far the image of each skeleton lies from each 2D detection.

    Args:
        camera: whose image.
        joints: (S, J, 3) skeletons, mm.
        people: (P, J, 3) x and y in pixels, and score.
        least_score: keypoints with a lower score do not count.

    Returns:
        (S, P) median distance of their common joints as a share of the longer side of the 2D
        person's box; infinite where fewer than four are common.
    """
    pixels, depth = camera.project(joints.reshape(-1, 3))
    pixels = pixels.reshape(*joints.shape[:2], 2)
    found = usable_joints(people, least_score)
    common = (depth > 0).reshape(joints.shape[:2])[:, None] & found
    distance = np.linalg.norm(pixels[:, None] - people[None, ..., :2], axis=-1)
    count = common.sum(axis=-1)
    gaps = np.where(
        count >= MIN_COMMON_JOINTS, _median(np.where(common, distance, np.inf), count), np.inf
    )
    sides = box_side(torch.from_numpy(people[..., :2]), torch.from_numpy(found))
    return gaps / np.maximum(sides.numpy(), 1.0)


def _median(values: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Medians of the `count` least values along the last axis. (nanmedian is slow for few.)"""
    ranked = np.sort(values, axis=-1)
    low, high = np.maximum(count - 1, 0) // 2, count // 2
    middle = [np.take_along_axis(ranked, i[..., None], axis=-1)[..., 0] for i in (low, high)]
    return (middle[0] + middle[1]) / 2


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


def _left_over(camera, joints, people, least_score) -> np.ndarray:
    enough = usable_joints(people, least_score).sum(axis=-1) >= MIN_COMMON_JOINTS
    return enough & (image_gaps(camera, joints, people, least_score) > NEAR).all(axis=0)


def may_be_inside(
    cameras: Sequence[Camera],
    people: Sequence[np.ndarray | None],
    space: Space,
    least_score: float,
) -> bool:
    """Whether any two of the 2D detections (P, J, 3) of each camera can be one person in the space.

    Bystanders whom two views show are not: the rays through their joints meet elsewhere.
    """
    room = Space(space.center, space.size + 2 * SPACE_MARGIN)
    shown = [
        (camera.C, _rays(camera, own), usable_joints(own, least_score))
        for camera, own in zip(cameras, people, strict=True)
        if own is not None and len(own)
    ]
    return any(
        _meet_inside(*one, *other, room) for one, other in itertools.combinations(shown, 2)
    )


def _meet_inside(
    start: np.ndarray,
    rays: np.ndarray,
    usable: np.ndarray,
    other_start: np.ndarray,
    other_rays: np.ndarray,
    other_usable: np.ndarray,
    room: Space,
) -> bool:
    """Whether one of P people of a camera and one of Q people of another can be one in the room.

    Args:
        start: (3,) centre of the camera, mm.
        rays: (P, J, 3) of its people, see `_rays`.
        usable: (P, J) which of them count.
        other_start, other_rays, other_usable: of the other camera's Q people.
    """
    found = usable[:, None] & other_usable
    places, gaps = _closest_approach(start, rays[:, None], other_start, other_rays)
    count = found.sum(axis=-1)
    gap = _median(np.where(found, gaps, np.inf), count)
    masked = np.where(found[..., None], places, np.inf)
    middle = _median(np.moveaxis(masked, -1, -2), np.broadcast_to(count[..., None], (*count.shape, 3)))
    meet = (gap <= MEETING_GAP) & room.contains(middle)
    return bool((meet | (count < MIN_COMMON_JOINTS)).any())


def _rays(camera: Camera, people: np.ndarray) -> np.ndarray:
    """(P, J, 3) directions in the world of 2D detections (P, J, 3), of length 1."""
    rays = camera.unproject(people[..., :2].reshape(-1, 2), 1.0) - camera.C
    return (rays / np.linalg.norm(rays, axis=1, keepdims=True)).reshape(*people.shape[:2], 3)


def _closest_approach(
    start: np.ndarray, ray: np.ndarray, other_start: np.ndarray, other_ray: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Middle (..., 3) and length (...) of the shortest connection of two lines; infinite where they
    come together behind one of the starts. Rays (..., 3) of length 1."""
    between = start - other_start
    cosine = (ray * other_ray).sum(axis=-1)
    along, other_along = ray @ between, other_ray @ between
    sine2 = np.maximum(1 - cosine**2, 1e-9)
    depth = (cosine * other_along - along) / sine2
    other_depth = (other_along - cosine * along) / sine2
    point = start + depth[..., None] * ray
    other_point = other_start + other_depth[..., None] * other_ray
    gap = np.linalg.norm(point - other_point, axis=-1)
    return (point + other_point) / 2, np.where((depth > 0) & (other_depth > 0), gap, np.inf)


def explained_views(
    cameras: Sequence[Camera],
    joints: np.ndarray,
    keypoints: Sequence[np.ndarray | None],
    least_score: float,
) -> np.ndarray:
    """(S,) in how many views each skeleton (S, J, 3) has a 2D detection as its image."""
    count = np.zeros(len(joints), dtype=int)
    for gaps in _gaps_by_view(cameras, joints, keypoints, least_score):
        count += (gaps <= NEAR).any(axis=1)
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
    count = np.zeros(len(joints), dtype=int)
    for gaps in _gaps_by_view(cameras, joints, keypoints, least_score):
        # A pair of strangers is as good as none.
        skeletons, persons = linear_sum_assignment(np.minimum(gaps, 2 * NEAR))
        count[skeletons] += gaps[skeletons, persons] <= NEAR
    return count


def _gaps_by_view(cameras, joints, keypoints, least_score) -> Iterator[np.ndarray]:
    """`image_gaps` of each view that has 2D detections."""
    for camera, people in zip(cameras, keypoints, strict=True):
        if people is not None and len(people):
            yield image_gaps(camera, joints, people, least_score)
