"""`--out` and what changes it: files of skeletons that the subcommands write."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from voxelpose_core.command_line.options import argument_type, finite_number, warn
from voxelpose_core.errors import InputError
from voxelpose_core.frame_sets import FrameSets
from voxelpose_core.skeleton_files import (
    FORMATS,
    FrameSkeletons,
    Recording,
    format_of,
    measured_rate,
    processed,
    write_skeletons,
)
from voxelpose_core.skeleton_files.filters import max_cutoff_hz
from voxelpose_core.skeletons import JointSet


def add_skeleton_outputs(parser: argparse.ArgumentParser) -> None:
    """`--out`, `--format`, `--fill`, `--smooth` and `--min-track`."""
    endings = ", ".join(found.ending for found in FORMATS.values())
    parser.add_argument(
        "--out",
        nargs="+",
        action="extend",
        required=True,
        metavar="FILE",
        help=f"skeletons to write, each by its ending: {endings}",
    )
    parser.add_argument("--format", choices=tuple(FORMATS), help="format of --out, whatever its ending")
    parser.add_argument(
        "--fill",
        type=argument_type(_above_0),
        default=0.0,
        metavar="SECONDS",
        help="fill gaps of a joint up to so long in --out (default: gaps stay)",
    )
    parser.add_argument(
        "--smooth",
        type=argument_type(_above_0),
        default=0.0,
        metavar="HZ",
        help="low-pass filter without delay (Butterworth) for --out, cutoff (default: none)",
    )
    parser.add_argument(
        "--min-track",
        type=argument_type(_above_0),
        default=0.0,
        metavar="SECONDS",
        help="leave people out of --out who were followed for less (default: all are written)",
    )


def check_skeleton_outputs(arguments: argparse.Namespace) -> None:
    """Refuse, before any work, formats that are unknown or cannot be written here.

    Raises:
        InputError: naming the file.
    """
    for path in arguments.out:
        try:
            format_of(path, arguments.format).check()
        except InputError as error:
            words = str(error)
            raise InputError(f"--out {words}" if str(path) in words else f"--out {path}: {words}") from None


def check_length(arguments: argparse.Namespace, frames: int, rate_hz: float) -> None:
    """Refuse, before any work, what a recording of so many frame sets at that rate does not allow.

    Raises:
        InputError: naming the option, and what is possible.
    """
    for path in arguments.out:
        most = format_of(path, arguments.format).max_frames
        if most is not None and frames > most:
            raise InputError(
                f"--out {path}: {frames} frames, but a {Path(path).suffix} file holds at most {most}"
            )
    if arguments.smooth >= max_cutoff_hz(rate_hz):
        raise InputError(
            f"--smooth {arguments.smooth:g}: expected less than {max_cutoff_hz(rate_hz):.3g} Hz at "
            f"{rate_hz:.6g} frames per second"
        )


def recording_from(joint_set: JointSet, frame_sets: Sequence[FrameSkeletons], source: FrameSets) -> Recording:
    """What was estimated, at the rate of its stamps, or that of the source if they agree."""
    rate_hz = measured_rate([frame_set.stamp for frame_set in frame_sets], source.fps)
    return Recording(
        joint_set, list(frame_sets), rate_hz, frame_id=source.rig.frame, start_ns=source.start_ns
    )


def write_recording(
    arguments: argparse.Namespace, recording: Recording
) -> tuple[list[Path], InputError | None]:
    """Write what was asked for; what is not in the files goes to stderr.

    Returns:
        the files written, and the error of those that could not be.
    """
    recording, notes = processed(recording, arguments.fill, arguments.smooth, arguments.min_track)
    for note in notes:
        warn(note)
    written, failure = write_skeletons(arguments.out, recording, arguments.format)
    for note in written.notes:
        if note not in notes:
            warn(note)
    return written.paths, failure


def _above_0(text: str) -> float:
    return finite_number(text, "a number above 0")
