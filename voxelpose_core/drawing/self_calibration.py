"""Pictures of what people say of a rig: cameras and walks from above, disagreement, feet and floor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from voxelpose_core.drawing.colors import GRID, INK, PALETTE, WHITE, Color, mix, paler, person_color
from voxelpose_core.drawing.layout import Panel
from voxelpose_core.drawing.plan import Chart, Plan
from voxelpose_core.drawing.strokes import draw_disc, draw_line, fill_polygon
from voxelpose_core.drawing.text import write_text
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.rig import Rig

_SIZE, _GAP, _HEAD = (1920, 1000), 16, 56
_BEFORE: Color = (168, 160, 152)
# Half the horizontal angle that a camera's wedge shows, for lenses that are wider, rad.
_WIDEST = 1.2
_WEDGE_PX, _DOT_PX = 64.0, 6.0
# Of feet heights, the share that the chart leaves out at each end, and its least range, mm.
_LEFT_OUT, _LEAST_RANGE_MM = 1.0, 200.0
_TEXT_PX = 15


@dataclass(frozen=True, eq=False)
class Walks:
    """Where people were, in the world of a rig, mm.

    Attributes:
        people: (K,) number of the person.
        hips: (K, 3) middle of the hips, NaN where not known.
        feet: (N, 3) lower ankles of standing poses.
    """

    people: np.ndarray
    hips: np.ndarray
    feet: np.ndarray


@dataclass(frozen=True, eq=False)
class ResidualCurves:
    """Disagreement of each camera with the others.

    Attributes:
        times: (K,) seconds.
        shares: (K, V) as shares of people's size, NaN where not known.
        label: for example "before".
    """

    times: np.ndarray
    shares: np.ndarray
    label: str = ""


@dataclass(frozen=True, eq=False)
class RigPlan:
    """One drawing from above.

    Attributes:
        title: above it.
        rig: its cameras.
        walks: in the world of the rig.
        before: the same cameras as they were given, in the same world; grey.
        labels: text beside each camera, by name.
    """

    title: str
    rig: Rig
    walks: Walks
    before: Rig | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


def draw_self_calibration(
    title: str, plans: Sequence[RigPlan], residuals: Sequence[ResidualCurves], walks: Walks, ground: float
) -> np.ndarray:
    """One picture: plans from above on the left, charts on the right.

    Args:
        title: above everything.
        plans: one or two.
        residuals: of the same cameras; the last is drawn strongly. None where there is nothing to compare.
        walks: in the world whose ground is at `ground`, mm.
        ground: height of the floor, mm.

    Returns:
        (1000, 1920, 3) uint8, BGR.
    """
    width, height = _SIZE
    picture = np.full((height, width, 3), paler(GRID, 0.75), np.uint8)
    write_text(picture, title, (_GAP + 4, 18), 24, INK)
    half = (width - 3 * _GAP) // 2
    for panel, plan in zip(_stacked(_GAP, half, len(plans)), plans, strict=True):
        panel.paste(picture, _draw_plan(plan, panel.size))
    names = plans[-1].rig.names
    upper, lower = _stacked(2 * _GAP + half, half, 2)
    upper.paste(picture, _draw_residuals(residuals, names, upper.size))
    lower.paste(picture, _draw_feet(walks, ground, lower.size))
    return picture


def _stacked(left: int, width: int, count: int) -> list[Panel]:
    height = (_SIZE[1] - _HEAD - _GAP * count) // count
    return [Panel(left, _HEAD + index * (height + _GAP), width, height) for index in range(count)]


def _draw_plan(plan: RigPlan, size: tuple[int, int]) -> np.ndarray:
    """A rig from above with the paths of people."""
    shown = [np.array([camera.C[:2] for camera in rig.cameras]) for rig in (plan.rig, plan.before) if rig]
    hips = plan.walks.hips[np.isfinite(plan.walks.hips).all(axis=-1)]
    if len(hips):
        shown.append(np.percentile(hips[:, :2], (_LEFT_OUT, 100 - _LEFT_OUT), axis=0))
    flat = Plan.fitted(np.concatenate(shown), size)
    step = flat.grid_step()
    picture = flat.paper(step)
    _draw_axes(picture, flat, step)
    _draw_paths(picture, flat, plan.walks)
    if plan.before is not None:
        for camera, moved in zip(plan.before.cameras, plan.rig.cameras, strict=True):
            _draw_camera(picture, flat, camera, _BEFORE, "")
            ends = flat.pixels(np.stack([camera.C[:2], moved.C[:2]]))
            draw_line(picture, ends[0], ends[1], 2, INK)
    for index, camera in enumerate(plan.rig.cameras):
        label = f"{camera.name} {plan.labels.get(camera.name, '')}".strip()
        _draw_camera(picture, flat, camera, PALETTE[index % len(PALETTE)], label)
    unit = f"{step / 1000:g} m" if step >= 10 else f"{step:g}"
    write_text(picture, f"{plan.title}; from above, a line every {unit}", (12, 12), 17, INK)
    return picture


def _draw_axes(picture: np.ndarray, plan: Plan, step: float) -> None:
    """x and y of the world, from its origin."""
    origin, *ends = plan.pixels(np.array([[0.0, 0], [step, 0], [0, step]]))
    for name, end in zip("xy", ends, strict=True):
        draw_line(picture, origin, end, 3, INK)
        write_text(picture, name, origin + 1.25 * (end - origin), _TEXT_PX, INK, centered=True)


def _draw_paths(picture: np.ndarray, plan: Plan, walks: Walks) -> None:
    """Where each person's hips were, later places darker."""
    for person in np.unique(walks.people):
        hips = walks.hips[(walks.people == person) & np.isfinite(walks.hips).all(axis=-1), :2]
        color = person_color(int(person) + 3)
        for share, pixel in zip(np.linspace(0, 1, len(hips)), plan.pixels(hips), strict=True):
            draw_disc(picture, pixel, 3.0, mix(paler(color, 0.6), color, float(share)))


