"""The files of all cameras as frame sets, with one joint set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from voxelpose_core.detector_joint_sets import (
    BODY25,
    BODY25B,
    BODY137,
    COCO18,
    HALPE26,
    HALPE136,
    WHOLEBODY133,
    mapped_keypoints,
)
from voxelpose_core.errors import InputError
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.input_checks import MAX_PEOPLE
from voxelpose_core.keypoint_files import ours
from voxelpose_core.keypoint_files.camera_file import CameraFile, check_numbers, load_json
from voxelpose_core.keypoint_files.recognition import json_files, read_camera
from voxelpose_core.skeletons import COCO17, JointSet
from voxelpose_core.source_matching import match_sources

OPTION = "--keypoints"
# Fewer frames do not tell how they are numbered.
_ENOUGH_FRAMES = 10
# The joint set of files that do not name their joints.
_BY_COUNT = {
    len(joint_set): joint_set
    for joint_set in (COCO17, COCO18, BODY25, HALPE26, WHOLEBODY133, HALPE136, BODY137)
}


@dataclass(frozen=True, eq=False)
class KeypointRecording:
    """2D detections of all cameras.

    Attributes:
        joint_set: J joints.
        frames: by frame number, ascending: per camera (P, J, 3) float32 x px, y px, score, or None for
            no frame.
        paths: of the cameras in the order of the rig; None where one file has all.
        layout: what was read, for people.
        notes: what a person should know, one line each.
    """

    joint_set: JointSet
    frames: dict[int, list[np.ndarray | None]]
    paths: tuple[Path, ...] | None
    layout: str
    notes: tuple[str, ...] = ()

    def coco17_frames(self) -> dict[int, list[np.ndarray | None]]:
        """The frames with COCO-17's joints (P, 17, 3); zeros for those that the joint set lacks."""
        if self.joint_set == COCO17:
            return self.frames
        return {
            number: [
                None if people is None else mapped_keypoints(people, self.joint_set, COCO17)
                for people in views
            ]
            for number, views in self.frames.items()
        }


def read_keypoints(given: Sequence[Path | str], rig: Rig, in_order: bool = False) -> KeypointRecording:
    """2D detections of a rig.

    Args:
        given: one file of VoxelPose's layout; or one file or folder per camera, matched with the
            cameras as videos are (`match_sources`); or one folder that holds these.
        rig: the cameras.
        in_order: take the paths in the order of the cameras, whatever their names.

    Raises:
        InputError: in one line that names the camera or file, and what was expected.
    """
    paths = [Path(path) for path in given]
    if len(paths) == 1:
        if paths[0].is_dir():
            paths = _cameras_in(paths[0], len(rig))
        else:
            content = load_json(paths[0])
            if ours.is_recording(content) or not content:
                return _all_in_one(paths[0], content, rig)
            if len(rig) > 1:
                # Says what a foreign file is before it says that others are missing.
                read_camera(paths[0])
    matched = match_sources(paths, rig, OPTION, in_order)
    files = [read_camera(path) for path in matched.paths]
    joint_set = _joint_set(files, rig)
    frames, gaps = _frame_sets(files, rig, joint_set)
    notes = [matched.note, *(file.note for file in files), *gaps, *_steps(frames), *_crowds(frames, rig)]
    layouts = dict.fromkeys(file.layout for file in files)
    return KeypointRecording(
        joint_set,
        frames,
        matched.paths,
        f"{' and '.join(layouts)}, {joint_set.name}",
        tuple(note for note in notes if note),
    )


def _cameras_in(folder: Path, cameras: int) -> list[Path]:
    """What of a folder is one camera each: the folders in it, or as many JSON files as cameras."""
    folders = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    files = json_files(folder)
    if folders and not files:
        return folders
    return files if len(files) == cameras else [folder]


def _all_in_one(path: Path, content: dict, rig: Rig) -> KeypointRecording:
    frames = ours.views_of(path, content, len(rig))
    check_numbers(frames, path)
    seen = [people for views in frames.values() for people in views if people is not None and len(people)]
    joint_set = _of_count(seen[0].shape[1], f"{path}") if seen else COCO17
    if joint_set == BODY25:
        joint_set = _body25_kind([keypoints for people in seen for keypoints in people])
    notes = [*_absent(path, frames, rig), *_steps(frames), *_crowds(frames, rig)]
    return KeypointRecording(joint_set, frames, None, f"{ours.LAYOUT}, {joint_set.name}", tuple(notes))


def _absent(path: Path, frames: dict[int, list[np.ndarray | None]], rig: Rig) -> list[str]:
    """A line per camera without most of the frames; tools of this layout also leave out empty ones."""
    lacking = [sum(views[index] is None for views in frames.values()) for index in range(len(rig))]
    return [
        f"{path}: camera '{name}' has no entry in {count} of {len(frames)} frames"
        for name, count in zip(rig.names, lacking, strict=True)
        if 2 * count > len(frames)
    ]


def _steps(frames: dict[int, list[np.ndarray | None]]) -> list[str]:
    """A line where the frames are not numbered one by one."""
    if len(frames) < _ENOUGH_FRAMES or (step := float(np.median(np.diff(list(frames))))) <= 1.0:
        return []
    return [
        f"frame numbers step by {step:g}: frame N is taken to be N periods of --fps from the beginning; are "
        "they numbers?"
    ]


