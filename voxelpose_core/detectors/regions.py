"""Parts of images in which people are expected, so that a detector need not look everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from voxelpose_core.geometry.camera import Camera

# A person counts in a view that sees so many of the expected joints.
MIN_JOINTS = 4
# Room around the expected joints, as a share of the person's longer side in the image: a head reaches
# beyond its joints, and people do not move as expected.
MARGIN = 0.12


class Region(NamedTuple):
    """A rectangle of whole pixels; right and bottom are the first column and row outside."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def empty(self) -> bool:
        """No pixel is inside."""
        return self.right <= self.left or self.bottom <= self.top

    def cut(self, image: np.ndarray) -> np.ndarray:
        """That part of an image (H, W, ...), not copied."""
        return image[self.top : self.bottom, self.left : self.right]


def people_regions(cameras: Sequence[Camera], people: np.ndarray) -> list[Region]:
    """Per camera the rectangle around all people, empty where it sees none of them.

    Args:
        cameras: V calibrated cameras.
        people: (Q, J, 3) expected joints, mm.
    """
    return [_region(camera, people) for camera in cameras]


def _region(camera: Camera, people: np.ndarray) -> Region:
    lows, highs = [], []
    for joints in people:
        seen = camera.sees(joints)
        if seen.sum() < MIN_JOINTS:
            continue
        pixels = camera.project(joints[seen])[0]
        low, high = pixels.min(axis=0), pixels.max(axis=0)
        margin = MARGIN * (high - low).max()
        lows.append(low - margin)
        highs.append(high + margin)
    if not lows:
        return Region(0, 0, 0, 0)
    low = np.clip(np.floor(np.min(lows, axis=0)), 0, camera.image_size).astype(int)
    high = np.clip(np.ceil(np.max(highs, axis=0)) + 1, 0, camera.image_size).astype(int)
    return Region(*low.tolist(), *high.tolist())
