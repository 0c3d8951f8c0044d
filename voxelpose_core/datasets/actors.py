"""Campus and Shelf: labelled actors in actorsGT.mat, 2D predictions in a file of their own."""

from __future__ import annotations

import dataclasses
import logging
import re
import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import scipy.io

from voxelpose_core.datasets.base import (
    DatasetReport,
    FrameDataset,
    Sample,
    first_cameras,
    read_images,
    require_folders,
)
from voxelpose_core.datasets.predictions import read_predictions
from voxelpose_core.datasets.simulated_detections import simulate_detections
from voxelpose_core.errors import InputError
from voxelpose_core.geometry.rig import Rig, load_rig
from voxelpose_core.geometry.space import Space
from voxelpose_core.skeletons import CAMPUS14

logger = logging.getLogger(__name__)


class ActorsDataset(FrameDataset):
    """Frames of one rig with labelled actors, in the folder layout of the original VoxelPose.

    ROOT/calibration_NAME.json, ROOT/actorsGT.mat, ROOT/pred_NAME*.pkl or .json, ROOT/CameraK/*.
    Poses are campus14 in mm; actors keep their numbers as `Sample.person_ids`.

    Args:
        root: the folder.
        subset: "validation", the frames on which the field reports; "train", the other labelled
            frames; "all" labelled frames; or "300-449", all frames from one to another.
        images: whether samples carry images.
        frames: frame numbers instead of a subset.
        predictions: file of 2D predictions; by default the one in the folder, if there is one.
        simulated: instead of predictions, the labelled actors as datasets/detection_noise.py
            thinks that a detector sees them; the same ones every time.
        camera_count: take the first so many cameras only.

    Raises:
        InputError: naming the file that is missing or wrong.
    """

    joint_set = CAMPUS14
    image_size: tuple[int, int]
    space: Space
    validation_frames: tuple[int, ...]
    image_pattern: str

    def __init__(
        self,
        root: Path | str,
        subset: str = "validation",
        images: bool = False,
        frames: Iterable[int] | None = None,
        predictions: Path | str | None = None,
        camera_count: int | None = None,
        simulated: bool = False,
    ):
        super().__init__()
        self.root = Path(root)
        whole_rig = self._load_rig()
        self.rig = first_cameras(whole_rig, camera_count)
        self._labels = read_actors(self._file("actorsGT.mat", "actorsGT*.mat"))
        self.frames = self._choose(subset) if frames is None else tuple(frames)
        self._check_frames()
        self._images = images
        if images and self.frames:
            require_folders(self.image_paths(self.frames[0]))
        self._simulated = simulated
        self._predictions = None
        if not simulated:
            self._predictions = self._read_predictions(predictions, len(whole_rig))

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def has_keypoints(self) -> bool:
        """Whether there is a file of 2D predictions, or they are simulated."""
        return self._simulated or self._predictions is not None

    @property
    def actors(self) -> np.ndarray:
        """(F, A, 14, 3) true joints of all frames, mm; NaN where an actor is not labelled."""
        return self._labels[list(self.frames)]

    def image_paths(self, frame: int) -> list[Path]:
        """Where the images of a frame are, one per camera."""
        return [
            self.root / self.image_pattern.format(camera=camera, frame=frame)
            for camera in range(len(self.rig))
        ]

    def _read(self, index: int) -> Sample:
        frame = self.frames[index]
        labelled = np.isfinite(self._labels[frame]).all(axis=(1, 2))
        keypoints = None
        if self._predictions is not None:
            views = self._predictions.get(frame, [None] * len(self.rig))
            keypoints = tuple(views[: len(self.rig)])
        sample = Sample(
            key=f"{self.name}/{frame:05d}",
            rig=self.rig,
            poses=self._labels[frame][labelled],
            visible=np.ones((labelled.sum(), len(CAMPUS14)), dtype=bool),
            person_ids=np.flatnonzero(labelled),
            images=read_images(self.image_paths(frame), self.rig) if self._images else None,
            keypoints=keypoints,
        )
        if self._simulated:
            sample = dataclasses.replace(sample, keypoints=simulate_detections(sample, frame))
        return sample

    def _load_rig(self) -> Rig:
        path = self._file(f"calibration_{self.name}.json", f"calibration_{self.name}.json")
        return load_rig(path, self.image_size).with_space(self.space)

    def _file(self, name: str, pattern: str) -> Path:
        """The original's file name, or else the first that fits the pattern."""
        if (self.root / name).is_file():
            return self.root / name
        others = sorted(self.root.glob(pattern))
        if not others:
            raise InputError(f"{self.root / name}: does not exist, expected in a {self.name} folder")
        return others[0]

    def _choose(self, subset: str) -> tuple[int, ...]:
        if subset == "validation":
            return self.validation_frames
        labelled = np.flatnonzero(np.isfinite(self._labels).all(axis=(2, 3)).any(axis=1)).tolist()
        if subset == "all":
            return tuple(labelled)
        if subset == "train":
            return tuple(sorted(set(labelled) - set(self.validation_frames)))
        match = re.fullmatch(r"(\d+)-(\d+)", subset)
        if match is None or int(match[1]) > int(match[2]):
            raise InputError(f"subset '{subset}': expected validation, train, all, or frames such as 300-449")
        return tuple(range(int(match[1]), int(match[2]) + 1))

    def _check_frames(self) -> None:
        count = len(self._labels)
        outside = [frame for frame in self.frames if not 0 <= frame < count]
        if outside:
            raise InputError(
                f"{self.root}: the ground truth has {count} frames, expected frame {outside[0]} too"
            )

    def _read_predictions(self, path: Path | str | None, camera_count: int) -> dict | None:
        if path is None:
            candidates = [*self.root.glob(f"pred_{self.name}*.pkl")]
            candidates = sorted(candidates) or sorted(self.root.glob(f"pred_{self.name}*.json"))
            if not candidates:
                return None
            path = candidates[0]
        predictions = read_predictions(path, camera_count)
        absent = sum(frame not in predictions for frame in self.frames)
        if absent:
            logger.warning(
                "%s: no predictions for %d of %d frames: no person is seen there",
                path,
                absent,
                len(self.frames),
            )
        return predictions


