"""Findings that last: simulated time, old stamps, people who never become skeletons, log lines."""

import pytest

from voxelpose_core.findings import (
    DetectionWatch,
    FloorDrops,
    LogThrottle,
    age_remark,
    clock_finding,
)

SECOND = 10**9


def test_simulated_time_that_has_not_begun_is_told():
    assert clock_finding(False, 0) is None
    assert clock_finding(True, 12 * SECOND) is None
    assert clock_finding(True, 0).text == (
        "use_sim_time is true but nothing comes on /clock: play the bag with --clock, or set "
        "use_sim_time to false"
    )


@pytest.mark.parametrize("age_s", [0.0, 0.2, 9.0, -9.0])
def test_live_stamps_need_no_remark(age_s):
    assert age_remark(age_s * SECOND) is None


def test_recordings_and_clocks_that_are_ahead_get_a_remark():
    assert age_remark(86400 * SECOND).startswith("stamps are 86400.0 s old: latencies mean")
    assert "use_sim_time" in age_remark(86400 * SECOND)
    ahead = age_remark(-60 * SECOND)
    assert ahead.startswith("stamps are 60.0 s ahead of this computer's clock")
    assert "NTP or PTP" in ahead


def watch(frame_sets, period_s=0.1):
    """What a watch tells after each of the frame sets, given as (views, skeletons)."""
    detections = DetectionWatch()
    for index, (views, skeletons) in enumerate(frame_sets):
        detections.update(views, skeletons, index * period_s)
        finding = detections.finding(index * period_s)
        yield None if finding is None else finding.text


def test_people_in_2d_who_never_become_a_skeleton_are_told_after_ten_seconds():
    told = list(watch([(3, 0)] * 120))
    assert not any(told[:100]) and all(told[101:])
    assert told[-1].startswith("2D detections in 3 views, but no skeleton for 12 s: check the cal")


@pytest.mark.parametrize(
    "frame_sets",
    [
        [(0, 0)] * 200,
        [(1, 0)] * 200,
        [(3, 1)] * 200,
        [(3, int(i % 90 == 0)) for i in range(300)],
        # Somebody came by; false positives here and there.
        [(3, 0)] * 60 + [(0, 0)] * 200,
        [(2 * (i % 4 == 0), 0) for i in range(300)],
    ],
)
def test_empty_rooms_and_people_who_are_found_are_fine(frame_sets):
    assert not any(watch(frame_sets))


def test_detections_that_flicker_are_told_and_a_skeleton_ends_it():
    told = list(watch([(3 * (i % 4 != 3), 0) for i in range(150)] + [(3, 1)] + [(3, 0)] * 50))
    assert all(told[110:150])
    assert not any(told[150:])


def test_few_frame_sets_are_no_evidence():
    assert not any(watch([(3, 0)] * 4, period_s=5.0))
    assert any(watch([(3, 0)] * 6, period_s=5.0))


@pytest.mark.parametrize(
    ("dropped", "told"),
    [([0] * 60, False), ([1] * 4, False), ([0, 0, 0, 1] * 20, False), ([0] * 9 + [1] * 45, True)],
)
def test_people_who_are_dropped_below_the_floor_again_and_again_are_told(dropped, told):
    drops = FloorDrops()
    for count in dropped:
        drops.update(count)
    text = drops.finding().text if told else drops.finding()
    if told:
        assert text.startswith("people are dropped in 45 of the last 50 frame sets because")
    else:
        assert text is None


def test_each_kind_of_line_is_logged_at_once_and_again_after_a_while():
    throttle = LogThrottle()
    logged = {key: [t for t in range(70) if throttle.due(key, t)] for key in ("phase", "clock")}
    assert logged == {"phase": [0, 30, 60], "clock": [0, 30, 60]}
