"""Scenes for the ray model: what rays need is drawn, no heatmap.

To the errors of `detection_noise` it adds those that matter to rays of several cameras: exposures that
are not simultaneous, a detector's habits, people merged into one detection (or one split into two),
limbs given to the neighbour, and calibrations that are worse than usual. And it keeps the net from
trusting its idea of a body more than rays that agree: every person's joints lie a little elsewhere, as
bodies, clothes and detectors differ in where a hip is, and many detectors are sharper than
`detection_noise` makes them. Everything is batched on the device of the generator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from voxelpose_core.datasets.people import sample_people
from voxelpose_core.datasets.random_rigs import (
    HEATMAP_SIZES,
    miscalibrate,
    sample_rigs,
    sample_spaces,
)
from voxelpose_core.datasets.random_scenes import PeopleSource, RigCopies, sample_frame_sets
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.geometry.space import Space
from voxelpose_core.heatmaps import box_side
from voxelpose_core.models.ray_solver import facing, turned
from voxelpose_core.models.rays import Rays, rays_of_views
from voxelpose_core.skeletons import COCO17
from voxelpose_core.voxel.views import Views, project

# Number of cameras of a random rig, and how often it is drawn: few cameras are the hard case.
VIEW_COUNTS = {2: 0.24, 3: 0.28, 4: 0.20, 5: 0.13, 6: 0.07, 8: 0.08}
# Share of scenes whose people move between the exposures of the cameras, and limits of what happens
# then: milliseconds between a camera and the mean, speed of people in mm/s, of limbs relative to them.
_MOVING_SHARE = 0.5
_EXPOSURE_MS = 25.0
_PEOPLE_SPEED = 1500.0
_LIMB_SPEED = (
    (200.0,) * 5 + (250.0,) * 2 + (600.0,) * 2 + (1200.0,) * 2 + ((200.0,) * 2 + (500.0,) * 2 + (900.0,) * 2)
)
# Standard deviation of a joint's constant displacement by one detector, as a share of the box side.
_BIAS = 0.006
# Standard deviation in mm of where a person's joint is said to be, in each direction: alike on both sides
# of the body, and of one side alone.
_DEFINITION = (12.0,) * 5 + (20.0,) * 2 + (14.0,) * 4 + (26.0,) * 2 + (20.0,) * 2 + (16.0,) * 2
_ONE_SIDED = 7.0
# Errors of detections are multiplied by a factor between these in a scene, and by the exponential of a
# Gaussian with this deviation for every person of a view, and again for every joint. Errors beyond a share
# of the box side are gross and stay.
_SHARPNESS = (0.3, 1.1)
_SPREAD = 0.35
_GROSS = 0.15
# Parts of the body that a detector may give to a neighbour, and halves into which it splits people.
_UPPER = tuple(range(11))
_PARTS = (_UPPER, tuple(range(11, 17)), (7, 9), (8, 10), (13, 15), (14, 16), (7, 8, 9, 10), (13, 14, 15, 16))
# Share of the people's last poses that are another person's.
_OTHER_TRACK = 0.1
# Neighbours in an image: nearer than this share of the larger box, between mid-points.
_NEIGHBOURS = 0.45


@dataclass(frozen=True)
class RayScenes:
    """B scenes to train on.

    Attributes:
        rays: of the 2D detections, by the calibration that the user has.
        views: that calibration.
        joints: (B, P, J, 3) true people, mm.
        valid: (B, P) bool: the person exists.
        joint_views: (B, P, J) number of views in which the joint was detected.
        person_views: (B, P) number of views in which the person was detected.
        floor: (B,) height of the ground, mm.
    """

    rays: Rays
    views: Views
    joints: torch.Tensor
    valid: torch.Tensor
    joint_views: torch.Tensor
    person_views: torch.Tensor
    floor: torch.Tensor


# Draws scenes on the generator's device: (count, generator) -> RayScenes.
RaySource = Callable[[int, torch.Generator], RayScenes]


class RandomRayScenes:
    """Scenes of rigs of 2 to 8 cameras, drawn anew for every batch.

    Args:
        people: draws poses.
        view_counts: numbers of cameras and how often each is drawn.
    """

    def __init__(self, people: PeopleSource = sample_people, view_counts: dict[int, float] = VIEW_COUNTS):
        self._people, self._view_counts = people, view_counts

    def __call__(self, count: int, generator: torch.Generator) -> RayScenes:
        """Draw `count` scenes on the device of `generator`; all have the same number of cameras."""
        device = generator.device
        weights = torch.tensor(list(self._view_counts.values()), device=device)
        drawn = int(torch.multinomial(weights, 1, generator=generator))
        which = int(torch.randint(len(HEATMAP_SIZES), (), generator=generator, device=device))
        spaces = sample_spaces(count, generator)
        views = sample_rigs(spaces, list(self._view_counts)[drawn], HEATMAP_SIZES[which], generator)
        origin = torch.zeros(3, device=device)
        return ray_scenes(views, spaces, origin, generator, self._people)


class OneRigRayScenes:
    """Scenes of one rig: random people and detector errors before its own cameras.

    Args:
        rig: its cameras.
        space: where people stand, mm.
        people: draws poses.
    """

    def __init__(self, rig: Rig, space: Space, people: PeopleSource = sample_people):
        # Rays need no heatmaps: of the views only the lenses and the images' sizes are read.
        self._copies = RigCopies(Views.from_cameras(rig.cameras, (4, 4), (1, 1)), space)
        self._people = people

    def __call__(self, count: int, generator: torch.Generator) -> RayScenes:
        """Draw `count` scenes on the device of `generator`."""
        return ray_scenes(*self._copies(count, generator.device), generator, self._people)


def ray_scenes(
    views: Views,
    spaces: torch.Tensor,
    origin: torch.Tensor,
    generator: torch.Generator,
    people: PeopleSource = sample_people,
) -> RayScenes:
    """People before the given cameras as a detector sees them, as rays.

    Args:
        views: the true cameras of B rigs.
        spaces: (B, 2) edge lengths of the capture spaces on the ground, mm.
        origin: (3,) middle of the spaces on the ground, mm.
        generator: source of randomness, on the device of the tensors.
        people: draws their poses.
    """
    level = torch.rand(len(spaces), generator=generator, device=generator.device)
    scene = sample_frame_sets(views, spaces, origin, level, generator, _with_own_joints(people))
    count = scene.joints.shape[1]
    still = _pixels(scene.joints[:, None].expand(-1, scene.xy.shape[1], -1, -1, -1), views)
    xy = _sharpen(scene.xy, scene.scores, *still, generator)
    xy = _move_between_exposures(xy, scene.joints, *still, views, generator)
    xy = _habits(xy, scene.scores, generator)
    xy, scores = confuse_people(xy, scene.scores, level, generator)
    # Whoever was merged with a neighbour in a view is not to be found there.
    found = (scene.scores[:, :, :count] > 0) & (scores[:, :, :count] > 0).any(dim=-1, keepdim=True)
    xy, scores = _without_empty_slots(xy, scores)
    return RayScenes(
        rays=rays_of_views(xy, scores, _worse(scene.views, generator)),
        views=scene.views,
        joints=scene.joints,
        valid=scene.valid,
        joint_views=found.sum(dim=1),
        person_views=found.any(dim=-1).sum(dim=1),
        floor=scene.floor,
    )


def _without_empty_slots(xy: torch.Tensor, scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Detections first, and no more slots than the fullest view of the batch needs."""
    exists = (scores > 0).any(dim=-1)
    most = max(1, int(exists.sum(dim=-1).max()))
    order = exists.float().argsort(dim=-1, descending=True, stable=True)[:, :, :most]
    index = order[..., None].expand(-1, -1, -1, scores.shape[-1])
    return xy.gather(2, index[..., None].expand(-1, -1, -1, -1, 2)), scores.gather(2, index)


