"""Time offsets of cameras from people's epipolar distances, searched over seconds: the first guess.

For each pair of cameras and each shift of one against the other, people's distance from being the same person
is averaged over the recording; where people move, it has a sharp minimum at the right shift. The offsets that
fit all pairs together are searched on these tables.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from voxelpose_core.geometry.camera import Camera
from voxelpose_core.self_calibration.epipolar import (
    ViewOverTime,
    median_shares,
    sampson_shares,
    view_over_time,
)
from voxelpose_core.self_calibration.tracks_2d import Track2D

STEP_S = 0.05
# Times at which two cameras are compared.
_TIMES = 80
_LEAST_TIMES = 8
# Distances below this share of people's size are detectors' noise, above a whole person nothing is learned.
_NOISE_SHARE, _FAR_SHARE = 0.01, 1.0
# Fewer comparisons than this share of the most at any shift: the shift leaves too little to compare.
_LEAST_OVERLAP = 0.4
# Sweeps over the cameras until no offset changes.
_SWEEPS = 20


@dataclass(frozen=True, eq=False)
class OffsetTable:
    """Mean log distances of a pair of cameras, by the shift of the second against the first.

    Attributes:
        one, other: the cameras.
        costs: (S,) for shifts from -search to +search in steps of `STEP_S`: what is to be added to the stamps
            of `other` to agree with those of `one`. NaN where too little can be compared.
    """

    one: int
    other: int
    costs: np.ndarray

    @property
    def contrast(self) -> float:
        """How far the least cost lies below the usual, as a difference of logarithms; 0: nothing known."""
        known = self.costs[np.isfinite(self.costs)]
        return float(np.median(known) - known.min()) if len(known) > 2 else 0.0


def offset_tables(
    cameras: Sequence[Camera], tracks: list[list[Track2D]], joints: int, search_s: float
) -> list[OffsetTable]:
    """One per pair of cameras that see people at times that the search can bring together."""
    reach = round(search_s / STEP_S)
    grids, views = [], []
    for camera, own in zip(cameras, tracks, strict=True):
        start = min((t.times[0] for t in own), default=0.0)
        end = max((t.times[-1] for t in own), default=-1.0)
        # Multiples of the step, so that shifted grids of different cameras coincide.
        grid = np.arange(int(np.ceil(start / STEP_S)), int(np.floor(end / STEP_S)) + 1)
        grids.append(grid)
        views.append(view_over_time(camera, own, grid * STEP_S, joints))
    tables = []
    for one, other in itertools.combinations(range(len(cameras)), 2):
        costs = _costs(views[one], grids[one], views[other], grids[other], reach)
        if np.isfinite(costs).any():
            tables.append(OffsetTable(one, other, costs))
    return tables


def _costs(
    a: ViewOverTime, grid_a: np.ndarray, b: ViewOverTime, grid_b: np.ndarray, reach: int
) -> np.ndarray:
    """(2 reach + 1,) mean log distances by shift."""
    shifts = np.arange(-reach, reach + 1)
    costs, counts = np.full(len(shifts), np.nan), np.zeros(len(shifts), int)
    there = np.flatnonzero((a.tracks >= 0).any(axis=1))
    if len(there) < _LEAST_TIMES or not len(grid_b):
        return costs
    chosen = there[np.linspace(0, len(there) - 1, min(_TIMES, len(there))).astype(int)]
    sample = a.at(chosen)
    for number, shift in enumerate(shifts.tolist()):
        # Stamps of b plus the shift are those of a.
        index = grid_a[chosen] - shift - grid_b[0]
        inside = (index >= 0) & (index < len(grid_b))
        if inside.sum() >= _LEAST_TIMES:
            shares = median_shares(sampson_shares(sample.at(np.flatnonzero(inside)), b.at(index[inside])))
            costs[number], counts[number] = _mean_cost(shares)
    costs[counts < max(_LEAST_TIMES, _LEAST_OVERLAP * counts.max())] = np.nan
    return costs


def _mean_cost(shares: np.ndarray) -> tuple[float, int]:
    """Mean log distance of the best matches of the smaller group, of (T, P, Q), and how many times count."""
    logs = np.log(np.clip(shares, _NOISE_SHARE, _FAR_SHARE))
    comparable = np.isfinite(shares)
    logs = np.where(comparable, logs, np.inf)
    rows, columns = comparable.any(axis=2), comparable.any(axis=1)
    by_row = _mean_of_best(logs.min(axis=2), rows)
    by_column = _mean_of_best(logs.min(axis=1), columns)
    best = np.where(rows.sum(axis=1) <= columns.sum(axis=1), by_row, by_column)
    counted = rows.any(axis=1)
    return (float(best[counted].mean()) if counted.any() else np.nan), int(counted.sum())


def _mean_of_best(best: np.ndarray, there: np.ndarray) -> np.ndarray:
    return np.where(there, best, 0.0).sum(axis=1) / np.maximum(there.sum(axis=1), 1)


def search_offsets(tables: Sequence[OffsetTable], count: int) -> tuple[np.ndarray, np.ndarray]:
    """The offsets (V,) in s that have the least sum of costs; and how clear they are.

    Returns:
        offsets to be added to the stamps, that of the first camera 0; and (V,) the least contrast on the
        clearest way from the first camera to each: how far the cost at these offsets lies below the usual
        one. Infinite for the first camera, 0 for cameras that nothing ties to it.
    """
    offsets = np.zeros(count)
    order = sorted(tables, key=lambda table: -table.contrast)
    reached = {0}
    while True:
        table = next((t for t in order if (t.one in reached) != (t.other in reached)), None)
        if table is None:
            break
        shift = _shift_of(table, int(np.nanargmin(table.costs)))
        if table.one in reached:
            offsets[table.other] = offsets[table.one] + shift
            reached.add(table.other)
        else:
            offsets[table.one] = offsets[table.other] - shift
            reached.add(table.one)
    offsets = _swept(offsets, tables, reached)
    return offsets - offsets[0], _clearness(offsets, tables, count)


def _shift_of(table: OffsetTable, index: int) -> float:
    return (index - len(table.costs) // 2) * STEP_S


def _cost_at(table: OffsetTable, shift_s: float) -> float:
    """Between the steps the nearest; where nothing could be compared the usual cost."""
    index = round(shift_s / STEP_S) + len(table.costs) // 2
    cost = table.costs[index] if 0 <= index < len(table.costs) else np.nan
    return float(cost if np.isfinite(cost) else np.nanmedian(table.costs))


def _swept(offsets: np.ndarray, tables: Sequence[OffsetTable], reached: set[int]) -> np.ndarray:
    """Each camera in turn takes the offset with the least cost, as long as any changes."""
    offsets = offsets.copy()
    for _ in range(_SWEEPS):
        before = offsets.copy()
        for camera in sorted(reached - {0}):
            own = [t for t in tables if camera in (t.one, t.other)]
            candidates = {offsets[camera]}
            for table in own:
                for index in np.argsort(np.where(np.isfinite(table.costs), table.costs, np.inf))[:5]:
                    shift = _shift_of(table, int(index))
                    candidates.add(
                        offsets[table.one] + shift if table.other == camera else offsets[table.other] - shift
                    )

            def total(value: float, own=own, camera=camera) -> float:
                trial = offsets.copy()
                trial[camera] = value
                return sum(_cost_at(t, trial[t.other] - trial[t.one]) for t in own)

            offsets[camera] = min(sorted(candidates), key=total)
        if np.array_equal(before, offsets):
            break
    return offsets


def _clearness(offsets: np.ndarray, tables: Sequence[OffsetTable], count: int) -> np.ndarray:
    """(V,) the widest bottleneck from the first camera (Dijkstra with minima in place of sums)."""
    gains = np.zeros((count, count))
    for table in tables:
        cost = _cost_at(table, offsets[table.other] - offsets[table.one])
        gain = max(float(np.nanmedian(table.costs)) - cost, 0.0)
        gains[table.one, table.other] = gains[table.other, table.one] = gain
    clear = np.zeros(count)
    clear[0] = np.inf
    for _ in range(count):
        clear = np.maximum(clear, np.minimum(clear[None, :], gains).max(axis=1))
    return clear
