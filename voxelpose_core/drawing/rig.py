"""A picture of a rig: cameras, frusta, capture space and coverage, from above and in 3D."""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np

from voxelpose_core.drawing.colors import GRID, INK, PALETTE, WHITE, Color
from voxelpose_core.drawing.layout import Panel
from voxelpose_core.drawing.scene_view import best_azimuth, looking_down
from voxelpose_core.drawing.strokes import FARTHEST_PX, SUBPIXEL_BITS, fixed_point
from voxelpose_core.drawing.text import write_text
from voxelpose_core.errors import InputError
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.coverage import SPACE_HEIGHT_MM, propose_space, views_on_grid
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.geometry.space import Space

# Drawn twice as large and shrunk, so that thin lines are smooth.
_SCALE = 2
_GAP, _HEAD = 16, 92
_MARGIN_MM, _MARGIN_SHARE = 600.0, 0.1
_MAX_CELLS = 500
_CELL_MM = 30.0
_GRIDS_MM = (1e3, 5e3, 2e4, 1e5)
_ELEVATION_DEG, _FIELD_OF_VIEW_DEG = 34.0, 28.0
_FRUSTUM_SHARE = 0.10
# BGR: no camera, one camera (no depth yet), then deeper with every camera more.
_NOBODY: Color = (244, 243, 241)
_ONE: Color = (205, 218, 226)
_FEW, _MANY = np.array([214, 205, 148.0]), np.array([118, 84, 16.0])
_SPACE: Color = (52, 66, 206)


def draw_rig(rig: Rig, space: Space | None = None, size: tuple[int, int] = (1920, 1000)) -> np.ndarray:
    """Draw a rig; without a space where no two cameras see a person at one place.

    Args:
        rig: the cameras.
        space: the capture space to show; the rig's, or the proposed one, by default.
        size: (width, height) of the picture, pixels.

    Returns:
        (height, width, 3) uint8, BGR.
    """
    space = space or rig.space or _proposed(rig)
    width, height = size
    picture = np.full((height, width, 3), WHITE, np.uint8)
    half = (width - 3 * _GAP) // 2
    above = Panel(_GAP, _HEAD, half, height - _HEAD - _GAP)
    beside = Panel(2 * _GAP + half, _HEAD, half, height - _HEAD - _GAP)
    coverage = _Coverage(rig, space, above.size)
    for panel, matrix in (
        (above, _from_above(coverage, panel_size=above.size)),
        (beside, _in_perspective(rig, coverage, space, beside.size)),
    ):
        view = _View(matrix, panel.size)
        view.draw_ground(coverage)
        view.draw_metres(coverage)
        if space is not None:
            view.draw_space(space)
        for index, camera in enumerate(rig.cameras):
            view.draw_camera(camera, PALETTE[index % len(PALETTE)], coverage)
        panel.paste(picture, view.finished())
    _write_head(picture, rig, coverage, space)
    return picture


def _proposed(rig: Rig) -> Space | None:
    try:
        return propose_space(rig)
    except InputError:
        return None


class _Coverage:
    """How many cameras see a standing person at each place of the shown ground.

    Attributes:
        low, high: (2,) corners of the shown ground, mm.
        ground: its height, mm.
        counts: (X, Y) cameras that see the place.
        share: the shares of the space's floor that at least 1, 2, ... cameras see; empty without
            a space.
        frustum_mm: length of the frusta.
        grid_mm: distance of the lines on the ground.
    """

    def __init__(self, rig: Rig, space: Space | None, panel_size: tuple[int, int]):
        shown = [camera.C[:2] for camera in rig.cameras]
        if space is not None:
            shown += [space.low[:2], space.high[:2]]
        self.low, self.high = np.min(shown, axis=0), np.max(shown, axis=0)
        margin = _MARGIN_MM + _MARGIN_SHARE * float((self.high - self.low).max())
        self.low, self.high = self.low - margin, self.high + margin
        # As far as the panel reaches.
        scale = float(((self.high - self.low) / panel_size).max())
        middle, half = (self.low + self.high) / 2, scale * np.array(panel_size) / 2
        self.low, self.high = middle - half, middle + half
        extent = float((self.high - self.low).max())
        step = max(_CELL_MM, extent / _MAX_CELLS)
        xs = np.arange(self.low[0], self.high[0], step) + step / 2
        ys = np.arange(self.low[1], self.high[1], step) + step / 2
        self.step = step
        self.frustum_mm = _FRUSTUM_SHARE * extent
        self.grid_mm = next((g for g in _GRIDS_MM if extent / g < 40), extent)
        self.ground = rig.ground
        self.counts = views_on_grid(rig.cameras, xs, ys, rig.ground).sum(axis=0)
        self.share: list[float] = []
        if space is not None:
            inside = (xs >= space.low[0]) & (xs <= space.high[0])
            floor = self.counts[inside][:, (ys >= space.low[1]) & (ys <= space.high[1])]
            views = range(1, len(rig) + 1)
            self.share = [float((floor >= n).mean()) if floor.size else 0.0 for n in views]

    def colors(self, most: int) -> np.ndarray:
        """(most + 1, 3) uint8 BGR, for 0 to `most` cameras."""
        depth = np.linspace(0.0, 1.0, max(most - 1, 1))[:, None]
        colors = np.vstack([_NOBODY, _ONE, _FEW + (_MANY - _FEW) * depth])
        return colors[: most + 1].astype(np.uint8)


