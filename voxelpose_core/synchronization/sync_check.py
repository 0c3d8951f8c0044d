"""Tells why fewer complete frame sets come out than the slowest camera sends. No ROS in here.

The synchronizer reports each message and each frame set, at a constant cost; `SyncCheck.findings`
looks at the last of them when diagnostics are due. Times are integer nanoseconds.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from voxelpose_core.findings import Finding
from voxelpose_core.synchronization.camera_statistics import SECOND

_MS = 1_000_000
_KEPT_MESSAGES = 128
_KEPT_SETS = 1024
# What is judged: so many messages of the slowest camera, within these limits.
_MESSAGES = 32
_SHORTEST, _LONGEST = 2 * SECOND, 10 * SECOND
_ALIVE = 2 * SECOND
_FEWEST = 5
# Fewer complete sets than this share of the slowest camera's messages are clearly too few.
_ENOUGH = 0.7
# Clocks that are further apart than this are not just late.
_OTHER_CLOCK = SECOND
# Time since a computer's start is below this, time of day above (the year 2001).
_TIME_OF_DAY = 1_000_000_000 * SECOND


@dataclass(frozen=True)
class SyncLimits:
    """What the synchronizer was told; times in ns.

    Attributes:
        slop_ns: largest difference between the stamps of a frame set.
        max_wait_ns: how long a frame set waits for missing cameras.
        min_cameras: fewest cameras that make a frame set.
        max_open: frame sets that wait at a time.
        offsets_ns: what is added to each camera's stamps.
    """

    slop_ns: int
    max_wait_ns: int
    min_cameras: int
    max_open: int
    offsets_ns: Sequence[int]


class _Stream:
    """The last messages of one camera."""

    def __init__(self):
        self.stamps: deque[int] = deque(maxlen=_KEPT_MESSAGES)
        self.arrivals: deque[int] = deque(maxlen=_KEPT_MESSAGES)
        # Running shares of the messages whose stamp is the last one's, or before it.
        self.repeated = self.backward = 0.0

    def add(self, stamp_ns: int, now: int) -> None:
        if self.stamps:
            last = self.stamps[-1]
            self.repeated += 0.1 * ((stamp_ns == last) - self.repeated)
            self.backward += 0.1 * ((stamp_ns < last) - self.backward)
            if stamp_ns < last - SECOND:
                # A bag that loops, a clock that was set: another time line.
                self.stamps.clear()
                self.arrivals.clear()
        self.stamps.append(stamp_ns)
        self.arrivals.append(now)

    @property
    def period_ns(self) -> float:
        """Median time between two messages; 0 with fewer than two."""
        return float(np.median(np.diff(self.arrivals))) if len(self.arrivals) > 1 else 0.0

    @property
    def delay_ns(self) -> int:
        """Median of arrival minus stamp; comparable between cameras only."""
        delays = sorted(a - s for a, s in zip(self.arrivals, self.stamps))
        return delays[len(delays) // 2]

    def is_alive(self, now: int) -> bool:
        silence = now - self.arrivals[-1] if self.arrivals else math.inf
        return silence <= max(_ALIVE, 3 * self.period_ns)


class SyncCheck:
    """Looks for the cause where frame sets are missing or incomplete.

    Args:
        cameras: N names, in the synchronizer's order.
    """

    def __init__(self, cameras: Sequence[str]):
        self._cameras = tuple(cameras)
        self._streams = [_Stream() for _ in cameras]
        self._sets: deque[tuple[int, int]] = deque(maxlen=_KEPT_SETS)
        self._first_ns: int | None = None

    def received(self, index: int, stamp_ns: int, now: int) -> None:
        """Note a message of the camera with this index; the stamp has its offset."""
        if self._first_ns is None:
            self._first_ns = now
        self._streams[index].add(stamp_ns, now)

    def emitted(self, cameras: int, now: int) -> None:
        """Note a frame set of so many cameras."""
        self._sets.append((now, cameras))

    def findings(self, now: int, limits: SyncLimits) -> list[Finding]:
        """What keeps frame sets from coming out complete, and which stamps cannot be right."""
        alive = [i for i, stream in enumerate(self._streams) if stream.is_alive(now)]
        found = [finding for i in alive if (finding := self._stamp_finding(i)) is not None]
        if len(alive) < limits.min_cameras:
            if self._first_ns is not None and now - self._first_ns > _ALIVE:
                found.append(
                    Finding(
                        "alive",
                        f"{len(alive)} of {len(self._cameras)} cameras send, sync.min_cameras is "
                        f"{limits.min_cameras}: no frame set can form",
                    )
                )
            return found
        if not found and len(alive) > 1:
            shortage = self._shortage(now, alive, limits)
            found += [] if shortage is None else [shortage]
        return found

    def _stamp_finding(self, index: int) -> Finding | None:
        stream, name = self._streams[index], self._cameras[index]
        if stream.repeated > 0.8:
            return Finding(
                "stamps",
                f"stamps of {name} do not advance ({stream.stamps[-1] / SECOND:.3f} s again and "
                "again), expected the time of each exposure from its driver",
                name,
            )
        if stream.repeated + stream.backward > 0.2:
            return Finding(
                "stamps",
                f"stamps of {name} repeat or go back in {stream.repeated + stream.backward:.0%} of "
                "its messages: is there more than one publisher on its topic?",
                name,
            )
        return None

    def _shortage(self, now: int, alive: list[int], limits: SyncLimits) -> Finding | None:
        start = self._judged_from(now, alive, limits)
        counts = [sum(at >= start for at in self._streams[i].arrivals) for i in alive]
        sizes = [size for at, size in self._sets if at >= start]
        slowest = min(counts)
        complete = sum(size >= len(alive) for size in sizes)
        if slowest < _FEWEST or complete >= _ENOUGH * slowest:
            return None
        reference = alive[counts.index(slowest)]
        share = f"{complete} of the last {slowest} frame sets are complete"
        found = self._delay_finding(alive, limits, share)
        found = found or self._phase_finding(reference, slowest, alive, limits, share)
        if found is not None:
            return found
        if len(sizes) >= slowest / 2:
            # Dropped frames: each camera's own values tell them.
            return None
        seconds = (now - start) / SECOND
        return Finding(
            "few frame sets",
            f"{len(sizes)} frame sets in {seconds:.1f} s, while {self._cameras[reference]} sent "
            f"{slowest} messages: see late, duplicate and unmatched of each camera",
        )

    def _judged_from(self, now: int, alive: list[int], limits: SyncLimits) -> int:
        """The beginning of the time that is judged: all alive cameras have sent since then."""
        slowest = max(self._streams[i].period_ns for i in alive)
        length = max(_MESSAGES * slowest, _SHORTEST + 2 * limits.max_wait_ns)
        first = (self._streams[i].arrivals[0] for i in alive)
        return max(round(now - min(length, _LONGEST)), *first)

    def _delay_finding(self, alive: list[int], limits: SyncLimits, share: str) -> Finding | None:
        """Messages of the same stamp that arrive too far apart, or stamps of different clocks."""
        delays = {i: self._streams[i].delay_ns for i in alive}
        usual = sorted(delays.values())[(len(alive) - 1) // 2]
        odd = max(alive, key=lambda i: abs(delays[i] - usual))
        other = min((i for i in alive if i != odd), key=lambda i: abs(delays[i] - usual))
        apart = abs(delays[odd] - delays[other])
        held = limits.max_open * min(self._streams[i].period_ns for i in alive)
        if apart <= min(limits.max_wait_ns, held):
            return None
        first, second = (self._cameras[i] for i in sorted((odd, other)))
        if apart > max(_OTHER_CLOCK, limits.max_wait_ns):
            text = f"stamps of {first} and {second} are {apart / SECOND:.1f} s apart"
            if any(limits.offsets_ns):
                text += " with the given sync.offsets_ms"
            for i in (odd, other):
                if (
                    self._streams[i].stamps[-1]
                    < _TIME_OF_DAY
                    <= max(self._streams[j].stamps[-1] for j in (odd, other))
                ):
                    return Finding(
                        "clocks",
                        f"{text}: those of {self._cameras[i]} are no time of day, its driver must "
                        "stamp with the system clock",
                    )
            return Finding(
                "clocks",
                f"{text}: their clocks differ, synchronize them (NTP or PTP)",
            )
        late, early = (odd, other) if delays[odd] > delays[other] else (other, odd)
        text = (
            f"{self._cameras[late]} arrives {apart / _MS:.0f} ms later than "
            f"{self._cameras[early]} of the same stamp"
        )
        if apart <= limits.max_wait_ns:
            return Finding(
                "delay",
                f"{text}, and at most {limits.max_open} frame sets wait ({held / _MS:.0f} ms): "
                f"{share}; shorten its way, lower the rate, or synchronize the clocks",
            )
        return Finding(
            "delay",
            f"{text}, sync.max_wait_ms is {limits.max_wait_ns / _MS:g}: {share}; raise sync.max_wait_ms to "
            f"at least {_rounded_up_ms(1.2 * apart)}, or synchronize the clocks (NTP or PTP)",
        )

    def _phase_finding(
        self, reference: int, last: int, alive: list[int], limits: SyncLimits, share: str
    ) -> Finding | None:
        """Cameras whose nearest stamps are further apart than the slop."""
        phases = self._phases(reference, last, alive)
        if phases is None:
            return None
        spread = np.nanmax(phases, axis=0) - np.nanmin(phases, axis=0)
        if _quantile(spread, _ENOUGH) <= limits.slop_ns:
            return None
        names = [self._cameras[i] for i in alive]
        what = (
            _widest_pair(phases, 0.5, names, limits.slop_ns, "{} and {} are {:.0f} ms apart in the median")
            or _widest_pair(
                phases,
                _ENOUGH,
                names,
                limits.slop_ns,
                "{} and {} are more than {:.0f} ms apart in three of ten frames",
            )
            or "the stamps of three of ten frame sets are spread over more than "
            f"{_quantile(spread, _ENOUGH) / _MS:.0f} ms"
        )
        needed = _rounded_up_ms(_quantile(spread, 0.95))
        return Finding(
            "phase",
            f"{what}, sync.slop_ms is {limits.slop_ns / _MS:g}: {share}; raise sync.slop_ms to at least "
            f"{needed}, or trigger the cameras together" + self._offsets_advice(phases, alive, limits),
        )

    def _phases(self, reference: int, last: int, alive: list[int]) -> np.ndarray | None:
        """(A, S) each alive camera's nearest stamp minus the reference's, for its S last ones, ns.

        NaN where a camera has no frame near; None where the streams do not overlap enough.
        """
        origin = self._streams[reference].stamps[0]
        stamps = {i: np.sort([float(stamp - origin) for stamp in self._streams[i].stamps]) for i in alive}
        low = max(times[0] for times in stamps.values())
        high = min(times[-1] for times in stamps.values())
        own = stamps[reference][-last:]
        margin = np.median(np.diff(own)) / 2
        own = own[(own >= low - margin) & (own <= high + margin)]
        phases = np.array([_nearest(stamps[i], own) for i in alive])
        phases = phases[:, np.isfinite(phases).sum(axis=0) > 1]
        if phases.shape[1] < _FEWEST or not (np.isfinite(phases).sum(axis=1) >= _FEWEST).all():
            return None
        return phases

    def _offsets_advice(self, phases: np.ndarray, alive: list[int], limits: SyncLimits) -> str:
        """The offsets that would bring the stamps together, where the phases are steady."""
        typical = np.nanmedian(phases, axis=1, keepdims=True)
        errors = phases - typical
        spread = np.nanmax(errors, axis=0) - np.nanmin(errors, axis=0)
        if len(alive) < len(self._cameras) or _quantile(spread, 0.9) > limits.slop_ns:
            return ""
        offsets = [
            f"{(offset - phase) / _MS:.1f}"
            for offset, phase in zip(limits.offsets_ns, typical[:, 0] - typical[0, 0])
        ]
        offsets = ["0.0" if value == "-0.0" else value for value in offsets]
        return f" (sync.offsets_ms:=[{','.join(offsets)}] where only the stamps are off)"


def _widest_pair(phases: np.ndarray, quantile: float, names: Sequence[str], slop_ns: int, text: str) -> str:
    """The two cameras whose stamps differ most, at this quantile; empty where the slop allows it.

    Args:
        phases: (A, S) as `SyncCheck._phases` gives them.
        quantile: of the distances, 0 to 1.
        names: of the A cameras.
        slop_ns: what is allowed.
        text: takes the two names and the distance in ms.
    """
    widest, pair = float(slop_ns), None
    for i, j in itertools.combinations(range(len(phases)), 2):
        gaps = np.abs(phases[i] - phases[j])
        gaps = gaps[np.isfinite(gaps)]
        if len(gaps) >= _FEWEST and (gap := _quantile(gaps, quantile)) > widest:
            widest, pair = gap, (names[i], names[j])
    return "" if pair is None else text.format(*pair, widest / _MS)


def _quantile(values: np.ndarray, share: float) -> float:
    """A value that occurs: between two phases lies one that no frame has."""
    return float(np.sort(values)[min(int(share * len(values)), len(values) - 1)])


def _nearest(times: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The nearest of the sorted times to each wanted one, minus it; NaN where a frame is missing."""
    period = np.median(np.diff(times))
    after = np.clip(np.searchsorted(times, wanted), 1, len(times) - 1)
    before = times[after - 1] - wanted
    after = times[after] - wanted
    found = np.where(np.abs(before) <= np.abs(after), before, after)
    # The nearest of a steady stream is at most half a period away.
    return np.where(np.abs(found) > 0.75 * period, np.nan, found)


def _rounded_up_ms(duration_ns: float) -> int:
    return math.floor(duration_ns / _MS) + 1
