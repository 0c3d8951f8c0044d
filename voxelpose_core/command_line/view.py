"""`voxelpose view`: a rig and its skeletons in 3D, in the Rerun viewer or as a page for any browser."""

from __future__ import annotations

import argparse

import numpy as np

from voxelpose_core.command_line.frame_sources import open_source
from voxelpose_core.command_line.options import (
    add_rig_options,
    add_space,
    load_given_rig,
    progress_bar,
    warn,
)
from voxelpose_core.errors import InputError
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.output_files import PAGES, RERUN_FILES, check_outputs
from voxelpose_core.rerun_destination import check_available
from voxelpose_core.rerun_view import RerunView
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
        "--out",
        metavar="HTML",
        help="page to write: one file, opens in any browser (default: a window of the Rerun viewer)",
    )
    parser.add_argument(
        "--save", metavar="RRD", help="file for the Rerun viewer to write, instead of opening its window"
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--videos", nargs="+", metavar="VIDEO", help="one video per camera, to be shown in the Rerun viewer"
    )
    source.add_argument(
        "--images", nargs="+", metavar="DIR", help="one folder of images per camera, to be shown likewise"
    )
    parser.add_argument(
        "--in-order", action="store_true", help="take videos or folders in the order of the cameras"
    )
    # Options of `estimate` that nothing here needs.
    unused = ("keypoints", "fps", "detector", "refine_detections", "bag", "topic", "world_frame")
    parser.set_defaults(**dict.fromkeys(unused))


def view(arguments: argparse.Namespace) -> int:
    """`voxelpose view`."""
    images = arguments.videos or arguments.images
    inputs = [path for path in (arguments.rig, arguments.result, *(images or ())) if path]
    outputs = {"--out": arguments.out, "--save": arguments.save}
    check_outputs(outputs, inputs, {"--out": PAGES, "--save": RERUN_FILES})
    in_rerun = arguments.save or not arguments.out
    if images and not in_rerun:
        option = "--videos" if arguments.videos else "--images"
        raise InputError(f"{option}: a page holds no images, expected it without --out, or with --save")
    if in_rerun:
        check_available(", or give --out page.html, which does not need it")
    rig = load_given_rig(arguments)
    recording = read_skeletons(arguments.result) if arguments.result else None
    if recording is not None:
        _warn_of_nothing_to_see(arguments.result, rig, recording)
    if in_rerun:
        _show(arguments, rig, recording)
    if arguments.out:
        from voxelpose_core.pages.view_page import write_view_page

        write_view_page(arguments.out, rig, recording, arguments.space)
    written = [path for path in (arguments.out, arguments.save) if path]
    print(f"written       {', '.join(written)}" if written else "shown         in the Rerun viewer")
    return 0


def _show(arguments: argparse.Namespace, rig: Rig, recording: Recording | None) -> None:
    source = open_source(arguments, rig) if arguments.videos or arguments.images else None
    if source is not None:
        rig = source.rig
    shown = RerunView(arguments.save)
    shown.show_rig(rig)
    if recording is not None:
        shown.add_skeletons(recording)
    if source is not None:
        shown.add_images(progress_bar(source), rig.names)
    shown.finish()


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
