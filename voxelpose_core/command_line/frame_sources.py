"""Videos, image folders or 2D detections as the subcommands take them: options, and what they open."""

from __future__ import annotations

import argparse
import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from voxelpose_core.bags.bag import Bag, is_bag
from voxelpose_core.bags.calibration import check_camera_infos, rig_from_bag, unposed_rig_from_bag
from voxelpose_core.bags.frame_sets import BagFrameSets
from voxelpose_core.bags.topics import KEYPOINTS, input_topics
from voxelpose_core.command import whole_number
from voxelpose_core.command_line.options import argument_type, as_given, finite_number, load_given_rig, warn
from voxelpose_core.errors import InputError
from voxelpose_core.frame_choice import FrameChoice
from voxelpose_core.frame_sets import ImageFrameSets, KeypointFrameSets
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.rig import Rig, load_rig
from voxelpose_core.keypoint_files import KeypointRecording, read_keypoints
from voxelpose_core.skeletons import COCO17
from voxelpose_core.source_matching import distinct_labels, match_sources
from voxelpose_core.sources import (
    DEFAULT_FPS,
    fit_rig,
    open_image_folders,
    open_videos,
)

DEFAULT_DETECTOR = "movenet"
OpenedSource = ImageFrameSets | KeypointFrameSets | BagFrameSets

if TYPE_CHECKING:
    from voxelpose_core.detectors import Detector
    from voxelpose_core.self_calibration.observations import Recording


def add_sources(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """`--videos`, `--images`, `--keypoints` or `--bag`, and how they are read.

    Args:
        parser: of the command.
        required: one of them must be given.
    """
    source = parser.add_mutually_exclusive_group(required=required)
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
        nargs="+",
        metavar="FILE",
        help="2D detections, in pixels: one file or folder per camera, named or ordered likewise, of "
        "OpenPose, Pose2Sim, AlphaPose, MMPose or COCO results; a folder of these; or one JSON file of all "
        'cameras: {"CAMERA_FRAME": [{"pred": [[x, y, score], ...]}, ...]}',
    )
    source.add_argument(
        "--bag", metavar="BAG", help="rosbag2 recording: its folder, or an .mcap or .db3 file"
    )
    parser.add_argument(
        "--topic",
        nargs="+",
        metavar="TOPIC",
        help="topics of the cameras in the bag: one such as /{camera}/image_raw, or one per camera in their "
        "order; images, compressed images or 2D detections (default: found by the cameras' names)",
    )
    parser.add_argument(
        "--check-camera-info",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="refuse a --rig that CameraInfo in the bag contradicts (default: yes)",
    )
    parser.add_argument(
        "--in-order",
        action="store_true",
        help="take videos, folders or files in the order of the cameras, whatever their names",
    )
    parser.add_argument(
        "--fps",
        type=argument_type(_rate),
        help=f"frames per second of images or keypoints (default: {DEFAULT_FPS:g}); not with --videos",
    )


def add_frame_choice(parser: argparse.ArgumentParser) -> None:
    """`--start`, `--end` and `--every`."""
    parser.add_argument(
        "--start",
        type=argument_type(_seconds),
        default=0.0,
        metavar="S",
        help="leave out what comes before this time of the recording, seconds (default: 0)",
    )
    parser.add_argument(
        "--end",
        type=argument_type(_seconds),
        default=math.inf,
        metavar="S",
        help="leave out what comes from this time on (default: the end)",
    )
    parser.add_argument(
        "--every",
        type=whole_number(1),
        default=1,
        metavar="N",
        help="only every Nth frame set of these (default: all)",
    )


def given_choice(arguments: argparse.Namespace) -> FrameChoice:
    """What `--start`, `--end` and `--every` say."""
    return FrameChoice(arguments.start, arguments.end, arguments.every)


def add_detector(parser: argparse.ArgumentParser, refined: bool = False) -> None:
    """`--detector`, and what it runs on.

    Args:
        parser: of the command.
        refined: detections are refined by default, where the detector answers COCO-17.
    """
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:N (default: %(default)s)")
    parser.add_argument(
        "--detector",
        help=f"2D detector for images: {DEFAULT_DETECTOR} (default), or an ONNX file: RTMO, YOLO-pose, "
        "MoveNet, or RTMPOSE.onnx,RTMDET.onnx; tensorrt: before it runs it in TensorRT",
    )
    parser.add_argument(
        "--refine-detections",
        action=argparse.BooleanOptionalAction,
        help="refine each 2D detection with a second net: more accurate, slower per person "
        f"(default: {'yes' if refined else 'no'})",
    )
    # None: nothing was said, so that a detector which cannot be refined is no error.
    parser.set_defaults(refine_detections=None, refined_by_default=refined)
    parser.add_argument(
        "--threads",
        type=whole_number(0),
        default=0,
        metavar="N",
        help="CPU threads; 0: all (default)",
    )


