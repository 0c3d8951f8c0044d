"""2D front ends: images -> keypoints of people, one file each, behind one small interface."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from voxelpose_core.detectors.onnx_session import tensorrt_device
from voxelpose_core.detectors.regions import Region
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
            pixel) and score in [0, 1], best person first. P is 0 where no person is seen.
        """
        ...


@runtime_checkable
class CropDetector(Detector, Protocol):
    """A detector that is faster on a part of an image, which it sees at the scale of the whole."""

    def detect_crops(
        self, crops: Sequence[np.ndarray], whole_sizes: Sequence[tuple[int, int]]
    ) -> list[np.ndarray]:
        """Per crop the people in it, (P, J, 3): x and y in pixels of the crop, and score.

        Args:
            crops: BGR uint8 (h, w, 3).
            whole_sizes: (width, height) of the image that each was cut from.
        """
        ...


def detect_upright(
    detector: Detector,
    images: Sequence[np.ndarray],
    quarter_turns: Sequence[int],
    regions: Sequence[Region] | None = None,
) -> list[np.ndarray]:
    """The people in images that show them lying or upside down.

    Args:
        detector: finds upright people.
        images: BGR uint8 (H, W, 3).
        quarter_turns: of each image, clockwise, that make it upright.
        regions: of each image the part to look at, for a `CropDetector`; None: all of it.

    Returns:
        as `Detector.detect`, in pixels of the images as they were given.
    """
    if regions is not None:
        assert isinstance(detector, CropDetector)
        return _detect_in_regions(detector, images, quarter_turns, regions)
    upright = [turn_image(i, turns) for i, turns in zip(images, quarter_turns, strict=True)]
    found = detector.detect(upright)
    return [
        _turned_back(people, image.shape[1::-1], turns)
        for people, image, turns in zip(found, images, quarter_turns, strict=True)
    ]


def _detect_in_regions(
    detector: CropDetector,
    images: Sequence[np.ndarray],
    quarter_turns: Sequence[int],
    regions: Sequence[Region],
) -> list[np.ndarray]:
    nobody = np.zeros((0, len(detector.joint_set), 3), np.float32)
    found: list[np.ndarray] = [nobody] * len(images)
    views = [index for index, region in enumerate(regions) if not region.empty]
    crops = [regions[index].cut(images[index]) for index in views]
    turns = [quarter_turns[index] for index in views]
    answers = detector.detect_crops(
        [turn_image(crop, turn) for crop, turn in zip(crops, turns)],
        [turned_size(images[index].shape[1::-1], turn) for index, turn in zip(views, turns)],
    )
    for index, people, crop, turn in zip(views, answers, crops, turns, strict=True):
        corner = np.array([regions[index].left, regions[index].top, 0], np.float32)
        found[index] = _turned_back(people, crop.shape[1::-1], turn) + corner
    return found


def _turned_back(people: np.ndarray, size: tuple[int, int], turns: int) -> np.ndarray:
    if turns % 4 == 0:
        return people
    pixels = turn_points(people[..., :2], turned_size(size, turns), -turns)
    return np.concatenate([pixels, people[..., 2:]], axis=-1)


# Called with CPU threads (0: all) and device ("cpu", "auto", "cuda:N" or "tensorrt:N").
Factory = Callable[[int, str], Detector]


def _movenet(threads: int, device: str) -> Detector:
    from voxelpose_core.detectors.movenet import MoveNet

    return MoveNet(threads=threads, device=device)


# Factories, not classes: a detector's own dependencies are imported when it is asked for.
_DETECTORS: dict[str, Factory] = {"movenet": _movenet}
# Before a detector's name: it runs in TensorRT.
_TENSORRT = "tensorrt:"


def register_detector(name: str, factory: Factory) -> None:
    """Make `load_detector(name)` call `factory(threads, device)`."""
    _DETECTORS[name] = factory


def detector_names() -> tuple[str, ...]:
    """The names that `load_detector` knows."""
    return tuple(_DETECTORS)


def load_detector(name: str, threads: int = 0, device: str = "cpu") -> Detector:
    """The detector of that name, or in an ONNX file, ready to detect.

    Args:
        name: one of `detector_names()`, or the path of an ONNX file (docs/detectors.md says of which
            nets), or two with a comma between them: a net for single persons, and one that finds them.
            "tensorrt:" before either: on a GPU in TensorRT.
        threads: CPU threads it may use; 0 means all.
        device: "cpu", "cuda:N", or "auto": CUDA where the detector's library has it.

    Raises:
        InputError: for an unknown name (the known ones are named), a damaged file, or an unknown kind of net.
    """
    given = name.removeprefix(_TENSORRT)
    if given != name:
        device = tensorrt_device(device)
    if given in _DETECTORS:
        return _DETECTORS[given](threads, device)
    from voxelpose_core.detectors.detector_files import file_paths, load_detector_files

    if paths := file_paths(given):
        return load_detector_files(paths, threads, device)
    raise InputError(
        f"detector '{given}' is unknown: expected one of {', '.join(detector_names())}, or an ONNX file"
    )
