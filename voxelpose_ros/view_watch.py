"""Compares the views with the calibration in a thread of its own: frames never wait for it. No ROS in here."""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np

from voxelpose_core.geometry.rig import Rig
from voxelpose_core.view_check import PERIOD_S, ViewCheck
from voxelpose_ros.findings import Finding

_WAITING = 32
# Frame sets of the check between two looks, at least; for many cameras a look takes seconds, and all looks
# together must not take more than this share of a processor.
_PAUSE = 10
_SHARE = 0.05


class ViewWatch:
    """Feeds 2D detections to a `ViewCheck` and keeps what it last found.

    Args:
        make_check: the check of a rig.
    """

    def __init__(self, make_check: Callable[[Rig], ViewCheck] = ViewCheck):
        self._make_check = make_check
        self._items: queue.Queue[tuple | None] = queue.Queue(maxsize=_WAITING)
        self._finding: Finding | None = None
        self._thread = threading.Thread(target=self._work, name="view check", daemon=True)
        self._thread.start()

    def put(self, rig: Rig, keypoints: Sequence[np.ndarray | None], stamp_s: float) -> None:
        """Give the 2D detections of a frame set; never waits, left out while the check is busy.

        Args:
            rig: the calibration in use; another one begins a new check.
            keypoints: per camera (P, J, 3) x, y in pixels, score; None: no frame.
            stamp_s: of the frame set.
        """
        try:
            self._items.put_nowait((rig, keypoints, stamp_s))
        except queue.Full:
            pass

    def finding(self) -> Finding | None:
        """What was found last, None where the views fit."""
        return self._finding

    def close(self) -> None:
        """Finish what waits and end the thread."""
        self._items.put(None)
        self._thread.join()

    def _work(self) -> None:
        check = None
        while (item := self._items.get()) is not None:
            rig, keypoints, stamp_s = item
            if check is None or check.rig is not rig:
                check, pause, self._finding = self._make_check(rig), _PAUSE, None
            check.add(keypoints, stamp_s)
            start = time.thread_time()
            text = check.finding(pause)
            pause = max(pause, math.ceil((time.thread_time() - start) / _SHARE / PERIOD_S))
            self._finding = None if text is None else Finding("views", text)
