"""Identities, velocities and smoothing over time: the same person keeps the same number."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy.optimize import linear_sum_assignment

from voxelpose_core.metrics.mpjpe import pose_distances
from voxelpose_core.pose_types import Skeleton

NO_ID = -1
_FORBIDDEN = 1e9
# A gate that no uncertainty widens further: who moved that far unseen may be anybody.
_WIDEST_GATE_MM = 2000.0
# A joint's covariance is taken as it is times (joint_noise_mm / this)^2: a detector's errors last for
# several frames, so that they weigh more than their size says. The default makes that 1.4 times the
# deviation, chosen on generated walks (`benchmarks/jitter.py`).
_TYPICAL_NOISE_MM = 43.0
# Standard deviation of a position before its first measurement.
_UNKNOWN_MM = 1000.0


@dataclasses.dataclass(frozen=True)
class _Motion:
    """How something moves: `MovingPoints` says what the numbers mean."""

    speed_mm_s: float
    persistence_s: float


# Of a whole body: people walk at about 1 m/s and keep their way for a second.
_BODY = _Motion(speed_mm_s=1000.0, persistence_s=1.0)
# Standard deviation of a body's measured coordinates: that of a mean over its joints.
_BODY_NOISE_MM = 30.0
# Of one joint, whose swing turns within a tenth of a second: what counts is how fast a velocity
# changes. It hardly fades by itself, or a steady walker's would come out too small.
_JOINTS = _Motion(speed_mm_s=6000.0, persistence_s=5.0)


class TrackerSettings(BaseModel):
    """What counts as the same person, and what is smoothed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    gate_mm: float = Field(
        500.0,
        gt=0,
        description="Largest mean joint distance between a track's predicted pose and a skeleton, mm; "
        "it widens while the person is not seen.",
    )
    max_age_s: float = Field(
        2.0,
        gt=0,
        description="A track not seen for longer, s, and in more than max_missed frame sets, ends.",
    )
    max_missed: int = Field(
        3,
        ge=0,
        description="A track missing in more frame sets, and for longer than max_age_s, ends.",
    )
    confirm_after: int = Field(
        3, ge=1, description="Consecutive frame sets after which a new track gets its id."
    )
    smooth: bool | None = Field(
        None,
        description="Publish smoothed joints instead of the estimated ones; auto: of people whose "
        "joints have covariances (ray model), which makes them steadier and more accurate.",
    )
    joint_noise_mm: float = Field(
        60.0,
        gt=0,
        description="Expected noise of a joint's coordinates, mm: larger values make velocities and "
        "smoothed joints steadier and later. A joint with a covariance (ray model) has its own noise, "
        "which this scales: 43 takes the covariances as they are.",
    )


