"""Pose regression network: where are one person's joints? (VoxelPose, section 3.3)"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from voxelpose_core.models.v2v import V2VNet
from voxelpose_core.voxel import box_points


class PoseRegressionNet(nn.Module):
    """Feature volumes around people -> joint positions, through a soft-argmax."""

    def __init__(self, joints: int, beta: float):
        super().__init__()
        self.v2v_net = V2VNet(joints, joints)
        self.beta = beta

    def forward(self, volumes: torch.Tensor, centers: torch.Tensor, size: Sequence[float]) -> torch.Tensor:
        """Joints (N, J, 3), mm.

        Args:
            volumes: (N, J, X, Y, Z).
            centers: (N, 3) of the boxes, mm.
            size: edge lengths between their outermost voxels, mm.
        """
        offsets = box_points(torch.zeros_like(centers[:1]), size, volumes.shape[2:])[0]
        return self.log_probability(volumes).exp() @ offsets + centers[:, None]

    def log_probability(self, volumes: torch.Tensor) -> torch.Tensor:
        """(N, J, M) log-probability of every voxel to be each joint, float32 at least."""
        scores = self.v2v_net(volumes).flatten(2)
        # Half precision has too few digits for the softmax.
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
        return torch.log_softmax(self.beta * scores, dim=-1)
