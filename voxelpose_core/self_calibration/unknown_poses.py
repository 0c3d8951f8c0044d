"""Where cameras stand, roughly, from the people in their images: the start of a calibration from nothing.

All pairs of cameras are matched (`camera_pairs`). The pairs span trees over the cameras; the tree with which
most other pairs agree gives the poses, the clocks, and who is who in all cameras.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.camera_arrangement import with_pose
from voxelpose_core.self_calibration.camera_pairs import PairMatch, match_pair, refit_pair
from voxelpose_core.self_calibration.lifting import lift
from voxelpose_core.self_calibration.observations import Recording, SharedPoses
from voxelpose_core.self_calibration.place_overlays import View
from voxelpose_core.self_calibration.tracks_2d import recording_tracks
from voxelpose_core.skeletons import JointSet

# Steps of the search for time offsets, s; people move by less than lifted places are uncertain.
_OFFSET_STEP_S = 0.25
# A pair's clocks are searched only near what two other pairs say, if those are as clear as this.
_CLEAR_SUPPORT, _CLEAR_RIVAL, _CLEAR_SHARE = 15.0, 0.6, 0.03
# Pairs of cameras are left out that both have clear matches with so many others.
_ENOUGH_PARTNERS = 5
# Pairs with less support are no evidence.
_LEAST_SUPPORT = 4.0
# Of the persons who could agree so many do: without question, if no other pose does as well, and if two
# other pairs confirm it. (A person who walks straight on lies in one plane, which has a second pose.)
_NEARLY_ALL, _MOST_AGREE, _CONFIRMED_AGREE = 0.7, 0.5, 0.4
# Pairs that agree with a tree: rotation, degrees, and clock, s.
_AGREE_DEG, _AGREE_S = 12.0, 0.15
# Pairs whose rays are nearly parallel say little about where cameras stand, degrees.
_GOOD_PARALLAX_DEG = 20.0
# Poses of people for the adjustment are at least this far apart, s, and at most so many.
_SPACING_S, _MAX_POSES = 0.2, 250


@dataclass(frozen=True, eq=False)
class RoughRig:
    """A start for the adjustment.

    Attributes:
        cameras: in a world with z up, its floor about 0.
        offsets_s: (V,) added to the stamps, all cameras agree; the first is 0.
        tree: the pairs of cameras whose relative poses these are.
        agreeing: support of the pairs that agree with it, by pair.
        disagreeing: support of the pairs that do not.
    """

    cameras: tuple[Camera, ...]
    offsets_s: np.ndarray
    tree: tuple[tuple[int, int], ...]
    agreeing: dict[tuple[int, int], float]
    disagreeing: dict[tuple[int, int], float]


@dataclass(frozen=True, eq=False)
class Association:
    """All cameras of a recording, and what its pairs have in common.

    Attributes:
        views: per camera.
        pairs: of cameras (a, b), a < b; pairs that have nothing in common are missing.
        moving: frames follow each other closely enough for tracks; without, all clocks are taken for one.
    """

    views: tuple[View, ...]
    pairs: dict[tuple[int, int], PairMatch]
    moving: bool


def associate(
    recording: Recording,
    lenses: Sequence[Camera],
    stature_mm: float,
    max_offset_s: float = 1.0,
    seed: int = 0,
) -> Association:
    """Match all pairs of cameras.

    Args:
        recording: of V cameras.
        lenses: V cameras of which only the lens is used.
        stature_mm: of the people, for the scale.
        max_offset_s: clocks differ from the first camera's by at most this.
        seed: of the draws.
    """
    random = np.random.default_rng(seed)
    tracks = recording_tracks(recording)
    views = tuple(
        View(camera, own, lift(camera, own, recording.joint_set, stature_mm))
        for camera, own in zip(lenses, tracks, strict=True)
    )
    moving = any(len(track) >= 3 for own in tracks for track in own)
    pairs: dict[tuple[int, int], PairMatch] = {}
    for a, b in itertools.combinations(range(len(views)), 2):
        if not views[a].tracks or not views[b].tracks or _has_enough(pairs, a, b):
            continue
        offsets = _offsets_to_try(pairs, a, b, max_offset_s) if moving else np.zeros(1)
        match = match_pair(views[a], views[b], offsets, random, moving)
        if match is not None and match.support >= _LEAST_SUPPORT:
            pairs[a, b] = match
    return Association(views, _believable(pairs), moving)


def _believable(pairs: dict[tuple[int, int], PairMatch]) -> dict[tuple[int, int], PairMatch]:
    """The pairs in which most persons agree, and those that fit two others in a loop of three cameras.

    Some pose can be found for any two cameras under which a part of what they see agrees.
    """
    cameras = {camera for pair in pairs for camera in pair}
    return {
        (a, b): match
        for (a, b), match in pairs.items()
        if match.agreement >= _NEARLY_ALL
        or (match.agreement >= _MOST_AGREE and match.rival <= _CLEAR_RIVAL * match.support)
        or (match.agreement >= _CONFIRMED_AGREE and any(_closes(pairs, a, b, c) for c in cameras - {a, b}))
    }


def _closes(pairs: dict[tuple[int, int], PairMatch], a: int, b: int, c: int) -> bool:
    """Whether the way from a over c to b is the way from a to b, in rotation and clock."""
    legs = []
    for one, other in ((a, c), (c, b), (a, b)):
        match = pairs.get((min(one, other), max(one, other)))
        if match is None:
            return False
        R, offset = match.pose.R, match.offset_s
        legs.append((R, offset) if one < other else (R.T, -offset))
    (first, delay), (second, more), (direct, at_once) = legs
    return _angle_deg(second @ first @ direct.T) < _AGREE_DEG and abs(delay + more - at_once) < _AGREE_S


def _angle_deg(rotation: np.ndarray) -> float:
    return float(np.degrees(np.arccos(np.clip((np.trace(rotation) - 1.0) / 2.0, -1.0, 1.0))))


def with_lenses(
    association: Association, lenses: Sequence[Camera], joint_set: JointSet, stature_mm: float
) -> Association:
    """The same matches with other lenses, their relative poses fitted again."""
    views = tuple(
        View(camera, view.tracks, lift(camera, view.tracks, joint_set, stature_mm))
        for camera, view in zip(lenses, association.views, strict=True)
    )
    pairs = {}
    for (a, b), match in association.pairs.items():
        again = refit_pair(views[a], views[b], match, association.moving)
        if again is not None:
            pairs[a, b] = dataclasses.replace(again, rival=match.rival)
    return Association(views, pairs, association.moving)


def _offsets_to_try(
    pairs: dict[tuple[int, int], PairMatch], a: int, b: int, max_offset_s: float
) -> np.ndarray:
    reach = max_offset_s if a == 0 else 2 * max_offset_s
    count = int(np.ceil(reach / _OFFSET_STEP_S))
    every = np.arange(-count, count + 1) * _OFFSET_STEP_S
    for c in range(a):
        one, other = pairs.get((c, a)), pairs.get((c, b))
        if one and other and _is_clear(one) and _is_clear(other):
            return np.array([other.offset_s - one.offset_s])
    return every


def _has_enough(pairs: dict[tuple[int, int], PairMatch], a: int, b: int) -> bool:
    """Whether both cameras of a large rig have clear matches with several others already."""
    return all(
        sum(camera in pair and _is_clear(match) for pair, match in pairs.items()) >= _ENOUGH_PARTNERS
        for camera in (a, b)
    )


def _is_clear(match: PairMatch) -> bool:
    return (
        match.support >= _CLEAR_SUPPORT
        and match.rival <= _CLEAR_RIVAL * match.support
        and match.share <= _CLEAR_SHARE
    )


# --- trees ----------------------------------------------------------------------------------------------


def spread_of_places(association: Association) -> float:
    """Deviation of people's places, as a share of their distance, in the camera that sees most of it."""
    spreads = [0.0]
    for view in association.views:
        places = np.concatenate([*view.lifted.places, np.zeros((0, 3))])[:, :2]
        places = places[np.isfinite(places[:, 0])]
        if len(places):
            off = np.linalg.norm(places - np.median(places, axis=0), axis=1)
            # Without the outermost: a few wrong places are no walk.
            kept = off[off <= np.quantile(off, 0.95)]
            spreads.append(float(np.sqrt((kept**2).mean()) / np.median(np.linalg.norm(places, axis=1))))
    return max(spreads)


