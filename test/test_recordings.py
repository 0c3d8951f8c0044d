"""Real recordings, shipped weights, no retraining. Skipped where the recordings are missing."""

import itertools

import numpy as np
import pytest

from voxelpose_core.datasets.pose2sim import LIMB_JOINTS, open_recording, read_reference
from voxelpose_core.estimator import PoseEstimator
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
            [
                np.linalg.norm(joints[COCO17.index(name)] - reference[name][frame])
                for name in LIMB_JOINTS
            ]
        )
    assert np.mean(distances) < 80
