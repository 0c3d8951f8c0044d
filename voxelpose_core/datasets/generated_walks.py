"""People who walk before generated rigs, as a 2D detector sees them frame set after frame set.

For measuring what time adds: the truth is known, and so are its velocities. Everything follows from the
number of the walk, the same on every machine and at every rate as far as the motion goes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from voxelpose_core.datasets.detection_noise import detect
from voxelpose_core.datasets.generated_rigs import MISCALIBRATION, rig_of_views
from voxelpose_core.datasets.random_rigs import HEATMAP_SIZES, miscalibrate, sample_rigs, sample_spaces
from voxelpose_core.generated_motion import random_walks
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.heatmaps import box_side
from voxelpose_core.skeletons import COCO17
from voxelpose_core.voxel.views import Views, project

_FIRST_SEED = 2**43
# Edges of the capture spaces, mm.
_SMALLEST, _LARGEST = 3500.0, 8000.0
# A detector's errors are mostly alike from frame to frame. Shares of the variance, and for how long they
# last: of MoveNet on Pose2Sim's single person at 60 Hz, errors against the reference differ by 0.37 of
# their rms after 17 ms, 0.49 after 50 ms, 0.66 after 170 ms and 0.75 after 330 ms.
LASTING_ERRORS = ((0.12, 0.0), (0.40, 0.15), (0.48, 2.0))
# Errors beyond this share of the box are gross (limbs of others, sides exchanged) and come and go.
_GROSS = 0.15
# Arms are swung from the shoulders, by up to so many radians and so often.
_SWING, _SWING_HZ = (0.2, 0.8), (0.4, 1.4)


@dataclass(frozen=True, eq=False)
class GeneratedWalk:
    """T consecutive frame sets.

    Attributes:
        rig: as its user knows it.
        rate_hz: frame sets per second.
        poses: (T, P, 17, 3) true people, COCO-17, mm.
        present: (T, P) bool, who is there; the others' poses mean nothing.
        keypoints: per frame set and camera the 2D detections (Q, 17, 3): x px, y px, score.
    """

    rig: Rig
    rate_hz: float
    poses: np.ndarray
    present: np.ndarray
    keypoints: list[list[np.ndarray]]


def generate_walk(
    view_count: int,
    level: float,
    number: int,
    people: int = 3,
    rate_hz: float = 25.0,
    duration_s: float = 8.0,
    leaving: bool = False,
) -> GeneratedWalk:
    """Walk `number` before a rig of `view_count` cameras.

    Args:
        view_count: cameras.
        level: how poor the 2D detector is, 0 to 1.
        number: which of the walks with these settings.
        people: who walk to and fro, stop, and swing their arms.
        rate_hz: frame sets per second.
        duration_s: how long.
        leaving: the last of the people vanishes after half of the time.
    """
    generator = torch.Generator()
    seed = _FIRST_SEED + 10**6 * view_count + 10**3 * round(100 * level) + number
    generator.manual_seed(seed)
    spaces = sample_spaces(1, generator).clamp(_SMALLEST, _LARGEST)
    views = sample_rigs(spaces, view_count, HEATMAP_SIZES[number % len(HEATMAP_SIZES)], generator)
    known = miscalibrate(views, torch.full((1,), MISCALIBRATION), generator)
    room = 0.8 * float(spaces.min())
    poses = random_walks(people, rate_hz, duration_s, seed, room)
    poses = swing_arms(poses, rate_hz, np.random.default_rng(seed))
    present = np.ones(poses.shape[:2], dtype=bool)
    if leaving:
        present[len(poses) // 2 :, -1] = False
    joints, valid = torch.from_numpy(poses).float(), torch.from_numpy(present)
    every = views.map(lambda tensor: tensor.expand(len(poses), *tensor.shape[1:]))
    found = detect(joints, valid, every, torch.full((len(poses),), level), generator)
    xy = _lasting_errors(found.xy, found.scores, joints, every, rate_hz)
    detections = torch.cat([xy, found.scores[..., None]], dim=-1).numpy()
    keypoints = [[view[(view[..., 2] > 0).any(axis=1)] for view in frame_set] for frame_set in detections]
    rig = rig_of_views(known, spaces[0], f"walk_{view_count}_{number}")
    return GeneratedWalk(rig, rate_hz, poses, present, keypoints)


def swing_arms(poses: np.ndarray, rate_hz: float, random: np.random.Generator) -> np.ndarray:
    """Poses (T, P, 17, 3) whose arms also swing sideways from the shoulders, each in its own way."""
    poses = poses.copy()
    time = np.arange(len(poses)) / rate_hz
    hips = poses[:, :, COCO17.index("left_hip")] - poses[:, :, COCO17.index("right_hip")]
    left = hips / np.linalg.norm(hips, axis=-1, keepdims=True)
    for person in range(poses.shape[1]):
        for side, sign in (("left", 1.0), ("right", -1.0)):
            shoulder = poses[:, person, COCO17.index(f"{side}_shoulder")]
            angle = random.uniform(*_SWING) * (
                1 + np.sin(2 * np.pi * random.uniform(*_SWING_HZ) * time + random.uniform(0, 6))
            )
            outward = sign * left[:, person]
            for joint in ("elbow", "wrist"):
                arm = poses[:, person, COCO17.index(f"{side}_{joint}")] - shoulder
                # About the axis ahead: from hanging down towards the outside.
                down, out = -arm[:, 2], (arm * outward).sum(axis=-1)
                rest = arm - out[:, None] * outward + down[:, None] * [0.0, 0.0, 1.0]
                turned_out = out * np.cos(angle) + down * np.sin(angle)
                turned_down = down * np.cos(angle) - out * np.sin(angle)
                poses[:, person, COCO17.index(f"{side}_{joint}")] = (
                    shoulder + rest + turned_out[:, None] * outward - turned_down[:, None] * [0, 0, 1.0]
                )
    return poses


def _lasting_errors(
    xy: torch.Tensor, scores: torch.Tensor, joints: torch.Tensor, views: Views, rate_hz: float
) -> torch.Tensor:
    """Detections (T, V, P', 17, 2) of people (T, P, 17, 3) whose usual errors last for a while."""
    people, view_count = joints.shape[1], xy.shape[1]
    points = joints[:, None].expand(-1, view_count, -1, -1, -1).flatten(0, 1).flatten(1, 2)
    true, seen = project(points, views.map(lambda tensor: tensor.flatten(0, 1)))
    true = true.reshape(xy[:, :, :people].shape)
    seen = seen.reshape(true.shape[:-1]) & (scores[:, :, :people] > 0)
    side = box_side(true, seen)[..., None, None].clamp(min=1.0)
    error = (xy[:, :, :people] - true) / side
    usual = seen & (error.norm(dim=-1) < _GROSS)
    drawn = torch.where(usual[..., None], error, torch.zeros_like(error))
    total = torch.zeros_like(error)
    for share, lasting_s in LASTING_ERRORS:
        kept = float(np.exp(-1.0 / (rate_hz * lasting_s))) if lasting_s else 0.0
        state = drawn[0]
        for step in range(len(drawn)):
            # Whose error was not drawn keeps that of the last frame.
            moved = kept * state + (1 - kept**2) ** 0.5 * drawn[step]
            state = torch.where(usual[step][..., None], moved, state) if step else state
            total[step] += share**0.5 * state
    result = xy.clone()
    result[:, :, :people] = torch.where(usual[..., None], true + side * total, xy[:, :, :people])
    return result
