"""What the learning-free baseline takes for granted about bodies: longest limbs, and an upright person."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from voxelpose_core.models.rays import JOINT_HEIGHTS
from voxelpose_core.skeletons import COCO17

_LEFT = [COCO17.index(n) for n in COCO17.joint_names if n.startswith("left_")]
_RIGHT = [COCO17.mirror[joint] for joint in _LEFT]
# Longest limbs of a tall adult (2.1 m), with room for errors; from the trunk outward.
_LIMB_LIMITS = {
    "left_shoulder-right_shoulder": 650,
    "left_hip-right_hip": 550,
    "left_shoulder-left_hip": 900,
    "right_shoulder-right_hip": 900,
    "left_shoulder-left_elbow": 600,
    "right_shoulder-right_elbow": 600,
    "left_elbow-left_wrist": 550,
    "right_elbow-right_wrist": 550,
    "left_hip-left_knee": 750,
    "right_hip-right_knee": 750,
    "left_knee-left_ankle": 750,
    "right_knee-right_ankle": 750,
    "left_shoulder-nose": 650,
    "nose-left_eye": 250,
    "nose-right_eye": 250,
    "nose-left_ear": 350,
    "nose-right_ear": 350,
}
LIMBS = np.array([[COCO17.index(end) for end in limb.split("-")] for limb in _LIMB_LIMITS])
LONGEST = np.array(list(_LIMB_LIMITS.values()), dtype=float)
# A person who stands upright and looks along x: a hidden joint is taken from here.
_SIDEWAYS = {"eye": 30, "ear": 70, "shoulder": 180, "elbow": 230, "wrist": 240}
_SIDEWAYS |= {"hip": 130, "knee": 110, "ankle": 100}
_FORWARD = {"nose": 120, "eye": 100, "ankle": -40}


def plausible_joints(joints: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """(G, J) bool: no limb of joints (G, J, 3) that leads to the joint is too long."""
    good = valid.copy()
    for (inner, outer), longest in zip(LIMBS, LONGEST, strict=True):
        length = np.linalg.norm(joints[:, inner] - joints[:, outer], axis=1)
        good[:, outer] &= ~(good[:, inner] & (length > longest))
    return good


def fill_joints(joints: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Joints (G, J, 3) with those that are not valid taken from an upright person.

    They keep the offset that they have, in an upright person who faces the same way, from the valid joint
    that is nearest to them there. Every person has a valid joint.
    """
    template = upright()
    apart = np.linalg.norm(template[:, None] - template[None], axis=-1)
    nearest = np.where(valid[:, None, :], apart, np.inf).argmin(axis=-1)
    offsets = template[None] - template[nearest]
    both = valid[:, _LEFT] & valid[:, _RIGHT]
    left = np.where(both[..., None], joints[:, _LEFT] - joints[:, _RIGHT], 0.0).sum(axis=1)[:, :2]
    length = np.linalg.norm(left, axis=1, keepdims=True)
    left = np.where(length > 1e-6, left / np.maximum(length, 1e-6), [0.0, 1.0])
    forward = np.column_stack([left[:, 1], -left[:, 0]])
    turned = offsets[..., :1] * forward[:, None] + offsets[..., 1:2] * left[:, None]
    moved = np.concatenate([turned, offsets[..., 2:]], axis=-1)
    base = np.take_along_axis(joints, nearest[..., None], axis=1)
    return np.where(valid[..., None], joints, base + moved)


@lru_cache(maxsize=1)
def upright() -> np.ndarray:
    """(J, 3) mm from the mid-hip, of a person who looks along x with the left side at y > 0."""
    rows = []
    for name, height in zip(COCO17.joint_names, JOINT_HEIGHTS, strict=True):
        side, _, part = name.rpartition("_")
        sign = {"left": 1, "right": -1}.get(side, 0)
        rows.append((_FORWARD.get(part, 0), sign * _SIDEWAYS.get(part, 0), height))
    return np.array(rows, dtype=np.float64)
