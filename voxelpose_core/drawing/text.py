"""Lines of text, name plates and badges on BGR pictures."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from voxelpose_core.drawing.colors import INK, WHITE, Color
from voxelpose_core.drawing.strokes import blend, draw_capsule, draw_disc


def write_text(
    picture: np.ndarray,
    text: str,
    at: Sequence[float] | np.ndarray,
    height: int,
    color: Color,
    centered: bool = False,
) -> tuple[int, int]:
    """Write one line, smoother than OpenCV does at small sizes.

    Args:
        picture: (H, W, 3), changed in place.
        text: ASCII.
        at: (x, y) of its top left corner, or of its middle when centered, pixels.
        height: of a capital letter's line, pixels.
        color: BGR.

    Returns:
        (width, height) of the text, pixels.
    """
    mask = _text_mask(text, height)
    if mask is None:
        return 0, 0
    h, w = mask.shape
    x, y = (int(round(v)) for v in at)
    if centered:
        x, y = x - w // 2, y - h // 2
    left, top = max(x, 0), max(y, 0)
    right, bottom = min(x + w, picture.shape[1]), min(y + h, picture.shape[0])
    if left < right and top < bottom:
        covered = mask[top - y : bottom - y, left - x : right - x]
        blend(picture[top:bottom, left:right], color, covered)
    return w, h


def _text_mask(text: str, height: int) -> np.ndarray | None:
    """(h, w) float coverage of a line of text, drawn large and shrunk."""
    if not text:
        return None
    large, face = 4, cv2.FONT_HERSHEY_SIMPLEX
    scale = cv2.getFontScaleFromHeight(face, round(0.72 * height * large))
    stroke = max(1, round(0.11 * height * large))
    (width, above), below = cv2.getTextSize(text, face, scale, stroke)
    canvas = np.zeros((above + below + 2 * stroke, width + 2 * stroke), np.uint8)
    cv2.putText(canvas, text, (stroke, above + stroke), face, scale, 255, stroke, cv2.LINE_AA)
    small = (max(1, canvas.shape[1] // large), max(1, canvas.shape[0] // large))
    return cv2.resize(canvas, small, interpolation=cv2.INTER_AREA) / 255.0


def draw_tag(picture: np.ndarray, text: str, corner: Sequence[int]) -> None:
    """Text on a small translucent plate with round ends, in a picture (H, W, 3)."""
    mask = _text_mask(text, 14)
    if mask is None:
        return
    (x, y), (h, w) = corner, mask.shape
    radius = h / 2 + 4
    plate = np.zeros(picture.shape[:2], np.uint8)[: y + h + 10]
    left, right = np.array([x + radius, y + radius]), np.array([x + w + radius, y + radius])
    draw_capsule(plate, left, right, radius, radius, (255,))
    blend(picture[: plate.shape[0]], INK, plate * (0.7 / 255.0))
    write_text(picture, text, (x + radius, y + 4), 14, WHITE)


def draw_badge(picture: np.ndarray, text: str, center: np.ndarray, color: Color) -> None:
    """A number in a disc around center (2,), px, in a picture (H, W, 3)."""
    draw_disc(picture, center, 13.0, WHITE)
    draw_disc(picture, center, 11.5, color)
    write_text(picture, text, center, 15, WHITE, centered=True)
