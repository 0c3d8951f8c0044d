"""VoxelPose: heatmaps of calibrated views -> proposals -> poses.

Tu, Wang and Zeng, "VoxelPose: Towards Multi-Camera 3D Human Pose Estimation in Wild Environment",
ECCV 2020.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from voxelpose_core.config import Config
from voxelpose_core.errors import InputError
from voxelpose_core.models.cuboid_proposal import (
    CuboidProposalNet,
    Proposals,
    select_proposals,
)
from voxelpose_core.models.pose_regression import PoseRegressionNet
from voxelpose_core.models.pose_resnet import PoseResNet
from voxelpose_core.voxel import (
    Boxes,
    PackedHeatmaps,
    SamplingGrid,
    Views,
    box_points,
    feature_volumes,
    fit_voxels,
    sampling_grid,
)


@dataclass(frozen=True)
class ProposalGrid:
    """The voxels in which people are looked for.

    Attributes:
        center: mm.
        size: edge lengths between the outermost voxels, mm.
        voxels: X, Y, Z.
    """

    center: tuple[float, float, float]
    size: tuple[float, float, float]
    voxels: tuple[int, int, int]


class VoxelPose(nn.Module):
    """The networks of one configuration: `backbone` (optional), `root_net` and `pose_net`.

    Args:
        config: the experiment.
        count_points_behind: sample mirrored points behind cameras, as the original does.
    """

    def __init__(self, config: Config, count_points_behind: bool = False):
        super().__init__()
        self.config = config
        self.count_points_behind = count_points_behind
        # dtype and memory format of the feature volumes, which `for_inference` sets; None: same
        # dtype as the heatmaps.
        self.volume_dtype: torch.dtype | None = None
        self.channels_last = False
        joints = config.network.num_joints
        if config.backbone_model:
            self.backbone = _build_backbone(config)
        self.root_net = CuboidProposalNet(joints)
        self.pose_net = PoseRegressionNet(joints, config.network.beta)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.root_net.parameters()).device

    def proposal_grid(
        self,
        center: Sequence[float] | np.ndarray | None = None,
        size: Sequence[float] | np.ndarray | None = None,
    ) -> ProposalGrid:
        """The proposal grid of a capture space (centre and size (3,) in mm; None: the configuration's).

        Weights with a VOXEL_PITCH keep that pitch and the number of voxels follows the space;
        original configurations stretch INITIAL_CUBE_SIZE over it.
        """
        settings = self.config.multi_person
        x, y, z = (float(v) for v in (settings.space_center if center is None else center))
        length, width, height = (float(v) for v in (settings.space_size if size is None else size))
        edges, voxels = (length, width, height), settings.initial_cube_size
        if settings.voxel_pitch is not None:
            edges, voxels = fit_voxels(edges, settings.voxel_pitch)
        return ProposalGrid((x, y, z), edges, voxels)

    def proposal_sampling(
        self, views: Views, grid: ProposalGrid, heatmap_size: tuple[int, int]
    ) -> SamplingGrid | None:
        """Where the views are sampled for the proposal grid, for cameras that do not move.

        Args:
            views: all views of one scene, present or not.
            heatmap_size: (width, height), pixels.
        """
        boxes = self._grid_boxes(grid, 1, views.C.device)
        return sampling_grid(views, boxes, heatmap_size, self.count_points_behind)

    def proposal_volumes(
        self,
        heatmaps: torch.Tensor | PackedHeatmaps,
        views: Views,
        grid: ProposalGrid,
        sampling: SamplingGrid | None = None,
    ) -> torch.Tensor:
        """(B, J, X, Y, Z) features of the proposal grid from heatmaps (B, V, J, H, W).

        `sampling`: `proposal_sampling` of this grid and these cameras.
        """
        boxes = self._grid_boxes(grid, heatmaps.shape[0], heatmaps.device, sampling)
        return self._volumes(heatmaps, views, boxes)

    def _grid_boxes(
        self,
        grid: ProposalGrid,
        scenes: int,
        device: torch.device,
        sampling: SamplingGrid | None = None,
    ) -> Boxes:
        """The proposal grid, once in each scene."""
        centers = torch.tensor(grid.center, dtype=torch.float32, device=device).expand(scenes, 3)
        scene = torch.arange(scenes, device=device)
        return Boxes(centers, scene, grid.size, grid.voxels, sampling)

    def propose(
        self,
        heatmaps: torch.Tensor | PackedHeatmaps,
        views: Views,
        grid: ProposalGrid,
        threshold: float | None = None,
        max_people: int | None = None,
        sampling: SamplingGrid | None = None,
    ) -> Proposals:
        """Find people: heatmaps (B, V, J, H, W) -> proposals (None: the configuration's values)."""
        root_volumes = self.root_net(self.proposal_volumes(heatmaps, views, grid, sampling))
        return self.select(root_volumes.float(), grid, threshold, max_people)

    def select(
        self,
        root_volumes: torch.Tensor,
        grid: ProposalGrid,
        threshold: float | None = None,
        max_people: int | None = None,
    ) -> Proposals:
        """Peaks of root volumes (B, X, Y, Z) of a grid (None: the configuration's values)."""
        settings = self.config.multi_person
        return select_proposals(
            root_volumes,
            grid.center,
            grid.size,
            settings.max_people_num if max_people is None else max_people,
            settings.threshold if threshold is None else threshold,
            # The originals' pose nets were trained around voxels.
            between_voxels=settings.voxel_pitch is not None,
        )

    def person_volumes(
        self,
        heatmaps: torch.Tensor | PackedHeatmaps,
        views: Views,
        centers: torch.Tensor,
        scene: torch.Tensor,
    ) -> torch.Tensor:
        """(N, J, X, Y, Z) features around N people at centers (N, 3) mm of scenes (N,)."""
        person = self.config.pict_struct
        boxes = Boxes(centers, scene, person.grid_size, person.cube_size)
        return self._volumes(heatmaps, views, boxes)

    def person_points(self, centers: torch.Tensor) -> torch.Tensor:
        """(N, M, 3) voxel positions, mm, of the person grids at centers (N, 3)."""
        person = self.config.pict_struct
        return box_points(centers, person.grid_size, person.cube_size)

    def regress(
        self,
        heatmaps: torch.Tensor | PackedHeatmaps,
        views: Views,
        centers: torch.Tensor,
        scene: torch.Tensor,
    ) -> torch.Tensor:
        """Joints (N, J, 3), mm, of N people at centers (N, 3) mm of scenes (N,)."""
        volumes = self.person_volumes(heatmaps, views, centers, scene)
        return self.pose_net(volumes, centers, self.config.pict_struct.grid_size)

    def _volumes(self, heatmaps: torch.Tensor | PackedHeatmaps, views: Views, boxes: Boxes) -> torch.Tensor:
        return feature_volumes(
            heatmaps,
            views,
            boxes,
            self.count_points_behind,
            self.volume_dtype,
            self.channels_last,
        )


def _build_backbone(config: Config) -> nn.Module:
    backbones = {"pose_resnet": PoseResNet}
    if config.backbone_model not in backbones:
        raise InputError(
            f"BACKBONE_MODEL '{config.backbone_model}' is unknown: expected one of "
            f"{', '.join(backbones)}, or empty"
        )
    return backbones[config.backbone_model](config.pose_resnet, config.network.num_joints)
