"""People from 2D detections by the ray model: proposals, poses, confidence, and who stays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from voxelpose_core.estimate import Skeleton
from voxelpose_core.estimator_settings import EstimatorSettings
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.geometry.space import Space
from voxelpose_core.models.ray_confidence import (
    confidence_logits,
    joint_support,
    suppress,
    visibility,
)
from voxelpose_core.models.ray_pose import RayPose
from voxelpose_core.models.rays import Rays, propose, rays_of_cameras
from voxelpose_core.selection import floor_of, split_at_floor
from voxelpose_core.stage_clock import StageClock
from voxelpose_core.voxel import Views

# People are looked for so far outside the capture space, mm: the place of a proposal is rough.
_MARGIN = 500.0


class RayPeople:
    """Finds people in the 2D detections of one rig.

    Args:
        model: the ray model, on its device.
        rig: the cameras.
        space: where people are looked for.
    """

    def __init__(self, model: RayPose, rig: Rig, space: Space):
        self.model = model
        self.device = next(model.parameters()).device
        self._cameras = rig.cameras
        self._floor = floor_of(rig, space)
        self._room = Space(space.center, space.size + 2 * _MARGIN)
        # Rays need no heatmaps: of the views only the lenses and the images' sizes are read.
        self._views = Views.from_cameras(rig.cameras, (4, 4), (1, 1), self.device)

    def description(self) -> dict[str, Any]:
        """What runs, in plain values."""
        return {"people": "rays", "proposals": self.model.config.proposals}

    @torch.inference_mode()
    def warm_up(self, settings: EstimatorSettings) -> None:
        """Run the net once on nothing."""
        joints = len(self.model._mirror)
        rays = rays_of_cameras(self._cameras, [None] * len(self._cameras), 0.0, joints)
        rays = rays.map(lambda tensor: tensor.to(self.device))
        center = torch.zeros(1, 3, device=self.device)
        self.model(rays, center, torch.zeros(1, dtype=torch.long, device=self.device))

    @torch.inference_mode()
    def find(
        self,
        keypoints: Sequence[np.ndarray | None],
        settings: EstimatorSettings,
        clock: StageClock,
    ) -> tuple[list[Skeleton], list[Skeleton]]:
        """People of one frame set, the most confident first, and those whom the floor rule drops.

        Args:
            keypoints: per camera (P, J, 3) x px, y px, score; None for a camera without a frame.
            settings: thresholds; `second_look`, `recenter` and `refine` have no meaning here.
            clock: told when a stage is over.
        """
        joint_count = len(self.model._mirror)
        rays = rays_of_cameras(self._cameras, keypoints, settings.keypoint_threshold, joint_count)
        rays = rays.map(lambda tensor: tensor.to(self.device))
        clock.lap("rays", self.device)
        centers = self._proposals(rays)
        clock.lap("proposals", self.device)
        if len(centers) == 0:
            clock.lap("poses")
            return [], []
        scene = torch.zeros(len(centers), dtype=torch.long, device=self.device)
        poses = self.model(rays, centers, scene)
        present = self._views.with_present([people is not None for people in keypoints])
        visible = visibility(poses.joints, scene, present)
        _, logits = confidence_logits(self.model, rays, poses, scene, visible)
        confidence = logits.sigmoid()
        threshold = settings.proposal_threshold
        if threshold is None:
            threshold = self.model.config.confidence_threshold
        support = joint_support(rays, poses.joints, visible)
        found = [
            tensor.cpu().numpy().astype(np.float64)
            for tensor in (poses.joints, support, poses.covariance(), confidence)
        ]
        stays = suppress(found[0], found[-1], threshold, settings.duplicate_distance)
        found = [array[stays] for array in found]
        clock.lap("poses", self.device)
        skeletons = sorted(self._skeletons(found, settings), key=lambda s: -s.score)
        above, below = split_at_floor(skeletons, self._floor - settings.floor_tolerance)
        return above[: settings.max_people], below

    def _proposals(self, rays: Rays) -> torch.Tensor:
        """(M, 3) places in or near the space where somebody may stand, mm."""
        proposals = propose(rays, self.model.config.proposals)
        centers, votes = proposals.centers[0], proposals.votes[0]
        low, high = (centers.new_tensor(corner) for corner in (self._room.low, self._room.high))
        inside = ((centers >= low) & (centers <= high)).all(dim=-1)
        return centers[inside & (votes > 0)]

    def _skeletons(self, found: Sequence[np.ndarray], settings: EstimatorSettings) -> list[Skeleton]:
        return [
            Skeleton(
                joints=joints,
                joint_scores=support,
                joint_valid=support >= settings.joint_threshold,
                score=float(score),
                joint_covariances=covariance,
            )
            for joints, support, covariance, score in zip(*found, strict=True)
        ]
