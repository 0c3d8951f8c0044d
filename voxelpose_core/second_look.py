"""The second look of the voxel nets: a search in the 2D detections that no skeleton explains.

Without their neighbours' joints, people stand out who were too near to others or too faint, and rays
of people already found no longer cross. So a low root score is enough, if the skeleton then fits
2D detections in two views.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from voxelpose_core.association import explained_views, may_be_inside, unexplained_people
from voxelpose_core.estimator_settings import EstimatorSettings
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.space import Space
from voxelpose_core.heatmap_people import SearchLimits
from voxelpose_core.pose_types import Skeleton, joints_of

# Minimum support in the second look, as a share of the first one's: the mean over many views is low
# for people that two of them detect.
_SUPPORT_SHARE = 0.5
# Views in which a skeleton must fit the 2D detections that were left over.
_FITTING_VIEWS = 2


@dataclass(frozen=True)
class SecondLook:
    """What is left to search after a first search.

    Attributes:
        cameras: V cameras.
        detections: per camera the 2D detections (P, J, 3) that no skeleton explains; None for a camera
            without a frame.
        limits: what the search demands of people.
        joint_count: J.
        least_score: keypoints with a lower score do not count.
    """

    cameras: Sequence[Camera]
    detections: list[np.ndarray | None]
    limits: SearchLimits
    joint_count: int
    least_score: float

    @classmethod
    def after(
        cls,
        skeletons: Sequence[Skeleton],
        keypoints: list[np.ndarray | None],
        cameras: Sequence[Camera],
        space: Space,
        joint_count: int,
        settings: EstimatorSettings,
    ) -> SecondLook | None:
        """What the skeletons leave unexplained; None where no person in the capture space is among it.

        Args:
            skeletons: the first search's.
            keypoints: per camera all 2D detections (P, J, 3) x px, y px, score, or None.
            cameras: V cameras.
            space: capture space.
            joint_count: J.
            settings: thresholds and limits.
        """
        least_score = settings.keypoint_threshold
        joints = joints_of(skeletons, joint_count)
        rest = unexplained_people(cameras, joints, keypoints, least_score)
        if not may_be_inside(cameras, rest, space, least_score):
            return None
        limits = SearchLimits(
            root_score=settings.second_look_threshold,
            support=_SUPPORT_SHARE * settings.support_threshold,
            people=min(settings.max_people, sum(len(p) for p in rest if p is not None)),
        )
        return cls(cameras, rest, limits, joint_count, least_score)

    def fitting(self, skeletons: Sequence[Skeleton]) -> list[Skeleton]:
        """Those of the skeletons found that fit 2D detections in two views."""
        joints = joints_of(skeletons, self.joint_count)
        views = explained_views(self.cameras, joints, self.detections, self.least_score)
        return [s for s, count in zip(skeletons, views, strict=True) if count >= _FITTING_VIEWS]
