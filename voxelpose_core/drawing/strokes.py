"""Smooth lines, discs, tubes and translucent areas on BGR pictures, with OpenCV."""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np

from voxelpose_core.drawing.colors import Color, Gray, darker, paler

SUBPIXEL_BITS = 4
FARTHEST_PX = 30000.0
_UNIT_CIRCLE = np.stack(
    [f(np.linspace(0, 2 * math.pi, 24, endpoint=False)) for f in (np.cos, np.sin)], axis=1
)


def color_at(picture: np.ndarray, point: np.ndarray) -> Color:
    """The colour of a picture (H, W, 3) at a point (2,) px; at its edge for points outside."""
    height, width = picture.shape[:2]
    x, y = (int(np.clip(v, 0, side - 1)) for v, side in zip(point, (width, height)))
    blue, green, red = (int(v) for v in picture[y, x])
    return blue, green, red


def fixed_point(points: np.ndarray) -> np.ndarray:
    """Pixels (..., 2) as cv2's fixed-point coordinates."""
    clipped = np.clip(points, -FARTHEST_PX, FARTHEST_PX)
    return np.round(clipped * (1 << SUBPIXEL_BITS)).astype(np.int32)


def draw_line(picture: np.ndarray, a: np.ndarray, b: np.ndarray, width: int, color: Color) -> None:
    """A line of a picture (H, W, 3) from a to b, (2,) px each."""
    start, end = (tuple(int(v) for v in point) for point in fixed_point(np.array([a, b])))
    cv2.line(picture, start, end, color, width, cv2.LINE_AA, SUBPIXEL_BITS)


def draw_disc(picture: np.ndarray, center: np.ndarray, radius: float, color: Color | Gray) -> None:
    """A disc around center (2,), px, in a picture (H, W, 3) or (H, W)."""
    # As a polygon: OpenCV's circles of a few pixels look like diamonds.
    outline = np.asarray(center) + radius * _UNIT_CIRCLE
    cv2.fillConvexPoly(picture, fixed_point(outline), color, cv2.LINE_AA, SUBPIXEL_BITS)


def draw_capsule(
    picture: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    radius_a: float,
    radius_b: float,
    color: Color | Gray,
) -> None:
    """A stroke from a to b, (2,) px each, with round ends of two radii, px; picture (H, W, 3) or (H, W)."""
    along = b - a
    length = float(np.hypot(*along))
    if length > 1e-6:
        normal = np.array([-along[1], along[0]]) / length
        side_a, side_b = normal * radius_a, normal * radius_b
        outline = np.array([a + side_a, b + side_b, b - side_b, a - side_a])
        cv2.fillConvexPoly(picture, fixed_point(outline), color, cv2.LINE_AA, SUBPIXEL_BITS)
    draw_disc(picture, a, radius_a, color)
    draw_disc(picture, b, radius_b, color)


def draw_tube(picture: np.ndarray, a: np.ndarray, b: np.ndarray, radii: np.ndarray, color: Color) -> None:
    """A capsule from a to b, (2,) px each, with radii (2,) px at its ends, lit from the upper left."""
    draw_capsule(picture, a, b, radii[0] + 1.2, radii[1] + 1.2, darker(color, 0.62))
    draw_capsule(picture, a, b, radii[0], radii[1], color)
    lit = np.array([-0.28, -0.34])
    draw_capsule(
        picture,
        a + lit * radii[0],
        b + lit * radii[1],
        0.42 * radii[0],
        0.42 * radii[1],
        paler(color, 0.38),
    )


def draw_texture(picture: np.ndarray, content: np.ndarray, quad: np.ndarray, opacity: float) -> None:
    """Stretch content over a quad (4, 2) of the picture."""
    height, width = picture.shape[:2]
    low = np.clip(np.floor(quad.min(axis=0)).astype(int), 0, [width, height])
    high = np.clip(np.ceil(quad.max(axis=0)).astype(int) + 1, 0, [width, height])
    size = high - low
    if (size < 2).any():
        return
    # First shrunk: warping a large image onto a small quad would leave out most of its pixels.
    shrink = min(1.0, 1.5 * float(size.max()) / max(content.shape[:2]))
    content = cv2.resize(content, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    h, w = content.shape[:2]
    source = np.array([[0, 0], [w, 0], [w, h], [0, h]], np.float32) - 0.5
    homography = cv2.getPerspectiveTransform(source, (quad - low).astype(np.float32))
    window = tuple(int(v) for v in size)
    warped = cv2.warpPerspective(content, homography, window, flags=cv2.INTER_LINEAR)
    mask = np.zeros((window[1], window[0]), np.uint8)
    cv2.fillConvexPoly(mask, fixed_point(quad - low), 255, cv2.LINE_AA, SUBPIXEL_BITS)
    blend(picture[low[1] : high[1], low[0] : high[0]], warped, mask * (opacity / 255.0))


@lru_cache
def quarter_disc(radius: int) -> np.ndarray:
    """(radius, radius) coverage of a disc's top left quarter."""
    mask = np.zeros((radius, radius), np.uint8)
    draw_disc(mask, np.array([radius - 0.5, radius - 0.5]), radius, (255,))
    return mask / 255.0


def blend(place: np.ndarray, content: np.ndarray | Color, alpha: np.ndarray) -> None:
    """Lay content (h, w, 3), or a colour, over a place of a picture; alpha (h, w), 0 to 1."""
    over = np.asarray(content, np.float32) - place
    place[:] = np.round(place + over * alpha[..., None].astype(np.float32)).astype(np.uint8)


def fill_polygon(picture: np.ndarray, points: np.ndarray, color: Color, opacity: float) -> None:
    """A translucent convex polygon (N, 2), px, in a picture (H, W, 3)."""
    height, width = picture.shape[:2]
    low = np.clip(np.floor(points.min(axis=0)).astype(int) - 1, 0, [width, height])
    high = np.clip(np.ceil(points.max(axis=0)).astype(int) + 2, 0, [width, height])
    if (high <= low).any():
        return
    mask = np.zeros((high[1] - low[1], high[0] - low[0]), np.uint8)
    cv2.fillConvexPoly(mask, fixed_point(points - low), 255, cv2.LINE_AA, SUBPIXEL_BITS)
    place = picture[low[1] : high[1], low[0] : high[0]]
    blend(place, color, mask * (opacity / 255.0))
