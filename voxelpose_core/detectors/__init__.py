"""2D front ends: images -> keypoints of people, one file each, behind one small interface."""

from __future__ import annotations

from typing import Callable, Protocol, Sequence, runtime_checkable

import numpy as np

from voxelpose_core.errors import InputError
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


def _movenet(threads: int) -> Detector:
    from voxelpose_core.detectors.movenet import MoveNet

    return MoveNet(threads=threads)


# Factories, not classes: a detector's own dependencies are imported when it is asked for.
_DETECTORS: dict[str, Callable[[int], Detector]] = {"movenet": _movenet}


def register_detector(name: str, factory: Callable[[int], Detector]) -> None:
    """Make `load_detector(name)` call `factory(threads)`."""
    _DETECTORS[name] = factory


def detector_names() -> tuple[str, ...]:
    """The names that `load_detector` knows."""
    return tuple(_DETECTORS)


def load_detector(name: str, threads: int = 0) -> Detector:
    """The detector of that name, ready to detect.

    Args:
        name: one of `detector_names()`.
        threads: CPU threads it may use; 0 means all.

    Raises:
        InputError: for an unknown name (the known ones are named) or a damaged weights file.
    """
    if name not in _DETECTORS:
        raise InputError(
            f"detector '{name}' is unknown: expected one of {', '.join(detector_names())}"
        )
    return _DETECTORS[name](threads)
