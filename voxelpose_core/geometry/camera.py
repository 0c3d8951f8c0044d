"""One calibrated camera: intrinsics, distortion, pose, and what it sees."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import ArrayLike

from voxelpose_core.errors import InputError

# A fisheye's lens model is trusted up to this angle from the optical axis: at 90 degrees a point
# has no depth, and single precision could not tell the two sides.
FISHEYE_LIMIT = np.radians(89.0)
_COEFFICIENT_COUNTS = {False: (4, 5, 8), True: (4,)}


# JPEG and OpenCV's resampling have no larger images.
_MAX_SIDE = 65535
# Clocks and recordings that are further apart are not of one take: an hour.
MOST_OFFSET_MS = 3.6e6


@dataclass(frozen=True, eq=False)
class Camera:
    """A camera with one of OpenCV's lens models.

    Pinhole: radial-tangential distortion, with rational radial terms where there are eight
    coefficients (calib3d, "Detailed Description"). Fisheye: the equidistant model of Kannala and
    Brandt 2006 as in `cv2.fisheye`.

    A world point X (mm) lies at x = R (X - C) in the camera's optical frame: x right, y down,
    z forward. Pixel (0, 0) is the centre of the top left pixel, as in OpenCV.

    Attributes:
        name: the camera's name in its rig.
        image_size: (width, height) in pixels.
        K: (3, 3) intrinsic matrix, pixels.
        distortion: in OpenCV's order; pinhole (5,) k1, k2, p1, p2, k3 or (8,) with k4, k5, k6
            (four are given as well: k3 = 0); fisheye (4,) k1, k2, k3, k4.
        R: (3, 3) rotation from world to camera.
        C: (3,) camera centre in the world, mm.
        fisheye: the lens model is the equidistant fisheye's.
        quarter_turns: clockwise quarter turns (0 to 3) that make the camera's images upright; None:
            follows from R, see `image_turns.upright_turns`.
        time_offset_ms: what is added to the camera's stamps, so that they agree with those of the
            other cameras.

    Raises:
        InputError: naming the camera and the value, when a value is not finite, an image size or
            a focal length is not positive, the number of coefficients is not one of the lens
            model, R is not a rotation, or the time offset is more than an hour.
    """

    name: str
    image_size: tuple[int, int]
    K: np.ndarray
    distortion: np.ndarray
    R: np.ndarray
    C: np.ndarray
    fisheye: bool = False
    quarter_turns: int | None = None
    time_offset_ms: float = 0.0

    if TYPE_CHECKING:
        # __post_init__ makes arrays of what it is given.
        def __init__(
            self,
            name: str,
            image_size: tuple[int, int],
            K: ArrayLike,
            distortion: ArrayLike,
            R: ArrayLike,
            C: ArrayLike,
            fisheye: bool = False,
            quarter_turns: int | None = None,
            time_offset_ms: float = 0.0,
        ) -> None: ...

    def __post_init__(self):
        turns = self.quarter_turns
        if turns is not None and (type(turns) is not int or not 0 <= turns <= 3):
            raise InputError(f"camera '{self.name}': quarter_turns is {turns!r}, expected 0, 1, 2 or 3")
        if not abs(self.time_offset_ms) <= MOST_OFFSET_MS:
            raise InputError(
                f"camera '{self.name}': time_offset_ms is {self.time_offset_ms:g}, expected "
                f"milliseconds from {-MOST_OFFSET_MS:.0f} to {MOST_OFFSET_MS:.0f}"
            )
        for field, shape in (("K", (3, 3)), ("R", (3, 3)), ("C", (3,))):
            object.__setattr__(self, field, self._array(field, shape))
        object.__setattr__(self, "distortion", self._coefficients())
        width, height = (int(v) for v in self.image_size)
        object.__setattr__(self, "image_size", (width, height))
        if not (0 < width <= _MAX_SIDE and 0 < height <= _MAX_SIDE):
            raise InputError(
                f"camera '{self.name}': image size is {width}x{height}, expected 1 to {_MAX_SIDE} pixels"
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
                f"camera '{self.name}': {field} cannot be read, expected {int(np.prod(shape))} numbers"
            ) from None
        if not np.isfinite(value).all():
            raise InputError(
                f"camera '{self.name}': {field} has a value that is not finite, expected numbers"
            )
        value.setflags(write=False)
        return value

    def _coefficients(self) -> np.ndarray:
        counts = _COEFFICIENT_COUNTS[self.fisheye]
        if np.size(self.distortion) not in counts:
            lens = "fisheye" if self.fisheye else "pinhole"
            raise InputError(
                f"camera '{self.name}': distortion has {np.size(self.distortion)} coefficients, "
                f"expected {' or '.join(map(str, counts))} of a {lens} lens"
            )
        value = self._array("distortion", (np.size(self.distortion),))
        return value if self.fisheye or len(value) > 4 else np.append(value, 0.0)

    @property
    def lens(self) -> str:
        """The lens model in words."""
        if self.fisheye:
            return "equidistant fisheye"
        if not self.distortion.any():
            return "pinhole without distortion"
        return f"pinhole, {len(self.distortion)} distortion coefficients"

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
        """Largest `lens_radius` at which the distortion still grows.

        Past the first place where the distorted radius stops growing (or a rational model has a
        pole) the model folds back and far-off points would land inside the image. Infinite for a
        pinhole without such a place; at most 89 degrees (in radians) for a fisheye.
        """
        numerator, denominator = self._radial_polynomials()
        # With s = r^2 the distorted radius r n(s) / d(s) grows while (n + 2 s n') d > 2 s n d'.
        s2 = np.polynomial.Polynomial([0.0, 2.0])
        slope = (numerator + s2 * numerator.deriv()) * denominator
        slope = slope - s2 * numerator * denominator.deriv()
        roots = np.concatenate([_roots(slope), _roots(denominator)])
        squares = [r.real for r in roots if abs(r.imag) < 1e-9 and r.real > 0]
        limit = np.sqrt(min(squares)) if squares else np.inf
        return float(min(limit, FISHEYE_LIMIT) if self.fisheye else limit)

    def _radial_polynomials(self) -> tuple[np.polynomial.Polynomial, np.polynomial.Polynomial]:
        """n and d of the distorted radius r n(r^2) / d(r^2), r being the `lens_radius`."""
        if self.fisheye:
            radial, divisor = self.distortion, self.distortion[:0]
        else:
            radial, divisor = self.distortion[[0, 1, 4]], self.distortion[5:]
        return (
            np.polynomial.Polynomial([1.0, *radial]),
            np.polynomial.Polynomial([1.0, *divisor]),
        )

    def distorted_radius(self, radius: np.ndarray | float) -> np.ndarray | float:
        """Where the lens puts `lens_radius` values (...), in units of the focal length; radial part only."""
        numerator, denominator = self._radial_polynomials()
        return radius * numerator(radius**2) / denominator(radius**2)

    def lens_radius(self, points: np.ndarray) -> np.ndarray:
        """(N,) how far world points (N, 3) lie off the optical axis, as the lens model counts it.

        Pinhole: the tangent of the angle; fisheye: the angle in radians. It means nothing for
        points whose depth is not positive.
        """
        local = self.to_camera(points)
        off_axis = np.hypot(local[:, 0], local[:, 1])
        if self.fisheye:
            return np.arctan2(off_axis, local[:, 2])
        return off_axis / np.where(local[:, 2] > 0, local[:, 2], 1.0)

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
        xd, yd = self._distort(x, y)
        u = self.K[0, 0] * xd + self.K[0, 1] * yd + self.K[0, 2]
        v = self.K[1, 1] * yd + self.K[1, 2]
        return np.stack([u, v], axis=1), depth

    def _distort(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        r2 = x * x + y * y
        if self.fisheye:
            r = np.maximum(np.sqrt(r2), 1e-12)
            scale = self.distorted_radius(np.arctan(r)) / r
            return x * scale, y * scale
        numerator, denominator = self._radial_polynomials()
        radial = numerator(r2) / denominator(r2)
        p1, p2 = self.distortion[2:4]
        xd = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
        yd = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
        return xd, yd

    def sees(self, points: np.ndarray) -> np.ndarray:
        """(N,) bool: in front, inside the image, and where the distortion model holds."""
        pixels, depth = self.project(points)
        width, height = self.image_size
        inside = (pixels[:, 0] >= 0) & (pixels[:, 1] >= 0) & (pixels[:, 0] < width) & (pixels[:, 1] < height)
        return (depth > 0) & inside & (self.lens_radius(points) < self.valid_radius)

    def undistort(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels (N, 2) -> normalized undistorted image coordinates (N, 2).

        A pixel beyond the valid angle of a fisheye is taken to that angle.
        """
        pixels = np.asarray(pixels, dtype=np.float64).reshape(-1, 1, 2)
        if self.fisheye:
            return self._undistort_fisheye(pixels[:, 0])
        if not len(pixels):
            return pixels[:, 0]  # OpenCV answers None
        return _undistort_pinhole(pixels, self.K, self.distortion)[:, 0]

    def _undistort_fisheye(self, pixels: np.ndarray) -> np.ndarray:
        # cv2.fisheye.undistortPoints cuts distorted angles at 90 degrees, where lenses with
        # positive coefficients still see. The table gives Newton's method its start.
        y = (pixels[:, 1] - self.K[1, 2]) / self.K[1, 1]
        x = (pixels[:, 0] - self.K[0, 2] - self.K[0, 1] * y) / self.K[0, 0]
        distorted = np.hypot(x, y)
        table = np.linspace(0.0, self.valid_radius, 1024)
        angle = np.interp(distorted, self.distorted_radius(table), table)
        k = self.distortion
        slope = np.polynomial.Polynomial([1.0, 3 * k[0], 5 * k[1], 7 * k[2], 9 * k[3]])
        for _ in range(4):
            step = (self.distorted_radius(angle) - distorted) / np.maximum(slope(angle**2), 1e-6)
            angle = np.clip(angle - step, 0.0, self.valid_radius)
        scale = np.where(distorted > 1e-9, np.tan(angle) / np.maximum(distorted, 1e-9), 1.0)
        return np.stack([x, y], axis=1) * scale[:, None]

    def unproject(self, pixels: np.ndarray, depth: np.ndarray | float) -> np.ndarray:
        """World points (N, 3) in mm that lie at `depth` mm along z behind pixels (N, 2)."""
        rays = self.undistort(pixels)
        depth = np.broadcast_to(np.asarray(depth, dtype=np.float64), len(rays))
        local = np.column_stack([rays, np.ones(len(rays))]) * depth[:, None]
        return local @ self.R + self.C

    def ray_directions(self, pixels: np.ndarray) -> np.ndarray:
        """(..., 3) unit directions in the world of the rays through pixels (..., 2), from C on."""
        points = self.undistort(pixels.reshape(-1, 2))
        rays = np.column_stack([points, np.ones(len(points))]) @ self.R
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        return rays.reshape(*pixels.shape[:-1], 3)


def _undistort_pinhole(pixels: np.ndarray, K: np.ndarray, distortion: np.ndarray) -> np.ndarray:
    """Pixels (N, 1, 2) -> normalized image coordinates (N, 1, 2), by OpenCV 4 or 5.

    OpenCV's default of five iterations leaves hundredths of a pixel at strong distortion. The
    function that takes a criterion is `undistortPointsIter` in OpenCV 4; OpenCV 5 removed it and
    gave its parameter to `undistortPoints`.
    """
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 40, 1e-12)
    if hasattr(cv2, "undistortPointsIter"):
        return cv2.undistortPointsIter(pixels, K, distortion, None, None, criteria)
    return cv2.undistortPoints(pixels, K, distortion, R=None, P=None, criteria=criteria)


def _roots(polynomial: np.polynomial.Polynomial) -> np.ndarray:
    """Its complex roots; vanishing leading coefficients would send some to infinity."""
    return np.roots(np.trim_zeros(polynomial.coef[::-1], "f"))
