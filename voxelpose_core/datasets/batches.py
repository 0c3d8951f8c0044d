"""Frames of one data set stacked into a batch of tensors."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from voxelpose_core.datasets.base import Sample
from voxelpose_core.images import normalize
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


@dataclass(frozen=True)
class Frame:
    """The fields of `Batch` for one frame, not yet padded; `views` with B = 1.

    Attributes:
        index: into the data set.
        sample: the frame, without its images.
        views: its V cameras, as a batch of one.
        roots: (G, 3) of the true people, mm.
        images: (V, 3, H, W) RGB uint8, or None.
        keypoints: V arrays (P, J, 3) x y in heatmap pixels and peak, or None.
        pixels: V arrays (G, J, 3) true joints in heatmap pixels, 1 where they are seen, or None.
    """

    index: int
    sample: Sample
    views: Views
    roots: np.ndarray
    images: np.ndarray | None
    keypoints: list[np.ndarray] | None
    pixels: list[np.ndarray] | None


def collate(frames: Sequence[Frame | None]) -> Batch | None:
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
