"""Identities over time, on walks made here."""

import dataclasses
from dataclasses import dataclass

import numpy as np
import pytest
from pydantic import ValidationError

from voxelpose_core.generated_motion import Flaws, flawed, random_walks, walking_pose
from voxelpose_core.metrics import TrackingEvaluation
from voxelpose_core.skeletons import COCO17
from voxelpose_core.tracking import NO_ID, MovingPoints, Tracker, TrackerSettings

BODY = np.random.default_rng(1).uniform([-250, -250, 0], [250, 250, 1700], (17, 3))


@dataclass
class Skeleton:
    joints: np.ndarray
    joint_scores: np.ndarray
    joint_valid: np.ndarray
    score: float = 1.0
    track_id: int = -1
    joint_velocities: np.ndarray | None = None
    joint_covariances: np.ndarray | None = None


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
    tracker = Tracker()
    for step in range(40):
        t = step / 10
        answer = ids(tracker, [person(-2000 + 1000 * t), person(2000 - 1000 * t)], t)
        # In the middle the two skeletons are one and the same.
        assert answer == [0, 1] or step == 20


def test_short_loss_keeps_the_number_while_walking():
    tracker = Tracker()
    for step in range(20):
        assert ids(tracker, [person(150 * step)], step / 10) == [0]
    for step in range(20, 27):
        assert ids(tracker, [], step / 10) == []
    assert ids(tracker, [person(150 * 27)], 2.7) == [0]


@pytest.mark.parametrize("rate", [0.5, 2, 25])
def test_who_is_forgotten_was_missed_often_and_for_long(rate):
    """At slow rates the missed frame sets count, at fast ones the seconds."""
    settings = TrackerSettings(max_age_s=1.0, max_missed=3, confirm_after=1)
    for missed in range(1, 60):
        tracker = Tracker(settings)
        assert ids(tracker, [person(0)], 0.0) == [0]
        for step in range(1, missed + 1):
            assert ids(tracker, [], step / rate) == []
        forgotten = missed > 3 and missed / rate > 1.0
        assert ids(tracker, [person(0)], (missed + 1) / rate) == [1 if forgotten else 0]


def test_one_frame_set_in_five_seconds_is_enough_for_a_number():
    tracker = Tracker()
    for step in range(10):
        assert ids(tracker, [person(100 * step), person(3000)], 5.0 * step) == [0, 1]


def test_newcomer_is_confirmed_after_a_while_and_a_flicker_never():
    tracker = Tracker(TrackerSettings(confirm_after=3))
    ids(tracker, [person(0)], 0.0)
    assert ids(tracker, [person(0), person(3000)], 0.1) == [0, -1]
    assert ids(tracker, [person(0)], 0.2) == [0]
    for stamp, expected in ((0.3, -1), (0.4, -1), (0.5, 1), (0.6, 1)):
        assert ids(tracker, [person(0), person(3000)], stamp) == [0, expected]


def test_a_confirmed_newcomer_has_its_id_from_its_first_frame_on():
    """Files written at the end have whole tracks; a flicker stays without an id."""
    tracker = Tracker(TrackerSettings(confirm_after=3))
    tracker.update([person(0)], 0.0)
    returned = [tracker.update([person(0), person(3000)], 0.1)[1]]
    tracker.update([person(0)], 0.2)
    returned += [tracker.update([person(0), person(3000)], stamp)[1] for stamp in (0.3, 0.4)]
    assert [skeleton.track_id for skeleton in returned] == [-1, -1, -1]
    tracker.update([person(0), person(3000)], 0.5)
    assert [skeleton.track_id for skeleton in returned] == [-1, 1, 1]


def test_jump_farther_than_the_gate_is_another_person():
    tracker = Tracker(TrackerSettings(gate_mm=300, confirm_after=1))
    for step in range(5):
        assert ids(tracker, [person(0)], step / 10) == [0]
    assert ids(tracker, [person(800)], 0.5) == [1]


def test_time_that_jumps_back_starts_anew_and_no_number_returns():
    tracker = Tracker()
    assert ids(tracker, [person(0)], 10.0) == [0]
    (again,) = tracker.update([person(900)], 2.0)
    assert again.track_id == 1
    assert not again.joint_velocities.any()
    assert ids(tracker, [person(900)], 2.1) == [1]


def test_the_same_stamp_twice_is_survived():
    tracker = Tracker()
    assert ids(tracker, [person(0)], 1.0) == [0]
    assert ids(tracker, [person(10)], 1.0) == [0]
    assert ids(tracker, [person(20)], 1.1) == [0]


