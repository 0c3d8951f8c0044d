"""What a joint set is: names, limbs, root, and left-right pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class JointSet:
    """A fixed, ordered set of J body joints.

    Attributes:
        name: the name used in configurations and messages.
        joint_names: J names, in the order of every joint axis.
        limbs: pairs of joint indices to draw as bones.
        root: indices of the joints whose mean is the person's root (the mid-hip).
        mirror: J indices; `mirror[j]` is joint j's partner on the other side of the body.
        body: indices of the joints that 3D weights estimate, in the weights' order. All others are
            additional: a detector sees them, and they are triangulated (`AdditionalJoints`).
    """

    name: str
    joint_names: tuple[str, ...]
    limbs: tuple[tuple[int, int], ...]
    root: tuple[int, ...]
    mirror: tuple[int, ...]
    body: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.joint_names)

    @property
    def additional(self) -> tuple[int, ...]:
        """Indices of the joints that are not of the body."""
        return tuple(sorted(set(range(len(self))) - set(self.body)))

    def index(self, joint_name: str) -> int:
        """Index of a joint by name."""
        return self.joint_names.index(joint_name)

    def root_of(self, joints: np.ndarray) -> np.ndarray:
        """Root position (..., 3) of joints (..., J, 3), in their unit."""
        return joints[..., list(self.root), :3].mean(axis=-2)

    def body_part(self, joints: np.ndarray) -> np.ndarray:
        """The body's joints (N, B, C) of joints (N, J, C); the array itself where there are no others."""
        if self.body == tuple(range(len(self))):
            return joints
        # Laid out as if nothing else had ever been there, so that sums come out the same to the last bit.
        return np.ascontiguousarray(joints[:, list(self.body)])


def make_joint_set(
    name: str, joint_names: str, limbs: str, root: str, body: Sequence[str] | None = None
) -> JointSet:
    """A joint set from names.

    Args:
        name: of the set.
        joint_names: separated by blanks; "left_" and "right_" make pairs.
        limbs: "name-name", separated by blanks.
        root: names, separated by blanks.
        body: names of the joints that 3D weights estimate; None: all.
    """
    names = tuple(joint_names.split())

    def pair(text: str) -> tuple[int, int]:
        first, second = text.split("-")
        return names.index(first), names.index(second)

    mirror = []
    for joint in names:
        partner = joint
        if joint.startswith("left_"):
            partner = "right_" + joint[5:]
        elif joint.startswith("right_"):
            partner = "left_" + joint[6:]
        mirror.append(names.index(partner))
    return JointSet(
        name,
        names,
        tuple(pair(limb) for limb in limbs.split()),
        tuple(names.index(joint) for joint in root.split()),
        tuple(mirror),
        tuple(names.index(joint) for joint in (names if body is None else body)),
    )
