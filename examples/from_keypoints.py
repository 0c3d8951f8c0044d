#!/usr/bin/env python3
"""3D skeletons from the 2D keypoints of any COCO-17 detector.

    python examples/from_keypoints.py

Needs no file: it places a person before the cameras of the shipped Shelf rig, projects the joints into each
view, adds two pixels of noise as a detector would, and compares the answer with the truth.
"""

import numpy as np
import torch

from voxelpose_core import PoseEstimator, load_rig
from voxelpose_core.datasets.people import sample_people
from voxelpose_core.resources import find_resource


def main() -> None:
    rig = load_rig(find_resource("config/rigs/shelf.yaml"))
    truth = sample_people(1, torch.Generator().manual_seed(3))[0].double().numpy()
    truth[:, :2] += rig.space.center[:2]
    # Per camera (people, 17, 3): x px, y px, score. A score of 0 marks a missing keypoint.
    noise = np.random.default_rng(0)
    keypoints = []
    for camera in rig.cameras:
        pixels, _ = camera.project(truth)
        view = np.zeros((1, 17, 3))
        view[0, :, :2] = pixels + noise.normal(0.0, 2.0, pixels.shape)
        view[0, :, 2] = camera.sees(truth)
        keypoints.append(view)
    # No detector is needed where keypoints are given.
    estimate = PoseEstimator(rig, detector=None).estimate_keypoints(keypoints)
    for skeleton in estimate.skeletons:
        error = np.linalg.norm(skeleton.joints - truth, axis=1).mean()
        print(f"person with confidence {skeleton.score:.2f}, mean joint error {error:.0f} mm")


if __name__ == "__main__":
    main()
