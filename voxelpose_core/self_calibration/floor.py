"""Up and floor, from how people stand and where their feet are.

Bodies say which way is up; the plane of their feet, where that is one floor, says it more exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from voxelpose_core.errors import InputError
from voxelpose_core.self_calibration.bodies import ANKLE_SHARE, Bodies
from voxelpose_core.self_calibration.movement import few_places

# Fewer standing poses do not tell where up is.
_LEAST_POSES = 12
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
# Up that is less certain is no answer, degrees.
_LEAST_SURE_DEG = 4.0
_ROUNDS = 15


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
    if reason := few_places(hips, apart):
        raise InputError(reason)
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


def _across(up: np.ndarray) -> np.ndarray:
    """(2, 3) two unit vectors at right angles to up and to each other."""
    helper = np.eye(3)[np.abs(up).argmin()]
    first = np.cross(up, helper)
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(up, first)])