def separated(association: Association) -> list[list[int]]:
    """The cameras in groups that share people among themselves only, the largest first."""
    groups = [{index} for index in range(len(association.views))]
    for a, b in association.pairs:
        one = next(group for group in groups if a in group)
        other = next(group for group in groups if b in group)
        if one is not other:
            one |= other
            groups.remove(other)
    return sorted((sorted(group) for group in groups), key=lambda group: (-len(group), group))


def rough_rigs(association: Association) -> list[RoughRig]:
    """Starts from different trees over all cameras, that with the most agreement first.

    Every pair of cameras must be linked by others, see `separated`.
    """
    found: dict[tuple[tuple[int, int], ...], RoughRig] = {}
    for root in range(len(association.views)):
        for avoid in ((), *(((tree),) for tree in list(found)[:1])):
            tree = _tree(association, root, {pair for other in avoid for pair in other})
            key = tuple(sorted(tree))
            if key not in found:
                found[key] = _rig_of_tree(association, tree)
    return sorted(found.values(), key=lambda rig: -sum(rig.agreeing.values()))


def _tree(association: Association, root: int, avoid: set[tuple[int, int]]) -> list[tuple[int, int]]:
    """Pairs that link all cameras with the root, grown by the best pair (Prim)."""
    reached, tree = {root}, []
    while len(reached) < len(association.views):
        pair = max(
            (pair for pair in association.pairs if len(reached & set(pair)) == 1),
            key=lambda pair: _weight(association.pairs[pair]) * (0.3 if pair in avoid else 1.0),
        )
        tree.append(pair)
        reached |= set(pair)
    return tree


