"""Joint sets of 2D detectors: COCO-17 with feet, hands and faces, in the orders in which tools write them.

Joints that COCO-17 has bear its names, so that every set is mapped to the weights' joints by name.
"Left" and "right" are the person's. Sources of the orders: OpenPose's output documentation (COCO-18,
BODY_25, face and hands) and its experimental models (BODY_25B), Halpe-FullBody (26 and 136) and
COCO-WholeBody (133).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from voxelpose_core.errors import InputError
from voxelpose_core.joint_set import JointSet, make_joint_set
from voxelpose_core.skeletons import COCO17, COMPLETED

_ROOT = "left_hip right_hip"
_BODY_LIMBS = " ".join(
    f"{COCO17.joint_names[first]}-{COCO17.joint_names[second]}" for first, second in COCO17.limbs
)
_FINGERS = ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger")
# The 68 points of the face: the jaw from the person's right ear to the left, brows, nose, eyes, mouth.
_FACE = (
    [f"right_jaw_{i}" for i in range(8)]
    + ["chin"]
    + [f"left_jaw_{i}" for i in reversed(range(8))]
    + [f"right_brow_{i}" for i in range(5)]
    + [f"left_brow_{i}" for i in reversed(range(5))]
    + [f"nose_bridge_{i}" for i in range(4)]
    + ["right_nostril_0", "right_nostril_1", "nose_base", "left_nostril_1", "left_nostril_0"]
    + [f"right_eye_{i}" for i in range(6)]
    + [f"left_eye_{i}" for i in (3, 2, 1, 0, 5, 4)]
    + ["right_lip_0", "right_lip_1", "right_lip_2", "upper_lip", "left_lip_2", "left_lip_1", "left_lip_0"]
    + ["left_lip_3", "left_lip_4", "lower_lip", "right_lip_4", "right_lip_3"]
    + ["right_inner_lip_0", "right_inner_lip_1", "upper_inner_lip", "left_inner_lip_1", "left_inner_lip_0"]
    + ["left_inner_lip_2", "lower_inner_lip", "right_inner_lip_2"]
)
_PUPILS = ["right_pupil", "left_pupil"]
# Strokes of the face: (first, last, closed).
_FACE_LINES = (
    (0, 16, False),
    (17, 21, False),
    (22, 26, False),
    (27, 30, False),
    (31, 35, False),
    (36, 41, True),
    (42, 47, True),
    (48, 59, True),
    (60, 67, True),
)


def _hand(side: str) -> list[str]:
    joints = [f"{side}_hand_root"]
    return joints + [f"{side}_{finger}{joint}" for finger in _FINGERS for joint in range(1, 5)]


def _foot_limbs(side: str) -> list[str]:
    heel, big, small = (f"{side}_{part}" for part in ("heel", "big_toe", "small_toe"))
    return [f"{side}_ankle-{heel}", f"{side}_ankle-{big}", f"{heel}-{big}", f"{big}-{small}"]


def _hand_limbs(side: str) -> list[str]:
    limbs = []
    for finger in _FINGERS:
        joints = [f"{side}_hand_root", *(f"{side}_{finger}{joint}" for joint in range(1, 5))]
        limbs += [f"{first}-{second}" for first, second in zip(joints, joints[1:])]
    return limbs


def _face_limbs() -> list[str]:
    limbs = []
    for first, last, closed in _FACE_LINES:
        points = list(range(first, last + 1)) + [first] * closed
        limbs += [f"{_FACE[one]}-{_FACE[other]}" for one, other in zip(points, points[1:])]
    return limbs


def _detector_set(name: str, joint_names: Sequence[str]) -> JointSet:
    """Limbs are those of COCO-17, and those of the feet, hands and face that the set has."""
    limbs = [*(limb for side in ("left", "right") for limb in _foot_limbs(side) + _hand_limbs(side))]
    limbs = [limb for limb in limbs + _face_limbs() if set(limb.split("-")) <= set(joint_names)]
    return make_joint_set(
        name, " ".join(joint_names), f"{_BODY_LIMBS} {' '.join(limbs)}", _ROOT, COCO17.joint_names
    )


_FEET = [f"{side}_{part}" for side in ("left", "right") for part in ("big_toe", "small_toe", "heel")]
_HANDS = [*_hand("left"), *_hand("right")]
_ARMS = [f"{side}_{part}" for side in ("right", "left") for part in ("shoulder", "elbow", "wrist")]
_LEGS = [f"{side}_{part}" for side in ("right", "left") for part in ("hip", "knee", "ankle")]
_HEAD = ["right_eye", "left_eye", "right_ear", "left_ear"]
_HALPE26 = [
    *COCO17.joint_names,
    *("head_top", "neck", "mid_hip"),
    *(f"{side}_{part}" for part in ("big_toe", "small_toe", "heel") for side in ("left", "right")),
]
_BODY25 = ["nose", "neck", *_ARMS, "mid_hip", *_LEGS, *_HEAD, *_FEET]

COCO18 = _detector_set("coco18", ["nose", "neck", *_ARMS, *_LEGS, *_HEAD])
BODY25 = _detector_set("body25", _BODY25)
BODY25B = _detector_set("body25b", [*COCO17.joint_names, "neck", "head_top", *_FEET])
# BODY_25 as OpenPose writes it with --hand and --face.
BODY137 = _detector_set("body137", [*_BODY25, *_HANDS, *_FACE, *_PUPILS])
HALPE26 = _detector_set("halpe26", _HALPE26)
HALPE136 = _detector_set("halpe136", [*_HALPE26, *_FACE, *_HANDS])
WHOLEBODY133 = _detector_set("wholebody133", [*COCO17.joint_names, *_FEET, *_FACE, *_HANDS])

DETECTOR_JOINT_SETS = {
    **{
        joint_set.name: joint_set
        for joint_set in (COCO18, BODY25, BODY25B, BODY137, HALPE26, HALPE136, WHOLEBODY133)
    },
    **dict.fromkeys(("coco133", "cocowholebody", "cocowholebody133"), WHOLEBODY133),
    "halpe": HALPE136,
}

# Joints of hands and faces: too close together to be drawn like a body's.
FINE_JOINTS = frozenset([*_HANDS, *_FACE, *_PUPILS])

# What tools call joints that have another name here.
_ALIASES = {
    "hip": "mid_hip",
    "pelvis": "mid_hip",
    "root": "mid_hip",
    "head": "head_top",
    "upper_neck": "neck",
    **{f"face_{index}": name for index, name in enumerate(_FACE)},
}


def named_joint_set(name: str, joint_names: Sequence[str]) -> JointSet:
    """The joint set of a file that names its joints: a known one, or one of these names.

    Args:
        name: what the file calls it.
        joint_names: in the file's order; other tools' spellings are recognized ("LBigToe" is not).

    Raises:
        InputError: when a name comes twice, or lacks its partner of the other side.
    """
    own = [joint.strip().lower().replace("-", "_").replace(" ", "_") for joint in joint_names]
    own = [_ALIASES.get(joint, joint) for joint in own]
    for known in (COCO17, *DETECTOR_JOINT_SETS.values()):
        if known.joint_names == tuple(own):
            return known
    if len(set(own)) < len(own):
        raise InputError(f"joint set '{name}' has a joint name twice, expected each once")
    try:
        body = [joint for joint in COCO17.joint_names if joint in own]
        return make_joint_set(name, " ".join(own), "", "", body)
    except ValueError as error:
        raise InputError(
            f"joint set '{name}' has a joint without its other side ({error}), expected left_* and right_*"
        ) from None


def mapped_keypoints(people: np.ndarray, given: JointSet, wanted: JointSet) -> np.ndarray:
    """2D detections (P, J, 3) with the joints of another set, by name; zeros where they have none."""
    result = np.zeros((len(people), len(wanted), 3), people.dtype)
    common = [name for name in wanted.joint_names if name in given.joint_names]
    own, other = ([joints.index(name) for name in common] for joints in (wanted, given))
    result[:, own] = people[:, other]
    return result


def missing_joints(joint_set: JointSet, wanted: JointSet) -> list[str]:
    """Names of joints that 3D weights estimate and a joint set of 2D detections lacks."""
    return [name for name in wanted.joint_names if name not in joint_set.joint_names]


def completed(joint_set: JointSet) -> JointSet:
    """The joint set of skeletons from detections of that set: with COCO-17's joints that it lacks.

    Raises:
        InputError: when shoulders, elbows, wrists, hips, knees or ankles are among these: the weights
            estimate the head from the rest of the body, but not a body from a part of it.
    """
    missing = missing_joints(joint_set, COCO17)
    needed = [name for name in missing if name in _ARMS + _LEGS]
    if needed:
        raise InputError(
            f"joint set '{joint_set.name}' of {len(joint_set)} joints lacks {', '.join(needed)}: expected "
            "2D detections with shoulders, elbows, wrists, hips, knees and ankles, as COCO-17 names them"
        )
    if not missing and joint_set.limbs:
        return joint_set
    name = joint_set.name + COMPLETED if missing else joint_set.name
    return _detector_set(name, [*joint_set.joint_names, *missing])