class _View:
    """One panel: a (3, 4) matrix takes homogeneous world mm to its homogeneous pixels."""

    def __init__(self, matrix: np.ndarray, size: tuple[int, int]):
        self._matrix = np.diag([_SCALE, _SCALE, 1.0]) @ matrix
        width, height = size
        self._picture = np.full((height * _SCALE, width * _SCALE, 3), _NOBODY, np.uint8)
        self._size = size
        self._labels: list[tuple[str, np.ndarray, Color]] = []

    def finished(self) -> np.ndarray:
        """The panel in its own size, with the labels."""
        picture = cv2.resize(self._picture, self._size, interpolation=cv2.INTER_AREA)
        for text, at, color in self._labels:
            for shift in ((-1, 0), (1, 0), (0, -1), (0, 1)):
                write_text(picture, text, np.add(at, shift), 15, WHITE, centered=True)
            write_text(picture, text, at, 15, color, centered=True)
        return picture

    def _pixels(self, points: np.ndarray) -> np.ndarray:
        homogeneous = np.column_stack([points, np.ones(len(points))]) @ self._matrix.T
        return homogeneous[:, :2] / np.maximum(homogeneous[:, 2:], 1e-6)

    def draw_ground(self, coverage: _Coverage) -> None:
        """The number of cameras at each place, as a colour."""
        content = coverage.colors(int(coverage.counts.max(initial=0)))[coverage.counts.T]
        to_ground = np.array(
            [[coverage.step, 0, coverage.low[0]], [0, coverage.step, coverage.low[1]], [0, 0, 1]]
        )
        # Cell centres lie half a cell from the corner of the ground.
        to_ground = to_ground @ np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
        origin = self._matrix @ [0.0, 0.0, coverage.ground, 1.0]
        homography = np.column_stack([self._matrix[:, :2], origin]) @ to_ground
        height, width = self._picture.shape[:2]
        cv2.warpPerspective(
            content,
            homography,
            (width, height),
            dst=self._picture,
            flags=cv2.INTER_NEAREST,
            borderMode=cv2.BORDER_TRANSPARENT,
        )

    def draw_metres(self, coverage: _Coverage) -> None:
        """Lines on the ground, every metre or more; the axes of the world darker."""
        step = coverage.grid_mm
        for axis in (0, 1):
            first, last = np.ceil(coverage.low[axis] / step), np.floor(coverage.high[axis] / step)
            for tick in np.arange(first, last + 1) * step:
                ends = np.full((2, 3), coverage.ground)
                ends[:, axis] = tick
                ends[:, 1 - axis] = coverage.low[1 - axis], coverage.high[1 - axis]
                self._lines(ends, GRID if tick else INK, 1, 0.45 if tick else 0.6)
        ticks = np.array([[0.0, 0, 0], [step, 0, 0], [0, step, 0]]) + [0, 0, coverage.ground]
        origin = self._pixels(ticks) / _SCALE
        for name, end in (("x", origin[1]), ("y", origin[2])):
            self._labels.append((name, origin[0] + 1.12 * (end - origin[0]), INK))

    def draw_space(self, space: Space) -> None:
        """The edges of the capture space, those on the floor thicker."""
        low, high = space.low, space.high
        floor = np.array([[x, y, low[2]] for x, y in _around(low, high)])
        roof = floor + [0.0, 0.0, high[2] - low[2]]
        self._lines(np.vstack([roof, roof[:1]]), _SPACE, 2, 0.8)
        for pair in zip(floor, roof):
            self._lines(np.array(pair), _SPACE, 2, 0.8)
        self._lines(np.vstack([floor, floor[:1]]), _SPACE, 4, 1.0)

    def draw_camera(self, camera: Camera, color: Color, coverage: _Coverage) -> None:
        """Its frustum, a post down to the ground, and its name."""
        width, height = camera.image_size
        corners = np.array([[0, 0], [width, 0], [width, height], [0, height], [0, 0]], float)
        # Along the border in steps: the frustum of a fisheye bulges.
        steps = np.linspace(0.0, 1.0, 9)[:-1, None]
        border = np.vstack([a + (b - a) * steps for a, b in zip(corners[:-1], corners[1:])])
        rays = np.column_stack([camera.undistort(border), np.ones(len(border))])
        rays *= coverage.frustum_mm / np.linalg.norm(rays, axis=1, keepdims=True)
        rim = rays @ camera.R + camera.C
        self._lines(np.array([camera.C, [*camera.C[:2], coverage.ground]]), color, 1, 0.6)
        apex = camera.C[None]
        self._fill(np.vstack([apex, rim]), color, 0.22)
        for corner in rim[:: len(steps)]:
            self._lines(np.vstack([apex, corner]), color, 2, 1.0)
        self._lines(np.vstack([rim, rim[:1]]), color, 2, 1.0)
        (at,) = self._pixels(apex)
        cv2.circle(self._picture, _whole(at), 6 * _SCALE, WHITE, -1, cv2.LINE_AA)
        cv2.circle(self._picture, _whole(at), 5 * _SCALE, color, -1, cv2.LINE_AA)
        # Opposite to where the camera looks, so that frustum and name do not meet.
        ahead = self._pixels(rim.mean(axis=0)[None])[0] - at
        away = -ahead / max(float(np.hypot(*ahead)), 1e-6)
        place = at / _SCALE + away * [12 + 4.5 * len(camera.name), 20]
        low = [8 + 4.5 * len(camera.name), 12]
        self._labels.append((camera.name, np.clip(place, low, np.subtract(self._size, low)), INK))

    def _lines(self, points: np.ndarray, color: Color, width: int, opacity: float) -> None:
        thick = width * _SCALE // 2 + 1

        def draw(canvas: np.ndarray, pixels: np.ndarray) -> None:
            cv2.polylines(canvas, [fixed_point(pixels)], False, color, thick, cv2.LINE_AA, SUBPIXEL_BITS)

        self._blend(draw, self._pixels(points), opacity)

    def _fill(self, points: np.ndarray, color: Color, opacity: float) -> None:
        def draw(canvas: np.ndarray, pixels: np.ndarray) -> None:
            hull = cv2.convexHull(pixels.astype(np.float32))[:, 0]
            cv2.fillConvexPoly(canvas, fixed_point(hull), color, cv2.LINE_AA, SUBPIXEL_BITS)

        self._blend(draw, self._pixels(points), opacity)

    def _blend(
        self, draw: Callable[[np.ndarray, np.ndarray], None], pixels: np.ndarray, opacity: float
    ) -> None:
        """Draw translucently, within the surroundings of pixels (N, 2)."""
        pad, extent = 4 * _SCALE, self._picture.shape[1::-1]
        low = np.clip(np.floor(pixels.min(axis=0)) - pad, 0, extent).astype(int)
        high = np.clip(np.ceil(pixels.max(axis=0)) + pad, 0, extent).astype(int)
        if (high <= low).any():
            return
        place = self._picture[low[1] : high[1], low[0] : high[0]]
        canvas = place.copy()
        draw(canvas, pixels - low)
        place[:] = cv2.addWeighted(canvas, opacity, place, 1 - opacity, 0)


