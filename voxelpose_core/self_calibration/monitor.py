"""A slow look at whether a running rig still fits the people in it: which camera was knocked, or is late.

Keeps the 2D detections of the last two minutes with people, ten frame sets per second at most, and judges the
last seconds of them now and then. Nothing is said while people stand still: their detections repeat the same
errors. What is said has been found twice in a row.
"""

from __future__ import annotations

import dataclasses
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.self_calibration.camera_faults import (
    LATE,
    LEAST_POSES,
    FaultLimits,
    find_faults,
    moving_poses,
)
from voxelpose_core.self_calibration.correspondence import shared_poses
from voxelpose_core.self_calibration.observations import CameraDetections, Recording, SharedPoses
from voxelpose_core.self_calibration.observed_rays import observe, triangulate_rays
from voxelpose_core.self_calibration.offset_search import offset_tables, search_offsets
from voxelpose_core.self_calibration.offsets import LEAST_CLEARNESS
from voxelpose_core.self_calibration.tracks_2d import Track2D, recording_tracks
from voxelpose_core.skeletons import JointSet

STRANGE, BLIND = "strange", "blind"

_MIN_SCORE = 0.2
_MIN_JOINTS = 5
_MOST_PEOPLE = 8
# Joints of a person that must lie in a camera's image for it to be expected to see the person.
_IN_VIEW = 0.7
# Share of the people expected in a camera's image that it detects, or that fit what it detects, at least.
_DETECTED, _FITTING = 0.1, 0.3
# Larger time offsets are searched: people do not move straight for so long.
_SMALL_OFFSET_MS = 120.0


@dataclass(frozen=True)
class MonitorSettings:
    """How much is kept, and how often it is judged.

    Attributes:
        rate_hz: frame sets per second that are kept, at most.
        kept_s: seconds with people that are kept.
        judged_s: of these, the last ones are judged.
        every_s: seconds with people between two looks.
        gap_s: a pause without people counts as so much time: tracks end in it.
        search_s: time offsets of up to so much are found.
        limits: what is a fault.
    """

    rate_hz: float = 10.0
    kept_s: float = 120.0
    judged_s: float = 20.0
    every_s: float = 8.0
    gap_s: float = 2.0
    search_s: float = 2.0
    limits: FaultLimits = FaultLimits()


@dataclass(frozen=True)
class RigFault:
    """A camera that does not fit the others.

    Attributes:
        camera: its name.
        kind: `MOVED`, `LATE`; `STRANGE`: the people whom it sees are in no other camera; `BLIND`: it sees
            nobody where others see people.
        other: name of the camera that may be the one in its place; empty: none.
        degrees: by which it seems turned, where moved.
        offset_ms: to be added to its stamps, where late.
    """

    camera: str
    kind: str
    other: str = ""
    degrees: float = 0.0
    offset_ms: float = 0.0

    def is_again(self, before: Sequence[RigFault]) -> bool:
        """Whether it was found before, too."""
        own = {self.camera, self.other} - {""}
        return any(fault.kind == self.kind and own & {fault.camera, fault.other} for fault in before)

    def __str__(self) -> str:
        whose = f"camera '{self.camera}'" + (f" or '{self.other}'" if self.other else "")
        if self.kind == BLIND:
            return f"{whose} detects nobody where the others see people: is it covered, dark, or turned away?"
        if self.kind == STRANGE:
            return f"2D detections of {whose} fit those of no other camera: was it moved far, or exchanged?"
        if self.kind == LATE:
            wrong = "early" if self.offset_ms > 0 else "late"
            return f"stamps of {whose} are {abs(self.offset_ms):.0f} ms {wrong}, compared with the others"
        return (
            f"{whose} seems turned by {self.degrees:.1f} degrees: its 2D detections do not fit those of the "
            "others"
        )


