"""Time offsets of cameras from the people whom they share.

A coarse search over seconds brings the cameras within a few tens of milliseconds; then the bundle adjustment
finds the offsets, and the small errors of the calibration with them: a camera that is turned looks late to
one that people pass. Between its rounds detections are interpolated anew at the shifted times.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.self_calibration.adjustment import Adjustment, adjust
from voxelpose_core.self_calibration.adjustment_objective import OFFSET, AdjustmentSettings
from voxelpose_core.self_calibration.correspondence import (
    CLOSE_SHARE,
    ROUGH_SHARE,
    linked_shares,
    shared_poses,
)
from voxelpose_core.self_calibration.halves import halves_in_time
from voxelpose_core.self_calibration.held_out import disagreement
from voxelpose_core.self_calibration.observations import Recording, SharedPoses
from voxelpose_core.self_calibration.offset_search import offset_tables, search_offsets
from voxelpose_core.self_calibration.tracks_2d import Track2D, recording_tracks
from voxelpose_core.skeletons import JointSet

# Least difference of log distances at the offset and elsewhere: people move, and the offset is in the search.
LEAST_CLEARNESS = 0.2
# Rounds of association, interpolation and adjustment; they end when offsets change by less, s.
_ROUNDS, _SETTLED_S = 5, 0.001
# A fit that begins near its end needs fewer estimates of the noise.
_LATER_STAGES = 2
# With fewer poses shared by a camera nothing is said about it.
_LEAST_POSES = 6
# A camera that fits the others takes part in so many of the poses that it could, and disagrees with them by
# less than this share of people's size, be the detector as poor as any.
LEAST_LINKED, LARGEST_SHARE = 0.6, 0.08
# Halves of the recording must agree on the offset to this, ms.
_HALVES_MS = 20.0


@dataclass(frozen=True, eq=False)
class OffsetEstimate:
    """Time offsets of V cameras.

    Attributes:
        offsets_ms: (V,) to be added to the stamps of each camera; that of the first is 0. 0 where unknown.
        sigma_ms: (V,) standard deviations; infinite where unknown.
        halves_ms: (2, V) the offsets that each half of the recording gives alone.
        reasons: per camera '' where its offset is known, else in words why it is not.
    """

    offsets_ms: np.ndarray
    sigma_ms: np.ndarray
    halves_ms: np.ndarray
    reasons: tuple[str, ...]

    @property
    def known(self) -> np.ndarray:
        """(V,) bool."""
        return np.array([not reason for reason in self.reasons])


@dataclass(frozen=True, eq=False)
class Alignment:
    """Tracks whose stamps agree, the people in them, and the rig that fits them.

    Attributes:
        tracks: per camera, by stamps with `applied_s` added.
        applied_s: (V,) offsets that are in the stamps of tracks and poses.
        poses: K, by these stamps; there may be none.
        fit: of all poses; what remains of the offsets is next to nothing.
        clearness: (V,) of the coarse search, see `search_offsets`.
    """

    tracks: list[list[Track2D]]
    applied_s: np.ndarray
    poses: SharedPoses
    fit: Adjustment
    clearness: np.ndarray

    @property
    def offsets_s(self) -> np.ndarray:
        """(V,) in all."""
        return self.applied_s + self.fit.offsets_s


def find_offsets(
    recording: Recording,
    rig: Rig,
    search_s: float = 2.0,
    settings: AdjustmentSettings = AdjustmentSettings(),
) -> OffsetEstimate:
    """The time offset of each camera of a roughly calibrated rig.

    Args:
        recording: 2D detections of people who move, in the order of the rig.
        rig: may be off by a few degrees.
        search_s: offsets of up to so much are found.
        settings: how far the rig may be off.

    Raises:
        InputError: the recording has other cameras than the rig.
    """
    check_cameras(rig, recording)
    alignment = align(recording, rig.cameras, search_s, settings)
    halves = fit_halves(alignment, rig.cameras, recording.joint_set, settings)
    return estimate_offsets(alignment, halves, search_s)


def check_cameras(rig: Rig, recording: Recording) -> None:
    """InputError where the recording is not of the rig's cameras, in their order."""
    names = tuple(camera.name for camera in recording.cameras)
    if names != rig.names:
        raise InputError(
            f"rig '{rig.name}': the recording is of cameras {', '.join(names)}, "
            f"expected {', '.join(rig.names)} in this order"
        )


