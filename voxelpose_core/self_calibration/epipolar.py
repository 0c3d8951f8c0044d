"""How far people in two views are from being one person: Sampson distances of all at once.

Shapes: T times, P people of one view and Q of another (padded), J joints.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from voxelpose_core.association import image_sizes, masked_median
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.self_calibration.observed_rays import LEAST_SCORE, lens_rays
from voxelpose_core.self_calibration.tracks_2d import Track2D

# With fewer joints in common nothing is decided.
MIN_JOINTS = 5
# Distance, as a share of people's size, of rays that meet behind a camera.
BEHIND_SHARE = 1.0


@dataclass(frozen=True, eq=False)
class ViewOverTime:
    """The people of one camera at given times.

    Attributes:
        center: (3,) of the camera, mm.
        tracks: (T, P) number of the track; -1 where there is nobody.
        rays: (T, P, J, 3) unit vectors in the world.
        used: (T, P, J) bool.
        sizes: (T, P) longer side of the person's box as an angle, rad.
    """

    center: np.ndarray
    tracks: np.ndarray
    rays: np.ndarray
    used: np.ndarray
    sizes: np.ndarray

    def at(self, index: np.ndarray) -> ViewOverTime:
        """The same at other times: those of `index` (N,)."""
        return ViewOverTime(
            self.center, self.tracks[index], self.rays[index], self.used[index], self.sizes[index]
        )


def view_over_time(
    camera: Camera, tracks: list[Track2D], times: np.ndarray, joints: int, least_score: float = LEAST_SCORE
) -> ViewOverTime:
    """The people of a camera at `times` (T,) of its own clock."""
    there = [np.flatnonzero((times >= t.times[0] - 1e-6) & (times <= t.times[-1] + 1e-6)) for t in tracks]
    filled = np.zeros(len(times), int)
    slots = []
    for index in there:
        # The first free place at each time; people come and go, and places are used again.
        slots.append(filled[index].copy())
        filled[index] += 1
    most = max(int(filled.max(initial=0)), 1)
    shape = (len(times), most)
    numbers = np.full(shape, -1)
    pixels, used = np.zeros((*shape, joints, 2)), np.zeros((*shape, joints), bool)
    for number, (track, index, slot) in enumerate(zip(tracks, there, slots, strict=True)):
        own, _, scores = track.at(times[index])
        numbers[index, slot] = number
        pixels[index, slot], used[index, slot] = own, scores >= least_score
    rays, metric = np.zeros((*used.shape, 3)), np.zeros((*used.shape, 2, 3))
    directions, own_metric, good = lens_rays(camera, pixels[used])
    rays[used], metric[used] = directions @ camera.R, own_metric
    per_radian = np.linalg.norm(metric, axis=(-2, -1)) / 2**0.5
    mean = per_radian.sum(axis=-1) / np.maximum(used.sum(axis=-1), 1)
    sizes = image_sizes(pixels.reshape(-1, joints, 2), used.reshape(-1, joints)).reshape(shape)
    used[used] = good
    return ViewOverTime(camera.C, numbers, rays, used, sizes / np.maximum(mean, 1.0))


def sampson_shares(a: ViewOverTime, b: ViewOverTime) -> np.ndarray:
    """Sampson distances of people of two views as shares of their size, signed.

    The first-order distance of two rays from meeting (Hartley and Zisserman, section 11.4), with the errors
    of each view in units of the person's size there.

    Returns:
        (T, P, Q, J); NaN where a joint is not seen by both, `BEHIND_SHARE` where rays meet behind a camera.
    """
    baseline = b.center - a.center
    baseline = baseline / max(float(np.linalg.norm(baseline)), 1e-9)
    normal_a, normal_b = np.cross(baseline, a.rays), np.cross(b.rays, baseline)
    rays_a, rays_b = a.rays[:, :, None], b.rays[:, None]
    triple = np.einsum("tpjc,tqjc->tpqj", normal_a, b.rays)
    # By how much the triple product changes as each ray turns.
    slope_a = (normal_b**2).sum(axis=-1)[:, None] - triple**2
    slope_b = (normal_a**2).sum(axis=-1)[:, :, None] - triple**2
    variance = slope_a * a.sizes[:, :, None, None] ** 2 + slope_b * b.sizes[:, None, :, None] ** 2
    shares = triple / np.sqrt(np.maximum(variance, 1e-12))
    cosine = (rays_a * rays_b).sum(axis=-1)
    along_a, along_b = (rays_a @ baseline), (rays_b @ baseline)
    behind = (along_a < cosine * along_b) | (cosine * along_a < along_b)
    shares = np.where(behind & (np.abs(shares) < BEHIND_SHARE), BEHIND_SHARE, shares)
    return np.where(a.used[:, :, None] & b.used[:, None], shares, np.nan)


def median_shares(shares: np.ndarray) -> np.ndarray:
    """(T, P, Q) medians of the distances' sizes over the joints; infinite where too few are common."""
    common = np.isfinite(shares)
    median = masked_median(np.abs(np.where(common, shares, 0.0)), common)
    return np.where(common.sum(axis=-1) >= MIN_JOINTS, median, np.inf)
