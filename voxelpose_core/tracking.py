"""Identities over time: the same person keeps the same number."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, NonNegativeFloat, PositiveFloat, PositiveInt
from scipy.optimize import linear_sum_assignment

if TYPE_CHECKING:
    from voxelpose_core.estimator import Skeleton

NO_ID = -1
FORBIDDEN = 1e9


class TrackerSettings(BaseModel):
    """What counts as the same person.

    Attributes:
        gate_mm: largest mean joint distance between a track's prediction and its next skeleton.
        gate_growth_mm_s: how much the gate widens per second since the track was last seen.
        max_age_s: a person unseen for longer is forgotten.
        confirm_after: a newcomer gets its number when it has been seen this many times in a row,
            so that a flicker gets none. Whoever is there at the start gets one at once.
        velocity_time_s: time constant of the velocity's low-pass filter.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    gate_mm: PositiveFloat = 500.0
    gate_growth_mm_s: NonNegativeFloat = 1000.0
    max_age_s: PositiveFloat = 1.0
    confirm_after: PositiveInt = 2
    velocity_time_s: PositiveFloat = 0.2


class Tracker:
    """Assigns skeletons to people over time.

    Each track predicts its joints with the constant velocity of the whole body; the skeletons of a
    moment are assigned to the predictions with the smallest sum of mean joint distances (Hungarian
    algorithm), none farther than the gate. Numbers count up from 0 and are never used again.
    """

    def __init__(self, settings: TrackerSettings = TrackerSettings()):
        self._settings = settings
        self._tracks: list[_Track] = []
        self._next_id = 0
        self._last_stamp: float | None = None

    def reset(self) -> None:
        """Forget everyone. Numbers go on: none is given to two people."""
        self._tracks = []
        self._last_stamp = None

    def update(self, skeletons: Sequence[Skeleton], stamp_s: float) -> list[Skeleton]:
        """The same skeletons, in the same order, with their track_id.

        Args:
            skeletons: the people of one moment.
            stamp_s: that moment, seconds. A stamp before the last one (a bag that loops, a clock
                that was set back) starts anew.

        Returns:
            copies of the skeletons; track_id is -1 for who is not confirmed yet.
        """
        if self._last_stamp is not None and stamp_s < self._last_stamp:
            self.reset()
        at_start = self._last_stamp is None
        self._last_stamp = stamp_s
        self._forget_the_lost(stamp_s)
        matches = self._assign(skeletons, stamp_s)
        tracked = []
        for index, skeleton in enumerate(skeletons):
            track = matches.get(index)
            if track is None:
                track = _Track(skeleton, stamp_s)
                self._tracks.append(track)
            else:
                track.observe(skeleton, stamp_s, self._settings.velocity_time_s)
            if track.id == NO_ID and (at_start or track.seen >= self._settings.confirm_after):
                track.id, self._next_id = self._next_id, self._next_id + 1
            tracked.append(dataclasses.replace(skeleton, track_id=track.id))
        self._drop_flickers(stamp_s)
        return tracked

    def _assign(self, skeletons: Sequence[Skeleton], stamp_s: float) -> dict[int, _Track]:
        """The track of each skeleton (by index) that has one."""
        costs = np.full((len(self._tracks), len(skeletons)), FORBIDDEN)
        for row, track in enumerate(self._tracks):
            predicted = track.predict(stamp_s)
            gate = self._settings.gate_mm + self._settings.gate_growth_mm_s * track.age(stamp_s)
            for column, skeleton in enumerate(skeletons):
                distance = mean_joint_distance(
                    predicted, track.joint_valid, skeleton.joints, skeleton.joint_valid
                )
                if distance <= gate:
                    costs[row, column] = distance
        rows, columns = linear_sum_assignment(costs)
        return {
            int(column): self._tracks[row]
            for row, column in zip(rows, columns)
            if costs[row, column] < FORBIDDEN
        }

    def _forget_the_lost(self, stamp_s: float) -> None:
        self._tracks = [t for t in self._tracks if t.age(stamp_s) <= self._settings.max_age_s]

    def _drop_flickers(self, stamp_s: float) -> None:
        """Who is not confirmed must be seen every time."""
        self._tracks = [t for t in self._tracks if t.id != NO_ID or t.last_stamp == stamp_s]


class _Track:
    """One person: where it was last seen, and how it moves."""

    def __init__(self, skeleton: Skeleton, stamp_s: float):
        self.id = NO_ID
        self.seen = 1
        self.last_stamp = stamp_s
        self.joints = skeleton.joints
        self.joint_valid = skeleton.joint_valid
        self.velocity = np.zeros(3)  # mm/s, of the whole body

    def age(self, stamp_s: float) -> float:
        """Seconds since the person was last seen."""
        return stamp_s - self.last_stamp

    def predict(self, stamp_s: float) -> np.ndarray:
        """Joints (J, 3) in mm at that time."""
        return self.joints + self.velocity * self.age(stamp_s)

    def observe(self, skeleton: Skeleton, stamp_s: float, velocity_time_s: float) -> None:
        """Take the person's next skeleton."""
        elapsed = self.age(stamp_s)
        if elapsed > 0:
            moved = _common_joints(self.joint_valid, skeleton.joint_valid)
            velocity = (skeleton.joints - self.joints)[moved].mean(axis=0) / elapsed
            weight = 1.0 - math.exp(-elapsed / velocity_time_s)
            self.velocity = self.velocity + weight * (velocity - self.velocity)
        self.joints = skeleton.joints
        self.joint_valid = skeleton.joint_valid
        self.last_stamp = stamp_s
        self.seen += 1


def mean_joint_distance(
    first: np.ndarray, first_valid: np.ndarray, second: np.ndarray, second_valid: np.ndarray
) -> float:
    """Mean distance in mm of two skeletons (J, 3) over the joints that are valid (J,) in both.

    Over all joints where they have no valid joint in common.
    """
    both = _common_joints(first_valid, second_valid)
    return float(np.linalg.norm((first - second)[both], axis=1).mean())


def _common_joints(first_valid: np.ndarray, second_valid: np.ndarray) -> np.ndarray:
    both = np.asarray(first_valid, bool) & np.asarray(second_valid, bool)
    return both if both.any() else np.ones_like(both)
