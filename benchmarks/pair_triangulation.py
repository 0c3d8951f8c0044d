"""A learning-free baseline: 2D detections of calibrated cameras -> skeletons by triangulation alone.

The steps are those that RapidPoseTriangulation describes (Bermuth et al., arXiv 2503.21692): every pair of
detections in two views; a filter by the previous frame set's poses, projected into the views; triangulation
of the core joints of each pair; clusters of pairs that agree in 3D; triangulation of all joints over the
views of a cluster. That last step is a consensus over pairs of views followed by reweighted least squares.
The code is our own, and the thresholds are chosen by choose_thresholds.py on generated rigs.

Shapes: V views, D detections per view (padded), N = V D detections, K pairs, G clusters, J joints.
Lengths are mm.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from body_limits import LIMBS, LONGEST, fill_joints, plausible_joints

from voxelpose_core.association import image_gaps
from voxelpose_core.errors import InputError
from voxelpose_core.estimator_settings import EstimatorSettings
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.coverage import propose_space
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.geometry.space import Space
from voxelpose_core.input_checks import check_keypoints
from voxelpose_core.models.rays import closest_approach, rays_of_cameras
from voxelpose_core.pose_types import Estimate, Skeleton
from voxelpose_core.selection import floor_of, split_at_floor, without_doubles
from voxelpose_core.skeletons import COCO17
from voxelpose_core.stage_clock import StageClock

# Shoulders, elbows, wrists, hips, knees and ankles: what decides who is who.
CORE = list(range(COCO17.index("left_shoulder"), len(COCO17)))
_CORE_LIMBS = np.flatnonzero(np.isin(LIMBS, CORE).all(axis=1))
# Pairs with fewer core joints in common decide nothing.
_MIN_CORE_JOINTS = 4
_MIN_COMMON_JOINTS = 3
# The middle of a person may be so far outside the capture space, mm.
_MARGIN = 500.0
_REWEIGHTINGS = 4
# Standard deviation of the Gaussian by which a ray supports a joint, mm, as for the ray model.
_SUPPORT_DEVIATION = 75.0


@dataclass(frozen=True)
class Thresholds:
    """What decides who is a person; chosen by choose_thresholds.py.

    Attributes:
        near_previous: a detection is the image of a previous pose where the median distance of
            common joints is below this share of its box.
        pair_gap: a joint whose two rays pass each other by more, mm, counts nothing for its pair.
        pair_score: least score of a pair, 0 to 1.
        cluster_distance: pairs whose joints lie nearer in the root mean square, mm, are one person.
        ray_scale: scale of the robust kernel over ray distances, mm.
        joint_distance: a view whose ray passes a joint by more, mm, does not confirm it.
        support: least mean support of a person's joints, 0 to 1.
    """

    near_previous: float = 0.12
    pair_gap: float = 200.0
    pair_score: float = 0.2
    cluster_distance: float = 200.0
    ray_scale: float = 90.0
    joint_distance: float = 200.0
    support: float = 0.0


class PairTriangulation:
    """Skeletons from the 2D detections of one rig; called like `PoseEstimator`.

    Args:
        rig: the calibrated cameras; detections are given in their order, COCO-17.
        space: capture space; by default the rig's, else one proposed from the cameras.
        settings: what `PoseEstimator` takes; those of networks have no meaning here.
        thresholds: of the baseline alone.
        use_previous: filter pairs by the poses of the call before. False where the frame sets are
            not consecutive.

    Raises:
        InputError: fewer than two cameras.
    """

    joint_set = COCO17

    def __init__(
        self,
        rig: Rig,
        space: Space | None = None,
        settings: EstimatorSettings = EstimatorSettings(),
        thresholds: Thresholds = Thresholds(),
        use_previous: bool = True,
    ):
        if len(rig.cameras) < 2:
            raise InputError(f"rig '{rig.name}' has {len(rig.cameras)} camera, expected at least 2")
        self.rig = rig
        self.space = space or rig.space or propose_space(rig)
        self.settings = settings
        self.thresholds = thresholds
        self._use_previous = use_previous
        self._previous = np.zeros((0, len(COCO17), 3))
        self._room = Space(self.space.center, self.space.size + 2 * _MARGIN)

    def estimate_keypoints(self, keypoints: Sequence[np.ndarray | None]) -> Estimate:
        """Skeletons from the 2D detections of each camera; see `PoseEstimator.estimate_keypoints`.

        Args:
            keypoints: per camera (P, 17, 3) x px, y px, score, in the order of the rig; None for a
                camera without a frame.

        Raises:
            InputError: naming the camera, when an array has another shape.
        """
        if len(keypoints) != len(self.rig):
            raise InputError(
                f"{len(keypoints)} keypoint arrays given for rig '{self.rig.name}' of "
                f"{len(self.rig)} cameras, expected one per camera (None where it has no frame)"
            )
        clock = StageClock()
        checked = [
            None if people is None else check_keypoints(people, camera, len(COCO17))
            for camera, people in zip(self.rig.cameras, keypoints, strict=True)
        ]
        present = np.array([people is not None for people in checked])
        above, below = [], []
        if present.sum() >= self.settings.min_cameras:
            above, below = self._find(checked, present, clock)
        if self._use_previous:
            self._previous = np.array([s.joints for s in above]).reshape(-1, len(COCO17), 3)
        names = tuple(name for name, there in zip(self.rig.names, present, strict=True) if there)
        return Estimate(above, checked, names, clock.laps, below)

    def _find(self, keypoints, present, clock) -> tuple[list[Skeleton], list[Skeleton]]:
        detections = _Detections.of(self.rig.cameras, keypoints, self.settings.keypoint_threshold)
        clock.lap("rays")
        pairs = self._pairs(detections, keypoints)
        clock.lap("pairs")
        clusters = cluster(pairs, detections, self.thresholds.cluster_distance)
        clock.lap("clusters")
        skeletons = self._skeletons(detections.take(clusters), present)
        kept = without_doubles(skeletons, self.settings.duplicate_distance)
        above, below = split_at_floor(kept, floor_of(self.rig, self.space) - self.settings.floor_tolerance)
        clock.lap("poses")
        return above[: self.settings.max_people], below

    def _pairs(self, detections: _Detections, keypoints) -> _Pairs:
        one, other = detections.pairs()
        if len(self._previous):
            kept = self._agrees_with_previous(one, other, detections, keypoints)
            one, other = one[kept], other[kept]
        pairs = triangulate_pairs(detections, one, other, self.thresholds.pair_gap)
        return pairs.select((pairs.scores >= self.thresholds.pair_score) & self._room.contains(pairs.middles))

    def _agrees_with_previous(self, one, other, detections, keypoints) -> np.ndarray:
        """(K,) bool: both detections are images of one previous pose, or neither is of any."""
        near = np.zeros((detections.view_count, detections.depth, len(self._previous)), dtype=bool)
        for view, (camera, people) in enumerate(zip(self.rig.cameras, keypoints, strict=True)):
            if people is not None and len(people):
                gaps = image_gaps(camera, self._previous, people, self.settings.keypoint_threshold)
                near[view, : len(people)] = gaps.T <= self.thresholds.near_previous
        near = near.reshape(detections.view_count * detections.depth, -1)
        return (near[one] & near[other]).any(axis=1) | ~(near[one] | near[other]).any(axis=1)

    def _skeletons(self, clusters: _Clusters, present: np.ndarray) -> list[Skeleton]:
        if not len(clusters.scores):
            return []
        joints, gaps = triangulate_clusters(clusters, self.thresholds.ray_scale)
        confirmed = (clusters.scores > 0) & (gaps <= self.thresholds.joint_distance)
        valid = confirmed.sum(axis=1) >= 2
        valid &= plausible_joints(joints, valid)
        enough = valid[:, CORE].sum(axis=1) >= _MIN_CORE_JOINTS
        joints, valid = fill_joints(joints[enough], valid[enough]), valid[enough]
        gaps = ray_distances(joints[:, None], clusters.origins[:, None], clusters.directions[enough])
        visible = np.stack([self._visible(camera, joints) for camera in self.rig.cameras], axis=1)
        visible &= present[:, None]
        value = clusters.scores[enough] * np.exp(-0.5 * (gaps / _SUPPORT_DEVIATION) ** 2) * visible
        support = value.sum(axis=1) / np.maximum(visible.sum(axis=1), 1)
        return [
            Skeleton(own, own_support, own_valid, float(own_support.mean()))
            for own, own_support, own_valid in zip(joints, support, valid, strict=True)
            if own_support.mean() >= self.thresholds.support
        ]

    @staticmethod
    def _visible(camera: Camera, joints: np.ndarray) -> np.ndarray:
        return camera.sees(joints.reshape(-1, 3)).reshape(joints.shape[:2])


@dataclass(frozen=True)
class _Detections:
    """All 2D detections of a frame set as rays; detection n is number n % D of view n // D.

    Attributes:
        origins: (V, 3) camera centres.
        directions: (N, J, 3) unit vectors in the world.
        scores: (N, J); 0: not detected, or no such detection.
    """

    origins: np.ndarray
    directions: np.ndarray
    scores: np.ndarray

    @classmethod
    def of(cls, cameras: Sequence[Camera], keypoints, least_score: float) -> _Detections:
        rays = rays_of_cameras(cameras, keypoints, least_score)
        return cls(
            rays.origins[0].numpy(),
            rays.directions[0].flatten(0, 1).numpy(),
            rays.scores[0].flatten(0, 1).numpy(),
        )

    @property
    def view_count(self) -> int:
        return len(self.origins)

    @property
    def depth(self) -> int:
        """D."""
        return len(self.scores) // self.view_count

    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Both detections (K,) of every pair in two views that shares enough core joints."""
        found = self.scores[:, CORE] > 0
        views = np.arange(len(found)) // self.depth
        common = found.astype(np.float32) @ found.T.astype(np.float32)
        return np.nonzero((common >= _MIN_CORE_JOINTS) & (views[:, None] < views))

    def take(self, clusters: np.ndarray) -> _Clusters:
        """The rays of clusters (G, V), entries -1 where a view has none."""
        scores = self.scores[clusters] * (clusters >= 0)[..., None]
        return _Clusters(self.origins, self.directions[clusters], scores)


