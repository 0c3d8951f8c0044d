"""Identities over time, on walks made here."""

from dataclasses import dataclass

import numpy as np
import pytest
from pydantic import ValidationError

from voxelpose_core.tracking import Tracker, TrackerSettings, mean_joint_distance

BODY = np.random.default_rng(1).uniform([-250, -250, 0], [250, 250, 1700], (17, 3))


@dataclass
class Skeleton:
    joints: np.ndarray
    joint_scores: np.ndarray
    joint_valid: np.ndarray
    score: float = 1.0
    track_id: int = -1


def person(x, y=0.0, noise=0.0, seed=0, valid=None):
    rng = np.random.default_rng(seed)
    joints = BODY + [x, y, 0.0] + rng.normal(0, noise, BODY.shape)
    valid = np.ones(17, bool) if valid is None else valid
    return Skeleton(joints, np.ones(17), valid)


def ids(tracker, people, stamp):
    return [s.track_id for s in tracker.update(people, stamp)]


def test_people_at_the_start_are_numbered_at_once():
    tracker = Tracker()
    assert ids(tracker, [person(0), person(2000)], 0.0) == [0, 1]
    assert ids(tracker, [person(2000), person(0)], 0.1) == [1, 0]


def test_input_is_not_changed():
    skeleton = person(0)
    (tracked,) = Tracker().update([skeleton], 0.0)
    assert skeleton.track_id == -1 and tracked.track_id == 0
    np.testing.assert_array_equal(tracked.joints, skeleton.joints)


@pytest.mark.parametrize("rate", [5, 15, 60])
def test_two_people_who_cross_keep_their_numbers(rate):
    """1.5 m/s towards each other, 400 mm beside each other, with 30 mm of noise."""
    tracker = Tracker()
    rng = np.random.default_rng(rate)
    for step in range(4 * rate):
        t = step / rate
        people = [
            person(-3000 + 1500 * t, 0, 30, seed=2 * step),
            person(3000 - 1500 * t, 400, 30, seed=2 * step + 1),
        ]
        order = rng.permutation(2) if step else [0, 1]
        answer = ids(tracker, [people[i] for i in order], t)
        assert answer == list(order)


def test_two_walkers_on_one_line_are_told_apart_by_their_motion():
    """They pass through each other; only the motion model can tell."""
    tracker = Tracker(TrackerSettings(gate_growth_mm_s=0))
    for step in range(40):
        t = step / 10
        answer = ids(tracker, [person(-2000 + 1000 * t), person(2000 - 1000 * t)], t)
        assert answer == [0, 1]


def test_short_loss_keeps_the_number_while_walking():
    tracker = Tracker()
    for step in range(20):
        assert ids(tracker, [person(150 * step)], step / 10) == [0]
    for step in range(20, 27):
        assert ids(tracker, [], step / 10) == []
    assert ids(tracker, [person(150 * 27)], 2.7) == [0]


def test_long_loss_is_a_new_person():
    tracker = Tracker(TrackerSettings(max_age_s=0.5))
    assert ids(tracker, [person(0)], 0.0) == [0]
    assert ids(tracker, [], 0.3) == []
    assert ids(tracker, [person(0)], 0.9) == [-1]
    assert ids(tracker, [person(0)], 1.0) == [1]


def test_newcomer_is_confirmed_after_a_while_and_a_flicker_never():
    tracker = Tracker(TrackerSettings(confirm_after=3))
    ids(tracker, [person(0)], 0.0)
    assert ids(tracker, [person(0), person(3000)], 0.1) == [0, -1]
    assert ids(tracker, [person(0)], 0.2) == [0]
    for stamp, expected in ((0.3, -1), (0.4, -1), (0.5, 1), (0.6, 1)):
        assert ids(tracker, [person(0), person(3000)], stamp) == [0, expected]


def test_jump_farther_than_the_gate_is_another_person():
    tracker = Tracker(TrackerSettings(gate_mm=300, gate_growth_mm_s=0, confirm_after=1))
    assert ids(tracker, [person(0)], 0.0) == [0]
    assert ids(tracker, [person(400)], 0.1) == [1]


def test_time_that_jumps_back_starts_anew_and_no_number_returns():
    tracker = Tracker()
    assert ids(tracker, [person(0)], 10.0) == [0]
    assert ids(tracker, [person(0)], 2.0) == [1]
    assert ids(tracker, [person(0)], 2.1) == [1]


def test_the_same_stamp_twice_is_survived():
    tracker = Tracker()
    assert ids(tracker, [person(0)], 1.0) == [0]
    assert ids(tracker, [person(10)], 1.0) == [0]
    assert ids(tracker, [person(20)], 1.1) == [0]


def test_invalid_joints_do_not_count():
    first, second = person(0), person(0)
    second.joints = second.joints.copy()
    second.joints[:8] += 5000
    valid = np.arange(17) >= 8
    all_valid = np.ones(17, bool)
    assert mean_joint_distance(first.joints, all_valid, second.joints, valid) == 0.0
    assert mean_joint_distance(first.joints, valid, second.joints, ~valid) > 1000
    tracker = Tracker()
    ids(tracker, [first], 0.0)
    second.joint_valid = valid
    assert ids(tracker, [second], 0.1) == [0]


def test_unknown_settings_are_refused():
    with pytest.raises(ValidationError):
        TrackerSettings(gate=3)