def _crowds(frames: dict[int, list[np.ndarray | None]], rig: Rig) -> list[str]:
    """Leave the surest people where there are more than a message may hold; a line per camera."""
    crowded: dict[str, list[int]] = {}
    for number, views in frames.items():
        for index, people in enumerate(views):
            if people is not None and len(people) > MAX_PEOPLE:
                surest = np.argsort(-people[..., 2].sum(axis=1), kind="stable")[:MAX_PEOPLE]
                views[index] = people[np.sort(surest)]
                crowded.setdefault(rig.names[index], []).append(number)
    return [
        f"camera '{name}': more than {MAX_PEOPLE} people in {len(numbers)} frames ({_span(numbers)}): the "
        f"{MAX_PEOPLE} of the highest scores are taken"
        for name, numbers in crowded.items()
    ]


def _joint_set(files: Sequence[CameraFile], rig: Rig) -> JointSet:
    """The joint set that all cameras have."""
    own = [(file, camera.name, _own_joint_set(file)) for file, camera in zip(files, rig.cameras, strict=True)]
    known = [(file, name, joint_set) for file, name, joint_set in own if joint_set is not None]
    if not known:
        raise InputError(
            f"{files[0].path} and those of the other cameras: no person is detected in any frame, expected "
            "some"
        )
    first_file, first_name, joint_set = known[0]
    for file, name, other in known[1:]:
        if other != joint_set:
            raise InputError(
                f"{file.path} (camera '{name}') has {len(other)} joints ({other.name}), {first_file.path} "
                f"(camera '{first_name}') {len(joint_set)} ({joint_set.name}), expected one joint set"
            )
    if joint_set != BODY25 or known[0][0].joint_set is not None:
        return joint_set
    return _body25_kind([person for file in files for people in file.frames.values() for person in people])


def _own_joint_set(file: CameraFile) -> JointSet | None:
    """A camera's joint set; None where it detects no one and does not say."""
    count = next((people.shape[1] for people in file.frames.values() if len(people)), None)
    if file.joint_set is not None:
        if count not in (None, len(file.joint_set)):
            raise InputError(
                f"{file.path}: people have {count} joints, expected {len(file.joint_set)} of "
                f"{file.joint_set.name}, as it says"
            )
        return file.joint_set
    return None if count is None else _of_count(count, f"{file.path}")


def _of_count(count: int, where: str) -> JointSet:
    if count not in _BY_COUNT:
        known = ", ".join(f"{count} ({joint_set.name})" for count, joint_set in _BY_COUNT.items())
        raise InputError(f"{where}: people have {count} joints, expected {known}")
    return _BY_COUNT[count]


def _body25_kind(people: Sequence[np.ndarray]) -> JointSet:
    """BODY_25 or BODY_25B, which have as many joints: the eyes of the right one are near the nose."""
    votes = 0
    for person in people:
        gaps = []
        for joint_set in (BODY25, BODY25B):
            nose, *eyes = (person[joint_set.index(name)] for name in ("nose", "left_eye", "right_eye"))
            own = [np.linalg.norm(eye[:2] - nose[:2]) for eye in eyes if eye[2] > 0 and nose[2] > 0]
            gaps.append(np.mean(own) if own else np.nan)
        if np.isfinite(gaps).all():
            votes += 1 if gaps[0] <= gaps[1] else -1
    return BODY25 if votes >= 0 else BODY25B


def _frame_sets(
    files: Sequence[CameraFile], rig: Rig, joint_set: JointSet
) -> tuple[dict[int, list[np.ndarray | None]], list[str]]:
    """Per frame the views of all cameras, and a line per camera that lacks frames.

    Raises:
        InputError: where a camera has less than half of the frames that there are, or none that another has.
    """
    numbers = sorted({number for file in files for number in file.frames})
    if not numbers:
        raise InputError(f"{files[0].path} and those of the other cameras: no frames, expected some")
    nobody = np.zeros((0, len(joint_set), 3), np.float32)
    views, notes = [], []
    for file, camera in zip(files, rig.cameras, strict=True):
        own = {number: people if len(people) else nobody for number, people in file.frames.items()}
        lacking = [number for number in numbers if number not in own]
        if file.absent_is_empty:
            own.update(dict.fromkeys(lacking, nobody))
            lacking = []
        others = {number for other in files if other is not file for number in other.frames}
        if 2 * len(lacking) > len(numbers) or (own and others and others.isdisjoint(own)):
            raise InputError(
                f"{file.path} (camera '{camera.name}') has the frames {_span(own)}, {len(own)} of the "
                f"{len(numbers)} that there are ({_span(numbers)}), expected the same frame numbers"
            )
        if lacking:
            notes.append(
                f"{file.path} lacks {len(lacking)} of {len(numbers)} frames ({_span(lacking)}): camera "
                f"'{camera.name}' has no frame there"
            )
        views.append(own)
    return {number: [own.get(number) for own in views] for number in numbers}, notes


def _span(numbers: Sequence[int] | dict[int, np.ndarray]) -> str:
    first, last = min(numbers, default=0), max(numbers, default=0)
    return f"{first}" if first == last else f"{first} to {last}"
