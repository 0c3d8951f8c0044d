"""Rows of a constant rate, filled gaps, smoothed joints and short tracks."""

import dataclasses

import numpy as np
import pytest
from skeleton_recordings import person, recording, walk

from voxelpose_core.errors import InputError
from voxelpose_core.skeleton_files import Recording, measured_rate, processed
from voxelpose_core.skeleton_files.filters import max_cutoff_hz
from voxelpose_core.skeleton_files.tracks import tracks_of
from voxelpose_core.skeletons import COCO17

WRIST = COCO17.index("left_wrist")


def joints_of(made, track_id=0):
    """(F, 17, 3) of a track in the frame sets of a recording; NaN where there is none."""
    joints = np.full((len(made.frame_sets), 17, 3), np.nan)
    for index, frame_set in enumerate(made.frame_sets):
        for skeleton in frame_set.skeletons:
            if skeleton.track_id == track_id:
                joints[index] = np.where(skeleton.joint_valid[:, None], skeleton.joints, np.nan)
    return joints


def test_nothing_changes_unless_it_is_asked_for():
    made = recording({0: walk(5)})
    assert processed(made) == (made, [])


def test_gaps_up_to_the_given_length_are_filled():
    """At 50 Hz, 0.1 s are five frames: gaps of 3 and 5 are filled, that of 6 and the open ends stay."""
    joints = walk(60)
    for gap in (slice(10, 13), slice(20, 25), slice(30, 36), slice(0, 2), slice(58, 60)):
        joints[gap, WRIST] = np.nan
    filled, notes = processed(recording({0: joints}), fill_s=0.1)
    back = joints_of(filled)
    assert notes == [] and filled.processing == {"fill_s": 0.1}
    gap = np.isnan(back[:, WRIST, 0])
    assert np.flatnonzero(gap).tolist() == [0, 1, *range(30, 36), 58, 59]
    line = np.linspace(joints[19, WRIST], joints[25, WRIST], 7)[1:-1]
    errors = [
        np.linalg.norm(points - walk(60)[20:25, WRIST], axis=1).max() for points in (back[20:25, WRIST], line)
    ]
    assert errors[0] < 0.5 * errors[1]  # it follows the swing
    assert np.abs(back - joints)[np.isfinite(joints)].max() == 0.0
    scores = [f.skeletons[0].joint_scores[WRIST] for f in filled.frame_sets]
    assert scores[11] == scores[9] and scores[32] == 0.0


def test_a_person_who_was_missed_for_a_while_is_filled_in():
    joints = walk(20)
    joints[8:10] = np.nan
    made = recording({0: joints, 1: walk(20, seed=1)})
    assert len(made.frame_sets[8].skeletons) == 1
    filled, _ = processed(made, fill_s=0.05)
    assert np.isfinite(joints_of(filled)).all()
    assert np.linalg.norm(joints_of(filled) - walk(20), axis=2).max() < 30.0
    assert {s.track_id for s in filled.frame_sets[8].skeletons} == {0, 1}
    stays, _ = processed(made, fill_s=0.03)
    assert np.isnan(joints_of(stays)[8:10]).all()


def test_frame_sets_that_are_missing_are_filled_in():
    made = recording({0: walk(20)})
    made.frame_sets = [f for f in made.frame_sets if f.frame not in (6, 7)]
    filled, _ = processed(made, fill_s=0.05)
    assert [f.frame for f in filled.frame_sets] == list(range(20))
    stays, _ = processed(made, fill_s=0.03)
    assert [f.frame for f in stays.frame_sets] == [f.frame for f in made.frame_sets]


def test_only_changed_skeletons_lose_their_covariances():
    joints = walk(10)
    joints[4, WRIST] = np.nan
    made = recording({0: joints})
    for frame_set in made.frame_sets:
        frame_set.skeletons[0].joint_covariances = np.tile(np.eye(3), (17, 1, 1))
    filled, _ = processed(made, fill_s=0.1)
    without = [i for i, f in enumerate(filled.frame_sets) if f.skeletons[0].joint_covariances is None]
    assert without == [4]
    smoothed, _ = processed(made, smooth_hz=6.0)
    assert all(f.skeletons[0].joint_covariances is None for f in smoothed.frame_sets)
    assert made.frame_sets[4].skeletons[0].joint_covariances is not None  # what came in is as it was


