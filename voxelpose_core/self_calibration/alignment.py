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
from voxelpose_core.self_calibration.bodies import ANKLE_SHARE, Bodies
from voxelpose_core.self_calibration.floor_points import FloorPoints

# Fewer standing poses do not tell where up is.
_LEAST_POSES = 12
# People who stand in fewer places repeat one posture: it was 5 degrees off up, and all of its poses agreed.
_LEAST_PLACES = 3
# What bodies and feet cannot tell better, however many there are, degrees: people lean, floors slope.
_BODY_LIMIT_DEG, _FEET_LIMIT_DEG = 0.6, 0.2
# Poses this long apart have independent errors, s.
_INDEPENDENT_S = 1.0
# A person who stays within a cell of this size, as a share of people's height, tells the same again; and how
# crookedly people stand, degrees.
_PLACE_SHARE, _POSTURE_DEG = 0.15, 1.5
# How far forward people lean as they walk, degrees, and how different they are.
_LEAN_DEG, _LEAN_SPREAD_DEG = 2.0, 2.0
# Feet on one floor lie off its plane by less than this, as a share of people's height (robust deviation).
_FLOOR_SHARE = 0.04
# Two levels are at least so far apart, as a share of people's height, and each holds so many of the feet.
_LEVEL_SHARE, _LEVEL_FEET = 0.06, 0.15
# Up by bodies and by the plane of feet are one if they differ by less than so many standard deviations.
_AGREE = 3.0
# Statures of people, mm, for a world whose unit is not given.
_STATURE_MM = (1200.0, 2150.0)
# Where the unit is given, children count, too.
_POSSIBLE_STATURE_MM = (500.0, 2500.0)
# Up that is less certain is no answer, degrees.
_LEAST_SURE_DEG = 4.0
# Points of the floor: the shorter extent of their triangle, and how far they may be off a plane, as shares of
# the longer and of the shorter extent.
_LINE_SHARE, _PLANE_SHARE = 0.05, 0.1
_ROUNDS = 15


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
class Floor:
    """What bodies say of up and floor, in the world that they are given in.

    Attributes:
        up: (3,) unit vector.
        sigma_deg: how sure it is, standard deviation.
        height: of the floor along up, in units of the world.
        spread: robust deviation of the feet from the floor, in units of the world.
        poses: number of standing poses.
        notes: one line for each thing that is unusual.
    """

    up: np.ndarray
    sigma_deg: float
    height: float
    spread: float
    poses: int
    notes: tuple[str, ...] = ()


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
    scale = points.unit_mm or 1.0
    if distance is not None:
        scale = _unit_by_distance(rig, distance)
    elif points.unit_mm is None:
        notes.append("the unit is kept: --distance sets it")
    rotation = rotation_to_z(up)
    similarity = Similarity(rotation, scale, -scale * rotation @ middle)
    return Alignment(similarity.rig(rig), similarity, floor, {}, tuple(notes))


def find_floor(bodies: Bodies, times: np.ndarray) -> Floor:
    """Up, as bodies stand, sharpened by the plane of their feet where that is one floor.

    Args:
        bodies: K poses.
        times: (K,) seconds.

    Raises:
        InputError: too few poses stand upright, people hardly move, or they do not agree on up.
    """
    standing = bodies.standing
    if standing.sum() < _LEAST_POSES:
        raise InputError(
            f"{int(standing.sum())} poses of a person who stands or walks upright in two views, expected at "
            f"least {_LEAST_POSES}: let a person walk where two cameras or more see the whole body"
        )
    stature = bodies.typical_stature
    hips = bodies.hips[standing]
    apart = _PLACE_SHARE * stature
    if (count := _place_count(hips, apart)) < _LEAST_PLACES:
        raise InputError(
            f"people hardly move: they stand in {count} place{'s' * (count > 1)}, expected at least "
            f"{_LEAST_PLACES}: let a person walk to and fro"
        )
    places = len(np.unique(np.floor(hips / apart), axis=0))
    windows = min(places, len(np.unique(np.floor(times[standing] / _INDEPENDENT_S))))
    up, covariance = _up_by_bodies(bodies, windows)
    covariance = covariance + np.eye(2) * np.radians(_POSTURE_DEG) ** 2 / windows
    plane = _FeetPlane(bodies, up, stature, windows)
    up, covariance, notes = plane.sharpened(up, covariance)
    sigma = float(np.degrees(np.sqrt(np.trace(covariance) / 2)))
    if sigma > _LEAST_SURE_DEG:
        raise InputError(
            f"up is known to {sigma:.0f} degrees only, expected {_LEAST_SURE_DEG:g} or better: people bend "
            "or do not stand; let a person walk to and fro for twenty seconds"
        )
    height, spread, more = _level(bodies, up, stature)
    return Floor(up, sigma, height, spread, int(standing.sum()), (*notes, *more))


