"""MoveNet (Google) in ONNX files of the user's own: MultiPose, and SinglePose for one person in the image.

Source: Google's model cards. Images are RGB from 0 to 255, with black around them. MultiPose answers
(B, 6, 56): 17 keypoints (y, x, score), a box and a score; SinglePose (B, 1, 17, 3): y, x, score; all
relative to the input. SinglePose has no score of the person: it is the mean of the keypoints'.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from voxelpose_core.detectors.movenet import PIXEL_OFFSET, STRIDE, object_keypoint_similarity
from voxelpose_core.detectors.network_images import Preparation
from voxelpose_core.detectors.one_stage import Candidates, Family, boxes_around
from voxelpose_core.detectors.onnx_net import OnnxNet
from voxelpose_core.skeletons import COCO17

SHAPES = "MoveNet: (1, 6, 56) or (1, 1, 17, 3)"
# As for the shipped MoveNet.
MIN_SCORE = 0.15
DUPLICATE_OKS = 0.7
MIN_MEAN_SCORE = 0.2
# Longer side of the input where the net takes any size.
SIDE = 480


def recognize(net: OnnxNet) -> Family | None:
    """The family where the net's answer is MoveNet's; None where it is not."""
    shapes = [shape for _, shape in net.outputs]
    if shapes == [(1, 6, 56)]:
        return _family("MoveNet MultiPose", _several, MIN_SCORE)
    if shapes == [(1, 1, 17, 3)]:
        return _family("MoveNet SinglePose", _single, MIN_MEAN_SCORE)
    return None


def _family(
    name: str, candidates: Callable[[list[np.ndarray], tuple[int, int]], Candidates], min_score: float
) -> Family:
    preparation = Preparation(rgb=True, border=0, centred=True)
    return Family(name, COCO17, preparation, candidates, min_score, 1.0, STRIDE, SIDE, PIXEL_OFFSET)


def _in_pixels(answer: np.ndarray, outer: tuple[int, int]) -> np.ndarray:
    """Keypoints (N, 17, 3) y, x, score, relative -> x, y in pixels of the input, score."""
    keypoints = answer[..., [1, 0, 2]].astype(np.float64)
    keypoints[..., :2] = keypoints[..., :2] * np.array(outer)
    return keypoints


def _several(answers: list[np.ndarray], outer: tuple[int, int]) -> Candidates:
    answer = answers[0][0]
    scores = answer[:, 55].copy()
    keypoints = _in_pixels(answer[:, :51].reshape(-1, 17, 3), outer)
    better: list[int] = []
    for person in np.argsort(-scores, kind="stable"):
        places = keypoints[person, :, :2]
        if any(object_keypoint_similarity(places, keypoints[b, :, :2]) > DUPLICATE_OKS for b in better):
            scores[person] = 0.0
        else:
            better.append(person)
    return Candidates(keypoints, scores, boxes_around(keypoints))


def _single(answers: list[np.ndarray], outer: tuple[int, int]) -> Candidates:
    keypoints = _in_pixels(answers[0][0], outer)
    return Candidates(keypoints, keypoints[..., 2].mean(axis=1), boxes_around(keypoints))
