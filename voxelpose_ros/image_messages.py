"""Between ROS image messages and BGR pictures.

Errors name what is wrong in the message; the caller, who knows it, puts the topic in front.
"""

from __future__ import annotations

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from voxelpose_core.ros_messages.images import ENCODINGS, compressed_to_bgr, image_to_bgr, unknown_encoding


def to_bgr(message: Image | CompressedImage) -> np.ndarray:
    """The picture (H, W, 3), uint8, BGR; InputError as of `image_to_bgr`, `compressed_to_bgr`."""
    if isinstance(message, CompressedImage):
        return compressed_to_bgr(message)
    # cv_bridge is asked for other encodings only: PyPI's ignores `step`, and an installed one that was built
    # against another numpy ends the process.
    if message.encoding in ENCODINGS:
        return image_to_bgr(message)
    return _through_cv_bridge(message)


def _through_cv_bridge(message: Image) -> np.ndarray:
    try:
        from cv_bridge import CvBridge

        image = np.asarray(CvBridge().imgmsg_to_cv2(message, "bgr8"))
    # cv_bridge raises whatever it meets inside, of any type.
    except Exception:
        raise unknown_encoding(message.encoding) from None
    return image


def bgr_to_image(image: np.ndarray, header: Header) -> Image:
    """A BGR picture (H, W, 3), uint8, as a message of encoding bgr8."""
    height, width = image.shape[:2]
    message = Image(header=header, height=height, width=width, encoding="bgr8", step=3 * width)
    # rclpy checks the type of every element unless it is an array of bytes already.
    message.data.frombytes(np.ascontiguousarray(image).data)
    return message


def bgr_to_compressed(image: np.ndarray, header: Header, quality: int = 90) -> CompressedImage:
    """A BGR picture (H, W, 3), uint8, as a JPEG message."""
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    message = CompressedImage(header=header, format="bgr8; jpeg compressed bgr8")
    message.data.frombytes(data.data)
    return message
