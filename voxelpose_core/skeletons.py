"""Joint sets of 3D weights and data sets, and every joint set by its name.

Those of detectors are in `detector_joint_sets`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from voxelpose_core.errors import InputError
from voxelpose_core.joint_set import JointSet as JointSet
from voxelpose_core.joint_set import make_joint_set

COCO17 = make_joint_set(
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

PANOPTIC15 = make_joint_set(
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
CAMPUS14 = make_joint_set(
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


# Ends the name of a joint set to which the joints were added that it lacks of COCO-17.
COMPLETED = "+coco17"

_JOINT_SETS = {
    "coco17": COCO17,
    "panoptic15": PANOPTIC15,
    "campus14": CAMPUS14,
    "shelf14": CAMPUS14,
}


def written_joint_set(name: str, joint_names: Sequence[str]) -> JointSet:
    """The joint set that a file or message of skeletons states by name and joints, known or not.

    Args:
        name: of the set.
        joint_names: J names; those of a known set need not be given.

    Raises:
        InputError: where neither name nor joints make a joint set.
    """
    from voxelpose_core.detector_joint_sets import completed, named_joint_set

    try:
        return get_joint_set(name)
    except InputError:
        if not joint_names:
            raise
        return completed(named_joint_set(name, joint_names))


def get_joint_set(name: str) -> JointSet:
    """The joint set of that name ("halpe26" or "HALPE_26"); InputError names the known ones."""
    # It builds upon COCO-17.
    from voxelpose_core.detector_joint_sets import DETECTOR_JOINT_SETS, completed

    known = {**_JOINT_SETS, **DETECTOR_JOINT_SETS}
    key = name.lower().replace("_", "").replace("-", "")
    if key in known:
        return known[key]
    base = key.removesuffix(COMPLETED)
    if base != key and base in known:
        return completed(known[base])
    raise InputError(f"joint set '{name}' is unknown: expected one of {', '.join(known)}")
