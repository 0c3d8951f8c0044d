"""Which images belong to which camera, how they are turned, and whether they are mirrored.

The evidence is that of `view_check`; here it is applied to a whole recording, whose cameras may have clocks
of their own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from voxelpose_core.geometry.image_turns import turn_points
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.self_calibration.observations import CameraDetections, Recording
from voxelpose_core.self_calibration.offset_search import offset_tables, search_offsets
from voxelpose_core.self_calibration.offsets import LEAST_CLEARNESS
from voxelpose_core.self_calibration.tracks_2d import recording_tracks
from voxelpose_core.view_check import Contradiction, disagreement_share, find_contradiction

_SPACING_S = 0.2
# Frames of different cameras are of one time if they are less than so many frame periods apart.
_SAME_TIME = 0.75
# Views that disagree by less, as a share of people's size, are not taken for mirrored ones.
_FITS_SHARE = 0.05
# Mirrored images must fit better by this factor.
_MIRROR_RATIO = 0.6
# Offsets in the given order explain a disagreement as well as another order does if they fit as well.
_AS_WELL = 1.15


@dataclass(frozen=True, eq=False)
class Arrangement:
    """How the views of a recording fit a rig.

    Attributes:
        contradiction: the order and turns in which they fit; None where they fit as given.
        mirrored: names of the cameras whose images are mirrored.
        recording: the views as they fit.
    """

    contradiction: Contradiction | None
    mirrored: tuple[str, ...]
    recording: Recording


def find_arrangement(rig: Rig, recording: Recording, search_s: float = 2.0) -> Arrangement:
    """Order, turns and mirroring of the views, whatever their clocks say.

    Args:
        rig: the cameras.
        recording: views in the order of the rig.
        search_s: time offsets of up to so much do not matter.
    """
    sets = synchronized_people(recording, _none(rig))
    mirrored = _find_mirrored(rig, recording, sets)
    if mirrored:
        names = tuple(rig.names[view] for view in mirrored)
        return Arrangement(None, names, _mirror(recording, rig, mirrored))
    found = find_contradiction(rig, sets)
    offsets = _coarse_offsets(rig, recording, search_s)
    if offsets.any():
        # Late views look exchanged, and exchanged views late: whatever fits better is true.
        later = synchronized_people(recording, offsets)
        found_later = find_contradiction(rig, later)
        if found is None:
            found = found_later
        elif found_later is None and _explains(rig, recording, found, later, search_s):
            found = None
    return Arrangement(found, (), recording if found is None else rearranged(recording, found, rig))


def _none(rig: Rig) -> np.ndarray:
    return np.zeros(len(rig))


def _explains(
    rig: Rig, recording: Recording, found: Contradiction, later: list[list[np.ndarray]], search_s: float
) -> bool:
    """Whether offsets alone fit the views as well as the arrangement that was found does, at its offsets."""
    views = _changed(found)
    other = rearranged(recording, found, rig)
    offsets = _coarse_offsets(rig, other, search_s)
    best = disagreement_share(rig, synchronized_people(other, offsets), views)
    return disagreement_share(rig, later, views) <= _AS_WELL * best


def _changed(found: Contradiction) -> list[int]:
    return [
        view
        for view, (camera, turns) in enumerate(zip(found.cameras, found.turns, strict=True))
        if camera != view or turns
    ]


def _coarse_offsets(rig: Rig, recording: Recording, search_s: float) -> np.ndarray:
    """(V,) seconds; 0 where they are not clear."""
    tables = offset_tables(rig.cameras, recording_tracks(recording), len(recording.joint_set), search_s)
    offsets, clearness = search_offsets(tables, len(rig))
    return np.where(clearness >= LEAST_CLEARNESS, offsets, 0.0)


def synchronized_people(
    recording: Recording, offsets_s: Sequence[float] | np.ndarray, spacing_s: float = _SPACING_S
) -> list[list[np.ndarray]]:
    """Frame sets that are `spacing_s` apart: per camera the people (P, J, 3) of its nearest frame."""
    cameras = recording.shifted(list(offsets_s)).cameras
    running = [camera for camera in cameras if len(camera.stamps)]
    empty = np.zeros((0, len(recording.joint_set), 3))
    if len(running) < 2:
        return []
    start = sorted(camera.stamps[0] for camera in running)[1]
    end = sorted(camera.stamps[-1] for camera in running)[-2]
    times = np.arange(start, end + 1e-9, spacing_s)
    columns = []
    for camera in cameras:
        if not len(camera.stamps):
            columns.append([empty] * len(times))
            continue
        period = float(np.median(np.diff(camera.stamps))) if len(camera.stamps) > 1 else spacing_s
        after = np.clip(np.searchsorted(camera.stamps, times), 1, max(1, len(camera.stamps) - 1))
        before = np.maximum(after - 1, 0)
        after = np.minimum(after, len(camera.stamps) - 1)
        nearest = np.where(times - camera.stamps[before] < camera.stamps[after] - times, before, after)
        there = np.abs(camera.stamps[nearest] - times) <= _SAME_TIME * period + 1e-6
        columns.append(
            [camera.people[index] if near else empty for index, near in zip(nearest, there, strict=True)]
        )
    return [list(people) for people in zip(*columns, strict=True)]


def rearranged(recording: Recording, found: Contradiction, rig: Rig) -> Recording:
    """The recording with every view at its camera, and its images turned as they fit."""
    cameras = []
    for camera, view in zip(rig.cameras, found.order, strict=True):
        given, turns = recording.cameras[view], found.turns[view]
        people = given.people
        if turns % 4:
            people = tuple(_turned(own, camera.image_size, turns) for own in people)
        cameras.append(CameraDetections(camera.name, given.stamps, people))
    return dataclasses.replace(recording, cameras=tuple(cameras))


def _turned(people: np.ndarray, image_size: tuple[int, int], turns: int) -> np.ndarray:
    pixels = turn_points(people[..., :2], image_size, turns)
    return np.concatenate([pixels, people[..., 2:]], axis=-1) * (people[..., 2:] > 0)


def _find_mirrored(rig: Rig, recording: Recording, sets: list[list[np.ndarray]]) -> list[int]:
    """The views that fit far better as mirror images: all of them, or those that are added one by one."""
    everybody = list(range(len(rig)))
    if not sets or disagreement_share(rig, sets, everybody) < _FITS_SHARE:
        return []
    swap = list(recording.joint_set.mirror)

    def share(views: Sequence[int], over: Sequence[int]) -> float:
        mirrored = [
            [
                _mirrored(p, c.image_size, swap) if v in views else p
                for v, (p, c) in enumerate(zip(s, rig.cameras))
            ]
            for s in sets
        ]
        return disagreement_share(rig, mirrored, over)

    best: list[int] = []
    lowest = share(best, everybody)
    while len(best) < len(rig):
        trials = [sorted([*best, view]) for view in everybody if view not in best]
        if not best:
            trials.append(everybody)
        scores = [share(trial, everybody) for trial in trials]
        if min(scores) >= lowest:
            break
        lowest, best = min(scores), trials[int(np.argmin(scores))]
    if not best or share(best, best) >= _MIRROR_RATIO * _best_unmirrored(rig, recording, sets, best):
        return []
    return best


def _best_unmirrored(
    rig: Rig, recording: Recording, sets: list[list[np.ndarray]], views: Sequence[int]
) -> float:
    """Disagreement of the views in the best order and turns without mirroring."""
    found = find_contradiction(rig, sets)
    if found is not None:
        sets = synchronized_people(rearranged(recording, found, rig), _none(rig))
    return disagreement_share(rig, sets, views)


def _mirror(recording: Recording, rig: Rig, views: Sequence[int]) -> Recording:
    swap = list(recording.joint_set.mirror)
    cameras = [
        dataclasses.replace(given, people=tuple(_mirrored(p, camera.image_size, swap) for p in given.people))
        if view in views
        else given
        for view, (given, camera) in enumerate(zip(recording.cameras, rig.cameras, strict=True))
    ]
    return dataclasses.replace(recording, cameras=tuple(cameras))


def _mirrored(people: np.ndarray, image_size: tuple[int, int], swap: Sequence[int]) -> np.ndarray:
    """Detections (P, J, 3) as they are in the mirror image: left is right, of pixels and of joints."""
    result = people[:, swap].copy() if len(people) else people
    if len(people):
        result[..., 0] = np.where(result[..., 2] > 0, image_size[0] - 1 - result[..., 0], 0.0)
    return result
