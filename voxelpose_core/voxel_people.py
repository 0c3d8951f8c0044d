"""People by the voxel nets (VoxelPose): in 2D detections, or in images by weights with a backbone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from voxelpose_core.association import owned_views
from voxelpose_core.config import Config
from voxelpose_core.detection_heatmaps import DetectionHeatmaps
from voxelpose_core.estimator_settings import EstimatorSettings
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.image_turns import turned_size, upright_turns
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.geometry.space import Space
from voxelpose_core.heatmap_people import HeatmapPeople, SearchLimits
from voxelpose_core.image_backbone import ImageBackbone
from voxelpose_core.models.voxelpose import VoxelPose
from voxelpose_core.pose_types import Skeleton, joints_of
from voxelpose_core.second_look import SecondLook
from voxelpose_core.selection import floor_of, split_at_floor, supported, without_doubles
from voxelpose_core.skeletons import get_joint_set
from voxelpose_core.stage_clock import StageClock
from voxelpose_core.voxel import PackedHeatmaps, Views, implementation, pack_heatmaps

# Pixels of a heatmap where the rig, not the configuration, decides its shape, and its stride.
_HEATMAP_AREA = 240 * 136
_HEATMAP_STRIDE = 4

# People, and those that the floor rule drops.
Found = tuple[list[Skeleton], list[Skeleton]]


class VoxelPeople:
    """Finds people in front of the cameras of one rig with the voxel nets.

    Args:
        model: for inference, on its device.
        rig: the cameras.
        space: capture space.
    """

    def __init__(self, model: VoxelPose, rig: Rig, space: Space):
        self.model = model
        self.device = model.device
        self.joint_set = get_joint_set(model.config.joint_set_name)
        self.rig, self.space = rig, space
        turns = upright_turns(rig.cameras)
        self.network_size, self.heatmap_size = input_sizes(model.config, rig.cameras, turns)
        self.views = Views.from_cameras(rig.cameras, self.network_size, self.heatmap_size, self.device, turns)
        self.nets = HeatmapPeople(model, self.views, space, self.heatmap_size)
        self.backbone = None
        if hasattr(model, "backbone"):
            self.backbone = ImageBackbone(model.backbone, self.network_size, turns, self.device)

    @staticmethod
    def own_space(model: VoxelPose) -> Space | None:
        """The space that fixed-grid weights were trained for; others have none."""
        settings = model.config.multi_person
        if settings.voxel_pitch is not None:
            return None
        return Space(settings.space_center, settings.space_size)

    def description(self) -> dict[str, Any]:
        """What runs: kernel, precision and grids; plain values."""
        return {
            "people": "voxels",
            "voxel_kernel": implementation(self.device),
            "precision": str(self.model.volume_dtype).removeprefix("torch."),
            "proposal_voxels": list(self.nets.grid.voxels),
            "person_voxels": list(self.model.config.pict_struct.cube_size),
            "heatmap_size": list(self.heatmap_size),
        }

    @torch.inference_mode()
    def warm_up(self, settings: EstimatorSettings) -> None:
        """Run the networks once on nothing, for the numbers of people that they meet most."""
        width, height = self.heatmap_size
        shape = (1, len(self.views), len(self.joint_set), height, width)
        self.nets.warm_up(torch.zeros(shape, device=self.device), self.views, settings)
        if self.backbone:
            self.backbone.heatmaps([None] * len(self.views))

    def find(
        self,
        keypoints: list[np.ndarray | None],
        settings: EstimatorSettings,
        clock: StageClock,
        previous: np.ndarray | None = None,
    ) -> Found:
        """People in the 2D detections of one frame set, and those that the floor rule drops.

        Args:
            keypoints: per camera (P, J, 3) x px, y px, score; None for a camera without a frame.
            settings: thresholds and limits.
            clock: told when a stage is over.
            previous: is not used.
        """
        skeletons, below = self._search(keypoints, _first_limits(settings), settings, clock)
        if settings.second_look:
            again, below_again = self._look_again(skeletons, keypoints, settings, clock)
            skeletons = without_doubles(skeletons + again, settings.duplicate_distance)
            skeletons = skeletons[: settings.max_people]
            # Both looks find the same person below the floor.
            below = without_doubles(below + below_again, settings.duplicate_distance)
        return self._without_ghosts(skeletons, keypoints, settings), below

    @torch.inference_mode()
    def find_in_images(
        self,
        images: Sequence[np.ndarray | None],
        settings: EstimatorSettings,
        clock: StageClock,
    ) -> Found:
        """`find` in the images of one frame set, by weights with a backbone.

        Args:
            images: per camera BGR uint8 (H, W, 3); None for a camera without a frame.
            settings, clock: see `find`.
        """
        views = self._present_views(images)
        assert self.backbone is not None  # the estimator asks only weights with one
        heatmaps: torch.Tensor | PackedHeatmaps = self.backbone.heatmaps(images)
        clock.lap("backbone", self.device)
        heatmaps = pack_heatmaps(heatmaps)
        limits = _first_limits(settings)
        candidates = self.nets.candidates(heatmaps, views, limits, settings)
        clock.lap("proposals", self.device)
        skeletons = []
        if candidates.count:
            skeletons = self.nets.skeletons(candidates, heatmaps, heatmaps, views, settings)
        clock.lap("poses")
        return self._select(skeletons, limits, settings)

    @torch.inference_mode()
    def _search(
        self,
        keypoints: list[np.ndarray | None],
        limits: SearchLimits,
        settings: EstimatorSettings,
        clock: StageClock,
    ) -> Found:
        """People in 2D detections who meet the limits."""
        views = self._present_views(keypoints)
        drawn = DetectionHeatmaps.of(
            keypoints,
            self.views.to_heatmap,
            len(self.joint_set),
            settings.keypoint_threshold,
            self.heatmap_size,
        )
        heatmaps: torch.Tensor | PackedHeatmaps = drawn.with_scores()
        clock.lap("heatmaps", self.device)
        heatmaps = pack_heatmaps(heatmaps)
        candidates = self.nets.candidates(heatmaps, views, limits, settings)
        clock.lap("proposals", self.device)
        skeletons = []
        if candidates.count:
            peaks: torch.Tensor | PackedHeatmaps = heatmaps
            if self._locates_by_equal_peaks:
                peaks = drawn.with_equal_peaks()
                clock.lap("heatmaps", self.device)
                peaks = pack_heatmaps(peaks)
            skeletons = self.nets.skeletons(candidates, heatmaps, peaks, views, settings)
        clock.lap("poses")
        return self._select(skeletons, limits, settings)

    @property
    def _locates_by_equal_peaks(self) -> bool:
        """Original configurations come from training with scores for peaks."""
        return self.model.config.multi_person.voxel_pitch is not None

    def _look_again(
        self,
        skeletons: list[Skeleton],
        keypoints: list[np.ndarray | None],
        settings: EstimatorSettings,
        clock: StageClock,
    ) -> Found:
        """People in the 2D detections that the skeletons do not explain."""
        second = SecondLook.after(
            skeletons, keypoints, self.rig.cameras, self.space, len(self.joint_set), settings
        )
        if second is None:
            return [], []
        above, below = self._search(second.detections, second.limits, settings, clock)
        return second.fitting(above), second.fitting(below)

    def _select(self, skeletons: list[Skeleton], limits: SearchLimits, settings: EstimatorSettings) -> Found:
        """Those with enough support, each person once, apart from those below the floor."""
        floor = floor_of(self.rig, self.space) - settings.floor_tolerance
        above, below = split_at_floor(supported(skeletons, limits.support), floor)
        distance = settings.duplicate_distance
        return without_doubles(above, distance), without_doubles(below, distance)

    def _without_ghosts(
        self,
        skeletons: list[Skeleton],
        keypoints: list[np.ndarray | None],
        settings: EstimatorSettings,
    ) -> list[Skeleton]:
        """Without those where rays of other people cross: all that they fit belongs to others."""
        joints = joints_of(skeletons, len(self.joint_set))
        owned = owned_views(self.rig.cameras, joints, keypoints, settings.keypoint_threshold)
        return [s for s, count in zip(skeletons, owned, strict=True) if count]

    def _present_views(self, frames: Sequence[np.ndarray | None]) -> Views:
        """The views, of which those without a frame are absent."""
        present = [frame is not None for frame in frames]
        # Not kept for each set of cameras: small tensors that stay between the large ones of a
        # frame leave holes in the heap, a third of the process's memory after some minutes.
        return self.views if all(present) else self.views.with_present(present)


def input_sizes(
    config: Config, cameras: Sequence[Camera], quarter_turns: Sequence[int]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Size of the network's input and of the heatmaps: the configuration's, or as the rig's images.

    Args:
        config: of the weights; with a VOXEL_PITCH they take heatmaps of any shape.
        cameras: V cameras.
        quarter_turns: per camera, clockwise, by which its images are turned upright.

    Returns:
        (width, height) of both, pixels.
    """
    if config.multi_person.voxel_pitch is None:
        return config.network.image_size, config.network.heatmap_size
    sizes = [
        turned_size(camera.image_size, turns) for camera, turns in zip(cameras, quarter_turns, strict=True)
    ]
    aspect = float(np.median([width / height for width, height in sizes]))
    width = 8 * max(1, round((_HEATMAP_AREA * aspect) ** 0.5 / 8))
    height = 8 * max(1, round((_HEATMAP_AREA / aspect) ** 0.5 / 8))
    return (width * _HEATMAP_STRIDE, height * _HEATMAP_STRIDE), (width, height)


def _first_limits(settings: EstimatorSettings) -> SearchLimits:
    return SearchLimits(settings.proposal_threshold, settings.support_threshold, settings.max_people)
