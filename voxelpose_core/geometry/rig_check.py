"""What looks wrong in a rig: unit, direction, height, frusta, intrinsics, and the likely cause."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from voxelpose_core.geometry.camera import FISHEYE_LIMIT, Camera
from voxelpose_core.geometry.coverage import ground_grid, views_on_grid

if TYPE_CHECKING:
    from voxelpose_core.geometry.rig import Rig

# Extents of rigs that watch people, mm.
_SPREAD_MM = (300.0, 100_000.0)
_LOW_MM = 500.0
_HEIGHT_MM = (100.0, 15_000.0)
_GRID_STEP_MM = 500.0

Pose = tuple[np.ndarray, np.ndarray]


def check_rig(rig: Rig) -> list[str]:
    """One line for each thing in the rig that looks wrong, with its likely cause; [] if none.

    Structural faults (not a rotation, a missing key) never get here: loading raises InputError.
    """
    unit_lines, factor = _check_unit(rig.cameras)
    cameras = [_with_pose(camera, camera.R, camera.C * factor) for camera in rig.cameras]
    lines = unit_lines + _check_doubles(cameras) + _check_poses(cameras)
    if rig.space is not None and not unit_lines:
        lines += _check_space(rig)
    for camera in rig.cameras:
        lines += _check_intrinsics(camera)
    return lines


def _with_pose(camera: Camera, R: np.ndarray, C: np.ndarray) -> Camera:
    return dataclasses.replace(camera, R=R, C=C)


def _check_unit(cameras: Sequence[Camera]) -> tuple[list[str], float]:
    """The suspicion about the unit, and the factor that would bring the positions to mm."""
    centers = np.array([camera.C for camera in cameras])
    spread = max(np.linalg.norm(a - b) for a in centers for b in centers)
    low = np.abs(centers[:, 2]).max() < _LOW_MM
    if spread < _SPREAD_MM[0] / 3 and low:
        unit, factor = "metres", 1000.0
    elif spread < _SPREAD_MM[1] / 40 and low:
        unit, factor = "centimetres", 10.0
    elif spread > _SPREAD_MM[1] or centers[:, 2].mean() > _HEIGHT_MM[1]:
        line = (
            f"unit: the cameras are {spread / 1000:.0f} m apart and "
            f"{centers[:, 2].mean() / 1000:.0f} m high: were mm taken for a larger unit?"
        )
        return [line], _SPREAD_MM[1] / 10 / spread
    else:
        return [], 1.0
    line = (
        f"unit: the cameras are within {spread:.3g} mm of each other and at most "
        f"{np.abs(centers[:, 2]).max():.3g} mm high: positions in {unit}, expected mm?"
    )
    return [line], factor


def _check_doubles(cameras: Sequence[Camera]) -> list[str]:
    return [
        f"cameras '{a.name}' and '{b.name}' stand at the same place: one calibration given twice?"
        for i, a in enumerate(cameras)
        for b in cameras[i + 1 :]
        if np.linalg.norm(a.C - b.C) < 10 and np.abs(a.R - b.R).max() < 0.01
    ]


def _check_poses(cameras: Sequence[Camera]) -> list[str]:
    """Faults of the poses as they are; where another reading has none, only that cause."""
    faults = _pose_faults(cameras)
    together = _views_together(cameras)
    for cause, reread in _READINGS:
        others = [_with_pose(camera, *reread(camera)) for camera in cameras]
        if faults and not _pose_faults(others):
            return [f"direction: {faults[0]}; {cause}?"]
        if not faults and _views_together(others) > together + 1 and not _pose_faults(others):
            return [f"direction: only {together} cameras see a person at one place; {cause}?"]
    return [f"pose: {fault}" for fault in faults]


def _views_together(cameras: Sequence[Camera]) -> int:
    """The number of cameras that see a person at the place that most of them see."""
    grid = ground_grid(cameras, _GRID_STEP_MM)
    return int(views_on_grid(cameras, *grid).sum(axis=0).max())


def _pose_faults(cameras: Sequence[Camera]) -> list[str]:
    """Height over ground, upright images, frusta that meet."""
    faults = []
    for camera in cameras:
        if not _HEIGHT_MM[0] <= camera.C[2] <= _HEIGHT_MM[1]:
            faults.append(
                f"camera '{camera.name}' is {camera.C[2] / 1000:.2f} m above the ground z = 0, "
                f"expected 0.1 to 15 m"
            )
        # A camera that looks straight down has no upright.
        if camera.R[1, 2] > 0.5 and camera.R[2, 2] > -0.8:
            faults.append(f"camera '{camera.name}' stands on its head")
        elif camera.R[2, 2] > 0.6:
            faults.append(f"camera '{camera.name}' looks up into the sky")
    return faults + _frusta_that_do_not_meet(cameras)


def _frusta_that_do_not_meet(cameras: Sequence[Camera]) -> list[str]:
    seen = views_on_grid(cameras, *ground_grid(cameras, _GRID_STEP_MM))
    shared = seen.sum(axis=0) >= 2
    lonely = [
        f"camera '{camera.name}' sees no person anywhere that another camera sees"
        for camera, view in zip(cameras, seen, strict=True)
        if not (view & shared).any()
    ]
    return lonely if len(lonely) < len(cameras) else ["no two cameras see a person at one place"]


def _transposed(camera: Camera) -> Pose:
    return camera.R.T, camera.C


def _translation_as_center(camera: Camera) -> Pose:
    return camera.R, -camera.R.T @ camera.C


def _inverted(camera: Camera) -> Pose:
    """(R | t) was read as world to camera, so that C = -R^T t, and is camera to world."""
    return camera.R.T, -camera.R @ camera.C


def _turned(up: Sequence[Sequence[float]]) -> Callable[[Camera], Pose]:
    """The poses in a world z up, for rows `up` that take a point of the file's world there."""
    to_z_up = np.array(up, dtype=np.float64)
    return lambda camera: (camera.R @ to_z_up.T, to_z_up @ camera.C)


