"""The networks as they run fastest where nothing is learned: same weights, same answers.

Batch norms are folded into convolutions, volumes lie channels-last, convolutions compute in
bfloat16 where the processor or device multiplies it natively, and on CPUs oneDNN adds skip
connections and applies ReLUs while a convolution's result is still in the cache.
"""

from __future__ import annotations

import copy
import functools
import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from voxelpose_core.models.pose_regression import PoseRegressionNet
from voxelpose_core.models.pose_resnet import PoseResNet
from voxelpose_core.models.v2v import ResidualBlock, UpsampleBlock, V2VNet
from voxelpose_core.models.voxelpose import VoxelPose
from voxelpose_core.processor import native_dtype
from voxelpose_core.voxel import (
    Pointwise,
    output_scores,
    projection_shortcut,
    soft_argmax,
)


def for_inference(model: VoxelPose, dtype: torch.dtype | None = None) -> VoxelPose:
    """A copy of a model that only infers; it shares no tensors with the original.

    Args:
        model: trained networks; the copy is in eval mode, on the same device.
        dtype: of the convolutions; None: `native_dtype` of the device.
    """
    dtype = dtype or native_dtype(model.device)
    model = copy.deepcopy(model).eval().requires_grad_(False)
    model.root_net.v2v_net = FoldedV2V(model.root_net.v2v_net, dtype)
    model.pose_net = FoldedPoseNet(model.pose_net, dtype)
    if hasattr(model, "backbone"):
        model.backbone = FoldedBackbone(model.backbone, dtype)
    model.volume_dtype, model.channels_last = dtype, True
    return model


class FoldedBackbone(nn.Module):
    """PoseResNet for inference: images (N, 3, H, W) -> heatmaps (N, J, H / 4, W / 4), float32.

    Args:
        net: the trained network; it is changed.
        dtype: of all convolutions but the last, as of the 3D networks.
    """

    def __init__(self, net: PoseResNet, dtype: torch.dtype):
        super().__init__()
        self.last, net.final_layer = net.final_layer, nn.Identity()
        for module in list(net.modules()):
            _fold_batch_norms(module)
        self.net = net.to(dtype, memory_format=torch.channels_last)
        self.dtype = dtype

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        images = images.to(self.dtype, memory_format=torch.channels_last)
        return self.last(self.net(images).float()).contiguous()


def _fold_batch_norms(module: nn.Module) -> None:
    """Fold each 2D batch norm among the children of a module into the convolution before it, which
    is the one that it normalizes."""
    children = list(module.named_children())
    for (name, conv), (norm_name, norm) in itertools.pairwise(children):
        if isinstance(norm, nn.BatchNorm2d):
            transpose = isinstance(conv, nn.ConvTranspose2d)
            setattr(module, name, nn.utils.fuse_conv_bn_eval(conv, norm, transpose))
            setattr(module, norm_name, nn.Identity())


class FoldedV2V(nn.Module):
    """V2VNet for inference: volumes (N, in, X, Y, Z) of `dtype` -> float32 (N, out, X, Y, Z).

    Args:
        net: the trained network.
        dtype: of all convolutions but those of one voxel (shortcuts and the last), which need more
            digits than bfloat16 has.
    """

    def __init__(self, net: V2VNet, dtype: torch.dtype):
        super().__init__()
        front, first = net.front_layers
        body = net.encoder_decoder
        self.front = FoldedConv(front.block[0], front.block[1], dtype)
        self.first = FoldedResidual(first, dtype)
        for name, child in body.named_children():
            if isinstance(child, ResidualBlock):
                setattr(self, name, FoldedResidual(child, dtype))
            elif isinstance(child, UpsampleBlock):
                setattr(self, name, FoldedUpsample(child, dtype))
        self.pool = body.pool
        self.last = Pointwise.of(net.output_layer)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return output_scores(*self.branches(x), self.last)

    def branches(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """All but the end: (N, 32, X, Y, Z) of `dtype` from below and from the skip connection.

        The last convolution takes the ReLU of the former plus the latter.
        """
        x = self.first(self.front(x))
        below = self.pool(x)
        fine = self.skip_res1(x)
        x = self.encoder_res1(below)
        below = self.pool(x)
        middle = self.skip_res2(x)
        x = self.mid_res(self.encoder_res2(below))
        x = self.decoder_upsample2(self.decoder_res2(x)).add_(middle)
        return self.decoder_upsample1.conv(self.decoder_res1(x)), fine


class FoldedPoseNet(nn.Module):
    """PoseRegressionNet for inference."""

    def __init__(self, net: PoseRegressionNet, dtype: torch.dtype):
        super().__init__()
        self.v2v_net = FoldedV2V(net.v2v_net, dtype)
        # The softmax is that of beta times the scores.
        self.last = Pointwise.of(net.v2v_net.output_layer, net.beta)

    def forward(self, volumes: torch.Tensor, centers: torch.Tensor, size: Sequence[float]) -> torch.Tensor:
        """Joints (N, J, 3), mm: see PoseRegressionNet."""
        offsets = soft_argmax(*self.v2v_net.branches(volumes), self.last, size)
        return offsets + centers[:, None]


class FoldedResidual(nn.Module):
    """ResidualBlock for inference. Where input and output have the same shape, it overwrites the
    input: volumes are large."""

    def __init__(self, block: ResidualBlock, dtype: torch.dtype):
        super().__init__()
        branch = block.res_branch
        self.projects = len(block.skip_con) > 0
        self.first = FoldedConv(branch[0], branch[1], dtype)
        self.second = FoldedConv(branch[3], branch[4], dtype, relu=not self.projects)
        if self.projects:
            self.shortcut = Pointwise.of(nn.utils.fuse_conv_bn_eval(*block.skip_con))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        branch = self.first(x)
        if self.projects:
            return projection_shortcut(self.second(branch), x, self.shortcut)
        return self.second.onto(x, branch)


class FoldedUpsample(nn.Module):
    """UpsampleBlock for inference."""

    def __init__(self, block: UpsampleBlock, dtype: torch.dtype):
        super().__init__()
        folded = nn.utils.fuse_conv_bn_eval(*block.block[:2], transpose=True)
        self.conv = folded.to(dtype, memory_format=torch.channels_last_3d)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).relu_()


