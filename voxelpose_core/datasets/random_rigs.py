"""Random camera rigs, drawn in batches: the rigs that universal weights are trained on."""

from __future__ import annotations

import dataclasses
import math

import torch

from voxelpose_core.geometry.camera import FISHEYE_LIMIT
from voxelpose_core.voxel import Views

# Networks see a rig only through its heatmaps, so a few canvases stand for all image sizes.
HEATMAP_SIZES = ((240, 136), (200, 160), (136, 240), (184, 184))
NETWORK_STRIDE = 4
# Rigs of equidistant fisheye lenses.
_FISHEYE_SHARE = 0.08


def sample_spaces(count: int, generator: torch.Generator) -> torch.Tensor:
    """(B, 2) edge lengths of capture spaces on the ground, 2 to 15 m, mm."""
    device = generator.device
    edge = torch.rand(count, 1, generator=generator, device=device)
    edge = 2000 * torch.exp(edge * math.log(15 / 2))
    aspect = 0.7 + 0.6 * torch.rand(count, 2, generator=generator, device=device)
    return (edge * aspect).clamp(2000, 15000)


def sample_rigs(
    spaces: torch.Tensor, view_count: int, heatmap_size: tuple[int, int], generator: torch.Generator
) -> Views:
    """Draw one rig of `view_count` cameras around each space, centred at x = y = 0.

    Cameras stand around the space or along one side of it, 0.7 to 4.5 m high, with 25 to 120
    degrees of view, slightly rolled, some with radial distortion or fisheye lenses and some with a
    border in the network's input.

    Args:
        spaces: (B, 2), mm.
        view_count: V.
        heatmap_size: (width, height) of the heatmaps, pixels.
        generator: source of randomness, on the device of `spaces`.
    """
    count = len(spaces)

    def uniform(low, high, *size):
        value = torch.rand(*size, generator=generator, device=spaces.device)
        return low + (high - low) * value

    centers = _camera_centers(spaces, view_count, uniform)
    aim = torch.stack(
        [
            uniform(-0.3, 0.3, count, view_count) * spaces[:, :1],
            uniform(-0.3, 0.3, count, view_count) * spaces[:, 1:],
            uniform(500, 1400, count, view_count),
        ],
        dim=-1,
    )
    rotation = look_at(centers, aim, uniform(-0.12, 0.12, count, view_count))
    distance = (aim - centers).norm(dim=-1)
    covering = 2 * torch.atan(0.5 * spaces.norm(dim=-1, keepdim=True) / distance)
    field_of_view = (covering * uniform(0.5, 1.3, count, view_count)).clamp(
        math.radians(25), math.radians(120)
    )
    return _views(centers, rotation, field_of_view, heatmap_size, uniform)


def _camera_centers(spaces, view_count, uniform) -> torch.Tensor:
    """(B, V, 3) around the space, or within an arc of it."""
    count = len(spaces)
    arc = torch.where(
        uniform(0, 1, count, 1) < 0.75,
        torch.full((count, 1), 2 * math.pi, device=spaces.device),
        uniform(1.2, 3.5, count, 1),
    )
    step = torch.arange(view_count, device=spaces.device) / view_count
    jitter = uniform(-0.3, 0.3, count, view_count) / view_count
    angle = uniform(0, 2 * math.pi, count, 1) + arc * (step + jitter)
    # From cameras in the corners of the room, inside the space, to distant stands.
    reach = uniform(0.75, 1.25, count, view_count) + uniform(0.0, 0.5, count, 1)
    offset = uniform(300, 2500, count, view_count)
    x = torch.cos(angle) * (0.5 * spaces[:, :1] * reach + offset)
    y = torch.sin(angle) * (0.5 * spaces[:, 1:] * reach + offset)
    z = (uniform(1000, 3200, count, 1) + uniform(-900, 900, count, view_count)).clamp(700, 4500)
    return torch.stack([x, y, z], dim=-1)


