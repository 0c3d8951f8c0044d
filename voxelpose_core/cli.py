"""The `voxelpose` command: 3D skeletons from files, and help with rigs. No ROS."""

from __future__ import annotations

import argparse
import math
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from voxelpose_core.command import Parser, run_command
from voxelpose_core.drawing.files import VideoWriter, write_image
from voxelpose_core.drawing.frame import FramePainter
from voxelpose_core.errors import InputError
from voxelpose_core.geometry.coverage import propose_space
from voxelpose_core.geometry.image_turns import turns_in_words, upright_turns
from voxelpose_core.geometry.rig import Rig, checked_ground, load_rig, save_rig
from voxelpose_core.geometry.rig_check import check_rig, report_findings, rig_remarks
from voxelpose_core.geometry.space import Space
from voxelpose_core.output_files import PICTURES, VIDEOS, check_outputs
from voxelpose_core.pose_types import Estimate, Skeleton
from voxelpose_core.resources import version
from voxelpose_core.source_matching import ViewWatch, match_sources
from voxelpose_core.sources import (
    DEFAULT_FPS,
    FrameSource,
    fit_rig,
    open_image_folders,
    open_videos,
    read_keypoints_json,
    restore_codec_crop,
)

if TYPE_CHECKING:
    from voxelpose_core.estimator import PoseEstimator

EXIT_SUSPICIOUS = 1
# The 3D view of a video swings to and fro, which shows depth.
SWING_DEG, SWING_PERIOD_S = 12.0, 8.0

EXAMPLES = """\
examples:
  Four synchronized videos, in the order of the rig's cameras:
    voxelpose estimate --rig Calib.qca.txt --videos cam01.mp4 cam02.mp4 cam03.mp4 cam04.mp4 \\
        --out skeletons.json --video-out skeletons.mp4

  One folder of images per camera, and only some cameras of a larger rig:
    voxelpose estimate --rig calibration.json --cameras 00_03 00_06 00_12 \\
        --images 00_03/ 00_06/ 00_12/ --out skeletons.json --picture skeletons.png

  2D detections of another detector; a calibration without the image size:
    voxelpose estimate --rig calibration_shelf.json --image-size 1032x776 \\
        --keypoints keypoints.json --out skeletons.json

  Check a calibration, print and draw its capture space, write it as rig YAML:
    voxelpose rig check Calib.qca.txt
    voxelpose rig space Calib.qca.txt
    voxelpose rig preview Calib.qca.txt --out rig.png
    voxelpose rig convert Calib.qca.txt rig.yaml

  Check a folder of Panoptic, Campus or Shelf:
    voxelpose dataset check data/CampusSeq1 --picture sample.png
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code (see `voxelpose_core.command`)."""
    return run_command(lambda: run(argv))


def run(argv: Sequence[str] | None = None) -> int:
    """Parse the arguments and run the subcommand; errors are raised."""
    # FFmpeg writes to stderr on its own; what is wrong is said in our one line.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    arguments = make_parser().parse_args(argv)
    with _plain_warnings():
        return arguments.run(arguments)


