"""Frame sets of a bag, put together as the node puts them together."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

import numpy as np

from voxelpose_core.bags.bag import SECOND, Bag, RawMessage
from voxelpose_core.bags.calibration import check_camera_infos
from voxelpose_core.bags.decoding import decoded_image, image_size
from voxelpose_core.bags.topics import KEYPOINTS, input_topics
from voxelpose_core.errors import InputError
from voxelpose_core.frame_choice import FrameChoice
from voxelpose_core.frame_sets import FrameSet
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.ros_messages.camera_info import check_image_size
from voxelpose_core.ros_messages.images import calibrated_image
from voxelpose_core.ros_messages.keypoints import joint_set_of_most, keypoints_from_message, known_joint_set
from voxelpose_core.skeletons import COCO17, JointSet, get_joint_set
from voxelpose_core.synchronization.synchronizer import SynchronizedSet, Synchronizer
from voxelpose_core.unreadable import Unreadable

# The recording ends: whatever still waits for a camera goes out.
_END_NS = 3600 * SECOND
# The node's default: cameras with usable messages in a frame set.
_MIN_CAMERAS = 2
# A camera that is in none of so many frame sets has no say in the joint set.
_VOTING_SETS = 100


class BagFrameSets:
    """Frame sets of images or 2D detections in a bag; the same on every run, and those of the node.

    The bag's messages go through the node's synchronizer, with its default limits, at the times at which
    they were recorded. The rig's time offsets count there, as the node's do. Images are brought to the
    calibrated size, and 2D detections follow the joint set of most cameras, by the node's rules. Stamps are
    seconds since the first frame set.

    Args:
        path: of the bag.
        rig: the calibration.
        topics: one with `{camera}` in it, or one per camera; None: found by the cameras' names.
        tell: takes what is said of images and joint sets.
        check_camera_info: refuse a rig that CameraInfo in the bag contradicts.

    Raises:
        InputError: the bag is none, lacks a camera, or is of another rig; its cameras have no frame set in
            common.
    """

    option = "--bag"
    paths: Sequence[Path] | None = None

    def __init__(
        self,
        path: Path | str,
        rig: Rig,
        topics: Sequence[str] | None = None,
        tell: Callable[[str], None] = warnings.warn,
        check_camera_info: bool = True,
    ):
        self._path = Path(path)
        self.rig = rig
        self._tell, self._told = tell, set[str]()
        with Bag(path) as bag:
            self.topics = input_topics(bag.types, rig.names, topics)
            if check_camera_info:
                check_camera_infos(bag, self.topics, rig)
            # Of a damaged bag a topic may have none.
            by_topic = bag.first_messages(self.topics.values())
            first = [by_topic.get(self.topics[name]) for name in rig.names]
            self._is_keypoints = bag.types[self.topics[rig.names[0]]] == KEYPOINTS
            if not self._is_keypoints:
                self._check_sizes(bag, first)
            self._sets = self._synchronized(bag)
        if not self._sets:
            raise InputError(
                f"bag '{path}': no two cameras have messages within 15 ms of each other on "
                f"{', '.join(self.topics.values())}: are the stamps of one clock? (--offsets-ms)"
            )
        self.start_ns = self._sets[0].stamp_ns
        self._stamps = [(found.stamp_ns - self.start_ns) / SECOND for found in self._sets]
        steps = np.diff(self._stamps)
        self.fps = float(1.0 / np.median(steps)) if len(steps) else 1.0
        self._chosen = list(range(len(self._sets)))
        self.joint_set = self._most_cameras_joint_set()

    def choose(self, choice: FrameChoice) -> None:
        """Leave out all frame sets but those; InputError where none is left."""
        self._chosen = choice.of(self._stamps)
        self.joint_set = self._most_cameras_joint_set()
        self.fps /= choice.every

    def __len__(self) -> int:
        return len(self._chosen)

    def __iter__(self) -> Generator[FrameSet, None, None]:
        unreadable = [Unreadable(f"topic {self.topics[name]}") for name in self.rig.names]
        dropped: list[float] = []
        try:
            with Bag(self._path) as bag:
                for index, messages in self._gathered(bag):
                    stamp = self._stamps[index]
                    views, joint_sets = self._views(bag, index, messages, unreadable)
                    self._follow(joint_sets, stamp)
                    if sum(view is not None for view in views) < _MIN_CAMERAS:
                        dropped.append(stamp)
                    elif self.joint_set is None:
                        yield FrameSet(index, stamp, views, None)
                    else:
                        yield FrameSet(index, stamp, None, views)
        finally:
            for own in unreadable:
                own.tell()
            if dropped:
                sets = "1 frame set" if len(dropped) == 1 else f"{len(dropped)} frame sets"
                self._say(
                    f"bag '{self._path}': {sets} dropped, from {dropped[0]:.3f} s on, "
                    f"for usable messages of fewer than {_MIN_CAMERAS} cameras"
                )

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
            if due is None:
                return
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

    def _views(
        self, bag: Bag, index: int, messages: Sequence[RawMessage | None], unreadable: Sequence[Unreadable]
    ) -> tuple[list[np.ndarray | None], list[str]]:
        """The images, in their calibrated sizes, or the 2D detections of a frame set, and their joint sets.

        Only its own camera lacks what is bad.
        """
        found: list[np.ndarray | None] = [None] * len(messages)
        joint_sets = []
        for view, (camera, message) in enumerate(zip(self.rig.cameras, messages, strict=True)):
            if message is None:
                continue
            try:
                if self.joint_set is None:
                    found[view] = self._calibrated(decoded_image(bag, message), camera)
                    continue
                decoded = bag.decoded(message)
                joint_sets.append(decoded.joint_set)
                found[view] = keypoints_from_message(decoded, camera, self.joint_set)
            except InputError as error:
                unreadable[view].add(index, str(error))
        return found, joint_sets

    def _follow(self, names: Sequence[str], stamp: float) -> None:
        """Tell where the node would follow the cameras to another joint set: a result has one."""
        if self.joint_set is None or (now := joint_set_of_most(names, self.joint_set)) == self.joint_set:
            return
        self._say(
            f"bag '{self._path}': from {stamp:.3f} s on most cameras' joint set is '{now.name}', not "
            f"'{self.joint_set.name}' as before: their 2D detections are not used (--start {stamp:.3f} "
            "begins there)",
            key="joint set",
        )

    def _calibrated(self, image: np.ndarray, camera: Camera) -> np.ndarray:
        whole, note = calibrated_image(image, camera)
        if note:
            self._say(note)
        return whole

    def _say(self, line: str, key: str = "") -> None:
        """Tell it, unless it, or one of the same key, was told before."""
        if (key or line) not in self._told:
            self._told.add(key or line)
            self._tell(line)

    def _check_sizes(self, bag: Bag, first: Sequence[RawMessage | None]) -> None:
        """InputError where a camera's first image is not of its calibrated size, or a copy of it."""
        for camera, message in zip(self.rig.cameras, first, strict=True):
            if message is None or (size := image_size(bag, message)) is None:
                continue
            try:
                check_image_size(size, camera)
            except InputError as error:
                raise InputError(
                    f"bag '{self._path}': topic {message.topic}: {error}: a bag of another rig? (--cameras "
                    "leaves it out)"
                ) from None

    def _most_cameras_joint_set(self) -> JointSet | None:
        """Of the cameras' first messages in the frame sets; those of another are refused as they are read."""
        if not self._is_keypoints:
            return None
        first: dict[int, str] = {}
        with Bag(self._path) as bag:
            for _, messages in islice(self._gathered(bag), _VOTING_SETS):
                for camera, message in enumerate(messages):
                    if message is not None and camera not in first:
                        # A bad one is told when it is read.
                        with suppress(InputError):
                            first[camera] = bag.decoded(message).joint_set
                if len(first) == len(self.rig):
                    break
        names = [first[camera] for camera in sorted(first)]
        joint_set = joint_set_of_most(names, COCO17)
        if names and joint_set not in map(known_joint_set, names):
            # Nobody states one that is known; the error names those that are.
            try:
                get_joint_set(names[0])
            except InputError as error:
                topic = self.topics[self.rig.names[min(first)]]
                raise InputError(f"bag '{self._path}': topic {topic}: {error}") from None
        return joint_set

    def _synchronized(self, bag: Bag) -> list[SynchronizedSet]:
        """The frame sets that the node's synchronizer makes of the bag, in the order of their stamps.

        In place of messages they have the number of each on its camera's topic.
        """
        found: list[SynchronizedSet] = []
        offsets = dict(zip(self.rig.names, (ms / 1e3 for ms in self.rig.time_offsets_ms), strict=True))
        synchronizer = Synchronizer(self.rig.names, offsets_s=offsets)
        synchronizer.registerCallback(found.append)
        names = {topic: name for name, topic in self.topics.items()}
        counts, unstamped = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
        last_ns = 0
        for message in bag.messages(names):
            topic, last_ns = message.topic, message.received_ns
            if message.stamp_ns > 0:
                # The node looks every few milliseconds.
                synchronizer.poll(last_ns)
                synchronizer.add(names[topic], message.stamp_ns, counts[topic], last_ns)
            else:
                unstamped[topic] += 1
            counts[topic] += 1
        synchronizer.poll(last_ns + _END_NS)
        for topic, count in unstamped.items():
            if count:
                self._say(
                    f"topic {topic}: {count} of {counts[topic]} messages have no stamp in the header, "
                    "expected the time of the exposure: they are not used"
                )
        return self._longest_run(found)

    def _longest_run(self, found: Sequence[SynchronizedSet]) -> list[SynchronizedSet]:
        """Frame sets whose stamps rise; where they jump back (a bag that looped), the longest such run."""
        runs: list[list[SynchronizedSet]] = []
        for frame_set in found:
            if not runs or frame_set.stamp_ns <= runs[-1][-1].stamp_ns:
                runs.append([])
            runs[-1].append(frame_set)
        longest = max(runs, key=len, default=[])
        if len(runs) > 1:
            often = "once" if len(runs) == 2 else f"{len(runs) - 1} times"
            self._say(
                f"bag '{self._path}': stamps jump back {often}, as if a recording had been "
                f"played again: only the longest run is used, {len(longest)} of {len(found)} frame sets"
            )
        return longest
