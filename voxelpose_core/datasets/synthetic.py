"""Synthetic data sets: people placed in a rig, without overlap, and projected into its cameras.

The recipe by which VoxelPose trains for Campus and Shelf, of which no poses are learned: people of
elsewhere, the rig's own cameras, and heatmaps that are wrong as a detector's are (Tu et al.,
ECCV 2020, section 4.1; `campus_synthetic` and `shelf_synthetic` of microsoft/voxelpose-pytorch).
Every scene is drawn from the seed, the epoch and its index alone, so that neither the number of
worker processes nor an interruption changes what is trained on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from voxelpose_core.datasets import random_scenes
from voxelpose_core.datasets.base import FrameDataset, Sample, first_cameras
from voxelpose_core.datasets.campus import Campus
from voxelpose_core.datasets.panoptic import read_people
from voxelpose_core.datasets.people import sample_people
from voxelpose_core.datasets.predictions import load_pickle
from voxelpose_core.datasets.shelf import Shelf
from voxelpose_core.datasets.simulated_detections import DetectorNoise, HeatmapNoise, Noise
from voxelpose_core.errors import InputError
from voxelpose_core.geometry.calibration_formats import numbers
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.coverage import propose_space
from voxelpose_core.geometry.rig import Rig, load_rig
from voxelpose_core.geometry.space import Space
from voxelpose_core.resources import find_resource
from voxelpose_core.skeletons import COCO17, PANOPTIC15, JointSet, panoptic15_from_coco17

# The original looks so often for a free place before it gives up on a scene's further people.
_TRIES = 100
# Share of people who stand beside another, and how far, mm along x and along y.
_BESIDE, _BESIDE_MM, _BESIDE_SPREAD_MM = 0.3, 500.0, 50.0
_MAX_OVERLAP = 0.01
# A place is watched by a camera that sees it at this height, mm, and so far inside the image.
_WATCH_HEIGHT, _WATCH_MARGIN_PX = 1000.0, 10.0
# Places nearer to the side of the space than this are left free.
_SPACE_MARGIN = 500.0


@dataclass(frozen=True)
class Placement:
    """Where people stand.

    Attributes:
        low, high: (x, y) corners of the area for their mid-hips, mm.
        most: at most so many people in a scene.
        min_views: cameras that must watch a place.
    """

    low: tuple[float, float]
    high: tuple[float, float]
    most: int
    min_views: int = 2


class People(Protocol):
    """A source of poses."""

    def draw(self, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Poses (P, J, 3), mm, somewhere above the ground z = 0, and their labelled joints."""


