"""What a ROS CameraInfo means, be it a message or a camera_info file: the one set of rules for both.

Meaning of the fields: sensor_msgs/msg/CameraInfo.msg; how a region of interest and binning change K
and P: image_geometry's PinholeCameraModel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.camera import Camera

_PINHOLES = ("plumb_bob", "rational_polynomial", "radtan")
_FISHEYES = ("equidistant", "fisheye", "kannala_brandt", "kannala_brandt4")
_UNDISTORTED = ("", "none", "pinhole")

# Before June 2020 (issue 679, pull request 1225), realsense-ros published the T265's Kannala-Brandt
# coefficients as plumb_bob with a fifth of zero. No other camera has images of this size, and tangential
# distortion of a measured lens stays far below this.
_T265_SIZE = (848, 800)
_T265_TANGENTIAL = 0.01


@dataclass(frozen=True, eq=False)
class CameraInfoFields:
    """What projection depends on in a CameraInfo.

    Attributes:
        image_size: (width, height) at full resolution, pixels.
        K: (3, 3) intrinsic matrix of the raw image.
        distortion_model: its name; empty where it is not given.
        D: (N,) distortion coefficients.
        R: (3, 3) rectification, from the optical frame to that of the rectified image; None or
            zeros: the identity.
        P: (3, 4) projection matrix of the rectified image, None where it is not given.
        binning: (x, y); 0 means 1.
        roi: (x_offset, y_offset, width, height), pixels at full resolution; 0 means all.
    """

    image_size: tuple[int, int]
    K: np.ndarray
    distortion_model: str
    D: np.ndarray
    R: np.ndarray | None = None
    P: np.ndarray | None = None
    binning: tuple[int, int] = (0, 0)
    roi: tuple[int, int, int, int] = (0, 0, 0, 0)


@dataclass(frozen=True, eq=False)
class Intrinsics:
    """What an image is projected with.

    Attributes:
        image_size: (width, height) of the image as it is sent, pixels.
        K: (3, 3) intrinsic matrix of that image.
        distortion: coefficients as `Camera` takes them.
        fisheye: the lens model is the equidistant fisheye's.
        rectification: (3, 3) rotation from the optical frame to the frame of the image.
        assumptions: what was assumed, in words.
    """

    image_size: tuple[int, int]
    K: np.ndarray
    distortion: np.ndarray
    fisheye: bool
    rectification: np.ndarray
    assumptions: tuple[str, ...] = ()

    def camera(self, name: str, R: np.ndarray, C: np.ndarray) -> Camera:
        """The camera whose optical frame has this pose: R (3, 3) from the world, C (3,) in mm."""
        return Camera(
            name,
            self.image_size,
            self.K,
            self.distortion,
            self.rectification @ R,
            C,
            fisheye=self.fisheye,
        )


def intrinsics_of(info: CameraInfoFields, rectified: bool = False) -> Intrinsics:
    """The intrinsics of the raw image, or of the rectified one: P, R and no distortion.

    The fourth column of P places a stereo partner, which the poses do already; it is not used.

    Raises:
        InputError: no calibration (K, or P for a rectified image, is zero), an unknown distortion
            model, coefficients that do not fit it, or a region of interest outside the image.
    """
    if not rectified:
        distortion, fisheye, assumptions = lens_of(info)
        image_size, K = image_geometry(info)
        return Intrinsics(image_size, K, distortion, fisheye, np.eye(3), assumptions)
    image_size, K = image_geometry(info, rectified=True)
    R = info.R if info.R is not None and np.any(info.R) else np.eye(3)
    return Intrinsics(image_size, K, np.zeros(5), False, np.reshape(R, (3, 3)))


def image_geometry(info: CameraInfoFields, rectified: bool = False) -> tuple[tuple[int, int], np.ndarray]:
    """(width, height) of the image as it is sent, and its K (3, 3), px: the region of interest, then binned.

    Raises:
        InputError: as of `intrinsics_of`.
    """
    if rectified:
        if info.P is None or not np.any(info.P):
            raise InputError(
                "CameraInfo has no projection matrix (P is zero), expected one for a rectified image"
            )
        K = np.array(info.P, dtype=np.float64).reshape(3, 4)[:, :3]
    else:
        K = np.array(info.K, dtype=np.float64).reshape(3, 3)
        if not K.any():
            raise InputError("CameraInfo has no intrinsics (K is zero), expected a calibrated camera")
    x, y, width, height = _window(info)
    bin_x, bin_y = (max(1, factor) for factor in info.binning)
    K[:2, 2] -= (x, y)
    K[0] /= bin_x
    K[1] /= bin_y
    return (width // bin_x, height // bin_y), K


def _window(info: CameraInfoFields) -> tuple[int, int, int, int]:
    """The region of interest: x, y, width, height, pixels at full resolution."""
    full_width, full_height = info.image_size
    x, y, width, height = info.roi
    width, height = width or full_width - x, height or full_height - y
    if min(x, y, width, height) < 0 or x + width > full_width or y + height > full_height:
        raise InputError(
            f"CameraInfo's region of interest is {width}x{height} at ({x}, {y}), expected one "
            f"inside its {full_width}x{full_height} pixels"
        )
    return x, y, width, height


def lens_of(info: CameraInfoFields) -> tuple[np.ndarray, bool, tuple[str, ...]]:
    """(coefficients (N,) as `Camera` takes them, whether it is a fisheye, what was assumed).

    Raises:
        InputError: unknown model, or coefficients that do not fit it.
    """
    model = info.distortion_model.strip().lower().replace("-", "_").replace(" ", "_")
    given = np.asarray(info.D, dtype=np.float64).reshape(-1)
    if model in _FISHEYES:
        return distortion_coefficients(given, True, "distortion"), True, ()
    if model in _UNDISTORTED:
        if model and given.any():
            raise InputError(
                f"distortion model is '{info.distortion_model}', but there are coefficients, "
                f"expected one of {', '.join((*_PINHOLES, *_FISHEYES))}"
            )
        if len(given) == 4 and given.any():
            raise InputError(
                "distortion has four coefficients and no distortion_model, expected plumb_bob, or "
                "equidistant for a fisheye"
            )
    elif model not in _PINHOLES:
        raise InputError(
            f"distortion model is '{info.distortion_model[:40]}', expected one of "
            f"{', '.join((*_PINHOLES, *_FISHEYES))}"
        )
    if model == "plumb_bob" and _is_t265(info.image_size, given):
        said = (
            "plumb_bob with the image size and coefficients of a RealSense T265, whose older "
            "drivers name its fisheye so: read as equidistant"
        )
        return given[:4], True, (said,)
    return distortion_coefficients(given, False, "distortion"), False, ()


def _is_t265(image_size: tuple[int, int], given: np.ndarray) -> bool:
    return (
        tuple(image_size) == _T265_SIZE
        and len(given) == 5
        and given[4] == 0
        and np.abs(given[2:4]).max() > _T265_TANGENTIAL
    )


def distortion_coefficients(given: np.ndarray, fisheye: bool, what: str) -> np.ndarray:
    """(N,) coefficients in OpenCV's order as `Camera` takes them: without the zeros of longer models.

    Raises:
        InputError: OpenCV's thin prism or tilt terms, which `Camera` lacks.
    """
    if len(given) == 0:
        return np.zeros(4 if fisheye else 5)
    for count in (4,) if fisheye else (5, 8):
        if len(given) > count and not given[count:].any():
            return given[:count]
    if len(given) > 8 and not fisheye:
        raise InputError(
            f"{what} has thin prism or tilt terms ({len(given)} coefficients), expected at most 8: "
            "calibrate with the rational model, without thin prism and tilt"
        )
    return given