@dataclass(frozen=True)
class _Clusters:
    """Rays of G people: origins (V, 3), directions (G, V, J, 3), scores (G, V, J)."""

    origins: np.ndarray
    directions: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True)
class _Pairs:
    """K pairs of detections in two views.

    Attributes:
        one, other: (K,) the detections.
        joints: (K, 12, 3) core joints.
        valid: (K, 12) bool, of core joints whose rays nearly meet.
        scores: (K,) 0 to 1.
    """

    one: np.ndarray
    other: np.ndarray
    joints: np.ndarray
    valid: np.ndarray
    scores: np.ndarray

    def select(self, chosen: np.ndarray) -> _Pairs:
        return _Pairs(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))

    @property
    def middles(self) -> np.ndarray:
        """(K, 3) means of the valid joints."""
        count = np.maximum(self.valid.sum(axis=1), 1)
        return (self.joints * self.valid[..., None]).sum(axis=1) / count[:, None]


def triangulate_pairs(detections: _Detections, one: np.ndarray, other: np.ndarray, limit: float) -> _Pairs:
    """Core joints of each pair, halfway between its rays, and how well the rays meet.

    A joint counts 1 where its rays meet and nothing where they pass each other by `limit`. The score is
    the mean over the joints that both detections have, lowered by the share of limbs that are too long.
    """
    view_of = np.repeat(np.arange(detections.view_count), detections.depth)
    joints, gaps = _closest_approach(
        detections.origins[view_of[one], None],
        detections.directions[one][:, CORE],
        detections.origins[view_of[other], None],
        detections.directions[other][:, CORE],
    )
    common = (detections.scores[one][:, CORE] > 0) & (detections.scores[other][:, CORE] > 0)
    quality = np.clip(1 - gaps / limit, 0, 1) * common
    valid = common & (gaps < limit)
    first, second = (LIMBS[_CORE_LIMBS] - CORE[0]).T
    length = np.linalg.norm(joints[:, first] - joints[:, second], axis=-1)
    measured = common[:, first] & common[:, second]
    too_long = ((length > LONGEST[_CORE_LIMBS]) & measured).sum(axis=1)
    scores = quality.sum(axis=1) / np.maximum(common.sum(axis=1), 1)
    scores = scores * (1 - too_long / np.maximum(measured.sum(axis=1), 1))
    return _Pairs(one, other, joints, valid, scores)