def waves(frames, *frequencies_hz, rate_hz=50.0):
    """(T, 17, 3) joints that all swing with an amplitude of 100 mm per frequency."""
    time = np.arange(frames) / rate_hz
    swing = sum(100.0 * np.sin(2 * np.pi * f * time) for f in frequencies_hz)
    return np.tile(swing[:, None, None], (1, 17, 3))


def test_smoothing_has_no_delay_and_its_half_power_where_it_says():
    """Both passes together: 0.71 of the amplitude at the cutoff, all below, nothing above."""
    for frequency, share in ((1.0, 1.0), (6.0, 0.5**0.5), (20.0, 0.0)):
        smoothed, notes = processed(recording({0: waves(400, frequency)}), smooth_hz=6.0)
        back, expected = joints_of(smoothed)[100:300, 0, 0], waves(400, frequency)[100:300, 0, 0]
        assert notes == [] and smoothed.processing == {"smooth_hz": 6.0}
        np.testing.assert_allclose(back, share * expected, atol=0.5)


def test_smoothing_stops_at_gaps_and_at_the_ends_of_tracks():
    joints = walk(60) + np.random.default_rng(0).normal(0, 5.0, (60, 17, 3))
    joints[30, WRIST] = np.nan
    whole, _ = processed(recording({0: joints, 1: walk(60, seed=1)}), smooth_hz=6.0)
    parts = [processed(recording({0: part}), smooth_hz=6.0)[0] for part in (joints[:30], joints[31:])]
    back = joints_of(whole)[:, WRIST]
    np.testing.assert_allclose(back[:30], joints_of(parts[0])[:, WRIST])
    np.testing.assert_allclose(back[31:], joints_of(parts[1])[:, WRIST])
    assert np.isnan(back[30]).all()
    other = joints_of(processed(recording({1: walk(60, seed=1)}), smooth_hz=6.0)[0], 1)
    np.testing.assert_allclose(joints_of(whole, 1), other)


def test_smoothing_of_runs_of_any_length():
    joints = walk(12)
    joints[[1, 4, 8], WRIST] = np.nan  # runs of 1, 2, 3 and 3
    back = joints_of(processed(recording({0: joints}), smooth_hz=6.0)[0])
    np.testing.assert_array_equal(np.isnan(back), np.isnan(joints))
    np.testing.assert_allclose(back[0, WRIST], joints[0, WRIST])


def test_two_entries_make_a_line():
    joints = walk(4)
    joints[1:3] = np.nan
    back = joints_of(processed(recording({0: joints}), fill_s=1.0)[0])
    np.testing.assert_allclose(back, np.linspace(joints[0], joints[3], 4), atol=1e-9)


def test_a_cutoff_that_the_rate_does_not_allow_is_told_and_leaves_the_joints():
    made = recording({0: walk(30)}, rate_hz=10.0)
    same, (note,) = processed(made, smooth_hz=max_cutoff_hz(10.0))
    assert same is made and "5 Hz is too much for 10 frame sets per second, expected less than 5" in note
    almost, notes = processed(made, smooth_hz=4.9)
    assert notes == [] and np.abs(joints_of(almost) - walk(30)).max() < 40.0


def test_short_tracks_are_left_out_where_asked():
    short = walk(30, seed=1)
    short[9:] = np.nan  # nine frames, 0.18 s
    made = recording({0: walk(30), 1: short})
    made.frame_sets[0].skeletons.append(person(walk(1)[0], -1))
    kept, notes = processed(made, min_track_s=0.18)
    assert {s.track_id for f in kept.frame_sets for s in f.skeletons} == {0, 1} and notes == []
    kept, notes = processed(made, min_track_s=0.19)
    assert {s.track_id for f in kept.frame_sets for s in f.skeletons} == {0}
    assert notes == ["1 track shorter than 0.19 s left out"] and kept.processing == {"min_track_s": 0.19}
    assert len(kept.frame_sets) == 30


