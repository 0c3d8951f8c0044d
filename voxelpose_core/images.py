"""Images as the 2D backbone wants them."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from voxelpose_core.geometry.image_transform import image_to_network

# Mean and standard deviation of ImageNet's RGB images, on which backbones are pretrained.
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


def warp_to_network(image: np.ndarray, network_size: tuple[int, int]) -> np.ndarray:
    """The image (H, W, 3) BGR uint8 in the network's input (3, H', W') RGB uint8, black borders.

    Args:
        image: of any size.
        network_size: (width, height) of the network's input, pixels.
    """
    height, width = image.shape[:2]
    affine = image_to_network((width, height), network_size)
    warped = cv2.warpAffine(image, affine, network_size, flags=cv2.INTER_LINEAR)
    return np.ascontiguousarray(warped[..., ::-1].transpose(2, 0, 1))


def normalize(images: torch.Tensor) -> torch.Tensor:
    """RGB uint8 (..., 3, H, W) -> float32 with ImageNet's mean 0 and standard deviation 1."""
    mean = torch.tensor(_MEAN, device=images.device)[:, None, None]
    return (images.float() / 255.0 - mean) / torch.tensor(_STD, device=images.device)[:, None, None]
