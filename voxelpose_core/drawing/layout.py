"""Where the panels of a picture go: one per view, and the 3D view beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from voxelpose_core.drawing.strokes import blend, quarter_disc

MAX_HEIGHT, MIN_HEIGHT = 1080, 600
GAP, CORNER = 12, 12


class Panel(NamedTuple):
    """A rectangle of the picture, pixels: corner (x, y), width and height."""

    x: int
    y: int
    width: int
    height: int

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)."""
        return self.width, self.height

    def paste(self, picture: np.ndarray, content: np.ndarray) -> None:
        """Put content (height, width, 3) here, in a picture (H, W, 3), with rounded corners."""
        place = picture[self.y : self.y + self.height, self.x : self.x + self.width]
        background = place.copy()
        place[:] = content
        quarter = quarter_disc(CORNER)
        for rows, down in ((slice(0, CORNER), 1), (slice(-CORNER, None), -1)):
            for columns, right in ((slice(0, CORNER), 1), (slice(-CORNER, None), -1)):
                outside = 1.0 - quarter[::down, ::right]
                blend(place[rows, columns], background[rows, columns], outside)


class Layout(NamedTuple):
    """Places in a picture.

    Attributes:
        size: (width, height) of the picture, pixels.
        views: one panel per view.
        scene: the 3D view beside them.
    """

    size: tuple[int, int]
    views: tuple[Panel, ...]
    scene: Panel


def plan_layout(image_sizes: Sequence[tuple[int, int]], width: int = 1920) -> Layout:
    """The layout in which views and 3D view fill the picture best.

    Args:
        image_sizes: (width, height) of each view's image, pixels.
        width: of the picture, pixels.

    Returns:
        a layout at most 9/16 as high as it is wide.
    """
    aspect = float(np.median([w / h for w, h in image_sizes]))
    count = len(image_sizes)
    candidates = [
        _plan_grid(count, columns, share, aspect, width)
        for columns in range(1, count + 1)
        for share in np.arange(0.30, 0.66, 0.05).tolist()
    ]
    return max(candidates, key=lambda layout: _layout_quality(layout, width))


def _plan_grid(count: int, columns: int, share: float, aspect: float, width: int) -> Layout:
    """A grid of equal cells on at most `share` of the width, the 3D view on the rest."""
    tallest = width * MAX_HEIGHT // 1920
    rows = math.ceil(count / columns)
    cell_width = (width * share - GAP * columns) / columns
    cell_height = min(cell_width / aspect, (tallest - GAP * (rows + 1)) / rows)
    cell = (int(cell_height * aspect), int(cell_height))
    height = rows * (cell[1] + GAP) + GAP
    height = max(height, width * MIN_HEIGHT // 1920)
    height += height % 2
    top = (height - rows * (cell[1] + GAP) + GAP) // 2
    views = []
    for index in range(count):
        row, column = divmod(index, columns)
        in_row = min(columns, count - row * columns)
        indent = (columns - in_row) * (cell[0] + GAP) // 2
        x = GAP + indent + column * (cell[0] + GAP)
        views.append(Panel(x, top + row * (cell[1] + GAP), *cell))
    left = GAP + columns * (cell[0] + GAP)
    scene = Panel(left, GAP, width - GAP - left, height - 2 * GAP)
    return Layout((width, height), tuple(views), scene)


def _layout_quality(layout: Layout, width: int) -> float:
    """Larger is better: large views, no empty cell, a 3D view a little wider than high."""
    area = width * width * MAX_HEIGHT / 1920
    views = sum(panel.width * panel.height for panel in layout.views) / area
    scene = layout.scene.width * layout.scene.height / area
    columns = len({panel.x for panel in layout.views if panel.y == layout.views[0].y})
    empty = -len(layout.views) % columns / len(layout.views)
    shape = abs(math.log(layout.scene.width / layout.scene.height / 1.15))
    return 1.5 * min(views, 0.4) + min(scene, 0.5) - 0.4 * empty - 0.25 * shape
