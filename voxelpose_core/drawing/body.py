"""How the joints of a joint set become limbs, head and trunk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from voxelpose_core.detector_joint_sets import FINE_JOINTS
from voxelpose_core.drawing.colors import Color, darker, paler
from voxelpose_core.pose_types import Skeleton
from voxelpose_core.skeletons import JointSet

LIMB_MM, HEAD_MM = 32.0, 95.0
# Of feet, and of hands and faces, whose joints are close together.
FOOT_MM, FINE_MM = 22.0, 6.0


class Stroke(NamedTuple):
    """A tube of a body.

    Attributes:
        ends: (2, 2) pixels.
        depths: (2,) of the ends, mm.
        radius_mm: of the tube.
        color: BGR.
    """

    ends: np.ndarray
    depths: np.ndarray
    radius_mm: float
    color: Color


def body_strokes(
    skeleton: Skeleton, body: Body, pixels: np.ndarray, depth: np.ndarray, color: Color
) -> list[Stroke]:
    """Limbs, neck and head of a person whose joints lie at pixels (J, 2), in depth (J,) mm; pale where a
    joint is not valid."""
    valid = skeleton.joint_valid
    strokes = []
    for a, b in body.limbs:
        shade = body.shade((a, b), color)
        shade = shade if valid[a] and valid[b] else paler(shade, 0.7)
        strokes.append(Stroke(pixels[[a, b]], depth[[a, b]], LIMB_MM, shade))
    for limbs, radius in ((body.feet, FOOT_MM), (body.fine, FINE_MM)):
        for a, b in limbs:
            if valid[a] and valid[b]:
                strokes.append(
                    Stroke(pixels[[a, b]], depth[[a, b]], radius, body.shade((a, b), darker(color, 0.85)))
                )
    head, shoulders = list(body.head), list(body.shoulders)
    if head and valid[head].all():
        strokes.append(_stroke_between([head, head], pixels, depth, HEAD_MM, color))
        if shoulders and valid[shoulders].all():
            strokes.append(_stroke_between([shoulders, head], pixels, depth, LIMB_MM, color))
    return strokes


def _stroke_between(
    groups: Sequence[list[int]],
    pixels: np.ndarray,
    depth: np.ndarray,
    radius_mm: float,
    color: Color,
) -> Stroke:
    """The stroke from the middle of one group of joints to the middle of another."""
    ends = np.array([pixels[group].mean(axis=0) for group in groups])
    depths = np.array([depth[group].mean() for group in groups])
    return Stroke(ends, depths, radius_mm, color)


class Body(NamedTuple):
    """How a joint set is drawn.

    Attributes:
        limbs: pairs of joints of the body, without those inside the face.
        feet: pairs of joints of the feet, drawn where both are valid.
        fine: pairs of joints of hands and faces, drawn thinly where both are valid.
        joints: joints drawn as dots; those of hands and faces are not.
        extra: joints beyond the body, shown where they are valid.
        face: joints inside the head.
        head: joints whose mean is the head's middle; none where the set has its own head joints.
        shoulders: joints whose mean is the neck's lower end; none where a limb is the neck.
        torso: shoulders and hips.
        right: joints of the right side.
    """

    limbs: tuple[tuple[int, int], ...]
    feet: tuple[tuple[int, int], ...]
    fine: tuple[tuple[int, int], ...]
    joints: tuple[int, ...]
    extra: frozenset[int]
    face: frozenset[int]
    head: tuple[int, ...]
    shoulders: tuple[int, ...]
    torso: tuple[int, ...]
    right: frozenset[int]

    @classmethod
    def of(cls, joint_set: JointSet) -> Body:
        """The parts of a joint set, by the names of its joints."""
        names = joint_set.joint_names

        def some(*wanted: str) -> tuple[int, ...]:
            return tuple(names.index(name) for name in wanted if name in names)

        body_names = [names[joint] for joint in joint_set.body]
        face = frozenset(some("nose", "left_eye", "right_eye", "left_ear", "right_ear"))
        body = frozenset(joint_set.body)
        fine = frozenset(some(*FINE_JOINTS))
        outer = [limb for limb in joint_set.limbs if not body.issuperset(limb)]
        return cls(
            limbs=tuple(
                limb for limb in joint_set.limbs if body.issuperset(limb) and not face.issuperset(limb)
            ),
            feet=tuple(limb for limb in outer if fine.isdisjoint(limb)),
            fine=tuple(limb for limb in outer if not fine.isdisjoint(limb)),
            extra=frozenset(joint_set.additional),
            joints=tuple(joint for joint in range(len(names)) if joint not in fine),
            face=face,
            head=some("left_ear", "right_ear") or some("nose"),
            shoulders=() if "neck" in body_names else some("left_shoulder", "right_shoulder"),
            torso=some("left_shoulder", "right_shoulder", "right_hip", "left_hip"),
            right=frozenset(i for i, name in enumerate(names) if name.startswith("right_")),
        )

    def shade(self, limb: tuple[int, int], color: Color) -> Color:
        """The person's colour, darker on the right side of the body."""
        return darker(color, 0.78) if self.right.issuperset(limb) else color
