"""One frame set through the ray model, as two functions of plain tensors.

`RayProposals` makes candidates of rays, `RayFrame` makes poses of candidates. The caller decides in
between which candidates are worth it, and which of them have a pose of the last frame. Both run eagerly
or as a fixed graph (`voxelpose_core/models/ray_graphs.py`): sizes are read from the tensors and nothing
branches on values.

Shapes: V views, D detections per view (padded), J joints, P pairs of detections, M candidates. Lengths
are mm.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from voxelpose_core.models.ray_confidence import (
    confidence_logits,
    fits,
    joint_support,
    visibility,
)
from voxelpose_core.models.ray_pose import RayPose
from voxelpose_core.models.rays import Rays, propose
from voxelpose_core.voxel.views import Views


class People(NamedTuple):
    """Candidates after the net.

    Attributes:
        joints: (M, J, 3), mm.
        covariances: (M, J, 3, 3), mm^2.
        confidence: (M,) that it is a person, in [0, 1].
        support: (M, J) of the joints by 2D detections, in [0, 1].
        shares: (M, V, D) of each detection that the pose explains, in [0, 1].
    """

    joints: torch.Tensor
    covariances: torch.Tensor
    confidence: torch.Tensor
    support: torch.Tensor
    shares: torch.Tensor


class RayProposals(nn.Module):
    """Places where a person may stand.

    Args:
        limit: K, how many.
    """

    def __init__(self, limit: int):
        super().__init__()
        self.limit = limit

    def forward(
        self, cameras: torch.Tensor, directions: torch.Tensor, scores: torch.Tensor, pairs: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Centers (K, 3) and votes (K,), strongest first; an empty slot has no vote.

        Args:
            cameras: (V, 36) of `Views.table`.
            directions: (V, D, J, 3) of the rays, unit vectors.
            scores: (V, D, J), 0 for a joint that was not detected.
            pairs: (P, 4) of `detection_pairs`.
        """
        views = Views.from_table(cameras)
        rays = Rays(views.C[None], directions[None], scores[None])
        proposals = propose(rays, self.limit, pairs)
        return proposals.centers[0], proposals.votes[0]


class RayFrame(nn.Module):
    """Candidates -> poses, their covariances, confidence and support.

    Args:
        model: the ray model.
    """

    def __init__(self, model: RayPose):
        super().__init__()
        self.model = model

    def forward(
        self,
        cameras: torch.Tensor,
        directions: torch.Tensor,
        scores: torch.Tensor,
        centers: torch.Tensor,
        last: torch.Tensor,
        has_last: torch.Tensor,
    ) -> People:
        """People of M candidates, at least one.

        Args:
            cameras, directions, scores: as of `RayProposals`.
            centers: (M, 3) mm, where their mid-hips may be.
            last: (M, J, 3) mm, poses of the last frame.
            has_last: (M,) bool, which candidates have one.
        """
        views = Views.from_table(cameras[None])
        rays = Rays(views.C, directions[None], scores[None])
        scene = torch.zeros_like(centers[:, 0], dtype=torch.long)
        poses = self.model(rays, centers, scene, last, has_last)
        visible = visibility(poses.joints, scene, views)
        fit = fits(rays, poses.joints, scene)
        _, logits = confidence_logits(self.model, rays, poses, scene, visible, fit)
        support, shares = joint_support(rays, fit, visible)
        return People(poses.joints, poses.covariance(), logits.sigmoid(), support, shares)