class Tracker:
    """Assigns skeletons to people over time.

    Every person has a Kalman filter of its body's motion, which predicts where the pose last seen
    is now. The skeletons of a frame set are assigned to the predictions with the smallest sum of mean
    joint distances (Hungarian algorithm), none farther than the gate: first to those who have a
    number, then to newcomers. Numbers count up from 0 and are never used again.

    A second filter for every joint gives its velocity and, with `smooth`, its position. A joint that
    comes with a covariance counts by it, along each axis, and so also where no camera supports it;
    others count alike, those that are not valid not at all.

    Args:
        settings: see `TrackerSettings`.
        body: which joints tell people apart and move the body (`JointSet.body`); None: all.

    Attributes:
        settings, body: may be replaced between two frame sets; after another body `reset` is due.
    """

    def __init__(self, settings: TrackerSettings = TrackerSettings(), body: Sequence[int] | None = None):
        self.settings = settings
        self.body = body
        self._tracks: list[_Track] = []
        self._next_id = 0
        self._last_stamp: float | None = None

    def reset(self) -> None:
        """Forget everyone. Numbers go on: none is given to two people."""
        self._tracks = []
        self._last_stamp = None

    def predict(self, stamp_s: float) -> np.ndarray:
        """Where the joints of everyone who has a number are expected at a stamp, to hand to
        `PoseEstimator` before `update` gets what it answers. Changes nothing.

        Args:
            stamp_s: of the frame set to come, seconds.

        Returns:
            (P, J, 3) mm, the longest-known people first; none before the first update, and for a
            stamp that `update` would start anew from.
        """
        poses = []
        if self._last_stamp is not None and stamp_s >= self._last_stamp:
            elapsed = stamp_s - self._last_stamp
            numbered = (track for track in self._tracks if track.id != NO_ID)
            poses = [track.expected(elapsed) for track in sorted(numbered, key=lambda t: t.id)]
        return np.array(poses) if poses else np.zeros((0, 0, 3))

    def update(self, skeletons: Sequence[Skeleton], stamp_s: float) -> list[Skeleton]:
        """The same skeletons, in the same order, with identity and velocities.

        Args:
            skeletons: the people of one frame set.
            stamp_s: its time, seconds. A stamp before the last one (a bag that loops, a clock
                that was set back) starts anew.

        Returns:
            copies of the skeletons with `track_id` and `joint_velocities`; track_id is -1 for who
            is not confirmed yet. Once a person is, the skeletons returned for it before get its id,
            too, so that what is written to a file later has whole tracks. Whoever is there at the
            start gets a number at once. Where the
            settings say so, joints are smoothed: all that come with covariances, which are then those
            of the smoothed joints, and of other skeletons the valid ones.
        """
        if self._last_stamp is not None and stamp_s < self._last_stamp:
            self.reset()
        at_start = self._last_stamp is None
        elapsed = 0.0 if self._last_stamp is None else stamp_s - self._last_stamp
        self._last_stamp = stamp_s
        for known in self._tracks:
            known.advance(elapsed)
        matches = self._assign(skeletons)
        tracked = []
        for index, skeleton in enumerate(skeletons):
            track = matches.get(index)
            if track is None:
                track = _Track(skeleton, self._body)
                self._tracks.append(track)
            track.observe(skeleton, self.settings.joint_noise_mm)
            if track.id == NO_ID and (at_start or track.seen >= self.settings.confirm_after):
                track.confirm(self._next_id)
                self._next_id += 1
            tracked.append(self._answer(skeleton, track))
            if track.id == NO_ID:
                track.unconfirmed.append(tracked[-1])
        self._tracks = [track for track in self._tracks if self._remembered(track)]
        return tracked

    @property
    def _body(self) -> slice | list[int]:
        return slice(None) if self.body is None else list(self.body)

    def _assign(self, skeletons: Sequence[Skeleton]) -> dict[int, _Track]:
        """The track of each skeleton (by index) that has one."""
        matches: dict[int, _Track] = {}
        for numbered in (True, False):
            tracks = [track for track in self._tracks if (track.id != NO_ID) == numbered]
            left = [index for index in range(len(skeletons)) if index not in matches]
            if not tracks or not left:
                continue
            costs = pose_distances(
                np.array([_measured(skeletons[index])[self._body] for index in left]),
                np.array([track.joints[self._body] for track in tracks]),
                np.array([track.known[self._body] for track in tracks]),
            )
            gates = np.array([track.gate_mm(self.settings.gate_mm) for track in tracks])
            costs = np.where(costs <= gates, costs, _FORBIDDEN)
            for row, column in zip(*linear_sum_assignment(costs)):
                if costs[row, column] < _FORBIDDEN:
                    matches[left[row]] = tracks[column]
        return matches

    def _answer(self, skeleton: Skeleton, track: _Track) -> Skeleton:
        motion = track.joint_motion
        smooth = self.settings.smooth
        smoothed: dict[str, Any] = {}
        if smooth is not False and skeleton.joint_covariances is not None:
            smoothed = {"joints": motion.position, "joint_covariances": motion.covariance}
        elif smooth:
            valid = np.asarray(skeleton.joint_valid, bool)
            smoothed = {"joints": np.where(valid[:, None], motion.position, skeleton.joints)}
        return dataclasses.replace(
            skeleton, track_id=track.id, joint_velocities=motion.velocity.copy(), **smoothed
        )

    def _remembered(self, track: _Track) -> bool:
        if track.id == NO_ID:
            # Who has no number must be seen every time: that is what tells people from flickers.
            return track.missed == 0
        return track.missed <= self.settings.max_missed or track.age_s <= self.settings.max_age_s