def read_actors(path: Path | str) -> np.ndarray:
    """Ground truth of Belagiannis et al.: (F, A, 14, 3) mm, NaN where an actor is not labelled.

    The file holds `actor3D`, one cell per actor with one cell per frame: 14 x 3 metres or empty.

    Raises:
        InputError: the file is missing or broken, or a cell has another shape.
    """
    path = Path(path)
    cells = _unwrap(_load_mat(path))
    if cells.dtype != object or cells.size == 0:
        raise InputError(f"{path}: 'actor3D' holds no cells, expected one per actor")
    per_actor = [_unwrap(np.asarray(cell)) for cell in cells.ravel()]
    if all(cell.dtype != object for cell in per_actor):
        per_actor = [cells]  # one actor, whose own cell was taken off
    if not all(cell.dtype == object and cell.size == per_actor[0].size for cell in per_actor):
        raise InputError(f"{path}: 'actor3D' expected one cell per frame, equally many per actor")
    labels = np.full((per_actor[0].size, len(per_actor), len(CAMPUS14), 3), np.nan)
    for actor, cell in enumerate(per_actor):
        for frame, pose in enumerate(cell.ravel()):
            pose = _unwrap(np.asarray(pose))
            if pose.size <= 1:
                continue
            if pose.shape != labels.shape[2:] or pose.dtype == object:
                raise InputError(
                    f"{path}: actor {actor}, frame {frame} has shape {pose.shape}, expected (14, 3) or empty"
                )
            labels[frame, actor] = 1000.0 * pose
    return labels


def _load_mat(path: Path) -> np.ndarray:
    try:
        content = scipy.io.loadmat(path, variable_names=["actor3D"])
    except OSError:
        raise InputError(f"{path}: cannot be read, expected a MATLAB file") from None
    # What scipy raises on broken files; NotImplementedError: on MATLAB 7.3 files, which are HDF5.
    except (ValueError, TypeError, NotImplementedError, struct.error, IndexError) as error:
        raise InputError(f"{path}: is no MATLAB 5 file ({str(error).splitlines()[0]})") from None
    if "actor3D" not in content:
        raise InputError(f"{path}: 'actor3D' is missing")
    return content["actor3D"]


def _unwrap(cell: np.ndarray) -> np.ndarray:
    """Take one-element cells off around another cell; how many there are depends on the writer."""
    while cell.dtype == object and cell.size == 1:
        inner = np.asarray(cell.item())
        if inner.dtype != object:
            break
        cell = inner
    return cell


def check_actors(dataset: type[ActorsDataset], path: Path | str) -> DatasetReport:
    """What a Campus or Shelf folder holds and lacks. Never raises InputError."""
    path = Path(path)
    report = DatasetReport(dataset.name, path)
    try:
        data = dataset(path)
    except InputError as error:
        report.note(False, str(error))
        return report
    report.note(True, f"calibration of {len(data.rig)} cameras, {data.rig.source}")
    people = np.isfinite(data.actors).all(axis=(2, 3))
    labelled = int(people.any(axis=1).sum())
    report.note(
        labelled > 0,
        f"ground truth in {labelled} of the {len(data)} validation frames, "
        f"{people.shape[1]} actors, {int(people.sum())} people",
    )
    others = len(data._choose("train"))
    if others:
        report.note(True, f"ground truth in {others} other frames: subset train")
    _note_predictions(data, report)
    _note_images(data, report)
    return report


def _note_predictions(data: ActorsDataset, report: DatasetReport) -> None:
    nobody = [None]
    known = data._predictions or {}
    complete = sum(all(people is not None for people in known.get(frame, nobody)) for frame in data.frames)
    report.note(
        complete == len(data),
        f"2D predictions of all cameras in {complete} of the {len(data)} validation frames",
    )


def _note_images(data: ActorsDataset, report: DatasetReport) -> None:
    there = [all(path.is_file() for path in data.image_paths(frame)) for frame in data.frames]
    line = f"images of all cameras in {sum(there)} of the {len(data)} validation frames"
    if not all(there):
        line += f", expected as {data.image_paths(data.frames[there.index(False)])[0]}"
    report.note(all(there), line)
