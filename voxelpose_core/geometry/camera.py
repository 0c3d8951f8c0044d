"""One calibrated camera: intrinsics, distortion, pose, and what it sees."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from voxelpose_core.errors import InputError


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole camera with OpenCV's 5-parameter distortion.

    A world point X (mm) lies at x = R (X - C) in the camera's optical frame: x right, y down,
    z forward. Pixel (0, 0) is the centre of the top left pixel, as in OpenCV.

    Attributes:
        name: the camera's name in its rig.
        image_size: (width, height) in pixels.
        K: (3, 3) intrinsic matrix, pixels.
        distortion: (5,) k1, k2, p1, p2, k3.
        R: (3, 3) rotation from world to camera.
        C: (3,) camera centre in the world, mm.

    Raises:
        InputError: naming the camera and the value, when a value is not finite, an image size or
            a focal length is not positive, or R is not a rotation.
    """

    name: str
    image_size: tuple[int, int]
    K: np.ndarray
    distortion: np.ndarray
    R: np.ndarray
    C: np.ndarray

    def __post_init__(self):
        for field, shape in (("K", (3, 3)), ("distortion", (5,)), ("R", (3, 3)), ("C", (3,))):
            object.__setattr__(self, field, self._array(field, shape))
        width, height = (int(v) for v in self.image_size)
        object.__setattr__(self, "image_size", (width, height))
        if width <= 0 or height <= 0:
            raise InputError(
                f"camera '{self.name}': image size is {width}x{height}, expected positive pixels"
            )
        if self.K[0, 0] <= 0 or self.K[1, 1] <= 0:
            raise InputError(
                f"camera '{self.name}': focal lengths are {self.K[0, 0]:g}, {self.K[1, 1]:g}, "
                "expected positive pixels"
            )
        error = np.abs(self.R @ self.R.T - np.eye(3)).max()
        if error > 1e-3 or np.linalg.det(self.R) < 0:
            raise InputError(
                f"camera '{self.name}': R is not a rotation (|R R^T - I| = {error:.2g}, "
                f"det = {np.linalg.det(self.R):.3f}), expected an orthonormal matrix, det 1"
            )

    def _array(self, field: str, shape: tuple[int, ...]) -> np.ndarray:
        try:
            value = np.array(getattr(self, field), dtype=np.float64).reshape(shape)
        except (TypeError, ValueError):
            raise InputError(
                f"camera '{self.name}': {field} cannot be read, expected "
                f"{int(np.prod(shape))} numbers"
            ) from None
        if not np.isfinite(value).all():
            raise InputError(
                f"camera '{self.name}': {field} has a value that is not finite, expected numbers"
            )
        value.setflags(write=False)
        return value

    @property
    def t(self) -> np.ndarray:
        """(3,) translation of the world-to-camera transform x = R X + t, mm."""
        return -self.R @ self.C

    @property
    def projection_matrix(self) -> np.ndarray:
        """(3, 4) matrix from homogeneous world mm to undistorted homogeneous pixels."""
        return self.K @ np.hstack([self.R, self.t[:, None]])

    @cached_property
    def valid_radius(self) -> float:
        """Largest normalized radius r = |(x, y)| / z at which the distortion still grows.

        Past the first zero of d/dr [r (1 + k1 r^2 + k2 r^4 + k3 r^6)] the polynomial folds back
        and far-off points would land inside the image. Infinite where there is no such zero.
        """
        k1, k2, _, _, k3 = self.distortion
        roots = np.roots([7 * k3, 5 * k2, 3 * k1, 1.0])
        squares = [r.real for r in roots if abs(r.imag) < 1e-9 and r.real > 0]
        return float(np.sqrt(min(squares))) if squares else float("inf")

    def to_camera(self, points: np.ndarray) -> np.ndarray:
        """World points (N, 3), mm -> points in the optical frame (N, 3), mm."""
        return (np.asarray(points, dtype=np.float64) - self.C) @ self.R.T

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Project world points.

        Args:
            points: (N, 3), mm.

        Returns:
            pixels (N, 2) and depths (N,) in mm. The pixel of a point whose depth is not positive
            means nothing; `sees` tells.
        """
        local = self.to_camera(points)
        depth = local[:, 2]
        safe = np.where(np.abs(depth) < 1e-9, 1e-9, depth)
        x, y = local[:, 0] / safe, local[:, 1] / safe
        k1, k2, p1, p2, k3 = self.distortion
        r2 = x * x + y * y
        radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
        # OpenCV's model (calib3d, "Detailed Description").
        xd = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
        yd = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
        u = self.K[0, 0] * xd + self.K[0, 1] * yd + self.K[0, 2]
        v = self.K[1, 1] * yd + self.K[1, 2]
        return np.stack([u, v], axis=1), depth

    def sees(self, points: np.ndarray) -> np.ndarray:
        """(N,) bool: in front, inside the image, and where the distortion model holds."""
        local = self.to_camera(points)
        pixels, depth = self.project(points)
        width, height = self.image_size
        inside = (
            (pixels[:, 0] >= 0)
            & (pixels[:, 1] >= 0)
            & (pixels[:, 0] < width)
            & (pixels[:, 1] < height)
        )
        in_front = depth > 0
        tangent = np.hypot(local[:, 0], local[:, 1]) / np.where(in_front, depth, 1.0)
        return in_front & inside & (tangent < self.valid_radius)

    def undistort(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels (N, 2) -> normalized undistorted image coordinates (N, 2)."""
        pixels = np.asarray(pixels, dtype=np.float64).reshape(-1, 1, 2)
        # OpenCV's default of five iterations leaves hundredths of a pixel at strong distortion.
        criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 40, 1e-12)
        return cv2.undistortPointsIter(
            pixels, self.K, self.distortion, None, None, criteria
        ).reshape(-1, 2)

    def unproject(self, pixels: np.ndarray, depth: np.ndarray | float) -> np.ndarray:
        """World points (N, 3) in mm that lie at `depth` mm along z behind pixels (N, 2)."""
        rays = self.undistort(pixels)
        depth = np.broadcast_to(np.asarray(depth, dtype=np.float64), len(rays))
        local = np.column_stack([rays, np.ones(len(rays))]) * depth[:, None]
        return local @ self.R + self.C