class _Track:
    """One person: the pose last seen, carried along by the body's motion.

    Attributes:
        body: which of the J joints move the body.
        joints: (J, 3) mm, where the joints are expected now.
        known: (J,) bool, joints that were ever seen.
        seen: frame sets with this person.
        missed: frame sets since then.
        age_s: seconds since then.
        unconfirmed: skeletons returned for this person while it had no id.
    """

    def __init__(self, skeleton: Skeleton, body: slice | list[int]):
        self.body = body
        self.id = NO_ID
        self.unconfirmed: list[Skeleton] = []
        self.seen = 0
        self.missed = 0
        self.age_s = 0.0
        self.joints = np.array(skeleton.joints, dtype=np.float64)
        self.known = np.array(skeleton.joint_valid, dtype=bool)
        # Only the body's displacement matters, so that it may start anywhere.
        self._body = MovingPoints(np.zeros((1, 3)), _BODY)
        self.joint_motion = MovingPoints(self.joints, _JOINTS)

    def gate_mm(self, narrow_mm: float) -> float:
        """Farthest mean joint distance of this person's next skeleton from `joints`."""
        return min(max(narrow_mm, _WIDEST_GATE_MM), narrow_mm + 2.0 * float(self._body.deviation_mm[0]))

    def confirm(self, number: int) -> None:
        """Give this person its id, also in what was returned for it before."""
        self.id = number
        for skeleton in self.unconfirmed:
            skeleton.track_id = number
        self.unconfirmed = []

    def advance(self, elapsed_s: float) -> None:
        """Move on by some seconds, unseen."""
        before = self._body.position
        self._body.advance(elapsed_s)
        self.joints = self.joints + (self._body.position - before)
        self.joint_motion.advance(elapsed_s)
        self.missed += 1
        self.age_s += elapsed_s

    def expected(self, elapsed_s: float) -> np.ndarray:
        """(J, 3) mm, where the joints will be some seconds later."""
        if self.missed:
            # A limb's swing is not known for longer than a frame or two: the body carries the last pose.
            body = copy.copy(self._body)
            body.advance(elapsed_s)
            return self.joints + (body.position - self._body.position)
        motion = copy.copy(self.joint_motion)
        motion.advance(elapsed_s)
        return motion.position

    def observe(self, skeleton: Skeleton, joint_noise_mm: float) -> None:
        """Take this frame set's skeleton."""
        measured = _measured(skeleton)
        valid = np.isfinite(measured).all(axis=1)
        common = (valid & self.known)[self.body]
        if common.any():
            before = self._body.position
            shift = (measured - self.joints)[self.body][common].mean(axis=0)
            self._body.correct(before + shift, _BODY_NOISE_MM**2)
            # The filter takes part of the shift as the body's; the rest is noise of all joints
            # together, which the pose must not keep.
            moved = self._body.position - before
            self.joints = np.where(valid[:, None], measured - shift, self.joints) + moved
        else:
            self.joints = np.where(valid[:, None], measured, self.joints)
        if skeleton.joint_covariances is None:
            self.joint_motion.correct(measured, joint_noise_mm**2)
        else:
            scale = (joint_noise_mm / _TYPICAL_NOISE_MM) ** 2
            self.joint_motion.correct(skeleton.joints, scale * skeleton.joint_covariances)
        self.known |= valid
        self.seen += 1
        self.missed = 0
        self.age_s = 0.0


