"""The aspect-preserving map from an image to the network's input (VoxelPose's `get_transform`)."""

from __future__ import annotations

import numpy as np


def image_to_network(image_size: tuple[int, int], network_size: tuple[int, int]) -> np.ndarray:
    """(2, 3) affine from image pixels to network input pixels.

    One scale for both axes, the largest at which the whole image fits, centre on centre; the rest
    of the input is border.

    Args:
        image_size: (width, height) of the image, pixels.
        network_size: (width, height) of the network's input, pixels.
    """
    (width, height), (net_width, net_height) = image_size, network_size
    scale = min(net_width / width, net_height / height)
    return np.array(
        [
            [scale, 0.0, net_width / 2 - scale * width / 2],
            [0.0, scale, net_height / 2 - scale * height / 2],
        ]
    )
