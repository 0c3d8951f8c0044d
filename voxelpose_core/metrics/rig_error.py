"""How far an estimated rig is from the true one, when only the cameras' relation counts.

Worlds are free: the estimated rig is first moved as a whole onto the true one (Umeyama 1991), by what its
pairs of cameras triangulate.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from voxelpose_core.geometry.rays import closest_approach
from voxelpose_core.geometry.rig import Rig


@dataclass(frozen=True, eq=False)
class RigError:
    """Errors after one rigid alignment (or similarity) of the estimated rig.

    Attributes:
        pair_mm: median 3D error of the points that each pair of cameras triangulates from true pixels, mm.
        degrees: (V,) rotation errors of the cameras.
        mm: (V,) errors of their centres.
        scale: by which the estimated rig was multiplied; 1 for a rigid alignment.
    """

    pair_mm: float
    degrees: np.ndarray
    mm: np.ndarray
    scale: float


def rig_error(rig: Rig, true_rig: Rig, joints: np.ndarray, similarity: bool = False) -> RigError:
    """Errors of `rig`, from true joints (N, 3) in mm that its cameras see.

    Args:
        rig: estimated; cameras in the order of the true rig.
        true_rig: the truth.
        joints: (N, 3) points where people were, mm.
        similarity: the scale is free as well.
    """
    seen = np.stack([camera.sees(joints) for camera in true_rig.cameras])
    rays = [
        own.ray_directions(camera.project(joints)[0])
        for own, camera in zip(rig.cameras, true_rig.cameras, strict=True)
    ]
    found, truth = [], []
    for a, b in itertools.combinations(range(len(rig)), 2):
        middle, gap = closest_approach(rig.cameras[a].C, rays[a], rig.cameras[b].C, rays[b])
        good = seen[a] & seen[b] & np.isfinite(gap)
        found.append(middle[good])
        truth.append(joints[good])
    source, target = np.concatenate(found), np.concatenate(truth)
    # Rays that are nearly parallel meet anywhere: the second fit is of the better nine tenths.
    scale, turn, shift = umeyama(source, target, similarity)
    errors = np.linalg.norm(scale * source @ turn.T + shift - target, axis=1)
    good = errors <= np.quantile(errors, 0.9)
    scale, turn, shift = umeyama(source[good], target[good], similarity)
    errors = np.linalg.norm(scale * source @ turn.T + shift - target, axis=1)
    degrees = [
        np.degrees(Rotation.from_matrix(own.R @ turn.T @ camera.R.T).magnitude())
        for own, camera in zip(rig.cameras, true_rig.cameras, strict=True)
    ]
    mm = [
        np.linalg.norm(scale * turn @ own.C + shift - camera.C)
        for own, camera in zip(rig.cameras, true_rig.cameras, strict=True)
    ]
    return RigError(float(np.median(errors)), np.array(degrees), np.array(mm), scale)


def umeyama(source: np.ndarray, target: np.ndarray, similarity: bool) -> tuple[float, np.ndarray, np.ndarray]:
    """Scale s, rotation R (3, 3), shift t (3,) with target ~ s R source + t, least squares; (N, 3) each.

    S. Umeyama, "Least-squares estimation of transformation parameters between two point patterns", 1991.
    """
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    a, b = source - source_mean, target - target_mean
    u, values, vt = np.linalg.svd(b.T @ a)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    turn = u * sign @ vt
    scale = float((values * sign).sum() / max((a**2).sum(), 1e-12)) if similarity else 1.0
    return scale, turn, target_mean - scale * turn @ source_mean
