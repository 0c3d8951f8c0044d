"""How sure the ray model is that a pose is a person, who stays, and how well its joints are supported.

A phantom stands where rays of other people cross: each of its detections is explained by somebody else
as well or better. That is what the confidence head is told beside how well the rays fit the pose.

Shapes: B scenes, M candidates, V views, D detections per view, J joints. Lengths are mm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from voxelpose_core.models.rays import Rays, components_first, lengths
from voxelpose_core.voxel.views import Views, project

if TYPE_CHECKING:
    from voxelpose_core.models.ray_pose import Poses, RayPose

# A detection fits a pose in so far as its rays pass the joints by less than this, mm.
FIT_SCALE = 80.0
# Poses whose joints are nearer in the mean are one person, mm.
SAME_PERSON = 200.0
# A person explains detections so many times as well as more confident people do, in so many views at least.
# On generated rigs 500..507 the views drop 33 of 1143 poses: 31 second poses of people, a false positive and
# a person; the factor (on 500..506) drops one second pose more and finds one person more.
OWNED_VIEWS = 2
CLEARLY = 1.25
# Standard deviation of the Gaussian by which a ray supports a joint, mm: that of the heatmaps that
# detections are drawn as elsewhere, for a person of 1.7 m.
_SUPPORT_DEVIATION = 75.0
_VIEW_FEATURES = 8


class ConfidenceHead(nn.Module):
    """How sure it is that a pose is a person: what each view says of it, and the pose token."""

    def __init__(self, width: int):
        super().__init__()
        self.view = nn.Sequential(nn.Linear(_VIEW_FEATURES, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU())
        self.pose = nn.Linear(width, 32)
        self.decide = nn.Sequential(nn.Linear(2 * 48 + 32, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, views: torch.Tensor, present: torch.Tensor, pose: torch.Tensor) -> torch.Tensor:
        """Logits (M,) of features (M, V, 8), present views (M, V) and pose tokens (M, width)."""
        each = self.view(views) * present[..., None]
        pooled = torch.cat([0.5 * each.sum(dim=1), each.amax(dim=1)], dim=-1)
        return self.decide(torch.cat([pooled, torch.relu(self.pose(pose))], dim=-1))[:, 0]


def fits(rays: Rays, joints: torch.Tensor, scene: torch.Tensor) -> torch.Tensor:
    """How well the rays of every detection pass the joints of every pose.

    Args:
        rays: of B scenes.
        joints: (M, J, 3), mm.
        scene: (M,) of each pose.

    Returns:
        (M, V, D, J) exp(-distance / 80 mm), 0 for a joint that was not detected.
    """
    rays = rays.of_scenes(scene)
    directions = components_first(rays.directions)
    start = components_first(rays.origins)[..., None, None]
    offset = start - components_first(joints)[:, :, None, None]
    along = (directions * offset).sum(dim=0)
    distance = lengths(offset - directions * along)
    # A joint behind the camera is not what the camera shows.
    ahead = along < 0
    return torch.exp(distance * (-1 / FIT_SCALE)) * (rays.scores > 0) * ahead


def pose_gaps(joints: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """(M, Q) mean distance, mm, of the joints of poses (M, J, 3) and (Q, J, 3), mm."""
    return (joints[:, None] - others[None]).norm(dim=-1).mean(dim=-1)


def visibility(joints: torch.Tensor, scene: torch.Tensor, views: Views) -> torch.Tensor:
    """(M, V, J), 1 where the cameras of a pose's scene can see its joints (M, J, 3)."""
    view_count = views.present.shape[1]
    if views.present.shape[0] == 1:
        points = joints.flatten(0, 1).expand(view_count, -1, -1)
        _, seen = project(points, views.map(lambda tensor: tensor[0]))
        return seen.unflatten(1, joints.shape[:2]).transpose(0, 1).to(joints.dtype)
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
    fit: torch.Tensor,
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
        fit: (M, V, D, J) of `fits`, of the joints of these poses.

    Returns:
        two times (M,) logits; the second ones count.
    """
    joints = poses.joints.detach()
    if joints.shape[0] == 0:
        return joints.new_zeros(0), joints.new_zeros(0)
    share = fit.mean(dim=-1)  # (M, V, D)
    best, index = share.max(dim=-1)
    own_fit, own_scores = _of_detections(fit, rays, scene, index)
    own_present = (own_scores > 0).to(fit.dtype)
    count = own_present.sum(dim=-1).clamp(min=1.0)
    mean_fit = own_fit.sum(dim=-1) / count
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


def joint_support(rays: Rays, fit: torch.Tensor, visible: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """How well the 2D detections support each joint, and how much of each a pose explains.

    Of each view that can see the joint the detection that fits the pose best counts: its score times a
    Gaussian of the distance between ray and joint. The answer is the mean over these views, like the
    mean heatmap value at a joint's projections.

    Args:
        rays: of one scene.
        fit: (M, V, D, J) of `fits`.
        visible: (M, V, J), 1 where the camera can see the joint.

    Returns:
        support (M, J) in [0, 1], 0 where no view can see the joint, and shares (M, V, D) in [0, 1].
    """
    scene = fit.new_zeros(fit.shape[:1], dtype=torch.long)
    shares = fit.mean(dim=-1)
    index = shares.argmax(dim=-1)
    own, scores = _of_detections(fit, rays, scene, index)
    distance = -FIT_SCALE * own.clamp(min=1e-6).log()
    value = scores * torch.exp(-0.5 * (distance / _SUPPORT_DEVIATION).square()) * (own > 0) * visible
    return value.sum(dim=1) / visible.sum(dim=1).clamp(min=1.0), shares


def _of_detections(fit, rays, scene, index) -> tuple[torch.Tensor, torch.Tensor]:
    """Fits and scores (M, V, J) of one detection per pose and view, index (M, V)."""
    chosen = index[..., None, None].expand(-1, -1, 1, fit.shape[-1])
    scores = rays.of_scenes(scene).scores.expand(fit.shape)
    return fit.gather(2, chosen)[:, :, 0], scores.gather(2, chosen)[:, :, 0]


def suppress(
    joints: np.ndarray,
    confidence: np.ndarray,
    shares: np.ndarray,
    threshold: float,
    distance: float = SAME_PERSON,
) -> np.ndarray:
    """Non-maximum suppression on the poses of one scene.

    Two kinds of candidates go in favour of more confident ones: those near them, and those who do not explain
    detections clearly better than they do in two views, which are poses mixed of several people's limbs.

    Args:
        joints: (M, J, 3), mm.
        confidence: (M,).
        shares: (M, V, D) of `joint_support`.
        threshold: candidates below it go.
        distance: of two candidates whose joints are nearer in the mean, the more confident stays, mm.

    Returns:
        (M,) bool: who stays.
    """
    gaps = np.linalg.norm(joints[:, None] - joints[None], axis=-1).mean(axis=-1)
    stays = np.asarray(confidence >= threshold)
    taken = np.zeros(shares.shape[1:], shares.dtype)
    for index in np.argsort(-confidence, kind="stable"):
        if not stays[index]:
            continue
        best = shares[index].argmax(axis=-1)[:, None]
        own = np.take_along_axis(shares[index], best, axis=-1)
        if (own > CLEARLY * np.take_along_axis(taken, best, axis=-1)).sum() < OWNED_VIEWS:
            stays[index] = False
            continue
        stays &= gaps[index] >= distance
        stays[index] = True
        taken = np.maximum(taken, shares[index])
    return stays