def cluster(pairs: _Pairs, detections: _Detections, distance: float) -> np.ndarray:
    """People as clusters of pairs: (G, V) the detection of each view, -1 for none.

    The pair with the highest score of pairs nearby starts a person. In each view the detection belongs to
    the person that has most of these scores; pairs with a detection that is taken are gone.
    """
    near = _pair_distances(pairs) < distance
    alive = np.ones(len(pairs.scores), dtype=bool)
    clusters = []
    while alive.any():
        own = pairs.scores * alive
        members = near[np.argmax(np.where(alive, near @ own, -1))] * own
        votes = np.bincount(pairs.one, members, len(detections.scores))
        votes += np.bincount(pairs.other, members, len(detections.scores))
        votes = votes.reshape(detections.view_count, detections.depth)
        best = votes.argmax(axis=1) + np.arange(detections.view_count) * detections.depth
        taken = best[votes.max(axis=1) > 0]
        clusters.append(np.where(votes.max(axis=1) > 0, best, -1))
        alive &= ~(np.isin(pairs.one, taken) | np.isin(pairs.other, taken))
    return np.array(clusters, dtype=int).reshape(-1, detections.view_count)


def _pair_distances(pairs: _Pairs) -> np.ndarray:
    """(K, K) root mean square distance of common joints; 0 to itself, infinite where few are common."""
    mask = pairs.valid.astype(np.float64)
    # In float64, so that the difference of squares keeps its digits.
    points = pairs.joints.astype(np.float64) * mask[..., None]
    flat = points.reshape(len(mask), 3 * len(CORE))
    squares = (points**2).sum(axis=-1)
    total = squares @ mask.T + mask @ squares.T - 2 * flat @ flat.T
    count = mask @ mask.T
    distance = np.sqrt(np.maximum(total, 0) / np.maximum(count, 1))
    distance = np.where(count >= _MIN_COMMON_JOINTS, distance, np.inf)
    np.fill_diagonal(distance, 0.0)
    return distance


