"""Which tool wrote a file or folder of 2D detections."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from voxelpose_core.errors import InputError
from voxelpose_core.keypoint_files import coco_results, mmpose, openpose, ours
from voxelpose_core.keypoint_files.camera_file import CameraFile, checked, load_json

_KNOWN = "expected OpenPose's, AlphaPose's, MMPose's or COCO results of one camera"


def read_camera(path: Path) -> CameraFile:
    """The 2D detections of one camera, from a file or a folder.

    Raises:
        InputError: naming the file, what it is instead where that can be told, and what was expected.
    """
    if not path.exists():
        raise InputError(f"{path}: does not exist, expected 2D detections of one camera")
    return checked(_read_folder(path) if path.is_dir() else _read_file(path, load_json(path)))


def json_files(folder: Path) -> list[Path]:
    """The JSON files of a folder, by name."""
    return sorted(file for file in folder.iterdir() if file.suffix.lower() == ".json" and file.is_file())


def _read_folder(folder: Path) -> CameraFile:
    files = json_files(folder)
    if not files:
        others = sorted({file.suffix or file.name for file in folder.iterdir()})
        holds = f"holds {', '.join(others[:4])} and no JSON files" if others else "is empty"
        raise InputError(f"{folder}: the folder {holds}, expected one JSON file of 2D detections per frame")
    first = load_json(files[0])
    if openpose.is_frame(first):
        return openpose.read_folder(folder, files)
    if mmpose.is_image(first):
        return mmpose.read_folder(folder, files)
    if len(files) == 1:
        return _read_file(files[0], first)
    raise InputError(
        f"{folder}: '{files[0].name}' is no frame of OpenPose or MMPose, expected one JSON file per frame, "
        f"or one file of the whole recording ({len(files)} are there)"
    )


def _read_file(path: Path, content: Any) -> CameraFile:
    if coco_results.is_results(content):
        return coco_results.read(path, content)
    if mmpose.is_predictions(content):
        return mmpose.read(path, content)
    if isinstance(content, dict) and content and all(_is_image(*item) for item in content.items()):
        return openpose.read_images(path, content)
    raise InputError(f"{path}: {_what_it_is(content)}, {_KNOWN}")


def _is_image(name: str, frame: Any) -> bool:
    return bool(re.search(r"\d", name)) and openpose.is_frame(frame)


def _what_it_is(content: Any) -> str:
    """Of a file that no reader takes."""
    if content in ([], {}):
        return "is empty"
    if openpose.is_frame(content):
        return "is a single frame of OpenPose: give its folder"
    if mmpose.is_image(content):
        return "holds the people of one image as of MMPose: give the folder of such files"
    if ours.is_recording(content):
        return "has the cameras of a whole rig (keys '0_12'): give it alone"
    if isinstance(content, dict):
        keys = content.keys()
        if {"joint_names", "frames"} <= keys:
            return "holds skeletons in 3D, as of 'voxelpose estimate'"
        if {"images", "annotations"} <= keys:
            return "holds COCO annotations, the truth of a data set"
        if "cameras" in keys or any(key.startswith("cam") for key in keys):
            return "may be a calibration (--rig)"
        return f"has the keys {', '.join(repr(key)[:30] for key in list(keys)[:4])}"
    if isinstance(content, list) and isinstance(content[0], dict):
        return f"is a list of entries with {', '.join(repr(key)[:30] for key in list(content[0])[:4])}"
    return f"holds a {type(content).__name__}"
