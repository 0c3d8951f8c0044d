"""How many cameras see each place of the ground, and the capture space that follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.space import Space

if TYPE_CHECKING:
    from voxelpose_core.geometry.rig import Rig

PERSON_MM = 1700.0
SPACE_HEIGHT_MM = 2000.0
_BODY_HEIGHTS_MM = (250.0, 750.0, 1250.0, 1750.0)
# A person smaller than this share of the image is too small for a detector.
_MIN_IMAGE_SHARE = 1 / 8
_STEP_MM = 250.0
_REACH_MM = 15000.0
_MAX_CELLS = 500
_MARGIN_MM = 250.0
_MAX_EDGE_MM = 15000.0
_MIN_VIEWS = 3
# In a rig of many cameras, places that far fewer cameras see than the middle lie outside it.
_SHARE_OF_BEST = 0.4


def sees_people(camera: Camera, places: np.ndarray, ground: float = 0.0) -> np.ndarray:
    """Where a camera sees a standing person: half the body in the image, and large enough.

    Args:
        camera: the camera.
        places: (N, 2) places on the ground, mm.
        ground: height of the ground, mm.

    Returns:
        (N,) bool.
    """
    parts = sum(
        camera.sees(np.column_stack([places, np.full(len(places), ground + height)])).astype(int)
        for height in _BODY_HEIGHTS_MM
    )
    distance = np.linalg.norm(places - camera.C[:2], axis=1)
    pixels = PERSON_MM * camera.K[1, 1] / np.maximum(distance, 1.0)
    large = pixels >= _MIN_IMAGE_SHARE * max(camera.image_size)
    return (2 * parts >= len(_BODY_HEIGHTS_MM)) & large


def ground_grid(cameras: Sequence[Camera], step: float = _STEP_MM) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (X,), (Y,) in mm of a square grid on the ground that holds the rig.

    It reaches 15 m past the cameras; the step grows where the rig is kilometres wide (a wrong
    unit), so that the grid stays small.
    """
    centers = np.array([camera.C[:2] for camera in cameras])
    low, high = centers.min(axis=0) - _REACH_MM, centers.max(axis=0) + _REACH_MM
    step = max(step, float((high - low).max()) / _MAX_CELLS)
    low = np.floor(low / step) * step
    return np.arange(low[0], high[0], step), np.arange(low[1], high[1], step)


def views_on_grid(
    cameras: Sequence[Camera], xs: np.ndarray, ys: np.ndarray, ground: float = 0.0
) -> np.ndarray:
    """(V, X, Y) bool: which camera sees a person at each place of a grid on the ground.

    Args:
        cameras: V cameras.
        xs, ys: (X,), (Y,) coordinates of the grid, mm.
        ground: height of the ground, mm.
    """
    places = np.stack(np.meshgrid(xs, ys, indexing="ij"), axis=-1).reshape(-1, 2)
    seen = np.array([sees_people(camera, places, ground) for camera in cameras])
    return seen.reshape(len(cameras), len(xs), len(ys))


def propose_space(rig: Rig) -> Space:
    """The capture space that the cameras' frusta give.

    The box around the largest connected area of the ground where enough cameras see a standing
    person: three (two in a rig of two, or where no three meet), and in a rig of many cameras at
    least 0.4 of the number that sees the best place. It stands on the rig's ground, is 2 m high
    as in the paper (Tu et al., ECCV 2020), and at most 15 m long and wide.

    Raises:
        InputError: no two cameras see a person at one place.
    """
    xs, ys = ground_grid(rig.cameras)
    counts = views_on_grid(rig.cameras, xs, ys, rig.ground).sum(axis=0)
    best = int(counts.max())
    if best < 2:
        raise InputError(
            f"rig '{rig.name}': no two cameras see a person at one place of the ground "
            f"z = {rig.ground:g} mm, so no space can be proposed: check unit and direction of the "
            "poses, or give --ground or --space"
        )
    needed = min(max(_MIN_VIEWS, int(np.ceil(_SHARE_OF_BEST * best))), best)
    ranges = _ranges_around(counts >= needed, xs, ys)
    while needed < best and max(high - low for low, high in ranges) > _MAX_EDGE_MM:
        needed += 1
        ranges = _ranges_around(counts >= needed, xs, ys)
    (x_low, x_high), (y_low, y_high) = (_shortened(*limits) for limits in ranges)
    low, high = rig.ground, rig.ground + SPACE_HEIGHT_MM
    return Space.between((x_low, y_low, low), (x_high, y_high, high))


def _ranges_around(
    mask: np.ndarray, xs: np.ndarray, ys: np.ndarray
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Low and high, along x and y, of the largest connected part of a mask (X, Y), with margin."""
    labels, count = ndimage.label(mask)
    sizes = ndimage.sum_labels(mask, labels, range(1, count + 1))
    area = labels == 1 + int(np.argmax(sizes))
    x, y = xs[area.any(axis=1)], ys[area.any(axis=0)]
    return (x[0] - _MARGIN_MM, x[-1] + _MARGIN_MM), (y[0] - _MARGIN_MM, y[-1] + _MARGIN_MM)


def _shortened(low: float, high: float) -> tuple[float, float]:
    """The range around the same middle, no longer than the longest edge."""
    middle, half = (low + high) / 2, min(high - low, _MAX_EDGE_MM) / 2
    return middle - half, middle + half
