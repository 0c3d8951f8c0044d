"""Joints move to where the views agree, and stay where nothing is seen."""

import numpy as np
import torch

from voxelpose_core.geometry.camera import Camera
from voxelpose_core.heatmaps import render_keypoints
from voxelpose_core.models.refinement import joint_heat, refine_joints
from voxelpose_core.voxel import Views

IMAGE, HEATMAP = (640, 480), (160, 120)


def camera(name, center):
    forward = np.subtract((0, 0, 1000), center) / np.linalg.norm(np.subtract((0, 0, 1000), center))
    right = np.cross(forward, [0, 0, 1])
    right /= np.linalg.norm(right)
    R = np.stack([right, np.cross(forward, right), forward])
    return Camera(name, IMAGE, [[520, 0, 320], [0, 520, 240], [0, 0, 1]], [0] * 5, R, center)


CAMERAS = [
    camera("a", (3500, 0, 1800)),
    camera("b", (0, 3500, 1700)),
    camera("c", (-3500, 300, 1500)),
    camera("d", (200, -3500, 1600)),
]
VIEWS = Views.from_cameras(CAMERAS, IMAGE, HEATMAP)


def person():
    return np.random.default_rng(1).uniform([-250, -250, 200], [250, 250, 1700], (6, 3))


def heatmaps_of(joints, wrong_view=None, missing=()):
    xy = np.stack([c.project(joints)[0] for c in CAMERAS])
    if wrong_view is not None:
        xy[wrong_view, 0] += 40.0
    scores = np.full(xy.shape[:2], 0.9)
    scores[:, list(missing)] = 0.0
    points = torch.tensor(xy[None, :, None] / 4, dtype=torch.float32)
    return render_keypoints(points, torch.tensor(scores[None, :, None], dtype=torch.float32), HEATMAP)


def moved(joints, heatmaps):
    offset = np.random.default_rng(0).normal(0, 35, joints.shape)
    start = torch.tensor((joints + offset)[None], dtype=torch.float32)
    return np.linalg.norm(refine_joints(start, heatmaps, VIEWS, 0.05)[0].numpy() - joints, axis=1)


def test_joints_come_home():
    joints = person()
    assert moved(joints, heatmaps_of(joints)).max() < 12


def test_one_wrong_view_does_not_pull():
    joints = person()
    assert moved(joints, heatmaps_of(joints, wrong_view=1))[0] < 25


def test_what_nobody_sees_stays():
    joints = person()
    start = torch.tensor(joints[None], dtype=torch.float32)
    refined = refine_joints(start, heatmaps_of(joints, missing=[2]), VIEWS, 0.05)
    torch.testing.assert_close(refined[0, 2], start[0, 2])


def test_heat_is_the_score_at_the_joint_and_zero_outside_all_images():
    joints = person()
    points = torch.tensor(joints, dtype=torch.float32)[None]
    heat = joint_heat(points, heatmaps_of(joints), VIEWS)[0]
    assert (heat > 0.8).all() and (heat <= 0.9).all()
    assert joint_heat(points + 90000, heatmaps_of(joints), VIEWS).max() == 0
