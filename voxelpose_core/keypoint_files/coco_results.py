"""Results in COCO's layout, one entry per person; AlphaPose's are of the same kind.

    [{"image_id": 12, "category_id": 1, "keypoints": [x, y, score, ...], "score": 0.9}, ...]

image_id is the frame's number, or the image's name ("12.jpg", AlphaPose). COCO-WholeBody's results have
"foot_kpts", "face_kpts", "lefthand_kpts" and "righthand_kpts" beside "keypoints". An image without
people has no entry. Sources: COCO's results format, COCO-WholeBody, AlphaPose's output documentation.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from voxelpose_core.errors import InputError
from voxelpose_core.keypoint_files.camera_file import CameraFile, flat_keypoints, number_of, stacked

_WHOLE_BODY = ("foot_kpts", "face_kpts", "lefthand_kpts", "righthand_kpts")


def is_results(content: Any) -> bool:
    """Whether this is such a list."""
    return (
        isinstance(content, list)
        and bool(content)
        and isinstance(content[0], dict)
        and {"image_id", "keypoints"} <= content[0].keys()
    )


def read(path: Path, content: list[Any]) -> CameraFile:
    """The people of such a list by frame."""
    people: dict[int, list[np.ndarray]] = {}
    for index, entry in enumerate(content):
        where = f"{path}: entry {index}"
        if not isinstance(entry, dict) or not {"image_id", "keypoints"} <= entry.keys():
            raise InputError(f"{where} has no 'image_id' or 'keypoints', expected COCO results")
        people.setdefault(_frame(entry["image_id"], where), []).append(_person(entry, where))
    named = isinstance(content[0]["image_id"], str)
    frames = {frame: stacked(own, f"{path}: frame {frame}") for frame, own in sorted(people.items())}
    return CameraFile(path, "AlphaPose" if named else "COCO results", frames, absent_is_empty=True)


def _frame(image: Any, where: str) -> int:
    if isinstance(image, str):
        return number_of(image, where)
    if isinstance(image, int) and image >= 0:
        return image
    raise InputError(f"{where}: image_id is {image!r:.40}, expected a frame's number or an image's name")


def _person(entry: dict[str, Any], where: str) -> np.ndarray:
    parts = [flat_keypoints(entry["keypoints"], f"{where}: 'keypoints'")]
    if all(part in entry for part in _WHOLE_BODY):
        parts += [flat_keypoints(entry[part], f"{where}: '{part}'") for part in _WHOLE_BODY]
    return np.concatenate(parts)
