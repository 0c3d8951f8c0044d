"""Compares what is seen with the calibration, in a thread of its own: frames never wait for it."""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from voxelpose_core.findings import Finding
from voxelpose_core.floor_watch import FloorWatch
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.pose_types import Estimate, body_joint_set, body_only
from voxelpose_core.self_calibration.monitor import RigFault, RigMonitor
from voxelpose_core.skeletons import JointSet
from voxelpose_core.view_check import PERIOD_S, ViewCheck

_WAITING = 32
# Frame sets of the view check between two looks, at least; for many cameras a look takes seconds, and all
# looks together must not take more than this share of a processor.
_PAUSE = 10
_SHARE = 0.05
# The same for the monitor, whose looks take 0.2 s with four cameras and 2 s with 16.
_MONITOR_SHARE = 0.1


class CalibrationWatch:
    """Exchanged views, turned images, cameras that were knocked or are out of sync, and a floor elsewhere.

    Found in the estimates of frame sets.

    Args:
        monitored: whether cameras that no longer fit the others are looked for.
        advice: what to do about one.
        make_view_check: the check of a rig's views.
    """

    def __init__(
        self,
        monitored: bool = True,
        advice: Callable[[RigFault], str] = lambda fault: "",
        make_view_check: Callable[[Rig], ViewCheck] = ViewCheck,
    ):
        self._monitored, self._advice = monitored, advice
        self._make_view_check = make_view_check
        self._checks: _Checks | None = None
        self._items: queue.Queue[_Item | None] = queue.Queue(_WAITING)
        self._findings: tuple[Finding, ...] = ()
        self._thread = threading.Thread(target=self._work, name="calibration watch", daemon=True)
        self._thread.start()

    @property
    def monitor(self) -> RigMonitor | None:
        """The monitor of the rig in use; None before the first frame set, and where it is not wanted."""
        return None if self._checks is None else self._checks.monitor

    def put(
        self,
        rig: Rig,
        joint_set: JointSet,
        estimate: Estimate,
        stamp_s: float,
        stamps_s: Sequence[float | None] = (),
    ) -> None:
        """Give the people of a frame set; never waits, left out while the watch is busy.

        Args:
            rig: the calibration in use; another one begins anew.
            joint_set: of its 2D detections and skeletons.
            estimate: its people; they are read later.
            stamp_s: of the frame set.
            stamps_s: of each camera's frame; by default all are `stamp_s`.
        """
        try:
            self._items.put_nowait(_Item(rig, joint_set, estimate, stamp_s, stamps_s))
        except queue.Full:
            pass

    def findings(self) -> tuple[Finding, ...]:
        """What was found last; empty where all fits."""
        return self._findings

    def close(self) -> None:
        """Finish what waits and end the thread."""
        self._items.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (item := self._items.get()) is not None:
            try:
                if self._checks is None or not self._checks.are_of(item):
                    self._checks = _Checks(item, self._monitored, self._make_view_check)
                self._findings = self._checks.findings(item, self._advice)
            # The estimation goes on without these checks.
            except Exception as error:
                text = f"check of the calibration failed: {type(error).__name__}: {error}"
                self._findings = (Finding("check", text),)


class _Item(NamedTuple):
    """What is known of one frame set."""

    rig: Rig
    joint_set: JointSet
    estimate: Estimate
    stamp_s: float
    stamps_s: Sequence[float | None]


class _Checks:
    """The checks of one calibration."""

    def __init__(self, first: _Item, monitored: bool, make_view_check: Callable[[Rig], ViewCheck]):
        self.rig, self.joint_set = first.rig, first.joint_set
        body = body_joint_set(first.joint_set)
        self.monitor = RigMonitor(first.rig, body) if monitored else None
        self._views = make_view_check(first.rig)
        self._floor = FloorWatch(first.rig, body)
        self._pause = _PAUSE
        self._look_at_s = 0.0

    def are_of(self, item: _Item) -> bool:
        """Whether it is of the same calibration and joints."""
        return self.rig is item.rig and self.joint_set == item.joint_set

    def findings(self, item: _Item, advice: Callable[[RigFault], str]) -> tuple[Finding, ...]:
        """Take one frame set; what is found so far."""
        item = item._replace(estimate=body_only(item.estimate, self.joint_set))
        self._floor.add(item.estimate)
        self._views.add(item.estimate.keypoints, item.stamp_s)
        start = time.thread_time()
        contradiction = self._views.finding(self._pause)
        took_s = time.thread_time() - start
        self._pause = max(self._pause, math.ceil(took_s / _SHARE / PERIOD_S))
        texts = {"views": contradiction, "floor": self._floor.finding()}
        found = [Finding(key, text) for key, text in texts.items() if text]
        # Exchanged views and turned images look like anything else, too.
        faults = self._faults(item) if not contradiction else ()
        return (*found, *(_finding(fault, advice(fault)) for fault in faults))

    def _faults(self, item: _Item) -> tuple[RigFault, ...]:
        """What the monitor has found; it looks no oftener than its share of a processor allows."""
        if self.monitor is None:
            return ()
        self.monitor.add(item.estimate.keypoints, item.stamp_s, item.stamps_s)
        if self.monitor.is_due and time.monotonic() >= self._look_at_s:
            start = time.thread_time()
            self.monitor.look()
            self._look_at_s = time.monotonic() + (time.thread_time() - start) / _MONITOR_SHARE
        return self.monitor.faults


def _finding(fault: RigFault, advice: str) -> Finding:
    text = f"{fault}; {advice}" if advice else str(fault)
    return Finding(f"rig {fault.kind}", text, "" if fault.other else fault.camera)
