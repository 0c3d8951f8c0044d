"""Which topic of a bag belongs to which camera."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from voxelpose_core.errors import InputError
from voxelpose_core.topic_names import COMPRESSED_SUFFIX, camera_info_topic, ros_name

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
KEYPOINTS, CAMERA_INFO = "voxelpose_ros/msg/Keypoints2DArray", "sensor_msgs/msg/CameraInfo"
TF, TF_STATIC = "/tf", "/tf_static"
# In the order in which they are taken where a camera has several.
_INPUTS = (IMAGE, COMPRESSED, KEYPOINTS)
# Last parts of the names of the images that a camera sends itself, in the order in which they are taken.
_USUAL = ("image_raw", "image", "image_color", "image_rect_color", "image_rect", "image_mono", "keypoints")


def input_topics(
    types: Mapping[str, str], cameras: Sequence[str], template: str | None = None
) -> dict[str, str]:
    """The topic of each camera: images, compressed images or 2D detections, of one type for all.

    Args:
        types: message type of each topic of the bag.
        cameras: names of the rig's cameras.
        template: topic with `{camera}` in it; None: those whose names hold the cameras' names.

    Raises:
        InputError: naming the camera that has none, or several, and the topics that there are.
    """
    if template is not None:
        return _by_template(types, cameras, template)
    # The camera for which nothing is found says what the bag lacks.
    lacking = ""
    for kind in _INPUTS:
        of_kind = [topic for topic, own in types.items() if own == kind]
        found = {camera: _candidates(of_kind, camera) for camera in cameras}
        without = [camera for camera, topics in found.items() if not topics]
        if not without:
            return {camera: _one(camera, topics) for camera, topics in found.items()}
        if len(without) < len(cameras) and not lacking:
            lacking = without[0]
    camera = lacking or cameras[0]
    raise InputError(
        f"camera '{camera}': no topic of images or 2D detections has its name, expected /{ros_name(camera)}"
        f"/image_raw or another with --topic; the bag has {_listed(types)}"
    )


def camera_topics(types: Mapping[str, str], template: str | None = None) -> dict[str, str]:
    """Topic by camera of a bag without a rig: cameras with images (or 2D detections) beside a CameraInfo.

    A camera's name is what stands before /camera_info, or the last part of it where that is unique.

    Raises:
        InputError: fewer than two cameras have both.
    """
    groups = [topic.rpartition("/")[0] for topic, kind in types.items() if kind == CAMERA_INFO]
    short = [group.rpartition("/")[2] for group in groups]
    names = {
        last if short.count(last) == 1 else group.strip("/").replace("/", "_"): group
        for group, last in zip(groups, short, strict=True)
    }
    found: dict[str, str] = {}
    for name, group in names.items():
        beside = {
            topic: kind
            for topic, kind in types.items()
            if kind in _INPUTS and camera_info_topic(topic) == f"{group}/camera_info"
        }
        if template is not None:
            found |= (
                _by_template(types, [name], template)
                if template.replace("{camera}", ros_name(name)) in types
                else {}
            )
        elif beside:
            kind = next(kind for kind in _INPUTS if kind in beside.values())
            found[name] = _one(name, [topic for topic, own in beside.items() if own == kind])
    if not names:
        raise InputError(f"the bag has no CameraInfo, expected --rig, a calibration; it has {_listed(types)}")
    if len(found) < 2:
        raise InputError(
            f"the bag has {len(found)} camera(s) with images (or 2D detections) beside their CameraInfo, "
            f"expected at least 2, or --rig, a calibration; it has {_listed(types)}"
        )
    return found


def _by_template(types: Mapping[str, str], cameras: Sequence[str], template: str) -> dict[str, str]:
    if "{camera}" not in template:
        raise InputError(
            f"--topic '{template}' has no '{{camera}}' in it, which stands for the name of each camera, "
            "expected for example /{camera}/image_raw"
        )
    # Names in bags are full names.
    template = "/" + template.removeprefix("/")
    found = {camera: template.replace("{camera}", ros_name(camera)) for camera in cameras}
    for camera, topic in found.items():
        if types.get(topic) not in _INPUTS:
            what = f"is of type {types[topic]}" if topic in types else "is not in the bag"
            raise InputError(
                f"camera '{camera}': topic {topic} {what}, expected images or 2D detections; the bag has "
                f"{_listed(types)}"
            )
    return found


def _candidates(topics: Sequence[str], camera: str) -> list[str]:
    """Those whose parts hold the camera's name."""
    return [topic for topic in topics if ros_name(camera) in topic.split("/")]


def _one(camera: str, topics: Sequence[str]) -> str:
    """The one of a camera's topics that is its own image."""
    if len(topics) == 1:
        return topics[0]
    for usual in _USUAL:
        for topic in topics:
            if topic.removesuffix(COMPRESSED_SUFFIX).rpartition("/")[2] == usual:
                return topic
    raise InputError(
        f"camera '{camera}': topics {', '.join(sorted(topics))} have its name, expected one: give --topic, "
        f"for example {re.sub(re.escape(ros_name(camera)), '{camera}', sorted(topics)[0])}"
    )


def _listed(types: Mapping[str, str], most: int = 8) -> str:
    topics = sorted(topic for topic, kind in types.items() if kind in (*_INPUTS, CAMERA_INFO)) or sorted(
        types
    )
    shown = ", ".join(topics[:most]) or "no messages"
    return shown if len(topics) <= most else f"{shown}, ..."
