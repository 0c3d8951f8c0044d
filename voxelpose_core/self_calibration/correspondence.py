"""Which 2D tracks of different cameras are one person, where the calibration is roughly known.

Two tracks are compared by their median Sampson distance over all times that they have in common: what is
ambiguous in one frame set is clear over seconds. Pairs that fit are joined to people, the surest first, as
long as nobody is in two places of one image.
"""

from __future__ import annotations

import itertools
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
# Evidence of more times does not make a pair surer.
_ENOUGH_TIMES = 30
# People whom no other pair contradicts may still differ: the second best must be worse by this factor.
_RIVAL_RATIO = 1.3
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
    people = _people(_links(cameras, tracks, len(recording.joint_set), largest_share), tracks)
    times = _common_times(tracks, spacing_s)
    parts = [
        _poses_of(tracks, person, number, times, len(recording.joint_set))
        for number, person in enumerate(people)
    ]
    poses = _concatenated(parts, len(cameras), len(recording.joint_set))
    if len(poses) <= most:
        return poses
    kept = np.unique(poses.times)[:: -(-len(poses) // most)]
    return poses.select(np.isin(poses.times, kept))


def _common_times(tracks: list[list[Track2D]], spacing_s: float) -> np.ndarray:
    """(T,) times at which two cameras or more may see somebody."""
    starts = [min(t.times[0] for t in own) for own in tracks if own]
    ends = [max(t.times[-1] for t in own) for own in tracks if own]
    if len(starts) < 2:
        return np.zeros(0)
    start, end = sorted(starts)[1], sorted(ends)[-2]
    return np.arange(start, end + 1e-9, spacing_s)


def _links(
    cameras: Sequence[Camera], tracks: list[list[Track2D]], joints: int, largest_share: float
) -> list[_Link]:
    """Pairs of tracks that fit each other, and better than any other."""
    times = _common_times(tracks, _COMPARED_EVERY_S)
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
        found = [
            _Link((a, key // len(tracks[b])), (b, key % len(tracks[b])), share, counts[key])
            for key, share in medians.items()
            if counts[key] >= _MIN_TIMES
        ]
        links += _clear(found, tracks, largest_share)
    return links


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
    """Of the links between two cameras those that fit, and clearly better than others at the same time."""
    clear = []
    for link in links:
        rivals = [
            other.share
            for other in links
            if other is not link
            and (other.one == link.one or other.other == link.other)
            and (
                _overlap(tracks, other.one, link.one) > _OVERLAP_S
                and _overlap(tracks, other.other, link.other) > _OVERLAP_S
            )
        ]
        if link.share <= largest_share and link.share * _RIVAL_RATIO <= min(rivals, default=np.inf):
            clear.append(link)
    return clear


def _overlap(tracks: list[list[Track2D]], one: tuple[int, int], other: tuple[int, int]) -> float:
    """Seconds that two tracks have in common; negative: between them."""
    a, b = tracks[one[0]][one[1]].times, tracks[other[0]][other[1]].times
    return float(min(a[-1], b[-1]) - max(a[0], b[0]))


def _people(links: list[_Link], tracks: list[list[Track2D]]) -> list[list[tuple[int, int]]]:
    """Tracks joined to people, each a list of (camera, number)."""
    person = {track: {track} for link in links for track in (link.one, link.other)}
    for link in sorted(links, key=lambda link: link.share / link.evidence**0.5):
        one, other = person[link.one], person[link.other]
        if one is other or _contradict(one, other, tracks):
            continue
        one |= other
        for track in other:
            person[track] = one
    distinct = {id(group): group for group in person.values()}
    return [sorted(group) for group in distinct.values()]


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
