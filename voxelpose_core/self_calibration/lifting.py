"""People's places in front of one camera, without knowing where the camera is.

People are mostly upright and of similar height. From the rays of their joints alone follow the vertical
direction in the camera's frame and, as heights above the floor are known as shares of the stature, where
they stand. This is accurate to some five per cent of the distance: too little for a calibration, enough to
find out which tracks of two cameras show one person, and from where the cameras look.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from voxelpose_core.geometry.camera import Camera
from voxelpose_core.self_calibration.tracks_2d import Track2D
from voxelpose_core.skeletons import JointSet

# Heights of joints above the floor as shares of the stature (Drillis and Contini, 1966).
_HEIGHTS = {
    "nose": 0.913,
    "eye": 0.935,
    "ear": 0.935,
    "head_top": 1.0,
    "head_bottom": 0.85,
    "neck": 0.83,
    "shoulder": 0.818,
    "hip": 0.53,
    "mid_hip": 0.53,
    "knee": 0.285,
    "ankle": 0.039,
}
# What counts as one height: a person is lifted where joints of two heights are seen.
_LEVEL = 0.2
# Angles of bodies from the vertical, radians, beyond which weights fall (Cauchy).
_LEAN = 0.08
# Pitches of the camera that are tried, and how far cameras usually are from level, radians.
_PITCHES = np.radians(np.arange(-80.0, 81.0, 5.0))
_LEVEL_RAD = 0.35
# Deviation of joints from bodies of the usual proportions, as a share of the size; how many independent
# people count against the guess that the camera is level, and on how many the proportions are tried.
_PROPORTION, _INDEPENDENT, _SOME = 0.03, 2.0, 40
# How much planes must differ to say more of the vertical than the pitch that was tried, radians squared.
_NEAR_ROUGH = 3e-2
# How far joints are from the vertical line through the person, as a share of the stature: beyond, weights
# fall (Cauchy).
_OFF_LINE = 0.06
_ROUNDS = 6
# Places are smoothed over so many seconds before and after: detectors' errors last, people go on.
_SMOOTH_S = 0.3
# Bodies closer than this share of their stature are not lifted correctly.
_LEAST_DISTANCE = 0.3


@dataclass(frozen=True, eq=False)
class LiftedCamera:
    """A camera's tracks, lifted.

    Attributes:
        upright: (3, 3) rotation from the camera's frame to one with z up, x as the camera's right.
        times: per track (N,) seconds on the camera's own clock.
        places: per track (N, 3) in the upright frame, mm: the camera is at the origin, z is the height of
            the floor below it; NaN where too few joints were seen.
        lean_degrees: typical angle between bodies and the vertical, degrees.
        stature_mm: that was assumed.
    """

    upright: np.ndarray
    times: tuple[np.ndarray, ...]
    places: tuple[np.ndarray, ...]
    lean_degrees: float
    stature_mm: float

    def at(self, times: np.ndarray, longest_gap: float) -> np.ndarray:
        """(K, M, 3) places of the M tracks at times (K,); NaN where a track is not seen."""
        found = np.full((len(times), len(self.times), 3), np.nan)
        for index, (own, places) in enumerate(zip(self.times, self.places, strict=True)):
            inside = np.flatnonzero((times >= own[0] - 1e-6) & (times <= own[-1] + 1e-6))
            if not len(inside):
                continue
            at = times[inside]
            after = np.clip(np.searchsorted(own, at), 0, len(own) - 1)
            before = np.where(own[after] > at, np.maximum(after - 1, 0), after)
            gap = own[after] - own[before]
            share = np.where(gap > 0, (at - own[before]) / np.where(gap > 0, gap, 1.0), 0.0)[:, None]
            between = (1 - share) * places[before] + share * places[after]
            found[inside, index] = np.where(gap[:, None] <= longest_gap, between, np.nan)
        return found


def lift(camera: Camera, tracks: Sequence[Track2D], joint_set: JointSet, stature_mm: float) -> LiftedCamera:
    """The places of a camera's tracks.

    Args:
        camera: of it only the lens is used.
        tracks: of this camera.
        joint_set: of the tracks.
        stature_mm: of the people.
    """
    if not tracks:
        return LiftedCamera(_upright(np.array([0.0, -1.0, 0.0])), (), (), 90.0, stature_mm)
    pixels = np.concatenate([track.pixels for track in tracks])
    scores = np.concatenate([track.scores for track in tracks])
    rays, used, heights = _middles(bearings(camera, pixels), scores > 0, joint_set)
    up, angle = _vertical(rays, used, heights)
    places = _places(rays, used, heights, up)
    upright = _upright(up)
    places = places @ upright.T * stature_mm
    bounds = np.cumsum([0, *map(len, tracks)])
    split = [places[start:end] for start, end in zip(bounds[:-1], bounds[1:], strict=True)]
    times = tuple(track.times for track in tracks)
    smooth = tuple(_smoothed(own, place) for own, place in zip(times, split, strict=True))
    return LiftedCamera(upright, times, smooth, float(np.degrees(angle)), stature_mm)


def bearings(camera: Camera, pixels: np.ndarray) -> np.ndarray:
    """(..., 3) unit directions in the camera's own frame of the rays through pixels (..., 2)."""
    points = camera.undistort(pixels.reshape(-1, 2))
    rays = np.column_stack([points, np.ones(len(points))])
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    return rays.reshape(*pixels.shape[:-1], 3)