class _Version(argparse.Action):
    """Reads the version only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(f"{parser.prog} {version()}")
        parser.exit()


def make_parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    parser = Parser(
        prog="voxelpose",
        description="3D human skeletons from several calibrated cameras.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_estimate(commands)
    _add_rig(commands)
    _add_dataset(commands)
    return parser


def _add_estimate(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "estimate",
        help="3D skeletons from videos, images or 2D detections",
        description="3D skeletons from synchronized videos, images or 2D detections.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=estimate)
    _add_rig_options(parser, "--rig")
    _add_strict(parser)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--videos",
        nargs="+",
        metavar="VIDEO",
        help="one video per camera, named after the cameras or in their order",
    )
    source.add_argument(
        "--images",
        nargs="+",
        metavar="DIR",
        help="one folder of images per camera, named or ordered likewise",
    )
    source.add_argument(
        "--keypoints",
        metavar="JSON",
        help='2D detections: {"CAMERA_FRAME": [{"pred": 17 x [x, y, score]}, ...]}, in pixels',
    )
    parser.add_argument(
        "--in-order",
        action="store_true",
        help="take videos or folders in the order of the cameras, whatever their names",
    )
    parser.add_argument("--out", required=True, metavar="JSON", help="skeletons to write, in metres")
    parser.add_argument(
        "--space",
        type=_argument(Space.parse),
        metavar="CX,CY,CZ,SX,SY,SZ",
        help="capture space, centre and size in mm (default: the rig's, or one proposed from its cameras)",
    )
    parser.add_argument(
        "--weights",
        default="universal",
        help="3D weights: universal, voxelpose or a file (default: %(default)s)",
    )
    parser.add_argument(
        "--device", default="auto", help="auto, cpu or cuda:N (default: %(default)s)"
    )
    parser.add_argument(
        "--detector", default="movenet", help="2D detector for images (default: %(default)s)"
    )
    parser.add_argument(
        "--refine-detections",
        action="store_true",
        help="refine each 2D detection with a second net: more accurate, slower per person",
    )
    parser.add_argument(
        "--threads",
        type=_argument(_count),
        default=0,
        metavar="N",
        help="CPU threads (default: all)",
    )
    parser.add_argument(
        "--fps",
        type=_argument(_rate),
        help=f"frames per second of images or keypoints (default: {DEFAULT_FPS:g}); not with --videos",
    )
    parser.add_argument(
        "--video-out", metavar="MP4", help="video of the views and skeletons to write"
    )
    parser.add_argument("--picture", metavar="PNG", help="picture of the middle frame to write")


def _add_rig(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("rig", help="check, draw or convert a calibration")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    check = actions.add_parser(
        "check", help="report what looks wrong in a calibration (exit code 1 if anything does)"
    )
    check.set_defaults(run=rig_check)
    space = actions.add_parser("space", help="print the capture space proposed from the cameras")
    space.set_defaults(run=rig_space)
    convert = actions.add_parser("convert", help="write a calibration as rig YAML")
    convert.set_defaults(run=rig_convert)
    preview = actions.add_parser("preview", help="draw cameras, frusta, capture space and coverage")
    preview.set_defaults(run=rig_preview)
    for action in (check, space, convert, preview):
        _add_rig_options(action, "rig")
    for action in (convert, preview):
        _add_strict(action)
    convert.add_argument("out", metavar="YAML", help="the file to write")
    preview.add_argument("--out", required=True, metavar="PNG", help="the picture, *.png or *.jpg")
    for action, what in ((convert, "keep with the rig"), (preview, "show")):
        action.add_argument(
            "--space",
            type=_argument(Space.parse),
            metavar="CX,CY,CZ,SX,SY,SZ",
            help=f"capture space to {what}, centre and size in mm",
        )


def _add_dataset(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("dataset", help="check a data set for training or evaluation")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    check = actions.add_parser(
        "check", help="report what a data set holds and lacks (exit code 1 if anything is missing)"
    )
    check.set_defaults(run=dataset_check)
    check.add_argument("path", type=Path, metavar="PATH", help="folder, in the data set's original layout")
    check.add_argument("--name", help="panoptic, campus or shelf, if the files do not tell")
    check.add_argument("--picture", metavar="FILE", help="picture of a labelled frame, *.png or *.jpg")


def _add_rig_options(parser: argparse.ArgumentParser, name: str) -> None:
    required = {"required": True} if name.startswith("-") else {}
    parser.add_argument(
        name, metavar="RIG", help="calibration: rig YAML, or the file of another tool", **required
    )
    parser.add_argument(
        "--cameras", nargs="+", metavar="NAME", help="only these cameras of the rig, in this order"
    )
    parser.add_argument(
        "--image-size",
        type=_argument(_image_size),
        metavar="WxH",
        help="size of the images, if the calibration does not state it",
    )
    parser.add_argument(
        "--unit",
        choices=("mm", "cm", "m"),
        help="unit of another tool's calibration (default: the tool's, or recognized)",
    )
    parser.add_argument(
        "--ground",
        type=_argument(checked_ground),
        metavar="Z",
        help="height of the floor in the rig's world, mm (default: the rig's, else 0)",
    )


def _add_strict(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--strict",
        action="store_true",
        help="fail (exit code 2) if the rig or the views look wrong, instead of a warning",
    )


def _load_rig(arguments: argparse.Namespace) -> Rig:
    """The rig that the arguments name, as they change it; what is to be said of it goes to stderr.

    `rig check` prints what looks wrong itself; `rig space` measures.
    """
    rig = load_rig(arguments.rig, arguments.image_size, arguments.unit, arguments.cameras)
    if arguments.ground is not None:
        rig = rig.with_ground(arguments.ground)
    if getattr(arguments, "space", None) is not None:
        rig = rig.with_space(arguments.space)
    if hasattr(arguments, "strict"):
        report_findings(rig, _warn, arguments.strict)
    else:
        for note in rig.notes:
            _warn(note)
    return rig


# --- estimate ---------------------------------------------------------------------------------


def estimate(arguments: argparse.Namespace) -> int:
    """`voxelpose estimate`."""
    # torch takes seconds to import; the rig commands and --help do without it.
    from voxelpose_core.floor_watch import FloorWatch
    from voxelpose_core.results import Moment, RunReport, write_skeletons
    from voxelpose_core.tracking import Tracker

    outputs = {
        "--out": arguments.out,
        "--video-out": arguments.video_out,
        "--picture": arguments.picture,
    }
    given = arguments.videos or arguments.images or [arguments.keypoints]
    endings = {"--video-out": VIDEOS, "--picture": PICTURES}
    check_outputs(outputs, [arguments.rig, *given], endings)
    source = _open_source(arguments, _load_rig(arguments))
    rig = source.rig
    estimator = _make_estimator(arguments, rig)
    tracker, report, moments = Tracker(), RunReport(rig), []
    floor = FloorWatch(rig, estimator.joint_set)
    views = ViewWatch(rig, source.option, source.paths, _warn, arguments.strict)
    with _Pictures(arguments, estimator, source) as pictures:
        for frame, stamp, images, keypoints in tqdm(
            source, unit="frame", disable=not sys.stderr.isatty()
        ):
            answer = _estimate_one(estimator, frame, images, keypoints, tracker.predict(stamp))
            floor.add(answer)
            views.add(answer.keypoints, stamp)
            answer.skeletons = tracker.update(answer.skeletons, stamp)
            moments.append(Moment(frame, stamp, answer.skeletons))
            report.add(answer)
            pictures.add(frame, stamp, images, answer)
        # Before the pictures are finished, which may fail.
        write_skeletons(arguments.out, estimator.joint_set, moments)
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
            _warn(finding)
    return 0


def _turned_images(rig: Rig) -> str:
    """Whose images are turned upright, and how; empty if all are upright as they come."""
    return ", ".join(
        f"{camera.name} {turns_in_words(turns)}"
        for camera, turns in zip(rig.cameras, upright_turns(rig.cameras), strict=True)
        if turns
    )


# Frame number, stamp in seconds, and either one image a camera or one keypoint array a camera.
_Moment = tuple[int, float, "list[np.ndarray | None] | None", "list[np.ndarray | None] | None"]


class _Images:
    """Moments of videos or image folders, with the rig for images of their size."""

    def __init__(self, frames: FrameSource, rig: Rig, option: str, paths: Sequence[Path]):
        self._frames = frames
        self.fps, self.option, self.paths = frames.fps, option, paths
        self.rig, notes = fit_rig(rig, frames.sizes)
        for note in notes:
            _warn(note)

    def __len__(self) -> int:
        return len(self._frames)

    def __iter__(self) -> Iterator[_Moment]:
        for index, stamp, images in self._frames:
            yield index, stamp, restore_codec_crop(images, self.rig), None


class _Keypoints:
    """Moments of a keypoint file; a frame's stamp follows from its number."""

    option, paths = "--keypoints", None

    def __init__(self, frames: dict[int, list[np.ndarray | None]], rig: Rig, fps: float):
        self._frames = frames
        self.rig, self.fps = rig, fps

    def __len__(self) -> int:
        return len(self._frames)

    def __iter__(self) -> Iterator[_Moment]:
        for frame, keypoints in self._frames.items():
            yield frame, frame / self.fps, None, keypoints


