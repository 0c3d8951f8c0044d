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
of the joint.

Everything that the net sees is relative to the present pose and turned about the vertical so that the
person faces along x: it need not learn that people look alike from all sides.

Shapes: M candidates, V views, D detections per view, N = V D, T chosen detections, J joints. Inside the
net lengths are in units of 300 mm around the candidate's centre; at its doors they are mm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import nn

from voxelpose_core.models.rays import JOINT_HEIGHTS, JOINT_WEIGHTS, Rays
from voxelpose_core.skeletons import get_joint_set
from voxelpose_core.voxel.views import Views, project

# The net's unit of length, mm.
UNIT = 300.0
# Detections whose rays pass a candidate by more are not looked at, mm; and how much less a view's second
# and third nearest are preferred to another view's nearest.
REACH = 1100.0
_RANK_PENALTY = 300.0
# Scales of the distance of a ray from a joint that features see, mm.
_NEAR = 100.0
# A detection fits a pose in so far as its rays pass the joints by less than this, mm.
FIT_SCALE = 80.0
# Poses whose joints are nearer in the mean are one person, mm.
SAME_PERSON = 200.0
# A ray that passes the start's joint by so much counts 1 / e of one through it, mm.
_TRUST = 150.0
# Standard deviation of a ray and of the prior before training, mm.
_RAY_DEVIATION = 50.0
_PRIOR_DEVIATION = 500.0
_FEATURES = 10
_VIEW_FEATURES = 8


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
    confidence_threshold: float = Field(
        0.5, ge=0, le=1, description="Confidence that a person reaches."
    )

    @model_validator(mode="after")
    def _check_width(self):
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        return self


@dataclass(frozen=True)
class Poses:
    """What the net makes of M candidates.

    Attributes:
        stages: per stage (M, J, 3), mm; the first one is the triangulation that the net starts from.
        precision: (M, J, 6) of the last stage, in 1 / mm^2: xx, yy, zz, xy, xz, yz.
        log_scale: (M, J) logarithm of the learned factor on the precision.
        embedding: (M, width) the pose token at the end.
    """

    stages: tuple[torch.Tensor, ...]
    precision: torch.Tensor
    log_scale: torch.Tensor
    embedding: torch.Tensor

    @property
    def joints(self) -> torch.Tensor:
        """(M, J, 3), mm."""
        return self.stages[-1]

    def covariance(self) -> torch.Tensor:
        """(M, J, 3, 3) of each joint, mm^2."""
        inverse = invert_symmetric(self.precision)
        return full_matrix(inverse) * torch.exp(-self.log_scale)[..., None, None]


