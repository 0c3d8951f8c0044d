"""Frame sets of a recording: the images or 2D detections of all cameras, one time after another.

`ImageFrameSets` and `KeypointFrameSets` take frames of the same number for simultaneous.
`AlignedFrameSets` puts the cameras' time offsets between: it reads each camera on its own.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from voxelpose_core.errors import InputError
from voxelpose_core.frame_choice import FrameChoice
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.skeletons import COCO17, JointSet
from voxelpose_core.sources import FrameSource, fit_rig, restore_codec_crop, restored_image
from voxelpose_core.time_offsets import interpolate, offsets_text

# A time within this share of a frame's duration is the frame's.
_SAME_TIME = 0.01
# Between frames that are further apart than so many periods one is missing.
_MISSING = 1.5

Detect = Callable[[Sequence["np.ndarray | None"]], "list[np.ndarray | None]"]


@dataclass(frozen=True, eq=False)
class FrameSet:
    """The views of all cameras at one time.

    Attributes:
        frame: number of the frame; that of the first camera where clocks differ.
        stamp: seconds.
        images: per camera its image, None: no frame; None: there are none.
        keypoints: per camera its 2D detections (P, J, 3), None: no frame; None: not detected yet.
    """

    frame: int
    stamp: float
    images: list[np.ndarray | None] | None
    keypoints: list[np.ndarray | None] | None


@dataclass(eq=False)
class CameraFrame:
    """One frame of one camera.

    Attributes:
        stamp: seconds on the camera's clock.
        image: None where there are 2D detections only.
        people: (P, J, 3) its 2D detections; None while they are not detected.
    """

    stamp: float
    image: np.ndarray | None = None
    people: np.ndarray | None = None


class FrameSets(Protocol):
    """Frame sets in the order of their times.

    Attributes:
        rig: the cameras, for views as they come out.
        fps: frame sets per second.
        option: the command line's name of the source.
        paths: of the cameras, in their order; None where one file has all.
        start_ns: ROS time of stamp 0, nanoseconds; 0 where it is not known.
    """

    rig: Rig
    fps: float
    option: str
    paths: Sequence[Path] | None
    start_ns: int

    def __len__(self) -> int: ...

    def __iter__(self) -> Generator[FrameSet, None, None]: ...


class CameraSource(FrameSets, Protocol):
    """Frame sets whose cameras can be read one by one.

    Attributes:
        period_s: seconds between frames of a camera, those left out by `choose` included.
    """

    period_s: float

    def choose(self, choice: FrameChoice) -> None:
        """Leave out all frame sets but those; InputError where none is left."""
        ...

    def times(self) -> Iterator[tuple[int, float]]:
        """Number and stamp of each frame set."""
        ...

    def span(self, camera: int) -> tuple[float, float] | None:
        """Stamps of the first and the last frame of a camera; None: it has none."""
        ...

    def frames_of(self, camera: int) -> Iterator[CameraFrame]:
        """The frames of one camera, by its index; those that cannot be read are left out."""
        ...


class ImageFrameSets:
    """Frame sets of videos or image folders, with the rig for images of their size.

    Args:
        frames: the images.
        rig: the calibration.
        option, paths: see `FrameSets`.
        tell: takes what is said of the images' sizes.
    """

    joint_set: JointSet | None = None
    start_ns: int = 0

    def __init__(
        self,
        frames: FrameSource,
        rig: Rig,
        option: str,
        paths: Sequence[Path],
        tell: Callable[[str], None] = warnings.warn,
    ):
        self._frames = frames
        self._chosen: Sequence[int] = range(len(frames))
        self.fps, self.option = frames.fps, option
        self.period_s = 1.0 / frames.fps
        self.paths: Sequence[Path] | None = paths
        self.rig, notes = fit_rig(rig, frames.sizes)
        for note in notes:
            tell(note)

    def choose(self, choice: FrameChoice) -> None:
        """See `CameraSource.choose`."""
        self._chosen = choice.of(self._frames.stamps)
        self.fps = self._frames.fps / choice.every

    def __len__(self) -> int:
        return len(self._chosen)

    def __iter__(self) -> Generator[FrameSet, None, None]:
        for index, stamp, images in self._frames.at(self._chosen):
            yield FrameSet(index, stamp, restore_codec_crop(images, self.rig), None)

    def times(self) -> Iterator[tuple[int, float]]:
        """See `CameraSource.times`."""
        return ((index, self._frames.stamps[index]) for index in self._chosen)

    def span(self, camera: int) -> tuple[float, float] | None:
        """See `CameraSource.span`."""
        return self._frames.span(camera)

    def frames_of(self, camera: int) -> Iterator[CameraFrame]:
        """See `CameraSource.frames_of`."""
        for stamp, image in self._frames.frames_of(camera):
            if image is not None:
                yield CameraFrame(stamp, restored_image(image, self.rig.cameras[camera]))


class KeypointFrameSets:
    """Frame sets of 2D detections; a frame's stamp follows from its number.

    Args:
        frames: by number, ascending: per camera (P, J, 3), or None.
        rig: the calibration.
        fps: frames per second.
        joint_set: J joints.
        paths: see `FrameSets`.
        layout: of the files, for people.
    """

    option = "--keypoints"
    start_ns: int = 0

    def __init__(
        self,
        frames: dict[int, list[np.ndarray | None]],
        rig: Rig,
        fps: float,
        joint_set: JointSet = COCO17,
        paths: Sequence[Path] | None = None,
        layout: str = "",
    ):
        self._frames = frames
        self._chosen = list(frames)
        self.layout = layout
        self.rig, self.fps = rig, fps
        self.joint_set: JointSet | None = joint_set
        self.paths = paths
        self._rate = fps
        steps = np.diff(self._chosen)
        self.period_s = float(np.median(steps)) / fps if len(steps) else 1.0 / fps

    def choose(self, choice: FrameChoice) -> None:
        """See `CameraSource.choose`."""
        frames = list(self._frames)
        self._chosen = [frames[index] for index in choice.of([frame / self._rate for frame in frames])]
        self.fps = self._rate / choice.every

    def __len__(self) -> int:
        return len(self._chosen)

    def __iter__(self) -> Generator[FrameSet, None, None]:
        for frame in self._chosen:
            yield FrameSet(frame, frame / self._rate, None, self._frames[frame])

    def times(self) -> Iterator[tuple[int, float]]:
        """See `CameraSource.times`."""
        return ((frame, frame / self._rate) for frame in self._chosen)

    def span(self, camera: int) -> tuple[float, float] | None:
        """See `CameraSource.span`."""
        stamps = [frame.stamp for frame in self.frames_of(camera)]
        return (stamps[0], stamps[-1]) if stamps else None

    def frames_of(self, camera: int) -> Iterator[CameraFrame]:
        """See `CameraSource.frames_of`."""
        for frame, keypoints in self._frames.items():
            people = keypoints[camera]
            if people is not None:
                yield CameraFrame(frame / self._rate, people=people)


class AlignedFrameSets:
    """The frame sets of a source whose cameras have time offsets.

    The times are those of the source's frames on the first camera's clock. 2D detections of every
    camera are interpolated to them; images are the nearest ones. A camera has no frame where its
    frames end, or some are missing.

    Args:
        source: whose rig has time offsets.
        detect: the 2D detections (P, J, 3) of one image per camera, None: no image; None: images are only
            brought together as frames.

    Raises:
        InputError: naming a camera that has no frame at the time of any of the first camera.
    """

    def __init__(self, source: CameraSource, detect: Detect | None = None):
        self._source, self._detect = source, detect
        self.rig, self.fps = source.rig, source.fps
        self.option, self.paths = source.option, source.paths
        self.start_ns = source.start_ns
        self._offsets = [offset / 1e3 for offset in self.rig.time_offsets_ms]
        self._period = source.period_s
        self._check_spans()

    def __len__(self) -> int:
        return len(self._source)

    def __iter__(self) -> Generator[FrameSet, None, None]:
        cameras = [
            _Neighbours(self._source.frames_of(index), offset, self._period)
            for index, offset in enumerate(self._offsets)
        ]
        for frame, stamp in self._source.times():
            stamp += self._offsets[0]
            places = [camera.at(stamp) for camera in cameras]
            if self._detect is not None:
                _detect_people([place.frames() for place in places], self._detect)
            images = [place.image() for place in places]
            without_images = all(image is None for image in images)
            keypoints = None
            if without_images or self._detect is not None:
                keypoints = [place.people() for place in places]
            yield FrameSet(frame, stamp, None if without_images else images, keypoints)

    def _check_spans(self) -> None:
        first = self._source.span(0)
        for index, camera in enumerate(self.rig.cameras):
            span = self._source.span(index)
            if first is None or span is None:
                continue
            start, end = (stamp + self._offsets[index] for stamp in span)
            if end < first[0] + self._offsets[0] or start > first[1] + self._offsets[0]:
                raise InputError(_apart(camera, self.rig, span[1] - span[0]))


def _apart(camera: Camera, rig: Rig, duration_s: float) -> str:
    return (
        f"camera '{camera.name}': with a time offset of {camera.time_offset_ms:g} ms its "
        f"{duration_s:.1f} s have no time in common with camera '{rig.names[0]}', expected other "
        f"--offsets-ms than {offsets_text(rig.time_offsets_ms)}"
    )


@dataclass(frozen=True, eq=False)
class _Place:
    """A time between two frames of a camera, on one of them, or (no frames) away from all.

    Attributes:
        before, after: the frames around it; None where it is no farther than half a period from the other.
        share: of the way from one to the other.
    """

    before: CameraFrame | None = None
    after: CameraFrame | None = None
    share: float = 0.0

    def frames(self) -> list[CameraFrame]:
        """Those that are needed."""
        return [frame for frame in (self.before, self.after) if frame is not None]

    def image(self) -> np.ndarray | None:
        """The nearest one."""
        nearest = self.after if self.before is None or self.share > 0.5 else self.before
        return None if nearest is None else nearest.image

    def people(self) -> np.ndarray | None:
        """(P, J, 3) the 2D detections there."""
        frames = self.frames()
        people = [frame.people for frame in frames if frame.people is not None]
        if not people or len(people) < len(frames):
            return None
        return people[0] if len(people) == 1 else interpolate(people[0], people[1], self.share)


class _Neighbours:
    """The two frames of a camera around a time that goes on."""

    def __init__(self, frames: Iterator[CameraFrame], offset_s: float, period_s: float):
        self._frames, self._offset, self._period = frames, offset_s, period_s
        self._before: CameraFrame | None = None
        self._after = next(frames, None)

    def at(self, time_s: float) -> _Place:
        """Where this time, on the common clock, lies; times must rise."""
        own = time_s - self._offset
        while self._after is not None and self._after.stamp <= own + _SAME_TIME * self._period:
            self._before, self._after = self._after, next(self._frames, None)
        since = np.inf if self._before is None else own - self._before.stamp
        until = np.inf if self._after is None else self._after.stamp - own
        if since <= _SAME_TIME * self._period:
            return _Place(self._before)
        if since + until <= _MISSING * self._period:
            return _Place(self._before, self._after, since / (since + until))
        if min(since, until) > self._period / 2:
            return _Place()
        return _Place(self._before) if since <= until else _Place(None, self._after)


def _detect_people(frames: Sequence[list[CameraFrame]], detect: Detect) -> None:
    """Detect in those frames, per camera, that need it: one of each camera at a time."""
    waiting = [[frame for frame in own if frame.people is None] for own in frames]
    while any(waiting):
        now = [own.pop(0) if own else None for own in waiting]
        found = detect([None if frame is None else frame.image for frame in now])
        for frame, people in zip(now, found, strict=True):
            if frame is not None:
                frame.people = people
