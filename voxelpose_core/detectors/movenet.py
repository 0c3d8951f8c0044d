"""MoveNet MultiPose Lightning (Google): up to six people an image, COCO-17 keypoints."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from voxelpose_core.detectors.onnx_session import (
    TYPICAL_VIEWS,
    open_session,
    thread_count,
    verify_sha256,
)
from voxelpose_core.errors import InputError
from voxelpose_core.skeletons import COCO17

WEIGHTS = "weights/movenet_multipose_lightning.onnx"
WEIGHTS_SHA256 = "9c8e14defff2668610de3d8430a9810d5021ce7aca2f5782f3d966d8e85e957f"

# The network takes any multiple of 32. On the demo's videos larger inputs are slower and worse:
# people become larger than those it was trained on.
STRIDE = 32
INPUT_AREA = 256 * 480
SHORTEST_SIDE = 96

# The network's coordinates, times its input size, minus pixel centres. Half-way between the two
# usual conventions; measured on 1219 keypoints of frames and their mirror images (0.25 +- 0.02).
PIXEL_OFFSET = 0.25

# Typical deviation of annotators per COCO joint, relative to the person's size (COCO's keypoint
# evaluation).
COCO_SIGMAS = np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]) / 1000


def resized_to_rgb(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """BGR image (H, W, 3) -> RGB image of that (width, height).

    Halved while it is twice as large, then bilinear: a third of the time of OpenCV's area interpolation,
    which is slow for other factors, and poses that agree as well with the views.
    """
    while image.shape[1] >= 2 * size[0] and image.shape[0] >= 2 * size[1]:
        half = (image.shape[1] // 2, image.shape[0] // 2)
        image = cv2.resize(image, half, interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(cv2.resize(image, size), cv2.COLOR_BGR2RGB)


class Letterbox(NamedTuple):
    """Where an image lies in the network's input; all (width, height) or (x, y), pixels.

    Attributes:
        image_size: of the image.
        inner: what it is resized to.
        corner: where its upper left corner lies.
        outer: of the input.
    """

    image_size: tuple[int, int]
    inner: tuple[int, int]
    corner: tuple[int, int]
    outer: tuple[int, int]

    def apply(self, image: np.ndarray) -> np.ndarray:
        """BGR image (H, W, 3) -> network input (1, h, w, 3), int32 RGB, black border."""
        canvas = np.zeros((1, self.outer[1], self.outer[0], 3), np.int32)
        (x, y), (width, height) = self.corner, self.inner
        canvas[0, y : y + height, x : x + width] = resized_to_rgb(image, self.inner)
        return canvas

    def undo(self, points: np.ndarray) -> np.ndarray:
        """Network pixels (..., 2) -> image pixels (..., 2), both at pixel centres."""
        scale = np.array(self.inner) / np.array(self.image_size)
        return (points - np.array(self.corner) + 0.5) / scale - 0.5


def crop_letterbox(crop_size: tuple[int, int], whole_size: tuple[int, int]) -> Letterbox:
    """The letterbox of a crop (width, height), px, at the scale that the image of whole_size has."""
    if crop_size == whole_size:
        return letterbox(whole_size)
    scale = np.array(letterbox(whole_size).inner) / np.array(whole_size)
    inner = np.maximum(np.round(np.array(crop_size) * scale), 1).astype(int)
    outer = np.maximum(STRIDE * -(-inner // STRIDE), SHORTEST_SIDE)
    corner = (outer - inner) // 2
    return Letterbox(crop_size, *(tuple(pair.tolist()) for pair in (inner, corner, outer)))


def letterbox(image_size: tuple[int, int]) -> Letterbox:
    """The letterbox of an image (width, height), px: 480x256 for 16:9, 256x480 for 9:16."""
    width, height = image_size
    long, short = max(width, height), min(width, height)
    side = STRIDE * round((INPUT_AREA * short / long) ** 0.5 / STRIDE)
    side = max(side, SHORTEST_SIDE)
    # Not far above the usual area, however long the image is.
    length = STRIDE * -(-side * long // (short * STRIDE))
    length = max(side, min(length, INPUT_AREA // SHORTEST_SIDE // STRIDE * STRIDE))
    outer = (length, side) if width >= height else (side, length)
    scale = min(outer[0] / width, outer[1] / height)
    inner = (max(1, round(width * scale)), max(1, round(height * scale)))
    corner = ((outer[0] - inner[0]) // 2, (outer[1] - inner[1]) // 2)
    return Letterbox((width, height), inner, corner, outer)


def object_keypoint_similarity(first: np.ndarray, second: np.ndarray) -> float:
    """COCO's OKS of two people (17, 2), with the mean of their boxes' areas as their size."""
    area = np.mean([np.prod(np.ptp(person, axis=0)) for person in (first, second)])
    squares = ((first - second) ** 2).sum(axis=1)
    return float(np.exp(-squares / (2 * max(area, 1.0) * (2 * COCO_SIGMAS) ** 2)).mean())


def drop_duplicates(people: np.ndarray, threshold: float) -> np.ndarray:
    """People (P, 17, 3), best first, without those whose OKS to a better one is above threshold."""
    kept: list[np.ndarray] = []
    for person in people:
        if all(object_keypoint_similarity(person[:, :2], other[:, :2]) <= threshold for other in kept):
            kept.append(person)
    return np.array(kept, np.float32).reshape(-1, 17, 3)


class MoveNet:
    """MoveNet MultiPose Lightning through onnxruntime.

    Args:
        weights: the ONNX file; the shipped one by default.
        threads: CPU threads, 0 for all. Views run side by side.
        person_threshold: people below this score are left out. Real ones score 0.2 to 0.8 and
            hardly anything lies between 0.05 and 0.15.
        duplicate_oks: of two people more similar than this (OKS), the weaker is left out. Two real
            people in one line of sight were seen to reach 0.5.

    Raises:
        InputError: when the weights are missing or damaged.
    """

    joint_set = COCO17

    def __init__(
        self,
        weights: Path | str | None = None,
        threads: int = 0,
        person_threshold: float = 0.15,
        duplicate_oks: float = 0.7,
        device: str = "cpu",
    ):
        from voxelpose_core.resources import find_resource

        path = Path(weights) if weights is not None else find_resource(WEIGHTS)
        self._session = open_session(verify_sha256(path, WEIGHTS_SHA256), threads, device)
        self._pool = ThreadPoolExecutor(max_workers=min(thread_count(threads), TYPICAL_VIEWS))
        self.person_threshold = person_threshold
        self.duplicate_oks = duplicate_oks

    def detect(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """People (P, 17, 3) in each BGR image: see `Detector.detect`. At most six an image."""
        return self.detect_crops(images, [image.shape[1::-1] for image in images])

    def detect_crops(
        self, crops: Sequence[np.ndarray], whole_sizes: Sequence[tuple[int, int]]
    ) -> list[np.ndarray]:
        """People (P, 17, 3), px, in each crop of a larger image: see `CropDetector.detect_crops`."""
        return list(self._pool.map(self._detect_one, crops, whole_sizes))

    def _detect_one(self, image: np.ndarray, whole_size: tuple[int, int]) -> np.ndarray:
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise InputError(
                f"image of shape {image.shape} and type {image.dtype}: expected (height, width, 3) uint8, BGR"
            )
        box = crop_letterbox((image.shape[1], image.shape[0]), whole_size)
        (answer,) = self._session.run(None, {"input:0": box.apply(image)})
        return self._decode(answer[0], box)

    def _decode(self, answer: np.ndarray, box: Letterbox) -> np.ndarray:
        """Network output (6, 56) -> people (P, 17, 3) in image pixels."""
        scores = answer[:, 55]
        best_first = np.argsort(-scores, kind="stable")
        answer = answer[best_first[scores[best_first] >= self.person_threshold]]
        keypoints = answer[:, :51].reshape(-1, 17, 3).astype(np.float64)
        people = np.empty((len(keypoints), 17, 3), np.float32)
        people[..., :2] = box.undo(keypoints[..., [1, 0]] * np.array(box.outer) - PIXEL_OFFSET)
        people[..., 2] = np.clip(keypoints[..., 2], 0.0, 1.0)
        return drop_duplicates(people, self.duplicate_oks)
