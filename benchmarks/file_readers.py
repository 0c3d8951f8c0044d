"""Readers of skeleton files that share nothing with their writers.

Those of test/skeleton_file_readers.py, of Python, NumPy and rosbags. Each answers its name, and by track id
and frame set the joints (J, 3) in mm.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from voxelpose_core.bags.bag import Bag
from voxelpose_core.skeleton_files import Recording

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "test"))

from skeleton_file_readers import joints_of, read_c3d, read_trc

# By track id and frame: joints (J, 3), mm.
Joints = dict[tuple[int, int], np.ndarray]


def _of_json(paths: Sequence[Path], recording: Recording) -> tuple[str, Joints]:
    frames = json.loads(paths[0].read_text(encoding="utf-8"))["frames"]
    return "json", {
        (skeleton["track_id"], index): 1e3 * np.array(skeleton["joints"])[:, :3]
        for index, frame in enumerate(frames)
        for skeleton in frame["skeletons"]
    }


def _of_csv(paths: Sequence[Path], recording: Recording) -> tuple[str, Joints]:
    joints: Joints = {}
    frames = {frame_set.frame: index for index, frame_set in enumerate(recording.frame_sets)}
    with paths[0].open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            person = joints.setdefault(
                (int(row["track_id"]), frames[int(row["frame"])]),
                np.full((len(recording.joint_set), 3), np.nan),
            )
            if row["x_m"]:
                place = [1e3 * float(row[axis]) for axis in ("x_m", "y_m", "z_m")]
                person[recording.joint_set.index(row["joint"])] = place
    return "csv", joints


def _of_npz(paths: Sequence[Path], recording: Recording) -> tuple[str, Joints]:
    with np.load(paths[0]) as arrays:
        order = {frame: index for index, frame in enumerate(arrays["frames"].tolist())}
        rows = zip(arrays["track_id"].tolist(), arrays["frame"].tolist(), arrays["joints_m"], strict=True)
        return "numpy", {(person, order[frame]): 1e3 * joints for person, frame, joints in rows}


def _of_trc(paths: Sequence[Path], recording: Recording) -> tuple[str, Joints]:
    joints: Joints = {}
    numbers = {frame_set.frame: index for index, frame_set in enumerate(recording.frame_sets)}
    for path, person in zip(paths, _people(recording), strict=True):
        _, _, frames, _, points = read_trc(path)
        for frame, places in zip(frames.tolist(), points, strict=True):
            joints[person, numbers[frame]] = 1e3 * places[:, [2, 0, 1]]
    return "own reader", joints


def _of_c3d(paths: Sequence[Path], recording: Recording) -> tuple[str, Joints]:
    points, residuals, _, _ = read_c3d(paths[0])
    places = np.where(residuals[..., None] < 0, np.nan, points)
    count = len(recording.joint_set)
    return "own reader", {
        (person, frame): places[frame, count * index : count * (index + 1)]
        for index, person in enumerate(_people(recording))
        for frame in range(len(places))
    }


def _of_bvh(paths: Sequence[Path], recording: Recording) -> tuple[str, Joints]:
    return "own reader", {
        (person, frame): places
        for path, person in zip(paths, _people(recording), strict=True)
        for frame, places in enumerate(joints_of(path, recording.joint_set))
    }


def _of_mcap(paths: Sequence[Path], recording: Recording) -> tuple[str, Joints]:
    joints: Joints = {}
    with Bag(paths[0]) as bag:
        for index, message in enumerate(bag.messages(bag.types)):
            for person in bag.decoded(message).skeletons:
                places = np.array([[p.x, p.y, p.z] for p in person.joints])
                joints[person.track_id, index] = 1e3 * places
    return "rosbags", joints


def _people(recording: Recording) -> list[int]:
    """The tracks in the order in which files have them."""
    ids = {skeleton.track_id for frame_set in recording.frame_sets for skeleton in frame_set.skeletons}
    return sorted(ids - {-1})


READERS: dict[str, Callable[[Sequence[Path], Recording], tuple[str, Joints]]] = {
    "json": _of_json,
    "csv": _of_csv,
    "trc": _of_trc,
    "c3d": _of_c3d,
    "bvh": _of_bvh,
    "npz": _of_npz,
    "mcap": _of_mcap,
}
