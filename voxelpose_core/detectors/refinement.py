"""A second look at each 2D detection: MoveNet SinglePose Thunder on a crop, averaged with the detector."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, cast

import numpy as np

from voxelpose_core.detectors.movenet_thunder import MoveNetThunder, Square
from voxelpose_core.detectors.onnx_session import TYPICAL_VIEWS, thread_count
from voxelpose_core.errors import InputError
from voxelpose_core.skeletons import COCO17

if TYPE_CHECKING:
    from voxelpose_core.detectors import CropDetector, Detector

# Joints below this score do not say where a person is.
MIN_BOX_SCORE = 0.2
MIN_BOX_JOINTS = 4
# Side of the crop over the longer side of the person's box. Chosen with the next one on Pose2Sim's
# two-person recording (1.0 to 1.4 are equal there, 1.7 is worse).
CROP_SCALE = 1.2
# Two answers for a joint agree within this share of the person's longer side; farther apart, the crop
# may show another person. (0.06 to 0.25 differ by 2 % there.)
AGREEMENT = 0.12


class RefinedDetector:
    """A detector whose people are looked at once more, each in a crop of its own.

    Where both answers for a joint agree, the joint is their mean, and so is its score. Where they do
    not, the detector's place stays with half its score.

    Args:
        detector: finds the people; COCO-17.
        threads: CPU threads, 0 for all. People are looked at side by side.
        device: of the second stage: "cpu", "auto" or "cuda:N".

    Raises:
        InputError: when the detector has other joints, or the weights are missing or damaged.
    """

    joint_set = COCO17

    def __init__(self, detector: Detector, threads: int = 0, device: str = "cpu"):
        if detector.joint_set != COCO17:
            raise InputError(
                f"refine_detections: detector {type(detector).__name__} answers "
                f"{detector.joint_set.name}, expected one that answers {COCO17.name}"
            )
        self.detector = detector
        self._net = MoveNetThunder(threads=threads, device=device)
        self._pool = ThreadPoolExecutor(max_workers=min(thread_count(threads), TYPICAL_VIEWS))

    def detect(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """People (P, 17, 3) in each BGR image, those of the detector: see `Detector.detect`."""
        return self._refine_all(images, self.detector.detect(images))

    def detect_crops(
        self, crops: Sequence[np.ndarray], whole_sizes: Sequence[tuple[int, int]]
    ) -> list[np.ndarray]:
        """The same in crops of larger images, where the detector is one: see `CropDetector.detect_crops`."""
        detector = cast("CropDetector", self.detector)
        return self._refine_all(crops, detector.detect_crops(crops, whole_sizes))

    def _refine_all(self, images: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> list[np.ndarray]:
        crops = [(image, person) for image, people in zip(images, found, strict=True) for person in people]
        refined = self._pool.map(self._refine, *zip(*crops)) if crops else iter(())
        return [
            np.array([next(refined) for _ in people], np.float32).reshape(-1, len(COCO17), 3)
            for people in found
        ]

    def _refine(self, image: np.ndarray, person: np.ndarray) -> np.ndarray:
        low, high = person_box(person)
        size = float((high - low).max())
        # Nonsense of a detector is left as it is; a crop of that size would fill the memory.
        if not 0 < size <= 4 * max(image.shape):
            return person
        return merge(person, self._net.keypoints(image, square_around(low, high)), size)


def person_box(person: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper corner (x, y) of the box of a person's (J, 3) sure joints; of all if few are sure."""
    sure = person[:, 2] > MIN_BOX_SCORE
    pixels = person[sure if sure.sum() >= MIN_BOX_JOINTS else person[:, 2] > 0, :2]
    if not len(pixels):
        pixels = person[:, :2]
    return pixels.min(axis=0), pixels.max(axis=0)


def square_around(low: np.ndarray, high: np.ndarray) -> Square:
    """The crop for a person whose box has the corners low and high, (2,) px each."""
    side = max(1, round(CROP_SCALE * float((high - low).max())))
    column, row = np.round((low + high + 1 - side) / 2).astype(int).tolist()
    return Square(column, row, side)


def merge(person: np.ndarray, second: np.ndarray, size: float) -> np.ndarray:
    """Two answers (J, 3) for a person of this longer side (px) as one: see `RefinedDetector`."""
    distance = np.linalg.norm(second[:, :2] - person[:, :2], axis=1)
    agree = (distance <= AGREEMENT * size) & (person[:, 2] > 0)
    merged = np.where(agree[:, None], (person + second) / 2, person).astype(np.float32)
    merged[~agree, 2] = person[~agree, 2] / 2
    return merged
