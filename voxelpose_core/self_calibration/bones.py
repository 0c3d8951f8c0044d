"""Bones whose length is the same on both sides of the body and at all times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from voxelpose_core.skeletons import JointSet

# Joints of the head lie so close together that detectors' errors are as long as the bones.
_BONES = (
    ("shoulder", "elbow"),
    ("elbow", "wrist"),
    ("hip", "knee"),
    ("knee", "ankle"),
    ("shoulder", "hip"),
)
_WIDTHS = ("shoulder", "hip")


@dataclass(frozen=True, eq=False)
class Bones:
    """Pairs of joints, and which of them have one length.

    Attributes:
        ends: (first, second) joint of each bone.
        length: (bones,) number of the length that the bone has.
        lengths: B, number of lengths.
    """

    ends: tuple[tuple[int, int], ...]
    length: np.ndarray
    lengths: int

    @classmethod
    def of(cls, joint_set: JointSet) -> Bones:
        """Upper arms, forearms, thighs, shanks, sides of the trunk, widths of shoulders and hips."""
        pairs = [
            [(f"{side}_{first}", f"{side}_{second}") for side in ("left", "right")]
            for first, second in _BONES
        ] + [[(f"left_{joint}", f"right_{joint}")] for joint in _WIDTHS]
        ends: list[tuple[int, int]] = []
        length: list[int] = []
        number = 0
        for sides in pairs:
            known = [pair for pair in sides if all(name in joint_set.joint_names for name in pair)]
            ends += [(joint_set.index(first), joint_set.index(second)) for first, second in known]
            length += [number] * len(known)
            number += bool(known)
        return cls(tuple(ends), np.array(length, int), number)

    def logs(self, points: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of points (K, J, 3) that are known (K, J): log-lengths (K, bones), and where there is one."""
        first, second = np.array(self.ends, int).reshape(-1, 2).T
        length = np.linalg.norm(points[:, first] - points[:, second], axis=-1)
        there = known[:, first] & known[:, second] & (length > 1.0)
        return np.log(np.where(there, length, 1.0)), there

    def mean_logs(self, points: np.ndarray, known: np.ndarray, person: np.ndarray, people: int) -> np.ndarray:
        """(people, B) medians of the log-lengths of each of the people; 0 where there is none.

        Args:
            points: (K, J, 3).
            known: (K, J) bool.
            person: (K,) whose pose it is, 0 to people - 1.
            people: how many.
        """
        logs, there = self.logs(points, known)
        result = np.zeros((people, self.lengths))
        for number in range(people):
            for length in range(self.lengths):
                chosen = (person == number)[:, None] & there & (self.length == length)
                if chosen.any():
                    result[number, length] = np.median(logs[chosen])
        return result
