"""Procedural articulated people: plausible COCO-17 poses without motion-capture data.

A person is a stature, segment lengths as shares of it, and joint angles drawn for an activity.
Segment lengths follow Drillis and Contini (1966), as tabulated in Winter, "Biomechanics and Motor
Control of Human Movement", figure 4.1; angle ranges stay within the normal active range of motion
(American Academy of Orthopaedic Surgeons, 1965). Everything is batched and runs on any device.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from voxelpose_core.skeletons import COCO17

# Segment lengths as shares of stature.
HIP_HALF_WIDTH = 0.058
SHOULDER_HALF_WIDTH = 0.104
TRUNK = 0.288
UPPER_ARM = 0.176
FOREARM = 0.146
THIGH = 0.245
SHANK = 0.246
ANKLE_HEIGHT = 0.039
NECK = 0.065  # shoulder line to the pivot of the head
# Face keypoints from the head's pivot: forward, left, up.
NOSE = (0.068, 0.0, 0.030)
EYE = (0.052, 0.019, 0.052)
EAR = (0.0, 0.043, 0.042)


@dataclass(frozen=True)
class Activity:
    """Ranges of joint angles in degrees, each (low, high); left and right drawn apart.

    Attributes:
        weight: how often it is drawn, relative to the others.
        pelvis_pitch: forward lean of the pelvis; 90 lies face down.
        spine_flexion: forward bend of the thorax on the pelvis.
        hip_flexion, hip_abduction, knee_flexion: of each leg.
        shoulder_flexion, shoulder_abduction, elbow_flexion: of each arm.
        opposed: left and right leg and arm swing against each other, as in walking.
    """

    weight: float
    pelvis_pitch: tuple[float, float] = (-8, 12)
    spine_flexion: tuple[float, float] = (-8, 15)
    hip_flexion: tuple[float, float] = (-8, 15)
    hip_abduction: tuple[float, float] = (-3, 12)
    knee_flexion: tuple[float, float] = (0, 15)
    shoulder_flexion: tuple[float, float] = (-20, 30)
    shoulder_abduction: tuple[float, float] = (0, 25)
    elbow_flexion: tuple[float, float] = (0, 60)
    opposed: bool = False


ACTIVITIES = {
    "standing": Activity(3.0),
    "walking": Activity(
        3.5,
        hip_flexion=(-20, 35),
        knee_flexion=(0, 60),
        shoulder_flexion=(-25, 25),
        elbow_flexion=(5, 50),
        opposed=True,
    ),
    "working": Activity(
        3.0,
        spine_flexion=(-5, 35),
        shoulder_flexion=(0, 90),
        shoulder_abduction=(-10, 40),
        elbow_flexion=(20, 130),
    ),
    "reaching": Activity(
        2.0,
        spine_flexion=(-15, 20),
        shoulder_flexion=(40, 175),
        shoulder_abduction=(-10, 60),
        elbow_flexion=(0, 70),
    ),
    "arms_out": Activity(
        1.2,
        shoulder_flexion=(-20, 40),
        shoulder_abduction=(50, 150),
        elbow_flexion=(0, 100),
    ),
    "phone": Activity(
        1.2,
        shoulder_flexion=(10, 60),
        shoulder_abduction=(0, 40),
        elbow_flexion=(90, 145),
    ),
    "sitting": Activity(
        1.5,
        pelvis_pitch=(-20, 10),
        spine_flexion=(0, 35),
        hip_flexion=(70, 105),
        hip_abduction=(0, 25),
        knee_flexion=(55, 110),
        shoulder_flexion=(0, 70),
        elbow_flexion=(20, 120),
    ),
    "crouching": Activity(
        1.0,
        pelvis_pitch=(0, 35),
        spine_flexion=(0, 40),
        hip_flexion=(50, 115),
        hip_abduction=(0, 30),
        knee_flexion=(60, 140),
        shoulder_flexion=(0, 100),
        elbow_flexion=(0, 110),
    ),
    "bending": Activity(
        0.8,
        pelvis_pitch=(10, 60),
        spine_flexion=(10, 50),
        hip_flexion=(0, 60),
        shoulder_flexion=(20, 120),
        elbow_flexion=(0, 80),
    ),
    "lying": Activity(
        0.4,
        pelvis_pitch=(-95, -80),
        hip_flexion=(-5, 60),
        knee_flexion=(0, 90),
        shoulder_flexion=(-10, 150),
        shoulder_abduction=(0, 90),
        elbow_flexion=(0, 120),
    ),
    "anything": Activity(
        1.5,
        pelvis_pitch=(-15, 45),
        spine_flexion=(-20, 50),
        hip_flexion=(-20, 110),
        hip_abduction=(-10, 40),
        knee_flexion=(0, 130),
        shoulder_flexion=(-45, 175),
        shoulder_abduction=(-20, 150),
        elbow_flexion=(0, 145),
    ),
}


def sample_people(count: int, generator: torch.Generator, child_share: float = 0.12) -> torch.Tensor:
    """Draw people who stand, sit or lie on the ground z = 0 with their mid-hip at x = y = 0.

    Args:
        count: N.
        generator: source of randomness; its device is the answer's device.
        child_share: share of children (1.0 to 1.45 m tall).

    Returns:
        (N, 17, 3) COCO-17 joints, mm.
    """
    draw = _Draw(count, generator)
    angles = _sample_angles(draw)
    lengths = _sample_lengths(draw, child_share)
    joints = _forward_kinematics(angles, lengths, draw)
    return _put_on_ground(joints, lengths, draw)


class _Draw:
    """Random numbers for N people."""

    def __init__(self, count: int, generator: torch.Generator):
        self.count, self.generator, self.device = count, generator, generator.device

    def uniform(self, low=0.0, high=1.0, size: tuple[int, ...] = ()) -> torch.Tensor:
        """(N, *size), between low and high (numbers or (N,))."""
        value = torch.rand(self.count, *size, generator=self.generator, device=self.device)
        return low + (high - low) * value

    def normal(self, std: float, size: tuple[int, ...] = ()) -> torch.Tensor:
        """(N, *size), mean 0."""
        return std * torch.randn(self.count, *size, generator=self.generator, device=self.device)


_ANGLES = (
    "pelvis_pitch spine_flexion hip_flexion hip_abduction knee_flexion shoulder_flexion "
    "shoulder_abduction elbow_flexion"
).split()


def _sample_angles(draw: _Draw) -> dict[str, torch.Tensor]:
    """Angles in radians; those of limbs are (N, 2), left then right."""
    device = draw.device
    activities = list(ACTIVITIES.values())
    weights = torch.tensor([a.weight for a in activities], device=device)
    chosen = torch.multinomial(weights, draw.count, replacement=True, generator=draw.generator)
    opposed = torch.tensor([a.opposed for a in activities], device=device)[chosen]
    angles: dict[str, torch.Tensor] = {}
    for name in _ANGLES:
        ranges = torch.tensor([getattr(a, name) for a in activities], device=device)[chosen]
        low, high = ranges[:, :1], ranges[:, 1:]
        share = draw.uniform(size=(2,))
        # In a stride the limbs of the two sides are half a cycle apart, and each arm swings with
        # the leg of the other side.
        if name in ("hip_flexion", "shoulder_flexion"):
            first = angles.get("stride", share[:, :1])
            angles["stride"] = first
            swing = torch.cat([first, 1 - first], dim=1)
            if name == "shoulder_flexion":
                swing = swing.flip(1)
            share = torch.where(opposed[:, None], swing, share)
        angles[name] = torch.deg2rad(low + (high - low) * share)
    del angles["stride"]
    return angles


def _sample_lengths(draw: _Draw, child_share: float) -> dict[str, torch.Tensor]:
    """Segment lengths in mm, each (N,)."""
    adult = (1700 + draw.normal(100)).clamp(1450, 2050)
    child = draw.uniform(1000, 1450)
    stature = torch.where(draw.uniform() < child_share, child, adult)
    shares = {
        "hip": HIP_HALF_WIDTH,
        "shoulder": SHOULDER_HALF_WIDTH,
        "trunk": TRUNK,
        "upper_arm": UPPER_ARM,
        "forearm": FOREARM,
        "thigh": THIGH,
        "shank": SHANK,
        "ankle": ANKLE_HEIGHT,
        "neck": NECK,
    }
    # Detectors place hips and shoulders differently from anatomists and from each other.
    spread = {"hip": 0.15, "shoulder": 0.10, "neck": 0.12}
    lengths = {
        name: stature * share * (1 + draw.normal(spread.get(name, 0.05)).clamp(-0.3, 0.3))
        for name, share in shares.items()
    }
    lengths["stature"] = stature
    return lengths


def _rotation(axis: str, angle: torch.Tensor) -> torch.Tensor:
    """(N, 3, 3) rotation about 'x', 'y' or 'z' by (N,) radians."""
    c, s = angle.cos(), angle.sin()
    zero, one = torch.zeros_like(c), torch.ones_like(c)
    rows = {
        "x": (one, zero, zero, zero, c, -s, zero, s, c),
        "y": (c, zero, s, zero, one, zero, -s, zero, c),
        "z": (c, -s, zero, s, c, zero, zero, zero, one),
    }[axis]
    return torch.stack(rows, dim=-1).reshape(-1, 3, 3)


def _apply(rotation: torch.Tensor, forward=0.0, left=0.0, up=0.0) -> torch.Tensor:
    """(N, 3): a local offset (x forward, y left, z up; numbers or (N,)) in the world."""
    parts = [
        torch.as_tensor(part, device=rotation.device, dtype=rotation.dtype).expand(len(rotation))
        for part in (forward, left, up)
    ]
    return (rotation @ torch.stack(parts, dim=-1)[..., None])[..., 0]


def _forward_kinematics(angles, lengths, draw: _Draw) -> torch.Tensor:
    """(N, 17, 3) joints with the mid-hip at the origin, mm."""
    joints = torch.zeros(draw.count, 17, 3, device=draw.device)
    pelvis = (
        _rotation("z", draw.uniform(-torch.pi, torch.pi))
        @ _rotation("y", angles["pelvis_pitch"][:, 0])
        @ _rotation("x", draw.normal(0.08))
    )
    thorax = (
        pelvis
        @ _rotation("y", angles["spine_flexion"][:, 0])
        @ _rotation("x", draw.normal(0.10))
        @ _rotation("z", draw.normal(0.25))
    )
    # The trunk bends along its length: half of it follows the pelvis.
    trunk = lengths["trunk"] / 2
    neck_base = _apply(pelvis, up=trunk) + _apply(thorax, up=trunk)
    for side, sign in enumerate((1.0, -1.0)):
        _place_leg(joints, pelvis, angles, lengths, draw, side, sign)
        _place_arm(joints, thorax, neck_base, angles, lengths, draw, side, sign)
    _place_head(joints, thorax, neck_base, lengths, draw)
    return joints


def _place_leg(joints, pelvis, angles, lengths, draw, side, sign) -> None:
    hip = _apply(pelvis, left=sign * lengths["hip"])
    # The legs of a lying or leaning person hang on the pelvis less than rigidly: flexion is
    # relative to it, as in the clinic.
    thigh = (
        pelvis
        @ _rotation("y", -angles["hip_flexion"][:, side])
        @ _rotation("x", sign * angles["hip_abduction"][:, side])
        @ _rotation("z", draw.normal(0.2))
    )
    knee = hip + _apply(thigh, up=-lengths["thigh"])
    shank = thigh @ _rotation("y", angles["knee_flexion"][:, side])
    ankle = knee + _apply(shank, up=-lengths["shank"])
    for name, value in (("hip", hip), ("knee", knee), ("ankle", ankle)):
        joints[:, _side_joint(name, side)] = value


def _place_arm(joints, thorax, neck_base, angles, lengths, draw, side, sign) -> None:
    shrug = draw.normal(0.012) * lengths["stature"]
    forward = draw.normal(0.010) * lengths["stature"]
    shoulder = neck_base + _apply(thorax, forward, sign * lengths["shoulder"], shrug)
    arm = (
        thorax
        @ _rotation("y", -angles["shoulder_flexion"][:, side])
        @ _rotation("x", sign * angles["shoulder_abduction"][:, side])
        @ _rotation("z", sign * draw.uniform(-0.9, 0.6))
    )
    elbow = shoulder + _apply(arm, up=-lengths["upper_arm"])
    forearm = arm @ _rotation("y", -angles["elbow_flexion"][:, side])
    wrist = elbow + _apply(forearm, up=-lengths["forearm"])
    for name, value in (("shoulder", shoulder), ("elbow", elbow), ("wrist", wrist)):
        joints[:, _side_joint(name, side)] = value


def _place_head(joints, thorax, neck_base, lengths, draw) -> None:
    neck = thorax @ _rotation("y", draw.normal(0.15) + 0.2)
    pivot = neck_base + _apply(neck, up=lengths["neck"])
    head = (
        neck
        @ _rotation("z", draw.normal(0.45).clamp(-1.3, 1.3))
        @ _rotation("y", draw.normal(0.25) - 0.1)
        @ _rotation("x", draw.normal(0.12))
    )
    size = lengths["stature"].clamp(min=1400)[:, None] * (1 + draw.normal(0.06, (1,)))
    for name, offset in (("nose", NOSE), ("eye", EYE), ("ear", EAR)):
        sides = (None,) if name == "nose" else (0, 1)
        for side in sides:
            sign = -1.0 if side == 1 else 1.0
            local = torch.tensor([offset[0], sign * offset[1], offset[2]], device=head.device)
            index = 0 if side is None else _side_joint(name, side)
            joints[:, index] = pivot + (head @ (size * local)[..., None])[..., 0]


def _side_joint(name: str, side: int) -> int:
    return COCO17.index(("left_", "right_")[side] + name)


def _put_on_ground(joints, lengths, draw: _Draw) -> torch.Tensor:
    """Lower the body until its lowest joint rests on the ground, some a little above it."""
    clearance = lengths["ankle"]
    lift = clearance - joints[..., 2].amin(dim=1)
    # Steps, stools, jumps, and a calibration whose ground is not quite at zero.
    raised = draw.uniform() < 0.15
    lift = lift + torch.where(raised, draw.uniform(0, 450), draw.normal(25))
    joints[..., 2] += lift[:, None]
    return joints
