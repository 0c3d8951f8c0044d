"""Is the floor where the rig says? Found from people's ankles in the 2D detections.

Two views' detections of one person are paired by how closely the rays of all joints meet, so that
no skeleton is needed: whoever the floor rule drops, or stands outside the capture space, counts too.

`self_calibration.floor` finds up as well, for a rig whose world may have any axes and unit: from a whole
recording of people who walk, followed over time. Here up and unit are the rig's, and a few frame sets must
do, one by one while the node runs, of joint sets without ears too: the median height of feet is enough.
"""

from __future__ import annotations

import itertools
from collections import deque

import numpy as np

from voxelpose_core.association import masked_median, pair_one_to_one
from voxelpose_core.geometry.rays import closest_approach
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.pose_types import Estimate
from voxelpose_core.skeletons import JointSet

# The lower ankle joint of people on their feet lies this high above the floor.
_ANKLE_MM = 70.0
# Half the estimator's default floor tolerance, and more than a bad calibration shifts a floor.
_TOLERANCE_MM = 200.0
# What `finding` names is rounded to this.
_STEP_MM = 50.0
_MIN_SCORE = 0.3
_MIN_JOINTS = 8
# Rays closer to parallel, rad, put a joint at an uncertain height.
_LEAST_ANGLE = 0.01
# Rays of one person's joints pass each other at less than this, in the median over the joints.
_MAX_GAP_MM = 60.0
# Trunk (mid-shoulder to mid-hip) and legs (mid-hip to ankles) of people, mm: rays of two people can
# meet, but seldom in a body of this size that stands on its feet.
_TRUNK_MM, _LEGS_MM = (250.0, 750.0), (450.0, 1100.0)
_MAX_VIEW_PAIRS = 10
# Heights that are kept, fewest that tell, and their spread (quartile distance) where they agree.
_KEPT, _ENOUGH, _MAX_SPREAD_MM = 400, 5, 250.0
# Once enough are kept, one frame set in so many is looked at.
_EVERY = 10


class FloorWatch:
    """Collects the heights of people's feet and says where the floor is, if it is elsewhere.

    Args:
        rig: the cameras.
        joint_set: whose body's joints estimates have, see `body_only`.
    """

    def __init__(self, rig: Rig, joint_set: JointSet):
        self._rig = rig
        names = [joint_set.joint_names[joint] for joint in joint_set.body]
        self._ankles = [names.index("left_ankle"), names.index("right_ankle")]
        self._hips = [names.index("left_hip"), names.index("right_hip")]
        self._shoulders = [names.index("left_shoulder"), names.index("right_shoulder")]
        pairs = list(itertools.combinations(range(len(rig)), 2))
        # Spread over the rig where there are many.
        self._pairs = pairs[:: max(1, len(pairs) // _MAX_VIEW_PAIRS)][:_MAX_VIEW_PAIRS]
        self._heights: deque[float] = deque(maxlen=_KEPT)
        self._count = 0

    def add(self, estimate: Estimate) -> None:
        """Take the people of one frame set."""
        self._count += 1
        if len(self._heights) >= _KEPT // 2 and self._count % _EVERY:
            return
        if any(people is not None for people in estimate.keypoints):
            self._heights.extend(self._from_detections(estimate))
            return
        # Weights with a backbone have no 2D detections.
        for skeleton in [*estimate.skeletons, *estimate.below_floor]:
            valid = [joint for joint in self._ankles if skeleton.joint_valid[joint]]
            if valid:
                self._heights.append(float(skeleton.joints[valid, 2].min()))

    @property
    def floor(self) -> float | None:
        """Height of the floor on which people stand, mm; None where they do not tell."""
        if len(self._heights) < _ENOUGH:
            return None
        low, middle, high = np.percentile(self._heights, (25, 50, 75))
        return float(middle - _ANKLE_MM) if high - low <= _MAX_SPREAD_MM else None

    def finding(self) -> str | None:
        """One line where people's feet are not on the rig's ground, with what to type."""
        floor = self.floor
        if floor is None or abs(floor - self._rig.ground) < _TOLERANCE_MM:
            return None
        gap = floor - self._rig.ground
        given = _STEP_MM * round(floor / _STEP_MM)
        return (
            f"people's feet are {abs(gap) / 1000:.2f} m {'above' if gap > 0 else 'below'} the ground "
            f"of this rig (z = {self._rig.ground / 1000:g} m): give --ground {given:g} "
            f"(parameter ground:={given:g} of the node)"
        )

    def _from_detections(self, estimate: Estimate) -> list[float]:
        """Heights of the lowest ankles, mm, of the people that pairs of views have in common."""
        rays = {}
        for index, (camera, people) in enumerate(zip(self._rig.cameras, estimate.keypoints, strict=True)):
            if people is not None and len(people):
                people = np.asarray(people, np.float64)
                seen = (people[..., 2] >= _MIN_SCORE) & np.isfinite(people).all(axis=-1)
                rays[index] = camera.C, camera.ray_directions(people[..., :2]), seen
        heights: list[float] = []
        for first, second in self._pairs:
            if first in rays and second in rays:
                heights += self._common_people(rays[first], rays[second])
        return heights

    def _common_people(self, first: tuple, second: tuple) -> list[float]:
        """Heights of feet from two views, each given as centre (3,), directions (P, J, 3), seen (P, J)."""
        (center, directions, seen), (other_center, other_directions, other_seen) = first, second
        joints, gaps = closest_approach(
            center, directions[:, None], other_center, other_directions, _LEAST_ANGLE
        )
        common = seen[:, None] & other_seen & np.isfinite(gaps)
        enough = common.sum(axis=-1) >= _MIN_JOINTS
        if not enough.any():
            return []
        costs = np.where(enough, masked_median(gaps, common), np.inf)
        heights = []
        for row, column in pair_one_to_one(costs, 1e9):
            if costs[row, column] <= _MAX_GAP_MM:
                points = np.where(common[row, column, :, None], joints[row, column], np.nan)
                heights += self._feet(points)
        return heights

    def _feet(self, joints: np.ndarray) -> list[float]:
        """The height of the lowest ankle of joints (J, 3) in mm, NaN where unknown, of a body."""
        parts = joints[self._ankles + self._hips + self._shoulders]
        if not np.isfinite(parts[2:]).all() or not np.isfinite(parts[:2]).all(axis=1).any():
            return []
        hips, shoulders = parts[2:4].mean(axis=0), parts[4:].mean(axis=0)
        lowest = np.nanmin(parts[:2, 2])
        trunk, legs = np.linalg.norm(shoulders - hips), hips[2] - lowest
        fits = _TRUNK_MM[0] <= trunk <= _TRUNK_MM[1] and _LEGS_MM[0] <= legs <= _LEGS_MM[1]
        return [float(lowest)] if fits else []
