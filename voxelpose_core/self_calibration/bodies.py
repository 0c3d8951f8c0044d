"""Bodies in 3D, in a world whose axes, unit and floor are not known yet: stature, stance, direction.

Lengths are shares of the stature (Drillis and Contini, Body segment parameters, 1966), so that nothing
depends on the unit of the world.

Shapes: K poses, J joints. Joints are NaN where they are not known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.self_calibration.observations import SharedPoses
from voxelpose_core.self_calibration.observed_rays import observe, triangulate_rays
from voxelpose_core.skeletons import JointSet

# Height of the ankle joint over the floor, and length of shank, thigh, trunk and neck up to the ears.
ANKLE_SHARE = 0.039
_CHAIN_SHARE = 0.246 + 0.245 + 0.288 + 0.107
_SIDED = ("shoulder", "hip", "knee", "ankle", "ear")
# A person stands where hips and ankles are at least so far apart, as a share of the leg's length, and the
# trunk leans against the legs by at most so much (cosine of 25 degrees).
_STRAIGHT_LEG, _STRAIGHT_BODY = 0.88, 0.906
# Poses whose segments add up to another length than those of the same person, as a share.
_LENGTH_TOLERANCE = 0.15
# Deviation of detections as a share of people's size, and the distance of cameras from their middle.
_NOISE_SHARE, _ROOM_MM = 0.03, 4000.0


@dataclass(frozen=True, eq=False)
class Bodies:
    """What is needed of K poses to find up and floor.

    Attributes:
        hips, shoulders: (K, 3) middles, NaN where not known.
        ankles: (K, 2, 3) left and right.
        standing: (K,) bool, upright on straight legs, all joints known.
        facing: (K, 3) unit vectors ahead, as hips and shoulders say.
        stature: (K,) length of the pose's segments, scaled to a whole body; NaN where not known.
        people: (K,) number of the person.
    """

    hips: np.ndarray
    shoulders: np.ndarray
    ankles: np.ndarray
    standing: np.ndarray
    facing: np.ndarray
    stature: np.ndarray
    people: np.ndarray

    @property
    def typical_stature(self) -> float:
        """Mean over people of their median stature, in units of the world; NaN where it is not known."""
        statures = list(self.statures().values())
        return float(np.mean(statures)) if statures else float("nan")

    def statures(self, least_poses: int = 5) -> dict[int, float]:
        """By person the median stature, for those with enough poses."""
        known = np.isfinite(self.stature)
        counts = {int(p): int((known & (self.people == p)).sum()) for p in np.unique(self.people)}
        return {
            person: float(np.median(self.stature[known & (self.people == person)]))
            for person, count in counts.items()
            if count >= least_poses
        }


def triangulate_poses(cameras: Sequence[Camera], poses: SharedPoses) -> np.ndarray:
    """(K, J, 3) joints of shared poses in the world of the cameras, NaN where fewer than two see them."""
    rotations = np.stack([camera.R for camera in cameras])
    centers = np.stack([camera.C for camera in cameras])
    # Whatever the unit of the world, as large as a room in millimetres.
    spread = float(np.linalg.norm(centers - centers.mean(axis=0), axis=1).max())
    factor = _ROOM_MM / spread if spread > 0 else 1.0
    points, good = triangulate_rays(observe(cameras, poses), rotations, centers * factor, _NOISE_SHARE)
    return np.where(good[..., None], points / factor, np.nan)


def measure_bodies(joints: np.ndarray, people: np.ndarray, joint_set: JointSet) -> Bodies:
    """Take poses apart.

    Args:
        joints: (K, J, 3) in any world.
        people: (K,) number of the person.
        joint_set: of the joints.

    Raises:
        InputError: the joint set lacks shoulders, hips, knees, ankles or ears.
    """
    parts = {name: _both_sides(joints, joint_set, name) for name in _SIDED}
    hips, shoulders, ears = (parts[name].mean(axis=1) for name in ("hip", "shoulder", "ear"))
    shank = np.linalg.norm(parts["ankle"] - parts["knee"], axis=-1)
    thigh = np.linalg.norm(parts["knee"] - parts["hip"], axis=-1)
    trunk = np.linalg.norm(shoulders - hips, axis=-1)
    legs = (shank + thigh).mean(axis=-1)
    length = (legs + trunk + np.linalg.norm(ears - shoulders, axis=-1)) / _CHAIN_SHARE
    reach = np.linalg.norm(parts["ankle"] - parts["hip"], axis=-1)
    feet = parts["ankle"].mean(axis=1)
    along = ((hips - feet) * (shoulders - hips)).sum(axis=-1)
    straight = along > _STRAIGHT_BODY * np.linalg.norm(hips - feet, axis=-1) * trunk
    standing = straight & (reach.max(axis=-1) > _STRAIGHT_LEG * legs) & _usual_length(legs + trunk, people)
    across = (parts["hip"] + parts["shoulder"])[:, 0] - (parts["hip"] + parts["shoulder"])[:, 1]
    # From right to left, crossed with up, is ahead.
    facing = np.cross(across, shoulders - feet)
    facing /= np.maximum(np.linalg.norm(facing, axis=-1, keepdims=True), 1e-9)
    return Bodies(hips, shoulders, parts["ankle"], standing, facing, length, np.asarray(people))


def _both_sides(joints: np.ndarray, joint_set: JointSet, name: str) -> np.ndarray:
    """(K, 2, 3) the left and the right one."""
    sides = [f"left_{name}", f"right_{name}"]
    if any(side not in joint_set.joint_names for side in sides):
        raise InputError(
            f"2D detections of joint set '{joint_set.name}' have no {sides[0]}, expected coco17 or another "
            "set with shoulders, hips, knees, ankles and ears"
        )
    return joints[:, [joint_set.index(side) for side in sides]]


def _usual_length(lengths: np.ndarray, people: np.ndarray) -> np.ndarray:
    """(K,) whether a pose's segments are as long as those of the same person usually are."""
    usual = np.full(len(lengths), np.nan)
    for person in np.unique(people):
        own = people == person
        if np.isfinite(lengths[own]).any():
            usual[own] = np.nanmedian(lengths[own])
    with np.errstate(invalid="ignore"):
        return np.abs(lengths - usual) <= _LENGTH_TOLERANCE * usual
