"""2D tracks of one camera: who is who over time, and how joints move between frames."""

import numpy as np
import pytest

from voxelpose_core.self_calibration.observations import CameraDetections
from voxelpose_core.self_calibration.tracks_2d import tracks_2d

_BODY = np.random.default_rng(0).uniform((-40, -100), (40, 100), (17, 2))


def _person(x, y=300.0, score=0.9):
    return np.column_stack([_BODY + [x, y], np.full(17, score)])


def _camera(frames, rate_hz=25.0):
    stamps = np.arange(len(frames)) / rate_hz
    people = tuple(np.array(frame, float).reshape(-1, 17, 3) for frame in frames)
    return CameraDetections("left", stamps, people)


def test_two_people_make_two_tracks_whatever_their_order():
    frames = [[_person(100 + 4 * t), _person(700 - 4 * t)][:: 1 if t % 2 else -1] for t in range(40)]
    first, second = tracks_2d(_camera(frames))
    assert len(first) == len(second) == 40
    assert {np.sign(track.velocities[:, :, 0].mean()) for track in (first, second)} == {1.0, -1.0}


@pytest.mark.parametrize("rate_hz", [5.0, 12.5, 25.0, 60.0])
def test_velocities_are_those_of_the_walk_at_every_rate(rate_hz):
    frames = [[_person(100 + 120.0 * t / rate_hz)] for t in range(int(3 * rate_hz))]
    (track,) = tracks_2d(_camera(frames, rate_hz))
    np.testing.assert_allclose(
        track.velocities, np.broadcast_to([120.0, 0.0], (len(track), 17, 2)), atol=1e-6
    )


def test_noise_is_smoothed_out_of_velocities():
    random = np.random.default_rng(1)
    frames = [[_person(100 + 5 * t) + random.normal(0, [3, 3, 0], (17, 3))] for t in range(100)]
    (track,) = tracks_2d(_camera(frames))
    error = track.velocities[10:-10] - [125.0, 0.0]
    single_frames = 3 * np.sqrt(2) * 25
    assert error.std() < 0.15 * single_frames


def test_people_who_cross_are_not_taken_for_each_other():
    """Tracks end where two people are in one place: none holds frames of both."""
    frames = [[_person(200 + 5 * t), _person(600 - 5 * t)] for t in range(80)]
    tracks = tracks_2d(_camera(frames))
    for track in tracks:
        if len(track) > 1:
            direction = np.sign(np.diff(track.pixels[:, 0, 0]))
            assert (direction == direction[0]).all()
    assert sum(len(track) >= 20 for track in tracks) == 4


def test_short_gaps_are_bridged_and_long_ones_end_a_track():
    frames = [[_person(100 + 4 * t)] if not 20 <= t < 23 and not 40 <= t < 55 else [] for t in range(80)]
    tracks = tracks_2d(_camera(frames))
    assert [len(track) for track in tracks] == [37, 25]
    bridged = tracks[0].at(np.array([21 / 25.0]))
    np.testing.assert_allclose(bridged[0][0], _BODY + [184, 300], atol=1e-6)


def test_frames_far_apart_are_tracks_of_their_own():
    camera = CameraDetections("left", np.arange(5) * 30.0, tuple([np.array([_person(100.0)])] * 5))
    tracks = tracks_2d(camera)
    assert [len(track) for track in tracks] == [1] * 5
    assert (tracks[0].velocities == 0).all() and (tracks[2].at(np.array([60.0]))[2] > 0).all()


def test_a_person_detected_twice_is_one_track():
    frames = [[_person(100 + 4 * t, score=0.5), _person(101 + 4 * t, score=0.9)] for t in range(20)]
    (track,) = tracks_2d(_camera(frames))
    assert len(track) == 20 and track.scores.min() == 0.9


def test_between_frames_positions_are_interpolated_and_scores_end_with_the_track():
    frames = [[_person(100 + 4 * t)] for t in range(20)]
    frames[7][0][3, 2] = 0.0
    (track,) = tracks_2d(_camera(frames))
    pixels, velocities, scores = track.at(np.array([-0.1, 0.1, 7.5 / 25, 0.9]))
    np.testing.assert_allclose(pixels[1], _BODY + [110, 300], atol=1e-9)
    np.testing.assert_allclose(velocities[1], np.broadcast_to([100.0, 0.0], (17, 2)), atol=1e-6)
    assert (scores[[0, 3]] == 0).all() and scores[2, 3] == 0 and scores[2, 4] > 0


def test_no_detections_make_no_tracks():
    assert tracks_2d(_camera([[]] * 5)) == []
    fragment = _person(100.0)
    fragment[3:, 2] = 0.0
    not_a_number = np.full((17, 3), np.nan)
    assert tracks_2d(_camera([[fragment, not_a_number]] * 5)) == []
