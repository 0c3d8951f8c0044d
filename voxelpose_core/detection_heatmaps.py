"""The 2D detections of one frame set as heatmaps for the voxel nets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from voxelpose_core.heatmaps import render_keypoints


@dataclass(frozen=True)
class DetectionHeatmaps:
    """2D detections that are drawn in two ways: to find people, and to locate their joints.

    Whether a person is there is a matter of confidence; where the joints of a person are is not: with
    scores for peaks, forearms that few views show are drawn to the trunk.

    Attributes:
        xy: (1, V, P, J, 2) keypoints, heatmap pixels.
        scores: (1, V, P, J); 0 where a keypoint does not count.
        size: (width, height) of the heatmaps, pixels.
    """

    xy: torch.Tensor
    scores: torch.Tensor
    size: tuple[int, int]

    @classmethod
    def of(
        cls,
        keypoints: Sequence[np.ndarray | None],
        to_heatmap: torch.Tensor,
        joints: int,
        least_score: float,
        size: tuple[int, int],
    ) -> DetectionHeatmaps:
        """Those of 2D detections.

        Args:
            keypoints: per camera (P, J, 3) x px, y px, score; None for a camera without a frame.
            to_heatmap: (1, V, 2, 3) affine from image pixels to heatmap pixels, `Views.to_heatmap`.
            joints: J.
            least_score: keypoints with a lower score do not count.
            size: (width, height) of the heatmaps, pixels.
        """
        most = max((len(people) for people in keypoints if people is not None), default=0)
        padded = np.zeros((1, len(keypoints), max(most, 1), joints, 3), dtype=np.float32)
        for index, people in enumerate(keypoints):
            if people is not None and len(people):
                padded[0, index, : len(people)] = people
        points = torch.from_numpy(padded).to(to_heatmap.device)
        affine = to_heatmap[:, :, None, None]
        xy = (affine[..., :2] @ points[..., :2, None])[..., 0] + affine[..., 2]
        return cls(xy, points[..., 2] * (points[..., 2] >= least_score), size)

    def with_scores(self) -> torch.Tensor:
        """(1, V, J, H, W) with the scores for peaks, in which people are found."""
        return render_keypoints(self.xy, self.scores, self.size)

    def with_equal_peaks(self) -> torch.Tensor:
        """(1, V, J, H, W) with peaks of 1, in which joints are located."""
        return render_keypoints(self.xy, (self.scores > 0).to(self.scores.dtype), self.size)
