"""CMU Panoptic: HD cameras of a dome, up to eight people (Joo et al., TPAMI 2017)."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from voxelpose_core.datasets.base import (
    BrokenFrameError,
    DatasetReport,
    FrameDataset,
    Sample,
    read_images,
    require_folders,
)
from voxelpose_core.errors import InputError
from voxelpose_core.geometry.calibration_formats import PANOPTIC_TO_Z_UP
from voxelpose_core.geometry.rig import Rig, load_rig
from voxelpose_core.geometry.space import Space
from voxelpose_core.skeletons import COCO17, PANOPTIC15, JointSet

logger = logging.getLogger(__name__)

_LABELS = "hdPose3d_stage1_coco19"
_MIN_SCORE = 0.1
# VoxelPose's split, views and steps between the frames that it takes (Tu et al., ECCV 2020).
CAMERAS = ("00_12", "00_06", "00_23", "00_13", "00_03")
SPACE = Space((0, -500, 800), (8000, 8000, 2000))
SEQUENCES = {
    "train": (
        "160422_ultimatum1",
        "160224_haggling1",
        "160226_haggling1",
        "161202_haggling1",
        "160906_ian1",
        "160906_ian2",
        "160906_ian3",
        "160906_band1",
        "160906_band2",
        "160906_band3",
    ),
    "validation": ("160906_pizza1", "160422_haggling1", "160906_ian5", "160906_band4"),
}
INTERVALS = {"train": 3, "validation": 12, "all": 1}


class Panoptic(FrameDataset):
    """Panoptic sequences in their own folder layout; poses panoptic15 in mm, z up.

    ROOT/SEQ/calibration_SEQ.json, ROOT/SEQ/hdPose3d_stage1_coco19/body3DScene_00000168.json,
    ROOT/SEQ/hdImgs/00_03/00_03_00000168.jpg. A joint with a score of 0.1 or less is not visible;
    a person whose mid-hip is not visible is left out, as in the original.

    Args:
        root: the folder of the sequences.
        subset: "train" or "validation", the paper's sequences; "all" takes every sequence there
            is. Sequences that are not there are left out with a warning.
        images: whether samples carry images.
        cameras: names of the HD cameras, by default the paper's five.
        sequences: names instead of the subset's.
        interval: take every n-th labelled frame; by default the paper's 3 or 12, 1 for "all".

    Raises:
        InputError: no sequence is there, or a calibration is wrong.
    """

    name = "panoptic"
    joint_set = PANOPTIC15

    def __init__(
        self,
        root: Path | str,
        subset: str = "validation",
        images: bool = True,
        cameras: Sequence[str] = CAMERAS,
        sequences: Sequence[str] | None = None,
        interval: int | None = None,
    ):
        super().__init__()
        self.root = Path(root)
        if subset not in INTERVALS:
            raise InputError(f"subset '{subset}': expected {', '.join(INTERVALS)}")
        self.sequences = self._choose(subset, sequences)
        self.rigs = {name: _load_rig(self.root / name, cameras) for name in self.sequences}
        self._images = images
        step = INTERVALS[subset] if interval is None else interval
        self._files = [
            (name, path) for name in self.sequences for path in _label_files(self.root / name)[::step]
        ]
        if not self._files:
            raise InputError(f"{self.root}: no {_LABELS}/body3DScene_*.json in any sequence")
        if images:
            for name, path in dict(self._files).items():
                require_folders(_image_paths(self.root / name, _frame(path), self.rigs[name]))

    def __len__(self) -> int:
        return len(self._files)

    def _choose(self, subset: str, sequences: Sequence[str] | None) -> tuple[str, ...]:
        there = find_sequences(self.root)
        if sequences is None:
            sequences = SEQUENCES.get(subset, there)
        absent = [name for name in sequences if name not in there]
        if len(absent) == len(sequences):
            expected = ", ".join(sequences) or "SEQ/calibration_SEQ.json"
            raise InputError(f"{self.root}: has no sequence of {subset}, expected {expected}")
        if absent:
            logger.warning("%s: sequences not there: %s", self.root, ", ".join(absent))
        return tuple(name for name in sequences if name in there)

    def _read(self, index: int) -> Sample:
        sequence, path = self._files[index]
        rig = self.rigs[sequence]
        ids, poses, visible = read_bodies(path)
        frame = _frame(path)
        images = None
        if self._images:
            images = read_images(_image_paths(self.root / sequence, frame, rig), rig)
        return Sample(f"{sequence}/{frame}", rig, poses, visible, ids, images)


def find_sequences(root: Path | str) -> tuple[str, ...]:
    """Names of the sequences, sorted: folders NAME with a calibration_NAME.json."""
    folders = sorted(Path(root).glob("*/"))
    return tuple(f.name for f in folders if (f / f"calibration_{f.name}.json").is_file())


def read_bodies(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ids (P,), poses (P, 15, 3) in mm z up, visible (P, 15) of a body3DScene file.

    Raises:
        BrokenFrameError: the file cannot be read or has another layout.
    """
    ids, joints = _read_joints19(path)
    return ids, *_poses(joints[:, : len(PANOPTIC15)])