class RigMonitor:
    """Collects 2D detections and names the cameras that no longer fit.

    `add` may be called from another thread than `look`.

    Args:
        rig: the calibration in use.
        joint_set: of the detections.
        settings: how much is kept, and how often it is judged.
    """

    def __init__(self, rig: Rig, joint_set: JointSet, settings: MonitorSettings = MonitorSettings()):
        self.rig, self.joint_set, self.settings = rig, joint_set, settings
        self._lock = threading.Lock()
        self._frames: deque[_Frame] = deque(maxlen=round(settings.kept_s * settings.rate_hz))
        self._last_stamp: float | None = None
        self._clock = 0.0
        self._looked_at = 0.0
        self._found: tuple[RigFault, ...] = ()
        self._faults: tuple[RigFault, ...] = ()

    @property
    def faults(self) -> tuple[RigFault, ...]:
        """What the last two looks have both found."""
        return self._faults

    @property
    def seconds(self) -> float:
        """How much time with people is kept."""
        with self._lock:
            return self._frames[-1].time - self._frames[0].time if self._frames else 0.0

    def add(
        self, keypoints: Sequence[np.ndarray | None], stamp: float, stamps: Sequence[float | None] = ()
    ) -> None:
        """Take the 2D detections of one frame set; most are skipped where many come.

        Args:
            keypoints: per camera (P, J, 3) x, y in pixels, and score; None: no frame.
            stamp: of the frame set, seconds.
            stamps: per camera its own; by default all are `stamp`.
        """
        if self._last_stamp is not None:
            if stamp < self._last_stamp - 1.0:
                self._begin_anew()
            elif stamp - self._last_stamp < 0.95 / self.settings.rate_hz:
                return
        people = [None if own is None else _usable(own) for own in keypoints]
        if sum(own is not None and len(own) > 0 for own in people) < 2:
            return
        passed = 0.0 if self._last_stamp is None else min(stamp - self._last_stamp, self.settings.gap_s)
        self._last_stamp = stamp
        own_stamps = stamps or [stamp] * len(people)
        late = [None if own is None else own - stamp for own in own_stamps]
        with self._lock:
            self._clock += passed
            self._frames.append(_Frame(self._clock, tuple(people), tuple(late)))

    def _begin_anew(self) -> None:
        """Another time line: a bag that loops."""
        with self._lock:
            self._frames.clear()
            self._last_stamp = None
            self._looked_at = self._clock

    @property
    def is_due(self) -> bool:
        """Whether enough has come since the last look."""
        return self._clock - self._looked_at >= self.settings.every_s

    def recording(self, seconds: float | None = None) -> Recording:
        """What is kept, or the last seconds of it; pauses without people are short in it."""
        with self._lock:
            frames = list(self._frames)
        if seconds is not None and frames:
            frames = [frame for frame in frames if frame.time >= frames[-1].time - seconds]
        cameras = [_of_camera(name, index, frames) for index, name in enumerate(self.rig.names)]
        return Recording(tuple(cameras), self.joint_set)

    def look(self) -> tuple[RigFault, ...]:
        """Judge the last seconds; what is found now and was found before."""
        found = self.judge()
        # Too little to tell: what was found stays.
        if found is not None:
            self._faults = tuple(fault for fault in found if fault.is_again(self._found))
            self._found = found
        return self._faults

    def judge(self) -> tuple[RigFault, ...] | None:
        """What is found in the last seconds alone; None where too few people moved to tell."""
        self._looked_at = self._clock
        return judge(self.rig.cameras, self.recording(self.settings.judged_s), self.settings)


@dataclass(frozen=True, eq=False)
class _Frame:
    """One frame set: time on a clock that runs while people are seen, and how late each camera's stamp is."""

    time: float
    people: tuple[np.ndarray | None, ...]
    late: tuple[float | None, ...]


def _usable(people: np.ndarray) -> np.ndarray:
    """The surest of the people (P, J, 3) with enough joints, as a copy."""
    people = np.asarray(people, np.float32)
    if not len(people):
        return people.reshape(0, *people.shape[1:]).copy()
    enough = (people[..., 2] >= _MIN_SCORE).sum(axis=1) >= _MIN_JOINTS
    order = np.argsort(-people[..., 2].sum(axis=1), kind="stable")
    return people[[index for index in order if enough[index]][:_MOST_PEOPLE]]


def _of_camera(name: str, index: int, frames: Sequence[_Frame]) -> CameraDetections:
    stamps: list[float] = []
    people = []
    for frame in frames:
        own, late = frame.people[index], frame.late[index]
        if own is None or late is None or (stamps and frame.time + late <= stamps[-1]):
            continue
        stamps.append(frame.time + late)
        people.append(own)
    return CameraDetections(name, np.array(stamps), tuple(people))


