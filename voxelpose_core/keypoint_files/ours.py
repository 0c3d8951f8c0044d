"""VoxelPose's own layout: one JSON file with the 2D detections of all cameras.

    {"0_350": [{"pred": [[x, y, score], ...]}, ...], "1_350": [], ...}

A key is "{camera index}_{frame}", the camera counted in the order of the rig; x and y are pixels, scores are
from 0 to 1, and a missing joint is all zeros. An empty list: no person is seen.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from voxelpose_core.errors import InputError
from voxelpose_core.input_checks import clipped_scores, refuse_normalized
from voxelpose_core.keypoint_files.camera_file import load_json

LAYOUT = "VoxelPose"
_KEY = r"(\d+)_(\d+)"
_COCO17_JOINTS = 17


def is_recording(content: Any) -> bool:
    """Whether this is a recording of all cameras."""
    return isinstance(content, dict) and any(re.fullmatch(_KEY, key) for key in content)


def read_keypoints_json(
    path: Path | str, camera_count: int, joints: int = _COCO17_JOINTS
) -> dict[int, list[np.ndarray | None]]:
    """2D detections of all cameras, from a JSON file of VoxelPose's layout.

    Args:
        path: the file.
        camera_count: cameras of the rig.
        joints: J joints that every person must have.

    Returns:
        by frame number, ascending: per camera its people (P, J, 3) float32, or None where the
        file has no key for that camera and frame.

    Raises:
        InputError: naming the file and the key that is wrong, and what was expected.
    """
    return views_of(Path(path), load_json(Path(path)), camera_count, joints)


def views_of(
    path: Path, content: Any, camera_count: int, joints: int | None = None
) -> dict[int, list[np.ndarray | None]]:
    """`read_keypoints_json` of what the file holds; joints None: as many as the first person has."""
    if not isinstance(content, dict) or not content:
        raise InputError(f"{path}: expected keys '{{camera}}_{{frame}}' with lists of people")
    if joints is None:
        joints = _joints_of_first(content)
    frames: dict[int, list[np.ndarray | None]] = {}
    for key, people in content.items():
        match = re.fullmatch(_KEY, key)
        if match is None:
            raise InputError(f"{path}: key '{key}', expected '{{camera index}}_{{frame}}'")
        camera, frame = int(match[1]), int(match[2])
        if camera >= camera_count:
            raise InputError(
                f"{path}: key '{key}' is of camera {camera}, expected 0 to {camera_count - 1} "
                f"for a rig of {camera_count} cameras"
            )
        views = frames.setdefault(frame, [None] * camera_count)
        views[camera] = parse_people(people, f"{path}: key '{key}'", joints)
    return checked_frames(frames, path)


def checked_frames(
    frames: dict[int, list[np.ndarray | None]], path: Path
) -> dict[int, list[np.ndarray | None]]:
    """Keypoints of a file, per frame and camera (P, J, 3), in the order of the frames.

    Raises:
        InputError: naming the file, when they are no pixels.
    """
    people = [view for views in frames.values() for view in views if view is not None]
    if people:
        refuse_normalized(np.concatenate(people), f"{path}: ")
    return dict(sorted(frames.items()))


def parse_people(people: Any, where: str, joints: int = _COCO17_JOINTS) -> np.ndarray:
    """A list of {"pred": J x [x, y, score]} -> (P, J, 3) float32, x px, y px, score from 0 to 1.

    Raises:
        InputError: that begins with `where`, when there is no such list, or a score is not from 0 to 1.
    """
    if not isinstance(people, list):
        raise InputError(f"{where} is no list, expected a list of people")
    parsed = np.zeros((len(people), joints, 3), np.float32)
    for index, person in enumerate(people):
        if not isinstance(person, dict) or "pred" not in person:
            raise InputError(f"{where}, person {index}: no 'pred', expected {joints} x [x, y, score]")
        try:
            keypoints = np.array(person["pred"], dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            keypoints = np.empty(0)
        if keypoints.shape != parsed.shape[1:]:
            raise InputError(
                f"{where}, person {index}: 'pred' has shape {_shape_of(person['pred'])}, "
                f"expected {joints} x [x, y, score]"
            )
        if not np.isfinite(keypoints).all():
            raise InputError(
                f"{where}, person {index}: 'pred' has a value that is not finite, expected pixels and scores"
            )
        keypoints[:, 2] = clipped_scores(keypoints[:, 2], f"{where}, person {index}: ")
        parsed[index] = keypoints
    return parsed


def _joints_of_first(content: dict[str, Any]) -> int:
    for people in content.values():
        if isinstance(people, list) and people:
            pred = people[0].get("pred") if isinstance(people[0], dict) else None
            return len(pred) if isinstance(pred, list) else _COCO17_JOINTS
    return _COCO17_JOINTS


def _shape_of(value: Any) -> str:
    """What a person needs to know about a malformed array."""
    if isinstance(value, np.ndarray):
        return " x ".join(map(str, value.shape))
    if not isinstance(value, list):
        return type(value).__name__
    lengths = sorted({len(row) if isinstance(row, list) else 0 for row in value})
    return f"{len(value)} x {'/'.join(map(str, lengths)) or 0}"
