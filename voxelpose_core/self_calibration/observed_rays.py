"""2D detections of any lens as rays with a metric in pixels, and triangulation of many joints at once.

A bundle adjustment would have to differentiate every lens model. Instead each detection is undistorted once
to a ray, and the lens is linearized there: two tangents of the unit sphere at the ray, and how many pixels a
step along them is. Near a detection, where a fit ends, this is the reprojection error in pixels.

Shapes: K poses, V views, J joints.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from voxelpose_core.association import image_sizes
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.rays import nearest_point_equations
from voxelpose_core.self_calibration.observations import SharedPoses

# Keypoints with a lower score lie anywhere.
LEAST_SCORE = 0.2
# Step along the tangents for the numerical derivative of the lens.
_STEP = 1e-5
# Where undistorting and projecting do not lead back, the lens model does not hold, px.
_ROUND_TRIP_PX = 0.5
# Rays this close to the image plane have no depth to divide by.
_LEAST_FORWARD = 0.03
# Persons smaller than this are no longer resolved, px.
_LEAST_SIZE_PX = 10.0
# Of the sum of projectors off the rays: two rays that meet at an angle of 2.5 degrees.
_LEAST_EIGENVALUE = 1e-3


@dataclass(frozen=True, eq=False)
class ObservedRays:
    """The detections of K poses in V cameras, whatever the cameras' poses.

    Attributes:
        directions: (K, V, J, 3) unit vectors in the cameras' frames.
        metric: (K, V, J, 2, 3) pixels: times a direction near the observed one, both of length 1, it is
            the difference of the two in the image.
        used: (K, V, J) bool.
        sizes: (K, V) longer side of the person's box, px; 1 where the camera does not see the person.
        velocities: (K, V, J, 2) px/s.
    """

    directions: np.ndarray
    metric: np.ndarray
    used: np.ndarray
    sizes: np.ndarray
    velocities: np.ndarray

    def select(self, index: np.ndarray) -> ObservedRays:
        """Only the poses of `index`, as numpy takes it for the first axis."""
        return ObservedRays(*(getattr(self, field.name)[index] for field in dataclasses.fields(self)))


def observe(cameras: Sequence[Camera], poses: SharedPoses, least_score: float = LEAST_SCORE) -> ObservedRays:
    """The rays of the detections of `poses` through the lenses of `cameras` (V)."""
    used = poses.scores >= max(least_score, 1e-6)
    sizes = image_sizes(poses.pixels, used)
    used &= (sizes >= _LEAST_SIZE_PX)[..., None]
    shape = used.shape
    directions, metric = np.zeros((*shape, 3)), np.zeros((*shape, 2, 3))
    directions[..., 2] = 1.0
    for view, camera in enumerate(cameras):
        mask = used[:, view]
        pixels = poses.pixels[:, view][mask]
        rays, own_metric, good = lens_rays(camera, pixels)
        directions[:, view][mask] = rays
        metric[:, view][mask] = own_metric
        used[:, view][mask] = good
    velocities = np.where(used[..., None], poses.velocities, 0.0)
    return ObservedRays(directions, metric, used, np.maximum(sizes, 1.0), velocities)


def lens_rays(camera: Camera, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels (N, 2) as `ObservedRays` has them: directions (N, 3), metric (N, 2, 3), used (N,)."""
    unposed = dataclasses.replace(camera, R=np.eye(3), C=np.zeros(3))
    rays = np.column_stack([camera.undistort(pixels), np.ones(len(pixels))])
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    helper = np.where(np.abs(rays[:, :1]) < 0.6, [[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]])
    first = np.cross(rays, helper)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    tangents = np.stack([first, np.cross(rays, first)], axis=1)
    here = unposed.project(rays)[0]
    steps = np.stack(
        [(unposed.project(rays + _STEP * tangents[:, i])[0] - here) / _STEP for i in range(2)], axis=-1
    )
    good = (np.linalg.norm(here - pixels, axis=1) < _ROUND_TRIP_PX) & (rays[:, 2] > _LEAST_FORWARD)
    good &= unposed.lens_radius(rays) < camera.valid_radius
    return rays, steps @ tangents, good


def triangulate_rays(
    rays: ObservedRays, rotations: np.ndarray, centers: np.ndarray, share: float, rounds: int = 4
) -> tuple[np.ndarray, np.ndarray]:
    """Points nearest to the rays of two views or more, reweighted so that single wrong views do not count.

    Least squares of the distances from the rays (midpoint method), weighted by one over the squared depth
    and by Cauchy's function of the error in the image.

    Args:
        rays: of K poses in V cameras.
        rotations: (V, 3, 3) world to camera.
        centers: (V, 3) mm.
        share: deviation of the detections as a share of the person's size in the image.
        rounds: of reweighting.

    Returns:
        (K, J, 3) mm, and (K, J) bool where they mean something: seen by two or more, rays not parallel,
        in front of all cameras that see them.
    """
    directions = rays.directions @ rotations
    by_joint = directions.swapaxes(1, 2)
    middle = centers.mean(axis=0)
    origins = centers - middle
    weights = rays.used.astype(float)
    points = np.zeros((*rays.used[:, 0].shape, 3))
    for step in range(rounds):
        system, right = nearest_point_equations(origins, by_joint, weights.swapaxes(1, 2))
        if step == 0:
            least = np.linalg.eigvalsh(system)[..., 0]
        trace = np.trace(system, axis1=-2, axis2=-1)[..., None, None]
        points = np.linalg.solve(system + (1e-9 * trace + 1e-12) * np.eye(3), right[..., None])[..., 0]
        if step + 1 < rounds:
            errors, depths = image_errors(rays, rotations, centers, points + middle)
            error = np.linalg.norm(errors, axis=-1) / (share * rays.sizes[..., None])
            weights = rays.used / (1.0 + error**2 / 4.0) / np.maximum(depths, 100.0) ** 2 * 1e6
    local = points[:, None] - origins[:, None]
    ahead = (np.einsum("kvjc,kvjc->kvj", local, directions) > 0) | ~rays.used
    good = (rays.used.sum(axis=1) >= 2) & (least > _LEAST_EIGENVALUE) & ahead.all(axis=1)
    return points + middle, good


def image_errors(
    rays: ObservedRays, rotations: np.ndarray, centers: np.ndarray, points: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where points (K, J, 3) appear minus where they were detected.

    Returns:
        (K, V, J, 2) px, linearized at the detections; for points far off, the stereographic projection,
        which grows up to the opposite direction. And the distances (K, V, J) from the cameras, mm.
    """
    local = (points[:, None] - centers[:, None]) @ rotations.swapaxes(-1, -2)
    distance = np.linalg.norm(local, axis=-1)
    forward = np.einsum("kvja,kvja->kvj", rays.directions, local)
    scale = 2.0 / np.maximum(distance + forward, 1e-6 * distance + 1e-9)
    return (rays.metric @ local[..., None])[..., 0] * scale[..., None], distance
