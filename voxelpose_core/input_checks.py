"""What one camera may give to the estimator."""

from __future__ import annotations

import numpy as np

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.camera import Camera

# 2D detections of one image; more are no people.
MAX_PEOPLE = 100
# Detectors that read scores off heatmaps leave 0 to 1 by a little.
_SCORE_TOLERANCE = 0.5
# Shares of an image's width and height, of which some lie beyond its edge; and so many detected keypoints
# of a person cannot lie in one corner pixel.
_NORMALIZED = 1.5
_FEWEST_NORMALIZED = 5


def check_image(image: np.ndarray, camera: Camera) -> None:
    """InputError naming the camera, unless the image is BGR uint8 (H, W, 3) of the calibrated size."""
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
    """Poses (Q, J, 3), mm, of the people that a tracker expects; None where there are none.

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


def clipped_scores(scores: np.ndarray, where: str) -> np.ndarray:
    """Finite scores of keypoints, in an array of any shape, clipped to 0 to 1.

    Raises:
        InputError: that begins with `where` ("camera 'left': "), when a score is farther out than those of
            detectors are.
    """
    outside = (scores < -_SCORE_TOLERANCE) | (scores > 1 + _SCORE_TOLERANCE)
    if outside.any():
        raise InputError(
            f"{where}a keypoint has the score {scores[outside][0]:g}, expected 0 (not detected) to 1"
        )
    return scores.clip(0.0, 1.0)


def refuse_normalized(people: np.ndarray, where: str) -> None:
    """InputError that begins with `where`, if keypoints (P, J, 3) are no pixels but shares of an image."""
    detected = people[people[..., 2] > 0]
    if len(detected) >= _FEWEST_NORMALIZED and np.all(
        (detected[:, :2] >= -1) & (detected[:, :2] <= _NORMALIZED)
    ):
        raise InputError(
            f"{where}all keypoints have x and y between -1 and {_NORMALIZED:g}, expected pixels: multiply "
            "normalized keypoints by the width and height of the image"
        )


def check_keypoints(people: np.ndarray, camera: Camera, joints: int) -> np.ndarray:
    """float32 (P, J, 3), x px, y px, score, with non-finite and far-off values taken for missing.

    Raises:
        InputError: naming the camera, when the shape is another, a score is not from 0 to 1, or the
            coordinates are not pixels.
    """
    people = np.asarray(people, dtype=np.float32)
    if people.size == 0:
        return np.zeros((0, joints, 3), dtype=np.float32)
    if people.ndim != 3 or people.shape[1:] != (joints, 3):
        raise InputError(
            f"camera '{camera.name}': keypoints have shape {people.shape}, expected (people, {joints}, 3)"
        )
    # Pixels far outside any image would overflow the heatmap's arithmetic.
    usable = np.isfinite(people).all(axis=-1) & (np.abs(people[..., :2]) < 1e5).all(axis=-1)
    people = np.where(usable[..., None], people, 0.0).astype(np.float32)
    people[..., 2] = clipped_scores(people[..., 2], f"camera '{camera.name}': ")
    refuse_normalized(people, f"camera '{camera.name}': ")
    return people
