"""People followed through a recording, on rows of a constant rate: what most other formats hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from voxelpose_core.errors import InputError
from voxelpose_core.pose_types import Skeleton
from voxelpose_core.skeleton_files.recording import FrameSkeletons, Recording, check_stamps
from voxelpose_core.skeletons import JointSet

# Periods that a stamp may be off its row; a recording with larger ones is resampled.
_MAX_OFF_ROW = 0.1
# More rows, of which fewer than one in so many has a frame set, are an error.
_MOST_ROWS, _ROWS_PER_FRAME_SET = 1_000_000, 100
# Resampling interpolates between two frame sets at most this many periods apart.
_MAX_APART = 2.0


@dataclass
class Track:
    """One person, from the first row to the last one in which it has a valid joint.

    Attributes:
        track_id: the tracker's id.
        first: row of the first entry.
        joints: (T, J, 3) mm, world frame of the rig; NaN in gaps.
        scores: (T, J), 0 in gaps.
    """

    track_id: int
    first: int
    joints: np.ndarray
    scores: np.ndarray

    @property
    def rows(self) -> slice:
        """Where the entries lie among all rows."""
        return slice(self.first, self.first + len(self.joints))


@dataclass
class Tracks:
    """All people with a track id, on rows of a constant rate.

    Attributes:
        joint_set: of all tracks.
        rate_hz: rows per second.
        frames: (T,) frame number of each row.
        times: (T,) seconds.
        tracks: in the order of their ids; those without a valid joint are left out.
        resampled: whether the rows are others than the frame sets.
        notes: what is not in the tracks, or not as it was measured: a line each.
    """

    joint_set: JointSet
    rate_hz: float
    frames: np.ndarray
    times: np.ndarray
    tracks: list[Track]
    resampled: bool = False
    notes: list[str] = field(default_factory=list)


def tracks_of(recording: Recording) -> Tracks:
    """The tracks of a recording.

    A recording whose stamps do not lie on rows of a constant rate (a video with a variable frame
    rate) is resampled: joints are interpolated linearly between two frame sets that both have them.

    Raises:
        InputError: stamps do not rise, or a frame set has one track id twice.
    """
    frame_sets = recording.frame_sets
    stamps = np.array([frame_set.stamp for frame_set in frame_sets], np.float64)
    check_stamps(frame_sets)
    _check_span(frame_sets, recording.rate_hz)
    notes = []
    rows = _rows(stamps, recording.rate_hz)
    resampled = rows is None
    if rows is None:
        notes.append(
            f"the frame sets do not come at a constant rate: resampled to {recording.rate_hz:.6g} Hz by "
            "linear interpolation"
        )
        rows = np.arange(len(stamps))
    tracks = _collect(frame_sets, rows, len(recording.joint_set), notes)
    if not len(stamps):
        return Tracks(recording.joint_set, recording.rate_hz, np.zeros(0, int), np.zeros(0), [])
    if resampled:
        count = int((stamps[-1] - stamps[0]) * recording.rate_hz + 1e-6) + 1
        frames, times = np.arange(count), stamps[0] + np.arange(count) / recording.rate_hz
        tracks = [_resampled(track, stamps, times, recording.rate_hz) for track in tracks]
    else:
        count = int(rows[-1]) + 1
        between = np.interp(np.arange(count), rows, [frame_set.frame for frame_set in frame_sets])
        frames, times = np.round(between).astype(int), stamps[0] + np.arange(count) / recording.rate_hz
        times[rows] = stamps
    tracks = [trimmed for track in tracks if (trimmed := _trimmed(track, notes)) is not None]
    return Tracks(recording.joint_set, recording.rate_hz, frames, times, tracks, resampled, notes)


def recording_of(tracks: Tracks, recording: Recording, processing: dict[str, float]) -> Recording:
    """The recording with its tracks' joints as they are now, after gaps were filled or joints smoothed.

    A changed skeleton loses its covariances, which are no longer those of its joints. Skeletons
    without a track id stay as they are.
    """
    by_row = {
        row: FrameSkeletons(int(frame), float(time), [])
        for row, (frame, time) in enumerate(zip(tracks.frames, tracks.times))
    }
    measured = set()
    for frame_set in recording.frame_sets:
        row = min(round((frame_set.stamp - tracks.times[0]) * tracks.rate_hz), len(by_row) - 1)
        measured.add(row)
        kept = frame_set.skeletons
        if tracks.resampled:
            kept = [skeleton for skeleton in kept if skeleton.track_id < 0]
        by_row[row].skeletons.extend(kept)
    for track in tracks.tracks:
        for entry, row in enumerate(range(track.first, track.first + len(track.joints))):
            _put(by_row[row].skeletons, track, entry)
    frame_sets = [f for row, f in by_row.items() if row in measured or f.skeletons]
    return dataclasses.replace(recording, frame_sets=frame_sets, processing=processing)


def _put(skeletons: list[Skeleton], track: Track, entry: int) -> None:
    """Replace a track's skeleton in a frame set, or add it, where the track says something else."""
    joints, scores = track.joints[entry], track.scores[entry]
    valid = np.isfinite(joints).all(axis=1)
    places = [i for i, s in enumerate(skeletons) if s.track_id == track.track_id]
    if not places:
        if valid.any():
            joints = np.where(valid[:, None], joints, 0.0)
            skeletons.append(Skeleton(joints, scores, valid, float(scores[valid].min()), track.track_id))
        return
    before = skeletons[places[0]]
    joints = np.where(valid[:, None], joints, before.joints)
    same = np.array_equal(joints, before.joints) and np.array_equal(valid, before.joint_valid)
    if not same:
        skeletons[places[0]] = dataclasses.replace(
            before, joints=joints, joint_valid=valid, joint_scores=scores, joint_covariances=None
        )


