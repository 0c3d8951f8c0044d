"""Which 2D tracks of different cameras are one person, where the calibration is roughly known.

Two tracks are compared by their median Sampson distance over all times that they have in common: what is
ambiguous in one frame set is clear over seconds. Pairs that fit are joined to people, the surest first, as
long as nobody is in two places of one image.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.self_calibration.epipolar import (
    MIN_JOINTS,
    median_shares,
    sampson_shares,
    view_over_time,
)
from voxelpose_core.self_calibration.observations import Recording, SharedPoses
from voxelpose_core.self_calibration.observed_rays import LEAST_SCORE
from voxelpose_core.self_calibration.tracks_2d import Track2D, recording_tracks

# Frame sets that follow each other at once show the same poses, with the same errors, again.
SPACING_S = 0.2
# Median Sampson distance, as a share of people's size, of two tracks of one person: of a rig that is off by
# three degrees, and of one that was adjusted.
ROUGH_SHARE, CLOSE_SHARE = 0.2, 0.08
# Tracks are compared this often, and pairs that have fewer times in common are not.
_COMPARED_EVERY_S = 0.1
_MIN_TIMES = 3
# Frames this far apart are single pictures: people are compared in each, and not between them.
_SELDOM_S = 0.15
# Evidence of more times does not make a pair surer.
_ENOUGH_TIMES = 30
# People whom no other pair contradicts may still differ: the second best must be worse by this factor.
_RIVAL_RATIO = 1.3
# The limit follows the rig: so many times the usual distance of what fits, within the two above. Of two
# groups of tracks that are joined, no pair may be farther apart than so many times the limit.
_TYPICAL_RATIO, _ACROSS_RATIO = 3.0, 2.0
# Two tracks of one camera may overlap by so much in one person, s.
_OVERLAP_S = 0.05
_MOST_POSES = 600


@dataclass(frozen=True)
class _Link:
    """Two tracks, each (camera, number), their median distance and for how many times it was measured."""

    one: tuple[int, int]
    other: tuple[int, int]
    share: float
    times: int

    @property
    def evidence(self) -> int:
        return min(self.times, _ENOUGH_TIMES)


def shared_poses(
    recording: Recording,
    cameras: Sequence[Camera],
    spacing_s: float = SPACING_S,
    largest_share: float = ROUGH_SHARE,
    tracks: list[list[Track2D]] | None = None,
    most: int = _MOST_POSES,
) -> SharedPoses:
    """The poses of people whom two cameras or more see, at times `spacing_s` apart.

    Args:
        recording: with stamps that agree to a tenth of a second or so; see `find_offsets` and
            `Recording.shifted`.
        cameras: V, in the order of the recording, roughly calibrated.
        spacing_s: between the poses of a person.
        largest_share: Sampson distance of two tracks of one person as a share of people's size.
        tracks: of each camera, by the stamps of the recording; made here by default.
        most: poses; of long recordings the spacing is larger.

    Returns:
        the poses, ordered by person and time. There may be none.

    Raises:
        InputError: another number of cameras than of the recording.
    """
    if len(cameras) != len(recording.cameras):
        raise InputError(
            f"{len(cameras)} cameras are calibrated, but the recording has {len(recording.cameras)}"
        )
    tracks = recording_tracks(recording) if tracks is None else tracks
    links = _links(cameras, tracks, len(recording.joint_set))
    people = _people(links, tracks, largest_share)
    times = common_times(tracks, spacing_s)
    parts = [
        _poses_of(tracks, person, number, times, len(recording.joint_set))
        for number, person in enumerate(people)
    ]
    poses = _concatenated(parts, len(cameras), len(recording.joint_set))
    if len(poses) <= most:
        return poses
    kept = np.unique(poses.times)[:: -(-len(poses) // most)]
    return poses.select(np.isin(poses.times, kept))


def common_times(tracks: list[list[Track2D]], spacing_s: float) -> np.ndarray:
    """(T,) times at which two cameras or more may see somebody, at least `spacing_s` apart.

    Where frames are seldom, these are the times of frames: nothing is known between them.
    """
    seeing = [np.unique(np.concatenate([t.times for t in own])) for own in tracks if own]
    if len(seeing) < 2:
        return np.zeros(0)
    start = sorted(stamps[0] for stamps in seeing)[1]
    end = sorted(stamps[-1] for stamps in seeing)[-2]
    periods = [np.median(np.diff(stamps)) for stamps in seeing if len(stamps) > 1]
    if periods and max(periods) < _SELDOM_S:
        return np.arange(start, end + 1e-9, spacing_s)
    stamps = np.unique(np.concatenate(seeing))
    kept: list[float] = []
    for stamp in stamps[(stamps >= start - 1e-6) & (stamps <= end + 1e-6)].tolist():
        if not kept or stamp - kept[-1] >= spacing_s - 1e-6:
            kept.append(stamp)
    return np.array(kept)


def linked_shares(poses: SharedPoses, tracks: list[list[Track2D]]) -> np.ndarray:
    """(V,) how often a camera that sees people while another does takes part in a pose; NaN: never.

    In a right rig nearly always: people whom one camera sees alone are few, and seldom the only ones.
    """
    times = common_times(tracks, SPACING_S)
    if not len(times):
        return np.full(len(tracks), np.nan)
    sees: np.ndarray = np.zeros((len(tracks), len(times)), bool)
    for row, own in zip(sees, tracks, strict=True):
        for track in own:
            row |= (times >= track.times[0] - 1e-6) & (times <= track.times[-1] + 1e-6)
    possible = sees & (sees.sum(axis=0) >= 2)
    taking_part = np.any(poses.scores > 0, axis=-1)
    linked = np.array([np.isin(times, poses.times[taking_part[:, v]]) for v in range(len(tracks))])
    count = possible.sum(axis=1)
    return np.where(count > 0, (linked & possible).sum(axis=1) / np.maximum(count, 1), np.nan)


def _links(cameras: Sequence[Camera], tracks: list[list[Track2D]], joints: int) -> list[_Link]:
    """All pairs of tracks that can be compared."""
    times = common_times(tracks, _COMPARED_EVERY_S)
    views = [view_over_time(camera, own, times, joints) for camera, own in zip(cameras, tracks, strict=True)]
    links = []
    for a, b in itertools.combinations(range(len(views)), 2):
        if not tracks[a] or not tracks[b] or not len(times):
            continue
        shares = median_shares(sampson_shares(views[a], views[b]))
        measured = np.isfinite(shares)
        one = np.broadcast_to(views[a].tracks[:, :, None], shares.shape)[measured]
        other = np.broadcast_to(views[b].tracks[:, None], shares.shape)[measured]
        medians, counts = _grouped_medians(one, other, len(tracks[b]), shares[measured])
        links += [
            _Link((a, key // len(tracks[b])), (b, key % len(tracks[b])), share, counts[key])
            for key, share in medians.items()
            if counts[key] >= _MIN_TIMES or _short(tracks[a][key // len(tracks[b])])
        ]
    return links


def _short(track: Track2D) -> bool:
    """Whether a track has too few frames to be compared more often than it is."""
    return len(track) < _MIN_TIMES and track.longest_gap > _SELDOM_S * 3


def _grouped_medians(
    one: np.ndarray, other: np.ndarray, width: int, shares: np.ndarray
) -> tuple[dict[int, float], dict[int, int]]:
    """Median and number of the shares (N,) of each pair of tracks; keys are one * width + other."""
    keys = one * width + other
    order = np.argsort(keys, kind="stable")
    names, starts = np.unique(keys[order], return_index=True)
    groups = np.split(shares[order], starts[1:])
    return (
        {int(name): float(np.median(group)) for name, group in zip(names, groups, strict=True)},
        {int(name): len(group) for name, group in zip(names, groups, strict=True)},
    )


def _clear(links: list[_Link], tracks: list[list[Track2D]], largest_share: float) -> list[_Link]:
    """The links that fit, and clearly better than others of the same cameras at the same time."""
    by_track: dict[tuple[tuple[int, int], int], list[_Link]] = defaultdict(list)
    for link in links:
        by_track[link.one, link.other[0]].append(link)
        by_track[link.other, link.one[0]].append(link)
    clear = []
    for link in links:
        if link.share > largest_share:
            continue
        rivals = [
            other.share
            for other in (*by_track[link.one, link.other[0]], *by_track[link.other, link.one[0]])
            if other is not link
            and _overlap(tracks, other.one, link.one) > -_OVERLAP_S
            and _overlap(tracks, other.other, link.other) > -_OVERLAP_S
        ]
        if link.share * _RIVAL_RATIO <= min(rivals, default=np.inf):
            clear.append(link)
    return clear


def _overlap(tracks: list[list[Track2D]], one: tuple[int, int], other: tuple[int, int]) -> float:
    """Seconds that two tracks have in common; negative: between them."""
    a, b = tracks[one[0]][one[1]].times, tracks[other[0]][other[1]].times
    return float(min(a[-1], b[-1]) - max(a[0], b[0]))


def _people(
    links: list[_Link], tracks: list[list[Track2D]], largest_share: float
) -> list[list[tuple[int, int]]]:
    """Tracks joined to people, each a list of (camera, number)."""
    clear = _clear(links, tracks, largest_share)
    if not clear:
        return []
    # What a good rig gives is far below what a poor one needs.
    typical = float(np.median([link.share for link in clear for _ in range(link.evidence)]))
    limit = min(max(_TYPICAL_RATIO * typical, CLOSE_SHARE), largest_share)
    shares = {frozenset((link.one, link.other)): link.share for link in links}
    person = {track: {track} for link in clear for track in (link.one, link.other)}
    for link in sorted(clear, key=lambda link: link.share / link.evidence**0.5):
        one, other = person[link.one], person[link.other]
        if link.share > limit or one is other or _contradict(one, other, tracks):
            continue
        across = [shares.get(frozenset(pair), 0.0) for pair in itertools.product(one, other)]
        if max(across) > _ACROSS_RATIO * limit:
            continue
        one |= other
        for track in other:
            person[track] = one
    distinct = {id(group): group for group in person.values()}
    return [sorted(group) for group in distinct.values() if len({camera for camera, _ in group}) > 1]


def _contradict(one: set[tuple[int, int]], other: set[tuple[int, int]], tracks: list[list[Track2D]]) -> bool:
    """Whether they are in two places of one image at one time."""
    return any(a[0] == b[0] and _overlap(tracks, a, b) > _OVERLAP_S for a, b in itertools.product(one, other))


def _poses_of(
    tracks: list[list[Track2D]],
    person: list[tuple[int, int]],
    number: int,
    times: np.ndarray,
    joints: int,
) -> SharedPoses:
    """The poses of one person, whose tracks are (camera, number), at those of the times that two see."""
    shape = (len(times), len(tracks), joints)
    pixels, velocities, scores = np.zeros((*shape, 2)), np.zeros((*shape, 2)), np.zeros(shape)
    for camera, index in person:
        own_pixels, own_velocities, own_scores = tracks[camera][index].at(times)
        better = own_scores > scores[:, camera]
        pixels[:, camera][better] = own_pixels[better]
        velocities[:, camera][better] = own_velocities[better]
        scores[:, camera][better] = own_scores[better]
    seen = (scores >= LEAST_SCORE).sum(axis=-1) >= MIN_JOINTS
    scores *= seen[..., None]
    kept = seen.sum(axis=-1) >= 2
    return SharedPoses(times[kept], np.full(kept.sum(), number), pixels[kept], velocities[kept], scores[kept])


def _concatenated(parts: list[SharedPoses], views: int, joints: int) -> SharedPoses:
    shape = (0, views, joints)
    empty = SharedPoses(
        np.zeros(0), np.zeros(0, int), np.zeros((*shape, 2)), np.zeros((*shape, 2)), np.zeros(shape)
    )
    parts = [empty, *parts]
    return SharedPoses(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("times", "people", "pixels", "velocities", "scores")
        )
    )
