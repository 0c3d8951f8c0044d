"""A whole calibration from people who walk, and what is said where the recording does not tell it."""

import dataclasses
import functools

import numpy as np
import pytest

from voxelpose_core.datasets.generated_recordings import RecordingSettings, generate_recording
from voxelpose_core.errors import InputError
from voxelpose_core.metrics.rig_error import rig_error
from voxelpose_core.self_calibration.from_people import (
    FromPeopleSettings,
    guessed_cameras,
    rig_from_people,
)
from voxelpose_core.self_calibration.lifting import lift
from voxelpose_core.self_calibration.people_fit import zoomed
from voxelpose_core.self_calibration.tracks_2d import recording_tracks
from voxelpose_core.self_calibration.unknown_poses import associate, rough_rigs, separated

_BASE = {"cameras": 3, "rates_hz": 10.0, "duration_s": 14.0}


@functools.cache
def _made(number, **settings):
    return generate_recording(number, RecordingSettings(**{**_BASE, **settings}))


def _refusal(recording, cameras, **settings):
    with pytest.raises(InputError) as caught:
        rig_from_people(recording, cameras, FromPeopleSettings(height_mm=1700.0, **settings))
    text = str(caught.value)
    assert "\n" not in text
    return text


def _with_camera(recording, index, camera):
    cameras = list(recording.cameras)
    cameras[index] = dataclasses.replace(camera, name=cameras[index].name)
    return dataclasses.replace(recording, cameras=tuple(cameras))


def _mirrored(recording, index, width):
    """What a detector says of mirrored images: people the other way round, their left and right as well."""
    order = list(recording.joint_set.mirror)
    people = []
    for person in recording.cameras[index].people:
        turned = person[:, order].copy()
        turned[..., 0] = np.where(turned[..., 2] > 0, width - 1 - turned[..., 0], 0.0)
        people.append(turned)
    camera = dataclasses.replace(recording.cameras[index], people=tuple(people))
    return _with_camera(recording, index, camera)


def _nobody(recording, indices):
    for index in indices:
        camera = recording.cameras[index]
        empty = tuple(np.zeros((0, 17, 3)) for _ in camera.people)
        recording = _with_camera(recording, index, dataclasses.replace(camera, people=empty))
    return recording


def test_people_are_lifted_from_one_camera_alone():
    made = _made(1, people=2)
    camera = made.true_rig.cameras[0]
    lifted = lift(camera, recording_tracks(made.recording)[0], made.recording.joint_set, 1700.0)
    up = camera.R[:, 2]
    assert np.degrees(np.arccos(lifted.upright[2] @ up)) < 8
    floor = np.nanmedian(np.concatenate(lifted.places)[:, 2])
    assert floor == pytest.approx(-camera.C[2], rel=0.3)


def test_a_rig_comes_out_of_cameras_with_own_clocks_and_rates():
    made = _made(1006, rates_hz=(10.0, 15.0, 25.0), offsets_ms=(0.0, 700.0, -800.0))
    found = rig_from_people(made.recording, made.rig.cameras, FromPeopleSettings(height_mm=1700.0))
    error = rig_error(found.rig, made.true_rig, made.true_joints(), similarity=True)
    assert error.degrees.max() < 1.0 and error.mm.max() < 80
    assert np.abs(found.offsets_ms - made.offsets_ms).max() < 25
    assert found.rig.time_offsets_ms == pytest.approx(tuple(found.offsets_ms))
    # The world is that of people.
    assert all(800 < camera.C[2] < 3500 for camera in found.rig.cameras)
    up = made.true_rig.cameras[0].R[:, 2] @ found.rig.cameras[0].R[:, 2]
    assert np.degrees(np.arccos(up)) < 3
    # It says how sure it is: not more than three times off.
    assert (error.degrees < 3 * np.maximum(found.sigma_deg, 0.1)).all()


