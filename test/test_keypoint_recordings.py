"""Real 2D detections through every reader, and feet of a recording. Skipped where these are missing."""

import itertools
import json

import numpy as np
from test_keypoint_files import WRITERS, openpose

from voxelpose_core.datasets.pose2sim import open_recording
from voxelpose_core.detector_joint_sets import BODY25B
from voxelpose_core.detectors import detect_upright, load_detector
from voxelpose_core.estimator import PoseEstimator
from voxelpose_core.geometry.image_turns import upright_turns
from voxelpose_core.keypoint_files import read_keypoints


def test_every_layout_gives_the_same_skeletons(shared_dir, tmp_path):
    rig, frames = open_recording(shared_dir / "data/pose2sim/MultiPerson")
    detector, turns = load_detector("movenet"), upright_turns(rig.cameras)
    detected = {
        frame: detect_upright(detector, images, turns) for frame, images in itertools.islice(frames(40), 2)
    }
    estimator = PoseEstimator(rig, device="cpu", detector=None)
    expected = {frame: estimator.estimate_keypoints(views).skeletons for frame, views in detected.items()}
    assert [len(skeletons) for skeletons in expected.values()] == [2, 2]
    for writer in WRITERS:
        paths = [
            writer(
                tmp_path / writer.__name__, name, {frame: views[index] for frame, views in detected.items()}
            )
            for index, name in enumerate(rig.names)
        ]
        read = read_keypoints(paths[::-1], rig)
        assert list(read.frames) == list(detected)
        for frame, views in read.frames.items():
            found = estimator.estimate_keypoints(views).skeletons
            for one, other in zip(found, expected[frame], strict=True):
                assert np.array_equal(one.joints, other.joints) and one.score == other.score


def test_feet_of_openposes_detections_fit_what_the_cameras_see(shared_dir, tmp_path):
    folder = shared_dir / "data/pose2sim/SinglePerson"
    rig, _ = open_recording(folder)
    content = json.loads((folder / "openpose_body25b.json").read_text())
    paths = []
    for name in rig.names:
        people = {frame: np.array(content[name][frame]).reshape(-1, 25, 3) for frame in range(0, 100, 10)}
        paths.append(openpose(tmp_path, name, people))
    read = read_keypoints(paths, rig)
    assert read.joint_set == BODY25B
    estimator = PoseEstimator(rig, device="cpu", detector=None).for_detections(read.joint_set)
    feet = [joint for joint, name in enumerate(BODY25B.joint_names) if "toe" in name or "heel" in name]
    soles = [[BODY25B.index(f"{side}_{part}") for part in ("heel", "big_toe")] for side in ("left", "right")]
    valid, distances, lengths = [], [], []
    for views in read.frames.values():
        (skeleton,) = estimator.estimate_keypoints(views).skeletons
        valid.append(skeleton.joint_valid[feet])
        lengths += [np.linalg.norm(np.diff(skeleton.joints[sole], axis=0)) for sole in soles]
        for camera, people in zip(rig.cameras, views):
            pixels = camera.project(skeleton.joints[feet])[0]
            gaps = np.linalg.norm(people[:, feet, :2] - pixels, axis=-1)
            distances += gaps[np.median(gaps, axis=1).argmin()].tolist()
    assert np.mean(valid) > 0.95
    assert np.median(distances) < 16  # Of people about 800 px tall.
    assert 150 < np.median(lengths) < 260
