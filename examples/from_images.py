#!/usr/bin/env python3
"""3D skeletons from one image per camera.

    python examples/from_images.py rig.yaml left.jpg middle.jpg right.jpg

The images are given in the order of the rig's cameras.
"""

import sys

import cv2

from voxelpose_core import InputError, PoseEstimator, load_rig


def main(rig_file: str, image_files: list[str]) -> None:
    rig = load_rig(rig_file)
    estimator = PoseEstimator(rig)
    # BGR uint8 (H, W, 3); None: that camera has no image.
    images = [cv2.imread(name) for name in image_files]
    for name, image in zip(image_files, images):
        if image is None:
            raise InputError(f"{name}: cannot be read, expected an image")
    estimate = estimator.estimate_images(images)
    joint_names = estimator.joint_set.joint_names
    print(f"{len(estimate.skeletons)} people seen by {', '.join(estimate.cameras)}")
    for skeleton in estimate.skeletons:
        print(f"person with confidence {skeleton.score:.2f}:")
        for name, (x, y, z), valid in zip(joint_names, skeleton.joints, skeleton.joint_valid):
            if valid:
                print(f"  {name:15} {x:8.0f} {y:8.0f} {z:8.0f} mm")


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    try:
        main(sys.argv[1], sys.argv[2:])
    except InputError as error:
        sys.exit(f"error: {error}")
