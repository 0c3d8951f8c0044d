#!/usr/bin/env python3
"""One recording through every input and output of `voxelpose estimate`: time, memory, the same skeletons?

    python benchmarks/inputs_and_outputs.py --recording DIR --seconds 1 --out inputs.json

DIR is that of `scripts/demo_data.py`, with Demo_MultiPerson in it. The videos are the reference; all other
inputs are made from them: their frames as images, the 2D detections of these frames in each layout, and bags
of both. Each input is estimated in a process of its own with one thread. Times are CPU time, which excludes
waiting for other jobs, without the start of Python and the loading of nets: "read" is opening the input and
taking all frame sets, "whole" is estimation with that. Memory is the process's peak. Outputs are read back by
readers that share nothing with the writers (file_readers.py).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from file_readers import READERS, Joints
from stopwatch import memory_of_process, print_table

from voxelpose_core.bags.bag import message_types
from voxelpose_core.cli import make_parser
from voxelpose_core.command import Parser, run_command
from voxelpose_core.command_line.estimation_run import EstimationRun
from voxelpose_core.command_line.frame_sources import (
    given_choice,
    given_detector,
    given_rig,
    open_source,
)
from voxelpose_core.command_line.interruption import Interruption
from voxelpose_core.detector_joint_sets import BODY25, COCO18, HALPE26, mapped_keypoints
from voxelpose_core.estimator import PoseEstimator
from voxelpose_core.geometry.rig import Rig, load_rig
from voxelpose_core.processor import device_name
from voxelpose_core.skeleton_files import FORMATS, Recording
from voxelpose_core.skeletons import COCO17, JointSet
from voxelpose_core.sources import open_videos
from voxelpose_core.topic_names import ros_name

# The layouts of other tools, and bags, are written and read by what the tests use.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "test"))

import keypoint_layouts as layouts
from bag_files import START_NS, BagMaker

RATE_HZ = 60.0
WRITES = 3


@dataclass(frozen=True)
class Given:
    """The recording: (V,) videos, the first frame sets of these, and their 2D detections."""

    rig_file: Path
    rig: Rig
    videos: tuple[Path, ...]
    images: Callable[[], Iterator[list[np.ndarray]]]
    count: int
    keypoints: list[list[np.ndarray]]


def main() -> int:
    parser = Parser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--recording", type=Path, help="folder with Demo_MultiPerson in it")
    parser.add_argument("--seconds", type=float, default=1.0, help="how much of it (default: %(default)s)")
    parser.add_argument("--only", nargs="+", metavar="INPUT", help="inputs whose names hold one of these")
    parser.add_argument("--out", type=Path, help="also write the numbers as JSON")
    parser.add_argument("--child", help="for the processes that this one starts")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.child:
        print(json.dumps(estimated(**json.loads(args.child))))
        return 0
    if args.recording is None:
        parser.error("--recording: missing, expected the folder that scripts/demo_data.py prints")
    print("on", device_name(torch.device("cpu")), "with 1 thread", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        results = measured(args.recording / "Demo_MultiPerson", args.seconds, args.only, Path(scratch))
    if args.out:
        args.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 0


def measured(folder: Path, seconds: float, only: Sequence[str] | None, scratch: Path) -> dict[str, Any]:
    """Rows of both tables."""
    given = opened(folder, seconds)
    inputs = []
    reference: dict[str, np.ndarray] | None = None
    for name, (make, why) in INPUTS.items():
        if reference is not None and only and not any(part in name for part in only):
            continue
        with folder_for(scratch / "input") as own:
            row, arrays = in_process(make(given, own), given, scratch / "skeletons.npz")
        reference = reference or arrays
        row["skeletons"] = compared(reference, arrays, why)
        inputs.append({"input": name, **row})
        print(f"{name}: {row}", flush=True)
    print_table("inputs", inputs)
    with folder_for(scratch / "recording") as own:
        arguments = in_our_layout(given, own)
        recording = estimated_recording(arguments, given)
    outputs = [written(name, recording, scratch) for name in FORMATS]
    print_table("outputs", outputs)
    return {"device": device_name(torch.device("cpu")), "inputs": inputs, "outputs": outputs}


@contextmanager
def folder_for(path: Path) -> Iterator[Path]:
    """A folder that is removed afterwards: raw images take gigabytes."""
    path.mkdir()
    yield path
    shutil.rmtree(path)


def opened(folder: Path, seconds: float) -> Given:
    """The recording, and 2D detections as `voxelpose estimate` makes them."""
    rig_file, videos = folder / "calibration" / "Calib.qca.txt", tuple(sorted(folder.glob("videos/*.mp4")))
    rig = load_rig(rig_file)
    source = open_videos(videos)
    count = sum(stamp < seconds for stamp in source.stamps)

    def images() -> Iterator[list[np.ndarray]]:
        for _, _, views in source.at(range(count)):
            yield [view for view in views if view is not None]

    arguments = _parsed(["--videos", *map(str, videos)])
    estimator = PoseEstimator(rig, device="cpu", detector=given_detector(arguments))
    keypoints = [[view for view in estimator.detect(views) if view is not None] for views in images()]
    return Given(rig_file, rig, videos, images, count, keypoints)


# Inputs: each answers the options that name what it wrote -------------------------------------------------


def as_videos(given: Given, folder: Path) -> list[str]:
    return ["--videos", *map(str, given.videos)]


def as_images(given: Given, folder: Path) -> list[str]:
    for index, views in enumerate(given.images()):
        for number, image in enumerate(views):
            (folder / f"view{number}").mkdir(exist_ok=True)
            cv2.imwrite(str(folder / f"view{number}" / f"{index:06d}.png"), image)
    folders = sorted(folder.iterdir())
    return ["--images", *map(str, folders), "--in-order", "--fps", str(RATE_HZ)]


def in_our_layout(given: Given, folder: Path) -> list[str]:
    content = {
        f"{camera}_{index}": [{"pred": person.tolist()} for person in people]
        for index, views in enumerate(given.keypoints)
        for camera, people in enumerate(views)
    }
    (folder / "all.json").write_text(json.dumps(content), encoding="utf-8")
    return ["--keypoints", str(folder / "all.json"), "--fps", str(RATE_HZ)]


def in_layout(write: Callable, joint_set: JointSet) -> Callable[[Given, Path], list[str]]:
    """Files of another tool, one file or folder per camera."""

    def make(given: Given, folder: Path) -> list[str]:
        paths = []
        for camera in range(len(given.rig)):
            frames = {
                index: mapped_keypoints(views[camera], COCO17, joint_set)
                for index, views in enumerate(given.keypoints)
            }
            paths.append(write(folder, f"view{camera}", frames))
        return ["--keypoints", *map(str, paths), "--in-order", "--fps", str(RATE_HZ)]

    return make


def in_bag(storage: str, write: Callable, ending: str = "", of_images: bool = True) -> Callable:
    """A bag; write(bag, topic, camera, view, stamp_ns)."""

    def make(given: Given, folder: Path) -> list[str]:
        with BagMaker(folder / "bag", storage) as bag:
            for index, views in enumerate(given.images() if of_images else given.keypoints):
                stamp_ns = START_NS + round(index * 1e9 / RATE_HZ)
                for camera, view in zip(given.rig.cameras, views, strict=True):
                    write(bag, f"/{ros_name(camera.name)}/{ending}", camera, view, stamp_ns)
        return ["--bag", str(folder / "bag")]

    return make


def _raw(bag: Any, topic: str, camera: Any, image: np.ndarray, stamp_ns: int) -> None:
    bag.image(topic, image, stamp_ns)


def _jpeg(bag: Any, topic: str, camera: Any, image: np.ndarray, stamp_ns: int) -> None:
    bag.compressed(topic, image, stamp_ns)


def _png(bag: Any, topic: str, camera: Any, image: np.ndarray, stamp_ns: int) -> None:
    bag.compressed(topic, image, stamp_ns, ending=".png")


def _keypoints(bag: Any, topic: str, camera: Any, people: np.ndarray, stamp_ns: int) -> None:
    bag.keypoints(topic, camera, people, stamp_ns)


_NANOSECONDS = "stamps in whole nanoseconds"
RAW, COMPRESSED, KEYPOINTS = "image_raw", "image_raw/compressed", "keypoints"
# By name: what makes it, and why its skeletons may differ from those of the videos.
INPUTS: dict[str, tuple[Callable[[Given, Path], list[str]], str]] = {
    "videos": (as_videos, ""),
    "image folders, PNG": (as_images, ""),
    "bag of images, sqlite3": (in_bag("sqlite3", _raw, RAW), _NANOSECONDS),
    "bag of images, MCAP": (in_bag("mcap", _raw, RAW), _NANOSECONDS),
    "bag of PNG images, MCAP": (in_bag("mcap", _png, COMPRESSED), _NANOSECONDS),
    "bag of JPEG images, MCAP": (in_bag("mcap", _jpeg, COMPRESSED), "JPEG's losses (quality 90)"),
    "bag of 2D detections, sqlite3": (in_bag("sqlite3", _keypoints, KEYPOINTS, False), _NANOSECONDS),
    "bag of 2D detections, MCAP": (in_bag("mcap", _keypoints, KEYPOINTS, False), _NANOSECONDS),
    "VoxelPose's layout": (in_our_layout, ""),
    "OpenPose, BODY_25": (in_layout(layouts.openpose, BODY25), ""),
    "OpenPose, COCO": (in_layout(layouts.openpose, COCO18), ""),
    "Pose2Sim, COCO_17": (in_layout(layouts.pose2sim, COCO17), ""),
    "Pose2Sim, HALPE_26": (in_layout(layouts.pose2sim, HALPE26), ""),
    "AlphaPose": (in_layout(layouts.alphapose, COCO17), ""),
    "COCO results": (in_layout(layouts.coco, COCO17), ""),
    "MMPose, a video": (in_layout(layouts.mmpose_video, COCO17), ""),
    "MMPose, demo": (in_layout(layouts.mmpose_demo, COCO17), ""),
    "MMPose, images": (in_layout(layouts.mmpose_images, COCO17), ""),
}


# Estimation ------------------------------------------------------------------------------------------------


def in_process(options: list[str], given: Given, path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The row of an input, and its skeletons, from a process of its own."""
    rest = ["--rig", str(given.rig_file), "--end", str((given.count - 0.5) / RATE_HZ)]
    child = json.dumps({"options": [*options, *rest], "path": str(path)})
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, __file__, "--child", child], env=environment, capture_output=True, text=True
    )
    if run.returncode:
        raise RuntimeError(f"{' '.join(options)[:200]}: {run.stderr[-2000:]}")
    with np.load(path) as arrays:
        return json.loads(run.stdout.splitlines()[-1]), dict(arrays)


