"""The cameras of B scenes as tensors, ready for the voxel op."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch

from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.image_transform import image_to_network
from voxelpose_core.geometry.image_turns import turn_affine, turned_size

# Column of `Views.table` that says whether the view has a frame.
PRESENT = 34


@dataclass(frozen=True)
class Views:
    """V views of each of B scenes, and the map from their images to their heatmaps.

    Attributes:
        K: (B, V, 3, 3) intrinsics, pixels.
        distortion: (B, V, 8) k1, k2, p1, p2, k3, k4, k5, k6, zero where a lens has fewer; of a
            fisheye k1, k2, k3, k4 and zeros.
        R: (B, V, 3, 3) world to camera.
        C: (B, V, 3) camera centre, mm.
        image_size: (B, V, 2) width, height, pixels.
        fisheye: (B, V) 1 where the lens is an equidistant fisheye, 0 where it is a pinhole.
        valid_radius: (B, V) largest radius at which the lens model holds: of a pinhole the tangent
            of the angle off the axis, of a fisheye the angle in radians.
        to_heatmap: (B, V, 2, 3) affine from image pixels to heatmap pixels.
        present: (B, V) 1 where the view has a frame, 0 where it is absent.
    """

    K: torch.Tensor
    distortion: torch.Tensor
    fisheye: torch.Tensor
    R: torch.Tensor
    C: torch.Tensor
    image_size: torch.Tensor
    valid_radius: torch.Tensor
    to_heatmap: torch.Tensor
    present: torch.Tensor

    @classmethod
    def from_cameras(
        cls,
        cameras: Sequence[Camera],
        network_size: tuple[int, int],
        heatmap_size: tuple[int, int],
        device: torch.device | str = "cpu",
        quarter_turns: Sequence[int] | None = None,
    ) -> Views:
        """Views of one scene (B = 1).

        Args:
            cameras: V cameras.
            network_size: (width, height) of the network's input, pixels.
            heatmap_size: (width, height) of the heatmaps, pixels.
            device: where the tensors go.
            quarter_turns: per camera, clockwise: the heatmaps are of images turned so.
        """
        turns = quarter_turns or (0,) * len(cameras)

        def stack(values):
            array = np.stack([np.asarray(value) for value in values])
            return torch.as_tensor(array, dtype=torch.float32, device=device)[None]

        return cls(
            K=stack(c.K for c in cameras),
            distortion=stack(np.pad(c.distortion, (0, 8 - len(c.distortion))) for c in cameras),
            fisheye=stack(float(c.fisheye) for c in cameras),
            R=stack(c.R for c in cameras),
            C=stack(c.C for c in cameras),
            image_size=stack(c.image_size for c in cameras),
            valid_radius=stack(c.valid_radius for c in cameras),
            to_heatmap=stack(
                heatmap_affine(c.image_size, network_size, heatmap_size, turn)
                for c, turn in zip(cameras, turns, strict=True)
            ),
            present=torch.ones(1, len(cameras), device=device),
        )

    def map(self, function) -> Views:
        """The same views with `function` applied to every tensor."""
        return Views(**{f.name: function(getattr(self, f.name)) for f in fields(self)})

    def with_present(self, present: Sequence[bool]) -> Views:
        """The same views of one scene, of which some have no frame.

        Args:
            present: V flags.
        """
        flags = torch.as_tensor([[float(p) for p in present]], device=self.present.device)
        return dataclasses.replace(self, present=flags)

    @functools.cached_property
    def table(self) -> torch.Tensor:
        """(B, V, 36) float32, the kernels' form: VoxelView of csrc/voxel_math.h."""
        columns = [
            self.K.flatten(-2)[..., [0, 1, 2, 4, 5]],
            self.distortion,
            self.R.flatten(-2),
            self.C,
            self.image_size,
            self.valid_radius[..., None],
            self.to_heatmap.flatten(-2),
            self.present[..., None],
            self.fisheye[..., None],
        ]
        return torch.cat([column.to(torch.float32) for column in columns], dim=-1)

    @classmethod
    def from_table(cls, table: torch.Tensor) -> Views:
        """The views whose `table` (B, V, 36) this is."""
        columns = table.split((5, 8, 9, 3, 2, 1, 6, 1, 1), dim=-1)
        K, distortion, R, C, image_size, valid_radius, to_heatmap, present, fisheye = columns
        zero = torch.zeros_like(present)
        K = torch.cat([K[..., :3], zero, K[..., 3:], zero, zero, zero + 1], dim=-1)
        return cls(
            K=K.unflatten(-1, (3, 3)),
            distortion=distortion,
            fisheye=fisheye[..., 0],
            R=R.unflatten(-1, (3, 3)),
            C=C,
            image_size=image_size,
            valid_radius=valid_radius[..., 0],
            to_heatmap=to_heatmap.unflatten(-1, (2, 3)),
            present=present[..., 0],
        )

    def __len__(self) -> int:
        """V, the number of views."""
        return self.K.shape[1]


