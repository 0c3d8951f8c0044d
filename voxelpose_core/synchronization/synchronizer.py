"""Groups the messages of N cameras into frame sets. No ROS in here; times are integer nanoseconds.

Unlike message_filters' ApproximateTimeSynchronizer, a camera that dies or drops frames delays a
set by at most `max_wait`, the cost of a message does not grow with what is queued, and callbacks
never run under the lock.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from voxelpose_core.errors import InputError
from voxelpose_core.findings import Finding
from voxelpose_core.synchronization.camera_statistics import SECOND, CameraStatistics, running_mean
from voxelpose_core.synchronization.rhythm import Rhythm
from voxelpose_core.synchronization.sync_check import SyncCheck, SyncLimits

_MAX_OPEN = 8
_MAX_UNDELIVERED = 16


@dataclass(frozen=True)
class SynchronizedSet:
    """The messages of one frame set.

    Attributes:
        stamp_ns: mean of the messages' stamps.
        messages: one per camera, in the synchronizer's order; None where a camera gave none.
        stamps_ns: of the messages, with the cameras' offsets.
    """

    stamp_ns: int
    messages: tuple[Any | None, ...]
    stamps_ns: tuple[int | None, ...]

    @property
    def complete(self) -> bool:
        """Whether every camera is in it."""
        return all(message is not None for message in self.messages)


class _FrameSet:
    """Messages that may belong together: at most one per camera."""

    __slots__ = ("messages", "stamps", "count", "low", "high", "total", "opened_ns")

    def __init__(self, cameras: int, opened_ns: int):
        self.messages: list[Any | None] = [None] * cameras
        self.stamps: list[int | None] = [None] * cameras
        self.count = 0
        self.low = self.high = self.total = 0
        self.opened_ns = opened_ns

    def put(self, index: int, stamp_ns: int, message: Any) -> None:
        self.low = min(self.low, stamp_ns) if self.count else stamp_ns
        self.high = max(self.high, stamp_ns) if self.count else stamp_ns
        self.total += stamp_ns
        self.count += 1
        self.messages[index] = message
        self.stamps[index] = stamp_ns

    @property
    def center_ns(self) -> int:
        return self.total // self.count

    def spread_with(self, stamp_ns: int) -> int:
        return max(self.high, stamp_ns) - min(self.low, stamp_ns)


class Synchronizer:
    """Puts messages of N cameras together by their stamps.

    A set comes out as soon as every camera that is alive is in it, or `max_wait_s` after its first
    message came in, if it has at least `min_cameras`. Sets come out in the order of their stamps; a
    complete set pushes the older ones out before it. A camera that has been missing from the sets
    of the last `silent_after_s` is not waited for until it speaks again. When the stamps jump back
    by more than a second (a bag that loops, a player that restarts), the new time line takes over
    with its first set.

    Where the cameras keep a steady rhythm, it is learnt, and tells jittering neighbours apart.

    Args:
        cameras: N names.
        slop_s: largest difference between two stamps of a set. A set holds one message of a camera,
            so that it may exceed half of the frame period, but must stay below the period.
        max_wait_s: how long a set waits for its missing cameras, from its first message on.
        min_cameras: fewest messages that make a set.
        silent_after_s: how long a camera is missing before it is no longer waited for.
        offsets_s: per camera, seconds added to its stamps: compensates a known delay.
        clock: nanoseconds that never jump; used where `now_ns` is not given.
        stamp_clock: nanoseconds of the clock that the stamps are of, for the messages' age; 0 while
            it is not known.

    Raises:
        InputError: when a limit makes no sense or a camera is named twice.
    """

    def __init__(
        self,
        cameras: Sequence[str],
        slop_s: float = 0.015,
        max_wait_s: float = 0.1,
        min_cameras: int = 2,
        silent_after_s: float = 1.0,
        offsets_s: dict[str, float] | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
        stamp_clock: Callable[[], int] | None = None,
    ):
        if len(set(cameras)) != len(cameras):
            raise InputError(f"cameras {list(cameras)}: a name appears twice")
        if not 1 <= min_cameras <= len(cameras):
            raise InputError(
                f"sync.min_cameras is {min_cameras}, expected 1 to the number of cameras, {len(cameras)}"
            )
        if slop_s < 0 or max_wait_s < 0:
            raise InputError(
                f"slop and maximum wait are {slop_s:g} s and {max_wait_s:g} s, expected at least 0"
            )
        self.cameras = tuple(cameras)
        self.min_cameras = min_cameras
        self.statistics = {name: CameraStatistics() for name in cameras}
        self._index = {name: i for i, name in enumerate(cameras)}
        self._slop = round(slop_s * SECOND)
        self._max_wait = round(max_wait_s * SECOND)
        self._silent_after = round(silent_after_s * SECOND)
        self._jump = max(SECOND, 2 * self._max_wait)
        self._offsets = [round((offsets_s or {}).get(name, 0.0) * SECOND) for name in cameras]
        self._clock = clock
        self._stamp_clock = stamp_clock
        self._lock = threading.Lock()
        self._check = SyncCheck(cameras)
        self._now = 0
        self._open: list[_FrameSet] = []
        self._last: _FrameSet | None = None
        self._rhythm = Rhythm()
        self._callbacks: list[tuple[Callable, tuple]] = []
        self._ready: deque[SynchronizedSet] = deque(maxlen=_MAX_UNDELIVERED)
        self._delivering = False

    @property
    def offsets_ms(self) -> tuple[float, ...]:
        """What is added to the stamps of each camera."""
        return tuple(offset / 1e6 for offset in self._offsets)

    def registerCallback(self, callback: Callable, *args: Any) -> None:
        """Call `callback(synchronized_set, *args)` for every set (message_filters' spelling)."""
        self._callbacks.append((callback, args))

    def connectInput(self, filters: Sequence[Any]) -> None:
        """Take the messages of message_filters' filters, one per camera, in order."""
        for name, source in zip(self.cameras, filters, strict=True):
            source.registerCallback(self._add_stamped, name)

    def _add_stamped(self, message: Any, camera: str) -> None:
        stamp = message.header.stamp
        self.add(camera, stamp.sec * SECOND + stamp.nanosec, message)

    def add(self, camera: str, stamp_ns: int, message: Any, now_ns: int | None = None) -> None:
        """Take one message; callbacks of the sets that it finishes run before this returns."""
        now = self._clock() if now_ns is None else now_ns
        with self._lock:
            self._now = now
            self._sort_in(self._index[camera], stamp_ns, message, now)
            self._close_expired(now)
        self._deliver()

    def poll(self, now_ns: int | None = None) -> None:
        """Let go of the sets whose wait is over. Call this every few milliseconds."""
        with self._lock:
            self._now = self._clock() if now_ns is None else now_ns
            self._close_expired(self._now)
        self._deliver()

    def begin(self) -> None:
        """The cameras are subscribed from now on: what came before explains nothing."""
        with self._lock:
            self._check = SyncCheck(self.cameras)

    def findings(self, now_ns: int | None = None) -> list[Finding]:
        """Why clearly fewer complete frame sets come out than the slowest camera sends."""
        limits = SyncLimits(self._slop, self._max_wait, self.min_cameras, _MAX_OPEN, self._offsets)
        with self._lock:
            return self._check.findings(self._clock() if now_ns is None else now_ns, limits)

    def _sort_in(self, index: int, stamp_ns: int, message: Any, now: int) -> None:
        statistics = self.statistics[self.cameras[index]]
        time_ns = 0 if self._stamp_clock is None else self._stamp_clock()
        statistics.heard(now, time_ns - stamp_ns if time_ns else None)
        stamp_ns += self._offsets[index]
        self._check.received(index, stamp_ns, now)
        if self._is_duplicate(index, stamp_ns):
            statistics.duplicate += 1
        elif self._is_late(index, stamp_ns):
            statistics.late += 1
        else:
            frame_set = self._frame_set_for(index, stamp_ns, now)
            frame_set.put(index, stamp_ns, message)
            if frame_set.count >= self.min_cameras and not self._awaited(frame_set, now):
                self._close(frame_set)

    def _is_duplicate(self, index: int, stamp_ns: int) -> bool:
        if self._last is not None and self._last.stamps[index] == stamp_ns:
            return True
        return any(frame_set.stamps[index] == stamp_ns for frame_set in self._open)

    def _is_late(self, index: int, stamp_ns: int) -> bool:
        """Whether the message belongs to a frame set that has gone out, or to one before it."""
        last = self._last
        if last is None or stamp_ns < last.low - self._jump:
            return False
        if (own_ns := last.stamps[index]) is not None:
            return stamp_ns < own_ns
        return stamp_ns < last.low or self._fits(last, stamp_ns)

    def _fits(self, frame_set: _FrameSet, stamp_ns: int) -> bool:
        near = frame_set.spread_with(stamp_ns) <= self._slop
        return near and not self._rhythm.separates(frame_set.center_ns, stamp_ns)

    def _frame_set_for(self, index: int, stamp_ns: int, now: int) -> _FrameSet:
        """The nearest open frame set that the message fits into, or a new one."""
        fitting = [
            frame_set
            for frame_set in self._open
            if frame_set.stamps[index] is None and self._fits(frame_set, stamp_ns)
        ]
        if fitting:
            return min(fitting, key=lambda frame_set: abs(frame_set.center_ns - stamp_ns))
        if len(self._open) == _MAX_OPEN:
            self._close(self._open[0])
        frame_set = _FrameSet(len(self.cameras), now)
        self._open.append(frame_set)
        return frame_set

    def _awaited(self, frame_set: _FrameSet, now: int) -> bool:
        """Whether a camera that is alive is still missing."""
        if frame_set.count == len(self.cameras):
            return False
        for name, stamp_ns in zip(self.cameras, frame_set.stamps):
            missing_since = self.statistics[name].missing_since_ns
            if stamp_ns is None and (missing_since is None or now - missing_since < self._silent_after):
                return True
        return False

    def _close_expired(self, now: int) -> None:
        for frame_set in sorted(self._open, key=lambda frame_set: frame_set.center_ns):
            if frame_set in self._open and now - frame_set.opened_ns >= self._max_wait:
                self._close(frame_set)

    def _close(self, frame_set: _FrameSet) -> None:
        """Emit the frame set, after the older ones, or give its messages up if they are too few."""
        if frame_set.count < self.min_cameras:
            self._give_up(frame_set)
            return
        self._open.remove(frame_set)
        center = frame_set.center_ns
        for other in sorted(self._open, key=lambda other: other.center_ns):
            if other not in self._open:
                # Closing one closes those before it, and gives up what it finds of other times.
                continue
            if abs(other.center_ns - center) > self._jump:
                # Left over from another time line.
                if other.opened_ns <= frame_set.opened_ns:
                    self._give_up(other)
            elif other.center_ns < center:
                self._close(other)
        self._emit(frame_set)

    def _give_up(self, frame_set: _FrameSet) -> None:
        self._open.remove(frame_set)
        for name, stamp_ns in zip(self.cameras, frame_set.stamps):
            self.statistics[name].unmatched += stamp_ns is not None

    def _emit(self, frame_set: _FrameSet) -> None:
        center = frame_set.center_ns
        if self._last is not None and 0 < self._last.center_ns - center <= self._jump:
            # A slop above the frame period lets neighbours overlap; nothing goes out before its time.
            for name, stamp_ns in zip(self.cameras, frame_set.stamps):
                self.statistics[name].late += stamp_ns is not None
            return
        for name, stamp_ns in zip(self.cameras, frame_set.stamps):
            statistics = self.statistics[name]
            if stamp_ns is not None:
                statistics.used += 1
                statistics.skew_ns = running_mean(statistics.skew_ns, stamp_ns - center)
                continue
            statistics.missed += 1
            if statistics.missing_since_ns is None:
                statistics.missing_since_ns = frame_set.opened_ns
        self._ready.append(SynchronizedSet(center, tuple(frame_set.messages), tuple(frame_set.stamps)))
        self._check.emitted(frame_set.count, self._now)
        frame_set.messages = []
        self._last = frame_set
        self._rhythm.learn(center)

    def _deliver(self) -> None:
        """Run the callbacks, one thread at a time and in order, outside the lock."""
        with self._lock:
            if self._delivering or not self._ready:
                return
            self._delivering = True
        try:
            while (ready := self._next_ready()) is not None:
                for callback, args in self._callbacks:
                    callback(ready, *args)
        except BaseException:
            self._delivering = False
            raise

    def _next_ready(self) -> SynchronizedSet | None:
        with self._lock:
            # Falls together with seeing the queue empty: a set put in later finds it False.
            self._delivering = bool(self._ready)
            return self._ready.popleft() if self._ready else None
