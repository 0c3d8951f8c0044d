"""Generated recordings: the same for everybody, and what is said to be true of them is."""

import dataclasses

import numpy as np
import pytest

from voxelpose_core.datasets.generated_recordings import (
    RecordingSettings,
    generate_recording,
    poses_at,
)
from voxelpose_core.geometry.image_turns import turn_points
from voxelpose_core.metrics.rig_error import rig_error

SHORT = RecordingSettings(duration_s=3.0)


def _distances(made, shift_s):
    """Median distance of a camera's detections from the truth, as if its stamps were late by `shift_s`."""
    medians = []
    for camera, seen, offset in zip(
        made.true_rig.cameras, made.recording.cameras, made.offsets_ms / 1000, strict=True
    ):
        joints = poses_at(made.times, made.poses, seen.stamps + offset + shift_s)
        gaps = []
        for frame, people in zip(joints, seen.people, strict=True):
            pixels = camera.project(frame.reshape(-1, 3))[0].reshape(-1, 17, 2)
            for person in people:
                gap = np.linalg.norm(pixels - person[None, :, :2], axis=-1)
                gaps.append(np.median(gap[:, person[:, 2] > 0], axis=1).min())
        medians.append(np.median(gaps))
    return np.array(medians)


def test_a_number_names_one_recording():
    first, second = generate_recording(3, SHORT), generate_recording(3, SHORT)
    assert np.array_equal(first.poses, second.poses)
    for one, other in zip(first.recording.cameras, second.recording.cameras, strict=True):
        assert np.array_equal(one.stamps, other.stamps)
        assert all(np.array_equal(a, b) for a, b in zip(one.people, other.people, strict=True))
    assert not np.array_equal(first.poses, generate_recording(4, SHORT).poses)


@pytest.mark.parametrize("fisheye", [False, True])
def test_added_to_the_stamps_the_true_offsets_give_true_times(fisheye):
    settings = dataclasses.replace(
        SHORT,
        noise=0.0,
        outliers=0.0,
        offsets_ms=(0, 120, -80, 40),
        rates_hz=(30, 25, 30, 15),
        fisheye=fisheye,
    )
    made = generate_recording(0, settings)
    assert made.offsets_ms.tolist() == [0, 120, -80, 40]
    assert (_distances(made, 0.0) < 1e-6).all()
    assert (_distances(made, 0.1) > 3.0).all()


def test_noise_is_a_share_of_peoples_size():
    made = generate_recording(1, dataclasses.replace(SHORT, duration_s=20.0, noise=0.02, outliers=0.0))
    shares = []
    for camera, seen in zip(made.true_rig.cameras, made.recording.cameras, strict=True):
        joints = poses_at(made.times, made.poses, seen.stamps)
        for frame, people in zip(joints, seen.people, strict=True):
            for person in people:
                there = person[:, 2] > 0
                pixels = camera.project(frame[0])[0][there]
                size = (pixels.max(axis=0) - pixels.min(axis=0)).max()
                shares.extend(((person[there, :2] - pixels) / size).ravel())
    assert np.std(shares) == pytest.approx(0.02, rel=0.1)


def test_the_users_rig_is_off_by_what_is_said():
    made = generate_recording(
        2, dataclasses.replace(SHORT, degrees=1.0, mm=50.0, focal_errors=(0, 0.2, 0, 0))
    )
    for own, true in zip(made.rig.cameras, made.true_rig.cameras, strict=True):
        cosine = (np.trace(own.R @ true.R.T) - 1) / 2
        assert np.degrees(np.arccos(cosine)) == pytest.approx(1.0)
        assert np.linalg.norm(own.C - true.C) == pytest.approx(50.0)
    ratios = [o.K[0, 0] / t.K[0, 0] for o, t in zip(made.rig.cameras, made.true_rig.cameras, strict=True)]
    assert ratios == pytest.approx([1, 1.2, 1, 1])


def test_exchanged_and_turned_views_are_those_of_the_right_ones():
    right = generate_recording(5, SHORT)
    wrong = generate_recording(5, dataclasses.replace(SHORT, order=(1, 0, 2, 3), turns=(0, 2, 0, 0)))
    assert [c.name for c in wrong.recording.cameras] == [c.name for c in right.recording.cameras]
    source, given = right.recording.cameras[0], wrong.recording.cameras[1]
    assert np.array_equal(source.stamps, given.stamps)
    for true, turned in zip(source.people, given.people, strict=True):
        seen = true[..., 2] > 0
        back = turn_points(turned[..., :2], (1280, 720), 2)
        assert np.allclose(back[seen], true[..., :2][seen])


def test_who_stands_stays_and_who_walks_does_not():
    for standing, least, most in ((True, 0.0, 1.0), (False, 500.0, 5000.0)):
        made = generate_recording(0, dataclasses.replace(SHORT, standing=standing, duration_s=10.0))
        hips = made.poses[:, 0, [11, 12]].mean(axis=1)
        assert least <= np.linalg.norm(hips.max(axis=0) - hips.min(axis=0)) <= most


def test_the_error_of_a_rig_does_not_depend_on_its_world():
    made = generate_recording(6, dataclasses.replace(SHORT, degrees=1.0, mm=50.0))
    joints = made.true_joints()
    before = rig_error(made.rig, made.true_rig, joints)
    assert 20 < before.pair_mm < 150 and before.scale == 1.0
    turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    shift = np.array([1000.0, -2000.0, 300.0])

    def moved(scale):
        cameras = [
            dataclasses.replace(c, R=c.R @ turn.T, C=scale * turn @ c.C + shift) for c in made.rig.cameras
        ]
        return dataclasses.replace(made.rig, cameras=tuple(cameras))

    after = rig_error(moved(1.0), made.true_rig, joints)
    assert after.pair_mm == pytest.approx(before.pair_mm)
    assert after.degrees == pytest.approx(before.degrees) and after.mm == pytest.approx(before.mm)
    scaled = rig_error(moved(2.0), made.true_rig, joints, similarity=True)
    assert scaled.pair_mm == pytest.approx(rig_error(made.rig, made.true_rig, joints, True).pair_mm)
    perfect = rig_error(made.true_rig, made.true_rig, joints)
    assert perfect.pair_mm < 1e-6 and perfect.degrees.max() < 1e-5
