#!/usr/bin/env python3
"""Makes the README's moving picture of the demo's video.

make demo && .venv/bin/python scripts/moving_picture.py demo_output/demo.mp4 docs/demo.webp
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np

# A repository's clones carry every version of it.
MOST_BYTES = 1_500_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("video", type=Path, help="the demo's video")
    parser.add_argument("out", type=Path, help="moving picture to write, *.webp")
    parser.add_argument("--width", type=int, default=800, help="width in pixels (default: %(default)s)")
    parser.add_argument("--every", type=int, default=2, help="keep each N-th frame (default: %(default)s)")
    quality = "WebP quality, 1 to 100 (default: %(default)s)"
    parser.add_argument("--quality", type=int, default=70, help=quality)
    args = parser.parse_args()
    if not hasattr(cv2, "imwriteanimation"):
        parser.error(f"OpenCV {cv2.__version__} writes no animations, expected 4.11 or newer")
    frames, fps = read(args.video, args.width, args.every)
    if not frames:
        parser.error(f"{args.video}: has no frames to read")
    animation = cv2.Animation()
    animation.frames = frames
    animation.durations = np.full(len(frames), round(1000 * args.every / fps), np.int32)
    if not cv2.imwriteanimation(str(args.out), animation, [cv2.IMWRITE_WEBP_QUALITY, args.quality]):
        parser.error(f"{args.out}: cannot be written as an animation, expected *.webp")
    size = args.out.stat().st_size
    print(f"{args.out}: {len(frames)} frames, {size / 1e6:.2f} MB")
    if size > MOST_BYTES:
        print(f"warning: more than {MOST_BYTES / 1e6:g} MB: lower --width or --quality", file=sys.stderr)
    return 0


def read(video: Path, width: int, every: int) -> tuple[list[np.ndarray], float]:
    """Every N-th frame, scaled to this width, and the video's frames per second."""
    capture = cv2.VideoCapture(str(video))
    fps = capture.get(cv2.CAP_PROP_FPS) or 25.0
    frames = []
    index = 0
    while (image := capture.read()[1]) is not None:
        if index % every == 0:
            height = round(image.shape[0] * width / image.shape[1])
            frames.append(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA))
        index += 1
    return frames, fps


if __name__ == "__main__":
    sys.exit(main())
