"""What every reader answers, and what all of them check."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from voxelpose_core.errors import InputError
from voxelpose_core.input_checks import refuse_normalized
from voxelpose_core.plain_numbers import plain
from voxelpose_core.skeletons import JointSet

# Some detectors' scores exceed 1 by a little; above this they are on a scale of their own.
_LARGEST_SCORE = 1.5
# 19 days at 60 Hz; times in the place of frame numbers are larger.
_LARGEST_NUMBER = 100_000_000


@dataclass(frozen=True, eq=False)
class CameraFile:
    """The 2D detections of one camera, as a tool wrote them.

    Attributes:
        path: file or folder.
        layout: the tool's name, for people.
        frames: by frame number: (P, J, 3) float32 x px, y px, score.
        absent_is_empty: the tool writes nothing for a frame without people; else a frame that
            is absent was not there.
        joint_set: where the file names its joints; None: the number of joints tells.
        note: what was done to the scores, or None.
    """

    path: Path
    layout: str
    frames: dict[int, np.ndarray]
    absent_is_empty: bool = False
    joint_set: JointSet | None = None
    note: str | None = None


def load_json(path: Path) -> Any:
    """The content of a JSON file; InputError names it, and what its ending says it is."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}), expected JSON") from None
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON ({error}){_foreign(path, '')}") from None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: not valid JSON ({str(error).splitlines()[0]}){_foreign(path, text)}"
        ) from None


_FOREIGN = {
    "a video: give it with --videos": (".mp4", ".avi", ".mov", ".mkv", ".webm"),
    "an image: give its folder with --images": (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"),
    "a recording of ROS messages: give it with --bag": (".bag", ".mcap", ".db3"),
    "3D already": (".trc", ".c3d", ".bvh", ".npz"),
    "a table, expected a JSON file": (".csv", ".tsv", ".h5", ".hdf5", ".parquet"),
    "a pickle, expected a JSON file": (".pkl", ".pickle"),
    "YAML or TOML, expected a JSON file": (".yaml", ".yml", ".toml"),
    "XML, expected a JSON file": (".xml",),
}


def _foreign(path: Path, text: str) -> str:
    if "<calibration" in text[:2000]:
        return ": this is a calibration of Qualisys: give it with --rig"
    for what, endings in _FOREIGN.items():
        if path.suffix.lower() in endings:
            return f": this is {what}"
    # QTM's exports, and other programs' tables.
    if "\t" in text[:2000] and not text.lstrip().startswith(("{", "[")):
        return ": this is a table, expected a JSON file of 2D detections"
    return ""


def flat_keypoints(values: Any, where: str) -> np.ndarray:
    """[x, y, score, x, y, score, ...] -> (J, 3) float64; InputError begins with `where`."""
    if not isinstance(values, list):
        raise InputError(f"{where} is {type(values).__name__}, expected a list [x, y, score, ...]")
    try:
        numbers = np.array(values, np.float64)
    except (TypeError, ValueError, OverflowError):
        numbers = np.empty((0, 0))
    if numbers.ndim != 1 or len(numbers) % 3 or not len(numbers):
        raise InputError(
            f"{where} is a list of {len(values)}, expected numbers [x, y, score] for each joint in a row"
        )
    return numbers.reshape(-1, 3)


def stacked(people: Sequence[np.ndarray], where: str) -> np.ndarray:
    """(P, J, 3) of people (J, 3); of none (0, 0, 3). InputError where they have different joints."""
    counts = sorted({len(person) for person in people})
    if len(counts) > 1:
        raise InputError(
            f"{where} has people of {' and '.join(map(str, counts))} joints, expected all of one joint set"
        )
    return np.array(people, np.float64).reshape(len(people), counts[0] if counts else 0, 3)


def number_of(name: str, where: str) -> int:
    """The frame number in a file's name: the last number, before "_keypoints"."""
    stem = Path(name).stem.removesuffix("_keypoints")
    numbers = re.findall(r"\d+", stem)
    if not numbers:
        raise InputError(f"{where}: '{name}' has no frame number, expected one as in 'cam1_000012.json'")
    return int(numbers[-1])


def check_numbers(frames: Iterable[int], path: Path) -> None:
    """InputError where frame numbers are none."""
    for number in frames:
        if number > _LARGEST_NUMBER:
            raise InputError(
                f"{path}: frame {number}, expected a frame's number, at most {_LARGEST_NUMBER}: is it a "
                "time? Number the frames from 0 on"
            )


def checked(file: CameraFile) -> CameraFile:
    """The same, float32, with scores from 0 to 1.

    Raises:
        InputError: naming the file, when a value is not finite, frames have different joints, or
            coordinates are normalized.
    """
    check_numbers(file.frames, file.path)
    joints = sorted({people.shape[1] for people in file.frames.values() if len(people)})
    if len(joints) > 1:
        frames = [next(f for f, p in file.frames.items() if len(p) and p.shape[1] == n) for n in joints[:2]]
        raise InputError(
            f"{file.path}: frame {frames[0]} has people of {joints[0]} joints, frame {frames[1]} of "
            f"{joints[1]}, expected all of one joint set"
        )
    for frame, people in file.frames.items():
        if not np.isfinite(people).all():
            raise InputError(
                f"{file.path}: frame {frame} has a value that is not finite, expected pixels and scores"
            )
    everything = [people.reshape(-1, 3) for people in file.frames.values() if len(people)]
    keypoints = np.concatenate(everything) if everything else np.zeros((0, 3))
    refuse_normalized(keypoints[None], f"{file.path}: ")
    scale, note = _score_scale(keypoints[keypoints[:, 2] > 0, 2], file.path)
    frames_32 = {}
    for frame, people in file.frames.items():
        people = people.astype(np.float32) if len(people) else np.zeros((0, 0, 3), np.float32)
        people[..., 2] = np.clip(people[..., 2] / np.float32(scale), 0.0, 1.0)
        frames_32[frame] = people
    return CameraFile(file.path, file.layout, frames_32, file.absent_is_empty, file.joint_set, note)


def _score_scale(scores: np.ndarray, path: Path) -> tuple[float, str | None]:
    """By what scores are divided, and a line that says so."""
    if not len(scores) or scores.max() <= _LARGEST_SCORE:
        return 1.0, None
    scale = max(float(np.percentile(scores, 99)), 1.0)
    if scale <= _LARGEST_SCORE:
        return 1.0, None
    return scale, (
        f"{path}: scores reach {plain(scores.max())}, expected 0 to 1: divided by {plain(scale)}, which "
        "99 % do not exceed"
    )