def _whole(pixel: np.ndarray) -> tuple[int, int]:
    x, y = np.clip(pixel, -FARTHEST_PX, FARTHEST_PX)
    return int(round(x)), int(round(y))


def _around(low: np.ndarray, high: np.ndarray) -> list[tuple[float, float]]:
    """The corners of a rectangle on the ground, one after the other."""
    return [(low[0], low[1]), (high[0], low[1]), (high[0], high[1]), (low[0], high[1])]


def _from_above(coverage: _Coverage, panel_size: tuple[int, int]) -> np.ndarray:
    """(3, 4) parallel projection along z that fits the shown ground; y points up."""
    scale = float((np.array(panel_size) / (coverage.high - coverage.low)).min())
    middle = (coverage.low + coverage.high) / 2
    x, y = np.array(panel_size) / 2 + scale * middle * [-1, 1]
    return np.array([[scale, 0, 0, x], [0, -scale, 0, y], [0, 0, 0, 1.0]])


def _in_perspective(rig: Rig, coverage: _Coverage, space: Space | None, size: tuple[int, int]) -> np.ndarray:
    """(3, 4) projection of a virtual camera that sees all cameras and the space."""
    centers = np.array([camera.C for camera in rig.cameras])
    middle = (coverage.low + coverage.high) / 2
    ground = coverage.ground
    target = np.array([*middle, (2 * ground + centers[:, 2].mean()) / 3])
    azimuth = best_azimuth(list(centers), np.array([*middle, ground]))
    R = looking_down(azimuth, math.radians(_ELEVATION_DEG))
    back = -R[2]
    focal = 0.5 * max(size) / math.tan(math.radians(_FIELD_OF_VIEW_DEG / 2))
    K = np.array([[focal, 0, size[0] / 2], [0, focal, size[1] / 2], [0, 0, 1]])
    shown = [centers, np.column_stack([centers[:, :2], np.full(len(centers), ground)])]
    if space is not None:
        heights = ground, ground + SPACE_HEIGHT_MM
        corners = _around(space.low, space.high)
        shown += [np.array([[*xy, z] for xy in corners for z in heights])]
    points = np.vstack(shown)
    extent = float((coverage.high - coverage.low).max())
    for distance in np.geomspace(0.5, 8.0, 200) * extent:
        eye = Camera("3D view", size, K, np.zeros(5), R, target + distance * back)
        pixels, depth = eye.project(points)
        fits = np.ptp(pixels, axis=0) < 0.84 * np.array(size)
        if depth.min() > 0.1 * distance and fits.all():
            break
    # Then to the middle of the panel.
    shift = np.array(size) / 2 - (pixels.min(axis=0) + pixels.max(axis=0)) / 2
    return np.array([[1, 0, shift[0]], [0, 1, shift[1]], [0, 0, 1]]) @ eye.projection_matrix