def _weight(match: PairMatch) -> float:
    parallax = np.sin(min(match.parallax, np.pi - match.parallax))
    good = min(1.0, parallax / np.sin(np.radians(_GOOD_PARALLAX_DEG)))
    return float((match.support - 0.5 * match.rival) * good)


def _rig_of_tree(association: Association, tree: Sequence[tuple[int, int]]) -> RoughRig:
    root = tree[0][0]
    lifted = association.views[root].lifted
    floor = np.nanmedian(np.concatenate(lifted.places)[:, 2])
    rotations, centers, offsets = {root: lifted.upright.T}, {root: np.array([0.0, 0.0, -floor])}, {root: 0.0}
    waiting = list(tree)
    while waiting:
        pair = next(pair for pair in waiting if (pair[0] in rotations) != (pair[1] in rotations))
        waiting.remove(pair)
        (a, b), match = pair, association.pairs[pair]
        R, t = match.pose.R, match.pose.t * match.baseline_mm
        if a in rotations:
            rotations[b] = R @ rotations[a]
            centers[b] = centers[a] - rotations[b].T @ t
            offsets[b] = offsets[a] + match.offset_s
        else:
            rotations[a] = R.T @ rotations[b]
            centers[a] = centers[b] + rotations[b].T @ t
            offsets[a] = offsets[b] - match.offset_s
    order = range(len(association.views))
    cameras = tuple(with_pose(association.views[v].camera, rotations[v], centers[v]) for v in order)
    offsets_s = np.array([offsets[v] - offsets[0] for v in order])
    agreeing: dict[tuple[int, int], float] = {}
    disagreeing: dict[tuple[int, int], float] = {}
    for pair, match in association.pairs.items():
        agree = _agrees(cameras, offsets_s, pair, match)
        (agreeing if agree else disagreeing)[pair] = match.support
    return RoughRig(cameras, offsets_s, tuple(tree), agreeing, disagreeing)


