"""Which tracks of two cameras show one person, while neither the cameras' poses nor their clocks are known.

1. The places of people, lifted from each camera alone, are laid over each other (`place_overlays`), for every
   time offset of a coarse grid.
2. Pairs of tracks then vote for a relative pose: those whose joints agree with its epipolar geometry fit it
   again, one track of a camera to one of the other at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from voxelpose_core.association import masked_median
from voxelpose_core.self_calibration.lifting import bearings
from voxelpose_core.self_calibration.place_overlays import (
    MAX_SAMPLES,
    PLACE_MM,
    PLACE_SHARE,
    SAME_TURN,
    SPACING_S,
    Overlay,
    View,
    finalists,
    overlays,
    sample_times,
    turned,
)
from voxelpose_core.self_calibration.two_views import (
    RayPairs,
    RelativePose,
    depths,
    refine_relative_pose,
    sampson_shares,
)

# Tracks of one person have a median epipolar error below this share of their size.
MATCH_SHARE = 0.06
# In the first rounds the relative pose is still off.
_ROUND_SHARES, _REFIT_SHARES = (0.20, 0.12, 0.08, MATCH_SHARE), (0.12, MATCH_SHARE)
_MIN_JOINTS = 5
_STEP_FOR_RATES_S = 0.02


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


def match_pair(
    a: View, b: View, offsets_s: np.ndarray, random: np.random.Generator, free_delay: bool = True
) -> PairMatch | None:
    """What cameras a and b have in common; None where no person is seen by both.

    Args:
        a, b: the cameras.
        offsets_s: (O,) time offsets of b to try, see `PairMatch.offset_s`.
        random: of the draws.
        free_delay: the offset is also refined between those.
    """
    laid: list[Overlay] = []
    for offset in offsets_s:
        laid += overlays(a, b, float(offset), random)
    matches = [match for overlay in finalists(laid) if (match := _epipolar_match(a, b, overlay, free_delay))]
    if not matches:
        return None
    matches.sort(key=lambda match: -match.support)
    best = matches[0]
    others = [match.support for match in matches[1:] if not _alike(match, best)]
    return PairMatch(**{**vars(best), "rival": max(others, default=0.0)})


# --- epipolar fit ---------------------------------------------------------------------------------------


def _epipolar_match(a: View, b: View, overlay: Overlay, free_delay: bool) -> PairMatch | None:
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
    overlay: Overlay | None,
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
    places = a.lifted.at(sample_times(a.tracks, SPACING_S, MAX_SAMPLES), a.longest_gap)
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


def _as_relative_pose(a: View, b: View, overlay: Overlay) -> RelativePose:
    c, s = np.cos(overlay.turn), np.sin(overlay.turn)
    b_to_a = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    heights = [np.nanmedian(np.concatenate(view.lifted.places)[:, 2]) for view in (a, b)]
    center = np.array([*overlay.shift, heights[0] - heights[1]])  # of b, in a's upright frame
    R = b.lifted.upright.T @ b_to_a.T @ a.lifted.upright
    t = -R @ a.lifted.upright.T @ center
    return RelativePose(R, t / max(float(np.linalg.norm(t)), 1e-9))


def _ray_pairs(
    a: View, b: View, offset_s: float, overlay: Overlay | None
) -> tuple[RayPairs, np.ndarray, np.ndarray]:
    """All persons of a with all of b at the sampled times.

    Returns:
        N pairs, their (N, 3) indices of time and tracks, and (N,) how far apart their places lie under the
        overlay, as a share of how far they may; 0 without one.
    """
    times = sample_times(a.tracks, SPACING_S, MAX_SAMPLES)
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
    laid = turned(second, np.array(overlay.turn)) + overlay.shift
    allowed2 = PLACE_SHARE**2 * ((first**2).sum(-1) + (second**2).sum(-1)) + PLACE_MM**2
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
    return bool(np.arccos(np.clip(cosine, -1.0, 1.0)) < SAME_TURN)
