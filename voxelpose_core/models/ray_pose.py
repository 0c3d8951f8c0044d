"""People from rays: a small transformer with a triangulation built in.

For each proposal the net looks at the rays of the 2D detections nearest to it. In each of its stages it
answers a weight w for every ray and, for every joint, a prior: a mean offset mu from the present pose x0
and its precision lambda. The joint is the minimum of

    sum_i w_i |(I - d_i d_i^T)(x - o_i)|^2 + lambda |x - x0 - mu|^2 + kappa |x - x_last|^2,

over rays with origins o_i and directions d_i, which has a closed form: A x = b with the 3x3 matrix
A = sum_i w_i (I - d_i d_i^T) + (lambda + kappa) I. (Triangulation with learned weights: Iskakov et al.,
"Learnable Triangulation of Human Pose", ICCV 2019, there with the DLT; the prior and the stages are
ours.) An untrained net triangulates already; joints that no view shows come from the prior. x_last is
the pose of the last frame where a tracker has one. A^-1, scaled by a learned factor, is the covariance
of the joint. At the end each joint moves to where most of the rays that the net trusts agree
(`ray_solver.agree`).

Everything that the net sees is relative to the present pose and turned about the vertical so that the
person faces along x: it need not learn that people look alike from all sides.

Shapes: M candidates, V views, D detections per view, N = V D, T chosen detections, J joints. Inside the
net lengths are in units of 300 mm around the candidate's centre; at its doors they are mm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import nn

from voxelpose_core.models.ray_confidence import ConfidenceHead
from voxelpose_core.models.ray_solver import (
    PRIOR_DEVIATION,
    RAY_DEVIATION,
    TRUST,
    UNIT,
    ChosenRays,
    agree,
    facing,
    full_matrix,
    invert_symmetric,
    rays_turned,
    triangulate_plainly,
    turned,
)
from voxelpose_core.models.rays import (
    JOINT_HEIGHTS,
    JOINT_WEIGHTS,
    Rays,
    components_first,
    components_last,
    lengths,
)
from voxelpose_core.skeletons import get_joint_set

# Detections whose rays pass a candidate by more are not looked at, mm; and how much less a view's second
# and third nearest are preferred to another view's nearest.
REACH = 1100.0
_RANK_PENALTY = 300.0
# Scales of the distance of a ray from a joint that features see, mm.
_NEAR = 100.0
_FEATURES = 10


class RayConfig(BaseModel):
    """Shape of the net, and the confidence from which a candidate is a person."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    joint_set_name: str = Field("coco17", description="Joints of detections and poses.")
    width: int = Field(128, ge=8, le=1024, description="Width of the tokens.")
    heads: int = Field(4, ge=1, le=64, description="Heads of the attention.")
    layers: tuple[Annotated[int, Field(ge=1, le=16)], ...] = Field(
        (2, 2, 2), min_length=1, max_length=8, description="Transformer layers of each stage."
    )
    expansion: int = Field(
        2, ge=1, le=8, description="Width of the layers' inner part as a multiple of `width`."
    )
    tokens: int = Field(10, ge=2, le=64, description="Detections that a candidate looks at, T.")
    per_view: int = Field(3, ge=1, le=16, description="Of these from one view at most.")
    proposals: int = Field(20, ge=1, le=256, description="Candidates per frame set, at most.")
    confidence_threshold: float = Field(0.5, ge=0, le=1, description="Confidence that a person reaches.")

    @model_validator(mode="after")
    def _check_width(self):
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        return self


@dataclass(frozen=True)
class Poses:
    """What the net makes of M candidates.

    Attributes:
        joints: (M, J, 3), mm: the last stage's, moved to where rays agree (`ray_solver.agree`).
        stages: per stage (M, J, 3), mm; the first one is the triangulation that the net starts from.
        precision: (M, J, 6) of the last stage, in 1 / mm^2: xx, yy, zz, xy, xz, yz.
        log_scale: (M, J) logarithm of the learned factor on the precision.
        embedding: (M, width) the pose token at the end.
    """

    joints: torch.Tensor
    stages: tuple[torch.Tensor, ...]
    precision: torch.Tensor
    log_scale: torch.Tensor
    embedding: torch.Tensor

    def covariance(self) -> torch.Tensor:
        """(M, J, 3, 3) of each joint, mm^2."""
        inverse = invert_symmetric(self.precision)
        return full_matrix(inverse) * torch.exp(-self.log_scale)[..., None, None]


