"""Places of people in front of two cameras, laid over each other: who might be who, and from where they look.

Each camera's places are known in its own upright frame (`lifting`). A turn about the vertical and a shift on
the floor lay those of one over those of the other. Two persons seen by both, or one at two times, give such
an overlay; of many that are drawn, those go on under which most people coincide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from voxelpose_core.geometry.camera import Camera
from voxelpose_core.self_calibration.lifting import LiftedCamera
from voxelpose_core.self_calibration.tracks_2d import Track2D

# Samples of a pair are at least this far apart, s, and at most so many.
SPACING_S = 0.2
MAX_SAMPLES = 150
# Draws for each time offset.
_DRAWS = 1000
# Lifted places are this uncertain: a share of the distance, and mm.
PLACE_SHARE, PLACE_MM = 0.13, 150.0
# Two persons for a draw are this far apart, mm, and as far in both cameras, as a share.
_LEAST_APART_MM, _SAME_APART = 700.0, 0.25
# So many laid-over places go on to the epipolar fit; those closer to each other are one.
_FINALISTS, SAME_TURN, _SAME_OFFSET_S = 4, np.radians(20.0), 0.3


@dataclass(frozen=True, eq=False)
class View:
    """One camera for the association.

    Attributes:
        camera: of it only the lens is used.
        tracks: M of this camera.
        lifted: their places.
    """

    camera: Camera
    tracks: Sequence[Track2D]
    lifted: LiftedCamera

    @property
    def longest_gap(self) -> float:
        """Seconds over which tracks are interpolated."""
        return max((track.longest_gap for track in self.tracks), default=0.0)


@dataclass(frozen=True)
class Overlay:
    """Places of b laid over those of a: turned about the vertical, then shifted."""

    support: float
    turn: float
    shift: tuple[float, float]
    offset_s: float


def sample_times(tracks: Sequence[Track2D], spacing_s: float, most: int) -> np.ndarray:
    """(K,) times of a camera's detections, at least `spacing_s` apart, thinned evenly to `most`."""
    stamps = np.unique(np.concatenate([track.times for track in tracks])) if tracks else np.zeros(0)
    kept: list[float] = []
    for stamp in stamps.tolist():
        if not kept or stamp - kept[-1] >= spacing_s - 1e-3:
            kept.append(stamp)
    times = np.array(kept)
    if len(times) > most:
        times = times[np.linspace(0, len(times) - 1, most).round().astype(int)]
    return times


def overlays(a: View, b: View, offset_s: float, random: np.random.Generator) -> list[Overlay]:
    """The best few ways to lay the places of b over those of a at one time offset."""
    times = sample_times(a.tracks, SPACING_S, MAX_SAMPLES)
    first, first_tracks = _compact(a.lifted.at(times, a.longest_gap))
    second, second_tracks = _compact(b.lifted.at(times - offset_s, b.longest_gap))
    turns, shifts = _draws(first, first_tracks, second, second_tracks, random)
    if not len(turns):
        return []
    support = _overlap(first, second, turns, shifts)
    found = []
    for index in np.argsort(-support)[:3]:
        turn, shift = turns[index], shifts[index]
        for _ in range(3):
            turn, shift = _laid_closer(first, second, turn, shift)
        value = float(_overlap(first, second, np.array([turn]), shift[None])[0])
        found.append(Overlay(value, float(turn), (float(shift[0]), float(shift[1])), offset_s))
    return found


