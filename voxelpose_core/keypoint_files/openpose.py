"""OpenPose's folders of one JSON file per frame, which Pose2Sim, Sports2D and AlphaPose write, too.

    {"version": 1.3, "people": [{"person_id": [-1], "pose_keypoints_2d": [x, y, score, ...],
     "face_keypoints_2d": [...], "hand_left_keypoints_2d": [...], "hand_right_keypoints_2d": [...]}]}

The frame number is the last number of the file's name. Source: OpenPose's output documentation.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from voxelpose_core.errors import InputError
from voxelpose_core.keypoint_files.camera_file import (
    CameraFile,
    flat_keypoints,
    load_json,
    number_of,
    stacked,
)

LAYOUT = "OpenPose"
# The parts of BODY_25 with hands and face, in the order of `BODY137`, and their joints.
_PARTS = (("hand_left_keypoints_2d", 21), ("hand_right_keypoints_2d", 21), ("face_keypoints_2d", 70))
_BODY_JOINTS = 25


def is_frame(content: Any) -> bool:
    """Whether this is what OpenPose says of one frame."""
    return isinstance(content, dict) and isinstance(content.get("people"), list)


def read_folder(folder: Path, files: list[Path]) -> CameraFile:
    """The frames in the JSON files of a folder."""
    contents: dict[int, tuple[Path, Any]] = {}
    for file in files:
        number = number_of(file.name, str(folder))
        if number in contents:
            raise InputError(
                f"{folder}: '{contents[number][0].name}' and '{file.name}' are both of frame {number}, "
                "expected one file per frame"
            )
        content = load_json(file)
        if not is_frame(content):
            raise InputError(f"{file}: no list 'people', expected a frame as OpenPose writes it")
        contents[number] = file, content
    return CameraFile(folder, LAYOUT, _frames(contents))


def read_images(path: Path, content: dict[str, Any]) -> CameraFile:
    """AlphaPose's file of such frames by the name of the image (`--format open`)."""
    contents = {number_of(name, str(path)): (path, frame) for name, frame in content.items()}
    return CameraFile(path, "AlphaPose", _frames(contents))


def _frames(contents: dict[int, tuple[Path, Any]]) -> dict[int, np.ndarray]:
    whole = any(
        isinstance(person, dict) and any(person.get(part) for part, _ in _PARTS)
        for _, content in contents.values()
        for person in content["people"]
    )
    return {
        number: stacked(
            [
                _person(person, f"{file}: person {index}", whole)
                for index, person in enumerate(content["people"])
            ],
            str(file),
        )
        for number, (file, content) in sorted(contents.items())
    }


def _person(person: Any, where: str, whole: bool) -> np.ndarray:
    """(J, 3) of one person; with hands and face where the recording has them."""
    if not isinstance(person, dict) or "pose_keypoints_2d" not in person:
        raise InputError(f"{where}: no 'pose_keypoints_2d', expected a person as OpenPose writes it")
    body = flat_keypoints(person["pose_keypoints_2d"], f"{where}: 'pose_keypoints_2d'")
    if not whole:
        return body
    if len(body) != _BODY_JOINTS:
        raise InputError(f"{where} has {len(body)} joints and hands or a face, expected BODY_25 with these")
    parts = [body]
    for name, count in _PARTS:
        values = person.get(name) or [0.0] * (3 * count)
        part = flat_keypoints(values, f"{where}: '{name}'")
        if len(part) != count:
            raise InputError(f"{where}: '{name}' has {len(part)} keypoints, expected {count}")
        parts.append(part)
    return np.concatenate(parts)
