"""The hierarchy of bones that a BVH file gives a joint set, in a T-pose.

Axes are those of BVH files: y up, in the T-pose x to the person's left and z forward.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from voxelpose_core.errors import InputError
from voxelpose_core.skeleton_files.names import camel_case
from voxelpose_core.skeletons import JointSet

LEFT, UP, FORWARD = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
RIGHT, DOWN, NOWHERE = (-1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, 0.0)
Vector = tuple[float, float, float]
# Points between joints.
MIDDLES = {
    "mid_hips": ("left_hip", "right_hip"),
    "mid_shoulders": ("left_shoulder", "right_shoulder"),
    "mid_ears": ("left_ear", "right_ear"),
}
TRUNK = ("left_hip", "right_hip", "left_shoulder", "right_shoulder")
# Names that retargeting tools know, of the joint at which each bone begins.
_NAMES = {
    "left_hip": "LeftUpLeg",
    "left_knee": "LeftLeg",
    "left_ankle": "LeftFoot",
    "left_shoulder": "LeftArm",
    "left_elbow": "LeftForeArm",
    "left_wrist": "LeftHand",
}
_NAMES |= {joint.replace("left_", "right_"): name.replace("Left", "Right") for joint, name in _NAMES.items()}
# Joints that are no bones of their own move with one: the first rule that fits, else the chest.
_CARRIED = (
    (r"nose|head|face|chin|mouth", "Head"),
    (r"(left|right|upper|lower)_(eye|ear|jaw|brow|nostril|pupil|lip|inner_lip)", "Head"),
    (r"mid_hip|pelvis|hip", "Hips"),
    (r"left_(\w*toe|heel|foot)", "LeftFoot"),
    (r"right_(\w*toe|heel|foot)", "RightFoot"),
    (r"left_(hand|\w*finger|thumb)", "LeftHand"),
    (r"right_(hand|\w*finger|thumb)", "RightHand"),
)
# The joints of a finger are counted from the hand to the tip.
_FINGER = r"(left|right)_(thumb|\w*finger)(\d)"


@dataclass(frozen=True)
class Aim:
    """A direction in the T-pose, and the two points whose difference it is in each frame.

    `start` None: the bone's own place.
    """

    rest: Vector
    start: str | None
    end: str


@dataclass(frozen=True)
class Bone:
    """A node of the hierarchy.

    Attributes:
        name: its name in the file.
        parent: name of the bone above; empty for the root.
        point: joint, or point between joints, at which it begins.
        rest: direction in the T-pose from the parent's beginning; None: the place that the joint has
            on average in the parent's frame.
        primary: what its rotation follows exactly; None: it moves with its parent.
        secondary: what turns it about the primary direction; None: it is swung from the parent's
            rotation by the shortest way.
    """

    name: str
    parent: str
    point: str
    rest: Vector | None
    primary: Aim | None = None
    secondary: Aim | None = None


def bones_of(joint_set: JointSet) -> list[Bone]:
    """The hierarchy, parents first: hips, legs, spine, chest, arms, neck, head; others carried by these.

    Raises:
        InputError: the joint set lacks hips or shoulders.
    """
    names = set(joint_set.joint_names)
    lacking = [joint for joint in TRUNK if joint not in names]
    if lacking:
        raise InputError(
            f"BVH needs hips and shoulders, but joint set '{joint_set.name}' has no {', '.join(lacking)}"
        )
    hips, shoulders = Aim(LEFT, "right_hip", "left_hip"), Aim(LEFT, "right_shoulder", "left_shoulder")
    spine = Aim(UP, "mid_hips", "mid_shoulders")
    bones = [Bone("Hips", "", "mid_hips", NOWHERE, hips, spine)]
    for side in ("left", "right"):
        out = LEFT if side == "left" else RIGHT
        bones += _chain("Hips", out, DOWN, [f"{side}_{joint}" for joint in ("hip", "knee", "ankle")], names)
    # Apart from the hips, so that both the pelvis and the spine can point where they do.
    bones.append(Bone("Spine", "Hips", "mid_hips", NOWHERE, replace(spine, start=None), shoulders))
    bones.append(Bone("Chest", "Spine", "mid_shoulders", UP, shoulders, spine))
    for side in ("left", "right"):
        out = LEFT if side == "left" else RIGHT
        bones += _chain(
            "Chest", out, out, [f"{side}_{joint}" for joint in ("shoulder", "elbow", "wrist")], names
        )
    bones += _head(names)
    bones = [_aimed_foot(_aimed_hand(bone, names), names) for bone in bones]
    bones += _carried(joint_set, bones)
    return bones


def _chain(parent: str, out: Vector, along: Vector, joints: list[str], names: set[str]) -> list[Bone]:
    """A limb: bones from joint to joint, as far as the joint set has them."""
    bones: list[Bone] = []
    for index, joint in enumerate(joints):
        if joint not in names:
            break
        following = joints[index + 1] if index + 1 < len(joints) else ""
        aim = Aim(along, None, following) if following in names else None
        bones.append(Bone(_NAMES[joint], parent, joint, out if not bones else along, aim))
        parent = _NAMES[joint]
    return bones


def _head(names: set[str]) -> list[Bone]:
    has_ears = {"left_ear", "right_ear"} <= names
    tops = [joint for joint in ("head", "head_top", "nose") if joint in names]
    if not has_ears and not tops:
        return []
    top = "mid_ears" if has_ears else tops[0]
    across = Aim(LEFT, "right_ear", "left_ear") if has_ears else None
    ahead = Aim(FORWARD, "mid_ears", "nose") if has_ears and "nose" in names else None
    return [
        Bone("Neck", "Chest", "mid_shoulders", NOWHERE, Aim(UP, None, top), across),
        Bone("Head", "Neck", top, UP, across, ahead),
    ]


def _aimed_foot(bone: Bone, names: set[str]) -> Bone:
    """A foot turns with its toes, where there are some."""
    if not bone.point.endswith("_ankle"):
        return bone
    side = bone.point.removesuffix("_ankle")
    toe, small, heel = f"{side}_big_toe", f"{side}_small_toe", f"{side}_heel"
    if toe not in names:
        return bone
    # From the small toe to the big one is towards the middle of the body.
    inwards = RIGHT if side == "left" else LEFT
    across = Aim(inwards, small, toe) if small in names else None
    return replace(bone, primary=Aim(FORWARD, heel if heel in names else None, toe), secondary=across)


def _aimed_hand(bone: Bone, names: set[str]) -> Bone:
    """A hand turns with its fingers, where there are some: palm down in the T-pose."""
    if not bone.point.endswith("_wrist"):
        return bone
    side = bone.point.removesuffix("_wrist")
    first, middle, last = (f"{side}_{finger}1" for finger in ("forefinger", "middle_finger", "pinky_finger"))
    if not {first, middle, last} <= names:
        return bone
    out = LEFT if side == "left" else RIGHT
    return replace(bone, primary=Aim(out, None, middle), secondary=Aim(FORWARD, last, first))


def _carried(joint_set: JointSet, bones: list[Bone]) -> list[Bone]:
    """Bones of the joints that are not in the hierarchy yet, at the places that they have on average."""
    placed = {bone.point for bone in bones}
    known = {bone.name for bone in bones}
    extra: list[Bone] = []
    for joint in joint_set.joint_names:
        if joint in placed:
            continue
        finger = re.fullmatch(_FINGER, joint)
        if finger:
            extra.append(_finger(joint, finger, known, joint_set))
        else:
            part = next((part for rule, part in _CARRIED if re.fullmatch(rf"(?:{rule})\w*", joint)), "Chest")
            name = camel_case(joint)
            extra.append(
                Bone(name + "Joint" * (name in known), part if part in known else "Chest", joint, None)
            )
    return sorted(extra, key=lambda bone: bone.point[-1] if re.fullmatch(_FINGER, bone.point) else "0")


def _finger(joint: str, match: re.Match[str], known: set[str], joint_set: JointSet) -> Bone:
    side, finger, number = match[1], match[2], int(match[3])
    out = LEFT if side == "left" else RIGHT
    before, after = f"{side}_{finger}{number - 1}", f"{side}_{finger}{number + 1}"
    aim = Aim(out, None, after) if after in joint_set.joint_names else None
    if before in joint_set.joint_names:
        return Bone(camel_case(joint), camel_case(before), joint, out, aim)
    hand = side.capitalize() + "Hand"
    return Bone(camel_case(joint), hand if hand in known else "Chest", joint, None, aim)
