"""`voxelpose estimate`: 3D skeletons from videos, images or 2D detections."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from voxelpose_core.bags.frame_sets import BagFrameSets
from voxelpose_core.command_line.frame_sources import (
    add_detector,
    add_frame_choice,
    add_sources,
    given_choice,
    given_detector,
    given_rig,
    given_sources,
    open_source,
)
from voxelpose_core.command_line.options import (
    add_offsets,
    add_rig_options,
    add_space,
    add_strict,
    kept_warnings,
    progress_bar,
    warn,
)
from voxelpose_core.command_line.skeleton_outputs import (
    add_skeleton_outputs,
    check_length,
    check_skeleton_outputs,
    recording_from,
    write_recording,
)
from voxelpose_core.drawing.files import VideoWriter, write_image
from voxelpose_core.drawing.frame import FramePainter
from voxelpose_core.errors import InputError
from voxelpose_core.frame_sets import (
    AlignedFrameSets,
    FrameSet,
    FrameSets,
    ImageFrameSets,
    KeypointFrameSets,
)
from voxelpose_core.geometry.image_turns import turns_in_words, upright_turns
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.output_files import PAGES, PICTURES, VIDEOS, check_outputs
from voxelpose_core.pose_types import Estimate, body_only
from voxelpose_core.skeleton_files import FrameSkeletons
from voxelpose_core.skeletons import JointSet
from voxelpose_core.source_matching import ViewWatch
from voxelpose_core.time_offsets import offsets_in_words

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
    """`voxelpose estimate`."""
    with kept_warnings() as warned:
        return _run(arguments, warned)


def _run(arguments: argparse.Namespace, warned: Sequence[str]) -> int:
    """Estimate; `warned` grows by the warnings that are printed."""
    # torch takes seconds to import; the rig commands and --help do without it.
    from voxelpose_core.floor_watch import FloorWatch
    from voxelpose_core.results import RunReport
    from voxelpose_core.tracking import Tracker

    outputs = {
        "--out": arguments.out,
        "--video-out": arguments.video_out,
        "--picture": arguments.picture,
        "--report": arguments.report,
    }
    endings = {"--video-out": VIDEOS, "--picture": PICTURES, "--report": PAGES}
    check_outputs(outputs, [*filter(None, [arguments.rig]), *given_sources(arguments)], endings)
    check_skeleton_outputs(arguments)
    cameras = open_source(arguments, given_rig(arguments))
    cameras.choose(given_choice(arguments))
    check_length(arguments, len(cameras), cameras.fps)
    rig = cameras.rig
    estimator = _make_estimator(arguments, rig, cameras.joint_set)
    joint_set = estimator.joint_set
    detection = _Detection(estimator)
    source = _aligned(cameras, detection)
    tracker, report, frame_sets = Tracker(body=joint_set.body), RunReport(rig), []
    agreement = []
    floor = FloorWatch(rig, joint_set)
    views = ViewWatch(rig, source.option, source.paths, warn, arguments.strict)
    with _Pictures(arguments, estimator, source) as pictures:
        for frame_set in progress_bar(source):
            answer = _estimate_one(estimator, frame_set, tracker.predict(frame_set.stamp))
            answer.timings_ms = {**detection.timings_ms(), **answer.timings_ms}
            seen = body_only(answer, joint_set)
            floor.add(seen)
            views.add(seen.keypoints, frame_set.stamp)
            answer.skeletons = tracker.update(answer.skeletons, frame_set.stamp)
            frame_sets.append(FrameSkeletons(frame_set.frame, frame_set.stamp, answer.skeletons))
            agreement.append(report.add(body_only(answer, joint_set)))
            pictures.add(frame_set, answer)
        # Before the pictures are finished, which may fail.
        recording = recording_from(joint_set, frame_sets, source)
        written, failure = write_recording(arguments, recording)
    views.finish()
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
    if isinstance(cameras, BagFrameSets):
        facts.append(f"topics        {', '.join(cameras.topics.values())}")
    if turned := _turned_images(rig) if cameras.joint_set is None else "":
        facts.append(f"turned        {turned}, for the detector")
    facts += report.lines()
    print("\n".join(facts))
    written += [path for path in (arguments.video_out, arguments.picture) if path]
    print(f"written       {', '.join(map(str, written)) or 'nothing'}")
    for finding in (*report.findings(), floor.finding()):
        if finding:
            warn(finding)
    if arguments.report:
        from voxelpose_core.pages.report_page import Run, write_report_page

        picture, space = pictures.middle_picture, estimator.space
        run = Run(rig, recording, report, agreement, facts, warned, picture, space)
        write_report_page(arguments.report, run)
        print(f"report        {arguments.report}")
    if failure:
        raise failure
    return 0


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


class _Detection:
    """2D detection for frame sets that are put together afterwards, and its time."""

    def __init__(self, estimator: PoseEstimator):
        self._estimator = estimator
        self._seconds = 0.0

    def __call__(self, images: Sequence[np.ndarray | None]) -> list[np.ndarray | None]:
        start = time.perf_counter()
        found = self._estimator.detect(images)
        self._seconds += time.perf_counter() - start
        return found

    @property
    def possible(self) -> bool:
        """Whether there is a 2D detector."""
        return self._estimator.detector is not None

    def timings_ms(self) -> dict[str, float]:
        """What it took since the last call; empty where it has not run."""
        seconds, self._seconds = self._seconds, 0.0
        return {"detector": 1e3 * seconds} if seconds else {}


def _aligned(cameras: ImageFrameSets | KeypointFrameSets | BagFrameSets, detection: _Detection) -> FrameSets:
    """The frame sets with the rig's time offsets between the cameras."""
    if not cameras.rig.has_time_offsets or isinstance(cameras, BagFrameSets):
        return cameras
    if isinstance(cameras, KeypointFrameSets):
        return AlignedFrameSets(cameras)
    if detection.possible:
        return AlignedFrameSets(cameras, detection)
    warn("weights with a backbone have no 2D detections to interpolate: time offsets count in whole frames")
    return AlignedFrameSets(cameras)


