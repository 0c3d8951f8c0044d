"""`voxelpose view`: a rig and its skeletons in 3D, as a page for any browser."""

from __future__ import annotations

import argparse

import numpy as np

from voxelpose_core.command_line.options import add_rig_options, add_space, load_given_rig, warn
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.output_files import PAGES, check_outputs
from voxelpose_core.skeleton_files import Recording, read_skeletons

# Of the rig that skeletons come from, some camera sees more of their joints than this share.
_LEAST_SEEN = 0.1


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add `view`."""
    summary = "show a rig and skeletons in 3D"
    parser = commands.add_parser("view", help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
    parser.set_defaults(run=view)
    add_rig_options(parser, "rig")
    parser.add_argument(
        "result",
        nargs="?",
        metavar="RESULT",
        help="skeletons.json that `voxelpose estimate` wrote (default: only the rig)",
    )
    add_space(parser, "capture space to show, centre and size in mm (default: the rig's, or one proposed)")
    parser.add_argument(
        "--out", required=True, metavar="HTML", help="page to write: one file, opens in any browser"
    )


def view(arguments: argparse.Namespace) -> int:
    """`voxelpose view`."""
    from voxelpose_core.pages.view_page import write_view_page

    inputs = [path for path in (arguments.rig, arguments.result) if path]
    check_outputs({"--out": arguments.out}, inputs, {"--out": PAGES})
    rig = load_given_rig(arguments)
    recording = read_skeletons(arguments.result) if arguments.result else None
    if recording is not None:
        _warn_of_nothing_to_see(arguments.result, rig, recording)
    write_view_page(arguments.out, rig, recording, arguments.space)
    print(f"written       {arguments.out}")
    return 0


def _warn_of_nothing_to_see(path: str, rig: Rig, recording: Recording) -> None:
    """Warn of a file without people, and of people who cannot have been seen by this rig."""
    skeletons = [skeleton for frame_set in recording.frame_sets for skeleton in frame_set.skeletons]
    joints = [s.joints[s.joint_valid] for s in skeletons if s.joint_valid.any()]
    if not joints:
        warn(f"{path}: no person in {len(recording.frame_sets)} frames: only the rig is shown")
        return
    seen = np.mean([camera.sees(np.concatenate(joints)) for camera in rig.cameras], axis=1)
    if seen.max() < _LEAST_SEEN:
        warn(
            f"{path}: no camera of rig '{rig.name}' sees more than {100 * seen.max():.0f} % of its joints, "
            "expected the rig that they were estimated with"
        )
