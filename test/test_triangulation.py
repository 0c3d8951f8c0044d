"""Triangulation of one person."""

import numpy as np

from voxelpose_core.geometry.camera import Camera
from voxelpose_core.triangulation import triangulate


def looking_at(name, center, target=(0.0, 0.0, 1000.0)):
    forward = np.subtract(target, center) / np.linalg.norm(np.subtract(target, center))
    right = np.cross(forward, [0, 0, 1])
    right /= np.linalg.norm(right)
    R = np.stack([right, np.cross(forward, right), forward])
    K = [[900, 0, 640], [0, 905, 365], [0, 0, 1]]
    return Camera(name, (1280, 720), K, [-0.2, 0.05, 0.001, -0.001, 0.0], R, center)


CAMERAS = [
    looking_at("a", (4000, 3000, 2500)),
    looking_at("b", (-4000, 3100, 2400)),
    looking_at("c", (-3900, -3000, 1500)),
]


def person(x=0.0, y=0.0, seed=0):
    return np.random.default_rng(seed).uniform([-300, -300, 0], [300, 300, 1800], (17, 3)) + [
        x,
        y,
        0,
    ]


def seen(joints, camera, score=0.9):
    return np.column_stack([camera.project(joints)[0], np.full(len(joints), score)])


def test_triangulation_inverts_projection_with_distortion():
    joints = person()
    keypoints = np.stack([seen(joints, camera) for camera in CAMERAS])
    assert np.abs(triangulate(CAMERAS, keypoints) - joints).max() < 0.1


def test_joints_with_fewer_than_two_views_are_nan():
    joints = person()
    keypoints = np.stack([seen(joints, camera) for camera in CAMERAS])
    keypoints[0, 3, 2] = 0
    keypoints[:2, 5] = 0
    keypoints[1, 7, 0] = np.nan
    result = triangulate(CAMERAS, keypoints)
    assert np.isnan(result[5]).all()
    known = np.arange(17) != 5
    assert np.abs(result - joints)[known].max() < 0.1


def test_rays_that_meet_behind_a_camera_give_nan():
    behind = np.array([[9000.0, 6750.0, 2500.0]])
    keypoints = np.stack([seen(behind, camera) for camera in CAMERAS[:2]])
    assert CAMERAS[0].project(behind)[1][0] < 0
    assert np.isnan(triangulate(CAMERAS[:2], keypoints)).all()


def test_noise_averages_over_views():
    joints = person()
    rng = np.random.default_rng(3)
    cameras = [*CAMERAS, looking_at("d", (4100, -3050, 2000)), looking_at("e", (0, -4500, 2200))]
    keypoints = np.stack([seen(joints, camera) for camera in cameras])
    keypoints[..., :2] += rng.normal(0, 2, keypoints[..., :2].shape)
    two = np.linalg.norm(triangulate(cameras[:2], keypoints[:2]) - joints, axis=1).mean()
    five = np.linalg.norm(triangulate(cameras, keypoints) - joints, axis=1).mean()
    assert five < two < 40
