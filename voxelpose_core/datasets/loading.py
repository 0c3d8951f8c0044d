"""Samples -> batches of tensors. Worker processes decode and project; the device draws heatmaps."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from voxelpose_core.config import Config
from voxelpose_core.datasets import DATASETS, open_dataset
from voxelpose_core.datasets.actors import ActorsDataset
from voxelpose_core.datasets.base import FrameDataset, Sample
from voxelpose_core.datasets.panoptic import CAMERAS, Panoptic
from voxelpose_core.datasets.simulated_detections import join_keypoints
from voxelpose_core.datasets.synthetic import Synthetic
from voxelpose_core.errors import InputError
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.rig_check import report_findings
from voxelpose_core.geometry.space import Space
from voxelpose_core.images import normalize, warp_to_network
from voxelpose_core.skeletons import get_joint_set
from voxelpose_core.voxel import Views

_T = TypeVar("_T")


@dataclass(frozen=True)
class Batch:
    """B frames as tensors, V views each; people are padded to the most of any frame.

    Attributes:
        indices: B indices into the data set.
        samples: the B frames, without their images.
        views: the cameras; a camera without predictions is absent.
        images: (B, V, 3, H, W) RGB uint8 in the size of the network's input, where heatmaps come
            from a backbone.
        keypoints: (B, V, P, J, 3) x y in heatmap pixels and peak (0: not detected), elsewhere.
        pixels: (B, V, G, J, 3) true joints in heatmap pixels, 1 where they are seen; None where
            the data set's joints are not the network's.
        joints: (B, G, J, 3) true joints, mm, or None likewise.
        visible: (B, G, J) 1 for labelled joints, or None likewise.
        roots: (B, G, 3) of the true people, mm.
        people: (B, G) bool: the person exists.
    """

    indices: list[int]
    samples: list[Sample]
    views: Views
    images: torch.Tensor | None
    keypoints: torch.Tensor | None
    pixels: torch.Tensor | None
    joints: torch.Tensor | None
    visible: torch.Tensor | None
    roots: torch.Tensor
    people: torch.Tensor

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def keys(self) -> str:
        """The frames' names, for messages."""
        return ", ".join(sample.key for sample in self.samples)

    def network_images(self) -> torch.Tensor:
        """(B * V, 3, H, W) normalized images."""
        assert self.images is not None  # heatmaps come from a backbone
        return normalize(self.images.flatten(0, 1))

    def to(self, device: torch.device) -> Batch:
        """The batch on a device."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """The batch in page-locked memory, which torch's DataLoader asks for."""
        return self._map(lambda tensor: tensor.pin_memory())

    def _map(self, function) -> Batch:
        moved = {
            field.name: function(value)
            for field in dataclasses.fields(self)
            if isinstance(value := getattr(self, field.name), torch.Tensor)
        }
        return dataclasses.replace(self, views=self.views.map(function), **moved)


# --- data sets and loaders of a configuration ---------------------------------------------------


def open_configured(config: Config, train: bool) -> FrameDataset:
    """The data set that a configuration trains on, or tests on.

    Raises:
        InputError: the data set cannot be opened, or cannot serve the network of the configuration.
    """
    settings = config.dataset
    name = settings.train_dataset if train else settings.test_dataset
    kind = DATASETS.get(name)
    root = Path(config.data_dir) / settings.root
    if kind is DATASETS["synthetic"]:
        if not config.synthetic.rig:
            raise InputError("SYNTHETIC.RIG is empty, data set 'synthetic' expects a calibration")
        root = Path(config.synthetic.rig)
    dataset = open_dataset(name, root, **(_options(config, train, kind) if kind else {}))
    _check_joints(config, dataset, train)
    _check_source(config, dataset, train)
    return dataset