def test_invalid_joints_do_not_count():
    """Neither for who it is, nor for where it goes."""
    tracker = Tracker()
    upper, lower = np.arange(17) < 11, np.arange(17) >= 7
    for step in range(30):
        half = person(100 * step, valid=upper if step % 2 else lower)
        half.joints = np.where(half.joint_valid[:, None], half.joints, 1e5)
        (tracked,) = tracker.update([half], step / 10)
        assert tracked.track_id == 0
        np.testing.assert_array_equal(tracked.joints, half.joints)
    np.testing.assert_allclose(tracked.joint_velocities[upper], [[1000, 0, 0]] * 11, atol=50)


def test_a_skeleton_without_valid_joints_is_nobody_known():
    tracker = Tracker(TrackerSettings(confirm_after=1))
    ids(tracker, [person(0)], 0.0)
    assert ids(tracker, [person(0, valid=np.zeros(17, bool)), person(0)], 0.1) == [1, 0]


def test_a_newcomer_takes_nobodys_number():
    """Two skeletons beside somebody who has a number: the nearer gets it, whoever came first."""
    tracker = Tracker(TrackerSettings(confirm_after=5))
    for step in range(10):
        assert ids(tracker, [person(0)], step / 10) == [0]
    assert ids(tracker, [person(250), person(20)], 1.0) == [-1, 0]
    assert ids(tracker, [person(20), person(250)], 1.1) == [0, -1]


@pytest.mark.parametrize("rate", [5, 10, 25])
def test_velocities_of_a_walker(rate):
    tracker = Tracker()
    for step in range(3 * rate):
        (tracked,) = tracker.update([person(1200 * step / rate, 0, 5, seed=step)], step / rate)
    assert tracked.joint_velocities.shape == (17, 3)
    np.testing.assert_allclose(tracked.joint_velocities.mean(axis=0), [1200, 0, 0], atol=50)


def test_smoothing_takes_noise_away_and_keeps_up():
    raw, smooth = Tracker(), Tracker(TrackerSettings(smooth=True))
    errors = []
    for step in range(200):
        x = 48 * step
        noisy = person(x, 0, 40, seed=step)
        (a,), (b,) = raw.update([noisy], step / 25), smooth.update([noisy], step / 25)
        np.testing.assert_array_equal(a.joints, noisy.joints)
        errors.append([a.joints - person(x).joints, b.joints - person(x).joints])
    raw_error, smooth_error = np.array(errors[50:]).std(axis=(0, 2, 3))
    assert smooth_error < 0.8 * raw_error
    behind_mm = np.array(errors[50:])[:, 1, :, 0].mean()
    assert abs(behind_mm) < 0.010 * 1200  # 10 ms of walking


def uncertain(x, spread, seed, valid=None):
    """A person at x with errors of the deviations `spread` (17, 3), and covariances that say so."""
    skeleton = person(x, valid=valid)
    skeleton.joints += np.random.default_rng(seed).normal(0, 1, (17, 3)) * spread
    skeleton.joint_covariances = np.eye(3) * np.square(spread)[:, None]
    return skeleton


def test_joints_count_by_their_covariances():
    """Every camera looks along x: depth is uncertain, and of one arm more than of the trunk."""
    spread = np.tile([60.0, 8.0, 8.0], (17, 1))
    spread[9] = [200.0, 60.0, 60.0]
    known, alike = Tracker(TrackerSettings(smooth=True)), Tracker(TrackerSettings(smooth=True))
    errors = []
    for step in range(150):
        skeleton = uncertain(40 * step, spread, step)
        (a,) = known.update([skeleton], step / 25)
        (b,) = alike.update([dataclasses.replace(skeleton, joint_covariances=None)], step / 25)
        truth = person(40 * step).joints
        errors.append([skeleton.joints - truth, a.joints - truth, b.joints - truth])
    raw, with_covariances, without = np.sqrt(np.square(errors[50:]).mean(axis=(0, 3)))
    assert (with_covariances < 0.8 * raw).all()
    assert with_covariances[9] < 0.85 * without[9] and with_covariances.mean() < without.mean()


def test_smoothed_joints_come_with_the_covariances_of_the_filter():
    spread, tracker = np.full((17, 3), 30.0), Tracker(TrackerSettings(smooth=True, joint_noise_mm=43.0))
    distances = []
    for step in range(400):
        skeleton = uncertain(20 * step, spread, step)
        (tracked,) = tracker.update([skeleton], step / 25)
        if step > 30:
            error = tracked.joints - person(20 * step).joints
            solved = np.linalg.solve(tracked.joint_covariances, error[..., None])[..., 0]
            distances.append((error * solved).sum(axis=-1))
    both = (skeleton.joint_covariances, tracked.joint_covariances)
    before, after = (np.trace(c, axis1=1, axis2=2).mean() for c in both)
    assert after < 0.8 * before
    # The filter allows for limbs that turn; a steady walker is better than its covariance.
    assert np.mean(np.array(distances) < 7.815) > 0.95


