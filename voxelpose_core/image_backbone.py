"""Images of one rig through the backbone of weights that find 2D joints themselves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from voxelpose_core.geometry.image_turns import turn_image
from voxelpose_core.images import normalize, warp_on_device, warp_to_network


class ImageBackbone:
    """Heatmaps from the images of one rig's cameras.

    Args:
        net: images (V, 3, H, W) -> heatmaps (V, J, H / 4, W / 4), on `device`.
        network_size: (width, height) of its input, pixels.
        quarter_turns: per camera, clockwise, by which images are turned upright.
        device: where the heatmaps are wanted.
    """

    def __init__(
        self,
        net: nn.Module,
        network_size: tuple[int, int],
        quarter_turns: Sequence[int],
        device: torch.device,
    ):
        self.net = net
        self.network_size = network_size
        self.quarter_turns = quarter_turns
        self.device = device

    def heatmaps(self, images: Sequence[np.ndarray | None]) -> torch.Tensor:
        """Heatmaps (1, V, J, H, W) of one frame set.

        Args:
            images: per camera BGR uint8 (H, W, 3); None for a camera without a frame, whose heatmaps
                mean nothing.
        """
        width, height = self.network_size
        batch = torch.zeros(len(images), 3, height, width, device=self.device)
        for index, image in enumerate(images):
            if image is not None:
                upright = turn_image(image, self.quarter_turns[index])
                batch[index] = normalize(self._warped(upright))
        return self.net(batch)[None]

    def _warped(self, image: np.ndarray) -> torch.Tensor:
        """The image in the shape of the network's input."""
        if self.device.type == "cpu":
            return torch.from_numpy(warp_to_network(image, self.network_size))
        # From pinned memory images travel while the next one is read.
        pinned = torch.from_numpy(image).pin_memory()
        return warp_on_device(pinned.to(self.device, non_blocking=True), self.network_size)
