"""The demonstration: a recording of calibrated cameras, played over ROS, estimated, and shown.

`camera_player` and `voxelpose_node` run as processes of their own; this one listens to what they
publish, and turns it into a video, a picture, skeletons.json and a page that shows how good they are.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException
from tqdm import tqdm

from voxelpose_core.camera_watch import CameraWatch
from voxelpose_core.command import Parser, run_command
from voxelpose_core.drawing.frame import FramePainter
from voxelpose_core.drawing.run_pictures import RunPictures
from voxelpose_core.errors import InputError
from voxelpose_core.frame_sets import FrameSet
from voxelpose_core.geometry.rig import Rig, load_rig
from voxelpose_core.pages.report_page import Run, write_report_page
from voxelpose_core.pose_types import Estimate, body_joint_set, body_only
from voxelpose_core.resources import find_resource
from voxelpose_core.results import RunReport
from voxelpose_core.ros_messages.keypoints import keypoints_from_message
from voxelpose_core.ros_messages.skeletons import skeletons_from_message
from voxelpose_core.skeleton_files import FrameSkeletons, Recording, json_file
from voxelpose_core.skeletons import JointSet, get_joint_set
from voxelpose_core.sources import FrameSource, open_videos
from voxelpose_ros import bringup
from voxelpose_ros.demo_listener import Listener

_LAST_WORDS_S = 3.0
_GRACE_S = 15.0
# Recordings of a higher rate become slow motion.
_VIDEO_FPS = 30.0


@dataclass(frozen=True)
class Process:
    """A ROS node as a process of its own.

    Attributes:
        module: whose main() it runs.
        name: of the node.
        parameters: by name; they win over those of the parameter file.
        params_file: parameter file; None: without.
        environment: variables beside this process's own.
    """

    module: str
    name: str
    parameters: Mapping[str, Any]
    params_file: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    def command(self) -> list[str]:
        """Command line that starts it with this Python."""
        command = [sys.executable, "-m", self.module, "--ros-args", "-r", f"__node:={self.name}"]
        if self.params_file is not None:
            command += ["--params-file", str(self.params_file)]
        for name, value in self.parameters.items():
            # JSON is YAML, which rcl reads.
            command += ["-p", f"{name}:={json.dumps(value)}"]
        return command


def processes(
    rig_file: str, videos: Sequence[str], frames: int, arguments: argparse.Namespace
) -> tuple[Process, Process]:
    """Node and player, as launch/demo.launch.py starts them.

    Args:
        rig_file: calibration file.
        videos: one per camera, in the rig's order.
        frames: stop after this many frame sets.
        arguments: the command line's.
    """
    params_file = None if arguments.real_time else find_resource("config/ros/lockstep.yaml")
    node = {
        "rig_file": rig_file,
        "qos.reliability": "reliable",
        "weights": arguments.weights,
        "device": arguments.device,
        "detector": arguments.detector,
        "refine_detections": arguments.refine_detections,
    }
    player = {"rig_file": rig_file, "videos": list(videos), "max_frame_sets": frames}
    transport = bringup.image_transport()
    return (
        Process("voxelpose_ros.node", bringup.NODE_NAME, node, params_file),
        Process("voxelpose_ros.camera_player", "camera_player", player, params_file, transport),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demonstration; returns 0, 1 when no skeleton was estimated, or 2 for bad input."""
    return run_command(lambda: _run(_parser().parse_args(argv)))