def _uniform(generator: torch.Generator, *size) -> torch.Tensor:
    return torch.rand(*size, generator=generator, device=generator.device)


def _normal(generator: torch.Generator, *size) -> torch.Tensor:
    return torch.randn(*size, generator=generator, device=generator.device)


def _worse(views: Views, generator: torch.Generator) -> Views:
    """A fifth of the rigs are calibrated up to three times worse than usual."""
    level = 3 * _uniform(generator, len(views.C)) * (_uniform(generator, len(views.C)) < 0.2)
    return miscalibrate(views, level, generator)


def _with_own_joints(people: PeopleSource) -> PeopleSource:
    """The same people, each with joints a little elsewhere."""

    def draw(count: int, generator: torch.Generator) -> torch.Tensor:
        joints = people(count, generator)
        mirror = list(COCO17.mirror)
        size = torch.tensor(_DEFINITION, device=joints.device)[:, None]
        shift = _normal(generator, *joints.shape)
        # Ahead, to the left, up: the sides' shifts mirror each other, and the nose's is in the middle.
        reflected = shift[:, mirror] * shift.new_tensor([1.0, -1.0, 1.0])
        both = (shift + reflected) / 2**0.5 * size + _ONE_SIDED * _normal(generator, *joints.shape)
        return joints + turned(both, facing(joints), back=True)

    return draw


