"""What is wrong for longer than one message: named findings, and how often each is logged. No ROS in here."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

_LOG_AGAIN_S = 30.0
# Messages of live cameras are not that old.
_LIVE_S = 10.0


class Finding(NamedTuple):
    """Something that the user should change.

    Attributes:
        key: names the kind; stays the same while the figures in the text change.
        text: one line: what is wrong, what was expected, what to do.
        camera: which camera it belongs to; empty: the whole rig.
    """

    key: str
    text: str
    camera: str = ""


class LogThrottle:
    """Lets each kind of line through at once, and again while it lasts, every 30 s."""

    def __init__(self):
        self._logged_s: dict[str, float] = {}

    def due(self, key: str, now_s: float) -> bool:
        """Whether to log a line of this kind now."""
        if now_s - self._logged_s.get(key, -_LOG_AGAIN_S) < _LOG_AGAIN_S:
            return False
        self._logged_s[key] = now_s
        return True


def clock_finding(use_sim_time: bool, ros_time_ns: int) -> Finding | None:
    """Tells that simulated time is asked for and has not begun.

    Args:
        use_sim_time: the node's parameter.
        ros_time_ns: the node's clock; with `use_sim_time` it is 0 until /clock is heard.
    """
    if not use_sim_time or ros_time_ns > 0:
        return None
    return Finding(
        "clock",
        "use_sim_time is true but nothing comes on /clock: play the bag with --clock, or set "
        "use_sim_time to false",
    )


def age_remark(age_ns: float) -> str | None:
    """What stamps that are far from the node's clock suggest; None for those of live cameras.

    Args:
        age_ns: the node's clock minus the stamps.
    """
    seconds = abs(age_ns) / 1e9
    if seconds < _LIVE_S:
        return None
    if age_ns < 0:
        return (
            f"stamps are {seconds:.1f} s ahead of this computer's clock: latencies mean nothing; "
            "synchronize the clocks (NTP or PTP)"
        )
    return (
        f"stamps are {seconds:.1f} s old: latencies mean nothing; for a recording set use_sim_time "
        "to true and play the bag with --clock"
    )


class DetectionWatch:
    """Notices people who are detected in several views and never become a skeleton.

    A calibration that is wrong, a floor that lies elsewhere or a capture space that misses the
    people looks like this: all cameras are fine, and the output stays empty.
    """

    _LASTS_S = 10.0
    _RECENT_S = 2.0
    _FEWEST = 5
    _SHARE = 0.5

    def __init__(self):
        self._begin()

    def _begin(self) -> None:
        self._since_s: float | None = None
        self._last_s = 0.0
        self._frame_sets = 0
        self._views: list[int] = []

    def update(self, views: int, skeletons: int, now_s: float) -> None:
        """Take one estimated frame set.

        Args:
            views: cameras in which at least one person was detected.
            skeletons: people found in 3D.
            now_s: seconds on a clock that never jumps.
        """
        if skeletons:
            self._begin()
            return
        if self._since_s is None:
            if views < 2:
                return
            self._since_s = now_s
        self._frame_sets += 1
        if views >= 2:
            self._views.append(views)
            self._last_s = now_s
        # Forget false positives here and there, and a person who left.
        if len(self._views) < self._SHARE * self._frame_sets:
            self._begin()

    def finding(self, now_s: float) -> Finding | None:
        """What to tell now."""
        if self._since_s is None or len(self._views) < self._FEWEST:
            return None
        lasts_s = now_s - self._since_s
        frame_set_s = (self._last_s - self._since_s) / len(self._views)
        recent = now_s - self._last_s <= max(self._RECENT_S, 3 * frame_set_s)
        if lasts_s < self._LASTS_S or not recent:
            return None
        views = sorted(self._views)[len(self._views) // 2]
        return Finding(
            "no skeletons",
            f"2D detections in {views} views, but no skeleton for {lasts_s:.0f} s: check the "
            "calibration (voxelpose rig check), the height of the floor, and whether the capture "
            "space holds the people",
        )


class FloorDrops:
    """Notices that the floor rule drops people again and again, not a false positive now and then."""

    _KEPT = 50
    _FEWEST = 5

    def __init__(self):
        self._dropped: deque[bool] = deque(maxlen=self._KEPT)

    def update(self, below_floor: int) -> None:
        """Take one estimated frame set, in which so many people were dropped."""
        self._dropped.append(below_floor > 0)

    def finding(self) -> Finding | None:
        """What to tell now."""
        count, total = sum(self._dropped), len(self._dropped)
        if count < self._FEWEST or count < total / 2:
            return None
        return Finding(
            "below floor",
            f"people are dropped in {count} of the last {total} frame sets because they reach below "
            "the floor: see the parameters ground and estimator.floor_tolerance",
        )
