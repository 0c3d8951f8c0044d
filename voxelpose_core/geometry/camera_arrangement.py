"""How the cameras of a rig stand: upright, above the floor, with views in common, at people's distance."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.coverage import PERSON_MM, ground_grid, views_on_grid

if TYPE_CHECKING:
    from voxelpose_core.geometry.rig import Rig

# Cameras that are all lower than this stand on a desk, or their unit or floor is another, mm.
LOW_MM = 500.0
# Cameras may be as far below the ground as the estimator's floor tolerance lets the floor be wrong: a board
# that stands on a desk makes a world whose zero is as high as the cameras on it.
HEIGHT_MM = (-300.0, 15_000.0)
# Cameras lower than this stand on one desk, so that the others are not much higher.
_DESK_MM, _DESK_RANGE_MM = 100.0, 1000.0
_GRID_STEP_MM = 500.0
# A person where the optical axes meet is at most so long, in sides of the image. Cameras whose
# positions are too small by a factor of ten or more stand too near to each other for people.
_LONGEST_IMAGE_SHARE = 1.2
# A camera looks up by at most this (sine of the elevation), as those near the floor do.
_UP = 0.6
# Mean angle of horizons from the nearest quarter turn, degrees: cameras that people mounted (upright,
# on their side, on their head), and poses that are not read right. Of a camera that looks within
# 30 degrees of straight down, the horizon says nothing.
LEVEL_DEG, CROOKED_DEG = 15.0, 20.0
_STEEP = 0.5


@dataclasses.dataclass(frozen=True)
class RigWorld:
    """The world that a rig is given in, to speak of it in the axes and unit of its file.

    Attributes:
        ground: height of the floor, mm.
        unit: of the file's lengths.
        axes: (3, 3) rotation from the file's world to the rig's.
    """

    ground: float
    unit: str
    axes: np.ndarray

    @classmethod
    def of(cls, rig: Rig) -> RigWorld:
        """The world of a rig."""
        return cls(rig.ground, rig.unit, np.asarray(rig.axes))

    def upward(self, up: np.ndarray | Sequence[float] = (0.0, 0.0, 1.0)) -> str:
        """Which axis of the file points along `up`, a direction (3,) in the rig's world."""
        direction = np.asarray(up) @ self.axes
        axis = int(np.abs(direction).argmax())
        return f"{'xyz'[axis]} {'up' if direction[axis] > 0 else 'down'}"

    @property
    def floor(self) -> str:
        """The height of the floor as the file would have it."""
        letter, way = self.upward().split()
        height = (1.0 if way == "up" else -1.0) * self.ground / 1000.0 + 0.0
        return f"{letter} = {height:g}" + (" m" if height else "")


def with_pose(camera: Camera, R: np.ndarray, C: np.ndarray) -> Camera:
    """The camera with another rotation (3, 3) and centre (3,) mm."""
    return dataclasses.replace(camera, R=R, C=C)


def scaled(cameras: Sequence[Camera], factor: float) -> list[Camera]:
    """The cameras with their positions multiplied by `factor`."""
    return [with_pose(camera, camera.R, camera.C * factor) for camera in cameras]


def camera_spread(cameras: Sequence[Camera]) -> float:
    """The largest distance between two cameras, mm."""
    centers = np.array([camera.C for camera in cameras])
    return float(np.linalg.norm(centers[:, None] - centers, axis=-1).max())


def fits_people(cameras: Sequence[Camera]) -> bool | None:
    """Whether a person fits the images where the optical axes meet; None where they do not meet."""
    meeting = _where_axes_meet(cameras)
    if meeting is None:
        return None
    depths = np.array([camera.to_camera(meeting[None])[0, 2] for camera in cameras])
    if np.median(depths) <= 0:
        return None
    shares = [
        PERSON_MM * camera.K[1, 1] / depth / max(camera.image_size)
        for camera, depth in zip(cameras, depths, strict=True)
        if depth > 0
    ]
    return bool(np.median(shares) <= _LONGEST_IMAGE_SHARE)


