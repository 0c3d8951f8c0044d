"""RTMO (MMPose) as MMDeploy exports it: dets (B, N, 5) and keypoints (B, N, J, 3).

Source: MMPose, projects/rtmo and its configurations: BGR from 0 to 255, not normalized; the image in the
upper left corner on grey 114; non-maximum suppression at an IoU of 0.65. Two people are the same by their
boxes; the file has suppressed most of them already.
"""

from __future__ import annotations

import numpy as np

from voxelpose_core.detectors.keypoint_counts import joint_set_of
from voxelpose_core.detectors.network_images import Preparation
from voxelpose_core.detectors.one_stage import Candidates, Family
from voxelpose_core.detectors.onnx_net import OnnxNet

SHAPES = "RTMO: dets (1, N, 5) and keypoints (1, N, 17, 3)"
MIN_SCORE = 0.3
MAX_IOU = 0.65


def recognize(net: OnnxNet) -> Family | None:
    """The family where the net's answers are RTMO's; None where they are not."""
    by_rank = sorted(range(len(net.outputs)), key=lambda index: len(net.outputs[index][1]))
    shapes = [net.outputs[index][1] for index in by_rank]
    if not net.takes_floats or [len(shape) for shape in shapes] != [3, 4]:
        return None
    if shapes[0][2] != 5 or shapes[1][3] != 3 or shapes[0][1] != shapes[1][1]:
        return None
    dets, keypoints = by_rank

    def candidates(answers: list[np.ndarray], outer: tuple[int, int]) -> Candidates:
        boxes = answers[dets][0]
        return Candidates(answers[keypoints][0], boxes[:, 4], boxes[:, :4])

    joint_set = joint_set_of(net, "RTMO", shapes[1][2])
    return Family("RTMO", joint_set, Preparation(rgb=False), candidates, MIN_SCORE, MAX_IOU)
