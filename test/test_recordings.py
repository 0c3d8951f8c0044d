"""Real recordings, shipped weights, no retraining. Skipped where the recordings are missing."""

import dataclasses
import itertools

import numpy as np
import pytest

from voxelpose_core.datasets.pose2sim import LIMB_JOINTS, open_recording, read_reference
from voxelpose_core.estimator import PoseEstimator
from voxelpose_core.geometry.image_turns import turn_image
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.results import ReprojectionError
from voxelpose_core.skeletons import COCO17


def estimates(folder, step):
    rig, frames = open_recording(folder)
    estimator = PoseEstimator(rig, device="cpu")
    for frame, images in itertools.islice(frames(step), 10):
        yield frame, estimator.estimate_images(images), rig


def test_two_people_in_the_demo_video(shared_dir):
    error, counts = ReprojectionError(), []
    for _, estimate, rig in estimates(shared_dir / "data/pose2sim/MultiPerson", 10):
        counts.append(len(estimate.skeletons))
        error.add(rig, estimate.skeletons, estimate.keypoints)
    assert counts == [2] * 10
    assert error.mean_px < 20
    assert error.paired > 0.95 * error.in_view


@pytest.mark.filterwarnings("ignore:camera .* are padded")
def test_one_person_is_where_the_reference_says(shared_dir):
    folder = shared_dir / "data/pose2sim/SinglePerson"
    reference = read_reference(folder)
    distances = []
    for frame, estimate, _ in estimates(folder, 10):
        assert len(estimate.skeletons) == 1
        joints = estimate.skeletons[0].joints
        distances.append(
            [np.linalg.norm(joints[COCO17.index(name)] - reference[name][frame]) for name in LIMB_JOINTS]
        )
    assert np.mean(distances) < 80


def turned_clockwise(camera, quarter_turns):
    """The camera whose images are this one's turned clockwise."""
    for _ in range(quarter_turns):
        (fx, skew, cx), (_, fy, cy), _ = camera.K
        assert skew == 0
        k1, k2, p1, p2, k3 = camera.distortion
        width, height = camera.image_size
        camera = dataclasses.replace(
            camera,
            image_size=(height, width),
            K=[[fy, 0, height - 1 - cy], [0, fx, cx], [0, 0, 1]],
            distortion=[k1, k2, p2, -p1, k3],
            R=np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]]) @ camera.R,
        )
    return camera


def test_cameras_on_their_side_give_the_upright_answer(shared_dir):
    rig, frames = open_recording(shared_dir / "data/pose2sim/MultiPerson")
    turns = (0, 1, 2, 3)
    cameras = (turned_clockwise(c, n) for c, n in zip(rig.cameras, turns, strict=True))
    upright = PoseEstimator(rig, device="cpu")
    turned = PoseEstimator(Rig(tuple(cameras)), device="cpu", space=upright.space)
    assert turned.quarter_turns == (0, 3, 2, 1)
    for _, images in itertools.islice(frames(40), 2):
        expected = upright.estimate_images(images).skeletons
        given = [turn_image(image, n) for image, n in zip(images, turns, strict=True)]
        found = turned.estimate_images(given).skeletons
        assert len(found) == len(expected) == 2
        for skeleton, other in zip(expected, found, strict=True):
            gaps = np.linalg.norm(skeleton.joints - other.joints, axis=1)
            assert gaps.max() < 5.0, gaps
