"""Frame sets of a bag, put together as the node puts them together."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from voxelpose_core.bags.bag import SECOND, Bag, RawMessage
from voxelpose_core.bags.decoding import decoded_image, image_size, joint_set_of
from voxelpose_core.bags.topics import KEYPOINTS, input_topics
from voxelpose_core.errors import InputError
from voxelpose_core.frame_choice import FrameChoice
from voxelpose_core.frame_sets import FrameSet
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.ros_messages.keypoints import keypoints_from_message
from voxelpose_core.skeletons import JointSet
from voxelpose_core.sources import fit_rig, restore_codec_crop
from voxelpose_core.synchronization.synchronizer import SynchronizedSet, Synchronizer
from voxelpose_core.unreadable import Unreadable

# The recording ends: whatever still waits for a camera goes out.
_END_NS = 3600 * SECOND


class BagFrameSets:
    """Frame sets of images or 2D detections in a bag; the same on every run.

    The bag's messages go through the node's synchronizer, with its default limits, at the times at which they
    were recorded. The rig's time offsets count there, as the node's do. Stamps are seconds since the first
    frame set.

    Args:
        path: of the bag.
        rig: the calibration.
        template: topic of the cameras with `{camera}` in it; None: found by the cameras' names.
        tell: takes what is said of the images' sizes.

    Raises:
        InputError: the bag is none, or lacks a camera; its cameras have no frame set in common.
    """

    option = "--bag"
    paths: Sequence[Path] | None = None

    def __init__(
        self,
        path: Path | str,
        rig: Rig,
        template: str | None = None,
        tell: Callable[[str], None] = warnings.warn,
    ):
        self._path = Path(path)
        with Bag(path) as bag:
            self.topics = input_topics(bag.types, rig.names, template)
            by_topic = bag.first_messages(self.topics.values())
            first = [by_topic[self.topics[name]] for name in rig.names]
            self.rig = rig
            notes: list[str] = []
            self.joint_set: JointSet | None = None
            if bag.types[self.topics[rig.names[0]]] == KEYPOINTS:
                self.joint_set = self._joint_set([bag.decoded(message) for message in first])
            else:
                self.rig, notes = fit_rig(rig, [image_size(bag, message) for message in first])
            self._sets = _synchronized(bag, self.topics, self.rig)
        if not self._sets:
            raise InputError(
                f"bag '{path}': no two cameras have messages within 15 ms of each other on "
                f"{', '.join(self.topics.values())}: are the stamps of one clock? (--offsets-ms)"
            )
        for note in notes:
            tell(note)
        self.start_ns = self._sets[0].stamp_ns
        self._stamps = [(found.stamp_ns - self.start_ns) / SECOND for found in self._sets]
        steps = np.diff(self._stamps)
        self.fps = float(1.0 / np.median(steps)) if len(steps) else 1.0
        self._chosen = list(range(len(self._sets)))

    def choose(self, choice: FrameChoice) -> None:
        """Leave out all frame sets but those; InputError where none is left."""
        self._chosen = choice.of(self._stamps)
        self.fps /= choice.every

    def __len__(self) -> int:
        return len(self._chosen)

    def __iter__(self) -> Generator[FrameSet, None, None]:
        unreadable = [Unreadable(f"topic {self.topics[name]}") for name in self.rig.names]
        try:
            with Bag(self._path) as bag:
                for index, messages in self._gathered(bag):
                    views = zip(self.rig.cameras, messages, unreadable, strict=True)
                    yield self._frame_set(index, [self._read(bag, index, *view) for view in views])
        finally:
            for own in unreadable:
                own.tell()

    def _frame_set(self, index: int, found: list[np.ndarray | None]) -> FrameSet:
        stamp = self._stamps[index]
        if self.joint_set is not None:
            return FrameSet(index, stamp, None, found)
        return FrameSet(index, stamp, restore_codec_crop(found, self.rig), None)

    def _gathered(self, bag: Bag) -> Iterator[tuple[int, list[RawMessage | None]]]:
        """The chosen frame sets, each as soon as all of its messages have been read."""
        owners = [
            {self._sets[index].messages[camera]: index for index in self._chosen}
            for camera in range(len(self.rig))
        ]
        cameras = {topic: self.rig.names.index(name) for name, topic in self.topics.items()}
        waiting: dict[int, list[RawMessage | None]] = {}
        missing = {
            index: sum(number is not None for number in self._sets[index].messages) for index in self._chosen
        }
        counts = [0] * len(self.rig)
        order = iter(self._chosen)
        due = next(order, None)
        for message in bag.messages(cameras):
            camera = cameras[message.topic]
            index = owners[camera].get(counts[camera])
            counts[camera] += 1
            if index is None:
                continue
            waiting.setdefault(index, [None] * len(self.rig))[camera] = message
            missing[index] -= 1
            while due is not None and missing[due] == 0:
                yield due, waiting.pop(due)
                due = next(order, None)

    def _read(
        self, bag: Bag, index: int, camera: Camera, message: RawMessage | None, unreadable: Unreadable
    ) -> np.ndarray | None:
        """The image or 2D detections of a message; None for a bad one, which only this camera lacks."""
        if message is None:
            return None
        try:
            if self.joint_set is None:
                return decoded_image(bag, message)
            return keypoints_from_message(bag.decoded(message), camera, self.joint_set)
        except InputError as error:
            unreadable.add(index, str(error))
            return None

    def _joint_set(self, first: Sequence[Any]) -> JointSet:
        names = sorted({message.joint_set for message in first})
        if len(names) != 1:
            raise InputError(
                f"bag '{self._path}': the cameras' joint sets are {', '.join(names)}, expected one for all"
            )
        return joint_set_of(first[0])


def _synchronized(bag: Bag, topics: Mapping[str, str], rig: Rig) -> list[SynchronizedSet]:
    """The frame sets that the node's synchronizer makes of the bag, in the order of their stamps.

    In place of messages they have the number of each on its camera's topic.
    """
    found: list[SynchronizedSet] = []
    offsets = dict(zip(rig.names, (offset / 1e3 for offset in rig.time_offsets_ms), strict=True))
    synchronizer = Synchronizer(rig.names, offsets_s=offsets)
    synchronizer.registerCallback(found.append)
    names = {topic: name for name, topic in topics.items()}
    counts = dict.fromkeys(names, 0)
    last_ns = 0
    for message in bag.messages(names):
        last_ns = message.received_ns
        synchronizer.add(names[message.topic], message.stamp_ns, counts[message.topic], last_ns)
        counts[message.topic] += 1
    synchronizer.poll(last_ns + _END_NS)
    return sorted(found, key=lambda frame_set: frame_set.stamp_ns)
