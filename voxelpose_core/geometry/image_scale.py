"""Images that are a scaled copy of what a camera was calibrated at."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np

from voxelpose_core.geometry.camera import Camera

# Sizes that differ by less, as a share, are off by some pixels for another reason than scaling.
_LEAST_CHANGE = 0.02
# Of smaller images a pixel is too much of the aspect, and no person can be seen.
_LEAST_SIDE = 32


def is_scaled_copy(size: tuple[int, int], camera: Camera) -> bool:
    """Whether (width, height) has the calibrated aspect, within a pixel, at another scale."""
    (width, height), (full_width, full_height) = size, camera.image_size
    if min(size) < _LEAST_SIDE:
        return False
    by_height, by_width = full_width * height / full_height, full_height * width / full_width
    same_aspect = abs(width - by_height) <= 1 or abs(height - by_width) <= 1
    factors = np.array(size) / np.array(camera.image_size)
    return same_aspect and bool((np.abs(factors - 1) > _LEAST_CHANGE).all())


def scaled_camera(camera: Camera, size: tuple[int, int]) -> Camera:
    """The camera for images that are resized to (width, height).

    Pixel (0, 0) is the centre of the top left pixel, so that resizing scales about (-0.5, -0.5), as
    `cv2.resize` does.
    """
    return dataclasses.replace(camera, image_size=size, K=_scaling(camera.image_size, size) @ camera.K)


def scaled_points(points: np.ndarray, size: tuple[int, int], new_size: tuple[int, int]) -> np.ndarray:
    """Where pixels (..., 2) of an image of (width, height) lie when it is resized to `new_size`."""
    affine = _scaling(size, new_size)
    return points * np.diag(affine)[:2] + affine[:2, 2]


def _scaling(size: tuple[int, int], new_size: tuple[int, int]) -> np.ndarray:
    """(3, 3) from homogeneous pixels of one size to those of the other."""
    x, y = np.array(new_size) / np.array(size)
    return np.array([[x, 0.0, (x - 1) / 2], [0.0, y, (y - 1) / 2], [0.0, 0.0, 1.0]])


def calibrated_size_image(image: np.ndarray, camera: Camera) -> np.ndarray:
    """The image (H, W, 3), resized to the calibrated size."""
    shrinks = image.shape[1] > camera.image_size[0]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(image, camera.image_size, interpolation=how)


def scale_note(size: tuple[int, int], camera: Camera, done: str) -> str:
    """What is done where images (width, height), px, are scaled copies, for people."""
    factor = size[0] / camera.image_size[0]
    return (
        f"camera '{camera.name}': images are {size[0]}x{size[1]}, {factor:.3g} times the calibrated "
        f"{camera.image_size[0]}x{camera.image_size[1]}: {done}"
    )