def estimated(options: list[str], path: str) -> dict[str, Any]:
    """Read and estimate the input that the options name; the skeletons go into a file."""
    arguments = _parsed(options)
    rig = given_rig(arguments)
    # Imports rosbags, as the parser imported the rest.
    message_types()
    start = time.process_time()
    source = _opened(arguments, rig)
    opening = time.process_time() - start
    count = sum(1 for _ in source)
    reading = time.process_time() - start
    run = _run(arguments, _opened(arguments, rig))
    start = time.process_time()
    _take_all(run)
    whole = time.process_time() - start + opening
    FORMATS["npz"].write(Path(path), run.recording())
    return {
        "frame sets": count,
        "read, ms": round(1e3 * reading / count, 1),
        "whole, ms": round(1e3 * whole / count, 1),
        "peak, MB": round(memory_of_process("VmHWM") / 1e6),
    }


def estimated_recording(options: list[str], given: Given) -> Recording:
    """The skeletons of an input."""
    arguments = _parsed(["--rig", str(given.rig_file), *options])
    run = _run(arguments, _opened(arguments, given_rig(arguments)))
    _take_all(run)
    return run.recording()


def _parsed(options: list[str]) -> Any:
    # The command's own output is not used.
    return make_parser().parse_args(["estimate", "--threads", "1", "--out", "unused.json", *options])


