"""Joint sets of nets, which say how many keypoints they have but not which."""

from __future__ import annotations

from voxelpose_core.detector_joint_sets import HALPE26, HALPE136, WHOLEBODY133
from voxelpose_core.detectors.onnx_net import OnnxNet
from voxelpose_core.errors import InputError
from voxelpose_core.joint_set import JointSet
from voxelpose_core.skeletons import COCO17

BY_COUNT = {len(joint_set): joint_set for joint_set in (COCO17, HALPE26, WHOLEBODY133, HALPE136)}


def joint_set_of(net: OnnxNet, family: str, count: int) -> JointSet:
    """The joint set of that many keypoints.

    Raises:
        InputError: naming the file, for another number.
    """
    if count not in BY_COUNT:
        known = ", ".join(f"{count} ({joint_set.name})" for count, joint_set in BY_COUNT.items())
        raise InputError(f"detector {net.path}: {family} net of {count} keypoints, expected {known}")
    return BY_COUNT[count]