def _agrees(
    cameras: Sequence[Camera], offsets_s: np.ndarray, pair: tuple[int, int], match: PairMatch
) -> bool:
    a, b = pair
    angle = _angle_deg(match.pose.R @ cameras[a].R @ cameras[b].R.T)
    return bool(angle < _AGREE_DEG and abs(offsets_s[b] - offsets_s[a] - match.offset_s) < _AGREE_S)


# --- people -----------------------------------------------------------------------------------------------


def shared_by_tracks(association: Association, rough: RoughRig) -> SharedPoses:
    """The people that the pairs agreeing with a rig have found, at times on the common clock."""
    person_of = _people(association, rough)
    views = association.views
    by_person: dict[int, list[tuple[int, int]]] = {}
    for node, person in person_of.items():
        by_person.setdefault(person, []).append(node)
    parts = []
    for person, nodes in sorted(by_person.items()):
        stamps = [views[v].tracks[i].times + rough.offsets_s[v] for v, i in nodes]
        times = _spaced(np.unique(np.concatenate(stamps)))
        parts.append(_poses_of(association, rough, person, nodes, times))
    if not parts:
        joints = association.views[0].tracks[0].pixels.shape[1] if association.views[0].tracks else 1
        shape = (0, len(views), joints)
        return SharedPoses(np.zeros(0), np.zeros(0, int), *(np.zeros((*shape, 2)),) * 2, np.zeros(shape))
    merged = SharedPoses(*(np.concatenate(values) for values in zip(*(vars(p).values() for p in parts))))
    order = np.argsort(merged.times, kind="stable")
    if len(order) > _MAX_POSES:
        order = order[np.linspace(0, len(order) - 1, _MAX_POSES).round().astype(int)]
    return merged.select(order)


def _spaced(times: np.ndarray) -> np.ndarray:
    kept: list[float] = []
    for time in times.tolist():
        if not kept or time - kept[-1] >= _SPACING_S - 1e-3:
            kept.append(time)
    return np.array(kept)


def _poses_of(
    association: Association,
    rough: RoughRig,
    person: int,
    nodes: Sequence[tuple[int, int]],
    times: np.ndarray,
) -> SharedPoses:
    """One person's poses at those times (K,) at which two cameras see it."""
    views = association.views
    joints = views[nodes[0][0]].tracks[nodes[0][1]].pixels.shape[1]
    shape = (len(times), len(views), joints)
    pixels, velocities, scores = np.zeros((*shape, 2)), np.zeros((*shape, 2)), np.zeros(shape)
    for view, track in nodes:
        own = views[view].tracks[track].at(times - rough.offsets_s[view])
        there = own[2].sum(axis=-1) > scores[:, view].sum(axis=-1)
        for target, values in zip((pixels, velocities, scores), own, strict=True):
            target[there, view] = values[there]
    shared = ((scores > 0).sum(axis=-1) > 0).sum(axis=1) >= 2
    people = np.full(len(times), person)
    return SharedPoses(times, people, pixels, velocities, scores).select(shared)


def _people(association: Association, rough: RoughRig) -> dict[tuple[int, int], int]:
    """Person of (camera, track): tracks that pairs link, unless two of one camera run at one time."""
    members: dict[tuple[int, int], set[tuple[int, int]]] = {}
    for pair in sorted(rough.agreeing, key=lambda pair: -_weight(association.pairs[pair])):
        for one, other in association.pairs[pair].tracks:
            first = members.setdefault((pair[0], one), {(pair[0], one)})
            second = members.setdefault((pair[1], other), {(pair[1], other)})
            if first is second or _conflict(association, first, second):
                continue
            first |= second
            for node in second:
                members[node] = first
    numbers: dict[int, int] = {}
    return {node: numbers.setdefault(id(group), len(numbers)) for node, group in members.items()}


def _conflict(association: Association, first: set[tuple[int, int]], second: set[tuple[int, int]]) -> bool:
    """Whether two tracks of one camera would be one person at one time."""
    for (view, one), (other_view, other) in itertools.product(first, second):
        if view == other_view and one != other:
            a, b = association.views[view].tracks[one], association.views[view].tracks[other]
            if a.times[0] <= b.times[-1] and b.times[0] <= a.times[-1]:
                return True
    return False
