"""Flat panels drawn to scale: rectangles of the world, and charts of a value over another."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from voxelpose_core.drawing.colors import GRID, INK, WHITE, Color
from voxelpose_core.drawing.strokes import draw_disc, draw_line
from voxelpose_core.drawing.text import write_text

# Around a chart's curves, px: left, top, right, below.
_RIM = (62, 62, 18, 44)
_STEPS = (1.0, 2.0, 5.0)
_MOST_TICKS = 8


class Plan:
    """A rectangle of the world, drawn to scale; the second axis goes up.

    Args:
        low, high: (2,) its corners, mm.
        width: of the picture, pixels.
    """

    def __init__(self, low: np.ndarray, high: np.ndarray, width: int):
        self.low, self.high = np.asarray(low, float), np.asarray(high, float)
        self.scale = width / (self.high - self.low)[0]
        self.size = (width, max(1, round((self.high - self.low)[1] * self.scale)))

    @classmethod
    def fitted(cls, points: np.ndarray, size: tuple[int, int], margin: float = 0.18) -> Plan:
        """The plan of a panel of that size, pixels, that shows points (N, 2), mm, with a margin."""
        low, high = points.min(axis=0), points.max(axis=0)
        scale = float(((high - low) * (1 + 2 * margin) / size).max())
        half = max(scale, 1e-6) * np.array(size) / 2
        return cls((low + high) / 2 - half, (low + high) / 2 + half, size[0])

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """(N, 2) pixels of points (N, 2), mm."""
        flipped = (points - [self.low[0], self.high[1]]) * [1, -1]
        return flipped * self.scale

    def paper(self, step: float) -> np.ndarray:
        """A white picture with lines that are `step` mm apart."""
        picture = np.full((*self.size[::-1], 3), WHITE, np.uint8)
        for axis in (0, 1):
            first = np.ceil(self.low[axis] / step) * step
            for tick in np.arange(first, self.high[axis], step):
                ends = np.stack([self.low, self.high])
                ends[:, axis] = tick
                start, end = self.pixels(ends)
                draw_line(picture, start, end, 1, GRID)
        return picture

    def grid_step(self) -> float:
        """A round distance of lines, mm, of which the longer side has at most fourteen."""
        return round_step(float((self.high - self.low).max()), 14)


class Chart:
    """Points and curves over axes with round numbers.

    Args:
        size: (width, height) of the panel, pixels.
        title: above it.
        low, high: (2,) smallest and largest values of both axes.
        names: of both axes, with their units.
    """

    def __init__(
        self,
        size: tuple[int, int],
        title: str,
        low: Sequence[float],
        high: Sequence[float],
        names: Sequence[str],
    ):
        self._low, self._high = np.array(low, float), np.array(high, float)
        width, height = size
        self._corner = np.array([_RIM[0], height - _RIM[3]], float)
        self._extent = np.array([width - _RIM[0] - _RIM[2], height - _RIM[1] - _RIM[3]], float)
        self.picture = np.full((height, width, 3), WHITE, np.uint8)
        write_text(self.picture, title, (12, 12), 17, INK)
        self._draw_axes(names)

    def pixels(self, values: np.ndarray) -> np.ndarray:
        """(N, 2) pixels of values (N, 2); what is outside lies on the rim."""
        share = np.clip((values - self._low) / np.maximum(self._high - self._low, 1e-12), 0, 1)
        return self._corner + share * self._extent * [1, -1]

    def curve(self, values: np.ndarray, color: Color, width: int = 2) -> None:
        """Straight lines between values (N, 2); a NaN is a gap."""
        for a, b in zip(values[:-1], values[1:], strict=True):
            if np.isfinite([a, b]).all():
                start, end = self.pixels(np.array([a, b]))
                draw_line(self.picture, start, end, width, color)

    def dots(self, values: np.ndarray, color: Color, radius: float = 2.5) -> None:
        """Discs at values (N, 2)."""
        for pixel in self.pixels(values[np.isfinite(values).all(axis=1)]):
            draw_disc(self.picture, pixel, radius, color)

    def legend(self, entries: Sequence[tuple[str, Color]]) -> None:
        """Names in their colours, from the upper right to the left."""
        right = float(self.picture.shape[1] - _RIM[2])
        for name, color in reversed(entries):
            width, _ = write_text(np.zeros((1, 1, 3), np.uint8), name, (0, 0), 14, color)
            right -= width + 16
            write_text(self.picture, name, (right + 16, 14), 14, color)

    def _draw_axes(self, names: Sequence[str]) -> None:
        for axis in (0, 1):
            span = float(self._high[axis] - self._low[axis])
            step = round_step(span, _MOST_TICKS)
            first = math.ceil(self._low[axis] / step) * step
            for tick in np.arange(first, self._high[axis] + 1e-9 * span, step):
                ends = np.stack([self._low, self._high])
                ends[:, axis] = tick
                start, end = self.pixels(ends)
                draw_line(self.picture, start, end, 1, GRID)
                place = start + ([0, 12] if axis == 0 else [-24, 0])
                write_text(self.picture, f"{tick:.6g}", place, 13, INK, centered=True)
        below = self._corner + [self._extent[0] / 2, 32]
        write_text(self.picture, names[0], below, 14, INK, centered=True)
        write_text(self.picture, names[1], (12, _RIM[1] - 26), 13, INK)


def round_step(span: float, most: int) -> float:
    """The smallest of 1, 2, 5, 10, ... (and their tenths) that divides `span` into at most so many parts."""
    least = max(span, 1e-9) / most
    power = 10.0 ** math.floor(math.log10(least))
    return next((s * power for s in _STEPS if s * power >= least * (1 - 1e-9)), 10 * power)
