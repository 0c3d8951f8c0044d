"""RTMPose and RTMW (MMPose): the joints of one person in a crop, by coordinate classification (SimCC).

Source: MMPose, projects/rtmpose and its configurations: a crop 1.25 times the person's box, widened to the
shape of the input, RGB, normalized with ImageNet's mean. The net answers simcc_x (B, J, Wx) and simcc_y
(B, J, Wy): scores of positions along each axis, two per pixel of the input in the published nets
(here the ratio is that of the shapes). A joint is where each has its maximum, and its score is the lower of
the two maxima; they are no probabilities and reach somewhat above 1, which is cut to 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np

from voxelpose_core.detectors.keypoint_counts import joint_set_of
from voxelpose_core.detectors.network_images import IMAGENET_MEAN, IMAGENET_STD, Preparation, check_is_image
from voxelpose_core.detectors.one_stage import usable
from voxelpose_core.detectors.onnx_net import OnnxNet
from voxelpose_core.detectors.onnx_session import TYPICAL_VIEWS, thread_count
from voxelpose_core.detectors.person_boxes import PersonBoxes
from voxelpose_core.joint_set import JointSet

SHAPES = "RTMPose: simcc_x (1, 17, 384) and simcc_y (1, 17, 512)"
CROP_SCALE = 1.25
_PREPARATION = Preparation(rgb=True, mean=IMAGENET_MEAN, std=IMAGENET_STD)
# A crop's people need not all fit into memory.
_MOST_CROPS = 16


@dataclass(frozen=True)
class SimccNet:
    """A net for crops.

    Attributes:
        net: the file.
        joint_set: of its answers.
        input_size: (width, height), px.
        axes: which of its answers is for x, and which for y.
        ratios: positions per pixel, of x and y.
    """

    net: OnnxNet
    joint_set: JointSet
    input_size: tuple[int, int]
    axes: tuple[int, int]
    ratios: tuple[int, int]

    def keypoints(self, image: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """People (P, J, 3) in the boxes (P, 4) of a BGR image, in its pixels."""
        people = np.zeros((len(boxes), len(self.joint_set), 3), np.float32)
        for first in range(0, len(boxes), _MOST_CROPS):
            some = slice(first, first + _MOST_CROPS)
            people[some] = self._keypoints(image, boxes[some])
        return people

    def _keypoints(self, image: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        placed = [crop_of(box, self.input_size) for box in boxes]
        crops = np.stack([self._crop(image, corner, scale) for corner, scale in placed])
        answers = self.net.run(crops)
        responses = [answers[axis] for axis in self.axes]
        places = np.stack([r.argmax(axis=-1) / ratio for r, ratio in zip(responses, self.ratios)], axis=-1)
        scores = np.minimum(*(response.max(axis=-1) for response in responses))
        corners, scales = (np.array(values)[:, None] for values in zip(*placed))
        pixels = places * scales[..., None] + corners
        return usable(np.concatenate([pixels, scores[..., None]], axis=-1), pixels)

    def _crop(self, image: np.ndarray, corner: np.ndarray, scale: float) -> np.ndarray:
        """The crop as network input (3, h, w); black beyond the image."""
        warp = np.array([[1 / scale, 0, -corner[0] / scale], [0, 1 / scale, -corner[1] / scale]])
        return _PREPARATION.normalized(cv2.warpAffine(image, warp, self.input_size, flags=cv2.INTER_LINEAR))


def crop_of(box: np.ndarray, input_size: tuple[int, int]) -> tuple[np.ndarray, float]:
    """Where the crop of a box (left, top, right, bottom) lies.

    Returns:
        (x, y) in the image of the crop's pixel (0, 0), and image pixels per pixel of the crop.
    """
    size = np.array(input_size)
    scale = float((CROP_SCALE * np.maximum(box[2:4] - box[:2], 1.0) / size).max())
    return (box[:2] + box[2:4]) / 2 - scale * size / 2, scale


class TopDownDetector:
    """People in single images: boxes by one net, the joints in each by another.

    Args:
        boxes: finds people.
        net: finds the joints of one.
        threads: CPU threads, 0 for all. Views run side by side.
    """

    def __init__(self, boxes: PersonBoxes, net: SimccNet, threads: int = 0):
        self.joint_set = net.joint_set
        self.name = f"{net.net.path.name} (RTMPose), {boxes.name}"
        self._boxes, self._net = boxes, net
        self._pool = ThreadPoolExecutor(max_workers=min(thread_count(threads), TYPICAL_VIEWS))

    def detect(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """People (P, J, 3) in each BGR image, those with the best boxes first: see `Detector.detect`."""
        return list(self._pool.map(self._detect_one, images))

    def _detect_one(self, image: np.ndarray) -> np.ndarray:
        check_is_image(image)
        return self._net.keypoints(image, self._boxes.detect(image)[:, :4])


def recognize(net: OnnxNet) -> SimccNet | None:
    """The net where its answers are SimCC's; None where they are not."""
    shapes = [shape for _, shape in net.outputs]
    if not net.takes_floats or net.input_size is None or list(map(len, shapes)) != [3, 3]:
        return None
    if shapes[0][:2] != shapes[1][:2]:
        return None
    for axes in _orders([name for name, _ in net.outputs]):
        lengths = [shapes[axis][2] for axis in axes]
        if all(length >= side and length % side == 0 for length, side in zip(lengths, net.input_size)):
            x, y = (length // side for length, side in zip(lengths, net.input_size))
            joint_set = joint_set_of(net, "RTMPose", shapes[0][1])
            return SimccNet(net, joint_set, net.input_size, axes, (x, y))
    return None


def _orders(names: Sequence[str]) -> list[tuple[int, int]]:
    """Which outputs may be x and y, the likelier first: by name, else as MMDeploy writes them."""
    swapped = names[0].endswith("y") and names[1].endswith("x")
    return [(1, 0), (0, 1)] if swapped else [(0, 1), (1, 0)]
