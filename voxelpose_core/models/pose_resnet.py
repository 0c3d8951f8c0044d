"""PoseResNet: ResNet and three deconvolutions, images -> 2D heatmaps.

Xiao, Wu and Wei, "Simple Baselines for Human Pose Estimation and Tracking", ECCV 2018, section 2;
ResNet after He et al., CVPR 2016, with the stride in the 3x3 convolution. Attribute names are those
of published checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from voxelpose_core.config import PoseResNetConfig
from voxelpose_core.errors import InputError


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a skip connection (ResNet-18, -34)."""

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int, downsample: nn.Module | None):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = downsample

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skip = x if self.downsample is None else self.downsample(x)
        x = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(x)) + skip)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions beside a skip connection (ResNet-50, -101, -152)."""

    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride: int, downsample: nn.Module | None):
        super().__init__()
        out_channels = channels * self.expansion
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample = downsample

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skip = x if self.downsample is None else self.downsample(x)
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)))
        return torch.relu(self.bn3(self.conv3(x)) + skip)


_LAYERS: dict[int, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, ...]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}


class PoseResNet(nn.Module):
    """Normalized images (N, 3, H, W) -> heatmaps (N, J, H / 4, W / 4).

    Raises:
        InputError: when there is no ResNet of so many layers, or a kernel of the deconvolutions is not known.
    """

    def __init__(self, config: PoseResNetConfig, joints: int):
        super().__init__()
        if config.num_layers not in _LAYERS:
            raise InputError(
                f"POSE_RESNET.NUM_LAYERS is {config.num_layers}, expected one of {list(_LAYERS)}"
            )
        block, counts = _LAYERS[config.num_layers]
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = _stage(block, 64, 64, counts[0], 1)
        self.layer2 = _stage(block, 64 * block.expansion, 128, counts[1], 2)
        self.layer3 = _stage(block, 128 * block.expansion, 256, counts[2], 2)
        self.layer4 = _stage(block, 256 * block.expansion, 512, counts[3], 2)
        self.deconv_layers = _deconvolutions(
            512 * block.expansion,
            config.num_deconv_filters,
            config.num_deconv_kernels,
            config.deconv_with_bias,
        )
        kernel = config.final_conv_kernel
        self.final_layer = nn.Conv2d(config.num_deconv_filters[-1], joints, kernel, padding=kernel // 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.maxpool(torch.relu(self.bn1(self.conv1(images))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.final_layer(self.deconv_layers(x))


def _stage(block, in_channels: int, channels: int, count: int, stride: int) -> nn.Sequential:
    out_channels = channels * block.expansion
    downsample = None
    if stride != 1 or in_channels != out_channels:
        downsample = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
            nn.BatchNorm2d(out_channels),
        )
    blocks = [block(in_channels, channels, stride, downsample)]
    blocks += [block(out_channels, channels, 1, None) for _ in range(count - 1)]
    return nn.Sequential(*blocks)


def _deconvolutions(
    in_channels: int, filters: Sequence[int], kernels: Sequence[int], bias: bool
) -> nn.Sequential:
    # Padding and output padding that double the resolution for each kernel size.
    paddings = {4: (1, 0), 3: (1, 1), 2: (0, 0)}
    layers: list[nn.Module] = []
    for channels, kernel in zip(filters, kernels, strict=True):
        if kernel not in paddings:
            raise InputError(f"POSE_RESNET.NUM_DECONV_KERNELS contains {kernel}, expected 2, 3 or 4")
        padding, output_padding = paddings[kernel]
        layers += [
            nn.ConvTranspose2d(in_channels, channels, kernel, 2, padding, output_padding, bias=bias),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        ]
        in_channels = channels
    return nn.Sequential(*layers)