class RayPose(nn.Module):
    """Poses and confidence of candidates from the rays of 2D detections."""

    _upright: torch.Tensor
    _root_weights: torch.Tensor
    _mirror: torch.Tensor

    def __init__(self, config: RayConfig = RayConfig()):
        super().__init__()
        self.config = config
        joint_set = get_joint_set(config.joint_set_name)
        count, width = len(joint_set), config.width
        self.embed_token = nn.Linear(5, width)
        self.embed_last = nn.Linear(3 * count, width)
        self.embed_origin = nn.Parameter(torch.zeros(2, width))
        self.stages = nn.ModuleList(_Stage(config, count, layers) for layers in config.layers)
        self.uncertainty = nn.Sequential(
            nn.Linear(width + 4 * count, width), nn.ReLU(), nn.Linear(width, count)
        )
        self.confidence = ConfidenceHead(width)
        _start_at_zero(self.uncertainty[-1])
        upright = torch.zeros(count, 3)
        upright[:, 2] = torch.tensor(JOINT_HEIGHTS[:count]) / UNIT
        self.register_buffer("_upright", upright, persistent=False)
        self.register_buffer("_root_weights", torch.tensor(JOINT_WEIGHTS[:count]), persistent=False)
        self.register_buffer("_mirror", torch.tensor(joint_set.mirror), persistent=False)

    def forward(
        self,
        rays: Rays,
        centers: torch.Tensor,
        scene: torch.Tensor,
        last: torch.Tensor | None = None,
        has_last: torch.Tensor | None = None,
    ) -> Poses:
        """Poses of candidates.

        Args:
            rays: of B scenes.
            centers: (M, 3) where their mid-hips may be, mm.
            scene: (M,) index of the scene of each.
            last: (M, J, 3) poses of the last frame, mm; None: there are none.
            has_last: (M,) bool, which candidates have one.
        """
        chosen = self._choose(rays, centers, scene)
        start = triangulate_plainly(chosen, self._upright)
        if last is None:
            last = torch.zeros_like(start)
            known = torch.zeros_like(start[:, 0, 0])
        else:
            assert has_last is not None  # given with `last`
            known = has_last.to(start.dtype)
            last = torch.where(has_last[:, None, None], (last - centers[:, None]) / UNIT, start)
        yaw = facing(start)
        tokens = self._first_tokens(chosen, last, start, yaw)
        mask = self._attention_mask(chosen, known)
        poses = [start]
        for stage in self.stages:
            tokens, pose, solved = stage(tokens, poses[-1].detach(), chosen, last, known, mask)
            poses.append(pose)
        # The net does not learn through the robust solve.
        agreed = agree(chosen, solved.weights.detach(), pose.detach(), solved.precision.detach())
        log_scale = self._log_scale(tokens[:, 0], solved.system, poses[-1], chosen)
        return Poses(
            agreed * UNIT + centers[:, None],
            tuple(pose * UNIT + centers[:, None] for pose in poses),
            solved.system / UNIT**2,
            log_scale,
            tokens[:, 0],
        )

    def _choose(self, rays: Rays, centers: torch.Tensor, scene: torch.Tensor) -> ChosenRays:
        """The detections nearest to each candidate, in units around its centre."""
        views, detections = rays.scores.shape[1:3]
        own = rays.of_scenes(scene)
        origins = (own.origins - centers[:, None]) / UNIT
        # Distances of all rays from where the joints of an upright person would be.
        directions = components_first(own.directions)
        upright = self._upright.T[:, None, None, None]
        offset = components_first(origins)[..., None, None] - upright
        along = (offset * directions).sum(dim=0)
        away = lengths(offset - directions * along)
        weights = self._root_weights * (own.scores > 0)
        total = weights.sum(dim=-1)
        distance = (away * weights).sum(dim=-1) / total.clamp(min=1e-6)
        distance = distance.masked_fill(total == 0, 1e4)
        # Slices of sorted distances, because slices end where there is no more.
        nearest, index = (part[..., : self.config.per_view] for part in distance.sort(dim=-1))
        rank = torch.arange(index.shape[-1], device=centers.device).expand_as(index)
        view = torch.arange(views, device=centers.device)[:, None].expand_as(index)
        index, view, rank, nearest = (part.flatten(1) for part in (index, view, rank, nearest))
        order = (nearest + rank * (_RANK_PENALTY / UNIT)).argsort(dim=1)[:, : self.config.tokens]
        index, view, rank, nearest = (part.gather(1, order) for part in (index, view, rank, nearest))
        row = (scene[:, None] * views + view) * detections + index
        scores = rays.scores.flatten(0, 2)[row] * (nearest < REACH / UNIT)[..., None]
        directions = rays.directions.flatten(0, 2)[row]
        start = origins.gather(1, view[..., None].expand(-1, -1, 3))
        return ChosenRays.of(start, directions, scores, view, rank, nearest, self._mirror)

    def _first_tokens(self, chosen: ChosenRays, last, start, yaw) -> torch.Tensor:
        """(M, 2 + T, width): pose, last pose, and one per detection."""
        depth = chosen.origins.norm(dim=-1)
        facts = torch.stack(
            [
                chosen.nearest.clamp(max=4.0),
                depth.clamp(min=0.1).log(),
                (chosen.rank == 0).to(depth.dtype),
                (chosen.rank == 1).to(depth.dtype),
                chosen.present.mean(dim=-1),
            ],
            dim=-1,
        )
        detections = self.embed_token(facts)
        before = self.embed_last(turned(last - start, yaw).clamp(-4, 4).flatten(1))
        special = self.embed_origin.expand(start.shape[0], -1, -1)
        before = special[:, 1] + before
        return torch.cat([special[:, :1], before[:, None], detections], dim=1)

    def _attention_mask(self, chosen: ChosenRays, known: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """What is added to attention (M, 1, 1, 2 + T), and which tokens share a view (M, 2 + T, 2 + T)."""
        there = (chosen.present.sum(dim=-1) > 0).to(known.dtype)
        there = torch.cat([torch.ones_like(known)[:, None], known[:, None], there], dim=1)
        special = chosen.view.new_tensor([-1, -2]).expand(known.shape[0], -1)
        view = torch.cat([special, chosen.view], dim=1)
        same = (view[:, :, None] == view[:, None]).to(known.dtype)
        return (there - 1)[:, None, None] * 1e4, same

    def _log_scale(self, token, system, pose, chosen: ChosenRays) -> torch.Tensor:
        token, system = token.detach(), system.detach()
        gaps = lengths(chosen.nearest_points(pose.detach()))
        fit = torch.exp(gaps * (-UNIT / _NEAR)) * chosen.present
        trace = system[..., :3].sum(dim=-1)
        least = 3 / invert_symmetric(system)[..., :3].sum(dim=-1).clamp(min=1e-6)
        facts = torch.cat(
            [trace.clamp(min=1e-6).log(), least.clamp(min=1e-6).log(), chosen.present.sum(1), fit.sum(1)],
            dim=-1,
        )
        return self.uncertainty(torch.cat([token, 0.3 * facts], dim=-1)).clamp(-6, 4)


class _Solved(NamedTuple):
    """What a stage solved: weights (2, M, T, J), the prior's precision (M, J), the system (M, J, 6)."""

    weights: torch.Tensor
    precision: torch.Tensor
    system: torch.Tensor


class _Stage(nn.Module):
    """Features of the rays around the present pose -> transformer -> weights, prior -> next pose."""

    def __init__(self, config: RayConfig, joints: int, layers: int):
        super().__init__()
        width = config.width
        self.embed = nn.Linear(joints * _FEATURES, width)
        self.embed_pose = nn.Linear(joints * 5, width)
        self.layers = nn.ModuleList(_Layer(config) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.weigh = nn.Linear(width, 2 * joints)
        self.weigh_ray = nn.Sequential(nn.Linear(_FEATURES, 32), nn.ReLU(), nn.Linear(32, 2))
        self.ray_kind = nn.Parameter(torch.zeros(joints, 32))
        self.prior = nn.Linear(width, joints * 4)
        self.weigh_last = nn.Linear(width, joints)
        for layer in (self.weigh, self.weigh_ray[-1], self.prior, self.weigh_last):
            _start_at_zero(layer)

    def forward(self, tokens, pose, chosen: ChosenRays, last, known, mask):
        """Tokens (M, 2 + T, width), pose (M, J, 3) -> tokens, the next pose, and what was solved."""
        joints = pose.shape[1]
        yaw = facing(pose)
        features, near, gap = self._features(pose, chosen, yaw)
        added = self.embed(features.flatten(2))
        present = self.embed_pose(self._pose_features(pose, chosen, near, yaw))
        tokens = tokens + torch.cat([present[:, None], torch.zeros_like(added[:, :1]), added], dim=1)
        tokens = self._transformed(tokens, mask)
        normed = self.norm(tokens)
        weights = self._ray_weights(normed[:, 2:], features, chosen, gap)
        prior = self.prior(normed[:, 0]).unflatten(-1, (joints, 4))
        mean = pose + turned(prior[..., :3], yaw, back=True)
        precision = torch.exp(prior[..., 3].clamp(-5, 7)) * (UNIT / PRIOR_DEVIATION) ** 2
        kappa = torch.exp(self.weigh_last(normed[:, 1]).clamp(-7, 5)) * known[:, None]
        both = precision + kappa
        mean = (precision[..., None] * mean + kappa[..., None] * last) / both[..., None]
        new, system = chosen.solve(weights, mean, both)
        return tokens, new, _Solved(weights, both, system)

    def _transformed(self, tokens, mask) -> torch.Tensor:
        """(M, 2 + T, width) after the layers, which work on a plain list of tokens."""
        flat = tokens.flatten(0, 1)
        for layer in self.layers:
            flat = layer(flat, *mask)
        return flat.reshape_as(tokens)

    def _ray_weights(self, tokens, features, chosen: ChosenRays, gap) -> torch.Tensor:
        """(2, M, T, J) of each ray for its joint and for the joint's partner."""
        first, _, second = self.weigh_ray
        assert isinstance(first, nn.Linear)
        hidden = nn.functional.linear(features, first.weight) + (self.ray_kind + first.bias)
        own = second(torch.relu(hidden).flatten(0, 2))
        logits = (self.weigh(tokens).reshape(own.shape) + own).T.reshape(2, *gap.shape)
        # Before training a ray counts by how near it passes, and not for its joint's partner.
        start = (gap * (UNIT / TRUST)).clamp(max=6.0)
        start = torch.stack([-start, torch.full_like(start, -5.0)])
        weights = torch.exp((logits + start).clamp(-10, 5)) * chosen.present
        return weights * (UNIT / RAY_DEVIATION) ** 2

    def _features(self, pose, chosen: ChosenRays, yaw) -> tuple[torch.Tensor, ...]:
        """Of each ray at the present pose its features (M, T, J, 10), nearness and distance (M, T, J)."""
        gap = chosen.nearest_points(pose)
        length = lengths(gap)
        other = lengths(chosen.nearest_points(pose.index_select(1, chosen.mirror)))
        near = torch.exp(length * (-UNIT / _NEAR)) * chosen.present
        features = torch.cat(
            [
                *rays_turned(gap / (1 + length * (1 / 3)) * chosen.present, yaw),
                *rays_turned(chosen.directions * chosen.present, yaw),
                chosen.scores[None],
                chosen.present[None],
                near[None],
                (torch.exp(other * (-UNIT / _NEAR)) * chosen.present)[None],
            ]
        )
        return components_last(features).contiguous(), near, length

    def _pose_features(self, pose, chosen: ChosenRays, near, yaw) -> torch.Tensor:
        """(M, 5 J): the pose around its centre, and how many rays meet each joint and how well."""
        centered = pose - pose.mean(dim=1, keepdim=True)
        support = torch.stack([chosen.present.sum(dim=1), near.sum(dim=1)], dim=-1)
        return torch.cat([turned(centered, yaw), 0.3 * support], dim=-1).flatten(1)


class _Layer(nn.Module):
    """A pre-norm transformer layer; each head may prefer tokens of the same view, or others."""

    def __init__(self, config: RayConfig):
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.norm = nn.LayerNorm(width)
        self.attend = nn.Linear(width, 3 * width)
        self.same_view = nn.Parameter(torch.zeros(config.heads, 1, 1))
        self.merge = nn.Linear(width, width)
        self.inner = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, config.expansion * width),
            nn.GELU(),
            nn.Linear(config.expansion * width, width),
        )

    def forward(self, tokens, absent, same):
        """(M S, width) -> the same; absent (M, 1, 1, S) is added to attention, same (M, S, S)."""
        width = tokens.shape[-1]
        parts = self.attend(self.norm(tokens))
        parts = parts.reshape(-1, same.shape[-1], 3, self.heads, width // self.heads)
        queries, keys, values = parts.permute(2, 0, 3, 1, 4).unbind(0)
        logits = (queries * queries.shape[-1] ** -0.5) @ keys.transpose(-1, -2)
        logits = logits + absent + self.same_view * same[:, None]
        mixed = logits.softmax(dim=-1) @ values
        tokens = tokens + self.merge(mixed.transpose(1, 2).reshape(-1, width))
        return tokens + self.inner(tokens)


def _start_at_zero(layer: nn.Module) -> None:
    assert isinstance(layer, nn.Linear)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