def test_a_variable_frame_rate_is_resampled_and_told():
    """Stamps at 30 and 20 ms in turns: linear motion comes back exactly on rows of the mean rate."""
    stamps = np.cumsum([0.0] + [0.03, 0.02] * 15)
    joints = np.tile(1000.0 * stamps[:, None, None], (1, 17, 3))
    made = recording({0: joints}, rate_hz=40.0, stamps=stamps)
    tracks = tracks_of(made)
    assert tracks.resampled and "resampled to 40 Hz" in tracks.notes[0]
    np.testing.assert_allclose(np.diff(tracks.times), 0.025)
    np.testing.assert_allclose(tracks.tracks[0].joints[:, 3, 1], 1000.0 * tracks.times)
    assert tracks.times[-1] == pytest.approx(stamps[-1])
    smoothed, notes = processed(made, smooth_hz=5.0)
    assert len(smoothed.frame_sets) == len(tracks.times) and "resampled" in notes[0]
    assert all(len(f.skeletons) == 1 for f in smoothed.frame_sets)


def test_resampling_bridges_no_gap():
    stamps = np.cumsum([0.0] + [0.03, 0.02] * 10)
    stamps[12:] += 0.5  # nothing came for half a second
    joints = np.tile(1000.0 * stamps[:, None, None], (1, 17, 3))
    joints[5, WRIST] = np.nan
    (track,) = tracks_of(recording({0: joints}, rate_hz=40.0, stamps=stamps)).tracks
    times = track.first / 40.0 + np.arange(len(track.joints)) / 40.0
    inside = (times > stamps[11] + 1e-6) & (times < stamps[12] - 1e-6)
    assert inside.sum() > 15 and np.isnan(track.joints[inside]).all()
    near = (times > stamps[4] + 1e-6) & (times < stamps[6] - 1e-6)
    assert near.any() and np.isnan(track.joints[near][:, WRIST]).all()
    assert np.isfinite(track.joints[near][:, 0]).all()


def test_rates_are_measured_from_the_stamps():
    assert measured_rate([], 25.0) == measured_rate([1.0], 25.0) == 25.0
    assert measured_rate(np.round(np.arange(100) / 60, 6), 25.0) == pytest.approx(60.0, rel=1e-5)
    assert measured_rate(np.round(np.arange(100) / 60, 6), 60.0) == 60.0
    assert measured_rate([0.0, 0.04, 0.08, 0.4, 0.44], 25.0) == 25.0  # frame sets missing
    assert measured_rate([0.0, 0.08, 0.16], 25.0) == pytest.approx(12.5)  # every other frame


def test_stamps_that_fall_back_and_ids_that_come_twice_are_refused():
    made = recording({0: walk(3)})
    made.frame_sets[2].stamp = 0.0
    with pytest.raises(
        InputError, match="frame 2 at 0 s follows frame 1 at 0.02 s, expected stamps that rise"
    ):
        tracks_of(made)
    made = recording({0: walk(3)})
    made.frame_sets[1].skeletons *= 2
    with pytest.raises(InputError, match="frame 1 has track id 0 twice"):
        tracks_of(made)


def test_rows_keep_frame_numbers_and_stamps():
    made = recording({0: walk(10)}, first_frame=300)
    made.frame_sets = made.frame_sets[::3]
    made = dataclasses.replace(made, rate_hz=50.0 / 3)
    tracks = tracks_of(made)
    assert tracks.frames.tolist() == [300, 303, 306, 309]
    np.testing.assert_allclose(tracks.times, np.array([300, 303, 306, 309]) / 50)
    assert isinstance(made, Recording) and not tracks.resampled