def _open_source(arguments: argparse.Namespace, rig: Rig) -> _Images | _Keypoints:
    if arguments.videos and arguments.fps:
        raise InputError(
            "--fps: videos have their own frame rate, expected it with --images or --keypoints"
        )
    fps = arguments.fps or DEFAULT_FPS
    if arguments.keypoints and arguments.refine_detections:
        raise InputError(
            "--refine-detections: --keypoints has no images to look at, expected --videos or --images"
        )
    if arguments.keypoints:
        frames = read_keypoints_json(arguments.keypoints, len(rig))
        return _Keypoints(frames, rig, fps)
    option = "--videos" if arguments.videos else "--images"
    matched = match_sources(arguments.videos or arguments.images, rig, option, arguments.in_order)
    if matched.note:
        _warn(matched.note)
    if arguments.videos:
        return _Images(open_videos(matched.paths), rig, option, matched.paths)
    return _Images(open_image_folders(matched.paths, fps), rig, option, matched.paths)


def _make_estimator(arguments: argparse.Namespace, rig: Rig) -> PoseEstimator:
    import torch

    from voxelpose_core.detectors import load_detector
    from voxelpose_core.detectors.refinement import RefinedDetector
    from voxelpose_core.devices import select_device
    from voxelpose_core.estimator import PoseEstimator

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    detector = None
    if not arguments.keypoints:
        device = str(select_device(arguments.device))
        detector = load_detector(arguments.detector, arguments.threads, device)
        if arguments.refine_detections:
            detector = RefinedDetector(detector, arguments.threads, device)
    return PoseEstimator(
        rig, arguments.weights, arguments.device, detector=detector, space=arguments.space
    )


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
        return estimator.estimate_keypoints(keypoints, previous)
    except InputError as error:
        raise InputError(f"frame {frame}: {error}") from None


