"""What one camera may give to the estimator."""

from __future__ import annotations

import numpy as np

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.camera import Camera


def check_image(image: np.ndarray, camera: Camera) -> None:
    """InputError naming the camera, unless the image is BGR uint8 of the calibrated size."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise InputError(f"camera '{camera.name}': image is {image.dtype} {image.shape}, expected BGR uint8")
    height, width = image.shape[:2]
    if (width, height) != camera.image_size:
        turned = (height, width) == camera.image_size
        raise InputError(
            f"camera '{camera.name}': image is {width}x{height}, but its calibration is for "
            f"{camera.image_size[0]}x{camera.image_size[1]}{': turned by 90 degrees?' * turned}"
        )


def check_previous(previous: np.ndarray | None, joints: int) -> np.ndarray | None:
    """Poses (Q, J, 3), mm, of the people whom a tracker expects; None where there are none.

    Raises:
        InputError: when the array has another shape, or a joint is not finite.
    """
    if previous is None or len(previous) == 0:
        return None
    previous = np.asarray(previous, np.float32)
    if previous.ndim != 3 or previous.shape[1:] != (joints, 3):
        raise InputError(f"previous poses are {previous.shape}, expected (people, {joints}, 3)")
    if not np.isfinite(previous).all():
        raise InputError("a previous pose has a joint that is not finite, expected millimetres")
    return previous


def check_keypoints(people: np.ndarray, camera: Camera, joints: int) -> np.ndarray:
    """float32 (P, J, 3) with non-finite and out-of-range values taken for missing."""
    people = np.asarray(people, dtype=np.float32)
    if people.size == 0:
        return np.zeros((0, joints, 3), dtype=np.float32)
    if people.ndim != 3 or people.shape[1:] != (joints, 3):
        raise InputError(
            f"camera '{camera.name}': keypoints have shape {people.shape}, expected (people, {joints}, 3)"
        )
    # Pixels far outside any image would overflow the heatmap's arithmetic.
    usable = np.isfinite(people).all(axis=-1) & (np.abs(people[..., :2]) < 1e5).all(axis=-1)
    return np.where(usable[..., None], people, 0.0).astype(np.float32)
