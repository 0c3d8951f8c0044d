"""Whole training scenes, drawn in batches on the training device: rig, people, noisy heatmaps."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import torch

from voxelpose_core.datasets.detection_noise import detect
from voxelpose_core.datasets.people import ANKLE_HEIGHT, sample_people
from voxelpose_core.datasets.random_rigs import (
    HEATMAP_SIZES,
    miscalibrate,
    sample_rigs,
    sample_spaces,
)
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.geometry.space import Space
from voxelpose_core.heatmaps import render_keypoints
from voxelpose_core.skeletons import COCO17
from voxelpose_core.voxel import Views

MAX_PEOPLE = 7
# Bodies closer than this would stand inside each other, mm between mid-hips.
MIN_DISTANCE = 320.0
# Number of cameras of a random rig, and how often it is drawn.
VIEW_COUNTS = {2: 0.10, 3: 0.25, 4: 0.25, 5: 0.20, 6: 0.10, 8: 0.10}
# Share of recorded people where a recording is given.
_RECORDED_SHARE = 0.5


@dataclass(frozen=True)
class FrameSets:
    """B frame sets as a 2D detector sees them.

    Attributes:
        views: the calibration as its user knows it, slightly wrong.
        joints: (B, P, J, 3), mm.
        valid: (B, P) bool: the person exists.
        xy: (B, V, P', J, 2) detections, pixels of the images; P' = P and false people after them.
        scores: (B, V, P', J), 0 for a joint that was not detected.
        focus: (B, 3) mm, where to look: a person's mid-hip, or now and then any place.
        floor: (B,) height of the ground, mm.
    """

    views: Views
    joints: torch.Tensor
    valid: torch.Tensor
    xy: torch.Tensor
    scores: torch.Tensor
    focus: torch.Tensor
    floor: torch.Tensor


@dataclass(frozen=True)
class Scenes:
    """B scenes to train on.

    Attributes:
        heatmaps: (B, V, J, H, W).
        views: the calibration as its user knows it, slightly wrong.
        joints: (B, P, J, 3), mm.
        roots: (B, P, 3), mm.
        valid: (B, P) bool: the person exists.
        joint_views: (B, P, J) number of views in which the joint was detected.
        person_views: (B, P) number of views in which the person was detected.
        focus: (B, 3) mm, where to look: a person's mid-hip, or now and then any place.
        floor: (B,) height of the ground, mm.
    """

    heatmaps: torch.Tensor
    views: Views
    joints: torch.Tensor
    roots: torch.Tensor
    valid: torch.Tensor
    joint_views: torch.Tensor
    person_views: torch.Tensor
    focus: torch.Tensor
    floor: torch.Tensor


# (count, generator) -> joints (count, 17, 3) of people who stand on z = 0 around x = y = 0, mm.
PeopleSource = Callable[[int, torch.Generator], torch.Tensor]


def sample_scenes(
    count: int,
    view_count: int,
    generator: torch.Generator,
    people: PeopleSource = sample_people,
) -> Scenes:
    """Draw `count` scenes of `view_count` random cameras each; all share one heatmap size."""
    device = generator.device
    which = int(torch.randint(len(HEATMAP_SIZES), (), generator=generator, device=device))
    spaces = sample_spaces(count, generator)
    views = sample_rigs(spaces, view_count, HEATMAP_SIZES[which], generator)
    level = torch.rand(count, generator=generator, device=device)
    origin = torch.zeros(3, device=device)
    frame_sets = sample_frame_sets(views, spaces, origin, level, generator, people)
    return draw_heatmaps(frame_sets, HEATMAP_SIZES[which], generator)


class RandomRigs:
    """Scenes of rigs of 2 to 8 cameras, drawn anew for every batch."""

    def __init__(self, people: PeopleSource = sample_people):
        self._people = people

    def __call__(self, count: int, generator: torch.Generator) -> Scenes:
        """Draw `count` scenes on the device of `generator`."""
        weights = torch.tensor(list(VIEW_COUNTS.values()), device=generator.device)
        drawn = int(torch.multinomial(weights, 1, generator=generator))
        return sample_scenes(count, list(VIEW_COUNTS)[drawn], generator, self._people)


class RigCopies:
    """One rig's cameras and ground, as often as a batch has scenes.

    Args:
        views: its cameras, a batch of one.
        space: where people stand.
    """

    def __init__(self, views: Views, space: Space):
        self._views = views
        self._edges = torch.tensor(space.size[:2].tolist())
        self._origin = torch.tensor([*space.center[:2].tolist(), float(space.low[2])])

    def __call__(self, count: int, device: torch.device) -> tuple[Views, torch.Tensor, torch.Tensor]:
        """Views of `count` scenes, edges (count, 2) of the space and the middle (3,) of its floor, mm."""
        views = self._views.map(lambda tensor: tensor.to(device).expand(count, *tensor.shape[1:]))
        return views, self._edges.to(device).expand(count, 2), self._origin.to(device)


class OneRig:
    """Scenes of one rig: random people and detector errors before its own cameras.

    Args:
        rig: its cameras.
        space: where people stand, mm.
        network_size, heatmap_size: (width, height), pixels, as the estimator uses them for this rig.
    """

    def __init__(
        self,
        rig: Rig,
        space: Space,
        network_size: tuple[int, int],
        heatmap_size: tuple[int, int],
        people: PeopleSource = sample_people,
    ):
        self._copies = RigCopies(Views.from_cameras(rig.cameras, network_size, heatmap_size), space)
        self._heatmap_size = heatmap_size
        self._people = people

    def __call__(self, count: int, generator: torch.Generator) -> Scenes:
        """Draw `count` scenes on the device of `generator`."""
        device = generator.device
        views, spaces, origin = self._copies(count, device)
        level = torch.rand(count, generator=generator, device=device)
        frame_sets = sample_frame_sets(views, spaces, origin, level, generator, self._people)
        return draw_heatmaps(frame_sets, self._heatmap_size, generator)


def sample_frame_sets(
    views: Views,
    spaces: torch.Tensor,
    origin: torch.Tensor,
    level: torch.Tensor,
    generator: torch.Generator,
    people: PeopleSource = sample_people,
) -> FrameSets:
    """Put people before cameras and detect them in the images.

    Args:
        views: the true cameras of B rigs.
        spaces: (B, 2) edge lengths of the capture spaces on the ground, mm.
        origin: (3,) middle of the spaces on the ground, mm.
        level: (B,) how poor the detector is, 0 to 1.
        generator: source of randomness, on the device of the tensors.
        people: draws their poses.
    """
    joints, valid, focus = place_people(spaces, generator, people)
    joints, focus = joints + origin, focus + origin
    detections = detect(joints, valid, views, level, generator)
    known = _drop_views(views, generator)
    wrong = torch.rand(len(spaces), generator=generator, device=generator.device)
    return FrameSets(
        views=miscalibrate(known, wrong, generator),
        joints=joints,
        valid=valid,
        xy=detections.xy,
        scores=detections.scores * known.present[:, :, None, None],
        focus=_look_elsewhere(focus, spaces, origin, generator),
        floor=origin[2].expand(len(spaces)),
    )


def draw_heatmaps(frame_sets: FrameSets, heatmap_size: tuple[int, int], generator: torch.Generator) -> Scenes:
    """Heatmaps (width, height) px of the detections, and what the nets are to find in them."""
    count = len(frame_sets.joints)
    xy = to_heatmap_pixels(frame_sets.xy, frame_sets.views)
    sigma_scale = 1.0 + 0.36 * torch.rand(count, generator=generator, device=generator.device)
    found = frame_sets.scores[:, :, : frame_sets.joints.shape[1]] > 0
    return Scenes(
        heatmaps=render_keypoints(xy, frame_sets.scores, heatmap_size, sigma_scale),
        views=frame_sets.views,
        joints=frame_sets.joints,
        roots=frame_sets.joints[:, :, list(COCO17.root)].mean(dim=2),
        valid=frame_sets.valid,
        joint_views=found.sum(dim=1),
        person_views=found.any(dim=-1).sum(dim=1),
        focus=frame_sets.focus,
        floor=frame_sets.floor,
    )


def place_people(spaces: torch.Tensor, generator: torch.Generator, people: PeopleSource = sample_people):
    """Put people into spaces around x = y = 0: alone, spread out, and in close groups.

    Args:
        spaces: (B, 2) edge lengths, mm.

    Returns:
        joints (B, P, 17, 3) in mm, valid (B, P) bool, focus (B, 3): the first person's mid-hip.
    """
    count, device = len(spaces), generator.device

    def uniform(*size):
        return torch.rand(*size, generator=generator, device=device)

    joints = people(count * MAX_PEOPLE, generator).reshape(count, MAX_PEOPLE, 17, 3).clone()
    spread = (uniform(count, MAX_PEOPLE, 2) - 0.5) * spaces[:, None]
    # 40 % stand 350 to 900 mm from another person: crowds are where proposals and limbs get mixed up.
    angle = 2 * torch.pi * uniform(count, MAX_PEOPLE)
    gap = 350 + 550 * uniform(count, MAX_PEOPLE)
    beside = spread.roll(1, dims=1) + gap[..., None] * torch.stack([angle.cos(), angle.sin()], -1)
    grouped = uniform(count, MAX_PEOPLE) < 0.4
    grouped[:, 0] = False
    place = torch.where(grouped[..., None], beside, spread)
    joints[..., :2] += place[:, :, None]

    number = 1 + (MAX_PEOPLE * uniform(count, 1).square()).long()
    valid = torch.arange(MAX_PEOPLE, device=device) < number
    distance = (place[:, :, None] - place[:, None]).norm(dim=-1)
    earlier = torch.ones(MAX_PEOPLE, MAX_PEOPLE, device=device).tril(-1).bool()
    clash = (distance < MIN_DISTANCE) & earlier & valid[:, None]
    valid = valid & ~clash.any(dim=-1)
    focus = joints[:, 0, list(COCO17.root)].mean(dim=1)
    return joints, valid, focus


class RecordedPeople:
    """Half recorded poses, turned about the vertical, half procedural ones.

    Args:
        poses: (N, 17, 3) COCO-17, mm, z up, all joints known.
    """

    def __init__(self, poses: torch.Tensor):
        poses = poses.float().clone()
        poses[..., :2] -= poses[:, list(COCO17.root), :2].mean(dim=1, keepdim=True)
        # Soles lie lower than ankles.
        poses[..., 2] -= poses[..., 2].amin(dim=1, keepdim=True) - ANKLE_HEIGHT * 1700.0
        self._poses = poses

    def __call__(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """Joints (count, 17, 3), mm."""
        device = generator.device
        chosen = torch.randint(len(self._poses), (count,), generator=generator, device=device)
        poses = self._poses.to(device)[chosen]
        angle = 2 * torch.pi * torch.rand(count, 1, generator=generator, device=device)
        x, y, z = poses.unbind(-1)
        c, s = angle.cos(), angle.sin()
        turned = torch.stack([c * x - s * y, s * x + c * y, z], dim=-1)
        recorded = torch.rand(count, 1, 1, generator=generator, device=device) < _RECORDED_SHARE
        return torch.where(recorded, turned, sample_people(count, generator))


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
    return dataclasses.replace(views, present=present)


def _look_elsewhere(
    focus: torch.Tensor, spaces: torch.Tensor, origin: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """Replace a quarter of the places by random ones: rays of different people cross there."""
    uniform = torch.rand(len(focus), 3, generator=generator, device=focus.device)
    place = torch.cat([(uniform[:, :2] - 0.5) * spaces + origin[:2], focus[:, 2:]], dim=1)
    return torch.where(uniform[:, 2:] < 0.25, place, focus)
