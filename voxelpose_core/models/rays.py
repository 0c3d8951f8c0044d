"""Rays through 2D detections, and the places where rays of different cameras meet.

A keypoint of a calibrated camera is a ray: the camera's centre and a unit direction in the world, with
the lens removed. Two detections of one person in two views have rays that nearly meet, joint by joint.
The pairs of detections that do are the proposals of the ray model (cross-view pairing as in Dong et al.,
"Fast and Robust Multi-Person 3D Pose Estimation from Multiple Views", CVPR 2019, and Bermuth et al.,
"RapidPoseTriangulation", 2025, here without a decision: every pair votes for a place).

Shapes: B scenes, V views, D detections per view (padded), J joints, K proposals. Lengths are mm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from voxelpose_core.geometry.camera import Camera
from voxelpose_core.skeletons import COCO17
from voxelpose_core.voxel.views import Views

# Newton's steps from a distorted to an undistorted point.
_UNDISTORT_STEPS = 10
# Mean height of each COCO-17 joint over the mid-hip, mm, of people who stand, walk and sit.
JOINT_HEIGHTS = (
    (630.0, 660.0, 660.0, 640.0, 640.0)
    + (480.0,) * 2
    + (240.0,) * 2
    + (100.0,) * 2
    + ((0.0,) * 2 + (-370.0,) * 2 + (-720.0,) * 2)
)
# How much a joint tells of where the mid-hip is.
JOINT_WEIGHTS = (
    (0.15, 0.05, 0.05, 0.1, 0.1)
    + (0.5,) * 2
    + (0.12,) * 2
    + (0.05,) * 2
    + ((1.0,) * 2 + (0.25,) * 2 + (0.08,) * 2)
)
# Joints that decide whether two detections can be one person.
PAIR_JOINTS = tuple(
    COCO17.index(name)
    for name in (
        "nose left_shoulder right_shoulder left_elbow right_elbow left_hip right_hip left_knee right_knee"
    ).split()
)
# Two detections pair where their rays pass each other by less, in the mean of common joints, mm.
PAIR_GAP = 300.0
# Gaps are cut here before their mean is taken, so that a few wrong joints do not break a pair, mm.
_GAP_LIMIT = 500.0
# A gap of so much lowers a pair's vote by 1 / e, mm.
_GAP_SCALE = 120.0
# Width of the mean-shift step over the places that pairs vote for, and the least distance between two
# proposals, mm.
_SHIFT_WIDTH = 120.0
SUPPRESSION = 180.0
# A pair of detections proposes nobody where it has less than this share of what both of them have elsewhere.
# Chosen on generated rigs 500..513 (0.05 to 0.5; 0.2 and 0.3 are alike): with eight cameras half as many
# proposals, and 1981 in place of 1979 of the 2005 people who are detected in two views have one.
COINCIDENCE = 0.2
_FAR = 1e6
# Only so many pairs vote.
_MOST_PAIRS = 256


@dataclass(frozen=True)
class Rays:
    """The rays of all 2D detections of B scenes.

    Attributes:
        origins: (B, V, 3) camera centres, mm.
        directions: (B, V, D, J, 3) unit vectors in the world.
        scores: (B, V, D, J) of the keypoints; 0: not detected, or no such detection.
    """

    origins: torch.Tensor
    directions: torch.Tensor
    scores: torch.Tensor

    def map(self, function) -> Rays:
        """The same rays with `function` applied to every tensor."""
        return Rays(function(self.origins), function(self.directions), function(self.scores))

    def of_scenes(self, scene: torch.Tensor) -> Rays:
        """The rays of the scene of each of M candidates, scene (M,); of a single scene themselves, to be
        broadcast."""
        return self if self.origins.shape[0] == 1 else self.map(lambda tensor: tensor[scene])


@dataclass(frozen=True)
class Proposals:
    """Places where a person may stand, strongest first.

    Attributes:
        centers: (B, K, 3) mid-hips, mm.
        votes: (B, K) sum of the votes of the pairs that meet there; 0 for an empty slot.
    """

    centers: torch.Tensor
    votes: torch.Tensor


def components_first(vectors: torch.Tensor) -> torch.Tensor:
    """Vectors (..., 3) as (3, ...): operations on long rows cost a tenth of those on threes."""
    return vectors.permute(vectors.dim() - 1, *range(vectors.dim() - 1)).contiguous()


def components_last(vectors: torch.Tensor) -> torch.Tensor:
    """Vectors (3, ...) as (..., 3)."""
    return vectors.permute(*range(1, vectors.dim()), 0)


def lengths(vectors: torch.Tensor) -> torch.Tensor:
    """Lengths (...) of vectors (3, ...); PyTorch's norm is several times slower along the first axis."""
    return (vectors * vectors).sum(dim=0).clamp(min=1e-12).sqrt()


