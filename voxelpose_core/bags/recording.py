"""Cameras of a bag on their own clocks, for self-calibration: no synchronizer between."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from voxelpose_core.bags.bag import SECOND, Bag, RawMessage
from voxelpose_core.bags.decoding import decoded_image, image_size, joint_set_of
from voxelpose_core.errors import InputError
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.ros_messages.keypoints import keypoints_from_message
from voxelpose_core.self_calibration.observations import CameraDetections, Recording
from voxelpose_core.skeletons import COCO17
from voxelpose_core.sources import FrameSet
from voxelpose_core.unreadable import Unreadable


class BagImages:
    """The images of one camera of a bag, a `FrameSource`; stamps are seconds since `start_ns`.

    Messages whose stamp does not rise are left out. An image that cannot be decoded is None.

    Args:
        path: of the bag.
        topic: of the camera's images.
        start_ns: ROS time of stamp 0.

    Raises:
        InputError: the bag cannot be read.
    """

    def __init__(self, path: Path | str, topic: str, start_ns: int):
        self._path, self._topic = path, topic
        with Bag(path) as bag:
            rising = [(number, message.stamp_ns) for number, message in _rising(bag.messages([topic]))]
            size = next((image_size(bag, message) for message in bag.messages([topic])), None)
        self._numbers = [number for number, _ in rising]
        self.stamps: Sequence[float] = [(stamp_ns - start_ns) / SECOND for _, stamp_ns in rising]
        self.sizes: list[tuple[int, int] | None] = [size]
        self.counts = [len(self._numbers)]
        steps = np.diff(self.stamps)
        self.fps = float(1.0 / np.median(steps)) if len(steps) else 1.0

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[FrameSet]:
        return self.at(range(len(self)))

    def at(self, indices: Sequence[int]) -> Iterator[FrameSet]:
        """See `FrameSource.at`."""
        wanted = {self._numbers[index]: index for index in indices}
        unreadable = Unreadable(f"topic {self._topic}")
        try:
            with Bag(self._path) as bag:
                for number, message in enumerate(bag.messages([self._topic])):
                    if (index := wanted.get(number)) is not None:
                        yield index, self.stamps[index], [_image(bag, message, index, unreadable)]
        finally:
            unreadable.tell()

    def span(self, camera: int) -> tuple[float, float]:
        """See `FrameSource.span`."""
        return self.stamps[0], self.stamps[-1]

    def frames_of(self, camera: int) -> Iterator[tuple[float, np.ndarray | None]]:
        """See `FrameSource.frames_of`."""
        return ((stamp, images[0]) for _, stamp, images in self)


def _image(bag: Bag, message: RawMessage, index: int, unreadable: Unreadable) -> np.ndarray | None:
    try:
        return decoded_image(bag, message)
    except InputError as error:
        unreadable.add(index, str(error))
        return None


def first_stamp_ns(bag: Bag, topics: Mapping[str, str]) -> int:
    """The earliest first stamp of the cameras' topics, by which their stamps can be small numbers.

    Raises:
        InputError: naming the topic of which no message can be read.
    """
    first = bag.first_messages(topics.values())
    for topic in topics.values():
        if topic not in first:
            raise InputError(f"bag '{bag.path}': topic {topic}: none of its messages could be read")
    return min(message.stamp_ns for message in first.values())


def record_bag_keypoints(path: Path | str, topics: Mapping[str, str], rig: Rig, seconds: float) -> Recording:
    """The 2D detections of a bag.

    Args:
        path: of the bag.
        topics: of 2D detections, by camera.
        rig: the cameras.
        seconds: how much to use, from the beginning.

    Raises:
        InputError: naming the topic whose joint set is not COCO-17, or a message that is wrong.
    """
    cameras = []
    with Bag(path) as bag:
        start_ns = first_stamp_ns(bag, topics)
        for camera in rig.cameras:
            topic = topics[camera.name]
            people, times = [], []
            for _, message in _rising(bag.messages([topic])):
                stamp = (message.stamp_ns - start_ns) / SECOND
                if stamp >= seconds:
                    break
                decoded = bag.decoded(message)
                if joint_set_of(decoded) != COCO17:
                    raise InputError(
                        f"topic {topic}: joint set is '{decoded.joint_set}', expected '{COCO17.name}'"
                    )
                try:
                    people.append(keypoints_from_message(decoded, camera, COCO17))
                except InputError as error:
                    raise InputError(f"topic {topic}: {error}") from None
                times.append(stamp)
            cameras.append(CameraDetections(camera.name, np.array(times), tuple(people)))
    return Recording(tuple(cameras), COCO17)


def _rising(messages: Iterator[RawMessage]) -> Iterator[tuple[int, RawMessage]]:
    """The messages whose stamps are later than all before, with their numbers."""
    last = -math.inf
    for number, message in enumerate(messages):
        if (stamp_ns := message.stamp_ns) > last:
            yield number, message
            last = stamp_ns