def check_rigs(datasets: Iterable[FrameDataset], say: Callable[[str], object], strict: bool = False) -> None:
    """Say once what looks wrong with the rigs of data sets: `report_findings`.

    Raises:
        InputError: strict, and something looks wrong.
    """
    lines: dict[str, None] = {}
    for dataset in datasets:
        rig = getattr(dataset, "rig", None)
        for each in getattr(dataset, "rigs", {}).values() if rig is None else [rig]:
            report_findings(each, lambda line: lines.setdefault(line, None), strict)
    for line in lines:
        say(line)


def heatmap_source(config: Config, train: bool) -> str:
    """Where heatmaps come from: "image", "pred", "gt" or "simulated"."""
    settings = config.dataset
    source = settings.train_heatmap_src if train else settings.test_heatmap_src
    if source == "auto":
        return "image" if config.backbone_model else "pred"
    return source


def make_loader(
    dataset: FrameDataset, config: Config, train: bool, pin: bool, rank: int = 0, processes: int = 1
) -> DataLoader:
    """Batches of this process' share of a data set; call `set_epoch` before each epoch.

    Args:
        dataset: of `open_configured`.
        config: batch sizes, shuffling, workers, sizes of network and heatmaps.
        train: shuffled by seed and epoch, and padded so that all processes get equally many; else
            every frame once, in order.
        pin: page-locked memory, for a GPU.
        rank, processes: which share of how many.

    With workers, OpenCV has one thread in this process from here on.

    Returns:
        a loader of `Batch`; None stands for a batch of which no frame could be read.
    """
    if config.workers:
        # Ends OpenCV's threads: a forked worker has none of them, and hangs or dies on waiting for them.
        cv2.setNumThreads(1)
    frames = _Frames(dataset, config, heatmap_source(config, train))
    sampler: Any = range(rank, len(dataset), processes)
    if train:
        sampler = DistributedSampler(frames, processes, rank, config.train.shuffle, config.train.seed)
    return DataLoader(
        frames,
        batch_size=(config.train if train else config.test).batch_size,
        sampler=sampler,
        num_workers=config.workers,
        collate_fn=collate,
        pin_memory=pin,
        worker_init_fn=_start_worker,
        generator=torch.Generator().manual_seed(config.train.seed),
    )


def set_epoch(loader: DataLoader, epoch: int) -> None:
    """Shuffle and draw a training loader's frames as that epoch does."""
    assert isinstance(loader.sampler, DistributedSampler)  # as of every training loader
    loader.sampler.set_epoch(epoch)
    dataset_of(loader).set_epoch(epoch)


def dataset_of(loader: DataLoader) -> FrameDataset:
    """The data set whose frames a loader of `make_loader` gives."""
    assert isinstance(loader.dataset, _Frames)
    return loader.dataset.frames


def _options(config: Config, train: bool, kind: type[FrameDataset]) -> dict[str, Any]:
    """Options of `kind` from the configuration."""
    settings = config.dataset
    images = heatmap_source(config, train) == "image"
    subset = settings.train_subset if train else settings.test_subset
    if issubclass(kind, Panoptic):
        return {"subset": subset, "images": images, "cameras": CAMERAS[: settings.camera_num]}
    if issubclass(kind, ActorsDataset):
        return {
            "subset": subset,
            "images": images,
            "camera_count": settings.camera_num,
            "simulated": heatmap_source(config, train) == "simulated",
        }
    synthetic = config.synthetic
    return {
        "joint_set": get_joint_set(config.joint_set_name),
        "people": synthetic.people,
        "noise": synthetic.noise,
        "frames": synthetic.train_frames if train else synthetic.test_frames,
        "max_people": synthetic.max_people,
        "cameras": synthetic.cameras,
        "camera_count": settings.camera_num,
        "space": Space(config.multi_person.space_center, config.multi_person.space_size),
        # Never the same scenes in training and test.
        "seed": 2 * config.train.seed + (not train),
    }


