"""What is known of the people of one frame set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Skeleton:
    """One person in 3D.

    Attributes:
        joints: (J, 3), mm, world frame of the rig.
        joint_scores: (J,) support of each joint: mean heatmap value at its projections, 0 to 1.
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