class RayPose(nn.Module):
    """Poses and confidence of candidates from the rays of 2D detections."""

    def __init__(self, config: RayConfig = RayConfig()):
        super().__init__()
        self.config = config
        joint_set = get_joint_set(config.joint_set_name)
        count, width = len(joint_set), config.width
        self.embed_token = nn.Linear(5, width)
        self.embed_last = nn.Linear(3 * count, width)
        self.embed_origin = nn.Parameter(torch.zeros(2, width))
        self.stages = nn.ModuleList(
            _Stage(config, count, layers) for layers in config.layers
        )
        self.uncertainty = nn.Sequential(
            nn.Linear(width + 4 * count, width), nn.ReLU(), nn.Linear(width, count)
        )
        self.confidence = _Confidence(width)
        _start_at_zero(self.uncertainty[-1])
        self.register_buffer("_heights", torch.tensor(JOINT_HEIGHTS[:count]), persistent=False)
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
        start = _triangulate_plainly(chosen, self._heights)
        if last is None:
            last = start.new_zeros(start.shape)
            known = start.new_zeros(len(start))
        else:
            known = has_last.to(start.dtype)
            last = torch.where(has_last[:, None, None], (last - centers[:, None]) / UNIT, start)
        yaw = _facing(start)
        tokens = self._first_tokens(chosen, last, start, yaw)
        mask = self._attention_mask(chosen, known)
        poses, system = [start], None
        for stage in self.stages:
            tokens, pose, system = stage(tokens, poses[-1].detach(), chosen, last, known, mask)
            poses.append(pose)
        log_scale = self._log_scale(tokens[:, 0], system, poses[-1], chosen)
        return Poses(
            tuple(pose * UNIT + centers[:, None] for pose in poses),
            system / UNIT**2,
            log_scale,
            tokens[:, 0],
        )

    def _choose(self, rays: Rays, centers: torch.Tensor, scene: torch.Tensor) -> "_Chosen":
        """The detections nearest to each candidate, in units around its centre."""
        view_count, detections = rays.scores.shape[1:3]
        origins = (rays.origins[scene] - centers[:, None]) / UNIT
        # Distances of all rays from where the joints of somebody upright would be.
        lifted = torch.zeros_like(rays.directions[0, 0, 0]).expand(len(centers), -1, -1).clone()
        lifted[..., 2] = self._heights / UNIT
        all_directions = rays.directions.flatten(1, 2)[scene]
        all_scores = rays.scores.flatten(1, 2)[scene]
        all_origins = origins.repeat_interleave(detections, dim=1)
        offset = all_origins[:, :, None] - lifted[:, None]
        away = offset - all_directions * (offset * all_directions).sum(dim=-1, keepdim=True)
        weights = self._root_weights * (all_scores > 0)
        total = weights.sum(dim=-1)
        distance = (away.norm(dim=-1) * weights).sum(dim=-1) / total.clamp(min=1e-6)
        distance = distance.masked_fill(total == 0, 1e4).unflatten(1, (view_count, detections))
        per_view = min(self.config.per_view, detections)
        nearest, index = distance.topk(per_view, dim=-1, largest=False)
        rank = torch.arange(per_view, device=centers.device).expand_as(index)
        view = torch.arange(view_count, device=centers.device)[:, None].expand(-1, per_view)
        index = (index + detections * view).flatten(1)
        view, rank = view.reshape(-1).expand_as(index), rank.flatten(1)
        nearest = nearest.flatten(1)
        count = min(self.config.tokens, index.shape[1])
        _, order = (nearest + rank * (_RANK_PENALTY / UNIT)).topk(count, dim=1, largest=False)
        index, view, rank = index.gather(1, order), view.gather(1, order), rank.gather(1, order)
        nearest = nearest.gather(1, order)
        rows = torch.arange(len(centers), device=centers.device)[:, None]
        scores = all_scores[rows, index] * (nearest < REACH / UNIT)[..., None]
        return _Chosen.of(
            all_origins[rows, index], all_directions[rows, index], scores, view, rank, nearest,
            self._mirror,
        )

    def _first_tokens(self, chosen: "_Chosen", last, start, yaw) -> torch.Tensor:
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
        before = self.embed_last(_turn(last - start, yaw).clamp(-4, 4).flatten(1))
        special = self.embed_origin.expand(len(start), -1, -1)
        before = special[:, 1] + before
        return torch.cat([special[:, :1], before[:, None], detections], dim=1)

    def _attention_mask(self, chosen: "_Chosen", known: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """What is added to attention (M, 1, 1, 2 + T), and which tokens share a view (M, 2 + T, 2 + T)."""
        there = (chosen.present.sum(dim=-1) > 0).to(known.dtype)
        there = torch.cat([torch.ones_like(known)[:, None], known[:, None], there], dim=1)
        special = chosen.view.new_tensor([-1, -2]).expand(len(known), -1)
        view = torch.cat([special, chosen.view], dim=1)
        same = (view[:, :, None] == view[:, None]).to(known.dtype)
        return (there - 1)[:, None, None] * 1e4, same

    def _log_scale(self, token, system, pose, chosen: "_Chosen") -> torch.Tensor:
        token, system = token.detach(), system.detach()
        gaps = (chosen.nearest_points(pose.detach())).square().sum(dim=-1) * chosen.present
        fit = torch.exp(-gaps.sqrt() * (UNIT / _NEAR)) * chosen.present
        trace = system[..., :3].sum(dim=-1)
        least = 3 / invert_symmetric(system)[..., :3].sum(dim=-1).clamp(min=1e-6)
        facts = torch.cat(
            [trace.clamp(min=1e-6).log(), least.clamp(min=1e-6).log(), chosen.present.sum(1), fit.sum(1)],
            dim=-1,
        )
        return self.uncertainty(torch.cat([token, 0.3 * facts], dim=-1)).clamp(-6, 4)


@dataclass(frozen=True)
class _Chosen:
    """T detections of each of M candidates, in units around the candidate's centre.

    Attributes:
        origins: (M, T, 3).
        directions: (M, T, J, 3).
        scores, present: (M, T, J).
        view, rank: (M, T) the view, and the place among the view's nearest.
        nearest: (M, T) distance from the candidate.
        moments: (M, T, J, 3) the point of each ray nearest to the centre.
        equations: (M, J, 2 T, 9) of each ray the six numbers of I - d d^T and the three of its right
            side, first of the joint's own rays, then of those of its partner on the other side.
        mirror: (J,) the partners.
    """

    origins: torch.Tensor
    directions: torch.Tensor
    scores: torch.Tensor
    present: torch.Tensor
    view: torch.Tensor
    rank: torch.Tensor
    nearest: torch.Tensor
    moments: torch.Tensor
    equations: torch.Tensor
    mirror: torch.Tensor

    @classmethod
    def of(cls, origins, directions, scores, view, rank, nearest, mirror) -> "_Chosen":
        present = (scores > 0).to(scores.dtype)
        start = origins[:, :, None]
        moments = start - directions * (start * directions).sum(dim=-1, keepdim=True)
        x, y, z = directions.unbind(-1)
        rows = [1 - x * x, 1 - y * y, 1 - z * z, -x * y, -x * z, -y * z, *moments.unbind(-1)]
        equations = torch.stack(rows, dim=-1)
        both = torch.cat([equations, equations[:, :, mirror]], dim=1)
        both = both.transpose(1, 2).contiguous()
        return cls(
            origins, directions, scores, present, view, rank, nearest, moments, both, mirror
        )

    def nearest_points(self, pose: torch.Tensor) -> torch.Tensor:
        """(M, T, J, 3) from each joint of poses (M, J, 3) to the nearest point of its ray."""
        x = pose[:, None]
        along = (self.directions * x).sum(dim=-1, keepdim=True)
        return self.moments - x + self.directions * along

    def solve(self, weights, mean, precision) -> tuple[torch.Tensor, torch.Tensor]:
        """The minimum over rays and a prior.

        Args:
            weights: (M, J, 2 T) of the rays, in the order of `equations`.
            mean: (M, J, 3) of the prior.
            precision: (M, J) of the prior.

        Returns:
            joints (M, J, 3) and the matrices A (M, J, 6) of the systems.
        """
        system = (weights[:, :, None] @ self.equations)[:, :, 0]
        matrix = torch.cat([system[..., :3] + precision[..., None], system[..., 3:6]], dim=-1)
        right = system[..., 6:] + precision[..., None] * mean
        return apply_symmetric(invert_symmetric(matrix), right), matrix


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

    def forward(self, tokens, pose, chosen: _Chosen, last, known, mask):
        """Tokens (M, 2 + T, width), pose (M, J, 3) -> tokens, the next pose, and its system (M, J, 6)."""
        count, joints = pose.shape[:2]
        yaw = _facing(pose)
        features = self._features(pose, chosen, yaw)
        added = self.embed(features.flatten(2))
        present = self.embed_pose(self._pose_features(pose, chosen, features, yaw))
        tokens = tokens + torch.cat([present[:, None], torch.zeros_like(added[:, :1]), added], dim=1)
        for layer in self.layers:
            tokens = layer(tokens, *mask)
        normed = self.norm(tokens)
        hidden = self.weigh_ray[0](features) + self.ray_kind
        own = self.weigh_ray[2](torch.relu(hidden))
        logits = self.weigh(normed[:, 2:]).unflatten(-1, (joints, 2)) + own
        # Before training a ray counts by how near it passes, and not for its joint's partner.
        gap = chosen.nearest_points(pose).norm(dim=-1) * (UNIT / _TRUST)
        start = torch.stack([-gap.clamp(max=6.0), torch.full_like(gap, -5.0)], dim=-1)
        weights = torch.exp((logits + start).clamp(-10, 5)) * chosen.present[..., None]
        weights = weights * (UNIT / _RAY_DEVIATION) ** 2
        prior = self.prior(normed[:, 0]).reshape(count, joints, 4)
        mean = pose + _turn(prior[..., :3], yaw, back=True)
        precision = torch.exp(prior[..., 3].clamp(-5, 7)) * (UNIT / _PRIOR_DEVIATION) ** 2
        kappa = torch.exp(self.weigh_last(normed[:, 1]).clamp(-7, 5)) * known[:, None]
        both = precision + kappa
        mean = (precision[..., None] * mean + kappa[..., None] * last) / both[..., None]
        # A ray's second weight is for the partner of its joint: detectors confuse left and right.
        stacked = torch.cat([weights[..., 0], weights[..., 1][:, :, chosen.mirror]], dim=1)
        stacked = stacked.transpose(1, 2)
        new, system = chosen.solve(stacked, mean, both)
        return tokens, new, system

    def _features(self, pose, chosen: _Chosen, yaw) -> torch.Tensor:
        """(M, T, J, 10) of each ray at the present pose."""
        gap = chosen.nearest_points(pose)
        length = gap.norm(dim=-1, keepdim=True)
        near = torch.exp(-length * (UNIT / _NEAR))
        other = chosen.nearest_points(pose[:, chosen.mirror]).norm(dim=-1, keepdim=True)
        features = torch.cat(
            [
                _turn(gap, yaw) / (1 + length / 3),
                _turn(chosen.directions, yaw),
                chosen.scores[..., None],
                torch.ones_like(near),
                near,
                torch.exp(-other * (UNIT / _NEAR)),
            ],
            dim=-1,
        )
        return features * chosen.present[..., None]

    def _pose_features(self, pose, chosen: _Chosen, features, yaw) -> torch.Tensor:
        """(M, 5 J): the pose around its centre, and how many rays meet each joint and how well."""
        centered = pose - pose.mean(dim=1, keepdim=True)
        support = torch.stack([chosen.present.sum(dim=1), features[..., 8].sum(dim=1)], dim=-1)
        return torch.cat([_turn(centered, yaw), 0.3 * support], dim=-1).flatten(1)


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
        """(M, S, width) -> the same; absent (M, 1, 1, S) is added to attention, same (M, S, S)."""
        queries, keys, values = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.attend(self.norm(tokens)).chunk(3, dim=-1)
        )
        scale = queries.shape[-1] ** -0.5
        logits = (queries * scale) @ keys.transpose(-1, -2)
        logits = logits + absent + self.same_view * same[:, None]
        mixed = logits.softmax(dim=-1) @ values
        tokens = tokens + self.merge(mixed.transpose(1, 2).flatten(2))
        return tokens + self.inner(tokens)


