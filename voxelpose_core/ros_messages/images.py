"""Pictures from sensor_msgs/Image and sensor_msgs/CompressedImage.

Errors name what is wrong in the message; the caller, who knows it, puts the topic in front.
"""

from __future__ import annotations

import reprlib
from typing import Any

import cv2
import numpy as np

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.image_scale import calibrated_size_image, scale_note
from voxelpose_core.image_headers import declared_size
from voxelpose_core.ros_messages.camera_info import check_image_size
from voxelpose_core.sources import codec_crop_note, is_codec_crop, pad_codec_crop

# More than any camera has; and where a header says so, behind a thumbnail perhaps.
_MAX_PIXELS = 2**26
_HEADER_BYTES = 2**18
# Bytes a sample, samples a pixel, and OpenCV's code to BGR. ROS names a Bayer pattern by its first
# row, OpenCV by its second.
_BAYER = {
    "bayer_rggb": cv2.COLOR_BayerBG2BGR,
    "bayer_bggr": cv2.COLOR_BayerRG2BGR,
    "bayer_gbrg": cv2.COLOR_BayerGR2BGR,
    "bayer_grbg": cv2.COLOR_BayerGB2BGR,
}
_COLORS = {
    "bgr": (3, None),
    "rgb": (3, cv2.COLOR_RGB2BGR),
    "mono": (1, cv2.COLOR_GRAY2BGR),
    "bgra": (4, cv2.COLOR_BGRA2BGR),
    "rgba": (4, cv2.COLOR_RGBA2BGR),
    **{pattern: (1, code) for pattern, code in _BAYER.items()},
}
ENCODINGS = {
    **{f"{name}8": (1, samples, code) for name, (samples, code) in _COLORS.items()},
    **{f"{name}16": (2, samples, code) for name, (samples, code) in _COLORS.items()},
    "8UC3": (1, 3, None),
    "8UC1": (1, 1, cv2.COLOR_GRAY2BGR),
    "16UC1": (2, 1, cv2.COLOR_GRAY2BGR),
    "yuv422": (1, 2, cv2.COLOR_YUV2BGR_UYVY),
    "uyvy": (1, 2, cv2.COLOR_YUV2BGR_UYVY),
    "yuv422_yuy2": (1, 2, cv2.COLOR_YUV2BGR_YUYV),
    "yuyv": (1, 2, cv2.COLOR_YUV2BGR_YUYV),
}


def image_to_bgr(message: Any) -> np.ndarray:
    """The picture (H, W, 3), uint8, BGR; a view of the message's data where that is possible.

    Raises:
        InputError: for an unknown encoding, or sizes, step and data that do not agree.
    """
    width, height, step = message.width, message.height, message.step
    if width == 0 or height == 0:
        raise InputError(f"image is {width}x{height}, expected pixels")
    if len(message.data) != step * height:
        raise InputError(f"image has {len(message.data)} bytes, expected step {step} x {height} rows")
    if message.encoding not in ENCODINGS:
        raise unknown_encoding(message.encoding)
    bytes_per_sample, samples, to_bgr = ENCODINGS[message.encoding]
    used = width * samples * bytes_per_sample
    if step < used:
        raise InputError(
            f"image's step is {step} bytes, expected at least {used} for {width} pixels of {message.encoding}"
        )
    rows = np.frombuffer(message.data, np.uint8).reshape(height, step)[:, :used]
    if bytes_per_sample == 2:
        # The high bytes: 8 of 16 bits, as cv_bridge does.
        rows = rows[:, 0 if message.is_bigendian else 1 :: 2]
    pixels = rows.reshape(height, width, samples)
    if to_bgr is None:
        return pixels
    try:
        return cv2.cvtColor(pixels, to_bgr)
    except cv2.error:
        raise InputError(
            f"image of {width}x{height} cannot be {message.encoding}, expected even sizes"
        ) from None


def compressed_to_bgr(message: Any) -> np.ndarray:
    """The picture (H, W, 3), uint8, BGR.

    Raises:
        InputError: when the data are not a whole JPEG, PNG or other picture that OpenCV reads.
    """
    data = np.frombuffer(message.data, np.uint8)
    if len(data) == 0:
        raise InputError("compressed image is empty, expected a JPEG or PNG")
    # OpenCV fills the missing half of a JPEG with grey and says nothing.
    if bytes(data[:2]) == b"\xff\xd8" and not bytes(data[-4096:]).rstrip(b"\0").endswith(b"\xff\xd9"):
        raise InputError(f"JPEG of {len(data)} bytes is cut off, expected its end marker")
    size = declared_size(bytes(data[:_HEADER_BYTES]))
    if size is not None and size[0] * size[1] > _MAX_PIXELS:
        raise InputError(
            f"compressed image promises {size[0]}x{size[1]}, expected at most {_MAX_PIXELS} pixels"
        )
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except cv2.error:
        image = None
    if image is None:
        raise InputError(f"compressed image of format {shown(message.format)} cannot be decoded")
    return image


def calibrated_image(image: np.ndarray, camera: Camera) -> tuple[np.ndarray, str | None]:
    """A camera's picture (H, W, 3) in its calibrated size, and what was done for that, if anything.

    What a codec cropped becomes black, a scaled copy is resized.

    Raises:
        InputError: when it has any other size.
    """
    size = image.shape[1::-1]
    check_image_size(size, camera)
    if size == camera.image_size:
        return image, None
    if is_codec_crop(size, camera):
        return pad_codec_crop(image, camera), codec_crop_note(image, camera)
    return calibrated_size_image(image, camera), scale_note(size, camera, "they are resized")


def unknown_encoding(encoding: str) -> InputError:
    """The error of an image in an encoding that nothing here reads."""
    return InputError(f"encoding {shown(encoding)} is unknown, expected one of {', '.join(ENCODINGS)}")


def shown(text: str) -> str:
    """Text from another process, in a form that fits into a line."""
    return reprlib.repr(text)
