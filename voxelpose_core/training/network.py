"""VoxelPose with its losses, as a training step runs it (Tu et al., ECCV 2020)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from voxelpose_core.config import Config
from voxelpose_core.datasets.batches import Batch
from voxelpose_core.devices import select_dtype
from voxelpose_core.heatmaps import render_keypoints
from voxelpose_core.models.cuboid_proposal import Proposals
from voxelpose_core.models.losses import (
    coordinate_loss,
    heatmap_loss,
    mean_over_scenes,
    root_loss,
    volume_cross_entropy,
)
from voxelpose_core.models.voxelpose import VoxelPose
from voxelpose_core.voxel import PackedHeatmaps, box_points, pack_heatmaps

# A proposal belongs to the nearest person within this distance of it, mm (the original's).
MATCH_DISTANCE = 500.0
# Standard deviation that heatmaps.py draws with unless told otherwise; NETWORK.SIGMA is relative.
_RENDER_SIGMA = 3.0
# People whose volumes are evaluated at once: 64^3 voxels of more would fill a small GPU.
_PEOPLE_AT_ONCE = 10


@dataclass
class Outcome:
    """What a network made of a batch of B frames.

    Attributes:
        loss_2d: (), mean squared error of heatmaps, 0 where none are learned from images.
        loss_3d: (), mean squared error of root volumes.
        loss_cord: (), L1 of joints, mm, with the cross-entropy beside it where LOSS asks for it.
        heatmaps: (B, V, J, H, W), what the network saw.
        root_volumes: (B, X, Y, Z).
        joints: (N, J, 3), mm, of N people.
        scores: (N,) root scores.
        scene: (N,) which frame each is in.
    """

    loss_2d: torch.Tensor
    loss_3d: torch.Tensor
    loss_cord: torch.Tensor
    heatmaps: torch.Tensor | None = None
    root_volumes: torch.Tensor | None = None
    joints: torch.Tensor | None = None
    scores: torch.Tensor | None = None
    scene: torch.Tensor | None = None

    @property
    def loss(self) -> torch.Tensor:
        """(), the sum, which is trained on."""
        return self.loss_2d + self.loss_3d + self.loss_cord

    def losses(self) -> dict[str, float]:
        """The sum and its parts as numbers, waiting for the device once."""
        names = ("loss", "loss_2d", "loss_3d", "loss_cord")
        values = torch.stack([getattr(self, name).detach().float() for name in names])
        return dict(zip(names, values.tolist(), strict=True))


class TrainedNetwork(nn.Module):
    """VoxelPose with its losses: what a training step runs, and what DDP wraps.

    The backbone is frozen and stays in eval mode unless TRAIN.BACKBONE says otherwise.

    Args:
        model: the networks.
        config: of the experiment, which need not be the one that the model was made for.
    """

    def __init__(self, model: VoxelPose, config: Config):
        super().__init__()
        self.model = model
        self.config = config
        space = config.multi_person
        self.grid = model.proposal_grid(space.space_center, space.space_size)
        self._trains_backbone = config.train.backbone and hasattr(model, "backbone")
        if hasattr(model, "backbone"):
            model.backbone.requires_grad_(self._trains_backbone)

    def train(self, mode: bool = True) -> TrainedNetwork:
        """Training or eval mode; see the class on the backbone."""
        super().train(mode)
        if hasattr(self.model, "backbone") and not self._trains_backbone:
            self.model.backbone.eval()
        return self

    def forward(self, batch: Batch | None) -> Outcome:
        """Losses of a training batch. None, where no frame could be read: losses of 0."""
        if batch is None:
            zero = self._nothing()
            return Outcome(zero, zero, zero)
        heatmaps = self.heatmaps(batch)
        # Packed once for both nets.
        packed = pack_heatmaps(heatmaps)
        root_volumes = self.root_volumes(packed, batch)
        loss_3d = root_loss(root_volumes, self._points(heatmaps), batch.roots, batch.people)
        centers, scores, scene, person = self._matched_people(root_volumes, batch)
        joints, loss_cord = centers.new_zeros(0, heatmaps.shape[2], 3), self._nothing()
        if len(centers):
            joints, loss_cord = self._pose_loss(packed, batch, centers, scene, person)
        return Outcome(
            self._heatmap_loss(heatmaps, batch),
            loss_3d,
            loss_cord,
            heatmaps.detach(),
            root_volumes.detach(),
            joints.detach(),
            scores,
            scene,
        )

    @torch.no_grad()
    def predict(self, batch: Batch) -> Outcome:
        """People of a batch as in the paper: proposals above the threshold, one pass each.

        With NETWORK.USE_GT the true roots are the proposals. Losses are zero.
        """
        heatmaps = self.heatmaps(batch)
        # Packed once for both nets.
        packed = pack_heatmaps(heatmaps)
        root_volumes = self.root_volumes(packed, batch)
        proposals = self._proposals(root_volumes)
        if self.config.network.use_gt:
            scores = torch.ones_like(batch.roots[..., 0])
            proposals = Proposals(batch.roots, scores, batch.people)
        scene = proposals.valid.nonzero()[:, 0]
        centers = proposals.centers[proposals.valid]
        joints = [heatmaps.new_zeros(0, heatmaps.shape[2], 3)]
        for part in torch.arange(len(centers), device=centers.device).split(_PEOPLE_AT_ONCE):
            joints.append(self._regress(packed, batch, centers[part], scene[part])[0])
        zero = heatmaps.new_zeros(())
        return Outcome(
            zero,
            zero,
            zero,
            heatmaps,
            root_volumes,
            torch.cat(joints),
            proposals.scores[proposals.valid],
            scene,
        )

    def heatmaps(self, batch: Batch) -> torch.Tensor:
        """(B, V, J, H, W) from images through the backbone, or from keypoints."""
        if batch.images is None:
            assert batch.keypoints is not None  # a batch has images or keypoints
            return self._draw(batch.keypoints)
        with self._number_format(batch.images.device):
            with torch.set_grad_enabled(self._trains_backbone and torch.is_grad_enabled()):
                answer = self.model.backbone(batch.network_images())
        return answer.float().unflatten(0, batch.images.shape[:2])

    def root_volumes(self, heatmaps: torch.Tensor | PackedHeatmaps, batch: Batch) -> torch.Tensor:
        """(B, X, Y, Z) scores of the proposal grid, from heatmaps (B, V, J, H, W), packed or not."""
        volumes = self.model.proposal_volumes(heatmaps, batch.views, self.grid)
        with self._number_format(heatmaps.device):
            answer = self.model.root_net(volumes)
        return answer.to(heatmaps.dtype)

    def true_heatmaps(self, batch: Batch) -> torch.Tensor | None:
        """(B, V, J, H, W) as a perfect detector would answer; None where the truth has others."""
        return None if batch.pixels is None else self._draw(batch.pixels)

    def _draw(self, keypoints: torch.Tensor) -> torch.Tensor:
        settings = self.config.network
        return render_keypoints(
            keypoints[..., :2],
            keypoints[..., 2],
            settings.heatmap_size,
            settings.sigma / _RENDER_SIGMA,
        )

    def _nothing(self) -> torch.Tensor:
        """0, in which every trained parameter takes part.

        Processes that train together wait for the gradients of all parameters, also where one of
        them has no person to learn from.
        """
        sums = (p.sum() for p in self.parameters() if p.requires_grad)
        return 0.0 * sum(sums, start=torch.zeros(()))

    def _heatmap_loss(self, heatmaps: torch.Tensor, batch: Batch) -> torch.Tensor:
        if batch.images is None:
            return heatmaps.new_zeros(())
        assert batch.pixels is not None  # training data have the joints of the network
        weights = (batch.pixels[..., 2] > 0).any(dim=2).to(heatmaps.dtype)
        if not self.config.loss.use_target_weight:
            weights = torch.ones_like(weights)
        return heatmap_loss(heatmaps, self._draw(batch.pixels), weights)

    def _points(self, heatmaps: torch.Tensor) -> torch.Tensor:
        """(B, M, 3) voxels of the proposal grid, mm."""
        center = heatmaps.new_tensor(self.grid.center)[None]
        return box_points(center, self.grid.size, self.grid.voxels).expand(len(heatmaps), -1, -1)

    def _proposals(self, root_volumes: torch.Tensor) -> Proposals:
        settings = self.config.multi_person
        return self.model.select(
            root_volumes.detach(), self.grid, settings.threshold, settings.max_people_num
        )

    def _matched_people(self, root_volumes: torch.Tensor, batch: Batch):
        """Centres (N, 3), scores, scene and person (N,) that the pose net is trained on.

        As in the paper these are all proposals, however weak, that a true person is near to.
        """
        if self.config.network.use_gt:
            scene, person = batch.people.nonzero(as_tuple=True)
            centers = batch.roots[scene, person]
            return centers, torch.ones_like(centers[:, 0]), scene, person
        proposals = self._proposals(root_volumes)
        distance = torch.cdist(proposals.centers, batch.roots.to(root_volumes.dtype))
        distance = distance.masked_fill(~batch.people[:, None], math.inf)
        nearest, person = distance.min(dim=2)
        scene, slot = (nearest <= MATCH_DISTANCE).nonzero(as_tuple=True)
        return (
            proposals.centers[scene, slot],
            proposals.scores[scene, slot],
            scene,
            person[scene, slot],
        )

    def _regress(self, heatmaps: PackedHeatmaps, batch: Batch, centers, scene):
        """Joints (N, J, 3) mm at centres (N, 3) of scenes (N,), with the volumes they come from.

        Only the network may run in half precision: positions in mm have more digits.
        """
        volumes = self.model.person_volumes(heatmaps, batch.views, centers, scene)
        with self._number_format(heatmaps.device):
            log_probability = self.model.pose_net.log_probability(volumes)
        points = self.model.person_points(centers)
        return log_probability.exp() @ points, log_probability, points

    def _pose_loss(self, heatmaps: PackedHeatmaps, batch: Batch, centers, scene, person):
        """Joints (N, J, 3) at the centres, and their loss."""
        joints, log_probability, points = self._regress(heatmaps, batch, centers, scene)
        # Training data have the joints of the network.
        assert batch.joints is not None and batch.visible is not None
        truth = batch.joints[scene, person].to(joints.dtype)
        weights = batch.visible[scene, person].to(joints.dtype)
        if not self.config.loss.use_target_weight:
            weights = torch.ones_like(weights)
        loss = coordinate_loss(joints, truth, weights)
        if self.config.loss.cross_entropy:
            entropy = volume_cross_entropy(log_probability, points, truth)
            loss = loss + self.config.loss.cross_entropy * (entropy * weights).mean(dim=1)
        return joints, mean_over_scenes(loss, scene, len(batch))

    def _number_format(self, device: torch.device) -> torch.autocast:
        """Half precision, where it is asked for, in training; what is measured has all digits."""
        half = select_dtype(self.config.train.precision, device) == torch.bfloat16
        return torch.autocast(device.type, torch.bfloat16, enabled=half and self.training)
