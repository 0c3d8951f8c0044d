"""2D detections of all cameras from a file in VoxelPose's layout."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from voxelpose_core.errors import InputError
from voxelpose_core.input_checks import clipped_scores, refuse_normalized
from voxelpose_core.skeletons import COCO17


def read_keypoints_json(path: Path | str, camera_count: int) -> dict[int, list[np.ndarray | None]]:
    """2D detections of all cameras, from a JSON file of VoxelPose's layout.

    The file maps "{camera index}_{frame}" to a list of people {"pred": 17 x [x, y, score]} in
    pixels and scores from 0 to 1, in COCO-17 order; a missing joint is all zeros. An empty list: no person
    is seen.

    Args:
        path: the file.
        camera_count: cameras of the rig.

    Returns:
        by frame number, ascending: per camera its people (P, 17, 3) float32, or None where the
        file has no key for that camera and frame.

    Raises:
        InputError: naming the file and the key that is wrong, and what was expected.
    """
    path = Path(path)
    content = _load_json(path)
    if not isinstance(content, dict) or not content:
        raise InputError(f"{path}: expected keys '{{camera}}_{{frame}}' with lists of people")
    frames: dict[int, list[np.ndarray | None]] = {}
    for key, people in content.items():
        match = re.fullmatch(r"(\d+)_(\d+)", key)
        if match is None:
            raise InputError(f"{path}: key '{key}', expected '{{camera index}}_{{frame}}'")
        camera, frame = int(match[1]), int(match[2])
        if camera >= camera_count:
            raise InputError(
                f"{path}: key '{key}' is of camera {camera}, expected 0 to {camera_count - 1} "
                f"for a rig of {camera_count} cameras"
            )
        views = frames.setdefault(frame, [None] * camera_count)
        views[camera] = parse_people(people, f"{path}: key '{key}'")
    return checked_frames(frames, path)


def parse_people(people: Any, where: str) -> np.ndarray:
    """A list of {"pred": 17 x [x, y, score]} -> (P, 17, 3) float32, x px, y px, score from 0 to 1.

    Raises:
        InputError: that begins with `where`, when there is no such list, or a score is not from 0 to 1.
    """
    if not isinstance(people, list):
        raise InputError(f"{where} is no list, expected a list of people")
    parsed = np.zeros((len(people), len(COCO17), 3), np.float32)
    for index, person in enumerate(people):
        if not isinstance(person, dict) or "pred" not in person:
            raise InputError(f"{where}, person {index}: no 'pred', expected 17 x [x, y, score]")
        try:
            keypoints = np.array(person["pred"], dtype=np.float64)
        except (TypeError, ValueError):
            keypoints = np.empty(0)
        if keypoints.shape != parsed.shape[1:]:
            raise InputError(
                f"{where}, person {index}: 'pred' has shape {_shape_of(person['pred'])}, "
                "expected 17 x [x, y, score]"
            )
        if not np.isfinite(keypoints).all():
            raise InputError(
                f"{where}, person {index}: 'pred' has a value that is not finite, expected pixels and scores"
            )
        keypoints[:, 2] = clipped_scores(keypoints[:, 2], f"{where}, person {index}: ")
        parsed[index] = keypoints
    return parsed


def checked_frames(
    frames: dict[int, list[np.ndarray | None]], path: Path
) -> dict[int, list[np.ndarray | None]]:
    """Keypoints of a file, per frame and camera (P, 17, 3), in the order of the frames.

    Raises:
        InputError: naming the file, when they are no pixels.
    """
    people = [view for views in frames.values() for view in views if view is not None]
    if people:
        refuse_normalized(np.concatenate(people), f"{path}: ")
    return dict(sorted(frames.items()))


def _load_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}), expected JSON") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON ({str(error).splitlines()[0]})") from None


def _shape_of(value: Any) -> str:
    """What a person needs to know about a malformed array."""
    if isinstance(value, np.ndarray):
        return " x ".join(map(str, value.shape))
    if not isinstance(value, list):
        return type(value).__name__
    lengths = sorted({len(row) if isinstance(row, list) else 0 for row in value})
    return f"{len(value)} x {'/'.join(map(str, lengths)) or 0}"