def test_a_hidden_joint_with_a_covariance_is_smoothed_and_without_one_left_alone():
    hidden = np.arange(17) != 9
    spread = np.full((17, 3), 20.0)
    tracker = Tracker(TrackerSettings(smooth=True))
    for step in range(20):
        skeleton = uncertain(10 * step, spread, step, valid=hidden)
        (tracked,) = tracker.update([skeleton], step / 25)
    assert not np.allclose(tracked.joints[9], skeleton.joints[9])
    assert np.linalg.norm(tracked.joints[9] - person(190).joints[9]) < 60
    plain = Tracker(TrackerSettings(smooth=True))
    for step in range(20):
        skeleton = person(10 * step, 0, 20, seed=step, valid=hidden)
        (tracked,) = plain.update([skeleton], step / 25)
    np.testing.assert_array_equal(tracked.joints[9], skeleton.joints[9])


@pytest.mark.parametrize(
    "smooth, with_covariances, without", [(None, True, False), (True, True, True), (False, False, False)]
)
def test_who_is_smoothed(smooth, with_covariances, without):
    tracker = Tracker(TrackerSettings(smooth=smooth))
    for step in range(10):
        known, plain = uncertain(0, np.full((17, 3), 20.0), step), person(3000, 0, 20, seed=step)
        tracked = tracker.update([known, plain], step / 25)
    for before, after, smoothed in zip((known, plain), tracked, (with_covariances, without)):
        assert np.array_equal(before.joints, after.joints) != smoothed
        assert (after.joint_covariances is None) == (before.joint_covariances is None)


def test_filters_agree_with_each_other_at_any_rate():
    """Two short predictions are one long one."""
    one, two = (MovingPoints(np.zeros((2, 3)), motion()) for _ in range(2))
    for filters in (one, two):
        filters.correct(np.array([[1.0, 2, 3], [np.nan] * 3]), 20.0**2)
        filters.advance(0.5)
        filters.correct(np.array([[100.0, 2, 3], [4, 5, 6]]), 20.0**2)
    one.advance(0.3)
    two.advance(0.1)
    two.advance(0.2)
    np.testing.assert_allclose(one.position, two.position)
    np.testing.assert_allclose(one.velocity, two.velocity)
    np.testing.assert_allclose(one.deviation_mm, two.deviation_mm)


def test_the_filter_is_the_kalman_filter_of_its_process():
    """Against the textbook's matrices, with the noise integrated numerically."""
    elapsed, speed, lasting, noise = 0.4, 800.0, 0.7, 25.0
    filters = MovingPoints(np.zeros((1, 3)), motion(speed, lasting))
    state, covariance = np.zeros(2), np.diag([1000.0**2, speed**2])
    for measured in (10.0, 300.0, 350.0):
        drift = np.array([[0.0, 1.0], [0.0, -1.0 / lasting]])
        noise_rate = np.diag([0.0, 2.0 * speed**2 / lasting])
        steps = 4000
        for _ in range(steps):
            change = drift @ covariance + covariance @ drift.T + noise_rate
            covariance = covariance + change * elapsed / steps
            state = state + drift @ state * elapsed / steps
        gain = covariance[:, 0] / (covariance[0, 0] + noise**2)
        state = state + gain * (measured - state[0])
        covariance = covariance - np.outer(gain, covariance[0])
        filters.advance(elapsed)
        filters.correct(np.array([[measured, 0.0, 0.0]]), noise**2)
    np.testing.assert_allclose(filters.position[0, 0], state[0], rtol=1e-3)
    np.testing.assert_allclose(filters.velocity[0, 0], state[1], atol=0.5)
    np.testing.assert_allclose(filters.deviation_mm[0] ** 2, covariance[0, 0], rtol=2e-3)


def test_the_filter_is_exact_for_measurements_whose_axes_are_not_apart():
    """A turned world gives the turned answer."""
    noise = np.array([[900.0, 200.0, 0.0], [200.0, 400.0, -50.0], [0.0, -50.0, 100.0]])
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(0, 1, (3, 3)))
    one, two = (MovingPoints(np.zeros((1, 3)), motion()) for _ in range(2))
    for step in range(5):
        measured = np.random.default_rng(step).normal(0, 500, (1, 3))
        one.advance(0.1), two.advance(0.1)
        one.correct(measured, noise[None])
        two.correct(measured @ turn.T, (turn @ noise @ turn.T)[None])
    np.testing.assert_allclose(one.position @ turn.T, two.position)
    np.testing.assert_allclose(one.velocity @ turn.T, two.velocity)
    np.testing.assert_allclose(turn @ one.covariance @ turn.T, two.covariance)