def look_at(centers: torch.Tensor, aim: torch.Tensor, roll: torch.Tensor) -> torch.Tensor:
    """(..., 3, 3) world-to-camera rotations of cameras at `centers` that look at `aim`.

    Args:
        centers, aim: (..., 3), mm.
        roll: (...,) radians about the optical axis.
    """
    forward = torch.nn.functional.normalize(aim - centers, dim=-1)
    up = torch.zeros_like(forward)
    up[..., 2] = 1.0
    right = torch.nn.functional.normalize(torch.linalg.cross(forward, up), dim=-1)
    down = torch.linalg.cross(forward, right)
    c, s = roll.cos()[..., None], roll.sin()[..., None]
    return torch.stack([c * right + s * down, c * down - s * right, forward], dim=-2)


def _views(centers, rotation, field_of_view, heatmap_size, uniform) -> Views:
    count, view_count = field_of_view.shape
    network = torch.tensor(heatmap_size, device=centers.device) * float(NETWORK_STRIDE)
    # Some cameras have another aspect than the canvas: one side of the input is border.
    shrink = torch.where(
        uniform(0, 1, count, view_count) < 0.3,
        uniform(0.7, 1.0, count, view_count),
        torch.ones(count, view_count, device=centers.device),
    )
    which = uniform(0, 1, count, view_count) < 0.5
    ones = torch.ones_like(shrink)
    fraction = torch.stack([torch.where(which, shrink, ones), torch.where(which, ones, shrink)], dim=-1)
    image_size = network * fraction
    fisheye = (uniform(0, 1, count, 1) < _FISHEYE_SHARE).expand(count, view_count)
    half_angle = field_of_view / 2
    focal = 0.5 * image_size.amax(dim=-1) / torch.where(fisheye, half_angle, half_angle.tan())
    K = torch.zeros(count, view_count, 3, 3, device=centers.device)
    K[..., 0, 0] = focal
    K[..., 1, 1] = focal
    K[..., :2, 2] = image_size / 2
    K[..., 2, 2] = 1.0
    distortion = torch.zeros(count, view_count, 8, device=centers.device)
    distorted = (uniform(0, 1, count, 1) < 0.4).float()
    # Real lenses do not fold back inside their image: the corner is this far from the axis.
    corner = 0.5 * image_size.norm(dim=-1) / focal
    k1 = (distorted * uniform(-0.25, 0.05, count, view_count)).maximum(-0.14 / corner.square())
    distortion[..., 0] = torch.where(fisheye, 0.0, k1)
    valid = torch.where(k1 < -1e-6, (-1 / (3 * k1.clamp(max=-1e-6))).sqrt(), torch.inf)
    valid = torch.where(fisheye, FISHEYE_LIMIT, valid)
    affine = torch.zeros(count, view_count, 2, 3, device=centers.device)
    affine[..., 0, 0] = affine[..., 1, 1] = 1 / NETWORK_STRIDE
    affine[..., 2] = (network - image_size) / 2 / NETWORK_STRIDE
    return Views(
        K=K,
        distortion=distortion,
        fisheye=fisheye.float(),
        R=rotation,
        C=centers,
        image_size=image_size,
        valid_radius=valid,
        to_heatmap=affine,
        present=torch.ones(count, view_count, device=centers.device),
    )


def miscalibrate(views: Views, level: torch.Tensor, generator: torch.Generator) -> Views:
    """The calibration that a user would have: each camera a little turned and moved.

    Args:
        views: the true cameras of B scenes.
        level: (B,); 1 stands for 0.2 degrees and 8 mm (one standard deviation an axis).
        generator: source of randomness.
    """
    size = (*views.C.shape,)
    device = views.C.device
    turn = torch.randn(size, generator=generator, device=device) * math.radians(0.2)
    turn = turn * level[:, None, None]
    shift = torch.randn(size, generator=generator, device=device) * 8.0 * level[:, None, None]
    x, y, z = turn.unbind(-1)
    zero = torch.zeros_like(x)
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).reshape(*size[:2], 3, 3)
    rotation = torch.matrix_exp(skew) @ views.R
    return dataclasses.replace(views, R=rotation, C=views.C + shift)
