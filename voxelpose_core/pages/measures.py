"""Figures of a recording that tell whether it is good: gaps, and how steady bone lengths are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from voxelpose_core.drawing.body import Body
from voxelpose_core.skeleton_files import Recording

# Makes the median absolute deviation of a normal distribution its standard deviation.
_MAD_TO_SIGMA = 1.4826
# Fewer lengths tell no spread.
_LEAST_LENGTHS = 5


@dataclass(frozen=True, eq=False)
class Person:
    """One track.

    Attributes:
        track_id: its id.
        rows: (N,) indices of the frame sets in which it is.
        joints: (N, B, 3) joints of the body, mm; NaN where not valid.
    """

    track_id: int
    rows: np.ndarray
    joints: np.ndarray

    @property
    def frames(self) -> int:
        """Frame sets from its first to its last."""
        return int(self.rows[-1] - self.rows[0]) + 1

    @property
    def missing(self) -> float:
        """Share of the joints that are gaps, from its first to its last frame set."""
        valid = np.isfinite(self.joints[..., 0]).sum()
        return 1.0 - float(valid) / (self.frames * self.joints.shape[1])

    def longest_gap_s(self, stamps: np.ndarray) -> float:
        """Longest time without the person, seconds, between frame sets at (T,) stamps."""
        apart = np.diff(self.rows)
        gaps = np.diff(stamps[self.rows])[apart > 1]
        return float(gaps.max()) if len(gaps) else 0.0


def people_of(recording: Recording) -> list[Person]:
    """The tracks of a recording, those of most frames first; skeletons without a track id are left out."""
    body = list(recording.joint_set.body)
    found: dict[int, list[tuple[int, np.ndarray]]] = {}
    for row, frame_set in enumerate(recording.frame_sets):
        for skeleton in frame_set.skeletons:
            if skeleton.track_id >= 0:
                joints = np.where(skeleton.joint_valid[:, None], skeleton.joints, np.nan)[body]
                found.setdefault(skeleton.track_id, []).append((row, joints))
    people = [
        Person(track_id, np.array([row for row, _ in seen]), np.array([joints for _, joints in seen]))
        for track_id, seen in found.items()
    ]
    return sorted(people, key=lambda person: (-len(person.rows), person.track_id))


@dataclass(frozen=True)
class Bone:
    """A limb of one person over time.

    Attributes:
        length: median, mm; NaN where it was never seen.
        spread: standard deviation as a share of the length, from the median absolute deviation; NaN where
            it was seen in fewer than 5 frame sets.
    """

    length: float
    spread: float


def bone_names(recording: Recording) -> list[str]:
    """The limbs whose lengths `bones_of` has ("left hip - left knee")."""
    names = recording.joint_set.joint_names
    return [f"{names[a]} - {names[b]}".replace("_", " ") for a, b in _limbs(recording)]


def bones_of(recording: Recording, person: Person) -> list[Bone]:
    """The limbs of a person, in the order of `bone_names`."""
    place = {joint: index for index, joint in enumerate(recording.joint_set.body)}
    bones = []
    for a, b in _limbs(recording):
        lengths = np.linalg.norm(person.joints[:, place[a]] - person.joints[:, place[b]], axis=1)
        lengths = lengths[np.isfinite(lengths)]
        if not len(lengths):
            bones.append(Bone(np.nan, np.nan))
            continue
        middle = float(np.median(lengths))
        spread = _MAD_TO_SIGMA * float(np.median(np.abs(lengths - middle))) / max(middle, 1.0)
        bones.append(Bone(middle, spread if len(lengths) >= _LEAST_LENGTHS else np.nan))
    return bones


def _limbs(recording: Recording) -> tuple[tuple[int, int], ...]:
    return Body.of(recording.joint_set).limbs