def heatmap_affine(
    image_size: tuple[int, int],
    network_size: tuple[int, int],
    heatmap_size: tuple[int, int],
    quarter_turns: int = 0,
) -> np.ndarray:
    """(2, 3) affine from image pixels to heatmap pixels, through the network's input.

    Args:
        image_size, network_size, heatmap_size: (width, height), pixels.
        quarter_turns: clockwise, by which images are turned for the network.
    """
    scale = np.asarray(heatmap_size) / np.asarray(network_size)
    to_network = image_to_network(turned_size(image_size, quarter_turns), network_size)
    turn = turn_affine(image_size, quarter_turns)
    return scale[:, None] * (to_network @ np.vstack([turn, [0.0, 0.0, 1.0]]))


def project(points: torch.Tensor, views: Views) -> tuple[torch.Tensor, torch.Tensor]:
    """Project the same world points into one view of each of N scenes.

    Args:
        points: (N, M, 3), mm.
        views: one view per scene: every tensor of `views` without its view axis, B = N.

    Returns:
        pixels (N, M, 2) in the original image, and seen (N, M) bool: in front, inside the image,
        within the distortion's valid radius, and the view is present.
    """
    pixels, depth, radius = _distort(points, views)
    valid = (depth > 0) & (radius < views.valid_radius[:, None])
    return pixels, valid & in_image(pixels, views)


def project_counting_behind(points: torch.Tensor, views: Views) -> tuple[torch.Tensor, torch.Tensor]:
    """`project`, with the original's rule: points (N, M, 3), mm, mirrored behind the camera count as seen.

    It is a defect of the original, kept only to check that its weights give its answers.
    """
    pixels, _, _ = _distort(points, views)
    return pixels, in_image(pixels, views)


def in_image(pixels: torch.Tensor, views: Views) -> torch.Tensor:
    """(N, M) bool: pixels (N, M, 2) lie inside the images of present views."""
    inside = ((pixels >= 0) & (pixels < views.image_size[:, None])).all(dim=-1)
    return inside & (views.present[:, None] > 0)


def _distort(points, views):
    local = (points - views.C[:, None]) @ views.R.transpose(-1, -2)
    depth = local[..., 2]
    # A point in the plane of the lens has no pixel: keep it finite, it is not seen anyway.
    safe = torch.where(depth.abs() < 1e-3, torch.full_like(depth, 1e-3), depth)
    x, y = local[..., 0] / safe, local[..., 1] / safe
    r2 = x * x + y * y
    radial, tangential, radius = _lens(r2, views)
    p1, p2 = tangential.unbind(-1)
    xd = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    yd = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    K = views.K[:, None]
    u = K[..., 0, 0] * xd + K[..., 0, 1] * yd + K[..., 0, 2]
    v = K[..., 1, 1] * yd + K[..., 1, 2]
    return torch.stack([u, v], dim=-1), depth, radius


def _lens(r2: torch.Tensor, views: Views) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Radial factors (N, M) at squared radii (N, M), tangential coefficients p1, p2 (N, 1, 2),
    and the radii (N, M) that the valid radius limits."""
    distortion = views.distortion[:, None]
    k1, k2, _, _, k3, k4, k5, k6 = distortion.unbind(-1)
    tangential, radius = distortion[..., 2:4], r2.sqrt()
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    fisheye = views.fisheye[:, None] > 0
    # Most lenses are neither rational nor fisheyes: they are spared the arithmetic. A fixed graph has
    # to know all.
    rational = (views.distortion[..., 5:] != 0).any(dim=-1, keepdim=True)
    if not torch.jit.is_tracing() and not (rational | fisheye).any():
        return radial, tangential, radius
    radial = radial / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
    angle = radius.atan()
    a2 = angle * angle
    equidistant = 1 + a2 * (k1 + a2 * (k2 + a2 * (distortion[..., 2] + a2 * distortion[..., 3])))
    equidistant = equidistant * angle / radius.clamp(min=1e-6)
    return (
        torch.where(fisheye, equidistant, radial),
        torch.where(fisheye[..., None], torch.zeros_like(tangential), tangential),
        torch.where(fisheye, angle, radius),
    )
