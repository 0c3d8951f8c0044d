"""Joint sets: names, limbs, roots and left-right pairs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from voxelpose_core.errors import InputError


@dataclass(frozen=True)
class JointSet:
    """A fixed, ordered set of J body joints.

    Attributes:
        name: the name used in configurations and messages.
        joint_names: J names, in the order of every joint axis.
        limbs: pairs of joint indices to draw as bones.
        root: indices of the joints whose mean is the person's root (the mid-hip).
        mirror: J indices; `mirror[j]` is joint j's partner on the other side of the body.
    """

    name: str
    joint_names: tuple[str, ...]
    limbs: tuple[tuple[int, int], ...]
    root: tuple[int, ...]
    mirror: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.joint_names)

    def index(self, joint_name: str) -> int:
        """Index of a joint by name."""
        return self.joint_names.index(joint_name)

    def root_of(self, joints: np.ndarray) -> np.ndarray:
        """Root position (..., 3) of joints (..., J, 3), in their unit."""
        return joints[..., list(self.root), :3].mean(axis=-2)


def _joint_set(name: str, joint_names: str, limbs: str, root: str) -> JointSet:
    names = tuple(joint_names.split())

    def pair(text: str) -> tuple[int, int]:
        first, second = text.split("-")
        return names.index(first), names.index(second)

    mirror = []
    for joint in names:
        partner = joint
        if joint.startswith("left_"):
            partner = "right_" + joint[5:]
        elif joint.startswith("right_"):
            partner = "left_" + joint[6:]
        mirror.append(names.index(partner))
    return JointSet(
        name,
        names,
        tuple(pair(limb) for limb in limbs.split()),
        tuple(names.index(joint) for joint in root.split()),
        tuple(mirror),
    )


COCO17 = _joint_set(
    "coco17",
    "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow "
    "right_elbow left_wrist right_wrist left_hip right_hip left_knee right_knee left_ankle "
    "right_ankle",
    "nose-left_eye nose-right_eye left_eye-left_ear right_eye-right_ear "
    "left_shoulder-right_shoulder left_shoulder-left_elbow left_elbow-left_wrist "
    "right_shoulder-right_elbow right_elbow-right_wrist left_shoulder-left_hip "
    "right_shoulder-right_hip left_hip-right_hip left_hip-left_knee left_knee-left_ankle "
    "right_hip-right_knee right_knee-right_ankle",
    "left_hip right_hip",
)

PANOPTIC15 = _joint_set(
    "panoptic15",
    "neck nose mid_hip left_shoulder left_elbow left_wrist left_hip left_knee left_ankle "
    "right_shoulder right_elbow right_wrist right_hip right_knee right_ankle",
    "neck-nose neck-mid_hip neck-left_shoulder left_shoulder-left_elbow left_elbow-left_wrist "
    "neck-right_shoulder right_shoulder-right_elbow right_elbow-right_wrist mid_hip-left_hip "
    "left_hip-left_knee left_knee-left_ankle mid_hip-right_hip right_hip-right_knee "
    "right_knee-right_ankle",
    "mid_hip",
)

# The ground truth of Campus and Shelf (Belagiannis et al., CVPR 2014).
CAMPUS14 = _joint_set(
    "campus14",
    "right_ankle right_knee right_hip left_hip left_knee left_ankle right_wrist right_elbow "
    "right_shoulder left_shoulder left_elbow left_wrist head_bottom head_top",
    "right_ankle-right_knee right_knee-right_hip left_hip-left_knee left_knee-left_ankle "
    "right_hip-left_hip right_wrist-right_elbow right_elbow-right_shoulder "
    "left_shoulder-left_elbow left_elbow-left_wrist right_shoulder-left_shoulder "
    "right_shoulder-right_hip left_shoulder-left_hip head_bottom-head_top",
    "right_hip left_hip",
)

# Where panoptic15's joints, but for neck and mid-hip, are in COCO-17.
_LIMB_JOINTS = [name for name in PANOPTIC15.joint_names if name not in ("neck", "mid_hip")]


def panoptic15_from_coco17(poses: np.ndarray) -> np.ndarray:
    """COCO-17 joints (..., 17, C) as panoptic15 (..., 15, C): neck and mid-hip are middles."""
    result = np.empty((*poses.shape[:-2], len(PANOPTIC15), poses.shape[-1]), dtype=poses.dtype)
    for middle, joint in (("neck", "shoulder"), ("mid_hip", "hip")):
        sides = [COCO17.index(f"left_{joint}"), COCO17.index(f"right_{joint}")]
        result[..., PANOPTIC15.index(middle), :] = poses[..., sides, :].mean(axis=-2)
    for name in _LIMB_JOINTS:
        result[..., PANOPTIC15.index(name), :] = poses[..., COCO17.index(name), :]
    return result


_JOINT_SETS = {
    "coco17": COCO17,
    "panoptic15": PANOPTIC15,
    "campus14": CAMPUS14,
    "shelf14": CAMPUS14,
}


def get_joint_set(name: str) -> JointSet:
    """The joint set of that name; InputError names the known ones."""
    try:
        return _JOINT_SETS[name.lower()]
    except KeyError:
        raise InputError(f"joint set '{name}' is unknown: expected one of {', '.join(_JOINT_SETS)}") from None
