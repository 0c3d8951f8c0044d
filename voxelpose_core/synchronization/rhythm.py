"""The common rhythm of the cameras' frame sets. No ROS in here; times are integer nanoseconds."""

from __future__ import annotations

from collections import deque

from voxelpose_core.synchronization.camera_statistics import SECOND


class Rhythm:
    """The common rhythm of the cameras, learnt from the sets that went out.

    Jitter of a third of the period lets messages of neighbouring frame sets lie nearer to each other
    than those of one; where a frame set should be tells them apart. Without a steady rhythm it tells
    nothing.
    """

    _LEARNT_FROM = 6

    def __init__(self):
        self._centers: deque[int] = deque(maxlen=12)
        self._period = 0.0
        self._origin = 0.0

    def learn(self, center_ns: int) -> None:
        """Take the next set; one that does not follow soon after the last starts anew."""
        if self._centers and not 0 < center_ns - self._centers[-1] < SECOND:
            self._centers.clear()
        self._centers.append(center_ns)
        self._period = 0.0
        count = len(self._centers)
        if count < self._LEARNT_FROM:
            return
        first = self._centers[0]
        times = [center - first for center in self._centers]
        steps = [after - before for before, after in zip(times, times[1:])]
        typical = sorted(steps)[len(steps) // 2]
        beats = [0]
        for step in steps:
            beats.append(beats[-1] + max(1, round(step / typical)))
        # The straight line through (beat, time).
        mean_beat, mean_time = sum(beats) / count, sum(times) / count
        square = sum((beat - mean_beat) ** 2 for beat in beats)
        slope = sum((b - mean_beat) * (t - mean_time) for b, t in zip(beats, times)) / square
        origin = mean_time - slope * mean_beat
        errors = sum((t - origin - slope * b) ** 2 for b, t in zip(beats, times))
        if errors < count * (slope / 6) ** 2:
            self._period, self._origin = slope, first + origin

    def separates(self, first_ns: int, second_ns: int) -> bool:
        """Whether two times are of different frame sets."""
        if not self._period or abs(first_ns - second_ns) < self._period / 8:
            return False
        return self._beat_of(first_ns) != self._beat_of(second_ns)

    def _beat_of(self, time_ns: int) -> int:
        return round((time_ns - self._origin) / self._period)