def triangulate_clusters(clusters: _Clusters, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """All joints of G people over the views of each, robust against wrong keypoints.

    Every pair of views proposes a place for each joint. The place that most views confirm is the start of
    a least-squares fit to the rays, reweighted by score and by Geman and McClure's kernel.

    Returns:
        joints (G, J, 3), and distances (G, V, J) of their rays, infinite behind a camera. A joint that
        fewer than two views detected means nothing.
    """
    joints = _consensus(clusters, scale)
    directions = clusters.directions.astype(np.float64)
    across = np.eye(3) - directions[..., :, None] * directions[..., None, :]
    for _ in range(_REWEIGHTINGS):
        gaps = ray_distances(joints[:, None], clusters.origins[:, None], directions)
        weights = clusters.scores / (1 + (gaps / scale) ** 2) ** 2
        offsets = clusters.origins[None, :, None] - joints[:, None]
        system = np.einsum("gvj,gvjab->gjab", weights, across) + 1e-9 * np.eye(3)
        right = np.einsum("gvj,gvjab,gvjb->gja", weights, across, offsets)
        joints = joints + np.linalg.solve(system, right[..., None])[..., 0]
    return joints, ray_distances(joints[:, None], clusters.origins[:, None], directions)


def _consensus(clusters: _Clusters, scale: float) -> np.ndarray:
    """(G, J, 3): of the meeting points of any two views' rays the one that most views confirm."""
    one, other = _view_pairs(len(clusters.origins))
    places, _ = _closest_approach(
        clusters.origins[one, None],
        clusters.directions[:, one],
        clusters.origins[other, None],
        clusters.directions[:, other],
    )
    both = (clusters.scores[:, one] > 0) & (clusters.scores[:, other] > 0)
    gaps = ray_distances(places[:, :, None], clusters.origins[:, None], clusters.directions[:, None])
    votes = (clusters.scores[:, None] * np.exp(-0.5 * (gaps / scale) ** 2)).sum(axis=2)
    best = np.where(both, votes, -1.0).argmax(axis=1)
    return np.take_along_axis(places, best[:, None, :, None], axis=1)[:, 0].astype(np.float64)


@lru_cache(maxsize=64)
def _view_pairs(count: int) -> tuple[np.ndarray, np.ndarray]:
    one, other = np.array(list(itertools.combinations(range(count), 2))).T
    return one, other


def ray_distances(points: np.ndarray, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Distances (...) of points (..., 3) from rays; infinite behind an origin. Shapes broadcast."""
    offsets = points - origins
    depth = (offsets * directions).sum(axis=-1)
    squared = (offsets**2).sum(axis=-1) - depth**2
    return np.where(depth > 0, np.sqrt(np.maximum(squared, 0)), np.inf)


def _closest_approach(*lines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    places, gaps = closest_approach(*(torch.from_numpy(np.ascontiguousarray(line)) for line in lines))
    return places.numpy(), gaps.numpy()