def _compact(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places (K, M, 3) of tracks -> (K, P, 2) on the floor of those seen, and their tracks (K, P)."""
    there = np.isfinite(places[..., 0])
    order = np.argsort(~there, axis=1, kind="stable")
    most = max(int(there.sum(axis=1).max(initial=0)), 1)
    order = order[:, :most] if places.shape[1] else np.zeros((len(places), 0), int)
    floor = np.take_along_axis(places[..., :2], order[..., None], axis=1)
    return floor, np.where(np.take_along_axis(there, order, axis=1), order, -1)


def _draws(
    first: np.ndarray,
    first_tracks: np.ndarray,
    second: np.ndarray,
    second_tracks: np.ndarray,
    random: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Turns (H,) and shifts (H, 2) from two persons whom both cameras might see."""
    both = np.isfinite(first[:, :, None, 0]) & np.isfinite(second[:, None, :, 0])
    times, ones, others = np.nonzero(both)
    if len(times) < 2:
        return np.zeros(0), np.zeros((0, 2))
    size = 2 * _DRAWS
    i = random.integers(len(times), size=size)
    j = random.integers(len(times), size=size)
    # Half of the draws are one pair of tracks at two times, where there is one that lasts.
    keys = first_tracks[times, ones] * (second_tracks.max() + 2) + second_tracks[times, others]
    order = np.argsort(keys, kind="stable")
    ranked = keys[order]
    low, high = np.searchsorted(ranked, keys[i]), np.searchsorted(ranked, keys[i], side="right")
    same = order[(low + random.random(size) * (high - low)).astype(int)]
    j = np.where(np.arange(size) % 2 == 0, same, j)
    a0, a1 = first[times[i], ones[i]], first[times[j], ones[j]]
    b0, b1 = second[times[i], others[i]], second[times[j], others[j]]
    one_person = (times[i] == times[j]) & ((ones[i] == ones[j]) | (others[i] == others[j]))
    apart_a, apart_b = (np.linalg.norm(x, axis=1) for x in (a1 - a0, b1 - b0))
    longer = np.maximum(apart_a, apart_b)
    good = ~one_person & (np.minimum(apart_a, apart_b) > _LEAST_APART_MM)
    good &= np.abs(apart_a - apart_b) < _SAME_APART * longer + 200.0
    way_a, way_b = (a1 - a0)[good], (b1 - b0)[good]
    turns = np.arctan2(way_a[:, 1], way_a[:, 0]) - np.arctan2(way_b[:, 1], way_b[:, 0])
    middle_a, middle_b = ((a0 + a1) / 2)[good], ((b0 + b1) / 2)[good]
    shifts = middle_a - turned(middle_b, turns)
    return turns[:_DRAWS], shifts[:_DRAWS]


def turned(points: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """Points (..., 2) turned by (...) radians."""
    c, s = np.cos(turns), np.sin(turns)
    return np.stack(
        [c * points[..., 0] - s * points[..., 1], s * points[..., 0] + c * points[..., 1]], axis=-1
    )


def _nearness(first: np.ndarray, second: np.ndarray, turns: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """(H, K, P, Q) 1 where two places coincide, falling to 0 where they are as far apart as they may be."""
    laid = turned(second[None], turns[:, None, None]) + shifts[:, None, None]
    gap2 = ((first[None, :, :, None] - laid[:, :, None]) ** 2).sum(axis=-1)
    allowed2 = (PLACE_SHARE**2) * ((first**2).sum(-1)[:, :, None] + (second**2).sum(-1)[:, None])
    return np.nan_to_num(np.clip(1.0 - gap2 / (allowed2 + PLACE_MM**2), 0.0, None))


def _overlap(first: np.ndarray, second: np.ndarray, turns: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """(H,) how many persons coincide, one to one but for persons who stand in one place."""
    total = np.zeros(len(turns))
    for start in range(0, len(turns), 200):
        part = slice(start, start + 200)
        near = _nearness(first, second, turns[part], shifts[part])
        if near.size:
            total[part] = np.minimum(near.max(axis=3).sum(axis=(1, 2)), near.max(axis=2).sum(axis=(1, 2)))
    return total


def _laid_closer(
    first: np.ndarray, second: np.ndarray, turn: float, shift: np.ndarray
) -> tuple[float, np.ndarray]:
    """The overlay fitted again to the persons who coincide under it."""
    near = _nearness(first, second, np.array([turn]), shift[None])[0]
    near = near * (near >= near.max(axis=2, keepdims=True)) * (near > 0)
    times, ones, others = np.nonzero(near)
    weights = near[times, ones, others]
    if len(times) < 2:
        return turn, shift
    a, b = first[times, ones], second[times, others]
    mean_a, mean_b = (weights @ x / weights.sum() for x in (a, b))
    x, y = b - mean_b, a - mean_a
    sine = (weights * (x[:, 0] * y[:, 1] - x[:, 1] * y[:, 0])).sum()
    turn = float(np.arctan2(sine, (weights[:, None] * x * y).sum()))
    return turn, mean_a - turned(mean_b, np.array(turn))


def finalists(laid: list[Overlay]) -> list[Overlay]:
    """The best overlays that differ from each other."""
    kept: list[Overlay] = []
    for overlay in sorted(laid, key=lambda overlay: -overlay.support):
        alike = [
            other
            for other in kept
            if abs(_wrapped(overlay.turn - other.turn)) < SAME_TURN
            and abs(overlay.offset_s - other.offset_s) < _SAME_OFFSET_S
        ]
        if not alike and len(kept) < _FINALISTS:
            kept.append(overlay)
    return kept


def _wrapped(angle: float) -> float:
    return float((angle + np.pi) % (2 * np.pi) - np.pi)
