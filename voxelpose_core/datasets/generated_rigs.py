"""Test sets without recordings: random rigs with people before them, the same on every machine.

Rigs are drawn as for training, from seeds that no training uses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from voxelpose_core.datasets.detection_noise import detect
from voxelpose_core.datasets.random_rigs import (
    HEATMAP_SIZES,
    miscalibrate,
    sample_rigs,
    sample_spaces,
)
from voxelpose_core.datasets.random_scenes import place_people
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.geometry.space import Space
from voxelpose_core.voxel import Views

VIEW_COUNTS = (2, 3, 4, 5, 8)
LEVELS = {"good": 0.15, "usual": 0.45, "poor": 0.85}
# Training seeds its generators with less than 2^40.
_FIRST_SEED = 2**42
# People are 0.9 to 2.1 m tall; the space also holds raised arms.
_SPACE_HEIGHT = 2300.0
# Of 0.2 degrees and 8 mm a camera.
MISCALIBRATION = 0.5


@dataclass(frozen=True, eq=False)
class GeneratedFrameSet:
    """One frame set in front of a generated rig.

    Attributes:
        poses: (P, 17, 3) true people, COCO-17, mm.
        whole_views: (P,) number of views whose image holds the whole person.
        detected_views: (P,) number of views in which the 2D detector finds the person.
        keypoints: per camera the detected people (Q, 17, 3): x px, y px, score.
    """

    poses: np.ndarray
    whole_views: np.ndarray
    detected_views: np.ndarray
    keypoints: list[np.ndarray]


def generate_rig(
    view_count: int, level: float, number: int, frame_sets: int = 4
) -> tuple[Rig, list[GeneratedFrameSet]]:
    """Rig `number` of `view_count` cameras, as its user knows it, and frame sets before it.

    Args:
        view_count: cameras.
        level: how poor the 2D detector is, 0 to 1.
        number: which of the rigs with these settings.
        frame_sets: how many frame sets to draw.
    """
    generator = torch.Generator()
    generator.manual_seed(_FIRST_SEED + 10**6 * view_count + 10**3 * round(100 * level) + number)
    spaces = sample_spaces(1, generator)
    heatmap_size = HEATMAP_SIZES[number % len(HEATMAP_SIZES)]
    views = sample_rigs(spaces, view_count, heatmap_size, generator)
    joints, valid, _ = place_people(spaces.expand(frame_sets, 2), generator)
    all_views = views.map(lambda tensor: tensor.expand(frame_sets, *tensor.shape[1:]))
    found = detect(joints, valid, all_views, torch.full((frame_sets,), level), generator)
    known = miscalibrate(views, torch.full((1,), MISCALIBRATION), generator)
    rig = rig_of_views(known, spaces[0], f"generated_{view_count}_{number}")
    people = torch.cat([found.xy, found.scores[..., None]], dim=-1).numpy()
    poses, exists = joints.double().numpy(), valid.numpy()
    return rig, [_frame_set(rig, poses[m], exists[m], people[m]) for m in range(frame_sets)]


def rig_of_views(views: Views, space: torch.Tensor, name: str) -> Rig:
    """The cameras of one scene around a capture space with edges (2,) on the ground, mm."""
    cameras = tuple(as_camera(views, 0, index, f"camera_{index}") for index in range(len(views)))
    box = Space([0.0, 0.0, _SPACE_HEIGHT / 2], [*space.tolist(), _SPACE_HEIGHT])
    return Rig(cameras=cameras, space=box, name=name)


def as_camera(views: Views, scene: int, index: int, name: str) -> Camera:
    """One view of one scene as a camera."""
    fisheye = bool(views.fisheye[scene, index])
    distortion = views.distortion[scene, index].numpy()
    return Camera(
        name=name,
        image_size=tuple(views.image_size[scene, index].ceil().int().tolist()),
        K=views.K[scene, index].numpy(),
        distortion=distortion[:4] if fisheye else distortion,
        R=views.R[scene, index].numpy(),
        C=views.C[scene, index].numpy(),
        fisheye=fisheye,
    )


def _frame_set(rig: Rig, poses: np.ndarray, exists: np.ndarray, people: np.ndarray) -> GeneratedFrameSet:
    """Of poses (P, 17, 3), which of them exist, and detections (V, P', 17, 3), false ones last."""
    detected = (people[:, : len(poses), :, 2] > 0).any(axis=-1).sum(axis=0)[exists]
    poses = poses[exists]
    sees = np.array([camera.sees(poses.reshape(-1, 3)) for camera in rig.cameras])
    whole = sees.reshape(len(rig), len(poses), -1).all(axis=-1).sum(axis=0)
    keypoints = [view[(view[..., 2] > 0).any(axis=1)] for view in people]
    return GeneratedFrameSet(poses, whole, detected, keypoints)
