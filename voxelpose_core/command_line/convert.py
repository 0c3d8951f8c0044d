"""`voxelpose convert`: skeletons.json in other formats."""

from __future__ import annotations

import argparse

from voxelpose_core.command_line.options import warn
from voxelpose_core.command_line.skeleton_outputs import (
    add_skeleton_outputs,
    check_length,
    check_skeleton_outputs,
    write_recording,
)
from voxelpose_core.output_files import check_outputs
from voxelpose_core.skeleton_files import read_skeletons

# What `processing` of a file says, in words.
_DONE = {"fill_s": "gaps up to {:g} s are filled", "smooth_hz": "joints are smoothed with {:g} Hz"}


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add `convert`."""
    summary = "write skeletons.json in other formats, or filled and smoothed"
    parser = commands.add_parser("convert", help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
    parser.set_defaults(run=convert)
    parser.add_argument("skeletons", metavar="JSON", help="skeletons that `voxelpose estimate` wrote")
    add_skeleton_outputs(parser)


def convert(arguments: argparse.Namespace) -> int:
    """`voxelpose convert`."""
    check_outputs({"--out": arguments.out}, [arguments.skeletons])
    check_skeleton_outputs(arguments)
    recording = read_skeletons(arguments.skeletons)
    check_length(arguments, len(recording.frame_sets), recording.rate_hz)
    for key, value in recording.processing.items():
        if key in _DONE and getattr(arguments, key.split("_")[0]):
            warn(f"{arguments.skeletons}: {_DONE[key].format(value)} already, now once more")
    written, failure = write_recording(arguments, recording)
    print(f"written       {', '.join(map(str, written)) or 'nothing'}")
    if failure:
        raise failure
    return 0
