"""Health: what the diagnostics and the log say of findings, silent cameras and calibrations."""

import pytest

pytest.importorskip("voxelpose_ros.msg", reason="the package's messages are not built")

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus

from voxelpose_core.findings import Finding
from voxelpose_core.geometry.rig_check import RigFindings
from voxelpose_core.synchronization.camera_statistics import SECOND, CameraStatistics
from voxelpose_ros.diagnostics import Health

PHASE = Finding("phase", "left and right are 20 ms apart in the median, sync.slop_ms is 15")


class Desk:
    """A Health with two cameras that send, and what it reports."""

    def __init__(self):
        topics = {"left": "/left/image_raw", "right": "/right/image_raw"}
        self.health = Health("voxelpose", "room", topics, now_s=100.0)
        self.now_s = 100.0
        self.statistics = {name: CameraStatistics() for name in topics}
        self.active = True

    def report(self, findings=(), silent=(), seconds=1.0):
        """Statuses by name after the next second."""
        self.now_s += seconds
        for name, statistics in self.statistics.items():
            if name not in silent:
                statistics.heard(round(self.now_s * SECOND), None)
        message = self.health.report(
            Time(), self.now_s, self.active, self.statistics, {"left": 1, "right": 0}, {}, findings
        )
        return {status.name.removeprefix("voxelpose: "): status for status in message.status}


def test_a_finding_is_in_the_status_of_the_estimator_and_in_the_log():
    desk = Desk()
    status = desk.report([PHASE])["estimator"]
    assert (status.level, status.message) == (DiagnosticStatus.WARN, PHASE.text)
    assert desk.health.new_lines() == [PHASE.text]
    # Also once there are skeletons, with other figures, and beside another problem.
    desk.health.frame_set(12.0, {}, people=1, below_floor=0, views=2, now_s=desk.now_s)
    desk.health.problem("estimation failed: something", desk.now_s)
    changed = PHASE._replace(text=PHASE.text.replace("20", "21"))
    status = desk.report([changed])["estimator"]
    assert status.message == f"{changed.text}; estimation failed: something"
    assert desk.health.new_lines() == []
    for _ in range(30):
        desk.report([changed])
    assert desk.health.new_lines() == [changed.text]
    status = desk.report()["estimator"]
    assert (status.level, status.message) == (DiagnosticStatus.OK, "0.0 frame sets per second")


def test_a_finding_about_a_camera_is_in_its_status():
    desk = Desk()
    statuses = desk.report([Finding("stamps", "stamps of right do not advance", "right")])
    assert statuses["right"].level == DiagnosticStatus.WARN
    assert statuses["right"].message == "stamps of right do not advance"
    assert statuses["left"].level == DiagnosticStatus.OK
    assert desk.health.new_lines() == ["stamps of right do not advance"]


def test_a_silent_camera_is_logged_too():
    desk = Desk()
    for _ in range(4):
        status = desk.report(silent=["right"])["right"]
    expected = "nothing on /right/image_raw for 4.0 s, expected a stream (no publishers there)"
    assert (status.level, status.message) == (DiagnosticStatus.ERROR, expected)
    (line,) = desk.health.new_lines()
    assert line.startswith("camera 'right': nothing on /right/image_raw for 3.0 s")


def test_what_looks_wrong_with_the_calibration_has_a_status_that_stays():
    desk = Desk()
    assert desk.report()["calibration"].level == DiagnosticStatus.OK
    note, direction, unit = "camera 'back' has no pose: left out", "the world is left's", "metres?"
    findings = RigFindings([note], [direction, unit])
    desk.health.calibrated(findings, desk.now_s)
    assert desk.health.new_lines() == [note, direction, unit]
    desk.health.calibrated(findings, desk.now_s + 1.0)
    assert desk.health.new_lines() == []
    for active in (True, False):
        desk.active = active
        status = desk.report()["calibration"]
        assert status.level == DiagnosticStatus.WARN
        assert status.message == "the world is left's (and 1 more, see the values)"
        values = {value.key: value.value for value in status.values}
        assert values == {"finding 1": direction, "finding 2": unit, "note 1": note}


def test_notes_about_the_calibration_are_no_warning():
    desk = Desk()
    desk.health.calibrated(RigFindings(["camera 'back' has no pose: left out"], []), desk.now_s)
    status = desk.report()["calibration"]
    assert (status.level, status.message) == (DiagnosticStatus.OK, "nothing looks wrong")
    assert [value.value for value in status.values] == ["camera 'back' has no pose: left out"]


def test_people_in_2d_without_skeletons_are_told():
    desk = Desk()
    for _ in range(12):
        desk.health.frame_set(12.0, {}, people=0, below_floor=0, views=2, now_s=desk.now_s)
        status = desk.report()["estimator"]
    assert status.message.startswith("2D detections in 2 views, but no skeleton for 12 s: check")
    desk.active = False
    assert desk.report()["estimator"].message == "inactive"


def test_people_below_the_floor_are_counted_and_told():
    desk = Desk()
    for _ in range(6):
        desk.health.frame_set(12.0, {}, people=1, below_floor=2, views=2, now_s=desk.now_s)
    status = desk.report()["estimator"]
    assert status.message.startswith("people are dropped in 6 of the last 6 frame sets")
    values = {v.key: v.value for v in status.values}
    assert values["people dropped below the floor"] == "12"
    assert desk.health.new_lines() == [status.message]


def test_latency_is_not_told_while_the_clock_of_the_stamps_is_unknown():
    desk = Desk()
    desk.health.frame_set(None, {}, people=1, below_floor=0, views=2, now_s=desk.now_s)
    keys = [value.key for value in desk.report()["estimator"].values]
    assert "latency p50 ms" not in keys
    desk.health.frame_set(7.0, {}, people=1, below_floor=0, views=2, now_s=desk.now_s)
    keys = [value.key for value in desk.report()["estimator"].values]
    assert "latency p50 ms" in keys


def test_old_stamps_are_remarked():
    desk = Desk()
    for statistics in desk.statistics.values():
        statistics.heard(round(desk.now_s * SECOND), 3600 * SECOND)
    values = {v.key: v.value for v in desk.report()["estimator"].values}
    assert values["remark"].startswith("stamps are 3600.0 s old")
