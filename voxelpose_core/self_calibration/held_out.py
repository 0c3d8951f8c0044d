"""How far each camera disagrees with the others, on detections that no fit has used.

Leave one out: the joints are triangulated from the other cameras, and compared with where the camera sees
them. What a camera's own error is, and what is the others', is not told apart by a single number, but a rig
that fits people better lowers all of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from voxelpose_core.association import masked_median
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.self_calibration.epipolar import MIN_JOINTS
from voxelpose_core.self_calibration.observations import SharedPoses
from voxelpose_core.self_calibration.observed_rays import (
    ObservedRays,
    image_errors,
    observe,
    triangulate_rays,
)

# Deviation of detections at which a view no longer counts fully in the triangulation of the others.
_SHARE = 0.03


@dataclass(frozen=True, eq=False)
class Disagreement:
    """Of K poses in V cameras.

    Attributes:
        pose_shares: (K, V) median over the joints of the distance between a detection and what the other
            cameras say, as a share of the person's size in the image; NaN where there is nothing to compare.
        pose_pixels: (K, V) the same in px.
        by_pairs: (V,) bool: the camera never shares anybody with two others, and the distance is the mean
            epipolar distance from one other instead.
    """

    pose_shares: np.ndarray
    pose_pixels: np.ndarray
    by_pairs: np.ndarray

    @property
    def shares(self) -> np.ndarray:
        """(V,) medians over the poses, as shares; NaN where unknown."""
        return _medians(self.pose_shares)

    @property
    def pixels(self) -> np.ndarray:
        """(V,) medians over the poses, px; NaN where unknown."""
        return _medians(self.pose_pixels)

    @property
    def counts(self) -> np.ndarray:
        """(V,) number of poses that were compared."""
        return np.isfinite(self.pose_shares).sum(axis=0)

    @property
    def share(self) -> float:
        """Mean over the cameras of `shares`; NaN where nothing is known."""
        known = self.shares[np.isfinite(self.shares)]
        return float(known.mean()) if len(known) else float("nan")


def disagreement(
    cameras: Sequence[Camera], poses: SharedPoses, offsets_s: np.ndarray | None = None
) -> Disagreement:
    """How far each camera's detections are from what the others say.

    Args:
        cameras: V.
        poses: K.
        offsets_s: (V,) small time offsets, to be added to the stamps; 0 by default.
    """
    if offsets_s is not None:
        moved = poses.pixels - poses.velocities * np.asarray(offsets_s)[:, None, None]
        poses = dataclasses.replace(poses, pixels=moved)
    rays = observe(cameras, poses)
    rotations = np.stack([camera.R for camera in cameras])
    centers = np.stack([camera.C for camera in cameras])
    shape = rays.sizes.shape
    shares, by_pairs = np.full(shape, np.nan), np.zeros(shape[1], bool)
    for view in range(shape[1]):
        shares[:, view] = _left_out(rays, rotations, centers, view)
    for view in np.flatnonzero(~np.isfinite(shares).any(axis=0)):
        shares[:, view] = _epipolar(rays, rotations, centers, int(view))
        by_pairs[view] = np.isfinite(shares[:, view]).any()
    return Disagreement(shares, shares * rays.sizes, by_pairs)


def _left_out(rays: ObservedRays, rotations: np.ndarray, centers: np.ndarray, view: int) -> np.ndarray:
    """(K,) median distance of one view from the triangulation of the others; NaN where there is none."""
    used = rays.used.copy()
    used[:, view] = False
    points, good = triangulate_rays(
        dataclasses.replace(rays, used=used), rotations, centers, _SHARE, rounds=3
    )
    errors, _ = image_errors(rays, rotations, centers, points)
    share = np.linalg.norm(errors[:, view], axis=-1) / rays.sizes[:, view, None]
    return _median_of_joints(share, good & rays.used[:, view])


def _epipolar(rays: ObservedRays, rotations: np.ndarray, centers: np.ndarray, view: int) -> np.ndarray:
    """(K,) median distance from the epipolar lines of other views, least of the other views; NaN if none."""
    least = np.full(len(rays.used), np.inf)
    for other in range(rays.used.shape[1]):
        if other != view:
            pair = [view, other]
            points, good = triangulate_rays(
                dataclasses.replace(rays, used=_only(rays.used, pair)), rotations, centers, _SHARE, rounds=1
            )
            errors, _ = image_errors(rays, rotations, centers, points)
            # Both errors of the midpoint together are the distance from the epipolar line.
            share = sum(np.linalg.norm(errors[:, v], axis=-1) / rays.sizes[:, v, None] for v in pair)
            median = _median_of_joints(np.asarray(share), good & rays.used[:, pair].all(axis=1))
            least = np.fmin(least, median)
    return np.where(np.isfinite(least), least, np.nan)


def _only(used: np.ndarray, views: Sequence[int]) -> np.ndarray:
    result = np.zeros_like(used)
    result[:, views] = used[:, views]
    return result


def _median_of_joints(shares: np.ndarray, compared: np.ndarray) -> np.ndarray:
    """(K,) medians of (K, J) where `compared`; NaN with too few joints."""
    median = masked_median(np.where(compared, shares, 0.0), compared)
    return np.where(compared.sum(axis=-1) >= MIN_JOINTS, median, np.nan)


def _medians(values: np.ndarray) -> np.ndarray:
    """(V,) medians of (K, V) over what is finite."""
    if not len(values):
        return np.full(values.shape[1], np.nan)
    known = np.isfinite(values).T
    median = masked_median(np.where(known, values.T, 0.0), known)
    return np.where(known.any(axis=-1), median, np.nan)