def test_two_fisheyes_and_a_distance_for_the_scale():
    made = _made(1007, cameras=2, fisheye=True)
    first, second = (camera.C for camera in made.true_rig.cameras)
    distance = float(np.linalg.norm(first - second))
    settings = FromPeopleSettings(distance=("camera_0", "camera_1", distance))
    found = rig_from_people(made.recording, made.rig.cameras, settings)
    error = rig_error(found.rig, made.true_rig, made.true_joints(), similarity=True)
    assert error.degrees.max() < 1.0 and error.scale == pytest.approx(1.0, abs=0.02)


def test_an_unknown_focal_length_is_found():
    made = _made(1009, distorted=False)
    guess = [zoomed(camera, 1.3) for camera in made.rig.cameras]
    found = rig_from_people(made.recording, guess, FromPeopleSettings(height_mm=1700.0, free_focal=True))
    for camera, true in zip(found.rig.cameras, made.true_rig.cameras, strict=True):
        assert camera.K[0, 0] == pytest.approx(true.K[0, 0], rel=0.08)
    assert (found.sigma_focal > 0).all()


def test_a_wrong_focal_length_is_refused_and_its_camera_named():
    made = _made(1004, focal_errors=(0.0, -0.2, 0.0))
    text = _refusal(made.recording, made.rig.cameras)
    assert "camera 'camera_1': its focal length" in text and "--fov" in text


def test_nobody_in_view():
    made = _made(1, people=2)
    assert "no person is in view of any camera" in _refusal(
        _nobody(made.recording, [0, 1, 2]), made.rig.cameras
    )
    assert "camera 'camera_1': no person" in _refusal(_nobody(made.recording, [1]), made.rig.cameras)


def test_somebody_who_stands_still():
    made = _made(1002, standing=True)
    assert "people hardly move" in _refusal(made.recording, made.rig.cameras)


def test_a_camera_that_shares_nobody_is_named():
    made, other = _made(1000), _made(1001)
    recording = _with_camera(made.recording, 2, other.recording.cameras[2])
    assert _refusal(recording, made.rig.cameras, max_offset_s=0.25).startswith(
        "camera 'camera_2': shares no person"
    )


def test_mirrored_images_are_named():
    made = _made(1000, cameras=2)
    recording = _mirrored(made.recording, 1, made.rig.cameras[1].image_size[0])
    text = _refusal(recording, made.rig.cameras, max_offset_s=0.25)
    assert "only with its images mirrored" in text


def test_a_clock_farther_off_than_searched_is_told():
    made = _made(1000, cameras=2)
    text = _refusal(made.recording.shifted([0.0, 2.0]), made.rig.cameras, max_offset_s=0.5)
    assert "camera 'camera_1'" in text and "-2.0" in text and "0.5 s that are searched" in text


def test_a_recording_that_is_too_short():
    made = _made(1003, duration_s=1.5)
    text = _refusal(made.recording, made.rig.cameras, max_offset_s=0.25)
    assert "too short" in text or "hardly move" in text


def test_sixteen_cameras_find_each_other():
    made = _made(1010, cameras=16, duration_s=6.0, rates_hz=5.0)
    association = associate(made.recording, made.rig.cameras, 1700.0, max_offset_s=0.0)
    assert len(separated(association)) == 1 and len(association.pairs) < 120
    (best, *_) = rough_rigs(association)
    error = rig_error(
        dataclasses.replace(made.rig, cameras=best.cameras), made.true_rig, made.true_joints(), True
    )
    assert np.median(error.degrees) < 6


def test_a_field_of_view_makes_cameras():
    (camera,) = guessed_cameras(["left"], [(1280, 720)], 90.0)
    assert camera.K[0, 0] == pytest.approx(640.0) and camera.K[0, 2] == pytest.approx(639.5)
    with pytest.raises(InputError, match="camera 'left': field of view is 190"):
        guessed_cameras(["left"], [(1280, 720)], 190.0)
