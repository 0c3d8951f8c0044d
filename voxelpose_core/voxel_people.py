"""People by the voxel nets (VoxelPose): from heatmaps of a backbone, or drawn of 2D detections."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from voxelpose_core.association import (
    explained_views,
    may_be_inside,
    owned_views,
    unexplained_people,
)
from voxelpose_core.estimator_settings import EstimatorSettings
from voxelpose_core.geometry.image_turns import turn_image, turned_size, upright_turns
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.geometry.space import Space
from voxelpose_core.heatmaps import render_keypoints
from voxelpose_core.images import normalize, warp_on_device, warp_to_network
from voxelpose_core.models.refinement import joint_heat, refine_joints
from voxelpose_core.models.voxelpose import VoxelPose
from voxelpose_core.pose_types import Skeleton
from voxelpose_core.selection import floor_of, split_at_floor, supported, without_doubles
from voxelpose_core.skeletons import get_joint_set
from voxelpose_core.stage_clock import StageClock
from voxelpose_core.voxel import PackedHeatmaps, Views, implementation, pack_heatmaps

# Pixels of a heatmap where the rig, not the configuration, decides its shape, and its stride.
_HEATMAP_AREA = 240 * 136
_HEATMAP_STRIDE = 4
# Voxels of people whose poses are regressed at once on a CPU: more leave the caches and take memory
# without being faster. A GPU takes everybody at once, in one of a few shapes.
_VOXELS_AT_ONCE = 2**18
_PEOPLE_BUCKETS = (1, 2, 4, 8)


class VoxelPeople:
    """Finds people with the voxel nets before the cameras of one rig.

    Args:
        model: for inference, on its device.
        rig: the cameras.
        space: capture space; None: the one that fixed-grid weights were trained for, else the rig's.
    """

    def __init__(self, model: VoxelPose, rig: Rig, space: Space):
        self.model = model
        self.device = model.device
        self.joint_set = get_joint_set(model.config.joint_set_name)
        self.rig, self.space = rig, space
        self.grid = model.proposal_grid(space.center, space.size)
        self.quarter_turns = upright_turns(rig.cameras)
        self.network_size, self.heatmap_size = self._input_sizes()
        self.views = Views.from_cameras(
            rig.cameras, self.network_size, self.heatmap_size, self.device, self.quarter_turns
        )
        self.sampling = model.proposal_sampling(self.views, self.grid, self.heatmap_size)

    @staticmethod
    def own_space(model: VoxelPose) -> Space | None:
        """The space that fixed-grid weights were trained for; others have none."""
        settings = model.config.multi_person
        if settings.voxel_pitch is not None:
            return None
        return Space(settings.space_center, settings.space_size)

    @property
    def has_backbone(self) -> bool:
        """The weights find 2D joints in images themselves; no detector is used."""
        return hasattr(self.model, "backbone")

    def description(self) -> dict[str, Any]:
        """What runs: kernel, precision and grids; plain values."""
        return {
            "people": "voxels",
            "voxel_kernel": implementation(self.device),
            "precision": str(self.model.volume_dtype).removeprefix("torch."),
            "proposal_voxels": list(self.grid.voxels),
            "person_voxels": list(self.model.config.pict_struct.cube_size),
            "heatmap_size": list(self.heatmap_size),
        }

    @torch.inference_mode()
    def warm_up(self, settings: EstimatorSettings) -> None:
        """Run the networks once on nothing, for the numbers of people that they meet most."""
        width, height = self.heatmap_size
        heatmaps = torch.zeros(1, len(self.views), len(self.joint_set), height, width)
        heatmaps = heatmaps.to(self.device)
        limit = settings.max_people
        self.model.propose(
            heatmaps, self.views, self.grid, max_people=limit, sampling=self.sampling
        )
        center = heatmaps.new_tensor(self.grid.center)
        most = min(limit, self._people_at_once(settings))
        for people in sorted({min(bucket, most) for bucket in (*_PEOPLE_BUCKETS, most)}):
            self._poses(heatmaps, self.views, center.expand(people, 3), people, settings)
        if self.has_backbone:
            self.model.backbone(self._network_input([None] * len(self.views)))

    def find(
        self,
        keypoints: list[np.ndarray | None],
        settings: EstimatorSettings,
        clock: StageClock,
        previous: np.ndarray | None = None,
    ) -> tuple[list[Skeleton], list[Skeleton]]:
        """People in the 2D detections of one frame set, and those whom the floor rule drops.

        Args:
            keypoints: per camera (P, J, 3) x px, y px, score; None for a camera without a frame.
            settings: thresholds and limits.
            clock: told when a stage is over.
            previous: has no meaning here.
        """
        present = [people is not None for people in keypoints]
        skeletons, below = self._find_people(keypoints, present, _Look.first(settings), settings, clock)
        if settings.second_look:
            again, below_again = self._look_again(skeletons, keypoints, present, settings, clock)
            skeletons = without_doubles(skeletons + again, settings.duplicate_distance)
            skeletons = skeletons[: settings.max_people]
            # Both looks find the same person below the floor.
            below = without_doubles(below + below_again, settings.duplicate_distance)
        return self._without_borrowed(skeletons, keypoints, settings), below

    @torch.inference_mode()
    def find_in_images(
        self,
        images: Sequence[np.ndarray | None],
        settings: EstimatorSettings,
        clock: StageClock,
    ) -> tuple[list[Skeleton], list[Skeleton]]:
        """`find` in the images of one frame set, by weights with a backbone."""
        present = [image is not None for image in images]
        heatmaps = self.model.backbone(self._network_input(images))[None]
        clock.lap("backbone", self.device)
        look = _Look.first(settings)
        return self._run_networks(heatmaps, None, present, look, settings, clock)

    def _input_sizes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Network and heatmap size: the configuration's, or shaped like the rig's images."""
        network = self.model.config.network
        if self.model.config.multi_person.voxel_pitch is None:
            return network.image_size, network.heatmap_size
        sizes = [
            turned_size(camera.image_size, turns)
            for camera, turns in zip(self.rig.cameras, self.quarter_turns, strict=True)
        ]
        aspect = float(np.median([width / height for width, height in sizes]))
        width = 8 * max(1, round((_HEATMAP_AREA * aspect) ** 0.5 / 8))
        height = 8 * max(1, round((_HEATMAP_AREA / aspect) ** 0.5 / 8))
        return (width * _HEATMAP_STRIDE, height * _HEATMAP_STRIDE), (width, height)

    @torch.inference_mode()
    def _find_people(
        self,
        keypoints: list[np.ndarray | None],
        present: Sequence[bool],
        look: _Look,
        settings: EstimatorSettings,
        clock: StageClock,
    ) -> tuple[list[Skeleton], list[Skeleton]]:
        """People, and those whom the floor rule drops."""
        xy, scores = self._heatmap_points(keypoints, settings.keypoint_threshold)
        heatmaps = render_keypoints(xy, scores, self.heatmap_size)
        clock.lap("heatmaps", self.device)

        def with_peaks_of_one() -> torch.Tensor:
            peaks = render_keypoints(xy, (scores > 0).to(scores.dtype), self.heatmap_size)
            clock.lap("heatmaps", self.device)
            return peaks

        # Original configurations come from training with scores.
        original = self.model.config.multi_person.voxel_pitch is None
        peaks = None if original else with_peaks_of_one
        return self._run_networks(heatmaps, peaks, present, look, settings, clock)

    def _look_again(
        self,
        skeletons: list[Skeleton],
        keypoints: list[np.ndarray | None],
        present: Sequence[bool],
        settings: EstimatorSettings,
        clock: StageClock,
    ) -> tuple[list[Skeleton], list[Skeleton]]:
        """People in the 2D detections that no skeleton explains, and those below the floor.

        Without their neighbours' joints, those stand out who were too near to others or too faint,
        and rays of people already found no longer cross. So a low root score is enough, if the
        skeleton is the image of 2D people in two views.
        """
        cameras, least_score = self.rig.cameras, settings.keypoint_threshold
        rest = unexplained_people(cameras, self._joints(skeletons), keypoints, least_score)
        if not may_be_inside(cameras, rest, self.space, least_score):
            return [], []
        most = min(settings.max_people, sum(len(p) for p in rest if p is not None))
        # Less support, too: the mean over many views is low for people whom two of them detect.
        least_support = settings.support_threshold / 2
        look = _Look(settings.second_look_threshold, least_support, most)
        found = self._find_people(rest, present, look, settings, clock)

        def fitting(skeletons: list[Skeleton]) -> list[Skeleton]:
            views = explained_views(cameras, self._joints(skeletons), rest, least_score)
            return [s for s, count in zip(skeletons, views, strict=True) if count >= 2]

        above, below = map(fitting, found)
        return above, below

    def _without_borrowed(
        self,
        skeletons: list[Skeleton],
        keypoints: list[np.ndarray | None],
        settings: EstimatorSettings,
    ) -> list[Skeleton]:
        """Drop phantoms where rays of others cross: all that they fit is somebody else's image."""
        least_score = settings.keypoint_threshold
        owned = owned_views(self.rig.cameras, self._joints(skeletons), keypoints, least_score)
        return [s for s, count in zip(skeletons, owned, strict=True) if count]

    def _joints(self, skeletons: list[Skeleton]) -> np.ndarray:
        """(S, J, 3), mm."""
        return np.array([s.joints for s in skeletons]).reshape(-1, len(self.joint_set), 3)

    def _network_input(self, images: Sequence[np.ndarray | None]) -> torch.Tensor:
        """(V, 3, H, W) normalized and upright; zeros for an absent view."""
        width, height = self.network_size
        batch = torch.zeros(len(images), 3, height, width, device=self.device)
        for index, image in enumerate(images):
            if image is None:
                continue
            image = turn_image(image, self.quarter_turns[index])
            if self.device.type == "cpu":
                warped = torch.from_numpy(warp_to_network(image, self.network_size))
            else:
                # From pinned memory images travel while the next one is read.
                pinned = torch.from_numpy(image).pin_memory()
                on_device = pinned.to(self.device, non_blocking=True)
                warped = warp_on_device(on_device, self.network_size)
            batch[index] = normalize(warped)
        return batch

    def _heatmap_points(
        self, keypoints: Sequence[np.ndarray | None], least_score: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(1, V, P, J, 2) heatmap pixels of all 2D people, and (1, V, P, J) their scores, 0 where a
        keypoint does not count."""
        joints = len(self.joint_set)
        most = max((len(people) for people in keypoints if people is not None), default=0)
        padded = np.zeros((1, len(keypoints), max(most, 1), joints, 3), dtype=np.float32)
        for index, people in enumerate(keypoints):
            if people is not None and len(people):
                padded[0, index, : len(people)] = people
        points = torch.from_numpy(padded).to(self.device)
        affine = self.views.to_heatmap[:, :, None, None]
        xy = (affine[..., :2] @ points[..., :2, None])[..., 0] + affine[..., 2]
        return xy, points[..., 2] * (points[..., 2] >= least_score)

    def _run_networks(
        self,
        heatmaps: torch.Tensor,
        draw_peaks: Callable[[], torch.Tensor] | None,
        present: Sequence[bool],
        look: _Look,
        settings: EstimatorSettings,
        clock: StageClock,
    ) -> tuple[list[Skeleton], list[Skeleton]]:
        """People found in heatmaps (1, V, J, H, W) whose peaks are scores, and those below the floor.

        Whether somebody is there is a matter of confidence. Where the joints are of somebody who is,
        is not: with scores for peaks, forearms that few views show are drawn to the trunk. So joints
        are looked for in heatmaps with peaks of 1, if `draw_peaks` makes some.
        """
        heatmaps = pack_heatmaps(heatmaps)
        # Not kept for each set of cameras: small tensors that stay between the large ones of a
        # frame leave holes in the heap, a third of the process's memory after some minutes.
        views = self.views if all(present) else self.views.with_present(present)
        proposals = self.model.propose(
            heatmaps, views, self.grid, look.threshold, settings.max_people, self.sampling
        )
        # The strongest come first: the valid ones are the first so many.
        count = min(int(proposals.valid[0].sum()), look.max_people)
        clock.lap("proposals", self.device)
        if count == 0:
            clock.lap("poses")
            return [], []
        people = self._bucket(count, proposals.centers.shape[1])
        peaks = pack_heatmaps(draw_peaks()) if draw_peaks else heatmaps
        joints = self._poses(peaks, views, proposals.centers[0, :people], count, settings)
        support = joint_heat(joints, heatmaps, views)
        # One transfer from the device for all that there is to know.
        scores = proposals.scores[0, :people, None]
        answer = torch.cat([joints.flatten(1), support, scores], dim=1)[:count].cpu()
        clock.lap("poses")
        found = supported(self._skeletons(answer.numpy(), settings.joint_threshold), look.least_support)
        above, below = split_at_floor(found, floor_of(self.rig, self.space) - settings.floor_tolerance)
        distance = settings.duplicate_distance
        return without_doubles(above, distance), without_doubles(below, distance)

    def _bucket(self, count: int, most: int) -> int:
        """How many people are computed for `count` of them."""
        if self.device.type == "cpu":
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
        if self.device.type != "cpu":
            return settings.max_people
        return max(1, _VOXELS_AT_ONCE // math.prod(self.model.config.pict_struct.cube_size))

    def _regress(
        self,
        heatmaps: torch.Tensor | PackedHeatmaps,
        views: Views,
        centers: torch.Tensor,
        settings: EstimatorSettings,
    ) -> torch.Tensor:
        parts = [
            self.model.regress(heatmaps, views, part, torch.zeros_like(part[:, 0], dtype=torch.long))
            for part in centers.split(self._people_at_once(settings))
        ]
        return torch.cat(parts)

    def _skeletons(self, answer: np.ndarray, least_support: float) -> list[Skeleton]:
        """Of rows (P, 4 J + 1) that hold joints, their support, and the root score."""
        count = len(self.joint_set)
        joints = answer[:, : 3 * count].reshape(-1, count, 3).astype(np.float64)
        return [
            Skeleton(
                joints=places,
                joint_scores=support,
                joint_valid=support >= least_support,
                score=float(np.clip(score, 0, 1)),
            )
            for places, support, score in zip(
                joints, answer[:, 3 * count : -1], answer[:, -1], strict=True
            )
        ]


@dataclass(frozen=True)
class _Look:
    """What a look for people asks of them: root score, support, and to be so many at most."""

    threshold: float | None
    least_support: float
    max_people: int

    @classmethod
    def first(cls, settings: EstimatorSettings) -> _Look:
        return cls(settings.proposal_threshold, settings.support_threshold, settings.max_people)
