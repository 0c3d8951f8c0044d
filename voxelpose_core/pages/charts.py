"""Charts as inline SVG, in the page's colours."""

from __future__ import annotations

import html
import math
import warnings
from collections.abc import Mapping, Sequence

import numpy as np

# A chart is so wide in its own units; the page scales it.
WIDTH = 600.0
# No more points than can be told apart.
_BINS = 200
_ROUND = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)


def binned(times: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Medians of values (T,) at times (T,), in at most 200 bins of equal numbers of frame sets; NaN: none."""
    bins = np.array_split(np.arange(len(times)), min(len(times), _BINS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a bin of NaN only
        middles = [float(np.nanmedian(values[rows])) for rows in bins]
    return np.array([times[rows].mean() for rows in bins]), np.array(middles)


def line_chart(times: np.ndarray, values: np.ndarray, top: float, height: float = 44.0) -> str:
    """Values (T,) over times (T,), rising, from 0 to `top`; a gap where they are NaN."""
    at, middles = binned(times, values)
    x, y = _across(at, times), height - (height - 3.0) * np.clip(middles / max(top, 1e-9), 0, 1)
    pieces, dots, pen = [], [], "M"
    for index, known in enumerate(np.isfinite(middles)):
        if known:
            pieces.append(f"{pen}{x[index]:.1f} {y[index]:.1f}")
            alone = pen == "M" and (index + 1 == len(middles) or not np.isfinite(middles[index + 1]))
            if alone:
                dots.append(f'<circle cx="{x[index]:.1f}" cy="{y[index]:.1f}" r="2" class="dot"/>')
        pen = "L" if known else "M"
    return _svg(height, f'<path d="{" ".join(pieces)}" class="line"/>{"".join(dots)}')


def step_chart(times: np.ndarray, counts: Sequence[int], height: float = 60.0) -> str:
    """Numbers (T,) of people over times (T,), as an area of steps."""
    top = max(1, *counts)
    edges = _edges(times)
    path = [f"M0 {height}"]
    starts = _runs(np.asarray(counts))
    for start, end in zip(starts, starts[1:]):
        y = height - (height - 3.0) * counts[start] / top
        path.append(f"L{edges[start]:.1f} {y:.1f} L{edges[end]:.1f} {y:.1f}")
    path.append(f"L{WIDTH} {height} Z")
    return _svg(height, f'<path d="{" ".join(path)}" class="area"/>')


def presence_chart(times: np.ndarray, shares: np.ndarray, color: str) -> str:
    """Shares (T,) of a person's joints over times (T,), as a bar; empty where the person is not there."""
    height, edges = 16.0, _edges(times)
    levels = np.where(np.isfinite(shares), np.round(5 * np.nan_to_num(shares)), -1)
    starts, parts = _runs(levels), []
    for start, end in zip(starts, starts[1:]):
        if levels[start] >= 0:
            x, width = edges[start], max(0.7, edges[end] - edges[start])
            strength = 0.25 + 0.75 * levels[start] / 5
            parts.append(
                f'<rect x="{x:.1f}" y="1" width="{width:.1f}" height="14" fill="{color}" '
                f'fill-opacity="{strength:.2f}"/>'
            )
    return _svg(height, "".join(parts))


def stage_bar(stages_ms: Mapping[str, float]) -> str:
    """Milliseconds of the stages, as parts of one bar."""
    total, x, parts = sum(stages_ms.values()), 0.0, []
    for index, (stage, milliseconds) in enumerate(stages_ms.items()):
        width = WIDTH * milliseconds / max(total, 1e-9)
        strength = 0.9 - 0.6 * index / max(1, len(stages_ms) - 1)
        parts.append(
            f'<rect x="{x:.1f}" y="0" width="{max(0.0, width - 1):.1f}" height="18" class="part" '
            f'fill-opacity="{strength:.2f}"><title>{html.escape(stage)} {milliseconds:.1f} ms</title></rect>'
        )
        x += width
    return _svg(18.0, "".join(parts))


def nice_top(largest: float) -> float:
    """A round number (1, 1.5, 2, 3 ...) that is not below the largest value; 1 where there is none."""
    if not (math.isfinite(largest) and largest > 0):
        return 1.0
    base = 10.0 ** math.floor(math.log10(largest))
    return next(step * base for step in _ROUND if step * base >= largest * (1 - 1e-9))


def _runs(values: np.ndarray) -> list[int]:
    """Where runs of equal values begin, and the end: one shape each."""
    return [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]


def _across(at: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Places across the chart of times."""
    span = float(times[-1] - times[0])
    return WIDTH * (at - times[0]) / span if span > 0 else np.full(len(at), WIDTH / 2)


def _edges(times: np.ndarray) -> np.ndarray:
    """(T + 1,) places where each time's column begins, and the last one ends."""
    if len(times) < 2:
        return np.array([0.0, WIDTH])
    middles = _across((times[1:] + times[:-1]) / 2, times)
    return np.array([0.0, *middles, WIDTH])


def _svg(height: float, content: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH:g} {height:g}" preserveAspectRatio="none">{content}</svg>'
