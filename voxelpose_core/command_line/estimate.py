"""`voxelpose estimate`: 3D skeletons from videos, images or 2D detections."""

from __future__ import annotations

import argparse
import math
import sys
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from voxelpose_core.command_line.frame_sources import (
    Images,
    Keypoints,
    add_detector,
    add_sources,
    given_detector,
    given_sources,
    open_source,
)
from voxelpose_core.command_line.options import (
    add_rig_options,
    add_space,
    add_strict,
    load_given_rig,
    warn,
)
from voxelpose_core.drawing.files import VideoWriter, write_image
from voxelpose_core.drawing.frame import FramePainter
from voxelpose_core.errors import InputError
from voxelpose_core.geometry.image_turns import turns_in_words, upright_turns
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.output_files import PICTURES, VIDEOS, check_outputs
from voxelpose_core.pose_types import Estimate
from voxelpose_core.source_matching import ViewWatch

if TYPE_CHECKING:
    from voxelpose_core.estimator import PoseEstimator

# The 3D view of a video swings to and fro, which shows depth.
SWING_DEG, SWING_PERIOD_S = 12.0, 8.0


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
    add_rig_options(parser, "--rig")
    add_strict(parser)
    add_sources(parser)
    parser.add_argument("--out", required=True, metavar="JSON", help="skeletons to write, in metres")
    add_space(
        parser,
        "capture space, centre and size in mm (default: the rig's, or one proposed from its cameras)",
    )
    parser.add_argument(
        "--weights",
        default="universal",
        help="3D weights: universal, voxelpose or a file (default: %(default)s)",
    )
    add_detector(parser)
    parser.add_argument("--video-out", metavar="MP4", help="video of the views and skeletons to write")
    parser.add_argument("--picture", metavar="PNG", help="picture of the middle frame to write")


def estimate(arguments: argparse.Namespace) -> int:
    """`voxelpose estimate`."""
    # torch takes seconds to import; the rig commands and --help do without it.
    from voxelpose_core.floor_watch import FloorWatch
    from voxelpose_core.results import FrameSkeletons, RunReport, write_skeletons
    from voxelpose_core.tracking import Tracker

    outputs = {
        "--out": arguments.out,
        "--video-out": arguments.video_out,
        "--picture": arguments.picture,
    }
    endings = {"--video-out": VIDEOS, "--picture": PICTURES}
    check_outputs(outputs, [arguments.rig, *given_sources(arguments)], endings)
    source = open_source(arguments, load_given_rig(arguments))
    rig = source.rig
    estimator = _make_estimator(arguments, rig)
    tracker, report, frame_sets = Tracker(), RunReport(rig), []
    floor = FloorWatch(rig, estimator.joint_set)
    views = ViewWatch(rig, source.option, source.paths, warn, arguments.strict)
    with _Pictures(arguments, estimator, source) as pictures:
        for frame, stamp, images, keypoints in tqdm(source, unit="frame", disable=not sys.stderr.isatty()):
            answer = _estimate_one(estimator, frame, images, keypoints, tracker.predict(stamp))
            floor.add(answer)
            views.add(answer.keypoints, stamp)
            answer.skeletons = tracker.update(answer.skeletons, stamp)
            frame_sets.append(FrameSkeletons(frame, stamp, answer.skeletons))
            report.add(answer)
            pictures.add(frame, stamp, images, answer)
        # Before the pictures are finished, which may fail.
        write_skeletons(arguments.out, estimator.joint_set, frame_sets)
    views.finish()
    print(f"rig           {rig.name}: {len(rig)} cameras, {rig.source}")
    print(f"space         {estimator.space} mm")
    print(f"weights       {estimator.weights_path.name} on {estimator.device}")
    if turned := _turned_images(rig) if source.paths else "":
        print(f"turned        {turned}, for the detector")
    print("\n".join(report.lines()))
    print(f"written       {', '.join(path for path in outputs.values() if path)}")
    for finding in (*report.findings(), floor.finding()):
        if finding:
            warn(finding)
    return 0


def _turned_images(rig: Rig) -> str:
    """Whose images are turned upright, and how; empty if all are upright as they come."""
    return ", ".join(
        f"{camera.name} {turns_in_words(turns)}"
        for camera, turns in zip(rig.cameras, upright_turns(rig.cameras), strict=True)
        if turns
    )


def _make_estimator(arguments: argparse.Namespace, rig: Rig) -> PoseEstimator:
    import torch

    from voxelpose_core.estimator import PoseEstimator

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    detector = None if arguments.keypoints else given_detector(arguments)
    return PoseEstimator(rig, arguments.weights, arguments.device, detector=detector, space=arguments.space)


def _estimate_one(
    estimator: PoseEstimator,
    frame: int,
    images: list[np.ndarray | None] | None,
    keypoints: list[np.ndarray | None] | None,
    previous: np.ndarray,
) -> Estimate:
    try:
        if images is not None:
            return estimator.estimate_images(images, previous)
        assert keypoints is not None  # a source has either
        return estimator.estimate_keypoints(keypoints, previous)
    except InputError as error:
        raise InputError(f"frame {frame}: {error}") from None


class _Pictures:
    """The picture and the video that were asked for, painted as the frames come."""

    def __init__(
        self,
        arguments: argparse.Namespace,
        estimator: PoseEstimator,
        source: Images | Keypoints,
    ):
        self._painter: FramePainter | None = None
        self._picture = arguments.picture
        self._video = VideoWriter(arguments.video_out, source.fps) if arguments.video_out else None
        self._middle = len(source) // 2
        self._middle_picture: np.ndarray | None = None
        self._count = 0
        if self._picture or self._video:
            self._painter = FramePainter(estimator.rig, estimator.joint_set, estimator.space)

    def add(self, frame: int, stamp: float, images: list[np.ndarray | None] | None, answer: Estimate) -> None:
        """Show one frame set."""
        is_middle = self._picture and self._count == self._middle
        self._count += 1
        if self._painter is None or not (self._video or is_middle):
            return
        count = len(answer.skeletons)
        people = "1 person" if count == 1 else f"{count} people"
        caption = f"{people}   frame {frame}   {stamp:.2f} s"
        turn = SWING_DEG * math.sin(2 * math.pi * stamp / SWING_PERIOD_S) if self._video else 0.0
        picture = self._painter.paint(images, answer.skeletons, answer.keypoints, caption, turn)
        if self._video:
            self._video.write(picture)
        if is_middle:
            self._middle_picture = picture

    def __enter__(self) -> _Pictures:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None and self._middle_picture is not None:
            write_image(self._picture, self._middle_picture)
        if self._video:
            self._video.close()