def _run(arguments: argparse.Namespace) -> int:
    try:
        return run(arguments)
    except ExternalShutdownException:
        raise KeyboardInterrupt from None


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m voxelpose_ros.demo",
        description="Play a recording of calibrated cameras over ROS and estimate 3D skeletons.",
    )
    parser.add_argument("--rig", help="calibration file (default: pose2sim's recording)")
    parser.add_argument("--videos", nargs="+", default=[], help="one per camera, in the rig's order")
    parser.add_argument("--output", type=Path, default=Path("demo_output"), help="folder for the results")
    parser.add_argument("--weights", default="universal", help="3D weights: universal, voxelpose or a file")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:N")
    parser.add_argument(
        "--detector", default="movenet", help="2D detector: movenet or an ONNX file (docs/detectors.md)"
    )
    parser.add_argument(
        "--refine-detections",
        action="store_true",
        help="refine each 2D detection with a second net: more accurate, slower per person",
    )
    parser.add_argument("--frames", type=int, default=0, help="stop after this many (default: all)")
    parser.add_argument(
        "--real-time",
        action="store_true",
        help="play at the video's rate; a slow machine skips frame sets",
    )
    return parser


def run(arguments: argparse.Namespace) -> int:
    """The whole demonstration; returns the exit code, see `main`.

    Raises:
        InputError: when rig and videos do not fit each other, or cannot be read.
    """
    rig_file, videos = arguments.rig, arguments.videos
    if rig_file is None and not videos:
        rig_file, videos = bringup.find_recording()
    if rig_file is None or not videos:
        raise InputError("--rig and --videos belong together, expected both")
    rig = load_rig(rig_file)
    source = open_videos(videos)
    arguments.output.mkdir(parents=True, exist_ok=True)
    frames = min(arguments.frames or len(source), len(source))
    node, player = processes(rig_file, videos, frames, arguments)
    rclpy.init(args=[])
    listener = Listener(rig)
    try:
        _listen_while_playing(listener, node, player, frames)
    finally:
        listener.destroy_node()
        rclpy.try_shutdown()
    return _show(arguments.output, rig, source, frames, listener)


def _listen_while_playing(listener: Listener, node: Process, player: Process, frames: int) -> None:
    with _running(node) as estimating:
        ready = partial(listener.count_publishers, bringup.SKELETONS_TOPIC)
        # The node ends by itself when its configuration is bad; it has said why.
        _spin_until(listener, lambda: ready() or estimating.poll() is not None)
        if estimating.poll() is not None:
            raise InputError(f"node '{node.name}' ended with exit code {estimating.returncode}")
        with _running(player) as playing, _progress(frames, "estimate") as bar:

            def over() -> bool:
                if len(listener.skeletons) > bar.n:
                    bar.update(len(listener.skeletons) - bar.n)
                return playing.poll() is not None or estimating.poll() is not None

            _spin_until(listener, over)
            # On a busy machine topics can be seen before the node ends for a bad configuration.
            for process, run in ((node, estimating), (player, playing)):
                if run.poll():
                    raise InputError(f"node '{process.name}' ended with exit code {run.returncode}")
            # The last diagnostics count everything.
            deadline = time.monotonic() + _LAST_WORDS_S
            _spin_until(listener, lambda: listener.knows_all() or time.monotonic() > deadline)


@contextlib.contextmanager
def _running(described: Process) -> Iterator[subprocess.Popen]:
    environment = {**os.environ, **described.environment}
    started = subprocess.Popen(described.command(), env=environment)
    try:
        yield started
    finally:
        if started.poll() is None:
            started.send_signal(signal.SIGINT)
            try:
                started.wait(timeout=_GRACE_S)
            except subprocess.TimeoutExpired:
                started.kill()
                started.wait()


def _spin_until(listener: Listener, condition: Callable[[], object]) -> None:
    while not condition():
        rclpy.spin_once(listener, timeout_sec=0.1)


def _progress(frames: int, what: str) -> tqdm:
    return tqdm(total=frames, unit="frame", desc=what, mininterval=0.5)


