"""1x1x1 convolutions of both networks, for inference, with float32 weights: shortcuts, and the end.

On CPUs a kernel does each in one pass over the features. Nothing here is differentiable.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from voxelpose_core.voxel.bindings import Kernel, PointwiseArguments, kernel_for
from voxelpose_core.voxel.boxes import box_points, cached_axes


@dataclass(frozen=True)
class Pointwise:
    """A 1x1x1 convolution that does not change.

    Attributes:
        weight: (K, C) float32.
        bias: (K,) float32.
    """

    weight: torch.Tensor
    bias: torch.Tensor

    @classmethod
    def of(cls, conv: nn.Conv3d, scale: float = 1.0) -> Pointwise:
        """That convolution, its answers multiplied."""
        assert conv.bias is not None  # a pointwise layer of these nets has one
        return cls(scale * conv.weight.detach().flatten(1), scale * conv.bias.detach())

    @functools.cached_property
    def table(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The kernel's form: weights (C, K) and bias (K,), K rounded up to a multiple of 8."""
        padding = -len(self.weight) % 8
        return F.pad(self.weight.T, (0, padding)).contiguous(), F.pad(self.bias, (0, padding))


def projection_shortcut(sum: torch.Tensor, x: torch.Tensor, layer: Pointwise) -> torch.Tensor:
    """relu(sum + layer(x)): the end of a residual block whose shortcut is a projection.

    He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, section 3.3.

    Args:
        sum: (N, K, X, Y, Z) from the block's branch, float32 or bfloat16; may be overwritten.
        x: (N, C, X, Y, Z), what the block got, of the same dtype.
        layer: of K outputs. In bfloat16 this convolution alone, of few weights that all voxels
            share, would move joints as far as all others together.

    Returns:
        (N, K, X, Y, Z) of the dtype of `sum`.
    """
    kernel = _kernel(x)
    if kernel is None or not sum.is_contiguous(memory_format=torch.channels_last_3d):
        projected = F.conv3d(x.float(), layer.weight[..., None, None, None], layer.bias)
        return (sum + projected).relu_().to(sum.dtype)
    _call(kernel, "projection_shortcut", x, None, layer, (0.0,) * 3, sum)
    return sum


def output_scores(features: torch.Tensor, skip: torch.Tensor, layer: Pointwise) -> torch.Tensor:
    """layer(relu(features) + skip), in float32.

    Args:
        features, skip: (N, C, X, Y, Z), float32 or bfloat16.
        layer: of J outputs.

    Returns:
        (N, J, X, Y, Z) float32.
    """
    kernel = _kernel(features)
    if kernel is None:
        return _scores(features, skip, layer)
    scores = torch.empty(len(features), len(layer.weight), *features.shape[2:])
    _call(kernel, "output_scores", features, skip, layer, (0.0,) * 3, scores)
    return scores


def soft_argmax(
    features: torch.Tensor, skip: torch.Tensor, layer: Pointwise, size: Sequence[float]
) -> torch.Tensor:
    """Mean voxel offset under the softmax of the scores (VoxelPose, section 3.3).

    Args:
        features, skip, layer: see `output_scores`; the layer's answers are multiplied by beta.
        size: edge lengths between the outermost voxels of every box, mm.

    Returns:
        (N, J, 3) float32, mm from the centre of the box.
    """
    kernel = _kernel(features)
    if kernel is None:
        scores = _scores(features, skip, layer).flatten(2)
        center = torch.zeros(1, 3, device=features.device)
        return torch.softmax(scores, dim=-1) @ box_points(center, size, features.shape[2:])[0]
    offsets = torch.empty(len(features), len(layer.weight), 3)
    _call(kernel, "soft_argmax", features, skip, layer, size, offsets)
    return offsets


def _kernel(features: torch.Tensor) -> Kernel | None:
    kernel = kernel_for(features.device)
    known = features.dtype in (torch.float32, torch.bfloat16)
    return kernel if kernel is not None and kernel.name == "cpp" and known else None


def _call(
    kernel: Kernel,
    function: str,
    features: torch.Tensor,
    skip: torch.Tensor | None,
    layer: Pointwise,
    size: Sequence[float],
    answer: torch.Tensor,
) -> None:
    """Run a function of csrc/pointwise_cpu.cpp that writes `answer`."""
    features = features.contiguous(memory_format=torch.channels_last_3d)
    arguments = PointwiseArguments.of_features(features.shape, len(layer.weight), layer.table)
    arguments.point_to(axes=cached_axes(tuple(size), tuple(features.shape[2:]), features.device))
    if skip is not None:
        arguments.point_to(skip=skip.contiguous(memory_format=torch.channels_last_3d))
    if len(features):
        kernel.call(function, arguments, features, features.dtype == torch.bfloat16, answer)


def _scores(features, skip, layer: Pointwise) -> torch.Tensor:
    """As the matrix product that the convolution is."""
    features = features.relu().float() + skip
    columns = features.permute(0, 2, 3, 4, 1).flatten(1, 3).transpose(1, 2)
    return (layer.weight @ columns + layer.bias[:, None]).unflatten(2, features.shape[2:])
