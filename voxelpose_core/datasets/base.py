"""What every data set of frames has in common: samples, images, the report of a check."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.skeletons import JointSet

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Sample:
    """One frame set that all cameras of a rig saw.

    Attributes:
        key: data set, sequence and frame, such as "160906_band1/00000168".
        rig: the V calibrated cameras.
        poses: (P, J, 3) true people, mm, in the data set's joint set; P may be 0.
        visible: (P, J) bool, joints that were labelled.
        person_ids: (P,) the people's numbers in the data set.
        images: per camera a BGR uint8 image (H, W, 3), or None where images were not asked for.
        keypoints: per camera the 2D detections (P', 17, 3) of a detector, x px, y px, score, COCO-17,
            or None where it has no prediction file entry; None where the data set has no such file.
    """

    key: str
    rig: Rig
    poses: np.ndarray
    visible: np.ndarray
    person_ids: np.ndarray
    images: tuple[np.ndarray, ...] | None = None
    keypoints: tuple[np.ndarray | None, ...] | None = None

    def project(self, view: int) -> tuple[np.ndarray, np.ndarray]:
        """True 2D joints of one camera: pixels (P, J, 2) and labelled and in view (P, J) bool."""
        camera = self.rig.cameras[view]
        points = self.poses.reshape(-1, 3)
        pixels, _ = camera.project(points)
        seen = camera.sees(points).reshape(self.visible.shape) & self.visible
        return pixels.reshape(*self.visible.shape, 2), seen


@dataclass(frozen=True)
class DatasetReport:
    """What a check of a folder found.

    Attributes:
        name: of the data set.
        path: the folder.
        found: what is there, one line each.
        missing: what is missing or wrong, one line each.
    """

    name: str
    path: Path
    found: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def note(self, good: bool, line: str) -> None:
        """Add a line to `found` or to `missing`."""
        (self.found if good else self.missing).append(line)


class FrameDataset(ABC):
    """A sequence of samples, readable from several processes (as torch's DataLoader does).

    A frame of which a file is broken is None and costs a warning; `broken` counts them in this
    process. Whoever collates a batch drops the Nones.

    Attributes:
        name: the name in the registry.
        joint_set: the joint set of `Sample.poses`.
        peaks_follow_scores: input heatmaps peak at the scores of the keypoints; else at 1.
        broken: frames that were lost to broken files so far.
    """

    name: str
    joint_set: JointSet
    peaks_follow_scores: bool = True

    def __init__(self):
        self.broken = 0

    @property
    def has_keypoints(self) -> bool:
        """Whether samples carry 2D detections."""
        return False

    @abstractmethod
    def __len__(self) -> int:
        """Number of frames."""

    def set_epoch(self, epoch: int) -> None:  # noqa: B027
        """Draw the samples of that epoch, where samples are drawn; recorded ones stay the same."""

    @abstractmethod
    def _read(self, index: int) -> Sample:
        """The sample; raises BrokenFrameError where a file cannot be decoded."""

    def __getitem__(self, index: int) -> Sample | None:
        if not 0 <= index < len(self):
            raise IndexError(index)
        try:
            return self._read(index)
        except BrokenFrameError as error:
            self.broken += 1
            logger.warning("%s: frame left out: %s (%d so far)", self.name, error, self.broken)
            return None

    def samples(self) -> Iterator[Sample]:
        """All frames that can be read, in order."""
        for index in range(len(self)):
            sample = self[index]
            if sample is not None:
                yield sample


class BrokenFrameError(Exception):
    """A file of one frame cannot be decoded; the message names it."""


def read_images(paths: Sequence[Path], rig: Rig) -> tuple[np.ndarray, ...]:
    """The images of one frame set, BGR uint8 (H, W, 3), one per camera.

    Raises:
        BrokenFrameError: an image is missing or cannot be decoded.
        InputError: an image has another size than its calibration says.
    """
    images = []
    for path, camera in zip(paths, rig.cameras, strict=True):
        if not path.is_file():
            raise BrokenFrameError(f"image {path} is missing")
        image = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        if image is None:
            raise BrokenFrameError(f"image {path} cannot be decoded")
        height, width = image.shape[:2]
        if (width, height) != camera.image_size:
            raise InputError(
                f"{path}: is {width}x{height}, expected "
                f"{camera.image_size[0]}x{camera.image_size[1]} as camera '{camera.name}' has"
            )
        images.append(image)
    return tuple(images)


def first_cameras(rig: Rig, count: int | None) -> Rig:
    """The rig of the first `count` cameras (None: all); InputError where it has fewer."""
    if count is None:
        return rig
    if count > len(rig):
        raise InputError(f"rig '{rig.name}' has {len(rig)} cameras, expected at least {count}")
    return rig.select(rig.names[:count])


def require_folders(image_paths: Sequence[Path]) -> None:
    """InputError for the first image whose folder is not there: no frame would have images."""
    for path in image_paths:
        if not path.parent.is_dir():
            raise InputError(f"{path.parent}: does not exist, expected images such as {path.name}")
