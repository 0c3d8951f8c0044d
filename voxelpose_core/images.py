"""Images as the 2D backbone wants them."""

from __future__ import annotations

import functools

import cv2
import numpy as np
import torch
import torch.nn.functional as F

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


def warp_on_device(image: torch.Tensor, network_size: tuple[int, int]) -> torch.Tensor:
    """`warp_to_network` where the image is, for images that lie on a GPU.

    Args:
        image: (H, W, 3) BGR uint8.
        network_size: (width, height) of the network's input, pixels.

    Returns:
        (3, H', W') RGB, float32 0 to 255, black borders.
    """
    height, width = image.shape[:2]
    grid = _warp_grid((width, height), tuple(network_size), image.device)
    rgb = image.flip(-1).permute(2, 0, 1)[None].float()
    return F.grid_sample(rgb, grid, align_corners=True)[0]


@functools.lru_cache(maxsize=32)
def _warp_grid(
    image_size: tuple[int, int], network_size: tuple[int, int], device: torch.device
) -> torch.Tensor:
    """(1, H', W', 2) where the network's input samples an image, in grid_sample's coordinates: -1
    and 1 are the centres of the outermost pixels. The same for every image of a camera."""
    affine = image_to_network(image_size, network_size)
    x, y = (
        2 * (torch.arange(count) - affine[axis, 2]) / affine[axis, axis] / (image_size[axis] - 1) - 1
        for axis, count in enumerate(network_size)
    )
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)[None].float().to(device)
