"""V2V: the 3D encoder-decoder that both nets of VoxelPose share.

After Moon, Chang and Lee, "V2V-PoseNet", CVPR 2018; layout of VoxelPose, supplementary, figure 1.
Attribute names are those of published checkpoints.
"""

from __future__ import annotations

import torch
from torch import nn


class ConvBlock(nn.Module):
    """Convolution, batch norm, ReLU at the same resolution."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int):
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv3d(in_channels, out_channels, kernel, padding=kernel // 2),
            nn.BatchNorm3d(out_channels),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.block(x)


class ResidualBlock(nn.Module):
    """Two 3x3x3 convolutions beside a skip connection."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.res_branch = nn.Sequential(
            nn.Conv3d(in_channels, out_channels, 3, padding=1),
            nn.BatchNorm3d(out_channels),
            nn.ReLU(inplace=True),
            nn.Conv3d(out_channels, out_channels, 3, padding=1),
            nn.BatchNorm3d(out_channels),
        )
        self.skip_con = nn.Sequential()
        if in_channels != out_channels:
            self.skip_con = nn.Sequential(
                nn.Conv3d(in_channels, out_channels, 1), nn.BatchNorm3d(out_channels)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.res_branch(x) + self.skip_con(x))


class UpsampleBlock(nn.Module):
    """Transposed convolution that doubles the resolution."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.block = nn.Sequential(
            nn.ConvTranspose3d(in_channels, out_channels, 2, stride=2),
            nn.BatchNorm3d(out_channels),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.block(x)


class EncoderDecoder(nn.Module):
    """Two levels down and up again, with skip connections."""

    def __init__(self):
        super().__init__()
        self.encoder_res1 = ResidualBlock(32, 64)
        self.encoder_res2 = ResidualBlock(64, 128)
        self.mid_res = ResidualBlock(128, 128)
        self.decoder_res2 = ResidualBlock(128, 128)
        self.decoder_upsample2 = UpsampleBlock(128, 64)
        self.decoder_res1 = ResidualBlock(64, 64)
        self.decoder_upsample1 = UpsampleBlock(64, 32)
        self.skip_res1 = ResidualBlock(32, 32)
        self.skip_res2 = ResidualBlock(64, 64)
        self.pool = nn.MaxPool3d(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        fine = self.skip_res1(x)
        x = self.encoder_res1(self.pool(x))
        middle = self.skip_res2(x)
        x = self.mid_res(self.encoder_res2(self.pool(x)))
        x = self.decoder_upsample2(self.decoder_res2(x)) + middle
        return self.decoder_upsample1(self.decoder_res1(x)) + fine


class V2VNet(nn.Module):
    """Volumes (N, in_channels, X, Y, Z) -> (N, out_channels, X, Y, Z); edges are multiples of 4."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.front_layers = nn.Sequential(ConvBlock(in_channels, 16, 7), ResidualBlock(16, 32))
        self.encoder_decoder = EncoderDecoder()
        self.output_layer = nn.Conv3d(32, out_channels, 1)
        self._initialize()

    def _initialize(self) -> None:
        for module in self.modules():
            if isinstance(module, (nn.Conv3d, nn.ConvTranspose3d)):
                nn.init.kaiming_normal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        # A quiet output layer: the first soft-argmax is the centre, the first root volume zero.
        nn.init.normal_(self.output_layer.weight, std=1e-3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.output_layer(self.encoder_decoder(self.front_layers(x)))
