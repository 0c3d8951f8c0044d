"""People in heatmaps by the voxel nets: proposals, poses around them, support of the joints."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from voxelpose_core.estimator_settings import EstimatorSettings
from voxelpose_core.geometry.space import Space
from voxelpose_core.models.refinement import joint_heat, refine_joints
from voxelpose_core.models.voxelpose import VoxelPose
from voxelpose_core.pose_types import Skeleton
from voxelpose_core.skeletons import get_joint_set
from voxelpose_core.voxel import PackedHeatmaps, Views

# Voxels of people whose poses are regressed at once on a CPU: more leave the caches and take memory
# without being faster. A GPU takes everybody at once, in one of a few shapes.
_VOXELS_AT_ONCE = 2**18
_PEOPLE_BUCKETS = (1, 2, 4, 8)


@dataclass(frozen=True)
class SearchLimits:
    """What one search demands of people.

    Attributes:
        root_score: minimum score of a proposal; None: that of the weights' configuration.
        support: minimum mean heatmap value at the joints of a person.
        people: maximum number of people.
    """

    root_score: float | None
    support: float
    people: int


@dataclass(frozen=True)
class Candidates:
    """Where people may be: the strongest proposals of one search.

    Attributes:
        centers: (P, 3), mm. On GPUs P is one of a few numbers, and those past `count` mean nothing.
        scores: (P,) root scores.
        count: number of people.
    """

    centers: torch.Tensor
    scores: torch.Tensor
    count: int


class HeatmapPeople:
    """Finds people in the heatmaps of one rig.

    Args:
        model: for inference, on its device.
        views: all views of the rig (B = 1).
        space: capture space.
        heatmap_size: (width, height), pixels.
    """

    def __init__(self, model: VoxelPose, views: Views, space: Space, heatmap_size: tuple[int, int]):
        self.model = model
        self.joint_set = get_joint_set(model.config.joint_set_name)
        self.grid = model.proposal_grid(space.center, space.size)
        self.sampling = model.proposal_sampling(views, self.grid, heatmap_size)

    def candidates(
        self,
        heatmaps: torch.Tensor | PackedHeatmaps,
        views: Views,
        limits: SearchLimits,
        settings: EstimatorSettings,
    ) -> Candidates:
        """The proposals of the root net.

        Args:
            heatmaps: (1, V, J, H, W), packed or not.
            views: the rig's, of which some may be absent.
            limits: root score and number of people.
            settings: how many proposals there are at most.
        """
        proposals = self.model.propose(
            heatmaps, views, self.grid, limits.root_score, settings.max_people, self.sampling
        )
        # The strongest come first: the valid ones are the first so many.
        count = min(int(proposals.valid[0].sum()), limits.people)
        people = self._bucket(count, proposals.centers.shape[1]) if count else 0
        return Candidates(proposals.centers[0, :people], proposals.scores[0, :people], count)

    def skeletons(
        self,
        candidates: Candidates,
        heatmaps: torch.Tensor | PackedHeatmaps,
        peaks: torch.Tensor | PackedHeatmaps,
        views: Views,
        settings: EstimatorSettings,
    ) -> list[Skeleton]:
        """The poses of candidates, with the support of their joints.

        Args:
            candidates: one at least.
            heatmaps: (1, V, J, H, W), in which they were found; support is measured in them.
            peaks: (1, V, J, H, W), in which joints are located; may be the same.
            views: as for `candidates`.
            settings: recentering, refinement, and the support of a valid joint.
        """
        joints = self._poses(peaks, views, candidates.centers, candidates.count, settings)
        support = joint_heat(joints, heatmaps, views)
        # One transfer from the device for all that there is to know.
        rows = torch.cat([joints.flatten(1), support, candidates.scores[:, None]], dim=1)
        return self._as_skeletons(rows[: candidates.count].cpu().numpy(), settings.joint_threshold)

    @torch.inference_mode()
    def warm_up(self, heatmaps: torch.Tensor, views: Views, settings: EstimatorSettings) -> None:
        """Run the nets on heatmaps (1, V, J, H, W), for the numbers of people that they meet most."""
        limit = settings.max_people
        self.model.propose(heatmaps, views, self.grid, max_people=limit, sampling=self.sampling)
        center = heatmaps.new_tensor(self.grid.center)
        most = min(limit, self._people_at_once(settings))
        for people in sorted({min(bucket, most) for bucket in (*_PEOPLE_BUCKETS, most)}):
            self._poses(heatmaps, views, center.expand(people, 3), people, settings)

    def _bucket(self, count: int, most: int) -> int:
        """How many people are computed for `count` of them."""
        if self.model.device.type == "cpu":
            return count
        return min(most, next((b for b in _PEOPLE_BUCKETS if b >= count), most))

    def _poses(
        self,
        heatmaps: torch.Tensor | PackedHeatmaps,
        views: Views,
        centers: torch.Tensor,
        count: int,
        settings: EstimatorSettings,
    ) -> torch.Tensor:
        """(P, J, 3) joints, mm, of people at centers (P, 3); the first `count` are there."""
        joints = self._regress(heatmaps, views, centers, settings)
        if settings.recenter:
            joints = self._recenter(joints, heatmaps, views, centers, count, settings)
        if settings.refine:
            joints = refine_joints(joints, heatmaps, views, settings.joint_threshold)
        return joints

    def _recenter(
        self,
        joints: torch.Tensor,
        heatmaps: torch.Tensor | PackedHeatmaps,
        views: Views,
        centers: torch.Tensor,
        count: int,
        settings: EstimatorSettings,
    ) -> torch.Tensor:
        """The joints (P, J, 3) again, in boxes around their mid-hips, of those far from `centers`."""
        roots = joints[:, list(self.joint_set.root)].mean(dim=1)
        gaps = (roots - centers).norm(dim=1)
        gaps[count:] = 0.0
        # To wait for a GPU's answer costs far less than to regress everybody again.
        moved = int((gaps > settings.recenter_distance).sum())
        if moved:
            farthest = gaps.topk(self._bucket(moved, len(gaps))).indices
            again = self._regress(heatmaps, views, roots[farthest], settings)
            far = gaps[farthest] > settings.recenter_distance
            joints[farthest] = torch.where(far[:, None, None], again, joints[farthest])
        return joints

    def _people_at_once(self, settings: EstimatorSettings) -> int:
        if self.model.device.type != "cpu":
            return settings.max_people
        return max(1, _VOXELS_AT_ONCE // math.prod(self.model.config.pict_struct.cube_size))

    def _regress(
        self,
        heatmaps: torch.Tensor | PackedHeatmaps,
        views: Views,
        centers: torch.Tensor,
        settings: EstimatorSettings,
    ) -> torch.Tensor:
        """(P, J, 3) answers of the pose net, mm, for people at centers (P, 3)."""
        parts = [
            self.model.regress(heatmaps, views, part, torch.zeros_like(part[:, 0], dtype=torch.long))
            for part in centers.split(self._people_at_once(settings))
        ]
        return torch.cat(parts)

    def _as_skeletons(self, rows: np.ndarray, least_support: float) -> list[Skeleton]:
        """Skeletons of rows (P, 4 J + 1) that hold joints, their support, and the root score."""
        count = len(self.joint_set)
        joints = rows[:, : 3 * count].reshape(-1, count, 3).astype(np.float64)
        return [
            Skeleton(
                joints=places,
                joint_scores=support,
                joint_valid=support >= least_support,
                score=float(np.clip(score, 0, 1)),
            )
            for places, support, score in zip(joints, rows[:, 3 * count : -1], rows[:, -1], strict=True)
        ]
