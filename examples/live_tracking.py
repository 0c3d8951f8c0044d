#!/usr/bin/env python3
"""A live loop: cameras -> skeletons -> tracked identities.

    python examples/live_tracking.py rig.yaml 0 1 2
    python examples/live_tracking.py rig.yaml left.mp4 middle.mp4 right.mp4

A source is what OpenCV opens: a device number, a stream's address, or a video. Cameras opened this way are
not hardware-synchronized: each loop takes the newest frame of each, which is good enough where people move
slowly. The ROS 2 node synchronizes by time stamps.
"""

import sys
import time

import cv2

from voxelpose_core import InputError, PoseEstimator, Tracker, load_rig


def main(rig_file: str, sources: list[str]) -> None:
    rig = load_rig(rig_file)
    if len(sources) != len(rig):
        raise InputError(f"{len(sources)} sources given for the {len(rig)} cameras of {rig_file}")
    estimator = PoseEstimator(rig)
    estimator.warm_up()
    tracker = Tracker()
    captures = [cv2.VideoCapture(int(s) if s.isdigit() else s) for s in sources]
    for source, capture in zip(sources, captures):
        if not capture.isOpened():
            raise InputError(f"source '{source}': cannot be opened, expected a device number or a video")
    while True:
        # grab() of all first: decoding takes longer than the cameras' frames are apart.
        grabbed = [capture.grab() for capture in captures]
        if not any(grabbed):
            break
        stamp = time.monotonic()
        images = [c.retrieve()[1] if ok else None for c, ok in zip(captures, grabbed)]
        estimate = estimator.estimate_images(images, previous=tracker.predict(stamp))
        skeletons = tracker.update(estimate.skeletons, stamp)
        for skeleton in skeletons:
            x, y, z = skeleton.joints.mean(axis=0) / 1000
            print(f"person {skeleton.track_id}: {x:.2f} {y:.2f} {z:.2f} m", flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    try:
        main(sys.argv[1], sys.argv[2:])
    except InputError as error:
        sys.exit(f"error: {error}")