def align(
    recording: Recording,
    cameras: Sequence[Camera],
    search_s: float,
    settings: AdjustmentSettings = AdjustmentSettings(),
) -> Alignment:
    """Offsets, association and adjustment in turns, until nothing changes."""
    tracks = recording_tracks(recording)
    tables = offset_tables(cameras, tracks, len(recording.joint_set), search_s)
    offsets, clearness = search_offsets(tables, len(cameras))
    offsets = np.where(clearness >= LEAST_CLEARNESS, offsets, 0.0)
    fitted, share = tuple(cameras), ROUGH_SHARE
    for _ in range(_ROUNDS):
        shifted = shifted_tracks(tracks, offsets)
        poses = shared_poses(recording, fitted, largest_share=share, tracks=shifted)
        fit = adjust(fitted, poses, recording.joint_set, settings, prior=cameras)
        result = Alignment(shifted, offsets, poses, fit, clearness)
        if np.abs(fit.offsets_s).max() < _SETTLED_S and share == CLOSE_SHARE:
            break
        offsets, fitted, share = result.offsets_s, fit.cameras, CLOSE_SHARE
        settings = dataclasses.replace(settings, stages=_LATER_STAGES)
    return result


def shifted_tracks(tracks: list[list[Track2D]], offsets_s: np.ndarray) -> list[list[Track2D]]:
    """The tracks with an offset added to the stamps of each camera."""
    return [
        [dataclasses.replace(track, times=track.times + offset) for track in own]
        for own, offset in zip(tracks, offsets_s, strict=True)
    ]


def fit_halves(
    alignment: Alignment, cameras: Sequence[Camera], joint_set: JointSet, settings: AdjustmentSettings
) -> tuple[Adjustment, ...]:
    """What each half of the poses says alone, priors at `cameras`; empty where a half has none."""
    masks = halves_in_time(alignment.poses).masks
    settings = dataclasses.replace(settings, stages=_LATER_STAGES)
    if not all(mask.any() for mask in masks):
        return ()
    return tuple(
        adjust(alignment.fit.cameras, alignment.poses.select(mask), joint_set, settings, prior=cameras)
        for mask in masks
    )


def estimate_offsets(alignment: Alignment, halves: Sequence[Adjustment], search_s: float) -> OffsetEstimate:
    """The offsets of an alignment, and whether they can be relied on: both `fit_halves` must say the same."""
    count = len(alignment.offsets_s)
    halves_ms = np.full((2, count), np.nan)
    for row, fit in zip(halves_ms, halves, strict=False):
        row[:] = 1000.0 * (alignment.applied_s + fit.offsets_s)
    differences = np.abs(halves_ms[1] - halves_ms[0])
    sigma_ms = np.fmax(1000.0 * alignment.fit.deviations(OFFSET), differences / 2)
    counts = shared_counts(alignment.poses)
    linked = linked_shares(alignment.poses, alignment.tracks)
    apart = disagreement(alignment.fit.cameras, alignment.poses, alignment.fit.offsets_s).shares
    reasons = [""] * count
    for view in range(1, count):
        if min(counts[0], counts[view]) < _LEAST_POSES:
            reasons[view] = "too few people are seen by it and by others at one time"
        elif alignment.clearness[view] < LEAST_CLEARNESS:
            reasons[view] = (
                f"no offset within {search_s:g} s fits clearly better than others: people stand still, "
                "or the offset is larger"
            )
        elif linked[view] < LEAST_LINKED or apart[view] > LARGEST_SHARE:
            reasons[view] = (
                f"with the best one within {search_s:g} s it still does not fit the others: the offset is "
                "larger, or its images are another camera's"
            )
        elif not differences[view] <= _HALVES_MS:
            reasons[view] = f"halves of the recording differ by {differences[view]:.0f} ms"
    known = np.array([not reason for reason in reasons])
    return OffsetEstimate(
        np.where(known, 1000.0 * alignment.offsets_s, 0.0),
        np.where(known, sigma_ms, np.inf),
        halves_ms,
        tuple(reasons),
    )


def shared_counts(poses: SharedPoses) -> np.ndarray:
    """(V,) how many of the poses each camera sees."""
    return (poses.scores > 0).any(axis=-1).sum(axis=0)
