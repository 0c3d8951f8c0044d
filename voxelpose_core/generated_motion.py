"""People who walk: poses of a stride, random walks, and what an estimator might say of them.

NumPy only, for simulators, and for judging trackers on walks whose truth is known.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from voxelpose_core.skeletons import COCO17

# Segment lengths as shares of stature (Drillis and Contini, 1966).
_HIP, _SHOULDER, _TRUNK = 0.058, 0.104, 0.288
_UPPER_ARM, _FOREARM, _THIGH, _SHANK, _ANKLE = 0.176, 0.146, 0.245, 0.246, 0.039
_HEAD = {
    "nose": (0.068, 0.0, 0.095),
    "left_eye": (0.052, 0.019, 0.117),
    "right_eye": (0.052, -0.019, 0.117),
    "left_ear": (0.0, 0.043, 0.107),
    "right_ear": (0.0, -0.043, 0.107),
}
_ANKLES = [COCO17.index("left_ankle"), COCO17.index("right_ankle")]

# Random walks are drawn in steps this long, so that they are the same at every rate.
_STEP_S = 0.01
_STRIDE_MM = 1400.0
_TURN_RAD_S = 2.0
_ARRIVED_MM = 300.0
_STOP_SHARE = 0.3
_PERSONAL_SPACE_MM = 600.0


def walking_pose(stature: float, phase: float, floor: np.ndarray, heading: float) -> np.ndarray:
    """(17, 3) COCO-17 joints in mm of a person in mid-stride.

    Args:
        stature: mm.
        phase: of the stride, radians.
        floor: (3,) the point of the floor below the mid-hip, mm.
        heading: where to, radians about z from x on.
    """
    local = stature * _stride(phase)
    local[:, 2] += _ANKLE * stature - local[_ANKLES, 2].min()
    forward = np.array([np.cos(heading), np.sin(heading), 0.0])
    left = np.array([-forward[1], forward[0], 0.0])
    return floor + local @ np.array([forward, left, [0.0, 0.0, 1.0]])


def _stride(phase: float) -> np.ndarray:
    """(17, 3) a walker of stature 1: x forward, y left, z up, mid-hip at the origin."""
    joints = np.zeros((len(COCO17), 3))
    for side, sign in (("left", 1.0), ("right", -1.0)):
        swing = sign * np.sin(phase)
        hip = np.array([0.0, sign * _HIP, 0.0])
        knee = hip + _THIGH * _hanging(0.42 * swing + 0.08)
        bend = 0.25 + 0.45 * max(0.0, sign * np.cos(phase))
        shoulder = np.array([0.0, sign * _SHOULDER, _TRUNK])
        elbow = shoulder + _UPPER_ARM * _hanging(-0.35 * swing)
        joints[COCO17.index(f"{side}_hip")] = hip
        joints[COCO17.index(f"{side}_knee")] = knee
        joints[COCO17.index(f"{side}_ankle")] = knee + _SHANK * _hanging(0.42 * swing - bend)
        joints[COCO17.index(f"{side}_shoulder")] = shoulder
        joints[COCO17.index(f"{side}_elbow")] = elbow
        joints[COCO17.index(f"{side}_wrist")] = elbow + _FOREARM * _hanging(0.4 - 0.35 * swing)
    for name, offset in _HEAD.items():
        joints[COCO17.index(name)] = np.array([0.0, 0.0, _TRUNK]) + offset
    return joints


def _hanging(angle: float) -> np.ndarray:
    """Unit vector that hangs down, swung forward by an angle in radians."""
    return np.array([np.sin(angle), 0.0, -np.cos(angle)])


def random_walks(
    count: int, rate_hz: float, duration_s: float, seed: int, room_mm: float = 5000.0
) -> np.ndarray:
    """People who walk to and fro between random places, stop, and step aside for each other.

    Args:
        count: P people.
        rate_hz: frame sets per second; the walks themselves do not depend on it.
        duration_s: how long.
        seed: of the walks.
        room_mm: side of the square that they walk in, around the origin.

    Returns:
        (T, P, 17, 3) mm.
    """
    random = np.random.default_rng(seed)
    half = room_mm / 2
    place = random.uniform(-half, half, (count, 2))
    goal = random.uniform(-half, half, (count, 2))
    heading = random.uniform(-np.pi, np.pi, count)
    speed = random.uniform(800.0, 1700.0, count)
    stature = random.uniform(1550.0, 1900.0, count)
    phase = random.uniform(0.0, 2 * np.pi, count)
    rest: np.ndarray = np.zeros(count)
    frame_sets, due = [], 0.0
    for step in range(round(duration_s / _STEP_S)):
        if step * _STEP_S >= due - 1e-9:
            frame_sets.append(
                [
                    walking_pose(s, p, np.array([*xy, 0.0]), h)
                    for s, p, xy, h in zip(stature, phase, place, heading)
                ]
            )
            due += 1.0 / rate_hz
        way = goal - place
        arrived = np.linalg.norm(way, axis=1) < _ARRIVED_MM
        # Drawn for everybody, so that the walks of one do not hang on the others' arrivals.
        next_goal, pause = random.uniform(-half, half, (count, 2)), random.uniform(0.5, 2.0, count)
        stops = random.random(count) < _STOP_SHARE
        goal = np.where(arrived[:, None], next_goal, goal)
        rest = np.where(arrived & stops, pause, np.maximum(rest - _STEP_S, 0.0))
        turn = np.arctan2(way[:, 1], way[:, 0]) - heading
        turn = (turn + np.pi) % (2 * np.pi) - np.pi
        heading = heading + np.clip(turn, -_TURN_RAD_S * _STEP_S, _TURN_RAD_S * _STEP_S)
        walked = np.where(rest > 0, 0.0, speed * _STEP_S)
        place = place + walked[:, None] * np.column_stack([np.cos(heading), np.sin(heading)])
        place = place + _STEP_S * _evasion(place)
        phase = phase + 2 * np.pi * walked / _STRIDE_MM
    return np.array(frame_sets).reshape(-1, count, len(COCO17), 3)


def _evasion(place: np.ndarray) -> np.ndarray:
    """(P, 2) mm/s away from those who come too near."""
    between = place[:, None] - place[None]
    distance = np.linalg.norm(between, axis=-1)
    push = np.clip(1.0 - distance / _PERSONAL_SPACE_MM, 0.0, 1.0) * 1500.0
    return (between / np.maximum(distance, 1.0)[..., None] * push[..., None]).sum(axis=1)


@dataclass(frozen=True)
class Flaws:
    """What an estimator gets wrong.

    Attributes:
        joint_noise_mm: standard deviation of each joint's coordinates.
        body_noise_mm: the same, of all joints of a body together.
        miss: share of the people that are missed for a single frame set.
        losses_per_s: how often a person is lost for a longer while.
        hidden_per_s: the same, beside another person who is nearer than 700 mm.
        loss_s: shortest and longest such while.
        invalid: share of the joints that are not valid.
        outliers: share of the joints that are off by 200 mm (standard deviation).
        false_positives_per_s: how often a false positive appears, for up to 0.4 s.
    """

    joint_noise_mm: float = 25.0
    body_noise_mm: float = 30.0
    miss: float = 0.03
    losses_per_s: float = 0.05
    hidden_per_s: float = 1.0
    loss_s: tuple[float, float] = (0.2, 1.0)
    invalid: float = 0.08
    outliers: float = 0.02
    false_positives_per_s: float = 0.2


def flawed(
    walks: np.ndarray, rate_hz: float, seed: int, flaws: Flaws = Flaws()
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """What an estimator with such flaws would say of walks, frame set after frame set.

    Args:
        walks: (T, P, J, 3) mm.
        rate_hz: frame sets per second.
        seed: of the flaws.

    Yields:
        joints (Q, J, 3) mm and their validity (Q, J), of those found, in random order.
    """
    random = np.random.default_rng(seed)
    lost_s = np.zeros(walks.shape[1])
    phantom: np.ndarray | None = None
    phantom_s = 0.0
    for people in walks:
        distance = np.linalg.norm((people[:, None] - people[None]).mean(axis=2), axis=-1)
        near = (distance + 1e9 * np.eye(len(people)) < 700.0).any(axis=1)
        hazard = np.where(near, flaws.hidden_per_s, flaws.losses_per_s) / rate_hz
        begins = (lost_s <= 0) & (random.random(len(people)) < hazard)
        lost_s = np.where(begins, random.uniform(*flaws.loss_s, len(people)), lost_s)
        found = people[(lost_s <= 0) & (random.random(len(people)) >= flaws.miss)]
        lost_s = lost_s - 1.0 / rate_hz
        if phantom_s <= 0 and random.random() < flaws.false_positives_per_s / rate_hz:
            reach = np.abs(walks[..., :2]).max()
            aside = [*random.uniform(-reach, reach, 2), 0.0]
            phantom = walking_pose(1700.0, random.uniform(0, 6), np.array(aside), 0.0)
            phantom_s = random.uniform(0.0, 0.4) + 0.5 / rate_hz
        if phantom is not None and phantom_s > 0:
            found = np.concatenate([found, phantom[None]])
            phantom_s -= 1.0 / rate_hz
        found = random.permutation(found)
        yield _with_noise(found, random, flaws), random.random(found.shape[:2]) >= flaws.invalid


def _with_noise(people: np.ndarray, random: np.random.Generator, flaws: Flaws) -> np.ndarray:
    body = random.normal(0.0, flaws.body_noise_mm, (len(people), 1, 3))
    joints = random.normal(0.0, flaws.joint_noise_mm, people.shape)
    off = random.random(people.shape[:2]) < flaws.outliers
    outliers = random.normal(0.0, 200.0, people.shape) * off[..., None]
    return people + body + joints + outliers