def _show(output: Path, rig: Rig, source: FrameSource, frames: int, listener: Listener) -> int:
    """Write what the demonstration leaves behind."""
    if not listener.skeletons:
        print("error: nothing came out of the node", *listener.problems(), file=sys.stderr)
        return 1
    joint_set = get_joint_set(next(iter(listener.skeletons.values())).joint_set)
    video, picture = output / "demo.mp4", output / "demo.png"
    painter = FramePainter(rig, joint_set)
    pictures = RunPictures(painter, frames, min(source.fps, _VIDEO_FPS), video, picture, middle=True)
    watch = CameraWatch(rig, body_joint_set(joint_set))
    report, views, agreement, frame_sets = RunReport(rig), Counter(), [], []
    for frame_set, estimate in _played(rig, joint_set, source, frames, listener):
        body = body_only(estimate, joint_set)
        agreement.append(report.add(body))
        watch.add(body, agreement[-1], frame_set.stamp)
        views[len(estimate.cameras)] += 1
        frame_sets.append(FrameSkeletons(frame_set.frame, frame_set.stamp, estimate.skeletons))
        pictures.add(frame_set, estimate)
    pictures.finish()
    watch.finish()
    report.stages_ms = {stage: [ms] for stage, ms in listener.stage_medians_ms().items()}
    page = Run(
        rig,
        Recording(joint_set, frame_sets, source.fps),
        report,
        agreement,
        facts=_facts(rig, report, views, listener),
        warnings=[
            *(finding.line for finding in watch.findings()),
            *report.findings(),
            *listener.problems(),
        ],
        cameras=watch.findings(),
        cameras_judged=watch.judged,
        picture=pictures.middle_picture,
    )
    written = [*pictures.written, *_write(output, page)]
    print("\n".join([*page.facts, *(f"warning       {line}" for line in page.warnings)]))
    print(f"written       {', '.join(map(str, written))}")
    if pictures.errors:
        raise InputError("; ".join(pictures.errors))
    return 0 if report.estimated else 1


def _write(output: Path, page: Run) -> list[Path]:
    skeletons, report = output / "skeletons.json", output / "report.html"
    json_file.write(skeletons, page.recording)
    write_report_page(report, page)
    return [skeletons, report]


def _played(
    rig: Rig, joint_set: JointSet, source: FrameSource, frames: int, listener: Listener
) -> Iterator[tuple[FrameSet, Estimate]]:
    """The frame sets that were played, with what the node said of each."""
    stamps = sorted(listener.played | listener.skeletons.keys())
    with _progress(frames, "draw") as bar:
        for index, seconds, images in itertools.islice(source, frames):
            stamp = stamps[index] if index < len(stamps) else None
            yield FrameSet(index, seconds, images, None), _estimate_of(listener, rig, joint_set, stamp)
            bar.update()


def _estimate_of(listener: Listener, rig: Rig, joint_set: JointSet, stamp: int | None) -> Estimate:
    """What the node said of the frame set with that stamp, back in mm and pixels."""
    message = listener.skeletons.get(stamp)
    keypoints = []
    for camera in rig.cameras:
        people = listener.keypoints.get((stamp, camera.name))
        keypoints.append(None if people is None else keypoints_from_message(people, camera, joint_set))
    if message is None:
        return Estimate([], keypoints, ())
    skeletons = skeletons_from_message(message)
    return Estimate(skeletons, keypoints, tuple(message.cameras))


def _facts(rig: Rig, report: RunReport, views: Counter[int], listener: Listener) -> list[str]:
    """What was estimated with what, and what was counted: lines with a word before each."""
    latency = listener.value("latency p50 ms"), listener.value("latency p95 ms")
    parts = ", ".join(f"{part} {ms:.0f}" for part, ms in listener.latency_parts_ms().items())
    return [
        f"rig           {rig.name}: {len(rig)} cameras, {rig.source}",
        f"weights       {listener.value('weights')} on {listener.value('device')}",
        *report.lines(),
        "cameras       " + ", ".join(f"{n} in {c} frames" for n, c in sorted(views.items())),
        f"latency       {latency[0]} ms median, {latency[1]} ms p95, from stamp to skeletons; "
        f"medians: {parts}",
        f"messages      {len(listener.skeletons)} SkeletonArray, {len(listener.drawn)} MarkerArray "
        "with people",
    ]


if __name__ == "__main__":
    sys.exit(main())
