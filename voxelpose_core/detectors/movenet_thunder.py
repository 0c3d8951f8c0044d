"""MoveNet SinglePose Thunder (Google): COCO-17 keypoints of the one person in a square crop."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from voxelpose_core.detectors.movenet import PIXEL_OFFSET, resized_to_rgb
from voxelpose_core.detectors.onnx_session import open_session, verify_sha256

WEIGHTS = "weights/movenet_singlepose_thunder.onnx"
WEIGHTS_SHA256 = "a18daacbce3e2978a79f936f37e39e08db576ebed2655ec20a0c85254a494344"
# Side of the network's input.
INPUT_SIDE = 256


class Square(NamedTuple):
    """A square of whole image pixels: column and row of its corner, and its side."""

    column: int
    row: int
    side: int

    def cut(self, image: np.ndarray) -> np.ndarray:
        """BGR image (H, W, 3) -> network input (1, 256, 256, 3), int32 RGB, black beyond the image."""
        height, width = image.shape[:2]
        left, top = max(self.column, 0), max(self.row, 0)
        right = max(left, min(self.column + self.side, width))
        bottom = max(top, min(self.row + self.side, height))
        crop = image[top:bottom, left:right]
        if crop.shape[:2] != (self.side, self.side):
            whole = np.zeros((self.side, self.side, 3), np.uint8)
            x, y = left - self.column, top - self.row
            whole[y : y + crop.shape[0], x : x + crop.shape[1]] = crop
            crop = whole
        return resized_to_rgb(crop, (INPUT_SIDE, INPUT_SIDE))[None].astype(np.int32)

    def undo(self, points: np.ndarray) -> np.ndarray:
        """Network pixels (..., 2) -> image pixels (..., 2), both at pixel centres."""
        return (points + 0.5) * (self.side / INPUT_SIDE) - 0.5 + np.array([self.column, self.row])


class MoveNetThunder:
    """MoveNet SinglePose Thunder through onnxruntime.

    Args:
        weights: the ONNX file; the shipped one by default.
        threads: CPU threads, 0 for all.
        device: "cpu", "auto" or "cuda:N": see `onnx_session.open_session`.

    Raises:
        InputError: when the weights are missing or damaged.
    """

    def __init__(self, weights: Path | str | None = None, threads: int = 0, device: str = "cpu"):
        from voxelpose_core.resources import find_resource

        path = Path(weights) if weights is not None else find_resource(WEIGHTS)
        self._session = open_session(verify_sha256(path, WEIGHTS_SHA256), threads, device)

    def keypoints(self, image: np.ndarray, square: Square) -> np.ndarray:
        """The person in a square of an image; threads may call it side by side.

        Args:
            image: BGR uint8 (H, W, 3).
            square: where the person is.

        Returns:
            (17, 3) float32: x px, y px, score, in pixels of the image.
        """
        (answer,) = self._session.run(None, {"input:0": square.cut(image)})
        person = np.empty((17, 3), np.float32)
        y, x, score = answer[0, 0].T
        person[:, :2] = square.undo(np.column_stack([x, y]) * INPUT_SIDE - PIXEL_OFFSET)
        person[:, 2] = np.clip(score, 0.0, 1.0)
        return person