_READINGS: tuple[tuple[str, Callable[[Camera], Pose]], ...] = (
    ("are the poses camera-to-world, expected world-to-camera", _inverted),
    ("is R camera-to-world, expected world-to-camera", _transposed),
    ("is C the translation t of x = R X + t, expected the camera centre", _translation_as_center),
    ("is the world y down, expected z up", _turned([[1, 0, 0], [0, 0, 1], [0, -1, 0]])),
    ("is the world y up, expected z up", _turned([[1, 0, 0], [0, 0, -1], [0, 1, 0]])),
    ("is the world z down, expected z up", _turned([[1, 0, 0], [0, -1, 0], [0, 0, -1]])),
)


def _check_space(rig: Rig) -> list[str]:
    xs = np.linspace(rig.space.low[0], rig.space.high[0], 25)
    ys = np.linspace(rig.space.low[1], rig.space.high[1], 25)
    counts = views_on_grid(rig.cameras, xs, ys).sum(axis=0)
    share = float((counts >= 2).mean())
    if share >= 0.25:
        return []
    return [
        f"space: two cameras or more see only {100 * share:.0f} % of it: "
        "is its centre in the rig's world, in mm?"
    ]


def _check_intrinsics(camera: Camera) -> list[str]:
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
    """Whether the distortion still grows at the corners of the image (of a fisheye, whose corners
    may lie outside the lens: at the nearest edge)."""
    limit = camera.valid_radius
    if limit == (FISHEYE_LIMIT if camera.fisheye else np.inf):
        return []
    width, height = camera.image_size
    low = np.abs(camera.K[:2, 2] / np.diag(camera.K)[:2])
    high = np.abs((np.array([width, height]) - camera.K[:2, 2]) / np.diag(camera.K)[:2])
    reach = min(*low, *high) if camera.fisheye else np.linalg.norm(np.maximum(low, high))
    if camera.distorted_radius(limit) >= reach:
        return []
    return [
        f"camera '{camera.name}': the distortion folds back inside the image: "
        "coefficients of another lens model, or in another order?"
    ]