def _estimate_one(estimator: PoseEstimator, frame_set: FrameSet, previous: np.ndarray) -> Estimate:
    try:
        if frame_set.keypoints is not None:
            return estimator.estimate_keypoints(frame_set.keypoints, previous)
        assert frame_set.images is not None  # a frame set has either
        return estimator.estimate_images(frame_set.images, previous)
    except InputError as error:
        raise InputError(f"frame {frame_set.frame}: {error}") from None


class _Pictures:
    """The picture and the video that were asked for, painted as the frames come.

    Attributes:
        middle_picture: of the middle frame, BGR; None where neither --picture nor --report asks for it.
    """

    def __init__(
        self,
        arguments: argparse.Namespace,
        estimator: PoseEstimator,
        source: FrameSets,
    ):
        self._painter: FramePainter | None = None
        self._picture = arguments.picture
        self._video = VideoWriter(arguments.video_out, source.fps) if arguments.video_out else None
        self._wants_middle = bool(arguments.picture or arguments.report)
        self._middle = len(source) // 2
        self.middle_picture: np.ndarray | None = None
        self._count = 0
        if self._wants_middle or self._video:
            self._painter = FramePainter(estimator.rig, estimator.joint_set, estimator.space)

    def add(self, frame_set: FrameSet, answer: Estimate) -> None:
        """Show one frame set."""
        stamp = frame_set.stamp
        is_middle = self._wants_middle and self._count == self._middle
        self._count += 1
        if self._painter is None or not (self._video or is_middle):
            return
        count = len(answer.skeletons)
        people = "1 person" if count == 1 else f"{count} people"
        caption = f"{people}   frame {frame_set.frame}   {stamp:.2f} s"
        turn = SWING_DEG * math.sin(2 * math.pi * stamp / SWING_PERIOD_S) if self._video else 0.0
        picture = self._painter.paint(frame_set.images, answer.skeletons, answer.keypoints, caption, turn)
        if self._video:
            self._video.write(picture)
        if is_middle:
            self.middle_picture = picture

    def __enter__(self) -> _Pictures:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None and self._picture and self.middle_picture is not None:
            write_image(self._picture, self.middle_picture)
        if self._video:
            self._video.close()
