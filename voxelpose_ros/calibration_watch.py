"""Compares what is seen with the calibration, in a thread of its own: frames never wait for it."""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable

from voxelpose_core.findings import Finding
from voxelpose_core.floor_watch import FloorWatch
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.pose_types import Estimate, body_only
from voxelpose_core.skeletons import JointSet
from voxelpose_core.view_check import PERIOD_S, ViewCheck

_WAITING = 32
# Frame sets of the view check between two looks, at least; for many cameras a look takes seconds, and all
# looks together must not take more than this share of a processor.
_PAUSE = 10
_SHARE = 0.05


class CalibrationWatch:
    """Exchanged views, turned images and a floor elsewhere, found in the estimates of frame sets.

    Args:
        make_view_check: the check of a rig's views.
    """

    def __init__(self, make_view_check: Callable[[Rig], ViewCheck] = ViewCheck):
        self._make_view_check = make_view_check
        self._items: queue.Queue[tuple[Rig, JointSet, Estimate, float] | None] = queue.Queue(_WAITING)
        self._findings: tuple[Finding, ...] = ()
        self._thread = threading.Thread(target=self._work, name="calibration watch", daemon=True)
        self._thread.start()

    def put(self, rig: Rig, joint_set: JointSet, estimate: Estimate, stamp_s: float) -> None:
        """Give the people of a frame set; never waits, left out while the watch is busy.

        Args:
            rig: the calibration in use; another one begins anew.
            joint_set: of its 2D detections and skeletons.
            estimate: its people; they are read later.
            stamp_s: of the frame set.
        """
        try:
            self._items.put_nowait((rig, joint_set, estimate, stamp_s))
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
        checks = None
        while (item := self._items.get()) is not None:
            rig, joint_set, estimate, stamp_s = item
            if checks is None or checks.rig is not rig or checks.joint_set != joint_set:
                checks = _Checks(rig, joint_set, self._make_view_check)
            try:
                self._findings = checks.findings(estimate, stamp_s)
            # The estimation goes on without these checks.
            except Exception as error:
                text = f"check of the calibration failed: {type(error).__name__}: {error}"
                self._findings = (Finding("check", text),)


class _Checks:
    """The checks of one calibration."""

    def __init__(self, rig: Rig, joint_set: JointSet, make_view_check: Callable[[Rig], ViewCheck]):
        self.rig = rig
        self._views = make_view_check(rig)
        self.joint_set = joint_set
        self._floor = FloorWatch(rig, joint_set)
        self._pause = _PAUSE

    def findings(self, estimate: Estimate, stamp_s: float) -> tuple[Finding, ...]:
        """Take one frame set; what is found so far."""
        estimate = body_only(estimate, self.joint_set)
        self._floor.add(estimate)
        self._views.add(estimate.keypoints, stamp_s)
        start = time.thread_time()
        contradiction = self._views.finding(self._pause)
        took_s = time.thread_time() - start
        self._pause = max(self._pause, math.ceil(took_s / _SHARE / PERIOD_S))
        texts = {"views": contradiction, "floor": self._floor.finding()}
        return tuple(Finding(key, text) for key, text in texts.items() if text)
