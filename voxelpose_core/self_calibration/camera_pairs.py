"""Which tracks of two cameras show one person, while neither the cameras' poses nor their clocks are known.

1. The places of people, lifted from each camera alone, are laid over each other: a turn about the vertical
   and a shift on the floor, from two persons seen by both, or one at two times. Many such are drawn, for
   every time offset of a coarse grid; those under which most people coincide go on.
2. Pairs of tracks then vote for a relative pose: those whose joints agree with its epipolar geometry fit it
   again, one track of a camera to one of the other at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from voxelpose_core.association import masked_median
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.self_calibration.lifting import LiftedCamera, bearings
from voxelpose_core.self_calibration.tracks_2d import Track2D
from voxelpose_core.self_calibration.two_views import (
    RayPairs,
    RelativePose,
    depths,
    refine_relative_pose,
    sampson_shares,
)

# Samples of a pair are at least this far apart, s, and at most so many.
SPACING_S = 0.2
_MAX_SAMPLES = 150
# Draws for each time offset.
_DRAWS = 1000
# Lifted places are this uncertain: a share of the distance, and mm.
_PLACE_SHARE, _PLACE_MM = 0.13, 150.0
# Two persons for a draw are this far apart, mm, and as far in both cameras, as a share.
_LEAST_APART_MM, _SAME_APART = 700.0, 0.25
# So many laid-over places go on to the epipolar fit; those closer to each other are one.
_FINALISTS, _SAME_TURN, _SAME_OFFSET_S = 4, np.radians(20.0), 0.3
# Tracks of one person have a median epipolar error below this share of their size.
MATCH_SHARE = 0.06
# In the first rounds the relative pose is still off.
_ROUND_SHARES, _REFIT_SHARES = (0.20, 0.12, 0.08, MATCH_SHARE), (0.12, MATCH_SHARE)
_MIN_JOINTS = 5
# A clock is off by less than the steps of the coarse search.
OFFSET_STEP_S = 0.25
_STEP_FOR_RATES_S = 0.02


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


@dataclass(frozen=True, eq=False)
class PairMatch:
    """What two cameras have in common.

    Attributes:
        pose: of camera b relative to a; t has length 1.
        baseline_mm: distance of the cameras, if people are as tall as assumed.
        offset_s: ADDED to b's stamps it makes them a's.
        tracks: pairs (track of a, track of b) that show one person, the best supported first.
        support: number of persons at sampled times that agree, each less the more it errs.
        agreement: support as a share of what it could be: all persons whom the camera that sees fewer sees.
        share: median epipolar error of the joints, as a share of the person's size.
        parallax: median angle between the rays to a joint, radians.
        rival: support of the best relative pose of the others that were tried.
    """

    pose: RelativePose
    baseline_mm: float
    offset_s: float
    tracks: tuple[tuple[int, int], ...]
    support: float
    agreement: float
    share: float
    parallax: float
    rival: float = 0.0


@dataclass(frozen=True)
class _Overlay:
    """Places of b laid over those of a: turned about the vertical, then shifted."""

    support: float
    turn: float
    shift: tuple[float, float]
    offset_s: float


def match_pair(
    a: View, b: View, offsets_s: np.ndarray, random: np.random.Generator, free_delay: bool = True
) -> PairMatch | None:
    """What cameras a and b have in common; None where nobody is seen by both.

    Args:
        a, b: the cameras.
        offsets_s: (O,) time offsets of b to try, see `PairMatch.offset_s`.
        random: of the draws.
        free_delay: the offset is also refined between those.
    """
    overlays: list[_Overlay] = []
    for offset in offsets_s:
        overlays += _overlays(a, b, float(offset), random)
    matches = [
        match for overlay in _finalists(overlays) if (match := _epipolar_match(a, b, overlay, free_delay))
    ]
    if not matches:
        return None
    matches.sort(key=lambda match: -match.support)
    best = matches[0]
    others = [match.support for match in matches[1:] if not _alike(match, best)]
    return PairMatch(**{**vars(best), "rival": max(others, default=0.0)})


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


# --- laying places over each other --------------------------------------------------------------------


def _overlays(a: View, b: View, offset_s: float, random: np.random.Generator) -> list[_Overlay]:
    """The best few ways to lay the places of b over those of a at one time offset."""
    times = sample_times(a.tracks, SPACING_S, _MAX_SAMPLES)
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
        found.append(_Overlay(value, float(turn), (float(shift[0]), float(shift[1])), offset_s))
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
    shifts = middle_a - _turned(middle_b, turns)
    return turns[:_DRAWS], shifts[:_DRAWS]


def _turned(points: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """Points (..., 2) turned by (...) radians."""
    c, s = np.cos(turns), np.sin(turns)
    return np.stack(
        [c * points[..., 0] - s * points[..., 1], s * points[..., 0] + c * points[..., 1]], axis=-1
    )


def _nearness(first: np.ndarray, second: np.ndarray, turns: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """(H, K, P, Q) 1 where two places coincide, falling to 0 where they are as far apart as they may be."""
    laid = _turned(second[None], turns[:, None, None]) + shifts[:, None, None]
    gap2 = ((first[None, :, :, None] - laid[:, :, None]) ** 2).sum(axis=-1)
    allowed2 = (_PLACE_SHARE**2) * ((first**2).sum(-1)[:, :, None] + (second**2).sum(-1)[:, None])
    return np.nan_to_num(np.clip(1.0 - gap2 / (allowed2 + _PLACE_MM**2), 0.0, None))


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
    return turn, mean_a - _turned(mean_b, np.array(turn))


def _finalists(overlays: list[_Overlay]) -> list[_Overlay]:
    """The best overlays that differ from each other."""
    kept: list[_Overlay] = []
    for overlay in sorted(overlays, key=lambda overlay: -overlay.support):
        alike = [
            other
            for other in kept
            if abs(_wrapped(overlay.turn - other.turn)) < _SAME_TURN
            and abs(overlay.offset_s - other.offset_s) < _SAME_OFFSET_S
        ]
        if not alike and len(kept) < _FINALISTS:
            kept.append(overlay)
    return kept


def _wrapped(angle: float) -> float:
    return float((angle + np.pi) % (2 * np.pi) - np.pi)


# --- epipolar fit ---------------------------------------------------------------------------------------


def _epipolar_match(a: View, b: View, overlay: _Overlay, free_delay: bool) -> PairMatch | None:
    """The relative pose near an overlay that fits best, and the tracks that agree with it."""
    pose = _as_relative_pose(a, b, overlay)
    return _fitted(a, b, pose, overlay.offset_s, overlay, _ROUND_SHARES, free_delay)


def refit_pair(a: View, b: View, match: PairMatch, free_delay: bool = True) -> PairMatch | None:
    """The same pair of cameras with other lenses or stature: near the relative pose that was found."""
    return _fitted(a, b, match.pose, match.offset_s, None, _REFIT_SHARES, free_delay)


def _fitted(
    a: View,
    b: View,
    pose: RelativePose,
    offset: float,
    overlay: _Overlay | None,
    shares: Sequence[float],
    free_delay: bool,
) -> PairMatch | None:
    for share in (*shares, None):
        pairs, keys, far = _ray_pairs(a, b, offset, overlay)
        if len(pairs) < 2:
            return None
        chosen, members = _one_to_one(pairs, keys, far, pose, share or MATCH_SHARE)
        if members.sum() < 2:
            return None
        if share is None:
            break
        pose = refine_relative_pose(pairs.select(members), pose, free_delay)
        offset -= pose.delay_s
        pose = RelativePose(pose.R, pose.t)
    places = a.lifted.at(sample_times(a.tracks, SPACING_S, _MAX_SAMPLES), a.longest_gap)
    middles = places[keys[members, 0], keys[members, 1]] + [0.0, 0.0, a.lifted.stature_mm / 2]
    distances = np.linalg.norm(middles, axis=-1)
    return _judged(pairs.select(members), pose, offset, chosen, distances, _most_possible(keys))


def _most_possible(keys: np.ndarray) -> int:
    """How many persons could agree at most, of (N, 3) indices of time, track of a and track of b."""
    times, index = np.unique(keys[:, 0], return_inverse=True)
    counts = [
        np.bincount(np.unique(np.stack([index.reshape(-1), keys[:, column]], axis=1), axis=0)[:, 0])
        for column in (1, 2)
    ]
    return int(np.minimum(*counts).sum()) if len(times) else 0


def _as_relative_pose(a: View, b: View, overlay: _Overlay) -> RelativePose:
    c, s = np.cos(overlay.turn), np.sin(overlay.turn)
    b_to_a = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    heights = [np.nanmedian(np.concatenate(view.lifted.places)[:, 2]) for view in (a, b)]
    center = np.array([*overlay.shift, heights[0] - heights[1]])  # of b, in a's upright frame
    R = b.lifted.upright.T @ b_to_a.T @ a.lifted.upright
    t = -R @ a.lifted.upright.T @ center
    return RelativePose(R, t / max(float(np.linalg.norm(t)), 1e-9))


def _ray_pairs(
    a: View, b: View, offset_s: float, overlay: _Overlay | None
) -> tuple[RayPairs, np.ndarray, np.ndarray]:
    """All persons of a with all of b at the sampled times.

    Returns:
        N pairs, their (N, 3) indices of time and tracks, and (N,) how far apart their places lie under the
        overlay, as a share of how far they may; 0 without one.
    """
    times = sample_times(a.tracks, SPACING_S, _MAX_SAMPLES)
    one, other = _samples(a, times), _samples(b, times - offset_s)
    seen = one.there.T[:, :, None] & other.there.T[:, None, :]
    k, i, j = np.nonzero(seen)
    used = one.used[i, k] & other.used[j, k]
    enough = used.sum(axis=-1) >= _MIN_JOINTS
    k, i, j, used = k[enough], i[enough], j[enough], used[enough]
    pairs = RayPairs(
        one.rays[i, k], other.rays[j, k], other.rates[j, k], one.sizes[i, k], other.sizes[j, k], used
    )
    keys = np.stack([k, i, j], axis=1)
    if overlay is None:
        return pairs, keys, np.zeros(len(k))
    first = a.lifted.at(times, a.longest_gap)[..., :2][k, i]
    second = b.lifted.at(times - offset_s, b.longest_gap)[..., :2][k, j]
    laid = _turned(second, np.array(overlay.turn)) + overlay.shift
    allowed2 = _PLACE_SHARE**2 * ((first**2).sum(-1) + (second**2).sum(-1)) + _PLACE_MM**2
    far = np.sqrt(((first - laid) ** 2).sum(axis=-1) / allowed2)
    return pairs, keys, np.nan_to_num(far, nan=np.inf)


@dataclass(frozen=True, eq=False)
class _Samples:
    """M tracks at K times: rays and rates (M, K, J, 3), sizes (M, K) in radians, used (M, K, J)."""

    rays: np.ndarray
    rates: np.ndarray
    sizes: np.ndarray
    used: np.ndarray

    @property
    def there(self) -> np.ndarray:
        """(M, K) bool."""
        return self.used.sum(axis=-1) >= _MIN_JOINTS


def _samples(view: View, times: np.ndarray) -> _Samples:
    taken = [track.at(times) for track in view.tracks]
    pixels, velocities, scores = (np.stack(part) for part in zip(*taken, strict=True))
    used = scores > 0
    rays, rates = np.zeros((*used.shape, 3)), np.zeros((*used.shape, 3))
    rays[..., 2] = 1.0
    rays[used] = bearings(view.camera, pixels[used])
    later = bearings(view.camera, pixels[used] + _STEP_FOR_RATES_S * velocities[used])
    rates[used] = (later - rays[used]) / _STEP_FOR_RATES_S
    return _Samples(rays, rates, _angular_sizes(rays, used), used)


def _angular_sizes(rays: np.ndarray, used: np.ndarray) -> np.ndarray:
    """(...) twice the largest angle between a person's rays (..., J, 3) and their middle, radians."""
    middle = (rays * used[..., None]).sum(axis=-2)
    middle /= np.maximum(np.linalg.norm(middle, axis=-1, keepdims=True), 1e-9)
    cosine = np.where(used, (rays * middle[..., None, :]).sum(axis=-1), 1.0).min(axis=-1)
    return np.maximum(2.0 * np.arccos(np.clip(cosine, -1.0, 1.0)), 1e-3)


