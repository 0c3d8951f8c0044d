"""Quarter turns of images: turned upright for a detector, and points turned back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from voxelpose_core.geometry.camera import Camera

# A camera that looks down or up within 20 degrees of the vertical has no upright.
_LEAST_UP = np.sin(np.radians(20.0))
# A camera that looks up more steeply (the sine of the angle) is a sign of a world that is not z up.
_INTO_THE_SKY = 0.6


def upright_turns(cameras: Sequence[Camera]) -> tuple[int, ...]:
    """Per camera the clockwise quarter turns that make its images upright, 0 to 3.

    Either the camera's own `quarter_turns`, or what its R says. Where a camera looks steeply up, the
    world is hardly z up, and no R is relied on.
    """
    z_up = all(camera.R[2, 2] <= _INTO_THE_SKY for camera in cameras)
    turns = []
    for camera in cameras:
        by_pose = (roll_turns(camera.R) or 0) if z_up else 0
        turns.append(by_pose if camera.quarter_turns is None else camera.quarter_turns)
    return tuple(turns)


def roll_turns(R: np.ndarray) -> int | None:
    """The roll about the optical axis as clockwise quarter turns that undo it, 0 to 3.

    Args:
        R: (3, 3) world to camera, the world z up.

    Returns:
        rounded to the nearest quarter turn; None where the camera looks straight down or up, where
        images have no upright.
    """
    right, down = R[:2, 2]
    if np.hypot(right, down) < _LEAST_UP:
        return None
    # How far clockwise of the image's own up the world's up points.
    angle = np.arctan2(right, -down)
    return int(-np.round(angle / (np.pi / 2))) % 4


def turns_in_words(quarter_turns: int) -> str:
    """For example "by 90 degrees clockwise"."""
    return (
        "by 0 degrees",
        "by 90 degrees clockwise",
        "by 180 degrees",
        "by 90 degrees counter-clockwise",
    )[quarter_turns % 4]


def turn_image(image: np.ndarray, quarter_turns: int) -> np.ndarray:
    """The image (H, W, ...) turned clockwise by that many quarter turns, contiguous in memory."""
    if quarter_turns % 4 == 0:
        return image
    return np.ascontiguousarray(np.rot90(image, -quarter_turns))


def turn_points(points: np.ndarray, image_size: tuple[int, int], quarter_turns: int) -> np.ndarray:
    """Where pixels lie after `turn_image`.

    Args:
        points: (..., 2) x, y in pixels of the image before it is turned; (0, 0) is the centre of the
            top left pixel.
        image_size: (width, height) of the image before it is turned.
        quarter_turns: clockwise.

    Returns:
        (..., 2) in pixels of the turned image, in the type of `points`.
    """
    x, y = points[..., 0], points[..., 1]
    right, bottom = image_size[0] - 1, image_size[1] - 1
    turned = ((x, y), (bottom - y, x), (right - x, bottom - y), (y, right - x))[quarter_turns % 4]
    return np.stack(turned, axis=-1)


def turn_affine(image_size: tuple[int, int], quarter_turns: int) -> np.ndarray:
    """(2, 3) affine of pixels that does what `turn_points` does."""
    origin, x, y = turn_points(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), image_size, quarter_turns)
    return np.column_stack([x - origin, y - origin, origin])


def turned_size(image_size: tuple[int, int], quarter_turns: int) -> tuple[int, int]:
    """(width, height) px of the turned image."""
    width, height = image_size
    return (height, width) if quarter_turns % 2 else (width, height)