def _sharpen(
    xy: torch.Tensor,
    scores: torch.Tensor,
    true: torch.Tensor,
    seen: torch.Tensor,
    generator: torch.Generator,
) -> torch.Tensor:
    """Make the errors of detections (B, V, P', J, 2) of people at pixels `true` (B, V, P, J, 2), of which
    the cameras see those that are `seen`, smaller, and less even."""
    batch, _, people = true.shape[:3]
    found = scores[:, :, :people] > 0
    side = box_side(true, found & seen)
    error = xy[:, :, :people] - true
    low, high = _SHARPNESS
    factor = low + (high - low) * _uniform(generator, batch, 1, 1, 1)
    factor = factor * torch.exp(_SPREAD * _normal(generator, *found.shape[:3], 1))
    factor = factor * torch.exp(_SPREAD * _normal(generator, *found.shape))
    usual = seen & (error.norm(dim=-1) < _GROSS * side[..., None])
    result = xy.clone()
    result[:, :, :people] += torch.where(usual, factor - 1, torch.zeros_like(factor))[..., None] * error
    return result


def _pixels(joints: torch.Tensor, views: Views) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels (B, V, P, J, 2) of joints (B, V, P, J, 3) of each view, and whether it can see them."""
    flat = views.map(lambda tensor: tensor.flatten(0, 1))
    pixels, seen = project(joints.flatten(0, 1).flatten(1, 2), flat)
    return pixels.reshape(*joints.shape[:-1], 2), seen.reshape(joints.shape[:-1])


def _move_between_exposures(
    xy: torch.Tensor,
    joints: torch.Tensor,
    before: torch.Tensor,
    seen: torch.Tensor,
    views: Views,
    generator: torch.Generator,
) -> torch.Tensor:
    """Move detections (B, V, P', J, 2) of people (B, P, J, 3) to where each camera's shutter saw them.

    At rest they are at pixels `before` (B, V, P, J, 2), where the cameras see those that are `seen`.

    The truth is the pose at the mean time.
    """
    batch, view_count = views.present.shape
    people = joints.shape[1]
    moving = (_uniform(generator, batch) < _MOVING_SHARE).float()
    delay = _EXPOSURE_MS / 1e3 * (2 * _uniform(generator, batch, view_count) - 1)
    delay = (delay - delay.mean(dim=1, keepdim=True)) * moving[:, None]
    angle = 2 * torch.pi * _uniform(generator, batch, people, 1)
    speed = _PEOPLE_SPEED * _uniform(generator, batch, people, 1).square()
    walk = speed * torch.cat([angle.cos(), angle.sin(), torch.zeros_like(angle)], dim=-1)
    limbs = torch.tensor(_LIMB_SPEED, device=joints.device)[:, None]
    swing = _normal(generator, *joints.shape) * limbs * speed[..., None] / _PEOPLE_SPEED
    velocity = walk[:, :, None] + swing
    there = joints[:, None] + delay[:, :, None, None, None] * velocity[:, None]
    after, still_seen = _pixels(there, views)
    shift = torch.where((seen & still_seen)[..., None], after - before, torch.zeros_like(after))
    moved = xy.clone()
    moved[:, :, :people] += shift
    return moved


def _habits(xy: torch.Tensor, scores: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Each detector puts each joint a little beside where it is, in each view in its own way."""
    batch, view_count, _, joints = scores.shape
    habit = _normal(generator, batch, 1, 1, joints, 2) + _normal(generator, batch, view_count, 1, joints, 2)
    side = box_side(xy, scores > 0)[..., None, None]
    return xy + 0.7 * _BIAS * habit * side


def confuse_people(
    xy: torch.Tensor, scores: torch.Tensor, level: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Group some joints wrongly: limbs of a neighbour, two people in one detection, or one in two.

    Args:
        xy: (B, V, D, J, 2) pixels.
        scores: (B, V, D, J).
        level: (B,) how poor the detector is, 0 to 1.
        generator: source of randomness.

    Returns:
        xy (B, V, D + 1, J, 2) and scores (B, V, D + 1, J): the last slot holds half of a split person.
    """
    batch, view_count, detections, joints = scores.shape
    found = scores > 0
    exists = found.any(dim=-1)
    side = box_side(xy, found)
    count = found.sum(dim=-1, keepdim=True).clamp(min=1)
    middle = (xy * found[..., None]).sum(dim=-2) / count
    distance = (middle[:, :, :, None] - middle[:, :, None]).norm(dim=-1)
    same = torch.eye(detections, dtype=torch.bool, device=xy.device)
    apart = same | ~exists[:, :, :, None] | ~exists[:, :, None]
    distance = distance.masked_fill(apart, torch.inf)
    gap, neighbour = distance.min(dim=-1)
    close = gap < _NEIGHBOURS * side
    parts = torch.zeros(len(_PARTS), joints, dtype=torch.bool, device=xy.device)
    for index, part in enumerate(_PARTS):
        parts[index, list(part)] = True

    def chance(probability):
        return _uniform(generator, batch, view_count, detections) < probability

    poor = level[:, None, None]
    drawn = (len(_PARTS) * _uniform(generator, batch, view_count, detections)).long()
    taken = close & chance(0.03 + 0.07 * poor)
    foreign = parts[drawn.clamp(max=len(_PARTS) - 1)] & taken[..., None]
    index = neighbour[..., None].expand(-1, -1, -1, joints)
    theirs = torch.gather(xy, 2, index[..., None].expand(-1, -1, -1, -1, 2))
    mixed = torch.where(foreign[..., None], theirs, xy)
    mixed_scores = torch.where(foreign, torch.gather(scores, 2, index), scores)
    # A person behind a neighbour is not told apart: no detection of its own is left.
    merged = close & chance(0.02 + 0.08 * poor) & (torch.gather(side, 2, neighbour) > side)
    mixed_scores = mixed_scores * ~merged[..., None]
    return _split(mixed, mixed_scores, generator, 0.02 + 0.05 * level)


def _split(
    xy: torch.Tensor, scores: torch.Tensor, generator: torch.Generator, share: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """In some views one person's upper and lower half become two detections."""
    batch, view_count, detections, joints = scores.shape
    drawn = (detections * _uniform(generator, batch, view_count)).long().clamp(max=detections - 1)
    active = _uniform(generator, batch, view_count) < 4 * share[:, None]
    index = drawn[..., None, None]
    place = torch.gather(xy, 2, index[..., None].expand(-1, -1, 1, joints, 2))
    chosen = torch.gather(scores, 2, index.expand(-1, -1, 1, joints))
    upper = torch.zeros(joints, dtype=torch.bool, device=xy.device)
    upper[list(_UPPER)] = True
    kept = torch.where(active[..., None, None], chosen * upper, chosen)
    rest = chosen * ~upper * active[..., None, None]
    scores = scores.scatter(2, index.expand(-1, -1, 1, joints), kept)
    return torch.cat([xy, place], dim=2), torch.cat([scores, rest], dim=2)


def previous_poses(
    found: torch.Tensor,
    people: torch.Tensor,
    near: torch.Tensor,
    present_share: float,
    generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """What a tracker would hand over for M candidates: poses of the last frame, moved and in error.

    People and places without a person have one equally often, so that a last pose alone says nothing of
    whether a person is there. A person's own track repeats part of the error of the present detections,
    because a detector's errors last. Other tracks are those of false positives, of the person next to the
    candidate, and of people who left: any pose, where the candidate is.

    Args:
        found: (M, J, 3) what the net makes of the candidates without a last pose, mm.
        people: (M, J, 3) the person nearest to each candidate.
        near: (M,) bool: the candidate is at that person.
        present_share: share of the candidates that have a last pose.
        generator: source of randomness, on the device of the tensors.

    Returns:
        poses (M, J, 3), mm, and whether there is one (M,) bool.
    """
    count, joints = found.shape[:2]
    if count == 0:
        return found.clone(), near.clone()
    present = _uniform(generator, count) < present_share
    kept = 0.9 * _uniform(generator, count, 1, 1)
    own = people + kept * (found - people)
    drawn = (count * _uniform(generator, count)).long().clamp(max=count - 1)
    hips = list(COCO17.root)
    middle = found[:, hips].mean(dim=1, keepdim=True)
    any_pose = people[drawn] + middle - people[drawn][:, hips].mean(dim=1, keepdim=True)
    kind = _uniform(generator, count)[:, None, None]
    of_person = torch.where(kind < _OTHER_TRACK, any_pose, own)
    elsewhere = torch.where(kind < 0.4, found, torch.where(kind < 0.7, any_pose, people))
    poses = torch.where(near[:, None, None], of_person, elsewhere)
    together = 60.0 * _uniform(generator, count, 1, 1) * _normal(generator, count, 1, 3)
    # What a tracker does not foresee is how limbs are accelerated.
    limbs = torch.tensor(_LIMB_SPEED, device=found.device)[:, None] / 1e3
    size = 6.0 + 25.0 * _uniform(generator, count, 1, 1)
    size = size + 120.0 * _uniform(generator, count, 1, 1).square() * limbs
    # A hand that was wrong in the last frame is far from where it is now.
    gross = _uniform(generator, count, joints, 1) < 0.05
    error = _normal(generator, *found.shape) * size * torch.where(gross, 4.0, 1.0)
    return poses + together + error, present
