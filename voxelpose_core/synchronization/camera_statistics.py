"""What each camera's messages came to: rates, drops, skew, age. No ROS in here; times are integer ns."""

from __future__ import annotations

from dataclasses import dataclass

SECOND = 1_000_000_000


@dataclass
class CameraStatistics:
    """What one camera's messages came to, since the start.

    Attributes:
        received: messages that came in: used + late + duplicate + unmatched + those still waiting.
        used: those that went out in a set.
        late: those of a frame set that had gone out before, or was given up.
        duplicate: those whose stamp had come before.
        unmatched: those that too few other cameras had a message for.
        missed: sets that went out without this camera.
        interval_ns: running mean between two arrivals; None before the second.
        skew_ns: running mean of its stamps minus those of their sets.
        age_ns: running mean of arrival minus stamp; None where no clock of the stamps is given.
        last_heard_ns: last arrival, on the synchronizer's clock.
        missing_since_ns: since when the sets have been without it; None while it is in them.
    """

    received: int = 0
    used: int = 0
    late: int = 0
    duplicate: int = 0
    unmatched: int = 0
    missed: int = 0
    interval_ns: float | None = None
    skew_ns: float = 0.0
    age_ns: float | None = None
    last_heard_ns: int | None = None
    missing_since_ns: int | None = None

    @property
    def drop(self) -> float:
        """Share of the sets that went out without this camera."""
        return self.missed / max(self.missed + self.used, 1)

    def rate_hz(self, now_ns: int) -> float:
        """Messages per second; falls while the camera is silent. 0 before the second message."""
        if self.interval_ns is None or self.last_heard_ns is None:
            return 0.0
        return SECOND / max(self.interval_ns, now_ns - self.last_heard_ns, 1.0)

    def heard(self, now_ns: int, age_ns: int | None) -> None:
        """Count one message that has just come in."""
        self.received += 1
        if self.last_heard_ns is not None:
            self.interval_ns = running_mean(self.interval_ns, now_ns - self.last_heard_ns)
        if age_ns is not None:
            self.age_ns = running_mean(self.age_ns, age_ns)
        self.last_heard_ns = now_ns
        self.missing_since_ns = None


def running_mean(mean: float | None, value: float) -> float:
    """The mean after one more value, which counts a twentieth; None before the first."""
    return float(value) if mean is None else mean + 0.05 * (value - mean)