def read_people(root: Path | str, joint_set: JointSet, interval: int = 3):
    """Everybody in the labelled frames of all sequences, without their rigs.

    Args:
        root: the folder of the sequences.
        joint_set: PANOPTIC15, or COCO17, whose eyes and ears the labels also hold.
        interval: take every n-th labelled frame.

    Returns:
        poses (N, J, 3) in mm z up, visible (N, J) bool.

    Raises:
        InputError: there is no person, or another joint set is asked for.
    """
    orders = {PANOPTIC15: list(range(len(PANOPTIC15))), COCO17: _COCO17_OF_JOINTS19}
    if joint_set not in orders:
        raise InputError(f"Panoptic has no joints {joint_set.name}, expected panoptic15 or coco17")
    people = []
    for name in find_sequences(root):
        for path in _label_files(Path(root) / name)[::interval]:
            try:
                people.append(_read_joints19(path)[1][:, orders[joint_set]])
            except BrokenFrameError as error:
                logger.warning("%s: left out", error)
    if not sum(map(len, people)):
        raise InputError(f"{root}: no person in any {_LABELS}/body3DScene_*.json of any sequence")
    return _poses(np.concatenate(people))


# Panoptic's 19 joints are panoptic15, then left eye, left ear, right eye, right ear.
_COCO17_OF_JOINTS19 = [1, 15, 17, 16, 18, 3, 9, 4, 10, 5, 11, 6, 12, 7, 13, 8, 14]


def _read_joints19(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Ids (P,) and joints (P, 19, 4), x y z score as they are written, of people with a mid-hip."""
    try:
        bodies = json.loads(path.read_text())["bodies"]
        ids = np.array([body["id"] for body in bodies], dtype=int)
        people = [np.reshape(body["joints19"], (19, 4)) for body in bodies]
        joints = np.array(people, dtype=np.float64).reshape(-1, 19, 4)
    except (OSError, ValueError, KeyError, TypeError) as error:
        detail = f"{type(error).__name__}: {error}".splitlines()[0]
        raise BrokenFrameError(f"labels {path} cannot be read ({detail})") from None
    has_root = (joints[:, list(PANOPTIC15.root), 3] > _MIN_SCORE).all(axis=1)
    kept = has_root & np.isfinite(joints).all(axis=(1, 2))
    return ids[kept], joints[kept]


def _poses(joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Poses (P, J, 3) in mm z up and visible (P, J) of joints (P, J, 4) as they are written."""
    return joints[..., :3] @ PANOPTIC_TO_Z_UP * 10.0, joints[..., 3] > _MIN_SCORE


def _load_rig(folder: Path, cameras: Sequence[str]) -> Rig:
    path = folder / f"calibration_{folder.name}.json"
    try:
        return load_rig(path, cameras=cameras).with_space(SPACE)
    except InputError as error:
        line = str(error)
        raise InputError(line if str(path) in line else f"{path}: {line}") from None


def _label_files(folder: Path) -> list[Path]:
    return sorted((folder / _LABELS).glob("body3DScene_*.json"))


def _frame(label_file: Path) -> str:
    """The frame number in the name of a label file, as the images write it."""
    return label_file.stem.removeprefix("body3DScene_")


def _image_paths(folder: Path, frame: str, rig: Rig) -> list[Path]:
    return [folder / "hdImgs" / name / f"{name}_{frame}.jpg" for name in rig.names]


def check(path: Path | str) -> DatasetReport:
    """What a folder of Panoptic sequences holds and lacks. Never raises InputError."""
    path = Path(path)
    report = DatasetReport(Panoptic.name, path)
    there = find_sequences(path)
    if not there:
        report.note(False, f"{path}: no sequence, expected folders SEQ with calibration_SEQ.json")
    for subset, names in SEQUENCES.items():
        absent = [name for name in names if name not in there]
        if absent:
            report.note(False, f"{subset} sequences: {', '.join(absent)}")
    for name in there:
        _note_sequence(path / name, report)
    return report


def _note_sequence(folder: Path, report: DatasetReport) -> None:
    try:
        rig = _load_rig(folder, CAMERAS)
    except InputError as error:
        report.note(False, str(error))
        return
    frames = [_frame(path) for path in _label_files(folder)]
    report.note(bool(frames), f"{folder.name}: calibration, labels of {len(frames)} frames")
    complete = sum(all(image.is_file() for image in _image_paths(folder, frame, rig)) for frame in frames)
    report.note(
        complete == len(frames) > 0,
        f"{folder.name}: images of cameras {', '.join(CAMERAS)} in {complete} of {len(frames)} "
        "labelled frames",
    )