def _place_count(points: np.ndarray, apart: float) -> int:
    """How many of the points (K, 3), taken in turn, are at least so far from all that were counted before."""
    places = points[:1]
    for point in points[1:]:
        if (np.linalg.norm(places - point, axis=1) > apart).all():
            places = np.concatenate([places, point[None]])
    return len(places)


def _up_by_bodies(bodies: Bodies, windows: int) -> tuple[np.ndarray, np.ndarray]:
    """Up (3,) from ankles to shoulders, and its covariance (2, 2) in radians squared.

    Walkers lean forward; the lean is estimated with up where people face different ways.
    """
    standing = bodies.standing
    directions = bodies.shoulders[standing] - bodies.ankles[standing].mean(axis=1)
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    facing = bodies.facing[standing]
    up = np.median(directions, axis=0)
    up /= np.linalg.norm(up)
    covariance = np.eye(2)
    for _ in range(_ROUNDS):
        across = _across(up)
        # A direction is up + tilt + lean * facing, to first order.
        tilts, ahead = directions @ across.T, facing @ across.T
        system = np.concatenate([np.broadcast_to(np.eye(2), (len(tilts), 2, 2)), ahead[:, :, None]], axis=-1)
        residual = tilts - np.radians(_LEAN_DEG) * ahead
        distance = np.linalg.norm(residual - np.median(residual, axis=0), axis=-1)
        scale = max(1.2 * float(np.median(distance)), 1e-6)
        weight = 1.0 / (1.0 + (distance / scale) ** 2)
        normal = np.einsum("k,kij,kil->jl", weight, system, system) / scale**2
        normal *= windows / max(float(weight.sum()), 1e-9)
        right = np.einsum("k,kij,ki->j", weight, system, tilts) / scale**2
        right *= windows / max(float(weight.sum()), 1e-9)
        normal[2, 2] += 1.0 / np.radians(_LEAN_SPREAD_DEG) ** 2
        right[2] += np.radians(_LEAN_DEG) / np.radians(_LEAN_SPREAD_DEG) ** 2
        tilt = np.linalg.solve(normal, right)[:2]
        covariance = np.linalg.inv(normal)[:2, :2]
        up = up + tilt @ across
        up /= np.linalg.norm(up)
    return up, covariance + np.eye(2) * np.radians(_BODY_LIMIT_DEG) ** 2