def _check_joints(config: Config, dataset: FrameDataset, train: bool) -> None:
    joint_set = get_joint_set(config.joint_set_name)
    if train and dataset.joint_set != joint_set:
        raise InputError(
            f"data set '{dataset.name}' is labelled with {dataset.joint_set.name}, the network "
            f"learns {joint_set.name}: expected a TRAIN_DATASET with its joints"
        )
    root = config.dataset.rootidx
    root = (root,) if isinstance(root, int) else root
    if not train and root is not None and tuple(root) != dataset.joint_set.root:
        raise InputError(
            f"DATASET.ROOTIDX is {list(root)}, expected {list(dataset.joint_set.root)}, the root "
            f"of {dataset.joint_set.name}, or no ROOTIDX"
        )


def _check_source(config: Config, dataset: FrameDataset, train: bool) -> None:
    source = heatmap_source(config, train)
    key = f"DATASET.{'TRAIN' if train else 'TEST'}_HEATMAP_SRC"
    if source == "pred" and not dataset.has_keypoints:
        raise InputError(
            f"data set '{dataset.name}' has no 2D predictions here, expected a file of them, or "
            f"{key} image, gt or simulated"
        )
    if source == "simulated" and not isinstance(dataset, ActorsDataset):
        raise InputError(
            f"data set '{dataset.name}': detections are simulated for campus and shelf only, "
            f"expected another {key}"
        )
    if source == "image" and isinstance(dataset, Synthetic):
        raise InputError(f"data set '{dataset.name}' has no images, expected {key} pred")
    if source == "image" and not config.backbone_model:
        raise InputError(f"{key} is image, expected a BACKBONE_MODEL to see them")
    if source == "gt" and dataset.joint_set != get_joint_set(config.joint_set_name):
        raise InputError(
            f"{key} is gt, but '{dataset.name}' is labelled with {dataset.joint_set.name}, "
            f"expected {config.joint_set_name}"
        )


# --- one frame, in a worker ---------------------------------------------------------------------


@dataclass(frozen=True)
class _Frame:
    """The fields of `Batch` for one frame, not yet padded; `views` with B = 1."""

    index: int
    sample: Sample
    views: Views
    roots: np.ndarray
    images: np.ndarray | None
    keypoints: list[np.ndarray] | None
    pixels: list[np.ndarray] | None


class _Frames(Dataset):
    """A data set's frames as arrays; None for a frame that cannot be read."""

    def __init__(self, frames: FrameDataset, config: Config, source: str):
        self.frames = frames
        self._network_size = config.network.image_size
        self._heatmap_size = config.network.heatmap_size
        self._joint_set = get_joint_set(config.joint_set_name)
        self._source = source

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> _Frame | None:
        sample = self.frames[index]
        if sample is None:
            return None
        views = _views(sample.rig.cameras, self._network_size, self._heatmap_size)
        affines = views.to_heatmap[0].numpy()
        images: np.ndarray | None = None
        keypoints: list[np.ndarray] | None = None
        pixels: list[np.ndarray] | None = None
        if self.frames.joint_set == self._joint_set:
            pixels = [_true_pixels(sample, view, affine) for view, affine in enumerate(affines)]
        if self._source == "image":
            assert sample.images is not None  # see `_options`
            images = np.stack([warp_to_network(i, self._network_size) for i in sample.images])
        elif self._source == "gt":
            keypoints = pixels
        else:
            assert sample.keypoints is not None  # see `_check_source`
            views = views.with_present([people is not None for people in sample.keypoints])
            keypoints = [
                self._peaks(people, affine) for people, affine in zip(sample.keypoints, affines, strict=True)
            ]
        sample = dataclasses.replace(sample, images=None)
        roots = self.frames.joint_set.root_of(sample.poses)
        return _Frame(index, sample, views, roots, images, keypoints, pixels)

    def _peaks(self, people: np.ndarray | None, affine: np.ndarray) -> np.ndarray:
        """(P, J, 3) heatmap pixels and peak of a detector's people (P, J, 3)."""
        joints = len(self._joint_set)
        if people is None or len(people) == 0:
            return np.zeros((0, joints, 3), dtype=np.float32)
        if people.shape[1:] != (joints, 3):
            raise InputError(
                f"data set '{self.frames.name}': 2D predictions have {people.shape[1]} joints, "
                f"the network {joints}"
            )
        peaks = people[..., 2]
        if not self.frames.peaks_follow_scores:
            peaks = (peaks > 0).astype(np.float32)
        return join_keypoints(_transform(people[..., :2], affine), peaks)


