"""What 2D detectors get wrong, applied to projected people in batches.

Magnitudes are shares of the longer side of the person's box in the image. They range from a good
detector on clear views (level 0) to a poor one on small, crowded images (level 1), and were set by
`benchmarks/measure_detections.py`: OpenPose on Shelf and MoveNet on Pose2Sim's video lie between
levels 0.2 and 0.6 in nearly everything it counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from voxelpose_core.heatmaps import box_side
from voxelpose_core.skeletons import COCO17
from voxelpose_core.voxel.views import Views, project

# Jitter of a joint as a share of the box side at level 0 and level 1, in COCO order: face,
# shoulders, elbows, wrists, hips, knees, ankles.
_JITTER_LOW = (0.006,) * 5 + (0.009,) * 2 + (0.010,) * 2 + (0.011,) * 2 + (0.013,) * 2 + (0.010,) * 4
_JITTER_HIGH = (0.016,) * 5 + (0.022,) * 2 + (0.026,) * 2 + (0.030,) * 2 + (0.028,) * 2 + (0.024,) * 4
# Share of joints that are missed though nothing hides them, at level 1.
_MISS_HIGH = (0.20,) * 5 + (0.06,) * 2 + (0.22,) * 2 + (0.28,) * 2 + (0.06,) * 2 + (0.10,) * 2 + (0.16,) * 2
# How readily a joint is left out because something hides it: detectors infer trunks, not forearms.
_MISS_HIDDEN = (1.0,) * 5 + (0.3,) * 2 + (1.0,) * 2 + (1.0,) * 2 + (0.2,) * 2 + (0.35,) * 2 + (0.45,) * 2
# What scores lose at most from trunk to hands and feet.
_SCORE_LOSS = (0.1,) * 5 + (0.0,) * 2 + (0.15,) * 2 + (0.4,) * 2 + (0.05,) * 2 + (0.1,) * 2 + (0.25,) * 2
# The body as capsules: pairs of joints and a radius in mm. They hide what lies behind them.
_CAPSULES = (
    ("left_shoulder", "left_hip", 130.0),
    ("right_shoulder", "right_hip", 130.0),
    ("left_shoulder", "right_shoulder", 90.0),
    ("left_ear", "right_ear", 110.0),
    ("left_shoulder", "left_elbow", 55.0),
    ("right_shoulder", "right_elbow", 55.0),
    ("left_elbow", "left_wrist", 45.0),
    ("right_elbow", "right_wrist", 45.0),
    ("left_hip", "left_knee", 85.0),
    ("right_hip", "right_knee", 85.0),
    ("left_knee", "left_ankle", 60.0),
    ("right_knee", "right_ankle", 60.0),
)
# A joint counts as hidden only when it is this much farther away than what covers it.
_DEPTH_MARGIN = 120.0
# Fewer joints than this do not make a detection.
_MIN_JOINTS = 4


@dataclass(frozen=True)
class Detections:
    """2D detections of B scenes in V views.

    Attributes:
        xy: (B, V, P, J, 2) pixels of the original images.
        scores: (B, V, P, J), 0 for a joint that was not detected.
    """

    xy: torch.Tensor
    scores: torch.Tensor


class _Random:
    def __init__(self, generator: torch.Generator):
        self.generator, self.device = generator, generator.device

    def uniform(self, *size) -> torch.Tensor:
        return torch.rand(*size, generator=self.generator, device=self.device)

    def normal(self, *size) -> torch.Tensor:
        return torch.randn(*size, generator=self.generator, device=self.device)

    def chance(self, probability, *size) -> torch.Tensor:
        return self.uniform(*size) < probability


def detect(
    joints: torch.Tensor,
    valid: torch.Tensor,
    views: Views,
    level: torch.Tensor,
    generator: torch.Generator,
) -> Detections:
    """Simulate a 2D detector on people in front of cameras.

    Args:
        joints: (B, P, 17, 3) COCO-17, mm.
        valid: (B, P) bool, which people exist.
        views: the V cameras of each scene.
        level: (B,) 0 (good) to 1 (poor).
        generator: source of randomness, on the device of `joints`.
    """
    random = _Random(generator)
    xy, depth, seen = _project_people(joints, valid, views)
    side = box_side(xy, seen)
    hidden = _covered(xy, depth, joints, valid, views)
    by_self = hidden.diagonal(dim1=2, dim2=4).permute(0, 1, 3, 2)
    others = ~torch.eye(joints.shape[1], dtype=torch.bool, device=joints.device)
    by_others = (hidden & others[:, None, :]).any(dim=-1)
    by_self = by_self | _face_turned_away(joints, views)

    level = level[:, None, None, None]
    found = seen & ~_missed(seen, by_self, by_others, level, random)
    xy = _jitter(xy, side, by_self | by_others, level, random)
    xy = _borrow_limbs(xy, depth, by_others, level, random)
    xy = _swap_sides(xy, level, random)
    scores = _scores(found, by_self | by_others, random)
    scores = _drop_people(scores, side, level, random)
    scores = _blocked_by_furniture(xy, scores, views, random)
    xy, scores = _add_false_people(xy, scores, views, level, random)
    scores = scores * (scores > 0).sum(dim=-1, keepdim=True).ge(_MIN_JOINTS)
    return Detections(xy, _peak_style(scores, random))


def _project_people(joints, valid, views: Views):
    """xy (B, V, P, J, 2), depth (B, V, P, J) and seen (B, V, P, J)."""
    batch, people, count = joints.shape[:3]
    view_count = len(views)
    points = joints.reshape(batch, 1, -1, 3).expand(-1, view_count, -1, -1).flatten(0, 1)
    flat = views.map(lambda tensor: tensor.flatten(0, 1))
    pixels, seen = project(points, flat)
    depth = ((points - flat.C[:, None]) * flat.R[:, None, 2]).sum(dim=-1)
    shape = (batch, view_count, people, count)
    seen = seen.reshape(shape) & valid[:, None, :, None]
    return pixels.reshape(*shape, 2).clamp(-1e4, 1e4), depth.reshape(shape), seen


def _covered(xy, depth, joints, valid, views: Views) -> torch.Tensor:
    """(B, V, P, J, Q) bool: joint j of person p lies behind the body of person q."""
    first = [COCO17.index(a) for a, _, _ in _CAPSULES]
    second = [COCO17.index(b) for _, b, _ in _CAPSULES]
    radius = torch.tensor([r for _, _, r in _CAPSULES], device=xy.device)
    start, end = xy[:, :, :, first], xy[:, :, :, second]  # (B, V, Q, S, 2)
    capsule_depth = torch.minimum(depth[:, :, :, first], depth[:, :, :, second])
    focal = views.K[:, :, 0, 0][:, :, None, None]
    width = radius * focal / capsule_depth.clamp(min=200)
    point = xy[:, :, :, :, None, None]  # (B, V, P, J, 1, 1, 2)
    a, b = start[:, :, None, None], end[:, :, None, None]  # (B, V, 1, 1, Q, S, 2)
    along = ((point - a) * (b - a)).sum(-1) / (b - a).square().sum(-1).clamp(min=1e-6)
    nearest = a + along.clamp(0, 1)[..., None] * (b - a)
    touches = (point - nearest).square().sum(-1) < width[:, :, None, None].square()
    behind = depth[..., None, None] > capsule_depth[:, :, None, None] + _DEPTH_MARGIN
    covers = touches & behind & valid[:, None, None, None, :, None]
    covers = covers & (capsule_depth > 200)[:, :, None, None]
    # A joint is never hidden by a limb that it belongs to.
    owns = torch.zeros(17, len(_CAPSULES), dtype=torch.bool, device=xy.device)
    owns[first, range(len(first))] = True
    owns[second, range(len(second))] = True
    same = torch.eye(joints.shape[1], dtype=torch.bool, device=xy.device)
    covers = covers & ~(same[:, None, :, None] & owns[None, :, None, :])
    return covers.any(dim=-1)


def _face_turned_away(joints, views: Views) -> torch.Tensor:
    """(B, V, P, J) bool: eyes, ears and nose on the far side of the head."""
    nose, left_ear, right_ear = joints[:, :, 0], joints[:, :, 3], joints[:, :, 4]
    middle = (left_ear + right_ear) / 2
    to_camera = torch.nn.functional.normalize(views.C[:, :, None] - middle[:, None], dim=-1)
    forward = torch.nn.functional.normalize(nose - middle, dim=-1)[:, None]
    left = torch.nn.functional.normalize(left_ear - right_ear, dim=-1)[:, None]
    facing = (to_camera * forward).sum(-1)
    leftward = (to_camera * left).sum(-1)
    hidden = torch.zeros(*facing.shape, 17, dtype=torch.bool, device=joints.device)
    hidden[..., 0] = facing < -0.25
    hidden[..., 1] = (facing < -0.1) | (leftward < -0.75)
    hidden[..., 2] = (facing < -0.1) | (leftward > 0.75)
    hidden[..., 3] = leftward < -0.3
    hidden[..., 4] = leftward > 0.3
    return hidden


def _missed(seen, by_self, by_others, level, random: _Random) -> torch.Tensor:
    """(B, V, P, J) bool: joints without a detection."""
    shape = seen.shape
    base = torch.tensor(_MISS_HIGH, device=seen.device) * level
    # Each view of each person has its own difficulty, so that misses come together: most have few.
    difficulty = 4 * random.uniform(*shape[:3], 1) ** 3
    # Some detectors answer for every joint, others leave out what they do not see.
    reticent = random.uniform(shape[0], 1, 1, 1)
    hidden = torch.tensor(_MISS_HIDDEN, device=seen.device)
    probability = base * difficulty
    probability = probability + by_self * hidden * 0.5 * reticent
    probability = probability + by_others * hidden * (0.3 + 0.5 * reticent)
    missed = random.chance(probability, *shape)
    # A limb is often lost from some joint outwards.
    for inner, outer in ((7, 9), (8, 10), (13, 15), (14, 16)):
        follow = missed[..., inner] & random.chance(0.5, *shape[:3])
        missed[..., outer] = missed[..., outer] | follow
    return missed


def _jitter(xy, side, hidden, level, random: _Random) -> torch.Tensor:
    low = torch.tensor(_JITTER_LOW, device=xy.device)
    high = torch.tensor(_JITTER_HIGH, device=xy.device)
    share = low + (high - low) * level
    share = torch.where(hidden, 2.5 * share, share)
    # Detectors err grossly now and then.
    gross = random.chance(0.01 + 0.02 * level, *share.shape)
    share = torch.where(gross, 5 * share, share)
    offset = random.normal(*xy.shape) * share[..., None]
    # The whole box may be a little off, too.
    common = 0.004 * random.normal(*xy.shape[:3], 1, 2)
    return xy + (offset + common) * side[..., None, None]


def _borrow_limbs(xy, depth, by_others, level, random: _Random) -> torch.Tensor:
    """Some hidden joints are taken from the nearest other person in the image."""
    if xy.shape[2] < 2:
        return xy
    distance = (xy[:, :, :, None] - xy[:, :, None]).norm(dim=-1)  # (B, V, P, Q, J)
    same = torch.eye(xy.shape[2], dtype=torch.bool, device=xy.device)
    distance = distance.masked_fill(same[..., None] | (depth[:, :, None] <= 0), float("inf"))
    nearest = distance.argmin(dim=3)
    other = torch.gather(xy, 2, nearest[..., None].expand_as(xy))
    take = by_others & random.chance(0.1 + 0.2 * level, *by_others.shape)
    return torch.where(take[..., None], other, xy)


def _swap_sides(xy, level, random: _Random) -> torch.Tensor:
    """Left and right exchanged: of the whole body, the arms, or the legs."""
    mirror = torch.arange(17, device=xy.device).repeat(4, 1)
    partner = torch.tensor(COCO17.mirror, device=xy.device)
    mirror[1] = partner
    mirror[2, 5:11] = partner[5:11]
    mirror[3, 11:] = partner[11:]
    kind = 1 + (3 * random.uniform(*xy.shape[:3])).long().clamp(max=2)
    swapped = random.chance((0.005 + 0.03 * level)[..., 0], *xy.shape[:3])
    kind = torch.where(swapped, kind, torch.zeros_like(kind))
    return torch.gather(xy, 3, mirror[kind][..., None].expand_as(xy))


def _scores(found, hidden, random: _Random) -> torch.Tensor:
    """Confidence of found joints: high where visible, low and spread where hidden."""
    shape = found.shape
    good = 1 - 0.35 * random.uniform(*shape).square() - 0.15 * random.uniform(*shape[:3], 1)
    poor = 0.1 + 0.6 * random.uniform(*shape)
    score = torch.where(hidden | random.chance(0.04, *shape), poor, good)
    # Detectors are confident in different measure, the more so about hands and feet.
    shy = random.uniform(shape[0], 1, 1, 1)
    loss = torch.tensor(_SCORE_LOSS, device=found.device)
    return (score * (1 - 0.3 * shy) * (1 - loss * shy)).clamp(0.05, 1.0) * found


def _drop_people(scores, side, level, random: _Random) -> torch.Tensor:
    """Whole people missed in a view, more often when small."""
    small = (1 - side / 60).clamp(0, 1)
    probability = 0.02 + 0.10 * level[..., 0] + 0.5 * small
    return scores * ~random.chance(probability, *side.shape)[..., None]


def _blocked_by_furniture(xy, scores, views: Views, random: _Random) -> torch.Tensor:
    """In some views a rectangle hides everything behind it."""
    batch, view_count = scores.shape[:2]
    size = views.image_size[:, :, None, None]
    center = random.uniform(batch, view_count, 1, 1, 2) * size
    extent = (0.05 + 0.25 * random.uniform(batch, view_count, 1, 1, 2)) * size
    inside = ((xy - center).abs() < extent / 2).all(dim=-1)
    active = random.chance(0.25, batch, view_count, 1, 1)
    lost = random.chance(0.85, *inside.shape)
    return scores * ~(inside & active & lost)


def _add_false_people(xy, scores, views: Views, level, random: _Random):
    """One more slot a view: a shadow, a poster, or a second answer for the same person."""
    batch, view_count, people = scores.shape[:3]
    pick = (people * random.uniform(batch, view_count)).long().clamp(max=people - 1)
    index = pick[:, :, None, None]
    copy = torch.gather(xy, 2, index[..., None].expand(-1, -1, 1, 17, 2))
    copy_scores = torch.gather(scores, 2, index.expand(-1, -1, 1, 17))
    size = views.image_size[:, :, None, None]
    middle = copy.mean(dim=3, keepdim=True)
    zoom = 0.5 + random.uniform(batch, view_count, 1, 1, 1)
    elsewhere = (copy - middle) * zoom + random.uniform(batch, view_count, 1, 1, 2) * size
    is_double = random.chance(0.4, batch, view_count, 1, 1)
    wobble = 0.02 * box_side(copy, copy_scores > 0)[..., None, None]
    double = copy + wobble * random.normal(*copy.shape)
    position = torch.where(is_double[..., None], double, elsewhere)
    inside = ((position >= 0) & (position < size)).all(dim=-1)
    exists = random.chance(0.06 + 0.2 * level, batch, view_count, 1, 1)
    weaker = 0.3 + 0.6 * random.uniform(batch, view_count, 1, 1)
    extra = copy_scores * inside * exists * weaker
    return torch.cat([xy, position], dim=2), torch.cat([scores, extra], dim=2)


def _peak_style(scores, random: _Random) -> torch.Tensor:
    """Peaks carry the detector's score, or are 1 for all that is detected."""
    binary = random.chance(0.3, len(scores), 1, 1, 1)
    return torch.where(binary, (scores > 0).to(scores.dtype), scores)