def _seconds(text: str) -> float:
    return finite_number(text, "seconds, from 0 on", or_0=True)


def _rate(text: str) -> float:
    return finite_number(text, "frames per second, above 0")


def check_sources(arguments: argparse.Namespace) -> None:
    """InputError where options contradict each other."""
    if arguments.topic and not arguments.bag:
        raise InputError("--topic: only a --bag has topics")
    if arguments.bag and (arguments.fps or arguments.in_order):
        raise InputError(f"--{'fps' if arguments.fps else 'in-order'}: not with --bag, which has its own")
    if arguments.videos and arguments.fps:
        raise InputError("--fps: videos have their own frame rate, expected it with --images or --keypoints")
    if arguments.keypoints:
        _refuse_detectors(arguments, "--keypoints")
    if not arguments.bag:
        for path in filter(is_bag, given_sources(arguments)):
            raise InputError(f"{path}: is a recording of ROS messages, expected with --bag")


def _refuse_detectors(arguments: argparse.Namespace, source: str) -> None:
    """InputError where options want to look at the images of a source of 2D detections."""
    if arguments.refine_detections:
        raise InputError(
            f"--refine-detections: {source} has no images to look at, expected --videos or --images"
        )
    if arguments.detector:
        raise InputError(f"--detector: {source} brings its own detections, expected --videos or --images")


def source_option(arguments: argparse.Namespace) -> str:
    """Which of the options is given."""
    names = ("videos", "images", "keypoints", "bag")
    return f"--{next(name for name in names if getattr(arguments, name))}"


def given_sources(arguments: argparse.Namespace) -> list[str]:
    """The paths that are given."""
    bag = [arguments.bag] if arguments.bag else []
    return arguments.videos or arguments.images or arguments.keypoints or bag


def matched_paths(arguments: argparse.Namespace, rig: Rig) -> tuple[Path, ...]:
    """Videos or folders in the order of the rig; how they were matched goes to stderr."""
    matched = match_sources(given_sources(arguments), rig, source_option(arguments), arguments.in_order)
    if matched.note:
        warn(matched.note)
    return matched.paths


def _keypoints(arguments: argparse.Namespace, rig: Rig) -> KeypointRecording:
    """The 2D detections that are given; what is to be known of them goes to stderr."""
    read = read_keypoints(arguments.keypoints, rig, arguments.in_order)
    for note in read.notes:
        warn(note)
    return read


def given_rig(arguments: argparse.Namespace) -> Rig:
    """The rig that `--rig` names, or that of the bag.

    Raises:
        InputError: neither is there.
    """
    bag = arguments.bag
    if arguments.world_frame and (not bag or arguments.rig is not None):
        raise InputError("--world-frame: for the rig of a --bag, without --rig, which has its own world")
    if arguments.rig is not None:
        return load_given_rig(arguments)
    if not bag:
        raise InputError("--rig: missing, expected a calibration; only a --bag may bring its own")
    for option in ("image_size", "unit"):
        if getattr(arguments, option):
            raise InputError(f"--{option.replace('_', '-')}: CameraInfo has its own, expected it with --rig")
    with Bag(bag) as opened:
        rig = rig_from_bag(opened, arguments.topic, arguments.world_frame)
    return as_given(rig.select(arguments.cameras) if arguments.cameras else rig, arguments)


def open_source(arguments: argparse.Namespace, rig: Rig) -> OpenedSource:
    """The frame sets that the arguments name."""
    check_sources(arguments)
    if arguments.bag:
        check = arguments.rig is not None and arguments.check_camera_info
        source = BagFrameSets(arguments.bag, rig, arguments.topic, warn, check)
        if source.joint_set is not None:
            _refuse_detectors(arguments, f"--bag with {next(iter(source.topics.values()))}")
        return source
    fps = arguments.fps or DEFAULT_FPS
    if arguments.keypoints:
        read = _keypoints(arguments, rig)
        return KeypointFrameSets(read.frames, rig, fps, read.joint_set, read.paths, read.layout)
    option, paths = source_option(arguments), matched_paths(arguments, rig)
    frames = open_videos(paths) if arguments.videos else open_image_folders(paths, fps)
    return ImageFrameSets(frames, rig, option, paths, warn)


@dataclass(frozen=True)
class GivenRecording:
    """The 2D detections of videos, images or a keypoint file.

    Attributes:
        recording: the detections.
        rig: for images of the size that is given.
        option: which option named them.
        paths: in the order of the rig; None where one file has all cameras.
        turns: per camera the clockwise quarter turns with which the detector saw its images.
    """

    recording: Recording
    rig: Rig
    option: str
    paths: tuple[Path, ...] | None
    turns: tuple[int, ...]