class _Pictures:
    """The picture and the video that were asked for, painted as the frames come."""

    def __init__(
        self,
        arguments: argparse.Namespace,
        estimator: PoseEstimator,
        source: _Images | _Keypoints,
    ):
        self._painter = None
        self._picture = arguments.picture
        self._video = VideoWriter(arguments.video_out, source.fps) if arguments.video_out else None
        self._middle = len(source) // 2
        self._middle_picture: np.ndarray | None = None
        self._count = 0
        if self._picture or self._video:
            self._painter = FramePainter(estimator.rig, estimator.joint_set, estimator.space)

    def add(
        self, frame: int, stamp: float, images: list[np.ndarray | None] | None, answer: Estimate
    ) -> None:
        """Show one moment."""
        is_middle = self._picture and self._count == self._middle
        self._count += 1
        if not (self._video or is_middle):
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


# --- rig --------------------------------------------------------------------------------------


def rig_check(arguments: argparse.Namespace) -> int:
    """`voxelpose rig check`: 1 if something looks wrong."""
    rig = _load_rig(arguments)
    print(f"{rig.name}: {len(rig)} cameras, {rig.source}")
    for camera in rig.cameras:
        x, y, z = camera.C / 1000.0
        print(
            f"  {camera.name}: {camera.image_size[0]}x{camera.image_size[1]}, "
            f"{camera.lens}, focal length {camera.K[0, 0]:.0f} px, at {x:.2f} {y:.2f} {z:.2f} m"
        )
    suspicions = check_rig(rig)
    for remark in rig_remarks(rig):
        print(f"note: {remark}")
    for suspicion in suspicions:
        print(f"suspicious: {suspicion}")
    if not suspicions:
        print("nothing looks wrong")
    return EXIT_SUSPICIOUS if suspicions else 0


def rig_space(arguments: argparse.Namespace) -> int:
    """`voxelpose rig space`: in the form that --space takes."""
    print(propose_space(_load_rig(arguments)))
    return 0


