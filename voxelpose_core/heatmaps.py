"""2D and 3D Gaussian heatmaps, drawn in batches on whatever device their input lives on."""

from __future__ import annotations

import torch

from voxelpose_core.voxel.bindings import Kernel, KeypointArguments, kernel_for

# Standard deviation of a joint's Gaussian as a share of the longer side of the person's box:
# VoxelPose's SIGMA 3 on a box normalized to 96 pixels, times sqrt(2) (JointsDataset).
SIGMA_BY_BOX_SIDE = 3.0 * 2**0.5 / 96.0
# The original limits the box side to 48..192 heatmap pixels before it scales sigma.
BOX_SIDE_LIMITS = (48.0, 192.0)


def box_side(xy: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
    """Longer side of the box around each person's visible joints.

    Args:
        xy: (..., J, 2).
        visible: (..., J) bool.

    Returns:
        (...,), in the unit of xy; 0 where nothing is visible.
    """
    inf = torch.full_like(xy, float("inf"))
    mask = visible[..., None]
    low = torch.where(mask, xy, inf).amin(dim=-2)
    high = torch.where(mask, xy, -inf).amax(dim=-2)
    side = (high - low).amax(dim=-1)
    return torch.where(visible.any(dim=-1), side, torch.zeros_like(side))


def render_keypoints(
    xy: torch.Tensor,
    scores: torch.Tensor,
    heatmap_size: tuple[int, int],
    sigma_scale: torch.Tensor | float = 1.0,
) -> torch.Tensor:
    """Input heatmaps from the 2D keypoints of a detector (VoxelPose, `generate_input_heatmap`).

    Every joint is a Gaussian whose peak is its score and whose width follows the size of its
    person; where people overlap the larger value stays.

    Args:
        xy: (B, V, P, J, 2) keypoints, heatmap pixels.
        scores: (B, V, P, J); 0 means that the joint was not detected.
        heatmap_size: (width, height).
        sigma_scale: factor on the standard deviation, a number or (B,).

    Returns:
        (B, V, J, H, W) in [0, 1], in the dtype of xy.
    """
    width, height = heatmap_size
    visible = scores > 0
    side = box_side(xy, visible).clamp(*BOX_SIDE_LIMITS)
    scale = torch.as_tensor(sigma_scale, device=xy.device, dtype=xy.dtype).reshape(-1, 1, 1)
    sigma = SIGMA_BY_BOX_SIDE * side * scale
    shape = (*xy.shape[:2], xy.shape[3], height, width)
    kernel = kernel_for(xy.device)
    if kernel is not None and kernel.name == "cpp" and xy.dtype == torch.float32:
        return _draw_with(kernel, xy, scores, sigma, xy.new_empty(shape))
    heatmaps = xy.new_zeros(shape)
    for person in range(xy.shape[2]):
        _draw(heatmaps, xy[:, :, person], scores[:, :, person], sigma[:, :, person])
    return heatmaps


def _draw_with(kernel: Kernel, xy, scores, sigma, heatmaps: torch.Tensor) -> torch.Tensor:
    """Draw all people at once, where something of them lies."""
    scenes, views, people, joints, _ = xy.shape
    height, width = heatmaps.shape[-2:]
    keypoints = KeypointArguments(scenes * views, people, joints, height, width)
    keypoints.point_to(
        xy=xy.float().contiguous(),
        scores=scores.float().contiguous(),
        sigma=sigma.float().contiguous(),
    )
    kernel.call("draw_keypoints", keypoints, heatmaps)
    return heatmaps


def _draw(heatmaps: torch.Tensor, xy: torch.Tensor, scores: torch.Tensor, sigma: torch.Tensor) -> None:
    """Draw one person a view onto heatmaps (..., J, H, W), up to 1.

    Args:
        xy: (..., J, 2).
        scores: (..., J).
        sigma: (...,).
    """
    height, width = heatmaps.shape[-2:]
    x_axis = torch.arange(width, device=xy.device, dtype=xy.dtype)
    y_axis = torch.arange(height, device=xy.device, dtype=xy.dtype)
    across = _gaussian(x_axis, xy[..., 0, None], sigma[..., None, None])
    down = _gaussian(y_axis, xy[..., 1, None], sigma[..., None, None])
    peak = scores.clamp(min=0.0)[..., None]
    drawn = (down * peak)[..., :, None] * across[..., None, :]
    torch.maximum(heatmaps, drawn.clamp_(max=1.0), out=heatmaps)


def _gaussian(axis: torch.Tensor, mean: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """1D Gaussian with peak 1, cut at three sigma as in the original."""
    distance = (axis - mean) / sigma
    return torch.exp(-0.5 * distance.square()) * (distance.abs() <= 3.0)


def gaussian_volume(
    points: torch.Tensor, centers: torch.Tensor, valid: torch.Tensor, sigma: float
) -> torch.Tensor:
    """Sum-free 3D target: at each point the Gaussian of the nearest valid centre.

    Args:
        points: (B, M, 3), mm.
        centers: (B, P, 3), mm.
        valid: (B, P) bool.
        sigma: standard deviation, mm (200 for VoxelPose's root volume).

    Returns:
        (B, M) in [0, 1].
    """
    nearest = points.new_full(points.shape[:2], float("inf"))
    for person in range(centers.shape[1]):
        squared = (points - centers[:, person, None]).square().sum(dim=-1)
        squared = torch.where(valid[:, person, None], squared, torch.full_like(squared, float("inf")))
        nearest = torch.minimum(nearest, squared)
    return torch.exp(-nearest / (2 * sigma**2))
