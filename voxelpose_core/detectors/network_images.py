"""Images as nets take them, and people as nets answer them: letterbox, normalization, suppression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from voxelpose_core.detectors.movenet import Letterbox
from voxelpose_core.detectors.onnx_net import USUAL_SIDE, OnnxNet
from voxelpose_core.errors import InputError

# ImageNet's mean and standard deviation, RGB, of values from 0 to 255.
IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)


@dataclass(frozen=True)
class Preparation:
    """How a net wants its images.

    Attributes:
        rgb: channels in the order red, green, blue; else blue, green, red.
        mean: per channel, in the net's order; subtracted from values from 0 to 255.
        std: per channel; divides.
        border: grey value around the image.
        centred: the image lies in the middle of the input; else in its upper left corner.
    """

    rgb: bool
    mean: Sequence[float] = (0.0, 0.0, 0.0)
    std: Sequence[float] = (1.0, 1.0, 1.0)
    border: int = 114
    centred: bool = False

    def letterbox(self, image_size: tuple[int, int], outer: tuple[int, int]) -> Letterbox:
        """Where an image (width, height) lies in an input (width, height): as large as it can."""
        scale = min(outer[0] / image_size[0], outer[1] / image_size[1])
        inner = tuple(max(1, min(round(side * scale), limit)) for side, limit in zip(image_size, outer))
        rest = (outer[0] - inner[0], outer[1] - inner[1])
        corner = (rest[0] // 2, rest[1] // 2) if self.centred else (0, 0)
        return Letterbox(image_size, (inner[0], inner[1]), corner, outer)

    def boxed(self, image: np.ndarray, box: Letterbox) -> np.ndarray:
        """BGR image (H, W, 3) -> network input (1, 3, h, w), float32."""
        canvas = np.full((box.outer[1], box.outer[0], 3), self.border, np.uint8)
        (x, y), (width, height) = box.corner, box.inner
        canvas[y : y + height, x : x + width] = cv2.resize(image, box.inner, interpolation=cv2.INTER_LINEAR)
        return self.normalized(canvas)[None]

    def normalized(self, image: np.ndarray) -> np.ndarray:
        """BGR uint8 (h, w, 3) -> (3, h, w) float32."""
        ordered = image[..., ::-1] if self.rgb else image
        values = (ordered - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return np.ascontiguousarray(values.transpose(2, 0, 1))


def outer_size(
    net: OnnxNet, image_size: tuple[int, int], stride: int | None = None, side: int = USUAL_SIDE
) -> tuple[int, int]:
    """(width, height) of a net's input for an image: the net's own where it has one.

    Args:
        net: whose input it is.
        image_size: (width, height), px.
        stride: the shorter side is cut to a multiple of that, where the net takes any size; None: square.
        side: the longer one, where the net takes any size.
    """
    if net.input_size is not None:
        return net.input_size
    if stride is None:
        return side, side
    scale = side / max(image_size)
    width, height = (max(stride, stride * -(-round(length * scale) // stride)) for length in image_size)
    return width, height


def check_is_image(image: np.ndarray) -> None:
    """InputError unless it is (H, W, 3) uint8."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise InputError(
            f"image of shape {image.shape} and type {image.dtype}: expected (height, width, 3) uint8, BGR"
        )


def best_boxes(boxes: np.ndarray, scores: np.ndarray, min_score: float, max_iou: float) -> np.ndarray:
    """Indices of the boxes that stay, best first (greedy non-maximum suppression).

    Args:
        boxes: (N, 4): left, top, right, bottom.
        scores: (N,).
        min_score: boxes below it are left out, and so are those with numbers that are not finite.
        max_iou: of two boxes that overlap more (intersection over union), the weaker is left out.
    """
    # Rows of padding, and people far outside of half-precision's range.
    good = (scores >= min_score) & np.isfinite(boxes).all(axis=-1)
    candidates = np.flatnonzero(good)
    candidates = candidates[np.argsort(-scores[candidates], kind="stable")]
    kept = []
    while len(candidates):
        best, candidates = candidates[0], candidates[1:]
        kept.append(best)
        candidates = candidates[_iou(boxes[best], boxes[candidates]) <= max_iou]
    return np.array(kept, int)


def _iou(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    common = np.clip(high - low, 0, None).prod(axis=-1)
    areas = [np.clip(b[..., 2:] - b[..., :2], 0, None).prod(axis=-1) for b in (box, others)]
    return common / np.maximum(areas[0] + areas[1] - common, 1e-9)