def _true_pixels(sample: Sample, view: int, affine: np.ndarray) -> np.ndarray:
    """(G, J, 3) true joints in heatmap pixels, 1 where they are seen."""
    pixels, seen = sample.project(view)
    return join_keypoints(_transform(pixels, affine), seen.astype(np.float32))


def _transform(pixels: np.ndarray, affine: np.ndarray) -> np.ndarray:
    return pixels @ affine[:, :2].T + affine[:, 2]


@lru_cache(maxsize=64)
def _views(
    cameras: tuple[Camera, ...], network_size: tuple[int, int], heatmap_size: tuple[int, int]
) -> Views:
    return Views.from_cameras(cameras, network_size, heatmap_size)


def _start_worker(_: int) -> None:
    # There are as many workers as wanted; each stays on its core.
    cv2.setNumThreads(1)


# --- many frames --------------------------------------------------------------------------------


def collate(frames: Sequence[_Frame | None]) -> Batch | None:
    """The batch of all frames that could be read; None where none could."""
    good = [frame for frame in frames if frame is not None]
    if not good:
        return None
    samples = [frame.sample for frame in good]
    counts = torch.tensor([len(sample.poses) for sample in samples])
    same_joints = good[0].pixels is not None
    roots = _pad([frame.roots for frame in good])
    return Batch(
        indices=[frame.index for frame in good],
        samples=samples,
        views=_stack_views([frame.views for frame in good]),
        images=_stack([frame.images for frame in good]),
        keypoints=_pad_views([frame.keypoints for frame in good]),
        pixels=_pad_views([frame.pixels for frame in good]),
        joints=_pad([sample.poses for sample in samples]) if same_joints else None,
        visible=_pad([sample.visible for sample in samples]) if same_joints else None,
        roots=roots,
        people=torch.arange(roots.shape[1]) < counts[:, None],
    )


def _given(values: list[_T | None]) -> list[_T]:
    """All values, or none: the frames of a batch have the same fields."""
    given = [value for value in values if value is not None]
    assert len(given) in (0, len(values))
    return given


def _stack(arrays: list[np.ndarray | None]) -> torch.Tensor | None:
    given = _given(arrays)
    return torch.from_numpy(np.stack(given)) if given else None


def _stack_views(views: list[Views]) -> Views:
    names = [field.name for field in dataclasses.fields(Views)]
    return Views(**{name: torch.cat([getattr(v, name) for v in views]) for name in names})


def _pad_views(frames: list[list[np.ndarray] | None]) -> torch.Tensor | None:
    """(B, V, P, J, 3) of V arrays (P, J, 3) a frame."""
    given = _given(frames)
    if not given:
        return None
    flat = _pad([view for frame in given for view in frame])
    return flat.reshape(len(frames), -1, *flat.shape[1:])


def _pad(arrays: list[np.ndarray]) -> torch.Tensor:
    """(B, P, ...) float32 of arrays (P, ...), zeros after the last; P is at least 1."""
    most = max(1, max(len(array) for array in arrays))
    padded = np.zeros((len(arrays), most, *arrays[0].shape[1:]), dtype=np.float32)
    for index, array in enumerate(arrays):
        padded[index, : len(array)] = array
    return torch.from_numpy(padded)
