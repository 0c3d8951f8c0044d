"""What looks wrong in a rig: unit, direction, height, frusta, intrinsics, and the likely cause."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.camera import FISHEYE_LIMIT, Camera
from voxelpose_core.geometry.coverage import ground_grid, views_on_grid

if TYPE_CHECKING:
    from voxelpose_core.geometry.rig import Rig

# Extents of rigs that watch people, mm.
_SPREAD_MM = (300.0, 100_000.0)
_LOW_MM = 500.0
_HEIGHT_MM = (100.0, 15_000.0)
_GRID_STEP_MM = 500.0
# How far the horizon is from level in an image, as the sine of the angle.
_LEVEL, _LYING = 0.3, 0.5
# Measured lenses stay far below: tangential distortion of a lens that is not off its axis, and how
# far undistortion moves the corners of the image, as a factor of their distance from its middle.
_TANGENTIAL = 0.03
_CORNER_FACTORS = (0.4, 2.5)

Pose = tuple[np.ndarray, np.ndarray]


def rig_findings(rig: Rig) -> list[str]:
    """Everything to say about a rig before work begins with it; [] if nothing.

    What its reader left out or assumed (`Rig.notes`), then what looks wrong (`check_rig`).
    """
    return [*rig.notes, *check_rig(rig)]


def report_findings(rig: Rig, say: Callable[[str], object], strict: bool = False) -> None:
    """Say the findings of a rig, one line each.

    Args:
        rig: the cameras to work with.
        say: takes each line.
        strict: what looks wrong is an error; notes are not.

    Raises:
        InputError: strict, and something looks wrong.
    """
    wrong = check_rig(rig)
    if wrong and strict:
        raise InputError(f"rig '{rig.name}': {'; '.join(wrong)}")
    for line in [*rig.notes, *wrong]:
        say(line)


def check_rig(rig: Rig) -> list[str]:
    """One line for each thing in the rig that looks wrong, with its likely cause; [] if none.

    Structural faults (not a rotation, a missing key) never get here: loading raises InputError.
    """
    unit_lines, factor = _check_unit(rig.cameras)
    cameras = _scaled(rig.cameras, factor)
    pose_lines = _check_poses(cameras)
    if any(line.startswith("pose: ") for line in pose_lines):
        unit_lines, pose_lines = _both_wrong(rig.cameras) or (unit_lines, pose_lines)
    lines = unit_lines + _check_doubles(cameras) + pose_lines
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
    spread = _spread(cameras)
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


def _spread(cameras: Sequence[Camera]) -> float:
    """The largest distance between two cameras, mm."""
    centers = np.array([camera.C for camera in cameras])
    return float(np.linalg.norm(centers[:, None] - centers, axis=-1).max())


def _scaled(cameras: Sequence[Camera], factor: float) -> list[Camera]:
    return [_with_pose(camera, camera.R, camera.C * factor) for camera in cameras]


def _both_wrong(cameras: Sequence[Camera]) -> tuple[list[str], list[str]] | None:
    """The lines on unit and direction, where a rig is faultless only with both read anew.

    The positions of inverted poses say little of the unit, so that every unit is tried.
    """
    for factor, unit in _UNITS:
        for cause, reread in _READINGS:
            others = [_with_pose(c, *reread(c)) for c in _scaled(cameras, factor)]
            spread = _spread(others)
            plausible = _SPREAD_MM[0] <= spread <= _SPREAD_MM[1] and (_rolls(others) < _LEVEL).all()
            if plausible and _is_faultless(others):
                return [f"unit: {unit}?"], [f"direction: {cause}?"]
    return None


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
    for camera in cameras:
        if faults and np.abs(camera.C).max() < 1 and np.abs(camera.R - np.eye(3)).max() < 1e-3:
            return [
                f"direction: the world is the optical frame of camera '{camera.name}', expected "
                "z up with the ground at z = 0: was it calibrated without a board on the floor?"
            ]
    readings = _readings_without_faults(cameras)
    if faults and readings:
        return [f"direction: {faults[0]}; {min(readings, key=_by_roll).cause}?"]
    if faults or not readings:
        return _check_single_poses(cameras, faults)
    # Nothing is wrong with the poses as they are, but another reading may be far more plausible.
    together, best = _views_together(cameras), max(readings, key=lambda r: (r.together, -r.roll))
    if best.together > together + 1:
        return [f"direction: only {together} cameras see a person at one place; {best.cause}?"]
    level, lying = min(readings, key=_by_roll), int((_rolls(cameras) > _LYING).sum())
    if 2 * lying >= max(4, len(cameras)) and level.roll < _LEVEL:
        return [f"direction: {lying} cameras lie on their side; {level.cause}?"]
    return _check_single_poses(cameras, faults)


class _Reading(NamedTuple):
    """Another reading of all poses.

    Attributes:
        cause: what would explain it.
        roll: how far horizons are from level, mean of the cameras.
        together: cameras that see a person at one place.
    """

    cause: str
    roll: float
    together: int


def _readings_without_faults(cameras: Sequence[Camera]) -> list[_Reading]:
    readings = []
    for cause, reread in _READINGS:
        others = [_with_pose(camera, *reread(camera)) for camera in cameras]
        if _is_faultless(others):
            roll = round(float(_rolls(others).mean()), 1)
            readings.append(_Reading(cause, roll, _views_together(others)))
    return readings


def _by_roll(reading: _Reading) -> tuple[float, int]:
    """The most upright first: people mount cameras upright, and wrong readings tilt them."""
    return reading.roll, -reading.together


def _check_single_poses(cameras: Sequence[Camera], faults: Sequence[str]) -> list[str]:
    """The faults, or the one camera whose pose, read in another way, leaves none."""
    rolls = _rolls(cameras)
    for index, camera in enumerate(cameras):
        own = [fault for fault in faults if f"'{camera.name}'" in fault]
        if rolls[index] > _LYING and (np.delete(rolls, index) < _LEVEL).all():
            own.append(f"camera '{camera.name}' lies on its side")
        for cause, reread in _READINGS_OF_ONE if own else ():
            others = list(cameras)
            others[index] = _with_pose(camera, *reread(camera))
            if _rolls(others)[index] < _LEVEL and _is_faultless(others):
                return [f"direction: {own[0]}; of camera '{camera.name}', {cause}?"]
    return [f"pose: {fault}" for fault in faults]


def _rolls(cameras: Sequence[Camera]) -> np.ndarray:
    """(V,) how far the horizon is from level in each image: 0 level, 1 on its side."""
    return np.array([abs(camera.R[0, 2]) for camera in cameras])


def _views_together(cameras: Sequence[Camera]) -> int:
    """The number of cameras that see a person at the place that most of them see."""
    grid = ground_grid(cameras, _GRID_STEP_MM)
    return int(views_on_grid(cameras, *grid).sum(axis=0).max())


def _pose_faults(cameras: Sequence[Camera]) -> list[str]:
    """Height over ground, upright images, frusta that meet."""
    return _standing_faults(cameras) + _frusta_that_do_not_meet(cameras)


def _is_faultless(cameras: Sequence[Camera]) -> bool:
    """No `_pose_faults`; the frusta, which take time, are looked at last."""
    return not _standing_faults(cameras) and not _frusta_that_do_not_meet(cameras)


def _standing_faults(cameras: Sequence[Camera]) -> list[str]:
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
    return faults


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
_UNITS = (
    (1000.0, "positions in metres, expected mm"),
    (10.0, "positions in centimetres, expected mm"),
    (0.1, "were mm taken for cm"),
    (0.001, "were mm taken for m"),
)

_READINGS_OF_ONE = _READINGS[:3]


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
        f"camera '{camera.name}': undistorted, a corner of the image is {factor:.2g} times as far "
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
