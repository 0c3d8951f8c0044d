"""The node's health as a DiagnosticArray: rates, latency, and what is wrong with which camera."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Mapping, Sequence

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from voxelpose_core.findings import DetectionWatch, Finding, FloorDrops, LogThrottle, age_remark
from voxelpose_core.geometry.rig_check import RigFindings
from voxelpose_core.synchronization.camera_statistics import SECOND, CameraStatistics
from voxelpose_ros import topics

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
        camera_topics: topic of each camera.
        now_s: start, seconds on the clock of all later times.
    """

    def __init__(self, node_name: str, hardware_id: str, camera_topics: Mapping[str, str], now_s: float):
        self._node_name = node_name
        self._hardware_id = hardware_id
        self._topics = dict(camera_topics)
        self._lock = threading.Lock()
        self._problems = {name: _Problem() for name in ("", *camera_topics)}
        self._notes: dict[str, str] = {}
        self._remarks: dict[str, str] = {}
        self._latency_ms: deque[float] = deque(maxlen=_WINDOW)
        self._timings_ms: dict[str, deque[float]] = {}
        self._frame_sets = 0
        self._people: Counter[int] = Counter()
        self._below_floor = 0
        self._drops = FloorDrops()
        self._detections = DetectionWatch()
        self._calibration = RigFindings([], [])
        self._throttle = LogThrottle()
        self._lines: list[str] = []
        self._started_s = now_s
        self._reported_s = now_s
        self._reported = Counter()

    def begin(self, now_s: float) -> None:
        """The node subscribes now: from here on cameras are expected to be heard."""
        with self._lock:
            self._started_s = now_s
            self._detections = DetectionWatch()
            self._drops = FloorDrops()

    def calibrated(self, findings: RigFindings, now_s: float) -> None:
        """What is to be said of the calibration in use; only what looks wrong is a warning."""
        with self._lock:
            self._calibration = findings
            # Transforms that never stand still give a new calibration twice a second.
            for index, line in enumerate([*findings.notes, *findings.wrong]):
                self._log(f"calibration/{index}", line, now_s)

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

    def frame_set(
        self,
        latency_ms: float | None,
        timings_ms: Mapping[str, float],
        people: int,
        below_floor: int,
        views: int,
        now_s: float,
    ) -> None:
        """Note one estimated frame set.

        Args:
            latency_ms: from its stamp to its skeletons; None while the clock of stamps is unknown.
            timings_ms: milliseconds of each stage.
            people: skeletons in it.
            below_floor: skeletons that the floor rule dropped.
            views: cameras in which a person was detected.
            now_s: the clock of the other times.
        """
        with self._lock:
            self._frame_sets += 1
            self._people[people] += 1
            self._below_floor += below_floor
            self._drops.update(below_floor)
            self._detections.update(views, people, now_s)
            if latency_ms is not None:
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
        findings: Sequence[Finding] = (),
    ) -> DiagnosticArray:
        """Statuses of the estimator, the calibration and, while the node is active, each camera.

        Args:
            stamp: the message's stamp.
            now_s: the clock of the other times.
            active: whether the node subscribes.
            statistics: of the synchronizer, by camera.
            publishers: how many there are on each camera's topic.
            description: further values of the estimator's status.
            findings: what is wrong for longer than a message.
        """
        with self._lock:
            interval = max(now_s - self._reported_s, 1e-6)
            by_camera = self._texts_by_camera(findings, active, now_s)
            description = {**description, **_age_remark(statistics)} if active else description
            status = [
                self._estimator_status(now_s, interval, active, by_camera[""], description),
                self._calibration_status(),
            ]
            for camera, values in statistics.items() if active else ():
                rate = (values.received - self._reported[camera]) / interval
                self._reported[camera] = values.received
                if rate > 0:
                    self._notes.pop(camera, None)
                status.append(
                    self._camera_status(camera, now_s, values, rate, publishers[camera], by_camera[camera])
                )
            self._reported_s = now_s
        message = DiagnosticArray(status=status)
        message.header.stamp = stamp
        return message

    def new_lines(self) -> list[str]:
        """What the last reports found and the log should say, each kind at most every 30 s."""
        with self._lock:
            lines, self._lines = self._lines, []
            return lines

    def _texts_by_camera(
        self, findings: Sequence[Finding], active: bool, now_s: float
    ) -> dict[str, list[str]]:
        """What is wrong with each camera and, by an empty name, with the whole; logs it, too."""
        texts: dict[str, list[str]] = {name: [] for name in self._problems}
        own = (self._detections.finding(now_s), self._drops.finding()) if active else ()
        for finding in (*findings, *filter(None, own)):
            texts[finding.camera].append(finding.text)
            self._log(f"{finding.camera}/{finding.key}", finding.text, now_s)
        return texts

    def _log(self, key: str, text: str, now_s: float) -> None:
        if self._throttle.due(key, now_s):
            self._lines.append(text)

    def _estimator_status(
        self,
        now_s: float,
        interval: float,
        active: bool,
        findings: Sequence[str],
        description: Mapping[str, object],
    ) -> DiagnosticStatus:
        rate = (self._frame_sets - self._reported[""]) / interval
        self._reported[""] = self._frame_sets
        values = {
            "state": "active" if active else "inactive",
            "frame sets estimated": self._frame_sets,
            "frame sets per second": f"{rate:.2f}",
            **_quantiles("latency", self._latency_ms),
            "people": ", ".join(f"{n}: {count}" for n, count in sorted(self._people.items())),
            "people dropped below the floor": self._below_floor,
        }
        for stage, durations in self._timings_ms.items():
            values |= _quantiles(stage, durations)
        values |= description
        problem = self._problems[""]
        level, text = DiagnosticStatus.OK, f"{rate:.1f} frame sets per second"
        wrong = list(findings)
        if now_s - problem.time_s < _PROBLEM_LASTS_S:
            wrong.append(problem.text)
        if wrong:
            level, text = DiagnosticStatus.WARN, "; ".join(wrong)
        elif not active:
            text = "inactive"
        elif self._frame_sets == 0:
            level, text = DiagnosticStatus.WARN, "no frame set estimated yet"
        return self._status("estimator", level, text, values | _problem_values(problem))

    def _calibration_status(self) -> DiagnosticStatus:
        notes, wrong = self._calibration
        level, text = DiagnosticStatus.OK, "nothing looks wrong"
        if wrong:
            more = f" (and {len(wrong) - 1} more, see the values)" if len(wrong) > 1 else ""
            level, text = DiagnosticStatus.WARN, wrong[0] + more
        values = {f"finding {i}": line for i, line in enumerate(wrong, start=1)}
        values |= {f"note {i}": line for i, line in enumerate(notes, start=1)}
        return self._status("calibration", level, text, values)

    def _camera_status(
        self,
        camera: str,
        now_s: float,
        statistics: CameraStatistics,
        rate: float,
        publishers: int,
        findings: Sequence[str],
    ) -> DiagnosticStatus:
        topic = self._topics[camera]
        heard_s = max(self._started_s, (statistics.last_heard_ns or 0) / SECOND)
        problem = self._problems[camera]
        level, text = DiagnosticStatus.OK, f"{rate:.1f} messages per second"
        if findings:
            level, text = DiagnosticStatus.WARN, "; ".join(findings)
        if now_s - heard_s > _SILENT_AFTER_S:
            level = DiagnosticStatus.ERROR
            text = (
                f"nothing on {topic} for {now_s - heard_s:.1f} s, "
                f"expected a stream ({topics.publishers(publishers)} there)"
            )
            if camera in self._notes:
                text += f": {self._notes[camera]}"
            self._log(f"{camera}/silent", f"camera '{camera}': {text}", now_s)
        if now_s - problem.time_s < _PROBLEM_LASTS_S:
            level, text = max(level, DiagnosticStatus.WARN), problem.text
        values = {
            "topic": topic,
            "publishers": publishers,
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


def _age_remark(statistics: Mapping[str, CameraStatistics]) -> dict[str, str]:
    ages = [values.age_ns for values in statistics.values() if values.age_ns is not None]
    remark = age_remark(float(np.median(ages))) if ages else None
    return {} if remark is None else {"remark": remark}


def _problem_values(problem: _Problem) -> dict[str, object]:
    return {"problems": problem.count, "last problem": problem.text}


def _quantiles(name: str, durations_ms: deque[float]) -> dict[str, str]:
    if not durations_ms:
        return {}
    median, high = np.percentile(durations_ms, (50, 95))
    return {f"{name} p50 ms": f"{median:.2f}", f"{name} p95 ms": f"{high:.2f}"}
