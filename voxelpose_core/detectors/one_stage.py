"""Detectors whose one net answers all people of an image: RTMO, YOLO-pose and MoveNet files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from voxelpose_core.detectors.network_images import Preparation, best_boxes, check_is_image, outer_size
from voxelpose_core.detectors.onnx_net import USUAL_SIDE, OnnxNet
from voxelpose_core.detectors.onnx_session import TYPICAL_VIEWS, thread_count
from voxelpose_core.joint_set import JointSet


class Candidates(NamedTuple):
    """What a net answers for one image, in pixels of its input.

    Attributes:
        keypoints: (N, J, 3): x, y, score.
        scores: (N,), of the people.
        boxes: (N, 4): left, top, right, bottom.
    """

    keypoints: np.ndarray
    scores: np.ndarray
    boxes: np.ndarray


@dataclass(frozen=True)
class Family:
    """A kind of net that finds people in one stage.

    Attributes:
        name: for messages.
        joint_set: of its answers.
        preparation: of its images.
        candidates: from the net's answers for one image, and the (width, height) of its input.
        min_score: people below it are left out.
        max_iou: of two people whose boxes overlap more, the weaker is left out; 1 where the net does that.
        stride: see `outer_size`.
        side: see `outer_size`.
        offset: of the net's coordinates from those of pixel centres, in pixels of its input.
    """

    name: str
    joint_set: JointSet
    preparation: Preparation
    candidates: Callable[[list[np.ndarray], tuple[int, int]], Candidates]
    min_score: float
    max_iou: float
    stride: int | None = None
    side: int = USUAL_SIDE
    offset: float = 0.0


class OneStageDetector:
    """The people in single images by a net of one stage.

    Args:
        net: the file.
        family: how to use it.
        threads: CPU threads, 0 for all. Views run side by side.
    """

    def __init__(self, net: OnnxNet, family: Family, threads: int = 0):
        self.joint_set = family.joint_set
        self.name = f"{net.path.name} ({family.name})"
        self._net, self._family = net, family
        self._pool = ThreadPoolExecutor(max_workers=min(thread_count(threads), TYPICAL_VIEWS))

    def detect(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """People (P, J, 3) in each BGR image: see `Detector.detect`."""
        return list(self._pool.map(self._detect_one, images))

    def _detect_one(self, image: np.ndarray) -> np.ndarray:
        check_is_image(image)
        family, size = self._family, (image.shape[1], image.shape[0])
        box = family.preparation.letterbox(size, outer_size(self._net, size, family.stride, family.side))
        found = family.candidates(self._net.run(family.preparation.boxed(image, box)), box.outer)
        kept = best_boxes(found.boxes, found.scores, family.min_score, family.max_iou)
        people = np.array(found.keypoints[kept], np.float32).reshape(-1, len(self.joint_set), 3)
        return usable(people, box.undo(people[..., :2] - family.offset))


def usable(people: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """People (P, J, 3) float32 at those pixels (P, J, 2), scores cut to 0 to 1; 0 where nothing is finite."""
    result = np.concatenate([pixels, np.clip(people[..., 2:], 0.0, 1.0)], axis=-1).astype(np.float32)
    result[~np.isfinite(result).all(axis=-1)] = 0.0
    return result


def boxes_around(keypoints: np.ndarray) -> np.ndarray:
    """Boxes (N, 4) around keypoints (N, J, 2+)."""
    return np.concatenate([keypoints[..., :2].min(axis=1), keypoints[..., :2].max(axis=1)], axis=-1)
