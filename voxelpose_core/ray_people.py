"""People from 2D detections by the ray model: proposals, poses, confidence, and who stays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from voxelpose_core.estimator_settings import EstimatorSettings
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.geometry.space import Space
from voxelpose_core.models.ray_confidence import suppress
from voxelpose_core.models.ray_pose import RayPose
from voxelpose_core.models.rays import SUPPRESSION, detection_pairs, ray_arrays
from voxelpose_core.pose_types import Skeleton
from voxelpose_core.ray_runtime import People, RayRuntime, ray_runtime
from voxelpose_core.selection import floor_of, split_at_floor
from voxelpose_core.skeletons import get_joint_set
from voxelpose_core.stage_clock import StageClock
from voxelpose_core.voxel.views import PRESENT, Views

# People are looked for so far outside the capture space, mm: the place of a proposal is rough.
_MARGIN = 500.0
# An expected pose is that of a person whose joints are nearer in the mean, mm.
_NEAR_PREVIOUS = 300.0
# Numbers of detections per view, and of candidates, that are run before the first frame set comes.
_WARM_UP = ((1, 1), (3, 8), (6, 16))


class RayPeople:
    """Finds people in the 2D detections of one rig.

    Args:
        model: the ray model, on its device.
        rig: the cameras.
        space: where people are looked for.
        runtime: runs the model; None: the best one for where it lies.
    """

    def __init__(self, model: RayPose, rig: Rig, space: Space, runtime: RayRuntime | None = None):
        self.model = model
        self.runtime = runtime or ray_runtime(model)
        self._joint_set = get_joint_set(model.config.joint_set_name)
        self._joint_count = len(self._joint_set)
        self._cameras = rig.cameras
        self._floor = floor_of(rig, space)
        self._room = Space(space.center, space.size + 2 * _MARGIN)
        # Rays need no heatmaps: of the views only the lenses and the images' sizes are read.
        self._views = Views.from_cameras(rig.cameras, (4, 4), (1, 1)).table[0].numpy()

    def description(self) -> dict[str, Any]:
        """What runs, in plain values."""
        return {
            "people": "rays",
            "runtime": self.runtime.name,
            "proposals": self.model.config.proposals,
        }

    def warm_up(self, settings: EstimatorSettings) -> None:
        """Run the model on nothing, for some of the sizes that it will meet."""
        cameras = self._camera_table([True] * len(self._cameras))
        for detections, candidates in _WARM_UP:
            nobody = [np.zeros((detections, self._joint_count, 3))] * len(self._cameras)
            rays = ray_arrays(self._cameras, nobody, 1.0, self._joint_count)
            self._proposals(cameras, *rays)
            centers = np.tile(np.float32(self._room.center), (candidates, 1))
            self.runtime.solve(cameras, *rays, centers, *self._last_poses(centers))

    def find(
        self,
        keypoints: Sequence[np.ndarray | None],
        settings: EstimatorSettings,
        clock: StageClock,
        previous: np.ndarray | None = None,
    ) -> tuple[list[Skeleton], list[Skeleton]]:
        """People of one frame set, the most confident first, and those that the floor rule drops.

        Args:
            keypoints: per camera (P, J, 3) x px, y px, score; None for a camera without a frame.
            settings: thresholds; `second_look`, `recenter` and `refine` have no meaning here.
            clock: told when a stage is over.
            previous: (Q, J, 3), mm, where a tracker expects its people; None: it expects no one.
        """
        threshold = settings.proposal_threshold
        if threshold is None:
            threshold = self.model.config.confidence_threshold
        cameras = self._camera_table([people is not None for people in keypoints])
        rays = ray_arrays(self._cameras, keypoints, settings.keypoint_threshold, self._joint_count)
        clock.lap("rays")
        centers = self._proposals(cameras, *rays)
        if previous is not None:
            centers = np.concatenate([centers, self._expected(previous, centers)])
        clock.lap("proposals")
        if len(centers) == 0:
            clock.lap("poses")
            return [], []
        people = self.runtime.solve(cameras, *rays, centers, *self._last_poses(centers))
        stays = suppress(
            people.joints, people.confidence, people.shares, threshold, settings.duplicate_distance
        )
        people = People(*(values[stays] for values in people))
        if previous is not None and settings.last_pose:
            people = self._with_last_poses(people, previous, cameras, rays)
        people = People(*(values.astype(np.float64) for values in people))
        clock.lap("poses")
        skeletons = sorted(self._skeletons(people, settings), key=lambda s: -s.score)
        above, below = split_at_floor(skeletons, self._floor - settings.floor_tolerance)
        return above[: settings.max_people], below

    def _camera_table(self, present: Sequence[bool]) -> np.ndarray:
        """(V, 36), see `Views.table`."""
        table = self._views.copy()
        table[:, PRESENT] = present
        return table

    def _proposals(self, cameras, directions, scores) -> np.ndarray:
        """(M, 3) places in or near the space where a person may stand, mm."""
        pairs = detection_pairs(*scores.shape[:2])
        centers, votes = self.runtime.propose(cameras, directions, scores, pairs)
        return centers[self._room.contains(centers) & (votes > 0)]

    def _expected(self, previous: np.ndarray, centers: np.ndarray) -> np.ndarray:
        """Mid-hips (M, 3), mm, of expected people that no proposal (K, 3) is near.

        They are proposals as others are: no person is found there that the rays do not show.
        """
        roots = self._joint_set.root_of(previous)
        gaps = np.linalg.norm(roots[:, None] - centers[None], axis=-1)
        alone = gaps.min(axis=1, initial=np.inf) > SUPPRESSION
        return roots[alone & self._room.contains(roots)]

    def _with_last_poses(
        self,
        people: People,
        previous: np.ndarray,
        cameras: np.ndarray,
        rays: tuple[np.ndarray, np.ndarray],
    ) -> People:
        """The same people, their joints estimated again beside their expected poses (Q, J, 3).

        Who is there was decided without: the weights that ship were trained with last poses of people only,
        so that their confidence takes one as a proof.
        """
        gaps = np.linalg.norm(people.joints[:, None] - previous[None], axis=-1).mean(axis=-1)
        own, expected = linear_sum_assignment(gaps)
        near = gaps[own, expected] < _NEAR_PREVIOUS
        own, expected = own[near], expected[near]
        if len(own) == 0:
            return people
        centers = self._joint_set.root_of(people.joints[own])
        again = self.runtime.solve(cameras, *rays, centers, previous[expected], np.ones(len(own), bool))
        joints, covariances, _, support, _ = (values.copy() for values in people)
        joints[own], covariances[own], support[own] = again.joints, again.covariances, again.support
        return people._replace(joints=joints, covariances=covariances, support=support)

    def _last_poses(self, centers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Poses (M, J, 3) of the last frame, mm, and which candidates have one: none."""
        count = len(centers)
        return np.zeros((count, self._joint_count, 3), np.float32), np.zeros(count, bool)

    def _skeletons(self, people: People, settings: EstimatorSettings) -> list[Skeleton]:
        return [
            Skeleton(
                joints=joints,
                joint_scores=support,
                joint_valid=support >= settings.joint_threshold,
                score=float(score),
                joint_covariances=covariance,
            )
            for joints, covariance, score, support, _ in zip(*people, strict=True)
        ]
