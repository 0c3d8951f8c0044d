"""What people say of a rig, for unusual rigs and recordings."""

import numpy as np
import pytest

from voxelpose_core.datasets.generated_recordings import RecordingSettings, generate_recording
from voxelpose_core.errors import InputError
from voxelpose_core.self_calibration.arrangement import find_arrangement
from voxelpose_core.self_calibration.diagnosis import diagnose
from voxelpose_core.self_calibration.observations import CameraDetections, Recording
from voxelpose_core.skeletons import COCO17


def made(number=7, **settings):
    return generate_recording(number, RecordingSettings(**{"rates_hz": 12.0, "duration_s": 10.0, **settings}))


@pytest.mark.parametrize(
    "settings",
    [{"cameras": 2}, {"fisheye": True}, {"rates_hz": (25.0, 20.0, 12.0, 10.0)}],
    ids=["two cameras", "fisheyes", "frame rates that differ"],
)
def test_unusual_rigs_that_are_right_have_no_fault(settings):
    recording = made(**settings)
    found = diagnose(recording.rig, recording.recording)
    assert found.faults == ()
    assert found.floor is not None and abs(found.floor.height) < 60
    assert max(camera.share for camera in found.cameras) < 0.06


def test_offsets_are_told_with_their_uncertainty():
    recording = made(offsets_ms=(0.0, 120.0, 0.0, -300.0))
    found = diagnose(recording.rig, recording.recording)
    (fault,) = found.faults
    assert fault.kind == "offsets" and "'camera_1'" in fault.line and "'camera_3'" in fault.line
    errors = np.abs(np.array(found.offsets_ms) - recording.offsets_ms)
    sigmas = np.array([camera.offset_sigma_ms for camera in found.cameras])
    assert (errors < 3 * np.maximum(sigmas, 4.0)).all()


def test_offsets_of_the_rig_are_taken_for_known():
    recording = made(offsets_ms=(0.0, 120.0, 0.0, -300.0))
    rig = recording.rig.with_time_offsets(recording.offsets_ms)
    found = diagnose(rig, recording.recording)
    assert found.faults == ()
    np.testing.assert_allclose(found.offsets_ms, recording.offsets_ms, atol=15)


def test_an_offset_larger_than_the_search_is_no_answer():
    recording = made(offsets_ms=(0.0, 0.0, 3000.0, 0.0))
    found = diagnose(recording.rig, recording.recording, search_s=1.0)
    assert not found.well and found.offsets_ms[2] == 0.0
    said = [*found.unknown, *(fault.line for fault in found.faults)]
    assert any("'camera_2'" in line for line in said)


def test_a_knocked_camera_is_named():
    recording = made(degrees=4.0, mm=100.0, off_cameras=(1,))
    found = diagnose(recording.rig, recording.recording)
    assert found.faults and all("refine" in fault.remedy for fault in found.faults if not fault.kind)
    assert max(found.cameras, key=lambda camera: camera.share).name == "camera_1"


def test_order_is_found_although_clocks_differ_and_clocks_are_no_wrong_order():
    late = made(offsets_ms=(0.0, 900.0, -700.0, 400.0))
    assert find_arrangement(late.rig, late.recording).contradiction is None
    exchanged = made(order=(0, 2, 1, 3), offsets_ms=(0.0, 0.0, 0.0, 150.0))
    found = find_arrangement(exchanged.rig, exchanged.recording)
    assert found.contradiction is not None and found.contradiction.cameras == (0, 2, 1, 3)
    names = [camera.name for camera in found.recording.cameras]
    assert names == list(exchanged.rig.names)


def test_a_recording_without_people_is_refused():
    empty = CameraDetections("camera_0", np.arange(3) / 10, (np.zeros((0, 17, 3)),) * 3)
    rig = made(duration_s=1.0).rig
    cameras = [CameraDetections(name, empty.stamps, empty.people) for name in rig.names]
    with pytest.raises(InputError, match="no person is in view of any camera"):
        diagnose(rig, Recording(tuple(cameras), COCO17))


def test_sixteen_cameras():
    """Two that are exchanged among many, in a time that a user waits."""
    order = [*range(16)]
    order[3], order[9] = 9, 3
    recording = made(cameras=16, order=order, rates_hz=5.0, duration_s=3.0, missed=0.0)
    found = find_arrangement(recording.rig, recording.recording, search_s=0.2)
    assert found.contradiction is not None and found.contradiction.cameras == tuple(order)
