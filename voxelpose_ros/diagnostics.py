"""The node's health as a DiagnosticArray: rates, latency, and what is wrong with which camera."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Mapping

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from voxelpose_ros.synchronizer import SECOND, CameraStatistics

_WINDOW = 1000
_PROBLEM_LASTS_S = 5.0
_SILENT_AFTER_S = 2.0
_LOG_AGAIN_S = 10.0
_LOG_ANOTHER_S = 1.0


class _Problem:
    """The last thing that went wrong somewhere, and how often something did."""

    def __init__(self):
        self.text = ""
        self.count = 0
        self.time_s = -np.inf
        self.logged_s = -np.inf


class Health:
    """Collects what happens (from any thread) and reports it.

    Args:
        node_name: prefix of the statuses' names.
        hardware_id: the rig's name.
        topics: each camera's topic.
        now_s: start, seconds on the clock of all later times.
    """

    def __init__(self, node_name: str, hardware_id: str, topics: Mapping[str, str], now_s: float):
        self._node_name = node_name
        self._hardware_id = hardware_id
        self._topics = dict(topics)
        self._lock = threading.Lock()
        self._problems = {name: _Problem() for name in ("", *topics)}
        self._notes: dict[str, str] = {}
        self._remarks: dict[str, str] = {}
        self._latency_ms: deque[float] = deque(maxlen=_WINDOW)
        self._timings_ms: dict[str, deque[float]] = {}
        self._moments = 0
        self._people: Counter[int] = Counter()
        self._started_s = now_s
        self._reported_s = now_s
        self._reported = Counter()

    def begin(self, now_s: float) -> None:
        """The node subscribes now: from here on cameras are expected to be heard."""
        with self._lock:
            self._started_s = now_s

    def note(self, camera: str, text: str) -> None:
        """What may be why nothing comes from a camera; shown until something does."""
        with self._lock:
            self._notes[camera] = text

    def remark(self, camera: str, text: str) -> None:
        """What is unusual about a camera's messages, though nothing is wrong."""
        with self._lock:
            self._remarks[camera] = text

    def problem(self, text: str, now_s: float, camera: str = "") -> bool:
        """Note what went wrong, with a camera or at large; whether it is worth a log line now."""
        with self._lock:
            problem = self._problems[camera]
            pause = _LOG_AGAIN_S if problem.text == text else _LOG_ANOTHER_S
            fresh = now_s - problem.logged_s > pause
            problem.text, problem.time_s = text, now_s
            problem.count += 1
            if fresh:
                problem.logged_s = now_s
            return fresh

    def moment(self, latency_ms: float, timings_ms: Mapping[str, float], people: int) -> None:
        """Note one estimated moment."""
        with self._lock:
            self._moments += 1
            self._people[people] += 1
            self._latency_ms.append(latency_ms)
            for stage, duration in timings_ms.items():
                self._timings_ms.setdefault(stage, deque(maxlen=_WINDOW)).append(duration)

    def report(
        self,
        stamp: Time,
        now_s: float,
        active: bool,
        statistics: Mapping[str, CameraStatistics],
        publishers: Mapping[str, int],
        description: Mapping[str, object],
    ) -> DiagnosticArray:
        """One status for the estimator and, while the node is active, one for each camera.

        Args:
            stamp: the message's stamp.
            now_s: the clock of the other times.
            active: whether the node subscribes.
            statistics: of the synchronizer, by camera.
            publishers: how many there are on each camera's topic.
            description: further values of the estimator's status.
        """
        with self._lock:
            interval = max(now_s - self._reported_s, 1e-6)
            status = [self._estimator_status(now_s, interval, active, description)]
            for camera, values in statistics.items() if active else ():
                rate = (values.received - self._reported[camera]) / interval
                self._reported[camera] = values.received
                if rate > 0:
                    self._notes.pop(camera, None)
                status.append(
                    self._camera_status(camera, now_s, values, rate, publishers[camera])
                )
            self._reported_s = now_s
        message = DiagnosticArray(status=status)
        message.header.stamp = stamp
        return message

    def _estimator_status(
        self, now_s: float, interval: float, active: bool, description: Mapping[str, object]
    ) -> DiagnosticStatus:
        rate = (self._moments - self._reported[""]) / interval
        self._reported[""] = self._moments
        values = {
            "state": "active" if active else "inactive",
            "moments estimated": self._moments,
            "moments per second": f"{rate:.2f}",
            **_quantiles("latency", self._latency_ms),
            "people": ", ".join(f"{n}: {count}" for n, count in sorted(self._people.items())),
        }
        for stage, durations in self._timings_ms.items():
            values |= _quantiles(stage, durations)
        values |= description
        problem = self._problems[""]
        level, text = DiagnosticStatus.OK, f"{rate:.1f} moments per second"
        if now_s - problem.time_s < _PROBLEM_LASTS_S:
            level, text = DiagnosticStatus.WARN, problem.text
        elif not active:
            text = "inactive"
        elif self._moments == 0:
            level, text = DiagnosticStatus.WARN, "no moment estimated yet"
        return self._status("estimator", level, text, values | _problem_values(problem))

    def _camera_status(
        self,
        camera: str,
        now_s: float,
        statistics: CameraStatistics,
        rate: float,
        publishers: int,
    ) -> DiagnosticStatus:
        topic = self._topics[camera]
        heard_s = max(self._started_s, (statistics.last_heard_ns or 0) / SECOND)
        problem = self._problems[camera]
        level, text = DiagnosticStatus.OK, f"{rate:.1f} messages per second"
        if now_s - heard_s > _SILENT_AFTER_S:
            level = DiagnosticStatus.ERROR
            text = (
                f"nothing on {topic} for {now_s - heard_s:.1f} s, "
                f"expected a stream ({publishers} publishers there)"
            )
            if camera in self._notes:
                text += f": {self._notes[camera]}"
        if now_s - problem.time_s < _PROBLEM_LASTS_S:
            level, text = max(level, DiagnosticStatus.WARN), problem.text
        values = {
            "topic": topic,
            "messages per second": f"{rate:.2f}",
            "received": statistics.received,
            "used": statistics.used,
            "late": statistics.late,
            "duplicate": statistics.duplicate,
            "unmatched": statistics.unmatched,
            "missed": statistics.missed,
            "drop": f"{statistics.drop:.3f}",
            "skew ms": f"{statistics.skew_ns / 1e6:.2f}",
        }
        if statistics.age_ns is not None:
            values["age ms"] = f"{statistics.age_ns / 1e6:.2f}"
        if camera in self._remarks:
            values["remark"] = self._remarks[camera]
        return self._status(camera, level, text, values | _problem_values(problem))

    def _status(self, name: str, level: bytes, text: str, values: Mapping) -> DiagnosticStatus:
        return DiagnosticStatus(
            level=level,
            name=f"{self._node_name}: {name}",
            message=text,
            hardware_id=self._hardware_id,
            values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
        )


def _problem_values(problem: _Problem) -> dict[str, object]:
    return {"problems": problem.count, "last problem": problem.text}


def _quantiles(name: str, durations_ms: deque[float]) -> dict[str, str]:
    if not durations_ms:
        return {}
    median, high = np.percentile(durations_ms, (50, 95))
    return {f"{name} p50 ms": f"{median:.2f}", f"{name} p95 ms": f"{high:.2f}"}