def _where_axes_meet(cameras: Sequence[Camera]) -> np.ndarray | None:
    """(3,) the point nearest to all optical axes, mm; None where they are nearly parallel."""
    across = [np.eye(3) - np.outer(camera.R[2], camera.R[2]) for camera in cameras]
    system = np.sum(across, axis=0)
    if np.linalg.eigvalsh(system)[0] < 0.02 * len(cameras):
        return None
    return np.linalg.solve(system, sum(a @ c.C for a, c in zip(across, cameras, strict=True)))


def roll_deg(camera: Camera) -> float | None:
    """How far an image is turned about the optical axis, degrees: 0 upright, 180 on its head.

    None for a camera that looks so steeply down or up that its horizon says nothing.
    """
    x, y, _ = -camera.R[:, 2]
    return float(np.degrees(np.arctan2(x, y))) if np.hypot(x, y) > _STEEP else None


def mean_roll(cameras: Sequence[Camera]) -> float:
    """Mean angle from upright, degrees; 0 where no camera tells."""
    angles = [angle for camera in cameras if (angle := roll_deg(camera)) is not None]
    return float(np.abs(angles).mean()) if angles else 0.0


def crookedness(cameras: Sequence[Camera]) -> float:
    """Mean angle from the nearest quarter turn, degrees; 0 where no camera tells."""
    angles = [angle for camera in cameras if (angle := roll_deg(camera)) is not None]
    gaps = [abs(angle - 90.0 * round(angle / 90.0)) for angle in angles]
    return float(np.mean(gaps)) if gaps else 0.0


def is_upright(cameras: Sequence[Camera]) -> bool:
    """Whether all cameras that tell are mounted upright."""
    angles = [angle for camera in cameras if (angle := roll_deg(camera)) is not None]
    return all(abs(angle) < CROOKED_DEG for angle in angles)


def views_together(cameras: Sequence[Camera], ground: float = 0.0) -> int:
    """The number of cameras that see a person at the place that most of them see."""
    grid = ground_grid(cameras, _GRID_STEP_MM)
    return int(views_on_grid(cameras, *grid, ground).sum(axis=0).max())


def pose_faults(cameras: Sequence[Camera], world: RigWorld) -> list[str]:
    """Height over ground, cameras that look up, frusta that meet."""
    standing = _standing_faults(cameras, world.ground, world.floor)
    return standing + _frusta_that_do_not_meet(cameras, world.ground)


def is_faultless(cameras: Sequence[Camera], ground: float = 0.0) -> bool:
    """No `pose_faults`; the frusta, which take time, are looked at last."""
    return not _standing_faults(cameras, ground) and not _frusta_that_do_not_meet(cameras, ground)


def _standing_faults(cameras: Sequence[Camera], ground: float, floor: str = "z = 0") -> list[str]:
    faults = []
    on_a_desk = np.ptp([camera.C[2] for camera in cameras]) <= _DESK_RANGE_MM
    lowest = HEIGHT_MM[0] if on_a_desk else _DESK_MM
    for camera in cameras:
        height = camera.C[2] - ground
        if not lowest <= height <= HEIGHT_MM[1]:
            faults.append(
                f"camera '{camera.name}' is {_signed_height(height)} the ground {floor}, "
                f"expected up to {HEIGHT_MM[1] / 1000:g} m"
            )
        if camera.R[2, 2] > _UP:
            faults.append(f"camera '{camera.name}' looks up into the sky")
    return faults


def _signed_height(height_mm: float) -> str:
    side = "above" if height_mm >= 0 else "below"
    return f"{abs(height_mm) / 1000:.2f} m {side}"


def _frusta_that_do_not_meet(cameras: Sequence[Camera], ground: float) -> list[str]:
    seen = views_on_grid(cameras, *ground_grid(cameras, _GRID_STEP_MM), ground)
    shared = seen.sum(axis=0) >= 2
    lonely = [
        f"camera '{camera.name}' sees no person anywhere that another camera sees"
        for camera, view in zip(cameras, seen, strict=True)
        if not (view & shared).any()
    ]
    return lonely if len(lonely) < len(cameras) else ["no two cameras see a person at one place"]
