"""A world for people: z up, the floor at zero, the origin where they walked, millimetres.

A calibration's world may be that of a camera, of a board, or of a tool that has y up. How people stand and
where their feet are says which way is up and where the floor is; how tall they are, or how far apart two
cameras stand, gives the unit. The cameras keep their places among each other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.plain_numbers import plain
from voxelpose_core.self_calibration.bodies import Bodies
from voxelpose_core.self_calibration.floor import Floor, find_floor
from voxelpose_core.self_calibration.floor_points import FloorPoints

# Statures of people, mm, for a world whose unit is not given.
_STATURE_MM = (1200.0, 2150.0)
# Where the unit is given, children count, too.
_POSSIBLE_STATURE_MM = (500.0, 2500.0)
# Points of the floor: the shorter extent of their triangle, and how far they may be off a plane, as shares of
# the longer and of the shorter extent.
_LINE_SHARE, _PLANE_SHARE = 0.05, 0.1


@dataclass(frozen=True, eq=False)
class Similarity:
    """X' = scale * rotation X + shift: from one world to another.

    Attributes:
        rotation: (3, 3).
        scale: factor.
        shift: (3,) in the unit of the new world.
    """

    rotation: np.ndarray
    scale: float
    shift: np.ndarray

    def points(self, points: np.ndarray) -> np.ndarray:
        """(..., 3) of the old world -> of the new one."""
        return self.scale * np.asarray(points) @ self.rotation.T + self.shift

    def rig(self, rig: Rig) -> Rig:
        """The rig in the new world, z up and its ground at 0; a capture space of the old world is dropped."""
        cameras = tuple(
            dataclasses.replace(camera, R=camera.R @ self.rotation.T, C=self.points(camera.C))
            for camera in rig.cameras
        )
        return dataclasses.replace(rig, cameras=cameras, space=None, ground=0.0, unit="mm", axes=np.eye(3))


@dataclass(frozen=True, eq=False)
class Alignment:
    """A rig in a world for people.

    Attributes:
        rig: z up, ground at 0, mm.
        similarity: from the given world.
        floor: what it follows from, in the given world.
        statures: by person, mm.
        notes: one line for each thing that is unusual.
    """

    rig: Rig
    similarity: Similarity
    floor: Floor
    statures: dict[int, float]
    notes: tuple[str, ...] = ()


def align_to_people(
    rig: Rig,
    bodies: Bodies,
    times: np.ndarray,
    height_mm: float | None = None,
    distance: tuple[str, str, float] | None = None,
) -> Alignment:
    """Put a rig into the world in which people stand upright on z = 0.

    Args:
        rig: in any world and unit.
        bodies: K poses of people in that world.
        times: (K,) seconds.
        height_mm: how tall people are; of several, their mean. Gives the unit.
        distance: names of two cameras, and how far apart they stand, mm. Gives the unit.

    Raises:
        InputError: too few people who stand or walk upright, no clear up, or an unknown unit.
    """
    floor = find_floor(bodies, times)
    scale, notes = _unit(rig, bodies, height_mm, distance)
    rotation = rotation_to_z(floor.up)
    middle = _middle_of_walks(bodies, rotation)
    shift = -scale * np.array([middle[0], middle[1], floor.height])
    similarity = Similarity(rotation, scale, shift)
    statures = {person: scale * stature for person, stature in bodies.statures().items()}
    return Alignment(similarity.rig(rig), similarity, floor, statures, (*floor.notes, *notes))


def align_to_points(
    rig: Rig, points: FloorPoints, distance: tuple[str, str, float] | None = None
) -> Alignment:
    """Put a rig into the world in which given points lie on z = 0, their middle at the origin.

    Args:
        rig: in any world and unit.
        points: of the floor, three or more that are not on one line. Of a target they give the unit, too.
        distance: names of two cameras, and how far apart they stand, mm. Gives the unit.

    Raises:
        InputError: the points lie on one line, or not on one plane.
    """
    floor, middle, notes = _floor_of_points(rig, points)
    scale = points.unit_mm or 1.0
    if distance is not None:
        scale = _unit_by_distance(rig, distance)
    elif points.unit_mm is None:
        notes.append("the unit is kept: --distance sets it")
    rotation = rotation_to_z(floor.up)
    similarity = Similarity(rotation, scale, -scale * rotation @ middle)
    return Alignment(similarity.rig(rig), similarity, floor, {}, tuple(notes))


def _floor_of_points(rig: Rig, points: FloorPoints) -> tuple[Floor, np.ndarray, list[str]]:
    """The plane of points of the floor, their middle (3,), and what is unusual; most cameras are above it."""
    middle = points.positions.mean(axis=0)
    _, sizes, axes = np.linalg.svd(points.positions - middle)
    sizes = sizes / np.sqrt(len(points.positions))
    if sizes[1] < _LINE_SHARE * sizes[0] or sizes[0] <= 0:
        raise InputError("the points of the floor lie on one line, expected three that span a triangle")
    if sizes[2] > _PLANE_SHARE * sizes[1]:
        off = np.abs((points.positions - middle) @ axes[2])
        raise InputError(
            f"the points of the floor do not lie on one plane: '{points.names[int(off.argmax())]}' is "
            f"{100 * off.max() / sizes[0]:.0f} % of their extent off it"
        )
    up = axes[2]
    above = np.array([(camera.C - middle) @ up for camera in rig.cameras]) > 0
    if above.sum() * 2 < len(rig):
        up, above = -up, ~above
    # From how far the points are off the plane, and from how far rays miss each other.
    depth = np.median([camera.to_camera(points.positions)[:, 2] for camera in rig.cameras])
    focal = float(np.median([camera.K[0, 0] for camera in rig.cameras]))
    error = max(float(sizes[2]), float(points.errors_px.mean()) * abs(depth) / focal)
    sigma = float(np.degrees(np.arctan2(error, sizes[1])))
    floor = Floor(up, sigma, float(middle @ up), float(sizes[2]), 0)
    notes = []
    if not above.all():
        below = ", ".join(f"'{c.name}'" for c, over in zip(rig.cameras, above, strict=True) if not over)
        notes.append(f"below the plane of these points: camera {below}")
    return floor, middle, notes


def _unit(
    rig: Rig, bodies: Bodies, height_mm: float | None, distance: tuple[str, str, float] | None
) -> tuple[float, list[str]]:
    """Millimetres per unit of the world, and what is to be said of it."""
    stature = bodies.typical_stature
    if distance is not None:
        scale = _unit_by_distance(rig, distance)
        if np.isfinite(stature) and not _within(scale * stature, _POSSIBLE_STATURE_MM):
            raise InputError(
                f"people come out {plain(scale * stature)} mm tall if cameras '{distance[0]}' and "
                f"'{distance[1]}' are {distance[2]:g} mm apart: expected --distance with their distance in mm"
            )
        return scale, []
    if not np.isfinite(stature):
        raise InputError(
            "no person is seen from ankles to ears often enough, expected people in full view of two cameras"
        )
    if height_mm is not None:
        return height_mm / stature, []
    if not _within(stature, _STATURE_MM):
        raise InputError(
            f"people come out {plain(stature)} mm tall, the unit of this world is not mm: give --height with "
            "their height, or --distance with that of two cameras, mm"
        )
    return 1.0, [f"the unit is kept: people come out {stature:.0f} mm tall (--height sets it)"]


def _within(value: float, limits: tuple[float, float]) -> bool:
    return limits[0] <= value <= limits[1]


def _unit_by_distance(rig: Rig, distance: tuple[str, str, float]) -> float:
    first, second, apart_mm = distance
    apart = float(np.linalg.norm(rig.camera(first).C - rig.camera(second).C))
    if apart <= 0:
        raise InputError(f"cameras '{first}' and '{second}' stand at one place, expected two that are apart")
    return apart_mm / apart


def _middle_of_walks(bodies: Bodies, rotation: np.ndarray) -> np.ndarray:
    """(3,) the middle of where people were in the turned world, a tenth at each rim left out."""
    hips = bodies.hips[np.isfinite(bodies.hips).all(axis=-1)] @ rotation.T
    low, high = np.percentile(hips, (10, 90), axis=0)
    return (low + high) / 2


def rotation_to_z(up: Sequence[float] | np.ndarray) -> np.ndarray:
    """(3, 3) the least rotation that brings the unit vector `up` to z."""
    up = np.asarray(up, np.float64)
    axis = np.cross(up, [0.0, 0.0, 1.0])
    sine, cosine = float(np.linalg.norm(axis)), float(up[2])
    if sine < 1e-12:
        return np.eye(3) if cosine > 0 else np.diag([1.0, -1.0, -1.0])
    return Rotation.from_rotvec(axis / sine * np.arctan2(sine, cosine)).as_matrix()