def _check_span(frame_sets: Sequence[FrameSkeletons], rate_hz: float) -> None:
    """InputError where nearly all rows would be empty: a frame number or stamp that is wrong."""
    if not frame_sets:
        return
    rows = (frame_sets[-1].stamp - frame_sets[0].stamp) * rate_hz
    if rows > _MOST_ROWS and rows > _ROWS_PER_FRAME_SET * len(frame_sets):
        pairs = zip(frame_sets, frame_sets[1:])
        before, after = max(pairs, key=lambda pair: pair[1].stamp - pair[0].stamp)
        raise InputError(
            f"frame {after.frame} comes {after.stamp - before.stamp:.0f} s after frame {before.frame}, too "
            "late for rows at a constant rate: is its number or stamp wrong? Leave it out with --end"
        )


def _rows(stamps: np.ndarray, rate_hz: float) -> np.ndarray | None:
    """The row of each stamp; None where they do not lie on rows of that rate."""
    if not len(stamps):
        return np.zeros(0, int)
    exact = (stamps - stamps[0]) * rate_hz
    rows = np.round(exact).astype(int)
    if np.abs(exact - rows).max() > _MAX_OFF_ROW or (np.diff(rows) < 1).any():
        return None
    return rows


def _collect(
    frame_sets: Sequence[FrameSkeletons], rows: np.ndarray, joint_count: int, notes: list[str]
) -> list[Track]:
    seen: dict[int, list[tuple[int, Skeleton]]] = {}
    unnumbered = 0
    for row, frame_set in zip(rows, frame_sets):
        for skeleton in frame_set.skeletons:
            entries = seen.setdefault(skeleton.track_id, [])
            if skeleton.track_id < 0:
                unnumbered += 1
            elif entries and entries[-1][0] == row:
                raise InputError(f"frame {frame_set.frame} has track id {skeleton.track_id} twice")
            entries.append((int(row), skeleton))
    seen.pop(-1, None)
    if unnumbered:
        notes.append(
            f"{unnumbered} skeleton{'s' * (unnumbered != 1)} without a track id (seen too shortly to be "
            "followed) left out"
        )
    return [_track(track_id, entries, joint_count) for track_id, entries in sorted(seen.items())]


def _track(track_id: int, entries: Sequence[tuple[int, Skeleton]], joint_count: int) -> Track:
    first, last = entries[0][0], entries[-1][0]
    joints = np.full((last - first + 1, joint_count, 3), np.nan)
    scores = np.zeros((last - first + 1, joint_count))
    for row, skeleton in entries:
        valid = np.asarray(skeleton.joint_valid, bool) & np.isfinite(skeleton.joints).all(axis=1)
        joints[row - first, valid] = skeleton.joints[valid]
        scores[row - first, valid] = skeleton.joint_scores[valid]
    return Track(track_id, first, joints, scores)


def _resampled(track: Track, stamps: np.ndarray, times: np.ndarray, rate_hz: float) -> Track:
    """A track whose rows are frame sets at `stamps`, at `times`."""
    joints = np.full((len(stamps), *track.joints.shape[1:]), np.nan)
    scores = np.zeros(joints.shape[:2])
    joints[track.rows], scores[track.rows] = track.joints, track.scores
    after = np.clip(np.searchsorted(stamps, times, side="left"), 1, len(stamps) - 1)
    before = after - 1
    apart = stamps[after] - stamps[before]
    share = (times - stamps[before]) / apart
    near = apart * rate_hz <= _MAX_APART
    between = (1.0 - share[:, None, None]) * joints[before] + share[:, None, None] * joints[after]
    found = np.where(near[:, None, None], between, np.nan)
    score = np.where(near[:, None], np.minimum(scores[before], scores[after]), 0.0)
    # At a stamp itself nothing is interpolated: its neighbour may lack what it has.
    for index, exact in ((before, np.abs(share) < 1e-3), (after, np.abs(share - 1.0) < 1e-3)):
        found[exact], score[exact] = joints[index[exact]], scores[index[exact]]
    score = np.where(np.isfinite(found).all(axis=2), score, 0.0)
    return Track(track.track_id, 0, found, score)


def _trimmed(track: Track, notes: list[str]) -> Track | None:
    """Without rows at its ends that have no valid joint; None where none has any."""
    filled = np.flatnonzero(np.isfinite(track.joints).all(axis=2).any(axis=1))
    if not len(filled):
        notes.append(f"person {track.track_id} has no valid joint: left out")
        return None
    keep = slice(filled[0], filled[-1] + 1)
    return Track(track.track_id, track.first + int(filled[0]), track.joints[keep], track.scores[keep])
