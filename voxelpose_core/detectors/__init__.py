"""2D front ends: images -> keypoints of people, one file each, behind one small interface."""

from __future__ import annotations

from typing import Callable, Protocol, Sequence, runtime_checkable

import numpy as np

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.image_turns import turn_image, turn_points, turned_size
from voxelpose_core.skeletons import JointSet


@runtime_checkable
class Detector(Protocol):
    """Finds the joints of the people in single images.

    Attributes:
        joint_set: the J joints of the answers.
    """

    joint_set: JointSet

    def detect(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The people in each image.

        Args:
            images: one BGR uint8 image (H, W, 3) a view; their sizes may differ.

        Returns:
            for each image (P, J, 3) float32: x px, y px (pixel (0, 0) is the centre of the top left
            pixel) and score in [0, 1], best person first. P is 0 where nobody is seen.
        """
        ...


def detect_upright(
    detector: Detector, images: Sequence[np.ndarray], quarter_turns: Sequence[int]
) -> list[np.ndarray]:
    """The people in images that show them lying or upside down.

    Args:
        detector: finds upright people.
        images: BGR uint8 (H, W, 3).
        quarter_turns: of each image, clockwise, that make it upright.

    Returns:
        as `Detector.detect`, in pixels of the images as they were given.
    """
    upright = [turn_image(i, turns) for i, turns in zip(images, quarter_turns, strict=True)]
    found = detector.detect(upright)
    return [
        _turned_back(people, image.shape[1::-1], turns)
        for people, image, turns in zip(found, images, quarter_turns, strict=True)
    ]


def _turned_back(people: np.ndarray, size: tuple[int, int], turns: int) -> np.ndarray:
    if turns % 4 == 0:
        return people
    pixels = turn_points(people[..., :2], turned_size(size, turns), -turns)
    return np.concatenate([pixels, people[..., 2:]], axis=-1)


# Called with CPU threads (0: all) and device ("cpu", "auto" or "cuda:N").
Factory = Callable[[int, str], Detector]


def _movenet(threads: int, device: str) -> Detector:
    from voxelpose_core.detectors.movenet import MoveNet

    return MoveNet(threads=threads, device=device)


# Factories, not classes: a detector's own dependencies are imported when it is asked for.
_DETECTORS: dict[str, Factory] = {"movenet": _movenet}


def register_detector(name: str, factory: Factory) -> None:
    """Make `load_detector(name)` call `factory(threads, device)`."""
    _DETECTORS[name] = factory


def detector_names() -> tuple[str, ...]:
    """The names that `load_detector` knows."""
    return tuple(_DETECTORS)


def load_detector(name: str, threads: int = 0, device: str = "cpu") -> Detector:
    """The detector of that name, ready to detect.

    Args:
        name: one of `detector_names()`.
        threads: CPU threads it may use; 0 means all.
        device: "cpu", "cuda:N", or "auto": CUDA where the detector's library has it.

    Raises:
        InputError: for an unknown name (the known ones are named) or a damaged weights file.
    """
    if name not in _DETECTORS:
        raise InputError(
            f"detector '{name}' is unknown: expected one of {', '.join(detector_names())}"
        )
    return _DETECTORS[name](threads, device)
