"""The counts by which simulated detections are compared with real ones, on cases done by hand."""

import numpy as np
import pytest

from voxelpose_core.datasets.detection_statistics import DetectionStatistics
from voxelpose_core.skeletons import COCO17

WRIST = COCO17.index("left_wrist")
ELBOWS = [COCO17.index("left_elbow"), COCO17.index("right_elbow")]


def person(offset=(0.0, 0.0)) -> np.ndarray:
    """(17, 2) joints inside a box of 100 x 200 pixels."""
    generator = np.random.default_rng(4)
    points = generator.uniform((0, 0), (100, 200), (17, 2))
    points[0], points[16] = (0, 0), (100, 200)
    return points + offset


def detected(points: np.ndarray) -> np.ndarray:
    return np.column_stack([points, np.full(len(points), 0.8)])


def summary(*views) -> dict:
    statistics = DetectionStatistics()
    for truth, found in views:
        statistics.add_view(np.array(truth), np.ones((len(truth), 17), bool), found)
    return statistics.summary()


def test_perfect_detections_have_no_errors():
    result = summary(([person()], [detected(person())]))
    assert result["missed_people_%"] == result["other_detections_per_view"] == 0
    assert all(part["missed_%"] == part["error_p90_%"] == 0 for part in result["parts"].values())
    assert result["parts"]["knee"]["score_p50"] == 0.8


def test_a_lost_wrist_is_half_of_the_wrists():
    found = detected(person())
    found[WRIST] = 0
    result = summary(([person()], [found]))
    assert result["parts"]["wrist"]["missed_%"] == 50
    assert result["parts"]["elbow"]["missed_%"] == 0


def test_errors_are_shares_of_the_longer_side():
    result = summary(([person()], [detected(person((0.0, 4.0)))]))
    assert result["parts"]["hip"]["error_p50_%"] == pytest.approx(2.0)


def test_a_limb_far_off_is_gross_and_no_jitter():
    found = detected(person())
    found[WRIST, :2] += 90
    wrists = summary(([person()], [found]))["parts"]["wrist"]
    assert wrists["gross_%"] == 50
    assert wrists["error_p90_%"] == 0


def test_exchanged_elbows_are_one_pair_of_six():
    found = detected(person())
    found[ELBOWS] = found[ELBOWS[::-1]]
    assert summary(([person()], [found]))["swapped_pairs_%"] == pytest.approx(100 / 6, abs=0.1)


def test_nobody_found_is_a_missed_person_and_a_stranger_is_another_detection():
    stranger = detected(person((5000.0, 0.0)))
    result = summary(([person()], [stranger]), ([person()], None), ([person()], [detected(person())]))
    assert result["missed_people_%"] == pytest.approx(66.7)
    assert result["other_detections_per_view"] == pytest.approx(1 / 3, abs=0.01)
