"""Joints beyond those of the weights: feet, hands, faces, triangulated from a skeleton's own 2D detections.

Once a skeleton is found, its image in each view is known (`association.own_detections`). Each additional
joint is then located by itself: of all pairs of views the one is taken whose meeting point agrees best with
all views, views that disagree are dropped, and the others are fitted with the detector's scores as weights.
Distances are measured in space, between a point and a view's ray, so that one limit in mm serves near and
far cameras.

Shapes: S skeletons, E additional joints, V views, N = S x E points. NumPy only.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from voxelpose_core.association import own_detections, usable_joints
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.rays import closest_approach, nearest_point_equations
from voxelpose_core.joint_set import JointSet
from voxelpose_core.pose_types import Skeleton, joints_of

# A view whose ray passes a joint at a greater distance, mm, saw something else.
_AGREEMENT_MM = 60.0
# Standard deviation of a view's ray beside the joint, mm, for a score of 1.
_RAY_NOISE_MM = 30.0
# Feet, hands and faces are nearer than this to a joint of the body, mm: farther out views agree by chance.
_REACH_MM = 400.0
# Where a joint is not known, it is somewhere around the body joint that it hangs on, mm.
_UNKNOWN_MM = 200.0
# Pairs are taken of so many views, those with the highest scores.
_VIEWS_FOR_PAIRS = 6
_PARALLEL = 3e-3

# What an additional joint hangs on, by a part of its name; the root where nothing fits.
_ANCHORS = (
    (("left_hand", "left_thumb", "left_fore", "left_middle", "left_ring", "left_pinky"), ("left_wrist",)),
    (
        ("right_hand", "right_thumb", "right_fore", "right_middle", "right_ring", "right_pinky"),
        ("right_wrist",),
    ),
    (("left_big_toe", "left_small_toe", "left_heel"), ("left_ankle",)),
    (("right_big_toe", "right_small_toe", "right_heel"), ("right_ankle",)),
    (("neck", "thorax", "head_bottom"), ("left_shoulder", "right_shoulder")),
    (("jaw", "chin", "brow", "nose", "nostril", "eye", "lip", "pupil", "head"), ("nose",)),
)


class AdditionalJoints:
    """Adds to skeletons the joints that their 2D detections have beyond the body.

    Args:
        cameras: V cameras.
        joint_set: J joints of detections and of the skeletons to come; its `body` is there already.

    Attributes:
        anchors: per additional joint the joints of the body (indices into it) whose mean it hangs on.
    """

    def __init__(self, cameras: Sequence[Camera], joint_set: JointSet):
        self._cameras = cameras
        self._joint_set = joint_set
        self._body = list(joint_set.body)
        self._extra = list(joint_set.additional)
        self.anchors = [_anchor(joint_set, joint_set.joint_names[joint]) for joint in self._extra]
        self._centers = np.array([camera.C for camera in cameras])

    def added(
        self,
        skeletons: Sequence[Skeleton],
        keypoints: Sequence[np.ndarray | None],
        keypoint_threshold: float,
        joint_threshold: float,
    ) -> list[Skeleton]:
        """The skeletons with all joints of the joint set.

        Args:
            skeletons: S people with the body's joints, mm.
            keypoints: per view the 2D detections (P, J, 3) of the whole joint set, or None.
            keypoint_threshold: keypoints with a lower score do not count.
            joint_threshold: smallest score of a valid joint.

        Returns:
            copies whose body joints are those given. The score of an additional joint is the mean of
            its keypoints' scores over the views that detect it, where views that disagree count 0.
            Where fewer than two views agree the joint is not valid, and lies where it hangs on the
            body, with a deviation of 200 mm.
        """
        if not skeletons:
            return []
        bodies = joints_of(skeletons, len(self._body))
        own = self._own_keypoints(bodies, keypoints, keypoint_threshold)
        points, covariances, scores = self._located(own, keypoint_threshold)
        reach = np.linalg.norm(points[:, :, None] - bodies[:, None], axis=-1).min(axis=-1)
        valid = (scores > 0) & (scores >= joint_threshold) & (reach <= _REACH_MM)
        anchors = np.stack([bodies[:, anchor].mean(axis=1) for anchor in self.anchors], axis=1)
        points = np.where(valid[..., None], points, anchors)
        covariances = np.where(valid[..., None, None], covariances, _UNKNOWN_MM**2 * np.eye(3))
        scores = np.where(valid, scores, 0.0)
        return [
            self._extended(*parts)
            for parts in zip(skeletons, points, covariances, scores, valid, strict=True)
        ]

    def _own_keypoints(
        self, bodies: np.ndarray, keypoints: Sequence[np.ndarray | None], least_score: float
    ) -> np.ndarray:
        """(V, S, E, 3) the additional keypoints of each skeleton's image; score 0 where it has none."""
        own = np.zeros((len(self._cameras), len(bodies), len(self._extra), 3))
        parts = [None if people is None else people[:, self._body] for people in keypoints]
        for view, chosen in enumerate(own_detections(self._cameras, bodies, parts, least_score)):
            people, found = keypoints[view], chosen >= 0
            if people is not None and found.any():
                own[view, found] = people[chosen[found]][:, self._extra]
        return own

    def _located(self, own: np.ndarray, least_score: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Points (S, E, 3) mm, covariances (S, E, 3, 3) mm^2, scores (S, E), 0 where views disagree."""
        views, people, extra = own.shape[:3]
        flat = own.reshape(views, -1, 3)
        weights = np.where(usable_joints(flat, least_score), flat[..., 2], 0.0)
        known = (weights > 0).sum(axis=0) >= 2
        directions = np.stack(
            [camera.ray_directions(pixels[known, :2]) for camera, pixels in zip(self._cameras, flat)]
        )
        located = triangulate_robustly(self._centers, directions, weights[:, known])
        answers = []
        for values in located:
            full = np.zeros((people * extra, *values.shape[1:]))
            full[known] = values
            answers.append(full.reshape(people, extra, *values.shape[1:]))
        return answers[0], answers[1], answers[2]

    def _extended(
        self,
        skeleton: Skeleton,
        points: np.ndarray,
        covariances: np.ndarray,
        scores: np.ndarray,
        valid: np.ndarray,
    ) -> Skeleton:
        return dataclasses.replace(
            skeleton,
            joints=self._merged(skeleton.joints, points),
            joint_scores=self._merged(skeleton.joint_scores, scores),
            joint_valid=self._merged(skeleton.joint_valid, valid),
            joint_covariances=None
            if skeleton.joint_covariances is None
            else self._merged(skeleton.joint_covariances, covariances),
        )

    def _merged(self, body: np.ndarray, extra: np.ndarray) -> np.ndarray:
        merged = np.empty((len(self._joint_set), *body.shape[1:]), body.dtype)
        merged[self._body], merged[self._extra] = body, extra
        return merged


def triangulate_robustly(
    centers: np.ndarray, directions: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points in which rays meet, without the views that disagree.

    Args:
        centers: (V, 3) of the cameras, mm.
        directions: (V, N, 3) of length 1.
        weights: (V, N) scores, 0 to 1; 0: that view does not see the point.

    Returns:
        points (N, 3) mm, covariances (N, 3, 3) mm^2, and scores (N,): the sum of the weights of the views
        that agree over the number of views that see the point; 0, with a point and covariance of zeros,
        where fewer than two agree.
    """
    points = _best_meetings(centers, directions, weights)
    agrees = _agreeing(points, centers, directions, weights)
    points, _ = _fitted(centers, directions, np.where(agrees, weights, 0.0))
    agrees = _agreeing(points, centers, directions, weights)
    kept = np.where(agrees, weights, 0.0)
    points, normal = _fitted(centers, directions, kept)
    good = (agrees.sum(axis=0) >= 2) & np.isfinite(points).all(axis=-1)
    good &= _agreeing(points, centers, directions, kept).sum(axis=0) == agrees.sum(axis=0)
    squares = np.where(agrees, kept * _distances(points, centers, directions)[0] ** 2, 0.0).sum(axis=0)
    # Each view gives two coordinates, a point takes three. Rays that meet by luck are no better than usual.
    variance = np.maximum(squares / np.maximum(2 * agrees.sum(axis=0) - 3, 1), _RAY_NOISE_MM**2)
    covariances = variance[:, None, None] * np.linalg.inv(np.where(good[:, None, None], normal, np.eye(3)))
    scores = kept.sum(axis=0) / np.maximum((weights > 0).sum(axis=0), 1)
    return (
        np.where(good[:, None], points, 0.0),
        np.where(good[:, None, None], covariances, 0.0),
        np.where(good, scores, 0.0),
    )


def _best_meetings(centers: np.ndarray, directions: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(N, 3) where two of the views with the highest scores meet and most of all views agree; else NaN."""
    count = weights.shape[1]
    best, least = np.full((count, 3), np.nan), np.full(count, np.inf)
    ranked = np.argsort(-weights, axis=0)[:_VIEWS_FOR_PAIRS]
    columns = np.arange(count)
    for one, other in itertools.combinations(range(len(ranked)), 2):
        first, second = ranked[one], ranked[other]
        points, gaps = closest_approach(
            centers[first],
            directions[first, columns],
            centers[second],
            directions[second, columns],
            _PARALLEL,
        )
        both = (weights[first, columns] > 0) & (weights[second, columns] > 0)
        distances, _ = _distances(points, centers, directions)
        costs = (weights * np.minimum(distances, _AGREEMENT_MM) ** 2).sum(axis=0)
        better = both & (gaps <= 2 * _AGREEMENT_MM) & (costs < least)
        best[better], least[better] = points[better], costs[better]
    return best


def _distances(
    points: np.ndarray, centers: np.ndarray, directions: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(V, N) how far each ray passes from each point, mm, and how far along it that is."""
    from_center = points - centers[:, None]
    along = (from_center * directions).sum(axis=-1)
    squares = (from_center**2).sum(axis=-1) - along**2
    return np.sqrt(np.maximum(squares, 0.0)), along


def _agreeing(
    points: np.ndarray, centers: np.ndarray, directions: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """(V, N) bool: views that see the point where it is."""
    distances, along = _distances(points, centers, directions)
    return (weights > 0) & (distances <= _AGREEMENT_MM) & (along > 0)


def _fitted(
    centers: np.ndarray, directions: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Points (N, 3) nearest to the weighted rays, and the matrices (N, 3, 3) of their normal equations.

    NaN where the rays determine no point.
    """
    normal, right = nearest_point_equations(centers, directions.swapaxes(0, 1), weights.T)
    solvable = np.linalg.det(normal) > 1e-12
    solved = np.linalg.solve(np.where(solvable[:, None, None], normal, np.eye(3)), right[..., None])[..., 0]
    return np.where(solvable[:, None], solved, np.nan), normal


def _anchor(joint_set: JointSet, name: str) -> list[int]:
    """Which of the body's joints a joint hangs on, as indices into the body."""
    names = [joint_set.joint_names[joint] for joint in joint_set.body]
    for parts, anchors in _ANCHORS:
        if any(part in name for part in parts):
            return [names.index(anchor) for anchor in anchors]
    return [joint_set.body.index(joint) for joint in joint_set.root]
