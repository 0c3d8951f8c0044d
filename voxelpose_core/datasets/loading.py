"""Loads batches of a data set. Worker processes decode and project; the device draws heatmaps."""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from voxelpose_core.config import Config
from voxelpose_core.datasets.base import FrameDataset, Sample
from voxelpose_core.datasets.batches import Frame, collate
from voxelpose_core.datasets.configured import heatmap_source
from voxelpose_core.datasets.simulated_detections import join_keypoints
from voxelpose_core.errors import InputError
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.images import warp_to_network
from voxelpose_core.skeletons import get_joint_set
from voxelpose_core.voxel import Views


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

    def __getitem__(self, index: int) -> Frame | None:
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
            assert sample.images is not None  # see `configured._options`
            images = np.stack([warp_to_network(i, self._network_size) for i in sample.images])
        elif self._source == "gt":
            keypoints = pixels
        else:
            assert sample.keypoints is not None  # see `configured._check_source`
            views = views.with_present([people is not None for people in sample.keypoints])
            keypoints = [
                self._peaks(people, affine) for people, affine in zip(sample.keypoints, affines, strict=True)
            ]
        sample = dataclasses.replace(sample, images=None)
        roots = self.frames.joint_set.root_of(sample.poses)
        return Frame(index, sample, views, roots, images, keypoints, pixels)

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
