"""What cameras send on bad days: good messages, spoiled in ways that the seed chooses."""

import struct
import zlib

import cv2
import numpy as np
from builtin_interfaces.msg import Time

from voxelpose_ros.msg import Keypoints2D

NAN, INFINITE = float("nan"), float("inf")


def spoil_image(message, source):
    """Sizes, step, data and encoding that do not agree, or mean nothing."""
    kind = source.randrange(9)
    if kind == 0:
        message.width = source.choice((0, 1, message.width - 1, message.width * 2, 2**32 - 1))
    elif kind == 1:
        message.height = source.choice((0, 1, message.height + 1, 2**32 - 1))
    elif kind == 2:
        message.step = source.choice((0, 1, message.step - 1, message.step + 1, 2**32 - 1))
    elif kind == 3:
        message.data = bytes(message.data)[: source.randrange(len(message.data))]
    elif kind == 4:
        message.data = bytes(message.data) + b"\0" * source.randrange(1, 1000)
    elif kind == 5:
        message.data = b""
    elif kind == 6:
        unknown = ("", "h264", "BGR8", "64FC4", "bgr8 ", "\u00e9", "x" * 999)
        message.encoding = source.choice(unknown)
    elif kind == 7:
        message.encoding = source.choice(("bgra8", "rgba8", "bgr16", "32FC3", "16UC1", "yuv422"))
    else:
        message.width = message.height = message.step = 0
        message.data = b""


def spoil_compressed(message, source):
    """JPEG and PNG that are cut off, damaged, giant, or something else."""
    content = bytes(message.data)
    jpeg = cv2.imencode(".jpg", np.zeros((240, 320, 3), np.uint8))[1].tobytes()
    cut = source.randrange(1, len(jpeg) - 2)
    damaged = bytearray(content)
    for _ in range(20):
        damaged[source.randrange(len(damaged))] = source.randrange(256)
    message.data = source.choice(
        (
            b"",
            b"\xff\xd8",
            b"\xff\xd8\xff\xd9",
            jpeg[:cut],
            jpeg[:cut] + b"\xff\xd9",
            content[: source.randrange(len(content) - 8)],
            bytes(damaged),
            bytes(source.randrange(256) for _ in range(500)),
            b"GIF89a" + content,
            giant_png(60_000, 60_000),
            giant_png(20_000, 20_000),
            cv2.imencode(".png", np.zeros((7, 5), np.uint8))[1].tobytes(),
        )
    )


def giant_png(width, height):
    """A PNG of a few bytes whose header promises many pixels."""

    def chunk(kind, data):
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


def spoil_keypoints(message, source):
    """People that are too many, too long, of another skeleton, or nowhere."""
    kind = source.randrange(9)
    if kind == 0:
        message.joint_set = source.choice(("", "panoptic15", "octopus8", "x" * 10_000))
    elif kind == 1:
        message.camera = source.choice(("camera9", "camera0 ", "\u00e9"))
    elif kind == 2:
        message.image_width = source.choice((0, 1, 2**32 - 1))
    elif kind == 3:
        # Ten thousand take a second to pack: seldom.
        message.people = [Keypoints2D()] * source.choice((101, 500, 500, 500, 10_000))
    elif kind == 4:
        message.people = [Keypoints2D(x=[1.0] * source.choice((0, 1, 16, 18, 133, 10_000)))]
    elif kind == 5:
        person = message.people[0]
        person.y = list(person.y)[: source.randrange(17)]
    elif kind == 6:
        set_one(message.people[0].x, source, (NAN, INFINITE, -INFINITE))
    elif kind == 7:
        set_one(message.people[0].y, source, (NAN, INFINITE, 3e38, -3e38))
    else:
        set_one(message.people[0].keypoint_scores, source, (NAN, INFINITE, 3e38, -3e38, -1.0))


def set_one(values, source, choices):
    values[source.randrange(len(values))] = source.choice(choices)


def spoil_stamp(message, source):
    """Times before everything, after everything, years ahead, long ago, or none."""
    now = message.header.stamp
    message.header.stamp = source.choice(
        (
            Time(),
            Time(sec=-1),
            Time(sec=-(2**31)),
            Time(sec=2**31 - 1, nanosec=999_999_999),
            Time(sec=now.sec + 3 * 365 * 86400, nanosec=now.nanosec),
            Time(sec=now.sec + source.randrange(2, 3000), nanosec=now.nanosec),
            Time(sec=now.sec - source.randrange(2, 3000), nanosec=now.nanosec),
            Time(sec=now.sec, nanosec=4_000_000_000),
        )
    )


def spoil_camera_info(message, source):
    """Intrinsics of nothing, of another camera, or of none."""
    kind = source.randrange(6)
    if kind == 0:
        message.k = [source.choice((0.0, NAN, -1.0, 1e300, INFINITE))] * 9
    elif kind == 1:
        message.width = source.choice((0, 1, 2**32 - 1))
    elif kind == 2:
        message.d = [source.choice((NAN, INFINITE, 1e300))] * 5
    elif kind == 3:
        message.d = [0.0] * source.choice((0, 1, 3, 14, 1000))
    elif kind == 4:
        message.distortion_model = source.choice(("", "equidistant", "octopus"))
    else:
        message.k = [NAN if source.random() < 0.3 else value for value in message.k]


SPOIL = {"image": spoil_image, "compressed": spoil_compressed, "keypoints": spoil_keypoints}