def _draw_camera(picture: np.ndarray, plan: Plan, camera: Camera, color: Color, label: str) -> None:
    """A wedge as wide as the camera sees, a dot, and a label on the other side."""
    (at,) = plan.pixels(camera.C[None, :2])
    ahead = camera.R[2, :2] * [1, -1]
    steep = float(np.hypot(*ahead))
    ahead = ahead / steep if steep > 1e-6 else np.array([0.0, -1.0])
    width, height = camera.image_size
    rays = camera.undistort(np.array([[0.0, height / 2], [width, height / 2]]))
    half = min(float(np.arctan(np.abs(rays[:, 0]).max())), _WIDEST)
    turns = [np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]) for a in (-half, half)]
    # A camera that looks down has a short wedge.
    reach = _WEDGE_PX * max(steep, 0.25)
    rim = np.array([at, *(at + reach * turn @ ahead for turn in turns)])
    fill_polygon(picture, rim, color, 0.35)
    for corner in rim[1:]:
        draw_line(picture, at, corner, 1, color)
    draw_disc(picture, at, _DOT_PX + 1, WHITE)
    draw_disc(picture, at, _DOT_PX, color)
    half_width = write_text(np.zeros((1, 1, 3), np.uint8), label, (0, 0), _TEXT_PX, INK)[0] / 2
    size = np.array(plan.size)
    away = 16.0 + half_width * abs(ahead[0])
    place = np.clip(at - away * ahead, [half_width + 6, 40], size - [half_width + 6, 14])
    write_text(picture, label, place, _TEXT_PX, INK, centered=True)


def _draw_residuals(
    curves: Sequence[ResidualCurves], names: Sequence[str], size: tuple[int, int]
) -> np.ndarray:
    """Disagreement of each camera over time: the poses, and curves of medians over a little while."""
    title = "Disagreement with the other cameras"
    labels = [curve.label for curve in curves if curve.label]
    if len(labels) > 1:
        title += f" ({labels[0]} pale)"
    known = [curve for curve in curves if np.isfinite(curve.shares).any()]
    if not known:
        return Chart(size, f"{title}: nothing to compare", (0, 0), (1, 1), ("s", "%")).picture
    times = np.concatenate([curve.times for curve in known])
    highest = max(float(np.nanpercentile(curve.shares, 97)) for curve in known)
    low, high = (times.min(), 0.0), (max(times.max(), times.min() + 0.1), max(110 * highest, 1.0))
    chart = Chart(size, title, low, high, ("time, s", "% of a person's size"))
    for curve in known:
        strong = curve is known[-1]
        for view in range(curve.shares.shape[1]):
            color = PALETTE[view % len(PALETTE)]
            points = np.column_stack([curve.times, 100 * curve.shares[:, view]])
            points = points[np.argsort(points[:, 0], kind="stable")]
            if strong:
                chart.dots(points, paler(color, 0.45), 1.8)
            chart.curve(_smoothed(points), color if strong else paler(color, 0.55), 3 if strong else 2)
    if len(names) <= 8:
        colors = [PALETTE[view % len(PALETTE)] for view in range(len(names))]
        chart.legend(list(zip(names, colors, strict=True)))
    return chart.picture


def _smoothed(points: np.ndarray, parts: int = 24) -> np.ndarray:
    """(parts, 2) medians of both columns of (N, 2) in equal stretches of the first; NaN where nothing is."""
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points):
        return np.full((1, 2), np.nan)
    edges = np.linspace(points[0, 0], points[-1, 0] + 1e-9, parts + 1)
    place = np.clip(np.searchsorted(edges, points[:, 0], side="right") - 1, 0, parts - 1)
    rows = [np.median(points[place == part], axis=0) for part in range(parts) if (place == part).any()]
    return np.array(rows)


def _draw_feet(walks: Walks, ground: float, size: tuple[int, int]) -> np.ndarray:
    """Heights of the lower ankles along the direction in which people walked farthest, and the ground."""
    title, names = "Feet (ankle joints) and the floor", ("along the walk, m", "height, mm")
    if len(walks.feet) < 3:
        return Chart(size, f"{title}: no person stands in view", (0, -100), (1, 300), names).picture
    flat = walks.feet[:, :2] - np.median(walks.feet[:, :2], axis=0)
    along = flat @ np.linalg.svd(flat, full_matrices=False)[2][0] / 1000.0
    heights = walks.feet[:, 2]
    low, high = np.percentile(heights, (_LEFT_OUT, 100 - _LEFT_OUT))
    low, high = min(low, ground), max(high, ground)
    pad = max(0.15 * (high - low), (_LEAST_RANGE_MM - (high - low)) / 2)
    first, last = along.min() - 0.1, along.max() + 0.1
    chart = Chart(size, title, (first, low - pad), (last, high + pad), names)
    chart.curve(np.array([[first, ground], [last, ground]]), INK, 3)
    chart.dots(np.column_stack([along, heights]), PALETTE[0])
    chart.legend([("ankles", PALETTE[0]), ("ground of the rig", INK)])
    return chart.picture
