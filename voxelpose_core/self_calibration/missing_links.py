"""Why a camera shares no person with the others: a clock far off, mirrored images, or people apart."""

from __future__ import annotations

import dataclasses

import numpy as np

from voxelpose_core.self_calibration.camera_pairs import PairMatch, match_pair
from voxelpose_core.self_calibration.lifting import lift
from voxelpose_core.self_calibration.observations import Recording
from voxelpose_core.self_calibration.place_overlays import View
from voxelpose_core.self_calibration.tracks_2d import Track2D
from voxelpose_core.self_calibration.unknown_poses import Association, separated
from voxelpose_core.skeletons import JointSet

# Clocks are searched so many times as far for an explanation.
_FARTHER = 4.0
_OFFSET_STEP_S = 0.25
# An explanation must be this clear: persons that agree, and their share.
_LEAST_SUPPORT, _LEAST_AGREEMENT = 12.0, 0.5


def explain_missing_links(
    association: Association, recording: Recording, stature_mm: float, max_offset_s: float
) -> str:
    """One line: which camera shares no person with the others, why, and what to do."""
    groups = separated(association)
    names = [camera.name for camera in recording.cameras]
    lonely = groups[-1]
    others = groups[0]
    quoted = ", ".join(f"'{names[index]}'" for index in lonely)
    offset = _farther_offset(association, lonely, others, max_offset_s)
    if offset is not None:
        return (
            f"camera {quoted}: fits the others only with {offset:+.2f} s added to its stamps, more than the "
            f"{max_offset_s:g} s that are searched; cut the videos to the same start"
        )
    mirrored = _mirrored(association, recording.joint_set, lonely, others, stature_mm)
    if mirrored is not None:
        return (
            f"camera '{names[mirrored]}': fits the others only with its images mirrored; switch off "
            "mirroring in the camera or its driver"
        )
    return (
        f"camera {quoted}: shares no person with camera {', '.join(repr(names[index]) for index in others)}; "
        "walk where both see you, and check that the videos show one time"
    )


def _farther_offset(
    association: Association, lonely: list[int], others: list[int], max_offset_s: float
) -> float | None:
    """Seconds to add to the stamps of the lonely cameras, far beyond what was searched."""
    if not association.moving:
        return None
    count = int(np.ceil(_FARTHER * max(max_offset_s, 0.5) / _OFFSET_STEP_S))
    match = _best_match(association, lonely, others, np.arange(-count, count + 1) * _OFFSET_STEP_S)
    return match.offset_s if match is not None else None


def _mirrored(
    association: Association, joint_set: JointSet, lonely: list[int], others: list[int], stature_mm: float
) -> int | None:
    """The camera whose mirrored detections fit those of another one."""
    best, found = _LEAST_SUPPORT, None
    for turned in [*lonely, *others]:
        view = association.views[turned]
        tracks = [_mirrored_track(track, view.camera.image_size[0], joint_set) for track in view.tracks]
        views = list(association.views)
        views[turned] = View(view.camera, tracks, lift(view.camera, tracks, joint_set, stature_mm))
        across = others if turned in lonely else lonely
        match = _best_match(
            dataclasses.replace(association, views=tuple(views)), [turned], across, np.arange(-4, 5) * 0.25
        )
        if match is not None and match.support > best:
            best, found = match.support, turned
    return found


def _mirrored_track(track: Track2D, width: int, joint_set: JointSet) -> Track2D:
    """What the detector would have said of the mirrored image: left is right."""
    order = list(joint_set.mirror)
    pixels = track.pixels[:, order] * [-1.0, 1.0] + [width - 1.0, 0.0]
    velocities = track.velocities[:, order] * [-1.0, 1.0]
    return dataclasses.replace(track, pixels=pixels, velocities=velocities, scores=track.scores[:, order])


def _best_match(
    association: Association, ones: list[int], others: list[int], offsets: np.ndarray
) -> PairMatch | None:
    """The clearest match of a camera of `others` with one of `ones`; offsets are of the latter."""
    random = np.random.default_rng(0)
    best: PairMatch | None = None
    for other in others:
        for one in ones:
            a, b = association.views[other], association.views[one]
            if not a.tracks or not b.tracks:
                continue
            match = match_pair(a, b, offsets if association.moving else np.zeros(1), random)
            if match is None or match.agreement < _LEAST_AGREEMENT:
                continue
            if match.support > (best.support if best else _LEAST_SUPPORT):
                best = match
    return best