@pytest.mark.parametrize("rate", [10, 25])
def test_predicted_poses_are_where_people_will_be(rate):
    tracker = Tracker()
    assert len(tracker.predict(0.0)) == 0
    for step in range(3 * rate):
        tracker.update([person(1200 * step / rate), person(0, 2500)], step / rate)
    before = tracker.predict(3.0)
    np.testing.assert_array_equal(before, tracker.predict(3.0))  # nothing is changed
    assert before.shape == (2, 17, 3)
    np.testing.assert_allclose(before[0], person(3600).joints, atol=15)
    np.testing.assert_allclose(before[1], person(0, 2500).joints, atol=5)
    # Unseen, the body goes on, and the pose with it.
    tracker.update([person(0, 2500)], 3.0)
    np.testing.assert_allclose(tracker.predict(3.2)[0], person(3840).joints, atol=100)
    # A stamp from before the last one starts anew: nobody is expected.
    assert len(tracker.predict(1.0)) == 0


def test_newcomers_and_those_who_are_forgotten_are_not_predicted():
    tracker = Tracker(TrackerSettings(confirm_after=3, max_age_s=0.5, max_missed=2))
    tracker.update([person(0)], 0.0)
    tracker.update([person(0), person(3000)], 0.1)
    assert len(tracker.predict(0.2)) == 1
    for step in range(2, 12):
        tracker.update([], step / 10)
    assert len(tracker.predict(1.2)) == 0


def motion(speed=1000.0, lasting=1.0):
    from voxelpose_core.tracking import _Motion

    return _Motion(speed, lasting)


def track_walks(rate, seed):
    """Metrics of the tracker on four people who cross, are lost and come back, among phantoms."""
    evaluation, tracker = TrackingEvaluation(), Tracker()
    walks = random_walks(4, rate, 20.0, seed)
    for step, (truth, (joints, valid)) in enumerate(zip(walks, flawed(walks, rate, seed))):
        found = [Skeleton(j, v.astype(float), v) for j, v in zip(joints, valid)]
        named = [s for s in tracker.update(found, step / rate) if s.track_id != NO_ID]
        poses = np.array([s.joints for s in named]).reshape(-1, 17, 3)
        evaluation.add(range(4), truth, [s.track_id for s in named], poses)
    return evaluation.result()


def test_ids_hold_on_random_walks():
    metrics = [track_walks(25, seed) for seed in range(2)]
    assert sum(m.switches for m in metrics) <= 3
    assert all(m.idf1 > 0.8 for m in metrics)


def test_walks_are_the_same_at_every_rate_and_keep_people_apart():
    slow, fast = random_walks(3, 5, 20.0, seed=1), random_walks(3, 25, 20.0, seed=1)
    assert slow.shape == (100, 3, 17, 3)
    np.testing.assert_array_equal(slow, fast[::5])
    roots = COCO17.root_of(fast)[..., :2]
    speed = np.linalg.norm(np.diff(roots, axis=0), axis=-1) * 25
    assert 500 < np.median(speed) < 1700
    apart = np.linalg.norm(roots[:, [0, 0, 1]] - roots[:, [1, 2, 2]], axis=-1)
    assert apart.min() > 100 and apart.min() < 600
    assert np.abs(fast[..., 2].min(axis=-1) - 70).max() < 10  # ankles walk on the floor


def test_flaws_are_as_ordered():
    walks = random_walks(3, 25, 30.0, seed=2)
    perfect = Flaws(0, 0, 0, 0, 0, (0.2, 1.0), 0, 0, 0)
    for truth, (joints, valid) in zip(walks, flawed(walks, 25, 0, perfect)):
        assert valid.all()
        assert np.allclose(np.sort(joints, axis=0), np.sort(truth, axis=0))
    counts = np.array([len(joints) for joints, _ in flawed(walks, 25, 0)])
    assert counts.min() < 3 < counts.max()
    invalid = np.concatenate([valid for _, valid in flawed(walks, 25, 0)])
    assert abs((~invalid).mean() - Flaws().invalid) < 0.01


def test_a_stride_faces_where_it_goes():
    pose = walking_pose(1700.0, 0.3, np.array([100.0, 200.0, 0.0]), np.pi / 2)
    np.testing.assert_allclose(COCO17.root_of(pose)[:2], [100, 200], atol=1e-6)
    nose, hips = pose[COCO17.index("nose")], COCO17.root_of(pose)
    assert nose[1] > hips[1] + 50
    assert pose[COCO17.index("left_hip"), 0] < pose[COCO17.index("right_hip"), 0]


def test_unknown_settings_are_refused():
    with pytest.raises(ValidationError):
        TrackerSettings(gate=3)
