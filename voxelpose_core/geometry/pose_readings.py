"""Are the poses of a rig read right? Faults of the poses as they are, and of other readings of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.camera_arrangement import (
    CROOKED_DEG,
    LEVEL_DEG,
    LOW_MM,
    RigWorld,
    camera_spread,
    crookedness,
    is_faultless,
    is_upright,
    mean_roll,
    pose_faults,
    roll_deg,
    views_together,
    with_pose,
)

# Another reading has to be better than the poses as they are by this.
_CLEARLY_DEG = 8.0
# A world is a camera's if that camera's pose is the identity, but for what an adjustment moved it.
_MOVED_MM, _MOVED_SHARE, _TURNED = 20.0, 0.02, 0.03

Pose = tuple[np.ndarray, np.ndarray]


class _Reading(NamedTuple):
    """Another way to read the numbers of a pose.

    Attributes:
        reread: the pose read so.
        words: what would explain it; None for a world whose axis `up` is the vertical.
        up: (3,) that axis, in the rig's world.
    """

    reread: Callable[[Camera], Pose]
    words: str | None = None
    up: tuple[float, float, float] = (0.0, 0.0, 1.0)

    def cause(self, world: RigWorld) -> str:
        """What would explain it, in the axes of the file."""
        if self.words is not None:
            return self.words
        return f"is the world {world.upward(self.up)}, expected {world.upward()}"


def _transposed(camera: Camera) -> Pose:
    return camera.R.T, camera.C


def _translation_as_center(camera: Camera) -> Pose:
    return camera.R, -camera.R.T @ camera.C


def _inverted(camera: Camera) -> Pose:
    """(R | t) was read as world to camera, so that C = -R^T t, and is camera to world."""
    return camera.R.T, -camera.R @ camera.C


def _turned(*rows: tuple[float, float, float]) -> _Reading:
    """The poses in a world z up, for rows that take a point of the given world there."""
    to_z_up = np.array(rows, dtype=np.float64)
    return _Reading(lambda camera: (camera.R @ to_z_up.T, to_z_up @ camera.C), None, rows[2])


_READINGS_OF_ONE = (
    _Reading(_inverted, "are the poses camera-to-world, expected world-to-camera"),
    _Reading(_transposed, "is R camera-to-world, expected world-to-camera"),
    _Reading(
        _translation_as_center,
        "is C the translation t of x = R X + t, expected the camera centre",
    ),
)
READINGS = (
    *_READINGS_OF_ONE,
    _turned((1, 0, 0), (0, 0, 1), (0, -1, 0)),
    _turned((1, 0, 0), (0, 0, -1), (0, 1, 0)),
    _turned((1, 0, 0), (0, -1, 0), (0, 0, -1)),
)


class _Poses(NamedTuple):
    """Another reading of all poses.

    Attributes:
        reading: the reading.
        roll: angle of horizons from level, mean of the cameras, degrees; 0 where all look down.
        crooked: the same from the nearest quarter turn.
        together: cameras that see a person at one place.
    """

    reading: _Reading
    roll: float
    crooked: float
    together: int


def faultless_readings(cameras: Sequence[Camera]) -> list[_Poses]:
    """The other readings of all poses that leave no fault."""
    poses = []
    for reading in READINGS:
        others = [with_pose(camera, *reading.reread(camera)) for camera in cameras]
        if is_faultless(others):
            roll = 5.0 * round(mean_roll(others) / 5.0)
            poses.append(_Poses(reading, roll, crookedness(others), views_together(others)))
    return poses


def by_roll(poses: _Poses) -> tuple[float, int]:
    """The most upright first: people mount cameras upright, and wrong readings tilt them."""
    return poses.roll, -poses.together


def check_poses(cameras: Sequence[Camera], world: RigWorld) -> list[str]:
    """Faults of the poses as they are; where another reading has none, only that cause."""
    near = max(_MOVED_MM, _MOVED_SHARE * camera_spread(cameras))
    for camera in cameras:
        # No camera looks straight up.
        if np.abs(camera.C).max() < near and np.abs(camera.R - np.eye(3)).max() < _TURNED:
            return [
                f"direction: the world is camera {camera.name}'s (z along its optical axis), "
                f"expected {world.upward()} with the ground at {world.floor}: calibrate with the "
                "board flat on the floor as the world's origin, then run voxelpose rig check again"
            ]
    faults = pose_faults(cameras, world)
    if faults and (line := ground_elsewhere(cameras, world, faults)):
        return [line]
    crooked = crookedness(cameras)
    readings = [poses for poses in faultless_readings(cameras) if poses.crooked <= max(crooked, LEVEL_DEG)]
    if faults and readings:
        cause = min(readings, key=by_roll).reading.cause(world)
        return [f"direction: {faults[0]}; {cause}?"]
    if faults or not readings:
        return _check_single_poses(cameras, world, faults)
    # Nothing is wrong with the poses as they are, but another reading may be far more plausible.
    together, roll = views_together(cameras, world.ground), mean_roll(cameras)
    as_upright = [poses for poses in readings if poses.roll <= roll + _CLEARLY_DEG]
    best = max(as_upright, key=lambda r: (r.together, -r.roll), default=None)
    if best is not None and best.together > together + 1:
        cause = best.reading.cause(world)
        return [f"direction: only {together} cameras see a person at one place; {cause}?"]
    level = min(readings, key=lambda r: (r.crooked > LEVEL_DEG, r.roll, r.crooked))
    if level.crooked < LEVEL_DEG and level.crooked + _CLEARLY_DEG < crooked:
        return [
            f"direction: horizons are {crooked:.0f} degrees from level or upright in the mean; "
            f"{level.reading.cause(world)}?"
        ]
    return _check_single_poses(cameras, world, faults)


def ground_elsewhere(cameras: Sequence[Camera], world: RigWorld, faults: Sequence[str]) -> str | None:
    """The one line where upright cameras would be faultless above another floor.

    A wrong reading of the poses turns cameras over or leaves them without a common view. Cameras on a
    desk whose board is the world see whole people only on a floor that is lower.
    """
    lowest = min(camera.C[2] for camera in cameras)
    if lowest - world.ground >= LOW_MM or not is_upright(cameras):
        return None
    floor = lowest - 1000.0
    if not is_faultless(cameras, floor):
        return None
    return f"ground: {faults[0]}; is the floor elsewhere? Give --ground Z, its height in mm"


def _check_single_poses(cameras: Sequence[Camera], world: RigWorld, faults: Sequence[str]) -> list[str]:
    """The faults, or the one camera whose pose, read in another way, leaves none."""
    crooked = np.array([crookedness([camera]) for camera in cameras])
    telling = np.array([roll_deg(camera) is not None for camera in cameras])
    for index, camera in enumerate(cameras):
        own = [fault for fault in faults if f"'{camera.name}'" in fault]
        others_level = (np.delete(crooked, index) < LEVEL_DEG).all()
        enough = np.delete(telling, index).sum() >= 2
        if crooked[index] > CROOKED_DEG and others_level and enough:
            own.append(f"camera '{camera.name}' is tilted by {crooked[index]:.0f} degrees")
        for reading in _READINGS_OF_ONE if own else ():
            others = list(cameras)
            others[index] = with_pose(camera, *reading.reread(camera))
            roll = roll_deg(others[index])
            upright = roll is not None and abs(roll) < LEVEL_DEG
            if upright and is_faultless(others, world.ground):
                cause = reading.cause(world)
                return [f"direction: {own[0]}; of camera '{camera.name}', {cause}?"]
    return [f"pose: {fault}" for fault in faults]