def _opened(arguments: Any, rig: Rig) -> Any:
    source = open_source(arguments, rig)
    source.choose(given_choice(arguments))
    return source


def _run(arguments: Any, source: Any) -> EstimationRun:
    detector = None if source.joint_set is not None else given_detector(arguments)
    estimator = PoseEstimator(source.rig, device="cpu", detector=detector)
    if source.joint_set is not None:
        estimator = estimator.for_detections(source.joint_set)
    return EstimationRun(estimator, source)


def _take_all(run: EstimationRun) -> None:
    with Interruption() as interruption:
        stop = run.take_all(interruption)
    if stop is not None:
        raise stop.error or RuntimeError("interrupted")


def compared(reference: dict[str, np.ndarray], other: dict[str, np.ndarray], why: str) -> str:
    """Whether skeletons are the reference's, in the joints of COCO-17."""
    joints = [list(other["joint_names"]).index(name) for name in COCO17.joint_names]
    ours, theirs = _by_person(reference, slice(None)), _by_person(other, joints)
    common = sorted(ours.keys() & theirs.keys())
    pairs = [(ours[key], theirs[key]) for key in common]
    alone = len(ours.keys() ^ theirs.keys())
    if not alone and all(np.array_equal(*pair, equal_nan=True) for pair in pairs):
        return "the same, bit for bit"
    distances = 1e3 * np.concatenate([np.linalg.norm(own - other, axis=1) for own, other in pairs])
    told = f"median {np.nanmedian(distances):.2g}, at most {np.nanmax(distances):.2g} mm apart"
    gaps = sum(int((np.isnan(own) != np.isnan(other)).any(axis=1).sum()) for own, other in pairs)
    told += f", {gaps} joints valid in one only" if gaps else ""
    told += f", {alone} of {len(common) + alone} skeletons in one only" if alone else ""
    return f"{told}: {why}" if why else told


