"""Rigs that are off are refined, right ones are kept, and what cannot be told is refused in one line."""

import dataclasses

import numpy as np
import pytest

from voxelpose_core.datasets.generated_recordings import RecordingSettings, generate_recording
from voxelpose_core.errors import InputError
from voxelpose_core.metrics.rig_error import rig_error
from voxelpose_core.self_calibration.adjustment import adjust
from voxelpose_core.self_calibration.correspondence import shared_poses
from voxelpose_core.self_calibration.gauge import hold_world, relative_deviations
from voxelpose_core.self_calibration.refine import RefineSettings, refine
from voxelpose_core.skeletons import COCO17

WALK = RecordingSettings(duration_s=16.0, rates_hz=8.0)
QUICK = RefineSettings(search_s=0.5)


def _made(number=0, **changes):
    return generate_recording(number, dataclasses.replace(WALK, **changes))


def _pair_mm(made, rig):
    return rig_error(rig, made.true_rig, made.true_joints()).pair_mm


def _without(recording, view):
    """The recording whose camera `view` sees nobody."""
    cameras = list(recording.cameras)
    nobody = tuple(np.zeros((0, 17, 3)) for _ in cameras[view].people)
    cameras[view] = dataclasses.replace(cameras[view], people=nobody)
    return dataclasses.replace(recording, cameras=tuple(cameras))


@pytest.mark.parametrize(
    "changes",
    [
        {"degrees": 1.0, "mm": 50.0},
        {"degrees": 1.0, "mm": 50.0, "fisheye": True},
        {"degrees": 1.0, "mm": 50.0, "rates_hz": (12.0, 8.0, 10.0), "cameras": 3, "offsets_ms": (0, 80, -60)},
    ],
)
def test_a_rig_that_is_off_is_set_right(changes):
    made = _made(**changes)
    found = refine(made.rig, made.recording, QUICK)
    assert found.accepted and found.reason == "" and found.rig is found.proposal
    assert _pair_mm(made, found.rig) < min(12.0, 0.4 * _pair_mm(made, made.rig))
    assert found.after_share < 0.97 * found.before_share
    assert found.frame_sets > 70 and found.seconds == pytest.approx(15.8, abs=0.5)
    assert [camera.name for camera in found.cameras] == list(made.rig.names)
    assert found.rig.ground == made.rig.ground and found.rig.names == made.rig.names


def test_a_camera_that_was_knocked_is_named_and_the_world_stays():
    made = _made(1, degrees=2.0, mm=40.0, off_cameras=(2,))
    found = refine(made.rig, made.recording, QUICK)
    assert found.accepted
    moved = [camera.moved_deg for camera in found.cameras]
    assert np.argmax(moved) == 2 and moved[2] == pytest.approx(2.0, abs=0.5)
    assert max(moved[:2] + moved[3:]) < 0.5
    knocked = found.cameras[2]
    assert knocked.after_px < knocked.before_px and knocked.moved_deg > 3 * knocked.sigma_deg


@pytest.mark.parametrize("number", [0, 1])
def test_a_right_rig_is_not_touched(number):
    made = _made(number)
    found = refine(made.rig, made.recording, QUICK)
    assert not found.accepted and found.rig is made.rig
    assert "%" in found.reason and "\n" not in found.reason
    assert found.proposal is not None and len(found.cameras) == 4


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"standing": True, "degrees": 1.0, "mm": 50.0}, "people hardly move"),
        ({"order": (1, 0, 2, 3)}, "voxelpose rig diagnose"),
        ({"order": (1, 2, 0, 3), "degrees": 0.5, "mm": 20.0}, "voxelpose rig diagnose"),
        ({"duration_s": 1.0, "degrees": 1.0, "mm": 50.0}, "expected at least 6, better 100"),
    ],
)
def test_recordings_that_cannot_tell_are_refused(changes, reason):
    made = _made(**changes)
    found = refine(made.rig, made.recording, QUICK)
    assert not found.accepted and found.rig is made.rig and reason in found.reason


def test_without_people_nothing_is_refined():
    made = _made(duration_s=3.0)
    recording = made.recording
    for view in (0, 1, 2):
        recording = _without(recording, view)
    found = refine(made.rig, recording, QUICK)
    assert not found.accepted and "no person of one camera fits one of another" in found.reason


def test_a_camera_that_shares_nobody_stays_where_it_is():
    made = _made(degrees=1.0, mm=50.0, cameras=5)
    found = refine(made.rig, _without(made.recording, 3), QUICK)
    assert found.accepted
    alone = found.cameras[3]
    assert alone.moved_deg == 0 and alone.moved_mm == 0 and "hardly shares anybody" in alone.note
    assert np.isnan(alone.before_share) and np.isinf(alone.offset_sigma_ms)
    assert found.rig.cameras[3] is made.rig.cameras[3]


@pytest.mark.parametrize(("cameras", "seconds"), [(2, 16.0), (16, 6.0)])
def test_few_and_many_cameras(cameras, seconds):
    made = _made(3, degrees=1.0, mm=50.0, cameras=cameras, duration_s=seconds, rates_hz=6.0)
    found = refine(made.rig, made.recording, QUICK)
    assert found.accepted and len(found.cameras) == cameras
    assert _pair_mm(made, found.rig) < 0.5 * _pair_mm(made, made.rig)
    assert np.isfinite([camera.after_share for camera in found.cameras]).all()


def test_another_recording_is_refused():
    made, other = _made(duration_s=1.0), _made(duration_s=1.0, cameras=5)
    with pytest.raises(InputError, match="expected camera_0, camera_1, camera_2, camera_3 in this order"):
        refine(made.rig, other.recording)


def test_moved_as_a_whole_no_camera_has_moved():
    made = _made(duration_s=1.0)
    angle = np.radians(5.0)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    moved = [
        dataclasses.replace(c, R=c.R @ turn.T, C=turn @ c.C + [300.0, -200.0, 50.0]) for c in made.rig.cameras
    ]
    for own, given in zip(hold_world(moved, made.rig.cameras), made.rig.cameras, strict=True):
        assert np.allclose(own.R, given.R, atol=1e-6) and np.allclose(own.C, given.C, atol=1e-2)


def test_cameras_are_surer_against_each_other_than_in_the_world():
    made = _made()
    poses = shared_poses(made.recording, made.rig.cameras)
    fit = adjust(made.rig.cameras, poses, COCO17)
    degrees, mm = relative_deviations(fit.cameras, fit.covariance)
    assert (degrees < fit.deviations(slice(0, 3))).all() and (degrees > 0).all()
    assert (mm < fit.deviations(slice(3, 6))).all() and (mm > 0).all()