class MovingPoints:
    """Kalman filters of N points whose velocities fade: an Ornstein-Uhlenbeck process.

    Between two measurements a point goes on with its velocity, which forgets itself over
    `persistence_s` and is `speed_mm_s` large where nothing is known (Singer's model of 1970, one
    order lower). The axes move apart from each other, but may be measured together.

    Args:
        position: (N, 3) first guess, mm, to be corrected by a first measurement.
        motion: speed_mm_s is the standard deviation of a coordinate's velocity, persistence_s how
            long a velocity lasts.

    Attributes:
        position: (N, 3) mm.
        velocity: (N, 3) mm/s.
        covariance: (N, 3, 3) mm^2, of the position.
    """

    def __init__(self, position: np.ndarray, motion: _Motion):
        self._motion = motion
        self.position = np.array(position, dtype=np.float64)
        self.velocity = np.zeros_like(self.position)
        # Of position with velocity and of velocity alone; each (N, 3, 3), as that of position.
        unit = np.tile(np.eye(3), (len(self.position), 1, 1))
        self.covariance = _UNKNOWN_MM**2 * unit
        self._pv = 0.0 * unit
        self._vv = motion.speed_mm_s**2 * unit

    @property
    def deviation_mm(self) -> np.ndarray:
        """(N,) standard deviation of a coordinate, in the mean over the axes."""
        return np.sqrt(np.trace(self.covariance, axis1=1, axis2=2) / 3.0)

    def advance(self, elapsed_s: float) -> None:
        """Predict the state some seconds later."""
        variance, lasting = self._motion.speed_mm_s**2, self._motion.persistence_s
        left = np.exp(-elapsed_s / lasting)
        reach = lasting * (1.0 - left)
        self.position = self.position + reach * self.velocity
        self.velocity = left * self.velocity
        grown = variance * lasting * (2.0 * elapsed_s - lasting * (3.0 - left) * (1.0 - left))
        unit = np.eye(3)
        self.covariance = self.covariance + grown * unit + reach**2 * self._vv
        self.covariance = self.covariance + reach * (self._pv + self._pv.swapaxes(1, 2))
        self._pv = left * (self._pv + reach * self._vv) + variance * reach**2 / lasting * unit
        self._vv = left**2 * self._vv + variance * (1.0 - left**2) * unit

    def correct(self, measured: np.ndarray, noise: np.ndarray | float) -> None:
        """Take measured positions.

        Args:
            measured: (N, 3) mm; NaN where none was seen.
            noise: covariances (N, 3, 3) of their errors, mm^2, or the variance of every coordinate.
        """
        innovation = np.asarray(measured) - self.position
        seen = np.all(np.isfinite(innovation), axis=1)
        errors = noise if isinstance(noise, np.ndarray) else noise * np.eye(3)
        inverse = np.linalg.inv(self.covariance + errors) * seen[:, None, None]
        gain, gain_v = self.covariance @ inverse, self._pv.swapaxes(1, 2) @ inverse
        innovation = np.where(seen[:, None], innovation, 0.0)[..., None]
        self.position = self.position + (gain @ innovation)[..., 0]
        self.velocity = self.velocity + (gain_v @ innovation)[..., 0]
        self._vv = _symmetric(self._vv - gain_v @ self._pv)
        self._pv = self._pv - gain @ self._pv
        self.covariance = _symmetric(self.covariance - gain @ self.covariance)


def _symmetric(matrices: np.ndarray) -> np.ndarray:
    """What rounding made uneven, evened: else the error grows from step to step."""
    return (matrices + matrices.swapaxes(-1, -2)) / 2.0


def _measured(skeleton: Skeleton) -> np.ndarray:
    """(J, 3) its valid joints, mm; the others NaN."""
    valid = np.asarray(skeleton.joint_valid, bool)
    return np.where(valid[:, None], skeleton.joints, np.nan)
