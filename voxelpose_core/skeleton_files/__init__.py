"""Files of 3D skeletons: what `voxelpose estimate` writes, one module per format."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from voxelpose_core.errors import InputError
from voxelpose_core.skeleton_files import bvh, c3d, csv_file, json_file, mcap_file, npz_file, trc
from voxelpose_core.skeleton_files.filters import fill_gaps, max_cutoff_hz, smooth
from voxelpose_core.skeleton_files.json_file import read_skeletons
from voxelpose_core.skeleton_files.recording import FrameSkeletons, Recording, measured_rate
from voxelpose_core.skeleton_files.tracks import recording_of, tracks_of
from voxelpose_core.skeleton_files.written import Written

__all__ = [
    "FORMATS",
    "FrameSkeletons",
    "Recording",
    "SkeletonFormat",
    "Written",
    "format_of",
    "measured_rate",
    "processed",
    "read_skeletons",
    "write_skeletons",
]


@dataclass(frozen=True)
class SkeletonFormat:
    """A format of skeleton files.

    Attributes:
        name: for `--format`.
        ending: of its files.
        write: writes a recording to a path.
        check: InputError where it cannot be written on this computer; asked before any work.
        max_frames: frame sets that it can hold; None: any number.
    """

    name: str
    ending: str
    write: Callable[[Path, Recording], Written]
    check: Callable[[], None] = lambda: None
    max_frames: int | None = None


FORMATS = {
    found.name: found
    for found in (
        SkeletonFormat("json", ".json", json_file.write),
        SkeletonFormat("csv", ".csv", csv_file.write),
        SkeletonFormat("trc", ".trc", trc.write),
        SkeletonFormat("c3d", ".c3d", c3d.write, c3d.check_available, c3d.MAX_FRAMES),
        SkeletonFormat("bvh", ".bvh", bvh.write),
        SkeletonFormat("npz", ".npz", npz_file.write),
        SkeletonFormat("mcap", ".mcap", mcap_file.write, mcap_file.check_available),
    )
}


def format_of(path: Path | str, name: str | None = None) -> SkeletonFormat:
    """The format named, or that of a path's ending.

    Raises:
        InputError: neither is known.
    """
    if name is not None:
        if name not in FORMATS:
            raise InputError(f"format '{name}' is unknown: expected one of {', '.join(FORMATS)}")
        return FORMATS[name]
    ending = Path(path).suffix.lower()
    for found in FORMATS.values():
        if found.ending == ending:
            return found
    known = ", ".join(found.ending for found in FORMATS.values())
    wrong = f"ending '{ending}' is unknown" if ending else "has no ending"
    raise InputError(f"{path}: {wrong}, expected one of {known}, or --format")


def processed(
    recording: Recording, fill_s: float = 0.0, smooth_hz: float = 0.0, min_track_s: float = 0.0
) -> tuple[Recording, list[str]]:
    """A recording with what was asked for: short tracks left out, gaps filled, then joints smoothed.

    Args:
        recording: as estimated.
        fill_s: gaps of a joint up to so long are filled (`fill_gaps`); 0: none.
        smooth_hz: cutoff of a low-pass filter without delay (`smooth`); 0: none.
        min_track_s: people who were followed for less are left out; 0: none.

    Returns:
        the recording, and notes: a line each.
    """
    notes = []
    if min_track_s:
        recording, left_out = _without_short_tracks(recording, min_track_s)
        if left_out:
            notes.append(f"{left_out} track{'s' * (left_out != 1)} shorter than {min_track_s:g} s left out")
    done = dict(recording.processing)
    if smooth_hz >= max_cutoff_hz(recording.rate_hz):
        notes.append(
            f"not smoothed: {smooth_hz:g} Hz is too much for {recording.rate_hz:.6g} frame sets per second, "
            f"expected less than {max_cutoff_hz(recording.rate_hz):.3g} Hz"
        )
        smooth_hz = 0.0
    if not (fill_s or smooth_hz):
        return recording, notes
    tracks = tracks_of(recording)
    if tracks.resampled:
        notes += tracks.notes
    if fill_s:
        tracks, done["fill_s"] = fill_gaps(tracks, fill_s), fill_s
    if smooth_hz:
        tracks, done["smooth_hz"] = smooth(tracks, smooth_hz), smooth_hz
    return recording_of(tracks, recording, done), notes


def _without_short_tracks(recording: Recording, seconds: float) -> tuple[Recording, int]:
    """Without skeletons that were not followed for so long; and the number of tracks left out."""
    stamps: dict[int, list[float]] = {}
    for frame_set in recording.frame_sets:
        for skeleton in frame_set.skeletons:
            stamps.setdefault(skeleton.track_id, []).append(frame_set.stamp)
    period = 1.0 / recording.rate_hz
    short = {i for i, seen in stamps.items() if i >= 0 and seen[-1] - seen[0] + period < seconds - 1e-6}
    frame_sets = [
        dataclasses.replace(
            frame_set,
            skeletons=[s for s in frame_set.skeletons if s.track_id >= 0 and s.track_id not in short],
        )
        for frame_set in recording.frame_sets
    ]
    done = recording.processing | {"min_track_s": seconds}
    return dataclasses.replace(recording, frame_sets=frame_sets, processing=done), len(short)


def write_skeletons(
    paths: Sequence[Path | str], recording: Recording, name: str | None = None
) -> tuple[Written, InputError | None]:
    """Write a recording to each path, in the format named or that of its ending.

    Returns:
        what was written, and the error of the files that could not be: they keep no other from it.

    Raises:
        InputError: a format is unknown; nothing is written.
    """
    chosen = [(Path(path), format_of(path, name)) for path in paths]
    written, errors = Written(), []
    for path, found in chosen:
        try:
            answer = found.write(path, recording)
        except InputError as error:
            errors.append(str(error))
            continue
        written.paths += answer.paths
        written.notes += [note for note in answer.notes if note not in written.notes]
    return written, InputError("; ".join(errors)) if errors else None
