"""Nets that find people's boxes, for a net that sees one person at a time: RTMDet and YOLOX.

Sources: MMDetection's and MMPose's configurations of RTMDet and YOLOX, MMDeploy's outputs, and YOLOX's own
export. All want the image in the upper left corner on grey 114, blue first. MMDeploy's files answer dets
(B, N, 5) and labels (B, N) after suppression, RTMDet and YOLOX alike; RTMDet is normalized with ImageNet's
mean, YOLOX is not. They differ in their first operator: YOLOX slices the image into four, RTMDet does
not. YOLOX's own files answer (B, N, 5 + classes) for all cells of the strides 8, 16 and 32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from voxelpose_core.detectors.network_images import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Preparation,
    best_boxes,
    outer_size,
)
from voxelpose_core.detectors.onnx_net import USUAL_SIDE, OnnxNet

SHAPES = "RTMDet or YOLOX: dets (1, N, 5) and labels (1, N), or YOLOX: (1, N, 85) or (1, N, 6)"
PERSON = 0
# MMPose's defaults of its top-down demonstration, and YOLOX's.
MIN_SCORE = 0.3
MAX_IOU = 0.45
_STRIDES = (8, 16, 32)
# COCO's classes, or people only.
_CLASSES = (80, 1)
_NORMALIZED = Preparation(rgb=False, mean=IMAGENET_MEAN[::-1], std=IMAGENET_STD[::-1])
_PLAIN = Preparation(rgb=False)


@dataclass(frozen=True)
class BoxFamily:
    """A kind of net that finds boxes.

    Attributes:
        name: for messages.
        preparation: of its images.
        boxes: from the net's answers for one image: (N, 4) left, top, right, bottom in pixels of its input,
            and scores (N,); of people only.
    """

    name: str
    preparation: Preparation
    boxes: Callable[[list[np.ndarray]], tuple[np.ndarray, np.ndarray]]


class PersonBoxes:
    """Boxes of people in single images.

    Args:
        net: the file.
        family: how to use it.
    """

    def __init__(self, net: OnnxNet, family: BoxFamily):
        self.name = f"{net.path.name} ({family.name})"
        self._net, self._family = net, family

    def detect(self, image: np.ndarray) -> np.ndarray:
        """Boxes (P, 5) in a BGR image: left, top, right, bottom in its pixels, and score; best first."""
        preparation, size = self._family.preparation, (image.shape[1], image.shape[0])
        box = preparation.letterbox(size, outer_size(self._net, size))
        boxes, scores = self._family.boxes(self._net.run(preparation.boxed(image, box)))
        kept = best_boxes(boxes, scores, MIN_SCORE, MAX_IOU)
        corners = box.undo(boxes[kept].reshape(-1, 2, 2)).reshape(-1, 4)
        return np.column_stack([corners, scores[kept]])


def recognize(net: OnnxNet) -> BoxFamily | None:
    """The family where the net's answers are boxes of people; None where they are not."""
    if not net.takes_floats:
        return None
    shapes = [shape for _, shape in net.outputs]
    if sorted(map(len, shapes)) == [2, 3]:
        dets, labels = sorted(range(2), key=lambda index: -len(shapes[index]))
        if shapes[dets][2] == 5 and shapes[dets][1] == shapes[labels][1]:
            sliced = "Slice" in net.input_operators()
            name, preparation = ("YOLOX", _PLAIN) if sliced else ("RTMDet", _NORMALIZED)
            return BoxFamily(name, preparation, partial(_labelled, dets, labels))
    size = net.input_size or (USUAL_SIDE, USUAL_SIDE)
    if len(shapes) == 1 and len(shapes[0]) == 3 and shapes[0][1] == len(_cells(size)):
        if shapes[0][2] - 5 in _CLASSES:
            return BoxFamily("YOLOX", _PLAIN, partial(_yolox, _cells(size)))
    return None


def _labelled(dets: int, labels: int, answers: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    people = answers[dets][0][answers[labels][0] == PERSON]
    return people[:, :4], people[:, 4]


def _cells(size: tuple[int, int]) -> np.ndarray:
    """(N, 3): column and row of each cell, and its stride, for an input (width, height)."""
    cells = []
    for stride in _STRIDES:
        rows, columns = np.indices((size[1] // stride, size[0] // stride)).reshape(2, -1)
        cells.append(np.column_stack([columns, rows, np.full(len(rows), stride)]))
    return np.concatenate(cells)


def _yolox(cells: np.ndarray, answers: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Boxes and scores of one image from (1, N, 5 + classes), relative to the cells or in pixels."""
    answer = answers[0][0].astype(np.float64)
    centres, sizes = answer[:, :2], answer[:, 2:4]
    # Relative centres lie in or near their cell; those in pixels are spread over the image.
    if np.median(np.abs(centres)) < _STRIDES[0]:
        centres = (centres + cells[:, :2]) * cells[:, 2:]
        sizes = np.exp(np.minimum(sizes, 20.0)) * cells[:, 2:]
    boxes = np.concatenate([centres - sizes / 2, centres + sizes / 2], axis=-1)
    classes = answer[:, 5:]
    scores = np.where(classes.argmax(axis=1) == PERSON, answer[:, 4] * classes[:, PERSON], 0.0)
    return boxes, scores