def judge(
    cameras: Sequence[Camera], recording: Recording, settings: MonitorSettings = MonitorSettings()
) -> tuple[RigFault, ...] | None:
    """The cameras that do not fit the others; None where too few people moved to tell.

    Args:
        cameras: V, as calibrated.
        recording: of some seconds.
        settings: its limits and search.
    """
    if len(cameras) != len(recording.cameras):
        raise InputError(f"{len(cameras)} cameras, but the recording has {len(recording.cameras)}")
    tracks = recording_tracks(recording)
    poses = moving_poses(shared_poses(recording, cameras, tracks=tracks))
    if len(poses) < LEAST_POSES:
        return None
    names = [camera.name for camera in cameras]
    found = [
        RigFault(
            names[fault.camera],
            fault.kind,
            names[fault.rival] if fault.rival >= 0 else "",
            fault.degrees,
            fault.offset_ms,
        )
        for fault in find_faults(cameras, poses, settings.limits)
    ]
    strange = _strangers(cameras, tracks, poses)
    found = [fault for fault in found if names.index(fault.camera) not in strange]
    found += [RigFault(names[view], kind) for view, kind in strange.items()]
    if any(fault.kind == STRANGE or abs(fault.offset_ms) > _SMALL_OFFSET_MS for fault in found):
        found = _with_large_offsets(found, cameras, recording, tracks, settings.search_s)
    return tuple(found)


def _with_large_offsets(
    found: Sequence[RigFault],
    cameras: Sequence[Camera],
    recording: Recording,
    tracks: list[list[Track2D]],
    search_s: float,
) -> list[RigFault]:
    """The same, with the offsets of more than some frames, which a linear fit cannot tell."""
    tables = offset_tables(cameras, tracks, len(recording.joint_set), search_s)
    offsets, clearness = search_offsets(tables, len(cameras))
    offsets_ms = 1e3 * (offsets - np.median(offsets))
    searched = []
    for fault in found:
        view = [camera.name for camera in cameras].index(fault.camera)
        large = abs(offsets_ms[view]) > _SMALL_OFFSET_MS and clearness[view] >= LEAST_CLEARNESS
        if large and fault.kind in (STRANGE, LATE):
            fault = RigFault(fault.camera, LATE, fault.other, offset_ms=float(offsets_ms[view]))
        searched.append(fault)
    return searched


def _strangers(cameras: Sequence[Camera], tracks: list[list[Track2D]], poses: SharedPoses) -> dict[int, str]:
    """The cameras that do not see, or see otherwise, the people whom others see in front of them."""
    rays = observe(cameras, poses)
    rotations = np.stack([camera.R for camera in cameras])
    centers = np.stack([camera.C for camera in cameras])
    strange = {}
    for view, camera in enumerate(cameras):
        used = rays.used.copy()
        used[:, view] = False
        points, good = triangulate_rays(
            dataclasses.replace(rays, used=used), rotations, centers, share=0.05, rounds=2
        )
        seen = camera.sees(points.reshape(-1, 3)).reshape(good.shape) & good
        known = good.sum(axis=1)
        expected = (known >= _MIN_JOINTS) & (seen.sum(axis=1) >= _IN_VIEW * np.maximum(known, 1))
        somebody = _is_somebody(tracks[view], poses.times)
        fitting = rays.used[:, view].any(axis=1)
        if expected.sum() < LEAST_POSES:
            continue
        if (expected & somebody).sum() < _DETECTED * expected.sum():
            strange[view] = BLIND
        elif (expected & somebody).sum() >= LEAST_POSES:
            if (expected & fitting).sum() < _FITTING * (expected & somebody).sum():
                strange[view] = STRANGE
    return strange


def _is_somebody(tracks: Sequence[Track2D], times: np.ndarray) -> np.ndarray:
    """(K,) bool: whether a camera sees anybody at these times."""
    there = np.zeros(len(times), bool)
    for track in tracks:
        there |= (times >= track.times[0]) & (times <= track.times[-1])
    return there
