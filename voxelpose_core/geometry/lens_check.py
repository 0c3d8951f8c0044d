"""What looks wrong in one camera's image size, K and distortion."""

from __future__ import annotations

import numpy as np

from voxelpose_core.geometry.camera import FISHEYE_LIMIT, Camera
from voxelpose_core.plain_numbers import plain

# Measured lenses stay far below: tangential distortion of a lens that is not off its axis, and how
# far undistortion moves the corners of the image, as a factor of their distance from its middle.
_TANGENTIAL = 0.03
_CORNER_FACTORS = (0.4, 2.5)


def check_lens(camera: Camera) -> list[str]:
    """One line for each thing that looks wrong in a camera's intrinsics; [] if none."""
    where = f"camera '{camera.name}'"
    width, height = camera.image_size
    fx, fy, cx, cy = camera.K[0, 0], camera.K[1, 1], camera.K[0, 2], camera.K[1, 2]
    lines = []
    if not (0.25 * width < cx < 0.75 * width and 0.25 * height < cy < 0.75 * height):
        lines.append(
            f"{where}: the principal point ({cx:.0f}, {cy:.0f}) is far from the middle of "
            f"{width}x{height}: K of another image size, or width and height swapped?"
        )
    if not 0.8 < fx / fy < 1.25:
        lines.append(f"{where}: focal lengths {fx:.0f} and {fy:.0f} differ: K of another crop?")
    half = max(width, height) / 2 / fx
    view = 2 * np.degrees(half if camera.fisheye else np.arctan(half))
    if not 5 < view < (250 if camera.fisheye else 150):
        lines.append(f"{where}: a field of view of {view:.0f} degrees: focal length not in pixels?")
    return lines + _check_distortion(camera)


def _check_distortion(camera: Camera) -> list[str]:
    """Whether the undistorted corners of the image make sense.

    The distortion must still grow there (of a fisheye, whose corners may lie outside the lens: at
    the nearest edge), and the corners must stay near where they are.
    """
    cause = "coefficients of another lens model, or in another order?"
    if _folds_back(camera):
        return [f"camera '{camera.name}': the distortion folds back inside the image: {cause}"]
    if camera.fisheye:
        return []
    tangential = float(np.abs(camera.distortion[2:4]).max())
    if tangential > _TANGENTIAL:
        return [
            f"camera '{camera.name}': tangential distortion of {tangential:.2g}, expected at most "
            f"{_TANGENTIAL:g}: {cause}"
        ]
    radii = np.linspace(0.0, min(camera.valid_radius, 20.0), 4000)
    corner = _corner_radius(camera)
    factor = float(np.interp(corner, camera.distorted_radius(radii), radii)) / corner
    low, high = _CORNER_FACTORS
    if low < factor < high:
        return []
    return [
        f"camera '{camera.name}': undistorted, a corner of the image is {plain(factor, 2)} times as far "
        f"from the middle, expected {low:g} to {high:g}: {cause}"
    ]


def _corner_radius(camera: Camera) -> float:
    """How far the farthest corner of the image is from the principal point, in focal lengths."""
    focal = np.diag(camera.K)[:2]
    sides = np.maximum(np.abs(camera.K[:2, 2]), np.abs(camera.image_size - camera.K[:2, 2]))
    return float(np.linalg.norm(sides / focal))


def _folds_back(camera: Camera) -> bool:
    limit = camera.valid_radius
    if limit == (FISHEYE_LIMIT if camera.fisheye else np.inf):
        return False
    reach = _corner_radius(camera)
    if camera.fisheye:
        middle, focal = camera.K[:2, 2], np.diag(camera.K)[:2]
        reach = min(*np.abs(middle / focal), *np.abs((camera.image_size - middle) / focal))
    return bool(camera.distorted_radius(limit) < reach)