def _one_to_one(
    pairs: RayPairs, keys: np.ndarray, far: np.ndarray, pose: RelativePose, share: float
) -> tuple[list[tuple[int, int]], np.ndarray]:
    """Tracks of a and b that show one person under a relative pose, and the pairs (N,) bool that do so."""
    errors = masked_median(np.abs(sampson_shares(pairs, pose)), pairs.used)
    ahead = _ahead(pairs, pose)
    errors = np.where(ahead & (far < 1.5), errors, 1.0)
    names, group = np.unique(keys[:, 1:], axis=0, return_inverse=True)
    group = group.reshape(-1)
    counts = np.bincount(group, minlength=len(names))
    medians = np.array([np.median(errors[group == index]) for index in range(len(names))])
    votes = counts * np.maximum(1.0 - medians / share, 0.0)
    taken_a, taken_b = set[tuple[int, int]](), set[tuple[int, int]]()
    members = np.zeros(len(keys), dtype=bool)
    chosen = []
    for index in np.argsort(-votes):
        if votes[index] <= 0:
            break
        own = keys[group == index]
        cells_a = {(int(k), int(i)) for k, i, _ in own}
        cells_b = {(int(k), int(j)) for k, _, j in own}
        # A track of one camera may be continued by several of the other, but not at one time.
        if cells_a & taken_a or cells_b & taken_b:
            continue
        taken_a |= cells_a
        taken_b |= cells_b
        chosen.append((int(names[index, 0]), int(names[index, 1])))
        members |= (group == index) & (errors < 2 * share)
    return chosen, members


