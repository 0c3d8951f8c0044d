"""`voxelpose estimate`: 3D skeletons from videos, images or 2D detections."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from voxelpose_core.bags.frame_sets import BagFrameSets
from voxelpose_core.command import EXIT_INTERRUPTED
from voxelpose_core.command_line.frame_sources import (
    OpenedSource,
    add_detector,
    add_frame_choice,
    add_sources,
    given_choice,
    given_detector,
    given_rig,
    given_sources,
    open_source,
)
from voxelpose_core.command_line.interruption import Interruption
from voxelpose_core.command_line.options import (
    add_offsets,
    add_rig_options,
    add_space,
    add_strict,
    kept_warnings,
    warn,
)
from voxelpose_core.command_line.skeleton_outputs import (
    add_skeleton_outputs,
    check_length,
    check_skeleton_outputs,
    write_recording,
)
from voxelpose_core.drawing.frame import FramePainter
from voxelpose_core.drawing.run_pictures import RunPictures
from voxelpose_core.errors import InputError
from voxelpose_core.frame_sets import KeypointFrameSets
from voxelpose_core.geometry.image_turns import turns_in_words, upright_turns
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.output_files import PAGES, PICTURES, VIDEOS, check_outputs
from voxelpose_core.skeleton_files import Recording
from voxelpose_core.skeletons import JointSet
from voxelpose_core.sources import DEFAULT_FPS
from voxelpose_core.time_offsets import offsets_in_words
from voxelpose_core.unreadable import kept_unreadable

if TYPE_CHECKING:
    from voxelpose_core.command_line.estimation_run import EstimationRun, Stop
    from voxelpose_core.estimator import PoseEstimator


def add_parser(commands: argparse._SubParsersAction, examples: str) -> None:
    """Add `estimate`, with examples below its help."""
    parser = commands.add_parser(
        "estimate",
        help="3D skeletons from videos, images or 2D detections",
        description="3D skeletons from synchronized videos, images or 2D detections.",
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=estimate)
    add_rig_options(parser, "--rig", "default: CameraInfo and TF of the --bag")
    add_strict(parser)
    add_sources(parser)
    parser.add_argument(
        "--world-frame",
        metavar="FRAME",
        help="TF frame of the bag, z up, in which a rig without --rig is taken (default: the root)",
    )
    add_offsets(parser)
    add_frame_choice(parser)
    add_skeleton_outputs(parser)
    add_space(
        parser,
        "capture space, centre and size in mm (default: the rig's, or one proposed from its cameras)",
    )
    parser.add_argument(
        "--weights",
        default="universal",
        help="3D weights: universal, voxelpose or a file (default: %(default)s)",
    )
    add_detector(parser, refined=True)
    parser.add_argument("--video-out", metavar="MP4", help="video of the views and skeletons to write")
    parser.add_argument("--picture", metavar="PNG", help="picture of the middle frame to write")
    parser.add_argument(
        "--report", metavar="HTML", help="report to write: one page that shows whether the recording is good"
    )


def estimate(arguments: argparse.Namespace) -> int:
    """`voxelpose estimate`: 130 where Ctrl-C ended it; what was estimated before is written all the same."""
    with kept_warnings() as warned, kept_unreadable() as unreadable:
        _check_outputs(arguments)
        cameras = open_source(arguments, given_rig(arguments))
        cameras.choose(given_choice(arguments))
        check_length(arguments, len(cameras), cameras.fps)
        run = _make_run(arguments, cameras)
        with Interruption() as interruption:
            stop = run.take_all(interruption)
            return _finish(arguments, run, stop, warned, unreadable)


def _check_outputs(arguments: argparse.Namespace) -> None:
    outputs = {
        "--out": arguments.out,
        "--video-out": arguments.video_out,
        "--picture": arguments.picture,
        "--report": arguments.report,
    }
    endings = {"--video-out": VIDEOS, "--picture": PICTURES, "--report": PAGES}
    check_outputs(outputs, [*filter(None, [arguments.rig]), *given_sources(arguments)], endings)
    check_skeleton_outputs(arguments)


def _make_run(arguments: argparse.Namespace, cameras: OpenedSource) -> EstimationRun:
    # torch takes seconds to import; the rig commands and --help do without it.
    from voxelpose_core.command_line.estimation_run import EstimationRun

    estimator = _make_estimator(arguments, cameras.rig, cameras.joint_set)
    run = EstimationRun(estimator, cameras, arguments.strict)
    if arguments.video_out or arguments.picture or arguments.report:
        painter = FramePainter(estimator.rig, estimator.joint_set, estimator.space)
        run.pictures = RunPictures(
            painter,
            len(run.source),
            run.source.fps,
            arguments.video_out,
            arguments.picture,
            bool(arguments.report),
        )
    return run


def _finish(
    arguments: argparse.Namespace,
    run: EstimationRun,
    stop: Stop | None,
    warned: Sequence[str],
    unreadable: Sequence[str],
) -> int:
    """Write and print what there is; the exit code.

    Args:
        arguments: of the command.
        run: has taken all that it will take.
        stop: why that is not all there is.
        warned: grows by the warnings that are printed.
        unreadable: a line per file of which not all could be read.

    Raises:
        InputError, or what stopped the run: once everything else is written.
    """
    if stop is not None and stop.error is None:
        print(f"warning: {stop.line}", file=sys.stderr)
    if stop is not None and not run.frame_sets:
        return _ended(stop, [])
    recording = run.recording()
    written, failure = write_recording(arguments, recording)
    errors = [*unreadable, *([str(failure)] if failure else [])]
    if run.pictures is not None:
        run.pictures.finish()
        written += run.pictures.written
        errors += run.pictures.errors
    run.finish()
    facts = _facts(arguments, run)
    print("\n".join(facts))
    print(f"written       {', '.join(map(str, written)) or 'nothing'}")
    for finding in run.findings():
        warn(finding)
    if arguments.report:
        errors += _write_report(arguments.report, run, recording, facts, [*unreadable, *warned], stop)
    return _ended(stop, errors)


def _ended(stop: Stop | None, errors: Sequence[str]) -> int:
    """The exit code, or the error to raise: one line for all that went wrong."""
    if stop is not None and stop.error is not None:
        errors = [stop.line, *errors] if stop.taken or isinstance(stop.error, InputError) else errors
        if not isinstance(stop.error, InputError):
            for line in errors:
                warn(line)
            raise stop.error
    if errors:
        raise InputError("; ".join(errors))
    return EXIT_INTERRUPTED if stop is not None else 0


def _facts(arguments: argparse.Namespace, run: EstimationRun) -> list[str]:
    """What was estimated with what, and what was counted: lines with a word before each."""
    cameras, estimator = run.cameras, run.estimator
    rig = cameras.rig
    facts = [
        f"rig           {rig.name}: {len(rig)} cameras, {rig.source}",
        f"space         {estimator.space} mm",
        f"weights       {estimator.weights_path.name} on {estimator.device}",
    ]
    if rig.has_time_offsets:
        whose = "the rig" if arguments.offsets_ms is None else "--offsets-ms"
        facts.append(f"offsets       {offsets_in_words(rig)}, of {whose}")
    if isinstance(cameras, KeypointFrameSets):
        facts.append(f"keypoints     {cameras.layout}")
    if (arguments.keypoints or arguments.images) and not arguments.fps:
        facts.append(f"rate          {DEFAULT_FPS:g} frames per second, assumed: --fps")
    if isinstance(cameras, BagFrameSets):
        facts.append(f"topics        {', '.join(cameras.topics.values())}")
    if turned := _turned_images(rig) if cameras.joint_set is None else "":
        facts.append(f"turned        {turned}, for the detector")
    return facts + run.report.lines()


def _write_report(
    path: str,
    run: EstimationRun,
    recording: Recording,
    facts: Sequence[str],
    warned: Sequence[str],
    stop: Stop | None,
) -> list[str]:
    """Write `--report`; the error where that fails."""
    from voxelpose_core.pages.report_page import Run, write_report_page

    shown = Run(
        run.cameras.rig,
        recording,
        run.report,
        run.agreement,
        facts,
        warned,
        run.camera_findings(),
        run.camera_watch.judged,
        None if run.pictures is None else run.pictures.middle_picture,
        run.estimator.space,
        "" if stop is None else stop.cause,
    )
    try:
        write_report_page(path, shown)
    except InputError as error:
        return [str(error)]
    print(f"report        {path}")
    return []


def _turned_images(rig: Rig) -> str:
    """Whose images are turned upright, and how; empty if all are upright as they come."""
    return ", ".join(
        f"{camera.name} {turns_in_words(turns)}"
        for camera, turns in zip(rig.cameras, upright_turns(rig.cameras), strict=True)
        if turns
    )


def _make_estimator(arguments: argparse.Namespace, rig: Rig, joint_set: JointSet | None) -> PoseEstimator:
    import torch

    from voxelpose_core.estimator import PoseEstimator

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    detector = None if joint_set is not None else given_detector(arguments)
    estimator = PoseEstimator(
        rig, arguments.weights, arguments.device, detector=detector, space=arguments.space
    )
    if joint_set is None or joint_set == estimator.joint_set:
        return estimator
    return estimator.for_detections(joint_set)
