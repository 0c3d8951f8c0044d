"""Quarter turns of images: turned upright for a detector, and points turned back."""

from __future__ import annotations

import numpy as np


def turn_image(image: np.ndarray, quarter_turns: int) -> np.ndarray:
    """The image (H, W, ...) turned clockwise by that many quarter turns, contiguous in memory."""
    if quarter_turns % 4 == 0:
        return image
    return np.ascontiguousarray(np.rot90(image, -quarter_turns))


def turn_points(
    points: np.ndarray, image_size: tuple[int, int], quarter_turns: int
) -> np.ndarray:
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


def turned_size(image_size: tuple[int, int], quarter_turns: int) -> tuple[int, int]:
    """(width, height) of the turned image."""
    width, height = image_size
    return (height, width) if quarter_turns % 2 else (width, height)
