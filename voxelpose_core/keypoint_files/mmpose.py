"""MMPose's predictions: of its demos (`--save-predictions`), and of its inferencer (`pred_out_dir`).

    {"meta_info": {"dataset_name": ..., "keypoint_id2name": {"0": "nose", ...}},
     "instance_info": [{"frame_id": 1, "instances": [{"keypoints": [[x, y], ...],
                                                      "keypoint_scores": [score, ...]}]}]}

The inferencer writes such frames without the outer dictionary, or the instances of a single image, one file
per image; the dictionary that it returns has them under "predictions". Source: MMPose's inference guide.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from voxelpose_core.detector_joint_sets import named_joint_set
from voxelpose_core.errors import InputError
from voxelpose_core.keypoint_files.camera_file import CameraFile, load_json, number_of, stacked
from voxelpose_core.skeletons import JointSet

LAYOUT = "MMPose"
_LISTS = ("instance_info", "predictions")


def is_predictions(content: Any) -> bool:
    """Whether a file holds frames of a recording."""
    if isinstance(content, dict):
        return any(isinstance(content.get(key), list) for key in _LISTS)
    return isinstance(content, list) and bool(content) and _is_frame(content[0])


def is_image(content: Any) -> bool:
    """Whether a file holds the instances of one image."""
    if isinstance(content, dict):
        content = next((content[key] for key in _LISTS if key in content), None)
    if not isinstance(content, list):
        return False
    return not content or (isinstance(content[0], dict) and "keypoint_scores" in content[0])


def read(path: Path, content: Any) -> CameraFile:
    """The frames of a recording."""
    entries = content
    if isinstance(content, dict):
        entries = next(content[key] for key in _LISTS if isinstance(content.get(key), list))
    if entries and not _is_frame(entries[0]) and not isinstance(entries[0], list):
        raise InputError(
            f"{path}: holds the people of one image, expected those of a video, or a folder of such files"
        )
    frames: dict[int, np.ndarray] = {}
    for index, entry in enumerate(entries):
        where = f"{path}: entry {index}"
        if isinstance(entry, list):
            number, instances = index, entry
        elif _is_frame(entry) and isinstance(entry["frame_id"], int) and isinstance(entry["instances"], list):
            number, instances = entry["frame_id"], entry["instances"]
        else:
            raise InputError(f"{where} has no 'frame_id' and list 'instances', expected a frame of MMPose")
        if number in frames:
            raise InputError(f"{where} is of frame {number}, which was there before, expected each once")
        frames[number] = _people(instances, f"{path}: frame {number}")
    return CameraFile(path, LAYOUT, dict(sorted(frames.items())), joint_set=_joint_set(path, content))


def read_folder(folder: Path, files: list[Path]) -> CameraFile:
    """A folder with one such file per image."""
    frames: dict[int, np.ndarray] = {}
    joint_set = None
    for file in files:
        content, number = load_json(file), number_of(file.name, str(folder))
        if not is_image(content):
            raise InputError(f"{file}: no list of instances, expected the people of an image as of MMPose")
        if number in frames:
            raise InputError(f"{folder}: two files are of frame {number}, expected one file per frame")
        joint_set = _joint_set(file, content)
        if isinstance(content, dict):
            content = next(content[key] for key in _LISTS if key in content)
        frames[number] = _people(content, str(file))
    return CameraFile(folder, LAYOUT, dict(sorted(frames.items())), joint_set=joint_set)


def _is_frame(entry: Any) -> bool:
    return isinstance(entry, dict) and {"frame_id", "instances"} <= entry.keys()


def _people(instances: Any, where: str) -> np.ndarray:
    return stacked(
        [_person(person, f"{where}, person {index}") for index, person in enumerate(instances)], where
    )


def _person(person: Any, where: str) -> np.ndarray:
    if not isinstance(person, dict) or not {"keypoints", "keypoint_scores"} <= person.keys():
        raise InputError(f"{where}: no 'keypoints' and 'keypoint_scores', expected an instance of MMPose")
    try:
        points = np.array(person["keypoints"], np.float64)
        scores = np.array(person["keypoint_scores"], np.float64)
    except (TypeError, ValueError, OverflowError):
        points, scores = np.empty(0), np.empty(1)
    if points.ndim != 2 or points.shape[1] != 2 or scores.shape != points.shape[:1] or not len(points):
        raise InputError(
            f"{where}: 'keypoints' and 'keypoint_scores' do not fit, expected J x [x, y] and J scores"
        )
    return np.column_stack([points, scores])


def _joint_set(path: Path, content: Any) -> JointSet | None:
    """The joint set that the file names; None where it does not."""
    meta = content.get("meta_info") if isinstance(content, dict) else None
    if not isinstance(meta, dict):
        return None
    names = meta.get("keypoint_id2name")
    if not isinstance(names, dict) or not names:
        return None
    ordered: list[Any] = [names.get(str(joint)) for joint in range(len(names))]
    if not all(isinstance(name, str) and name for name in ordered):
        raise InputError(
            f"{path}: keypoint_id2name lacks a joint, expected the names of 0 to {len(names) - 1}"
        )
    try:
        return named_joint_set(str(meta.get("dataset_name", "mmpose")), ordered)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
