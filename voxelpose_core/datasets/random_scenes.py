"""Whole training scenes, drawn in batches on the training device: rig, people, noisy heatmaps."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from voxelpose_core.datasets.detection_noise import detect
from voxelpose_core.datasets.people import sample_people
from voxelpose_core.datasets.random_rigs import (
    HEATMAP_SIZES,
    miscalibrate,
    sample_rigs,
    sample_spaces,
)
from voxelpose_core.heatmaps import render_keypoints
from voxelpose_core.skeletons import COCO17
from voxelpose_core.voxel import Views

MAX_PEOPLE = 7
# Bodies closer than this would stand inside each other, mm between mid-hips.
MIN_DISTANCE = 320.0


@dataclass(frozen=True)
class Scenes:
    """B scenes.

    Attributes:
        heatmaps: (B, V, J, H, W).
        views: the calibration as its user knows it, slightly wrong.
        joints: (B, P, J, 3), mm.
        roots: (B, P, 3), mm.
        valid: (B, P) bool: the person exists.
        joint_views: (B, P, J) number of views in which the joint was detected.
        person_views: (B, P) number of views in which the person was detected.
        focus: (B, 3) mm, where to look: somebody's mid-hip, or now and then any place.
    """

    heatmaps: torch.Tensor
    views: Views
    joints: torch.Tensor
    roots: torch.Tensor
    valid: torch.Tensor
    joint_views: torch.Tensor
    person_views: torch.Tensor
    focus: torch.Tensor


def sample_scenes(count: int, view_count: int, generator: torch.Generator) -> Scenes:
    """Draw `count` scenes of `view_count` cameras each; all share one heatmap size."""
    device = generator.device
    which = int(torch.randint(len(HEATMAP_SIZES), (), generator=generator, device=device))
    heatmap_size = HEATMAP_SIZES[which]
    spaces = sample_spaces(count, generator)
    true_views = sample_rigs(spaces, view_count, heatmap_size, generator)
    joints, valid, focus = place_people(spaces, generator)

    level = torch.rand(count, generator=generator, device=device)
    detections = detect(joints, valid, true_views, level, generator)
    views = _drop_views(true_views, generator)
    views = miscalibrate(views, torch.rand(count, generator=generator, device=device), generator)

    scores = detections.scores * views.present[:, :, None, None]
    xy = to_heatmap_pixels(detections.xy, views)
    sigma_scale = 1.0 + 0.36 * torch.rand(count, generator=generator, device=device)
    heatmaps = render_keypoints(xy, scores, heatmap_size, sigma_scale)
    found = scores[:, :, : joints.shape[1]] > 0
    return Scenes(
        heatmaps=heatmaps,
        views=views,
        joints=joints,
        roots=joints[:, :, list(COCO17.root)].mean(dim=2),
        valid=valid,
        joint_views=found.sum(dim=1),
        person_views=found.any(dim=-1).sum(dim=1),
        focus=_look_elsewhere(focus, spaces, generator),
    )


def place_people(spaces: torch.Tensor, generator: torch.Generator):
    """Put people into spaces: alone, spread out, and in close groups.

    Args:
        spaces: (B, 2) edge lengths, mm.

    Returns:
        joints (B, P, 17, 3) in mm, valid (B, P) bool, focus (B, 3): the first person's mid-hip.
    """
    count, device = len(spaces), generator.device

    def uniform(*size):
        return torch.rand(*size, generator=generator, device=device)

    people = sample_people(count * MAX_PEOPLE, generator).reshape(count, MAX_PEOPLE, 17, 3)
    spread = (uniform(count, MAX_PEOPLE, 2) - 0.5) * spaces[:, None]
    # 40 % stand 350 to 900 mm from somebody: crowds are where proposals and limbs get mixed up.
    angle = 2 * torch.pi * uniform(count, MAX_PEOPLE)
    gap = 350 + 550 * uniform(count, MAX_PEOPLE)
    beside = spread.roll(1, dims=1) + gap[..., None] * torch.stack([angle.cos(), angle.sin()], -1)
    grouped = uniform(count, MAX_PEOPLE) < 0.4
    grouped[:, 0] = False
    place = torch.where(grouped[..., None], beside, spread)
    joints = people.clone()
    joints[..., :2] += place[:, :, None]

    number = 1 + (MAX_PEOPLE * uniform(count, 1).square()).long()
    valid = torch.arange(MAX_PEOPLE, device=device) < number
    distance = (place[:, :, None] - place[:, None]).norm(dim=-1)
    earlier = torch.ones(MAX_PEOPLE, MAX_PEOPLE, device=device).tril(-1).bool()
    clash = (distance < MIN_DISTANCE) & earlier & valid[:, None]
    valid = valid & ~clash.any(dim=-1)
    focus = joints[:, 0, list(COCO17.root)].mean(dim=1)
    return joints, valid, focus


def to_heatmap_pixels(xy: torch.Tensor, views: Views) -> torch.Tensor:
    """Image pixels (B, V, P, J, 2) -> heatmap pixels of the same shape."""
    affine = views.to_heatmap[:, :, None, None]
    return (affine[..., :2] @ xy[..., None])[..., 0] + affine[..., 2]


def _drop_views(views: Views, generator: torch.Generator) -> Views:
    """Cameras fail: now and then one view is absent, where at least two remain."""
    count, view_count = views.present.shape
    if view_count < 3:
        return views
    order = torch.rand(count, view_count, generator=generator, device=generator.device)
    drop = torch.rand(count, 1, generator=generator, device=generator.device) < 0.15
    present = views.present * ~((order == order.amin(dim=1, keepdim=True)) & drop)
    return Views(**{**views.__dict__, "present": present})


def _look_elsewhere(
    focus: torch.Tensor, spaces: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """Replace a quarter of the places by random ones: rays of different people cross there."""
    uniform = torch.rand(len(focus), 3, generator=generator, device=focus.device)
    place = torch.cat([(uniform[:, :2] - 0.5) * spaces, focus[:, 2:]], dim=1)
    return torch.where(uniform[:, 2:] < 0.25, place, focus)