class _FeetPlane:
    """The plane of the lower ankles of standing poses: one floor, or two levels with one slope."""

    def __init__(self, bodies: Bodies, up: np.ndarray, stature: float, windows: int):
        lowest = lower_ankles(bodies, up)
        self._across = _across(up)
        middle = np.median(lowest, axis=0)
        self._places = (lowest - middle) @ self._across.T
        self._heights = (lowest - middle) @ up
        self._stature, self._windows = stature, windows

    def sharpened(self, up: np.ndarray, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """Up by bodies, with its covariance, and by feet together; and what is unusual."""
        for levels in (np.zeros(len(self._heights), int), self._two_levels()):
            if levels is None:
                continue
            tilt, own, spread = self._fit(levels)
            if spread > _FLOOR_SHARE * self._stature:
                continue
            if tilt @ np.linalg.solve(own + covariance, tilt) < _AGREE**2:
                information = np.linalg.inv(covariance), np.linalg.inv(own)
                both = np.linalg.inv(information[0] + information[1])
                moved = up + (both @ information[1] @ tilt) @ self._across
                return moved / np.linalg.norm(moved), both, []
        note = "feet do not lie on one level plane (stairs, a slope, a treadmill): up is that of bodies alone"
        return up, covariance, [note]

    def _fit(self, levels: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """Tilt (2,) of the normal against up, its covariance (2, 2), and the robust deviation of the feet."""
        indicators = np.eye(int(levels.max()) + 1)[levels]
        system = np.concatenate([self._places, indicators], axis=1)
        weight = np.ones(len(system))
        slope, spread = np.zeros(system.shape[1]), 1.0
        for _ in range(_ROUNDS):
            weighted = system * weight[:, None]
            slope = np.linalg.lstsq(system.T @ weighted, weighted.T @ self._heights, rcond=None)[0]
            residual = self._heights - system @ slope
            spread = max(1.48 * float(np.median(np.abs(residual))), 1e-6 * self._stature)
            # A foot in the air is higher, never lower.
            weight = 1.0 / (1.0 + (residual / np.where(residual > 0, spread, 2 * spread)) ** 2)
        normal = (system * weight[:, None]).T @ system / spread**2 * self._windows / weight.sum()
        covariance = np.linalg.pinv(normal, rcond=1e-9)[:2, :2]
        # Along a line that people do not leave, the slope across is not known.
        values, vectors = np.linalg.eigh(normal[:2, :2])
        covariance += (vectors * np.where(values < 1.0, 1.0, 0.0)) @ vectors.T
        return -slope[:2], covariance + np.eye(2) * np.radians(_FEET_LIMIT_DEG) ** 2, spread

    def _two_levels(self) -> np.ndarray | None:
        """(K,) 0 or 1 for each foot, where two levels are clear of each other."""
        return _split_levels(self._heights, self._stature)


def _level(bodies: Bodies, up: np.ndarray, stature: float) -> tuple[float, float, list[str]]:
    """Height of the floor along up, the robust deviation of the feet from it, and what is unusual."""
    heights = lower_ankles(bodies, up) @ up
    levels, notes = _split_levels(heights, stature), []
    if levels is not None:
        low, high = heights[levels == 0], heights[levels == 1]
        gap = float(np.median(high) - np.median(low)) / stature
        share = len(high) / len(heights)
        notes = [
            f"feet stand on two levels, {100 * gap:.0f} % of a person's height apart ({100 * share:.0f} % of "
            "them on the upper one): the ground is the lower level"
        ]
        heights = low
    height = float(np.median(heights))
    spread = 1.48 * float(np.median(np.abs(heights - height)))
    return height - ANKLE_SHARE * stature, spread, notes


def _split_levels(heights: np.ndarray, stature: float) -> np.ndarray | None:
    """(K,) 0 or 1 for each height, where a gap without feet divides them; None for one level."""
    order = np.sort(heights)
    least = max(3, round(_LEVEL_FEET * len(order)))
    if len(order) < 2 * least:
        return None
    gaps = np.diff(order)[least - 1 : len(order) - least]
    widest = int(gaps.argmax())
    low, high = order[: least + widest], order[least + widest :]
    apart = float(np.median(high) - np.median(low))
    inner = 1.48 * max(float(np.median(np.abs(part - np.median(part)))) for part in (low, high))
    if apart < max(_LEVEL_SHARE * stature, 6.0 * inner) or gaps[widest] < 0.3 * apart:
        return None
    return (heights > (low[-1] + high[0]) / 2).astype(int)


def lower_ankles(bodies: Bodies, up: np.ndarray) -> np.ndarray:
    """(K', 3) of each standing pose the ankle that is lower."""
    ankles = bodies.ankles[bodies.standing]
    lower = (ankles @ up).argmin(axis=1)
    return ankles[np.arange(len(ankles)), lower]


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


def _across(up: np.ndarray) -> np.ndarray:
    """(2, 3) two unit vectors at right angles to up and to each other."""
    helper = np.eye(3)[np.abs(up).argmin()]
    first = np.cross(up, helper)
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(up, first)])