def rays_of_cameras(
    cameras: Sequence[Camera],
    keypoints: Sequence[np.ndarray | None],
    least_score: float,
    joint_count: int = len(COCO17),
) -> Rays:
    """Rays of one frame set, by `Camera.undistort`, so of any lens that a camera may have.

    Args:
        cameras: V cameras.
        keypoints: per camera (P, J, 3) x px, y px, score; None for a camera without a frame.
        least_score: keypoints with a lower score are left out.
        joint_count: J.

    Returns:
        Rays with B = 1 and D = the largest number of detections of a view, at least 1.
    """
    directions, scores = ray_arrays(cameras, keypoints, least_score, joint_count)
    origins = np.array([camera.C for camera in cameras], dtype=np.float32)
    return Rays(*(torch.from_numpy(array)[None] for array in (origins, directions, scores)))


def ray_arrays(
    cameras: Sequence[Camera],
    keypoints: Sequence[np.ndarray | None],
    least_score: float,
    joint_count: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Directions (V, D, J, 3) and scores (V, D, J) of `rays_of_cameras`, float32; keypoints in pixels."""
    most = max([1, *(len(people) for people in keypoints if people is not None)])
    directions = np.zeros((len(cameras), most, joint_count, 3), dtype=np.float32)
    directions[..., 2] = 1.0
    scores = np.zeros(directions.shape[:-1], dtype=np.float32)
    for view, (camera, people) in enumerate(zip(cameras, keypoints, strict=True)):
        if people is None or len(people) == 0:
            continue
        used = people[..., 2] >= max(least_score, 1e-6)
        directions[view, : len(people)][used] = camera.ray_directions(people[used][:, :2])
        scores[view, : len(people)] = np.where(used, people[..., 2], 0.0)
    return directions, scores


def rays_of_views(xy: torch.Tensor, scores: torch.Tensor, views: Views) -> Rays:
    """Rays of detections in B scenes, on the device of the views.

    Args:
        xy: (B, V, D, J, 2) pixels of the images.
        scores: (B, V, D, J), 0 for a joint that was not detected.
        views: the cameras.
    """
    points = undistort(xy.flatten(2, 3), views)
    local = torch.cat([points, torch.ones_like(points[..., :1])], dim=-1)
    world = torch.nn.functional.normalize(local @ views.R, dim=-1)
    present = views.present[:, :, None, None] > 0
    return Rays(views.C, world.reshape(*xy.shape[:-1], 3), scores * present)


def undistort(pixels: torch.Tensor, views: Views) -> torch.Tensor:
    """Pixels -> normalized undistorted image coordinates, by Newton's method on the lens model.

    The pinhole model of `Camera` (five or eight coefficients) is inverted in two dimensions, the
    equidistant fisheye in the angle. A point beyond the valid radius is taken to that radius.

    Args:
        pixels: (B, V, M, 2).
        views: the cameras.

    Returns:
        (B, V, M, 2).
    """
    K = views.K[:, :, None]
    y = (pixels[..., 1] - K[..., 1, 2]) / K[..., 1, 1]
    x = (pixels[..., 0] - K[..., 0, 2] - K[..., 0, 1] * y) / K[..., 0, 0]
    distorted = torch.stack([x, y], dim=-1)
    limit = views.valid_radius[:, :, None]
    points = distorted
    if (views.distortion * (1 - views.fisheye[..., None])).any():
        points = _invert_pinhole(distorted, views.distortion[:, :, None], limit)
    if views.fisheye.any():
        fisheye = _invert_fisheye(distorted, views.distortion[:, :, None], limit)
        points = torch.where(views.fisheye[:, :, None, None] > 0, fisheye, points)
    return points


def _invert_pinhole(distorted: torch.Tensor, coefficients: torch.Tensor, limit: torch.Tensor) -> torch.Tensor:
    k1, k2, p1, p2, k3, k4, k5, k6 = coefficients.unbind(-1)
    point = distorted
    for _ in range(_UNDISTORT_STEPS):
        x, y = point.unbind(-1)
        r2 = x * x + y * y
        top, bottom = 1 + r2 * (k1 + r2 * (k2 + r2 * k3)), 1 + r2 * (k4 + r2 * (k5 + r2 * k6))
        radial = top / bottom
        slope = (k1 + r2 * (2 * k2 + r2 * 3 * k3)) - radial * (k4 + r2 * (2 * k5 + r2 * 3 * k6))
        slope = slope / bottom
        error_x = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x) - distorted[..., 0]
        error_y = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y - distorted[..., 1]
        xx = radial + 2 * x * x * slope + 2 * p1 * y + 6 * p2 * x
        yy = radial + 2 * y * y * slope + 6 * p1 * y + 2 * p2 * x
        xy = 2 * x * y * slope + 2 * p1 * x + 2 * p2 * y
        determinant = (xx * yy - xy * xy).clamp(min=1e-4)
        step = torch.stack([yy * error_x - xy * error_y, xx * error_y - xy * error_x], dim=-1)
        point = point - step / determinant[..., None]
        radius = point.norm(dim=-1).clamp(min=1e-9)
        point = point * (limit / radius).clamp(max=1.0)[..., None]
    return point


def _invert_fisheye(distorted: torch.Tensor, coefficients: torch.Tensor, limit: torch.Tensor) -> torch.Tensor:
    k1, k2, k3, k4 = coefficients[..., :4].unbind(-1)
    radius = distorted.norm(dim=-1)
    angle = radius.minimum(limit)
    for _ in range(_UNDISTORT_STEPS):
        a2 = angle * angle
        value = angle * (1 + a2 * (k1 + a2 * (k2 + a2 * (k3 + a2 * k4))))
        slope = 1 + a2 * (3 * k1 + a2 * (5 * k2 + a2 * (7 * k3 + a2 * 9 * k4)))
        angle = (angle - (value - radius) / slope.clamp(min=0.05)).clamp(min=0.0).minimum(limit)
    scale = torch.where(radius > 1e-6, angle.tan() / radius.clamp(min=1e-6), torch.ones_like(radius))
    return distorted * scale[..., None]


def propose(rays: Rays, limit: int, pairs: torch.Tensor | None = None) -> Proposals:
    """Places where detections of different views meet.

    Of each pair of detections in two views the rays of common joints are brought together: at their
    closest approach lie a place of the joint and a gap. A pair whose mean gap is below 300 mm votes
    for the mid-hip, the weighted mean of its joints' places, each lowered by its mean height over the
    hips. One mean-shift step moves every vote to where votes are dense. Where rays of different people
    cross by coincidence, each of them belongs to a denser place, its own person: such pairs are left out.
    The densest places are kept.

    Args:
        rays: of B scenes.
        limit: K, the number of proposals per scene, empty slots included.
        pairs: what `detection_pairs` answers for these rays, where the caller keeps it.
    """
    if pairs is None:
        pairs = _pairs_on(*rays.scores.shape[1:3], rays.scores.device)
    places, votes = pair_votes(rays, pairs)
    # A slice, because it ends where there is no more.
    votes, strongest = (part[:, :_MOST_PAIRS] for part in votes.sort(dim=1, descending=True))
    places = places.gather(1, strongest[..., None].expand(-1, -1, 3))
    x = components_first(places)
    between = x[..., None] - x[:, :, None]
    squared = (between * between).sum(dim=0)
    # The limit keeps numbers out of the range below 1e-38, where processors compute slowly.
    exponent = (squared * (-0.5 / _SHIFT_WIDTH**2)).clamp(min=-60.0)
    kernel = torch.exp(exponent) * votes[:, None]
    density = kernel.sum(dim=-1)
    shifted = (kernel @ places) / density[..., None].clamp(min=1e-9)
    density = density * (votes > 0)
    detections = rays.scores.shape[1] * rays.scores.shape[2]
    coincidence = _coincidences(density * votes, pairs[:, 0][strongest], pairs[:, 1][strongest], detections)
    return _separate(shifted, density * ~coincidence, limit)


def _coincidences(
    belonging: torch.Tensor, one: torch.Tensor, other: torch.Tensor, detections: int
) -> torch.Tensor:
    """Which of M pairs of detections (B, M) meet where neither of the two belongs.

    Args:
        belonging: (B, M) how much the detections of a pair belong to its place: the density there times the
            pair's own vote.
        one, other: (B, M) the detections of each pair, of all views.
        detections: how many there are.
    """
    number = torch.arange(detections, device=belonging.device)
    takes_part = (one[..., None] == number) | (other[..., None] == number)
    most = (belonging[..., None] * takes_part).amax(dim=1)
    return belonging < COINCIDENCE * torch.minimum(most.gather(1, one), most.gather(1, other))


def pair_votes(rays: Rays, pairs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mid-hips (B, M, 3) and votes (B, M) of all M pairs of detections in two views; 0: no pair."""
    one, other, view_one, view_other = pairs.unbind(1)
    joints = list(PAIR_JOINTS)
    directions = components_first(rays.directions[..., joints, :].flatten(1, 2))
    scores = rays.scores[..., joints].flatten(1, 2)
    places, gaps = closest_approach(
        rays.origins[:, view_one, None],
        components_last(directions[:, :, one]),
        rays.origins[:, view_other, None],
        components_last(directions[:, :, other]),
    )
    places = components_first(places)
    common = ((scores[:, one] > 0) & (scores[:, other] > 0)).to(gaps.dtype)
    count = common.sum(dim=-1)
    gaps = gaps.clamp(max=_GAP_LIMIT)
    mean_gap = (gaps * common).sum(dim=-1) / count.clamp(min=1)
    heights = gaps.new_tensor(JOINT_HEIGHTS)[joints]
    # A joint whose rays miss each other tells little of the place.
    weights = gaps.new_tensor(JOINT_WEIGHTS)[joints] * common * torch.exp(-gaps / _GAP_SCALE)
    weights = weights / weights.sum(dim=-1, keepdim=True).clamp(min=1e-9)
    middle = (places * weights).sum(dim=-1)
    lowered = middle[2] - (heights * weights).sum(dim=-1)
    place = torch.stack([middle[0], middle[1], lowered], dim=-1)
    agreement = (torch.exp(-gaps / _GAP_SCALE) * common).sum(dim=-1) / (count + 1)
    votes = agreement * ((count >= 2) & (mean_gap < PAIR_GAP))
    return place, votes


def closest_approach(
    start: torch.Tensor, ray: torch.Tensor, other_start: torch.Tensor, other_ray: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Middle (..., 3) and length (...) of the shortest connection of two lines, mm.

    Rays (..., 3) have length 1. Lines that come together behind a start have an infinite gap (1e6).
    """
    lines = (start, ray, other_start, other_ray)
    rank = max(line.dim() for line in lines)
    start, ray, other_start, other_ray = (
        components_first(line[(None,) * (rank - line.dim())]) for line in lines
    )
    between = start - other_start
    cosine = (ray * other_ray).sum(dim=0)
    along, other_along = (ray * between).sum(dim=0), (other_ray * between).sum(dim=0)
    sine2 = (1 - cosine * cosine).clamp(min=1e-5)
    depth = (cosine * other_along - along) / sine2
    other_depth = (other_along - cosine * along) / sine2
    in_front = (depth > 0) & (other_depth > 0)
    depth, other_depth = depth.clamp(0, 1e5), other_depth.clamp(0, 1e5)
    point = start + depth * ray
    other_point = other_start + other_depth * other_ray
    gap = lengths(point - other_point)
    middle = components_last((point + other_point) * 0.5)
    return middle, torch.where(in_front, gap, torch.full_like(gap, _FAR))


@lru_cache(maxsize=64)
def detection_pairs(views: int, detections: int) -> np.ndarray:
    """(M, 4) of each pair of detections in two views the flat indices of both, and their views."""
    one, other = np.triu_indices(views, 1)
    first, second = (index.ravel() for index in np.indices((detections, detections)))
    index = np.stack([one[:, None] * detections + first, other[:, None] * detections + second], axis=-1)
    view = np.broadcast_to(np.stack([one, other], axis=-1)[:, None], index.shape)
    return np.concatenate([index, view], axis=-1).reshape(-1, 4)


@lru_cache(maxsize=64)
def _pairs_on(views: int, detections: int, device: torch.device) -> torch.Tensor:
    # Made outside inference mode, whose tensors a later training could not use.
    with torch.inference_mode(False):
        return torch.from_numpy(detection_pairs(views, detections)).to(device)


def _separate(places: torch.Tensor, density: torch.Tensor, limit: int) -> Proposals:
    """The densest places (B, M, 3), none within 180 mm of a denser one."""
    rows = torch.arange(places.shape[0], device=places.device)
    centers, votes = [], []
    rest = density
    for _ in range(limit):
        best, index = rest.max(dim=1)
        center = places[rows, index]
        centers.append(center)
        votes.append(best)
        near = (places - center[:, None]).norm(dim=-1) < SUPPRESSION
        rest = rest * ~near
    return Proposals(torch.stack(centers, dim=1), torch.stack(votes, dim=1))