class _Confidence(nn.Module):
    """How sure it is that a pose is a person: what each view says of it, and the pose token."""

    def __init__(self, width: int):
        super().__init__()
        self.view = nn.Sequential(
            nn.Linear(_VIEW_FEATURES, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU()
        )
        self.pose = nn.Linear(width, 32)
        self.decide = nn.Sequential(nn.Linear(2 * 48 + 32, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, views: torch.Tensor, present: torch.Tensor, pose: torch.Tensor) -> torch.Tensor:
        """Logits (M,) of features (M, V, 8), present views (M, V) and pose tokens (M, width)."""
        each = self.view(views) * present[..., None]
        pooled = torch.cat([0.5 * each.sum(dim=1), each.amax(dim=1)], dim=-1)
        return self.decide(torch.cat([pooled, torch.relu(self.pose(pose))], dim=-1))[:, 0]


def _start_at_zero(layer: nn.Linear) -> None:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)


def _triangulate_plainly(chosen: _Chosen, heights: torch.Tensor) -> torch.Tensor:
    """(M, J, 3) the net's start: each view's nearest detection counts by how near it is, twice.

    Somebody upright is a weak prior; the second time rays count by how near they pass the first pose.
    """
    prior = torch.zeros_like(chosen.directions[:, 0])
    prior[..., 2] = heights / UNIT
    precision = torch.full_like(prior[..., 0], (UNIT / _PRIOR_DEVIATION) ** 2)
    strength = (UNIT / _RAY_DEVIATION) ** 2
    near = torch.exp(-(chosen.nearest * (UNIT / 250.0)).square()) * (chosen.rank == 0)
    weights = strength * near[..., None] * chosen.present
    pose = prior
    for _ in range(2):
        stacked = torch.cat([weights, torch.zeros_like(weights)], dim=1).transpose(1, 2)
        pose, _ = chosen.solve(stacked, prior, precision)
        gap = chosen.nearest_points(pose).norm(dim=-1)
        weights = strength * torch.exp(-gap * (UNIT / _TRUST)) * chosen.present
    return pose


def _facing(pose: torch.Tensor) -> torch.Tensor:
    """(M, 2) cosine and sine of the yaw of poses (M, J, 3), from right to left shoulder and hip."""
    left = pose[:, 5, :2] - pose[:, 6, :2] + pose[:, 11, :2] - pose[:, 12, :2]
    left = left.detach()
    left = left / left.norm(dim=-1, keepdim=True).clamp(min=1e-4)
    return torch.stack([left[:, 1], -left[:, 0]], dim=-1)


def _turn(vectors: torch.Tensor, yaw: torch.Tensor, back: bool = False) -> torch.Tensor:
    """Vectors (M, ..., 3) of the world in the frame of who faces along yaw (M, 2), or back."""
    shape = (len(yaw),) + (1,) * (vectors.dim() - 2)
    c, s = yaw[:, 0].reshape(shape), yaw[:, 1].reshape(shape)
    if back:
        s = -s
    x, y, z = vectors.unbind(-1)
    return torch.stack([c * x + s * y, c * y - s * x, z], dim=-1)


def invert_symmetric(matrix: torch.Tensor) -> torch.Tensor:
    """Inverses (..., 6) of symmetric positive 3x3 matrices (..., 6): xx, yy, zz, xy, xz, yz."""
    a, b, c, d, e, f = matrix.unbind(-1)
    A, B, C = b * c - f * f, a * c - e * e, a * b - d * d
    D, E, F = e * f - c * d, d * f - b * e, d * e - a * f
    determinant = (a * A + d * D + e * E).clamp(min=1e-30)
    return torch.stack([A, B, C, D, E, F], dim=-1) / determinant[..., None]


def apply_symmetric(matrix: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
    """Products (..., 3) of symmetric matrices (..., 6) and vectors (..., 3)."""
    a, b, c, d, e, f = matrix.unbind(-1)
    x, y, z = vector.unbind(-1)
    return torch.stack([a * x + d * y + e * z, d * x + b * y + f * z, e * x + f * y + c * z], dim=-1)


def full_matrix(matrix: torch.Tensor) -> torch.Tensor:
    """Symmetric matrices (..., 6) as (..., 3, 3)."""
    a, b, c, d, e, f = matrix.unbind(-1)
    return torch.stack([a, d, e, d, b, f, e, f, c], dim=-1).unflatten(-1, (3, 3))


def fits(rays: Rays, joints: torch.Tensor, scene: torch.Tensor) -> torch.Tensor:
    """How well the rays of every detection pass the joints of every pose.

    Args:
        rays: of B scenes.
        joints: (M, J, 3), mm.
        scene: (M,) of each pose.

    Returns:
        (M, V, D, J) exp(-distance / 80 mm), 0 for a joint that was not detected.
    """
    start = rays.origins[scene][:, :, None, None]
    directions = rays.directions[scene]
    offset = start - joints[:, None, None]
    along = (directions * offset).sum(dim=-1, keepdim=True)
    distance = (offset - directions * along).norm(dim=-1)
    # A joint behind the camera is not what the camera shows.
    ahead = along[..., 0] < 0
    return torch.exp(-distance / FIT_SCALE) * (rays.scores[scene] > 0) * ahead


def pose_gaps(joints: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """(M, Q) mean distance of the joints of poses (M, J, 3) and (Q, J, 3)."""
    return (joints[:, None] - others[None]).norm(dim=-1).mean(dim=-1)


def visibility(joints: torch.Tensor, scene: torch.Tensor, views: Views) -> torch.Tensor:
    """(M, V, J), 1 where the cameras of a pose's scene can see its joints (M, J, 3)."""
    view_count = views.present.shape[1]
    flat = views.map(lambda tensor: tensor[scene].flatten(0, 1))
    points = joints[:, None].expand(-1, view_count, -1, -1).flatten(0, 1)
    _, seen = project(points, flat)
    return seen.unflatten(0, (-1, view_count)).to(joints.dtype)


def confidence_logits(
    model: RayPose,
    rays: Rays,
    poses: Poses,
    scene: torch.Tensor,
    visible: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """How sure it is that each candidate is a person, before and after others had their say.

    A phantom stands where rays of other people cross: each of its detections is explained by somebody
    else as well or better. So confidence is estimated twice by the same head; the second time each view
    says how much of its best detection others explain who were convincing the first time.

    Args:
        model: its confidence head and nothing else learns from the result.
        rays: of B scenes.
        poses: of M candidates.
        scene: (M,).
        visible: (M, V, J), 1 where the camera could see the joint.

    Returns:
        two times (M,) logits; the second ones count.
    """
    joints = poses.joints.detach()
    if not len(joints):
        return joints.new_zeros(0), joints.new_zeros(0)
    fit = fits(rays, joints, scene)
    present = (rays.scores[scene] > 0).to(fit.dtype)
    share = fit.mean(dim=-1)  # (M, V, D)
    best, index = share.max(dim=-1)
    chosen = index[..., None, None].expand(-1, -1, 1, fit.shape[-1])
    own_present = present.gather(2, chosen)[:, :, 0]
    own_scores = rays.scores[scene].gather(2, chosen)[:, :, 0]
    count = own_present.sum(dim=-1).clamp(min=1.0)
    mean_fit = fit.gather(2, chosen)[:, :, 0].sum(dim=-1) / count
    seen = visible.mean(dim=-1)
    facts = [
        best,
        mean_fit,
        own_present.mean(dim=-1),
        own_scores.sum(dim=-1) / count * best,
        seen,
        seen * (1 - mean_fit),
    ]
    # In how far another candidate of the scene, who is not the same person, explains the detection.
    detections = share.shape[-1]
    flat = share.flatten(1)
    views = torch.arange(share.shape[1], device=share.device)
    theirs = flat[:, index + detections * views]  # (Q, M, V)
    gaps = pose_gaps(joints, joints)
    rival = (scene[:, None] == scene) & (gaps > SAME_PERSON)
    token = poses.embedding.detach()
    has_frame = (seen > 0) | (own_present.sum(dim=-1) > 0)
    has_frame = has_frame.to(best.dtype)

    def decide(taken):
        features = torch.stack([*facts, taken, torch.relu(best - taken)], dim=-1)
        return model.confidence(features, has_frame, token)

    first = decide(torch.zeros_like(best))
    strength = rival * torch.sigmoid(first.detach())[:, None]
    taken = (theirs * strength[..., None]).amax(dim=0)
    return first, decide(taken)


def suppress(
    joints: torch.Tensor, confidence: torch.Tensor, threshold: float, distance: float = SAME_PERSON
) -> torch.Tensor:
    """Non-maximum suppression on the poses of one scene.

    Args:
        joints: (M, J, 3), mm.
        confidence: (M,).
        threshold: candidates below it go.
        distance: of two candidates whose joints are nearer in the mean, the more confident stays, mm.

    Returns:
        (M,) bool: who stays.
    """
    order = confidence.argsort(descending=True)
    near = (pose_gaps(joints, joints) < distance)[order][:, order]
    stays = confidence[order] >= threshold
    for index in range(len(order)):
        stays[index + 1 :] &= ~(near[index, index + 1 :] & stays[index])
    result = torch.zeros_like(stays)
    result[order] = stays
    return result