def _ahead(pairs: RayPairs, pose: RelativePose) -> np.ndarray:
    """(N,) bool: most joints lie in front of both cameras."""
    ahead = np.ones(pairs.used.shape, dtype=bool)
    for depth in depths(pairs, pose):
        ahead &= ~(depth < 0)
    return (ahead & pairs.used).sum(axis=-1) > 0.5 * pairs.used.sum(axis=-1)


def _judged(
    pairs: RayPairs,
    pose: RelativePose,
    offset_s: float,
    tracks: list[tuple[int, int]],
    distances: np.ndarray,
    possible: int,
) -> PairMatch:
    errors = np.abs(sampson_shares(pairs, pose))
    medians = masked_median(errors, pairs.used)
    support = float(np.maximum(1.0 - medians / MATCH_SHARE, 0.0).sum())
    rays_b = pairs.second / np.linalg.norm(pairs.second, axis=-1, keepdims=True)
    cosine = ((pairs.first @ pose.R.T) * rays_b).sum(axis=-1)[pairs.used]
    seen = np.where(pairs.used, depths(pairs, pose)[0], np.nan)
    lengths = distances / np.array([np.nanmedian(row) if np.isfinite(row).any() else np.nan for row in seen])
    return PairMatch(
        pose,
        float(np.nanmedian(lengths)) if np.isfinite(lengths).any() else 0.0,
        offset_s,
        tuple(tracks),
        support,
        support / max(possible, 1),
        float(np.median(errors[pairs.used])),
        float(np.median(np.arccos(np.clip(cosine, -1.0, 1.0)))),
    )


def _alike(one: PairMatch, other: PairMatch) -> bool:
    cosine = (np.trace(one.pose.R @ other.pose.R.T) - 1.0) / 2.0
    return bool(np.arccos(np.clip(cosine, -1.0, 1.0)) < _SAME_TURN)