def _write_head(picture: np.ndarray, rig: Rig, coverage: _Coverage, space: Space | None) -> None:
    """What is shown, and the colours."""
    title = f"{rig.name}: {len(rig)} cameras, a line every {coverage.grid_mm / 1000:g} m"
    write_text(picture, title, (_GAP + 4, 18), 24, INK)
    if space is None:
        line = "no two cameras see a person at one place"
    else:
        edges = " x ".join(f"{edge / 1000:.1f}" for edge in space.size)
        sees = ", ".join(
            f"{n} or more see {100 * coverage.share[n - 1]:.0f} %" for n in (2, 3) if n <= len(rig)
        )
        line = f"space {edges} m; of its floor {sees}"
    write_text(picture, line, (_GAP + 4, 54), 17, INK)
    most = int(coverage.counts.max(initial=0))
    side, right = 26, picture.shape[1] - _GAP + 6
    shown = list(range(most + 1)) if most <= 12 else sorted({*range(0, most, most // 10), most})
    left = right - len(shown) * (side + 6)
    for index, (count, color) in enumerate(zip(shown, coverage.colors(most)[shown])):
        x = left + index * (side + 6)
        swatch = (slice(40, 40 + side), slice(x, x + side))
        picture[swatch] = color
        dark = int(np.mean(color)) < 140
        ink = WHITE if dark else INK
        write_text(picture, str(count), (x + side / 2, 40 + side / 2), 14, ink, centered=True)
    caption = "cameras that see a standing person"
    text_width, _ = write_text(np.zeros((1, 1, 3), np.uint8), caption, (0, 0), 15, INK)
    write_text(picture, caption, (right - 6 - text_width, 14), 15, INK)