class FoldedConv(nn.Module):
    """A convolution with its batch norm folded in, and the ReLU after it."""

    def __init__(self, conv: nn.Conv3d, norm: nn.BatchNorm3d, dtype: torch.dtype, relu: bool = True):
        super().__init__()
        folded = nn.utils.fuse_conv_bn_eval(conv, norm)
        weight = folded.weight.to(dtype).contiguous(memory_format=torch.channels_last_3d)
        self.padding, self.relu = conv.padding, relu
        self.register_buffer("weight", weight)
        self.register_buffer("bias", folded.bias.to(dtype))
        self._packed: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """relu(conv(x)), (N, C, X, Y, Z)."""
        if _fuses(x):
            after = "relu" if self.relu else "none"
            return torch.ops.mkldnn._convolution_pointwise(x, *self._geometry(x), after, [], "")
        x = F.conv3d(x, self.weight, self.bias, padding=self.padding)
        return x.relu_() if self.relu else x

    def onto(self, sum: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """relu(conv(x) + sum), (N, C, X, Y, Z), written into `sum`."""
        if _fuses(x):
            return torch.ops.mkldnn._convolution_pointwise_.binary(
                sum, x, *self._geometry(x), "add", 1.0, "relu", [], ""
            )
        return sum.add_(F.conv3d(x, self.weight, self.bias, padding=self.padding)).relu_()

    def _geometry(self, x: torch.Tensor) -> tuple:
        """Arguments of oneDNN's fused convolutions: the operators that torch.compile lowers to."""
        ones = (1, 1, 1)
        if self._packed is None:
            # In the layout that oneDNN likes, so that not every call brings them into it. Made for
            # inputs of one shape, they serve others as well.
            self._packed = torch.ops.mkldnn._reorder_convolution_weight(
                self.weight, self.padding, ones, ones, 1, x.shape
            )
        return self._packed, self.bias, self.padding, ones, ones, 1


def _fuses(x: torch.Tensor) -> bool:
    on_cpu = x.device.type == "cpu" and x.numel() > 0
    return on_cpu and torch.backends.mkldnn.enabled and _onednn_takes(x.dtype)


@functools.cache
def _onednn_takes(dtype: torch.dtype) -> bool:
    """Whether this PyTorch has the fused operators for 3D, for this processor and dtype.

    Tried on a small volume: PyTorch 2.1 has the operators and refuses the layout of 3D weights.
    """
    operators, ones = torch.ops.mkldnn, (1, 1, 1)
    x = torch.zeros(1, 16, 4, 4, 4, dtype=dtype).to(memory_format=torch.channels_last_3d)
    weight, bias = torch.zeros(16, 16, 3, 3, 3, dtype=dtype), torch.zeros(16, dtype=dtype)
    try:
        if dtype != torch.float32 and not operators._is_mkldnn_bf16_supported():
            return False
        weight = operators._reorder_convolution_weight(weight, ones, ones, ones, 1, x.shape)
        conv = (weight, bias, ones, ones, ones, 1)
        operators._convolution_pointwise(x, *conv, "relu", [], "")
        operators._convolution_pointwise_.binary(x, x.clone(), *conv, "add", 1.0, "relu", [], "")
    except (AttributeError, RuntimeError):
        return False
    return True