def _middles(
    rays: np.ndarray, used: np.ndarray, joint_set: JointSet
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Middles of left and right joints, which lie above each other in a person who stands.

    Args:
        rays: (N, J, 3) unit directions.
        used: (N, J) bool.
        joint_set: of the joints.

    Returns:
        rays (N, L, 3), whether they are seen (N, L), and their heights (L,) above the floor per stature.
    """
    middles, seen, heights = [], [], []
    for index, name in enumerate(joint_set.joint_names):
        partner = joint_set.mirror[index]
        height = _HEIGHTS.get(name.removeprefix("left_").removeprefix("right_"))
        if height is None or partner < index:
            continue
        middle = rays[:, index] + rays[:, partner]
        middles.append(middle / np.maximum(np.linalg.norm(middle, axis=-1, keepdims=True), 1e-9))
        seen.append(used[:, index] & used[:, partner])
        heights.append(height)
    return np.stack(middles, axis=1), np.stack(seen, axis=1), np.array(heights)


def _vertical(rays: np.ndarray, used: np.ndarray, heights: np.ndarray) -> tuple[np.ndarray, float]:
    """Up (3,) in the camera's frame, and the typical angle of bodies from it, radians.

    The camera and a standing person span a vertical plane. What is common to all these planes is the
    vertical direction.
    """
    up = np.array([0.0, -1.0, 0.0])
    spans = _spans(used, heights)
    if not spans.any():
        return up, np.pi / 2
    moments = np.einsum("nl,nla,nlb->nab", used[spans].astype(float), rays[spans], rays[spans])
    normals = np.linalg.eigh(moments)[1][:, :, 0]
    weights = np.ones(len(normals))
    spread = np.einsum("na,nb->ab", normals, normals) / len(normals)
    rough = _rough_vertical(spread, rays[spans], used[spans], heights)
    for _ in range(_ROUNDS):
        spread = np.einsum("n,na,nb->ab", weights, normals, normals) / weights.sum()
        up = np.linalg.eigh(spread + _NEAR_ROUGH * (np.eye(3) - np.outer(rough, rough)))[1][:, 0]
        up = up if up @ rough > 0 else -up
        weights = 1.0 / (1.0 + ((normals @ up) / _LEAN) ** 2)
    # Heads are above feet.
    tall = heights * used[spans]
    upward = np.einsum("nl,nla->na", tall - used[spans] * _mean(heights, used[spans])[:, None], rays[spans])
    up = up if (upward @ up).sum() > 0 else -up
    return up, float(np.median(np.abs(normals @ up)))


def _rough_vertical(
    spread: np.ndarray, rays: np.ndarray, used: np.ndarray, heights: np.ndarray
) -> np.ndarray:
    """Up (3,) by all that tells, where the planes alone may leave the camera's pitch open.

    Of people who hardly move all planes are nearly one. Then the proportions of their bodies in the image and
    the guess that cameras are held level decide.

    Args:
        spread: (3, 3) mean outer product of the planes' normals.
        rays, used, heights: of N people with L heights.
    """
    level = np.array([0.0, -1.0, 0.0])
    normal = np.linalg.eigh(spread)[1][:, 2]
    first = level - normal * (normal @ level)
    first /= max(float(np.linalg.norm(first)), 1e-9)
    second = np.cross(normal, first)
    some = np.linspace(0, len(rays) - 1, min(len(rays), _SOME)).round().astype(int)
    best, least = first, np.inf
    for pitch in _PITCHES:
        up = np.cos(pitch) * first + np.sin(pitch) * second
        cost = _INDEPENDENT * (up @ spread @ up / _LEAN**2 + _misfit(rays[some], used[some], heights, up))
        cost += (np.arccos(np.clip(up @ level, -1.0, 1.0)) / _LEVEL_RAD) ** 2
        if cost < least:
            best, least = up, cost
    return best


def _misfit(rays: np.ndarray, used: np.ndarray, heights: np.ndarray, up: np.ndarray) -> float:
    """How badly bodies of the usual proportions fit the rays (N, L, 3) with that vertical, in variances."""
    places = _places(rays, used, heights, up)
    points = places[:, None] + heights[:, None] * up
    distances = np.maximum(np.linalg.norm(points, axis=-1, keepdims=True), 1e-9)
    sine = np.linalg.norm(np.cross(points / distances, rays), axis=-1)
    highest = np.where(used, heights, -np.inf).argmax(axis=1)
    lowest = np.where(used, heights, np.inf).argmin(axis=1)
    index = np.arange(len(rays))
    size = np.linalg.norm(rays[index, highest] - rays[index, lowest], axis=-1)
    shares = (sine * used).sum(axis=1) / np.maximum(used.sum(axis=1), 1) / np.maximum(size, 1e-6)
    shares = np.where(np.isfinite(shares), shares, 1.0)
    return float(np.median(np.minimum(shares / _PROPORTION, 10.0) ** 2))


def _places(rays: np.ndarray, used: np.ndarray, heights: np.ndarray, up: np.ndarray) -> np.ndarray:
    """(N, 3) where people's feet are, per stature; NaN where too little is seen.

    A joint at height h of a person at place p lies on its ray r: r x (p + h u) = 0, which is linear in p.
    """
    across = np.eye(3) - rays[..., :, None] * rays[..., None, :]  # (N, L, 3, 3)
    weights = used.astype(np.float64)
    places: np.ndarray = np.zeros((len(rays), 3))
    for _ in range(_ROUNDS):
        system = np.einsum("nl,nlab->nab", weights, across) + 1e-9 * np.eye(3)
        target = -np.einsum("nl,l,nlab,b->na", weights, heights, across, up)
        places = np.linalg.solve(system, target[..., None])[..., 0]
        points = places[:, None] + heights[:, None] * up
        off = np.linalg.norm(np.einsum("nlab,nlb->nla", across, points), axis=-1)
        weights = used / (1.0 + (off / _OFF_LINE) ** 2)
    middle = places + 0.5 * up
    ahead = np.einsum("na,nla,nl->n", middle, rays, used.astype(float)) > 0
    good = _spans(used, heights) & ahead & (np.linalg.norm(middle, axis=1) > _LEAST_DISTANCE)
    return np.where(good[:, None], places, np.nan)


def _spans(used: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """(N,) bool: joints at two heights are seen that are far enough from each other."""
    high = np.where(used, heights, -np.inf).max(axis=1)
    low = np.where(used, heights, np.inf).min(axis=1)
    return high - low >= _LEVEL


def _mean(heights: np.ndarray, used: np.ndarray) -> np.ndarray:
    """(N,) mean height of the joints that are seen."""
    return (heights * used).sum(axis=1) / np.maximum(used.sum(axis=1), 1)


def _upright(up: np.ndarray) -> np.ndarray:
    """(3, 3) rotation that takes `up` (3,) to z and keeps the camera's right as far as it can."""
    right = np.array([1.0, 0.0, 0.0]) if abs(up[0]) < 0.9 else np.array([0.0, 1.0, 0.0])
    right = right - up * (up @ right)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(up, right), up])


def _smoothed(times: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Places (N, 3), each the weighted mean of those within `_SMOOTH_S`, in logarithmic distance."""
    near = np.abs(times[:, None] - times) <= _SMOOTH_S
    there = np.isfinite(places[:, 0])
    weights = (near & there).astype(np.float64)
    total = weights.sum(axis=1, keepdims=True)
    mean = weights @ np.nan_to_num(places) / np.maximum(total, 1.0)
    return np.where(there[:, None] & (total > 0), mean, np.nan)