def _by_person(arrays: dict[str, np.ndarray], joints: Any) -> Joints:
    """Metres, as NPZ files have them."""
    keys = zip(arrays["track_id"].tolist(), arrays["frame"].tolist(), strict=True)
    return dict(zip(keys, arrays["joints_m"][:, joints], strict=True))


# Outputs ---------------------------------------------------------------------------------------------------


def written(name: str, recording: Recording, scratch: Path) -> dict[str, Any]:
    """The row of a format."""
    times, found = [], FORMATS[name]
    for _ in range(WRITES):
        with folder_for(scratch / name) as folder:
            start = time.process_time()
            answer = found.write(folder / f"walk{found.ending}", recording)
            times.append(time.process_time() - start)
            size = sum(path.stat().st_size for path in answer.paths)
            reader, joints = READERS[name](answer.paths, recording)
    count = len(recording.frame_sets)
    return {
        "output": found.ending,
        "frame sets": count,
        "files": len(answer.paths),
        "ms": round(1e3 * float(np.median(times)) / count, 2),
        "bytes": round(size / count),
        "read by": reader,
        "read back": read_back(recording, joints),
    }


def read_back(recording: Recording, joints: Joints) -> str:
    """How many of the valid joints came back, and how far off, mm."""
    known, distances = 0, []
    for index, frame_set in enumerate(recording.frame_sets):
        for skeleton in frame_set.skeletons:
            if skeleton.track_id < 0:
                continue
            known += int(skeleton.joint_valid.sum())
            if (there := joints.get((skeleton.track_id, index))) is not None:
                distances += np.linalg.norm(there - skeleton.joints, axis=1)[skeleton.joint_valid].tolist()
    values = np.array(distances)
    values = values[np.isfinite(values)]
    return f"{len(values)} of {known} joints, median {np.median(values):.2g}, at most {values.max():.2g} mm"


if __name__ == "__main__":
    sys.exit(run_command(main))