def record(arguments: argparse.Namespace, rig: Rig) -> GivenRecording:
    """Detect people in what the arguments name, each camera on its own clock."""
    from voxelpose_core.self_calibration.recording import RecordedCameras, record_images, record_keypoints

    check_sources(arguments)
    if arguments.bag:
        return _record_bag(arguments, rig)
    fps, option = arguments.fps or DEFAULT_FPS, source_option(arguments)
    if arguments.keypoints:
        read = _keypoints(arguments, rig)
        recording = record_keypoints(read.coco17_frames(), rig.cameras, fps, arguments.seconds)
        return GivenRecording(recording, rig, option, read.paths, (0,) * len(rig))
    paths = matched_paths(arguments, rig)
    opened = [open_videos([path]) for path in paths] if arguments.videos else [open_image_folders(paths, fps)]
    rig, notes = fit_rig(rig, [size for frames in opened for size in frames.sizes])
    for note in notes:
        warn(note)
    groups = [[camera] for camera in rig.cameras] if arguments.videos else [rig.cameras]
    sources = [RecordedCameras(*source) for source in zip(opened, groups, strict=True)]
    recording, turns = record_images(sources, given_detector(arguments), arguments.seconds)
    return GivenRecording(recording, rig, option, paths, turns)


def _record_bag(arguments: argparse.Namespace, rig: Rig) -> GivenRecording:
    from voxelpose_core.bags.recording import BagImages, first_stamp_ns, record_bag_keypoints
    from voxelpose_core.self_calibration.recording import RecordedCameras, record_images

    with Bag(arguments.bag) as bag:
        topics = input_topics(bag.types, rig.names, arguments.topic)
        if arguments.check_camera_info:
            check_camera_infos(bag, topics, rig)
        keypoints = bag.types[topics[rig.names[0]]] == KEYPOINTS
        start_ns = first_stamp_ns(bag, topics)
    if keypoints:
        _refuse_detectors(arguments, f"--bag with {topics[rig.names[0]]}")
        recording = record_bag_keypoints(arguments.bag, topics, rig, arguments.seconds)
        return GivenRecording(recording, rig, "--bag", None, (0,) * len(rig))
    opened = [BagImages(arguments.bag, topics[name], start_ns) for name in rig.names]
    rig, notes = fit_rig(rig, [images.sizes[0] for images in opened])
    for note in notes:
        warn(note)
    sources = [RecordedCameras(images, [camera]) for images, camera in zip(opened, rig.cameras, strict=True)]
    recording, turns = record_images(sources, given_detector(arguments), arguments.seconds)
    return GivenRecording(recording, rig, "--bag", None, turns)


def rig_without_poses(arguments: argparse.Namespace, intrinsics: str | None, fov_deg: float) -> Rig:
    """The rig of the sources that the arguments name: it has intrinsics, and poses that mean nothing.

    Args:
        arguments: with sources.
        intrinsics: a calibration whose poses are not used; None: the CameraInfo of the bag or, without a
            bag, the field of view, which is guessed.
        fov_deg: that guess, for the longer side of the images.
    """
    from voxelpose_core.self_calibration.from_people import guessed_cameras

    if intrinsics is not None:
        known = load_rig(intrinsics)
        return dataclasses.replace(known, cameras=tuple(map(_unposed, known.cameras)))
    if arguments.bag:
        with Bag(arguments.bag) as bag:
            return unposed_rig_from_bag(bag, arguments.topic)
    if arguments.keypoints:
        raise InputError("--keypoints: they do not tell the size of the images, expected --intrinsics")
    check_sources(arguments)
    paths = [Path(path) for path in given_sources(arguments)]
    if len(paths) < 2:
        raise InputError(
            f"{source_option(arguments)}: {len(paths)} given, expected one per camera, at least 2"
        )
    if arguments.videos:
        sizes = [open_videos([path]).sizes[0] for path in paths]
    else:
        sizes = open_image_folders(paths, DEFAULT_FPS).sizes
    for path, size in zip(paths, sizes, strict=True):
        if size is None:
            raise InputError(f"{path}: its first image cannot be read")
    sized = [size for size in sizes if size is not None]
    cameras = guessed_cameras(distinct_labels(paths), sized, fov_deg)
    return Rig(cameras, name="from_people", source="a guess of the field of view")


def _unposed(camera: Camera) -> Camera:
    return dataclasses.replace(camera, R=np.eye(3), C=np.zeros(3), quarter_turns=None, time_offset_ms=0.0)


def given_detector(arguments: argparse.Namespace) -> Detector:
    """The 2D detector that the arguments name."""
    from voxelpose_core.detectors import load_detector
    from voxelpose_core.detectors.refinement import RefinedDetector
    from voxelpose_core.devices import select_device

    device = str(select_device(arguments.device))
    detector = load_detector(arguments.detector or DEFAULT_DETECTOR, arguments.threads, device)
    refine = arguments.refine_detections
    if refine is None:
        refine = arguments.refined_by_default and detector.joint_set == COCO17
    return RefinedDetector(detector, arguments.threads, device) if refine else detector