def rig_convert(arguments: argparse.Namespace) -> int:
    """`voxelpose rig convert`."""
    check_outputs({"YAML": arguments.out}, [arguments.rig])
    rig = _load_rig(arguments)
    save_rig(rig, arguments.out)
    print(f"{arguments.out}: {len(rig)} cameras, read as {rig.source}")
    return 0


def rig_preview(arguments: argparse.Namespace) -> int:
    """`voxelpose rig preview`."""
    from voxelpose_core.drawing.rig import draw_rig

    check_outputs({"--out": arguments.out}, [arguments.rig], {"--out": PICTURES})
    rig = _load_rig(arguments)
    write_image(arguments.out, draw_rig(rig))
    print(f"{arguments.out}: {len(rig)} cameras, read as {rig.source}")
    return 0


# --- dataset ----------------------------------------------------------------------------------


def dataset_check(arguments: argparse.Namespace) -> int:
    """`voxelpose dataset check`: 1 if something is missing."""
    from voxelpose_core.datasets import check_dataset

    check_outputs({"--picture": arguments.picture}, (), {"--picture": PICTURES})
    report = check_dataset(arguments.path, arguments.name)
    print(f"{report.name}: {report.path}")
    for line in report.found:
        print(f"  {line}")
    for line in report.missing:
        print(f"missing: {line}")
    if not report.missing:
        print("nothing is missing")
    if arguments.picture:
        write_image(arguments.picture, _draw_sample(report.name, arguments.path))
        print(f"written: {arguments.picture}")
    return EXIT_SUSPICIOUS if report.missing else 0


def _draw_sample(name: str, path: Path) -> np.ndarray:
    """The true people of a data set's first labelled frame, over its images if there are any."""
    from voxelpose_core.datasets import open_dataset

    for images in (True, False):
        try:
            dataset = open_dataset(name, path, subset="all", images=images)
        except InputError:
            if images:
                continue
            raise
        limbs = dataset.joint_set.limbs
        for sample in dataset.samples():
            if len(sample.poses):
                people = zip(sample.poses, sample.visible, strict=True)
                skeletons = [
                    Skeleton(_shown(pose, seen, limbs), seen.astype(float), seen, 1.0, number)
                    for number, (pose, seen) in enumerate(people)
                ]
                painter = FramePainter(sample.rig, dataset.joint_set)
                return painter.paint(sample.images, skeletons, sample.keypoints, sample.key)
    raise InputError(f"{path}: has no labelled frame to draw")


def _shown(pose: np.ndarray, seen: np.ndarray, limbs: Sequence[tuple[int, int]]) -> np.ndarray:
    """The pose (J, 3) with joints that are not labelled moved to a neighbour that is."""
    pose, known = pose.copy(), seen.copy()
    for _ in range(len(pose)):
        for first, second in limbs:
            if known[first] != known[second]:
                source, target = (first, second) if known[first] else (second, first)
                pose[target], known[target] = pose[source], True
    return pose


# --- small things -----------------------------------------------------------------------------


def _argument(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """An argparse type whose InputError is shown as it is."""

    def convert(text: str) -> Any:
        try:
            return parse(text)
        except InputError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


def _image_size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if match is None:
        raise InputError(f"'{text}', expected WIDTHxHEIGHT in pixels, for example 1032x776")
    return int(match[1]), int(match[2])


def _count(text: str) -> int:
    if not re.fullmatch(r"\d{1,4}", text):
        raise InputError(f"'{text}', expected a number of threads, 0 for all")
    return int(text)


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not 0 < rate < math.inf:
        raise InputError(f"'{text}', expected frames a second, above 0")
    return rate


def _warn(line: str) -> None:
    """One line on stderr, above a progress bar."""
    tqdm.write(f"warning: {line}", file=sys.stderr)


def _shortened(names: Sequence[str], most: int = 6) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown}, ..."


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Warnings as one line each, above a progress bar."""

    def show(message: Warning | str, *_: object, **__: object) -> None:
        _warn(str(message))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("default", category=UserWarning, module=r"voxelpose_core\.")
        warnings.showwarning = show
        yield


if __name__ == "__main__":
    sys.exit(main())
