"""2D and 3D Gaussian heatmaps, drawn in batches on whatever device their input lives on."""

from __future__ import annotations

import torch

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
    heatmaps = xy.new_zeros(*xy.shape[:2], xy.shape[3], height, width)
    if xy.device.type == "cpu":
        _draw_in_windows(heatmaps, xy, scores, sigma)
    else:
        for person in range(xy.shape[2]):
            _draw(heatmaps, xy[:, :, person], scores[:, :, person], sigma[:, :, person])
    return heatmaps.clamp_(0.0, 1.0)


def _draw(
    heatmaps: torch.Tensor,
    xy: torch.Tensor,
    scores: torch.Tensor,
    sigma: torch.Tensor,
    corner: tuple[int, int] = (0, 0),
) -> None:
    """Draw one person a view onto heatmaps (..., J, H, W).

    Args:
        xy: (..., J, 2).
        scores: (..., J).
        sigma: (...,).
        corner: x and y of the first pixel of `heatmaps`.
    """
    height, width = heatmaps.shape[-2:]
    x_axis = corner[0] + torch.arange(width, device=xy.device, dtype=xy.dtype)
    y_axis = corner[1] + torch.arange(height, device=xy.device, dtype=xy.dtype)
    across = _gaussian(x_axis, xy[..., 0, None], sigma[..., None, None])
    down = _gaussian(y_axis, xy[..., 1, None], sigma[..., None, None])
    peak = scores.clamp(min=0.0)[..., None]
    drawn = (down * peak)[..., :, None] * across[..., None, :]
    torch.maximum(heatmaps, drawn, out=heatmaps)


def _draw_in_windows(
    heatmaps: torch.Tensor, xy: torch.Tensor, scores: torch.Tensor, sigma: torch.Tensor
) -> None:
    """Draw each person of each view where something of it lies, a small part of the heatmap."""
    size = xy.new_tensor([heatmaps.shape[-1], heatmaps.shape[-2]])
    reach = 3.0 * sigma[..., None, None]
    missing = (scores <= 0)[..., None]
    low = (xy - reach).masked_fill(missing, float("inf")).amin(dim=-2)
    high = (xy + reach).masked_fill(missing, float("-inf")).amax(dim=-2)
    first = low.clamp(min=0.0).minimum(size).floor().long()
    last = (high + 1.0).clamp(min=0.0).minimum(size).ceil().long()
    for scene, view, person in (last > first).all(dim=-1).nonzero().tolist():
        (x0, y0), (x1, y1) = first[scene, view, person].tolist(), last[scene, view, person].tolist()
        _draw(
            heatmaps[scene, view, :, y0:y1, x0:x1],
            xy[scene, view, person],
            scores[scene, view, person],
            sigma[scene, view, person],
            (x0, y0),
        )


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
