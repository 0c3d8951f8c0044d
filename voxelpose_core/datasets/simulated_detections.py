"""What 2D detectors make of known people: keypoints of a frame, simulated from its 3D poses."""

from __future__ import annotations

import dataclasses
from typing import Protocol

import numpy as np
import torch

from voxelpose_core.datasets.base import Sample
from voxelpose_core.datasets.detection_noise import detect
from voxelpose_core.datasets.people import EAR, EYE, NOSE
from voxelpose_core.errors import InputError
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.skeletons import CAMPUS14, COCO17, JointSet
from voxelpose_core.voxel import Views

# Proportions of datasets/people.py are shares of this, mm: the ground truth states no one's stature.
_STATURE = 1700.0


class Noise(Protocol):
    """What a 2D detector makes of the projected people."""

    def keypoints(self, sample: Sample, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Per camera 2D detections (P, J, 3): x px, y px, score; 0 for a joint that is not detected."""


class HeatmapNoise:
    """The original's noise: joints are where they are, but some have low peaks.

    Args:
        joint_set: names the joints.
        weak_legs: knees and ankles are as often weak as elbows and wrists.
        missed: probability that a view misses a person.
    """

    def __init__(self, joint_set: JointSet, weak_legs: bool = False, missed: float = 0.0):
        middle = ("elbow", "knee") if weak_legs else ("elbow",)
        end = ("wrist", "ankle") if weak_legs else ("wrist",)
        names = joint_set.joint_names
        is_middle = np.array([name.endswith(middle) for name in names])
        is_end = np.array([name.endswith(end) for name in names])
        self._weak = np.where(is_middle | is_end, 0.10, 0.05)
        self._weakness = np.where(is_end, 0.2, 0.5)
        self._missed = missed

    def keypoints(self, sample: Sample, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """See `Noise`."""
        views = []
        for index in range(len(sample.rig)):
            pixels, seen = sample.project(index)
            peak = self._peaks(seen.shape, rng)
            seen &= rng.random((len(seen), 1)) >= self._missed
            views.append(join_keypoints(pixels, peak * seen))
        return tuple(views)

    def _peaks(self, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
        usual = np.where(rng.random(shape) < 0.6, rng.normal(0.9, 0.03, shape), 1.0)
        weak = rng.random(shape) < self._weak
        return np.clip(np.where(weak, usual * self._weakness, usual), 0.0, 1.0)


class DetectorNoise:
    """The noise of datasets/detection_noise.py: jitter, misses, swaps, false people.

    Raises:
        InputError: for another joint set than coco17.
    """

    def __init__(self, cameras: tuple[Camera, ...], joint_set: JointSet):
        if joint_set != COCO17:
            raise InputError(f"noise 'detector' is for coco17, the joint set is {joint_set.name}")
        # Only pixels of the images are asked for: the sizes of network and heatmap do not matter.
        self._views = Views.from_cameras(cameras, (4, 4), (1, 1))

    def keypoints(self, sample: Sample, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """See `Noise`."""
        if len(sample.poses) == 0:
            return (np.zeros((0, len(COCO17), 3), dtype=np.float32),) * len(sample.rig)
        generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
        joints = torch.as_tensor(sample.poses, dtype=torch.float32)[None]
        detections = detect(
            joints,
            torch.ones(joints.shape[:2], dtype=torch.bool),
            self._views,
            torch.rand(1, generator=generator),
            generator,
        )
        xy, scores = detections.xy[0].numpy(), detections.scores[0].numpy()
        scores[:, : len(sample.poses)] *= sample.visible
        return tuple(join_keypoints(*view) for view in zip(xy, scores, strict=True))


def simulate_detections(sample: Sample, seed: int) -> tuple[np.ndarray, ...]:
    """What a detector might make of a frame whose people are campus14.

    Args:
        sample: the frame.
        seed: of everything that is drawn.

    Returns:
        per camera 2D detections (P, 17, 3), COCO-17: x px, y px, score, 0 where not detected.
    """
    poses = coco17_from_campus14(sample.poses)
    people = dataclasses.replace(sample, poses=poses, visible=np.ones(poses.shape[:2], dtype=bool))
    noise = DetectorNoise(sample.rig.cameras, COCO17)
    return noise.keypoints(people, np.random.default_rng(seed))


def coco17_from_campus14(poses: np.ndarray) -> np.ndarray:
    """Campus14 poses (..., 14, 3), mm, as COCO-17 (..., 17, 3).

    The face, which campus14 has not, looks where the shoulders do: the ears are at half the height
    of the head, as `campus14_from_coco17` takes them to be on Campus.
    """

    def joint(name: str) -> np.ndarray:
        return poses[..., CAMPUS14.index(name), :]

    result = np.empty((*poses.shape[:-2], len(COCO17), 3))
    up = _unit(joint("head_top") - joint("head_bottom"))
    forward = _unit(np.cross(joint("left_shoulder") - joint("right_shoulder"), up))
    axes = np.stack([forward, np.cross(up, forward), up], axis=-2)
    ears = (joint("head_top") + joint("head_bottom")) / 2
    for index, name in enumerate(COCO17.joint_names):
        side, _, part = name.rpartition("_")
        if part in _FACE:
            offset = np.array(_FACE[part]) - [0.0, 0.0, EAR[2]]
            offset[1] *= -1.0 if side == "right" else 1.0
            result[..., index, :] = ears + _STATURE * offset @ axes
        else:
            result[..., index, :] = joint(name)
    return result


_FACE = {"nose": NOSE, "eye": EYE, "ear": EAR}


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def join_keypoints(pixels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """(P, J, 3) float32 of pixels (P, J, 2) and scores (P, J); all zero where the score is."""
    joined = np.concatenate([pixels, scores[..., None]], axis=-1)
    return np.where(scores[..., None] > 0, joined, 0.0).astype(np.float32)