class Synthetic(FrameDataset):
    """Scenes of synthetic people in one rig.

    Args:
        root: the rig's calibration file.
        joint_set: COCO17 or PANOPTIC15.
        people: panoptic_training_pose.pkl of the original, or a folder of Panoptic sequences;
            procedural people where it is empty.
        noise: "heatmap", the original's, or "detector".
        frames: scenes in an epoch.
        max_people: at most so many in a scene.
        cameras: names of the cameras; all of the rig's where it is empty.
        camera_count: take the first so many of them only.
        space: where people are; by default the rig's, else the one proposed from its cameras.
        seed: of everything that is drawn.

    Raises:
        InputError: a file is wrong, or no place of the space is watched by two cameras.
    """

    name = "synthetic"

    def __init__(
        self,
        root: Path | str,
        joint_set: JointSet = COCO17,
        people: Path | str = "",
        noise: str = "heatmap",
        frames: int = 3000,
        max_people: int | None = None,
        cameras: Sequence[str] = (),
        camera_count: int | None = None,
        space: Space | None = None,
        seed: int = 0,
    ):
        super().__init__()
        rig = self._load_rig(Path(root))
        rig = first_cameras(rig.select(cameras or rig.names), camera_count)
        self.rig = rig.with_space(space or rig.space or propose_space(rig))
        self.joint_set = joint_set
        self.placement = self._placement()
        if max_people is not None:
            self.placement = dataclasses.replace(self.placement, most=max_people)
        self._people = open_people(people, joint_set)
        self._noise = self._make_noise(noise)
        self._frames = frames
        self._seed = seed
        self._epoch = 0
        self._require_watched_places()

    @property
    def has_keypoints(self) -> bool:
        """Always: they are what is simulated."""
        return True

    def __len__(self) -> int:
        return self._frames

    def set_epoch(self, epoch: int) -> None:
        """Draw other scenes: those of that epoch."""
        self._epoch = epoch

    def _load_rig(self, path: Path) -> Rig:
        return load_rig(path)

    def _placement(self) -> Placement:
        space = self.rig.space
        assert space is not None  # __init__ gives the rig one
        margin = np.minimum(_SPACE_MARGIN, space.size / 4)
        low, high = space.low + margin, space.high - margin
        return Placement((low[0], low[1]), (high[0], high[1]), most=9)

    def _make_noise(self, name: str) -> Noise:
        if name == "detector":
            return DetectorNoise(self.rig.cameras, self.joint_set)
        if name == "heatmap":
            return HeatmapNoise(self.joint_set)
        raise InputError(f"noise '{name}': expected heatmap or detector")

    def _read(self, index: int) -> Sample:
        rng = np.random.default_rng((self._seed, self._epoch, index))
        count = int(rng.integers(1, self.placement.most + 1))
        poses, visible = self._place(*self._people.draw(count, rng), rng)
        sample = Sample(
            key=f"{self.name}/{self._epoch}/{index}",
            rig=self.rig,
            poses=poses,
            visible=visible,
            person_ids=np.arange(len(poses)),
        )
        return dataclasses.replace(sample, keypoints=self._noise.keypoints(sample, rng))

    def _place(self, poses: np.ndarray, visible: np.ndarray, rng: np.random.Generator):
        """The people turned about the vertical and put where they overlap no one.

        Where no place is free, this person and those after it stay away, as in the original.
        """
        placed: list[np.ndarray] = []
        places, boxes = np.zeros((0, 2)), np.zeros((0, 4))
        for pose, labelled in zip(poses, visible, strict=True):
            pose = _turn(pose, self.joint_set, rng.uniform(-np.pi, np.pi))
            box = np.concatenate([pose[labelled, :2].min(axis=0), pose[labelled, :2].max(axis=0)])
            candidates = self._candidates(places, rng)
            moved = box + np.tile(candidates, 2)
            free = self._watched(candidates) & (_overlaps(moved, boxes) < _MAX_OVERLAP)
            if not free.any():
                break
            chosen = int(free.argmax())
            pose += [*candidates[chosen], self.rig.ground]
            placed.append(pose)
            places = np.vstack([places, candidates[chosen]])
            boxes = np.vstack([boxes, moved[chosen]])
        count = len(placed)
        return np.reshape(placed, (count, *poses.shape[1:])), visible[:count]

    def _candidates(self, places: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(T, 2) places to try, anywhere in the area or beside another person."""
        anywhere = rng.uniform(self.placement.low, self.placement.high, (_TRIES, 2))
        if len(places) == 0:
            return anywhere
        offset = rng.normal(_BESIDE_MM, _BESIDE_SPREAD_MM, (_TRIES, 2))
        beside = rng.choice(places, _TRIES) + offset * rng.choice([-1.0, 1.0], (_TRIES, 2))
        return np.where(rng.random((_TRIES, 1)) < _BESIDE, beside, anywhere)

    def _watched(self, places: np.ndarray) -> np.ndarray:
        """(T,) bool: enough cameras see the place."""
        height = self.rig.ground + _WATCH_HEIGHT
        points = np.column_stack([places, np.full(len(places), height)])
        views = np.sum([_sees_well(camera, points) for camera in self.rig.cameras], axis=0)
        return views >= self.placement.min_views

    def _require_watched_places(self) -> None:
        rng = np.random.default_rng(0)
        if not self._watched(self._candidates(np.zeros((0, 2)), rng)).any():
            raise InputError(
                f"rig '{self.rig.name}': no place of the space {self.rig.space} is seen by "
                f"{self.placement.min_views} cameras, expected a space that they watch"
            )


class CampusSynthetic(Synthetic):
    """Synthetic people in Campus' cameras.

    Args:
        root: the Campus folder; without its calibration_campus.json the shipped one is taken.
        options: of `Synthetic`.
    """

    name = "campus_synthetic"

    def _load_rig(self, path: Path) -> Rig:
        return _published_rig(path, Campus)

    def _placement(self) -> Placement:
        return Placement((-2500.0, -1000.0), (8500.0, 10000.0), most=9)


class ShelfSynthetic(Synthetic):
    """Synthetic people in Shelf's cameras.

    Args:
        root: the Shelf folder; without its calibration_shelf.json the shipped one is taken.
        options: of `Synthetic`.
    """

    name = "shelf_synthetic"

    def _load_rig(self, path: Path) -> Rig:
        return _published_rig(path, Shelf)

    def _placement(self) -> Placement:
        return Placement((-1000.0, -1600.0), (2000.0, 1600.0), most=5, min_views=0)

    def _make_noise(self, name: str) -> Noise:
        if name == "heatmap":
            return HeatmapNoise(self.joint_set, weak_legs=True, missed=0.05)
        return super()._make_noise(name)


# --- people ------------------------------------------------------------------------------------


class ProceduralPeople:
    """People of datasets/people.py."""

    def __init__(self, joint_set: JointSet):
        self._joint_set = joint_set

    def draw(self, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """See `People`."""
        generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
        poses = sample_people(count, generator).double().numpy()
        if self._joint_set == PANOPTIC15:
            poses = panoptic15_from_coco17(poses)
        return poses, np.ones(poses.shape[:2], dtype=bool)


class RecordedPeople:
    """People drawn from recorded poses.

    Args:
        poses: (N, J, 3), mm. People without a root cannot be placed and are left out.
        visible: (N, J) bool, their labelled joints.
        joint_set: the J joints.
        source: where they are from, for errors.

    Raises:
        InputError: when no pose has a root.
    """

    def __init__(self, poses: np.ndarray, visible: np.ndarray, joint_set: JointSet, source: str):
        kept = visible[:, list(joint_set.root)].all(axis=1) & np.isfinite(poses).all(axis=(1, 2))
        if not kept.any():
            raise InputError(f"{source}: no person has a mid-hip, expected poses with labelled hips")
        self._poses, self._visible, self._source = poses[kept], visible[kept], source

    def complete_poses(self) -> np.ndarray:
        """(N, J, 3) of the people all of whose joints are labelled; InputError if there are none."""
        complete = self._poses[self._visible.all(axis=1)]
        if not len(complete):
            raise InputError(f"{self._source}: no person has all joints, expected complete poses")
        return complete

    def draw(self, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """See `People`."""
        chosen = rng.integers(len(self._poses), size=count)
        return self._poses[chosen], self._visible[chosen]


def open_people(source: Path | str, joint_set: JointSet) -> People:
    """The people of a pickle or a Panoptic folder; procedural ones where `source` is empty.

    Raises:
        InputError: naming what is wrong.
    """
    if joint_set not in (COCO17, PANOPTIC15):
        raise InputError(f"joint set '{joint_set.name}': expected coco17 or panoptic15")
    if not str(source):
        return ProceduralPeople(joint_set)
    source = Path(source)
    if source.is_dir():
        poses, visible = read_people(source, joint_set)
        return RecordedPeople(poses, visible, joint_set, str(source))
    poses, visible = read_training_poses(source)
    if joint_set == PANOPTIC15:
        poses = panoptic15_from_coco17(poses)
        # A middle is labelled where both sides are.
        visible = panoptic15_from_coco17(visible[..., None].astype(float))[..., 0] == 1.0
    return RecordedPeople(poses, visible, joint_set, str(source))


def open_scene_people(source: Path | str) -> random_scenes.PeopleSource:
    """People for random_scenes.py: procedural ones, and half recorded where `source` is given.

    Args:
        source: as for `open_people`. Of recorded people those with all 17 joints are taken.

    Raises:
        InputError: naming what is wrong.
    """
    if not str(source):
        return sample_people
    recorded = open_people(source, COCO17)
    assert isinstance(recorded, RecordedPeople)  # there is a source
    return random_scenes.RecordedPeople(torch.from_numpy(recorded.complete_poses()))


def read_training_poses(path: Path | str) -> tuple[np.ndarray, np.ndarray]:
    """Poses (N, 17, 3), mm, and labelled joints (N, 17) of panoptic_training_pose.pkl.

    The file is a pickled list of {"pose": (17, 3), "vis": (17, 3)}; nothing of it is executed.

    Raises:
        InputError: naming the file and the entry that is wrong.
    """
    content = load_pickle(path)
    if not isinstance(content, list) or not content:
        raise InputError(f"{path}: expected a list of poses")
    poses = np.zeros((len(content), len(COCO17), 3))
    visible = np.zeros((len(content), len(COCO17)), dtype=bool)
    for index, entry in enumerate(content):
        if not isinstance(entry, dict) or not {"pose", "vis"} <= set(entry):
            raise InputError(f"{path}: entry {index} has no 'pose' and 'vis'")
        where = f"{path}: entry {index}"
        poses[index] = numbers(entry["pose"], (len(COCO17), 3), f"{where}, 'pose'")
        seen = numbers(entry["vis"], (len(COCO17), 3), f"{where}, 'vis'")
        visible[index] = seen[:, 0] > 0
    return poses, visible


# --- geometry ----------------------------------------------------------------------------------


def _published_rig(root: Path, dataset: type[Campus] | type[Shelf]) -> Rig:
    path = root / f"calibration_{dataset.name}.json"
    if path.is_file():
        return load_rig(path, dataset.image_size).with_space(dataset.space)
    return load_rig(find_resource(f"config/rigs/{dataset.name}.yaml"))


def _turn(pose: np.ndarray, joint_set: JointSet, angle: float) -> np.ndarray:
    """The pose (J, 3) turned about the vertical through its root, which goes to x = y = 0."""
    c, s = np.cos(angle), np.sin(angle)
    turned = pose.copy()
    turned[:, :2] = (pose[:, :2] - joint_set.root_of(pose)[:2]) @ np.array([[c, s], [-s, c]])
    return turned


def _overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(T,) largest intersection over union of boxes (T, 4) with others (N, 4): x0 y0 x1 y1."""
    if len(others) == 0:
        return np.zeros(len(boxes))
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0.0), axis=-1)
    area, other_area = (np.prod(b[:, 2:] - b[:, :2], axis=-1) for b in (boxes, others))
    return (shared / (area[:, None] + other_area - shared)).max(axis=1)


def _sees_well(camera: Camera, points: np.ndarray) -> np.ndarray:
    """(N,) bool: the camera sees the points, and not just at the edge of the image."""
    pixels, _ = camera.project(points)
    inside = (pixels > _WATCH_MARGIN_PX) & (pixels < np.array(camera.image_size) - _WATCH_MARGIN_PX)
    return camera.sees(points) & inside.all(axis=1)
