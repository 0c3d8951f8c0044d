"""YOLO-pose as Ultralytics exports it (v8, 11, 26): one output, with or without suppression inside.

Source: Ultralytics' documentation of export and of end-to-end models. RGB from 0 to 1, the image in the
middle on grey 114. Without suppression the output is (B, 5 + 3 J, N): box (centre x, centre y, width,
height), score, J keypoints (x, y, visibility); with it, or from an end-to-end model, (B, N, 6 + 3 J): box
(left, top, right, bottom), score, class, keypoints, and rows of zeros behind the last person. A net of
keypoints without visibility has 2 J: their score is the person's. All in pixels of the input.
"""

from __future__ import annotations

import ast
from functools import partial

import numpy as np

from voxelpose_core.detectors.keypoint_counts import BY_COUNT, joint_set_of
from voxelpose_core.detectors.network_images import Preparation
from voxelpose_core.detectors.one_stage import Candidates, Family, boxes_around
from voxelpose_core.detectors.onnx_net import OnnxNet
from voxelpose_core.errors import InputError

SHAPES = "YOLO-pose: (1, 56, N) or (1, N, 57)"
NAME = "YOLO-pose"
# Ultralytics' defaults for prediction.
MIN_SCORE = 0.25
MAX_IOU = 0.7
STRIDE = 32
# Coordinates are those of pixel edges: measured as 0.53 +- 0.07 with YOLO11n-pose, on 483 keypoints of the
# demo's frames and their mirror images.
PIXEL_OFFSET = 0.5
# Rows of an output with suppression inside; Ultralytics' default is 300. Older YOLO versions answer
# (1, 25200, 57) without suppression, in another order.
MOST_ROWS = 1000


def recognize(net: OnnxNet) -> Family | None:
    """The family where the net's answer is YOLO-pose's; None where it is not."""
    if not net.takes_floats or len(net.outputs) != 1 or len(net.outputs[0][1]) != 3:
        return None
    _, rows, columns = net.outputs[0][1]
    if "task" in net.metadata and net.metadata["task"] != "pose":
        raise InputError(
            f"detector {net.path}: Ultralytics net for '{net.metadata['task']}', expected one for 'pose'"
        )
    count, values = _stated_keypoints(net)
    finished = _columns_match(columns - 6, count, values) and rows <= MOST_ROWS
    if not finished and not _columns_match(rows - 5, count, values):
        return None
    numbers = columns - 6 if finished else rows - 5
    joint_set = joint_set_of(net, NAME, count or numbers // values)
    decode = partial(_suppressed if finished else _raw, len(joint_set))
    preparation = Preparation(rgb=True, std=(255.0,) * 3, centred=True)
    max_iou = 1.0 if finished else MAX_IOU
    return Family(NAME, joint_set, preparation, decode, MIN_SCORE, max_iou, STRIDE, offset=PIXEL_OFFSET)


def _stated_keypoints(net: OnnxNet) -> tuple[int | None, int]:
    """Number of keypoints as the exporter wrote it, None where it did not, and values of each."""
    try:
        count, values = ast.literal_eval(net.metadata["kpt_shape"])
        return int(count), int(values)
    except (KeyError, ValueError, TypeError, SyntaxError):
        return None, 3


def _columns_match(numbers: int, count: int | None, values: int) -> bool:
    """Whether so many numbers are those of the keypoints."""
    if count is not None:
        return numbers == count * values
    return numbers % values == 0 and numbers // values in BY_COUNT


def _keypoints(numbers: np.ndarray, scores: np.ndarray, joints: int) -> np.ndarray:
    """Numbers (N, 3 J) or (N, 2 J) as keypoints (N, J, 3)."""
    keypoints = numbers.reshape(len(numbers), joints, numbers.shape[1] // joints)
    if keypoints.shape[2] == 3:
        return keypoints
    return np.concatenate([keypoints, np.broadcast_to(scores[:, None, None], (*keypoints.shape[:2], 1))], -1)


def _raw(joints: int, answers: list[np.ndarray], outer: tuple[int, int]) -> Candidates:
    people = answers[0][0].T
    # Thousands of rows; those of nobody need no work.
    people = people[people[:, 4] >= MIN_SCORE]
    centre, half, scores = people[:, :2], people[:, 2:4] / 2, people[:, 4]
    boxes = np.concatenate([centre - half, centre + half], axis=-1)
    return Candidates(_keypoints(people[:, 5:], scores, joints), scores, boxes)


def _suppressed(joints: int, answers: list[np.ndarray], outer: tuple[int, int]) -> Candidates:
    people = answers[0][0]
    keypoints = _keypoints(people[:, 6:], people[:, 4], joints)
    return Candidates(keypoints, people[:, 4], boxes_around(keypoints))
