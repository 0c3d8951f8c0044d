"""What is known of the people of one frame set."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from voxelpose_core.joint_set import JointSet
from voxelpose_core.skeletons import COCO17


@dataclass
class Skeleton:
    """One person in 3D.

    Attributes:
        joints: (J, 3), mm, world frame of the rig.
        joint_scores: (J,) support of each joint, 0 to 1: of the body's joints as the weights say it, of
            additional ones the mean score of the keypoints that agree (`AdditionalJoints`).
        joint_valid: (J,) bool.
        score: root score of the proposal, 0 to 1.
        track_id: identity over time, -1 without a tracker.
        joint_velocities: (J, 3), mm/s; None without a tracker.
        joint_covariances: (J, 3, 3), mm^2, of the joints' errors; None where the weights do not say.
    """

    joints: np.ndarray
    joint_scores: np.ndarray
    joint_valid: np.ndarray
    score: float
    track_id: int = -1
    joint_velocities: np.ndarray | None = None
    joint_covariances: np.ndarray | None = None


def joints_of(skeletons: Sequence[Skeleton], joint_count: int) -> np.ndarray:
    """(S, J, 3) joints of S skeletons, mm, also of none."""
    return np.array([s.joints for s in skeletons]).reshape(-1, joint_count, 3)


@dataclass
class Estimate:
    """All people of one frame set.

    Attributes:
        skeletons: the people.
        keypoints: for each camera of the rig the 2D detections (P, J, 3) that the skeletons come from
            (x, y in pixels, score); None for a camera without a frame.
        cameras: names of the cameras that contributed.
        timings_ms: milliseconds of each stage, in order.
        below_floor: skeletons that the floor rule dropped (`EstimatorSettings.floor_tolerance`).
    """

    skeletons: list[Skeleton]
    keypoints: list[np.ndarray | None]
    cameras: tuple[str, ...]
    timings_ms: dict[str, float] = field(default_factory=dict)
    below_floor: list[Skeleton] = field(default_factory=list)

    @property
    def dropped_below_floor(self) -> int:
        """Number of skeletons that the floor rule dropped."""
        return len(self.below_floor)


def body_only(estimate: Estimate, joint_set: JointSet) -> Estimate:
    """The estimate with the joints that the weights estimate, skeletons and 2D detections alike.

    Checks of a recording and of its calibration go by these, however many joints the detector has.

    Args:
        estimate: of J joints.
        joint_set: these joints; where all of them are the body's, the estimate itself is the answer.
    """
    if not joint_set.additional:
        return estimate
    body = list(joint_set.body)
    return dataclasses.replace(
        estimate,
        skeletons=[_body_skeleton(skeleton, body) for skeleton in estimate.skeletons],
        below_floor=[_body_skeleton(skeleton, body) for skeleton in estimate.below_floor],
        keypoints=[None if people is None else joint_set.body_part(people) for people in estimate.keypoints],
    )


def body_joint_set(joint_set: JointSet) -> JointSet:
    """The joint set of what `body_only` leaves: weights that go with additional joints have COCO-17's."""
    return COCO17 if joint_set.additional else joint_set


def _body_skeleton(skeleton: Skeleton, body: list[int]) -> Skeleton:
    velocities, covariances = skeleton.joint_velocities, skeleton.joint_covariances
    return dataclasses.replace(
        skeleton,
        joints=skeleton.joints[body],
        joint_scores=skeleton.joint_scores[body],
        joint_valid=skeleton.joint_valid[body],
        joint_velocities=None if velocities is None else velocities[body],
        joint_covariances=None if covariances is None else covariances[body],
    )
