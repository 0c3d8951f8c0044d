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
    types: Mapping[str, str], cameras: Sequence[str], given: Sequence[str] | None = None
) -> dict[str, str]:
    """The topic of each camera: images, compressed images or 2D detections, of one type for all.

    Args:
        types: message type of each topic of the bag.
        cameras: names of the rig's cameras.
        given: one topic with `{camera}` in it, or one per camera; None: those whose names hold the cameras'
            names.

    Raises:
        InputError: naming the camera that has none, or several, and the topics that there are.
    """
    if given is not None:
        return _given(types, cameras, given)
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
        f"/image_raw, or --topic with one per camera ({', '.join(cameras)}); the bag has {_listed(types)}"
    )


def camera_topics(types: Mapping[str, str], given: Sequence[str] | None = None) -> dict[str, str]:
    """Topic by camera of a bag without a rig: cameras with images (or 2D detections) beside a CameraInfo.

    A camera's name is what stands before /camera_info, or the last part of it where that is unique. `given`
    is as of `input_topics`.

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
        beside = [
            topic
            for topic, kind in types.items()
            if kind in _INPUTS and camera_info_topic(topic) == f"{group}/camera_info"
        ]
        if given is not None:
            wanted = [_full(topic).replace("{camera}", ros_name(name)) for topic in given]
            if chosen := [topic for topic in beside if topic in wanted]:
                found[name] = chosen[0]
        elif beside:
            kind = next(kind for kind in _INPUTS if kind in map(types.get, beside))
            found[name] = _one(name, [topic for topic in beside if types[topic] == kind])
    if given is not None and len(given) > 1:
        order = [_full(topic) for topic in given]
        found = dict(sorted(found.items(), key=lambda item: order.index(item[1])))
    _check_one_kind(types, list(found.values()))
    if not names:
        raise InputError(f"the bag has no CameraInfo, expected --rig, a calibration; it has {_listed(types)}")
    if len(found) < 2:
        raise InputError(
            f"the bag has {len(found)} camera(s) with images (or 2D detections) beside their CameraInfo, "
            f"expected at least 2, or --rig, a calibration; it has {_listed(types)}"
        )
    return found


def _given(types: Mapping[str, str], cameras: Sequence[str], given: Sequence[str]) -> dict[str, str]:
    if len(given) == 1 and "{camera}" in given[0]:
        named = [_full(given[0]).replace("{camera}", ros_name(camera)) for camera in cameras]
    elif len(given) == len(cameras) > 1:
        named = [_full(topic) for topic in given]
    else:
        raise InputError(
            f"--topic {' '.join(given)}: expected one topic for each of the cameras {', '.join(cameras)}, or "
            "one with '{camera}' in it, which stands for their names, for example /{camera}/image_raw"
        )
    found = dict(zip(cameras, named, strict=True))
    for camera, topic in found.items():
        if types.get(topic) not in _INPUTS:
            what = f"is of type {types[topic]}" if topic in types else "is not in the bag"
            raise InputError(
                f"camera '{camera}': topic {topic} {what}, expected images or 2D detections; the bag has "
                f"{_listed(types)}"
            )
        if named.count(topic) > 1:
            raise InputError(f"--topic: {topic} serves two cameras, expected one for each")
    _check_one_kind(types, named)
    return found


def _full(topic: str) -> str:
    """The topic's full name, which bags have."""
    return "/" + topic.removeprefix("/")


def _check_one_kind(types: Mapping[str, str], topics: Sequence[str]) -> None:
    """InputError where some are of images and some of 2D detections."""
    of_keypoints = [topic for topic in topics if types[topic] == KEYPOINTS]
    if 0 < len(of_keypoints) < len(topics):
        other = next(topic for topic in topics if topic not in of_keypoints)
        raise InputError(
            f"topic {of_keypoints[0]} is of 2D detections, {other} of images, expected one for all"
        )


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
    """The topics of cameras; where there are none, all of them with their types."""
    topics = sorted(topic for topic, kind in types.items() if kind in (*_INPUTS, CAMERA_INFO))
    topics = topics or sorted(f"{topic} ({kind})" for topic, kind in types.items())
    shown = ", ".join(topics[:most]) or "no messages"
    return shown if len(topics) <= most else f"{shown}, ..."
