"""Whether people moved enough for a recording to tell something, and the line that says that they did not.

A recording tells different things by different movements, so there is one measure and three limits:

- How cameras stand to each other (`refine`, `from_people`): people must have been all over what the cameras
  see. The positions of all people count together, in three places or more.
- Time offsets and small errors of a calibration (`diagnosis`): people must move. Each person counts from
  their own middle, because people who stand still repeat the same errors. Two seconds of walking are enough.
- Which way is up (`floor`): people must stand in different postures. Three places are enough; they are told
  apart by people's height, because poses alone do not say where the cameras are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from voxelpose_core.geometry.camera import Camera
from voxelpose_core.self_calibration.bodies import Bodies
from voxelpose_core.self_calibration.epipolar import MIN_JOINTS

# Spread of all positions: two people who stand far apart have it, too, but not the places.
_COVERED_SPREAD = 0.1
# Spread of each person's own positions: standing still is 0.01, walking for two seconds 0.04.
_OWN_SPREAD = 0.02
# Fewer places repeat one posture: it was 5 degrees off up, and all of its poses agreed. Three people who
# stand in three places set a rig right nearly as well as one who walks.
_LEAST_PLACES = 3
# Positions this far apart, as a share of the distance from the cameras, are two places.
_PLACE_SHARE = 0.05
_REMEDY = "let a person walk to and fro for twenty seconds"


def hardly_move(measured: str, expected: str, consequence: str = "") -> str:
    """The line for a recording in which people move too little."""
    return f"people hardly move: {measured}, expected at least {expected}: {consequence}{_REMEDY}"


def uncovered(joints: np.ndarray, cameras: Sequence[Camera]) -> str:
    """'', or the line for people who were in too few places to tell how cameras stand to each other.

    Args:
        joints: (K, J, 3) of K poses in the world of the cameras, NaN where not known.
        cameras: V cameras.
    """
    positions = _middles(joints)
    spread = spread_of(positions, cameras)
    places = place_count(positions, _PLACE_SHARE * _distance(positions, cameras)) if len(positions) else 0
    if spread >= _COVERED_SPREAD and places >= _LEAST_PLACES:
        return ""
    return hardly_move(
        f"they were in {_places(places)}, spread over {100 * spread:.0f} % of the distance from the cameras",
        f"{_LEAST_PLACES} places and {100 * _COVERED_SPREAD:.0f} %",
    )


def too_narrow(spread: float) -> str:
    """'', or the line for a spread (`spread_of`) that cannot tell how cameras stand to each other."""
    if spread >= _COVERED_SPREAD:
        return ""
    return hardly_move(
        f"they spread over {100 * spread:.0f} % of the distance from the cameras",
        f"{100 * _COVERED_SPREAD:.0f} %",
    )


def spread_of(positions: np.ndarray, cameras: Sequence[Camera], people: np.ndarray | None = None) -> float:
    """Deviation (rms) of positions as a share of their median distance from the cameras; 0: fewer than two.

    Args:
        positions: (K, 3), of people in the world of the cameras.
        cameras: V cameras.
        people: (K,) number of the person: each person's deviation is that from their own middle.
    """
    if len(positions) < 2:
        return 0.0
    groups = [positions] if people is None else [positions[people == person] for person in set(people)]
    squares = [((own - own.mean(axis=0)) ** 2).sum(axis=1) for own in groups]
    return float(np.sqrt(np.concatenate(squares).mean())) / _distance(positions, cameras)


def stand_still(bodies: Bodies, cameras: Sequence[Camera]) -> str:
    """'', or the line for people who move too little to tell time offsets and small calibration errors."""
    known = np.isfinite(bodies.hips).all(axis=-1)
    spread = spread_of(bodies.hips[known], cameras, bodies.people[known])
    if spread >= _OWN_SPREAD:
        return ""
    return hardly_move(
        f"each spreads over {100 * spread:.0f} % of the distance from the cameras",
        f"{100 * _OWN_SPREAD:.0f} %",
        "time offsets, focal lengths and small errors of the calibration do not show; ",
    )


def place_count(positions: np.ndarray, apart: float) -> int:
    """How many of positions (K, 3), taken in turn, are at least so far from all that were counted before."""
    places = positions[:1]
    for position in positions[1:]:
        if (np.linalg.norm(places - position, axis=1) > apart).all():
            places = np.concatenate([places, position[None]])
    return len(places)


def few_places(positions: np.ndarray, apart: float) -> str:
    """'', or the line for people who stand in too few places, so far apart, to tell which way is up."""
    count = place_count(positions, apart)
    if count >= _LEAST_PLACES:
        return ""
    return hardly_move(f"they stand in {_places(count)}", str(_LEAST_PLACES))


def _places(count: int) -> str:
    return f"{count} place{'s' * (count != 1)}"


def _middles(joints: np.ndarray) -> np.ndarray:
    """(K', 3) the middle of each pose of which enough joints are known."""
    known = np.isfinite(joints).all(axis=-1).sum(axis=1) >= MIN_JOINTS
    return np.nanmedian(joints[known], axis=1) if known.any() else np.zeros((0, 3))


def _distance(positions: np.ndarray, cameras: Sequence[Camera]) -> float:
    centers = np.stack([camera.C for camera in cameras])
    return float(np.median(np.linalg.norm(positions[:, None] - centers, axis=-1)))
