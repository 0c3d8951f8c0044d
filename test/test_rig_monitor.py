"""The monitor of a running rig: which camera was knocked or is late, and no alarm where nothing is wrong.

How often it is right is measured by benchmarks/rig_monitor.py.
"""

import dataclasses

import numpy as np
import pytest

from voxelpose_core.datasets.generated_recordings import RecordingSettings, generate_recording
from voxelpose_core.errors import InputError
from voxelpose_core.self_calibration.camera_faults import LATE, LEAST_POSES, MOVED, find_faults, moving_poses
from voxelpose_core.self_calibration.correspondence import shared_poses
from voxelpose_core.self_calibration.monitor import (
    BLIND,
    STRANGE,
    MonitorSettings,
    RigFault,
    RigMonitor,
    judge,
)
from voxelpose_core.self_calibration.observations import CameraDetections, Recording
from voxelpose_core.skeletons import COCO17

WALK = RecordingSettings(duration_s=14.0, rates_hz=10.0)


def generated(number, **changes):
    return generate_recording(number, dataclasses.replace(WALK, **changes))


def feed(monitor, recording, start=100.0):
    """Give a recording as frame sets; returns what each look found."""
    looks = []
    for index in range(min(len(camera.people) for camera in recording.cameras)):
        stamps = [start + float(camera.stamps[index]) for camera in recording.cameras]
        monitor.add([camera.people[index] for camera in recording.cameras], float(np.mean(stamps)), stamps)
        if monitor.is_due:
            looks.append(monitor.look())
    return looks


def test_a_camera_that_was_knocked_is_named():
    made = generated(11, degrees=1.0, off_cameras=[2])
    (fault,) = judge(made.rig.cameras, made.recording)
    assert (fault.camera, fault.kind, fault.other) == ("camera_2", MOVED, "")
    assert 0.6 < fault.degrees < 1.4
    assert "'camera_2' seems turned by" in str(fault)


def test_stamps_that_are_early_are_told_by_how_much():
    made = generated(12, offsets_ms=[0.0, 70.0, 0.0, 0.0])
    (fault,) = judge(made.rig.cameras, made.recording)
    assert (fault.camera, fault.kind) == ("camera_1", LATE)
    assert fault.offset_ms == pytest.approx(70.0, abs=12.0)
    assert "ms early, compared with the others" in str(fault)


def test_offsets_of_many_frames_are_searched():
    made = generated(13, offsets_ms=[0.0, 0.0, 0.0, -600.0])
    faults = {fault.camera: fault for fault in judge(made.rig.cameras, made.recording)}
    assert faults["camera_3"].kind == LATE
    assert faults["camera_3"].offset_ms == pytest.approx(-600.0, abs=60.0)
    assert "600 ms late" in str(RigFault("a", LATE, offset_ms=-600.0))


def test_two_knocked_cameras_of_five_are_both_named():
    made = generated(14, cameras=5, degrees=2.0, off_cameras=[0, 3])
    assert {fault.camera for fault in judge(made.rig.cameras, made.recording)} == {"camera_0", "camera_3"}


def test_of_two_cameras_either_may_be_the_one():
    made = generated(15, cameras=2, degrees=2.0, off_cameras=[0])
    (fault,) = judge(made.rig.cameras, made.recording)
    assert {fault.camera, fault.other} == {"camera_0", "camera_1"} and "' or '" in str(fault)


def test_a_camera_that_looks_elsewhere_or_at_nobody_is_named():
    made = generated(16)
    other, strange = generated(17), list(made.recording.cameras)
    strange[1] = dataclasses.replace(
        strange[1], people=tuple(people + [0, 300.0, 0] for people in other.recording.cameras[2].people)
    )
    kinds = {f.camera: f.kind for f in judge(made.rig.cameras, Recording(tuple(strange), COCO17))}
    assert kinds["camera_1"] in (STRANGE, MOVED)
    blind = list(made.recording.cameras)
    nobody = np.zeros((0, 17, 3))
    blind[1] = dataclasses.replace(blind[1], people=(nobody,) * len(blind[1].people))
    (fault,) = judge(made.rig.cameras, Recording(tuple(blind), COCO17))
    assert (fault.camera, fault.kind) == ("camera_1", BLIND) and "covered" in str(fault)


@pytest.mark.parametrize("changes", [{}, {"people": 2, "cameras": 3}, {"fisheye": True}, {"noise": 0.04}])
def test_good_rigs_raise_no_alarm(changes):
    for number in (20, 21):
        made = generated(number, degrees=0.1, mm=5.0, **changes)
        assert judge(made.rig.cameras, made.recording) == ()


def test_somebody_who_stands_still_tells_nothing():
    made = generated(22, standing=True, degrees=3.0, off_cameras=[1])
    poses = moving_poses(shared_poses(made.recording, made.rig.cameras))
    assert len(poses) < LEAST_POSES
    assert judge(made.rig.cameras, made.recording) is None


def test_another_number_of_cameras_is_refused():
    made = generated(23, duration_s=1.0)
    with pytest.raises(InputError, match="3 cameras, but the recording has 4"):
        judge(made.rig.cameras[:3], made.recording)


def test_a_fault_is_told_when_two_looks_have_found_it_and_until_one_does_not():
    knocked = generated(24, duration_s=26.0, degrees=1.5, off_cameras=[1])
    monitor = RigMonitor(knocked.rig, COCO17)
    looks = feed(monitor, knocked.recording)
    assert len(looks) == 3 and looks[0] == ()
    assert [fault.camera for fault in looks[1]] == ["camera_1"] == [fault.camera for fault in looks[2]]
    # It hangs as the rig says again: the detections are those of the same walk in front of that rig.
    mended = RigMonitor(knocked.true_rig, COCO17)
    mended._found = mended._faults = monitor.faults
    assert feed(mended, knocked.recording)[-1] == ()


def test_nothing_is_judged_anew_while_nobody_is_there():
    made = generated(25, duration_s=9.0)
    monitor = RigMonitor(made.rig, COCO17)
    looks = feed(monitor, made.recording)
    nobody = [np.zeros((0, 17, 3))] * 4
    for index in range(600):
        monitor.add(nobody, 200.0 + 0.1 * index)
    assert len(looks) == 1 and not monitor.is_due
    # Nor does one camera alone tell anything.
    for index in range(600):
        monitor.add([made.recording.cameras[0].people[0], *nobody[1:]], 300.0 + 0.1 * index)
    assert not monitor.is_due


def test_memory_is_bounded_and_pauses_are_short():
    settings = MonitorSettings(kept_s=5.0)
    made = generated(26, duration_s=4.0, rates_hz=40.0)
    monitor = RigMonitor(made.rig, COCO17, settings)
    for start in (0.0, 1e5, 2e5):
        feed(monitor, made.recording, start)
    recording = monitor.recording()
    assert all(len(camera.people) <= 50 for camera in recording.cameras)
    # Three times four seconds, of which five are kept; hours between count as two seconds.
    assert 4.0 < monitor.seconds < 9.5
    crowd = [np.tile(camera.people[5][:1], (30, 1, 1)) for camera in made.recording.cameras]
    monitor.add(crowd, 3e5)
    assert all(len(camera.people[-1]) <= 8 for camera in monitor.recording().cameras)


def test_a_bag_that_loops_begins_anew_and_missing_cameras_are_left_out():
    made = generated(27, duration_s=3.0)
    monitor = RigMonitor(made.rig, COCO17)
    feed(monitor, made.recording, 500.0)
    feed(monitor, made.recording, 100.0)
    recording = monitor.recording()
    assert all((np.diff(camera.stamps) > 0).all() for camera in recording.cameras)
    assert monitor.seconds < 3.0
    people = [camera.people[0] for camera in made.recording.cameras]
    monitor.add([people[0], None, people[2], people[3]], 110.0)
    counts = [len(camera.people) for camera in monitor.recording().cameras]
    assert counts[1] == counts[0] - 1


def test_what_is_kept_is_a_copy():
    made = generated(28, duration_s=1.0)
    people = [np.array(camera.people[3]) for camera in made.recording.cameras]
    monitor = RigMonitor(made.rig, COCO17)
    monitor.add(people, 1.0)
    for own in people:
        own[:] = 0.0
    assert monitor.recording().cameras[0].people[0].any()


def test_faults_of_one_camera_leave_the_others_alone():
    made = generated(29, degrees=4.0, off_cameras=[0])
    faults = find_faults(made.rig.cameras, moving_poses(shared_poses(made.recording, made.rig.cameras)))
    assert [fault.camera for fault in faults] == [0]


def test_a_camera_detections_of_no_frames():
    made = generated(30, duration_s=2.0)
    cameras = (CameraDetections("camera_0", np.zeros(0), ()), *made.recording.cameras[1:])
    assert judge(made.rig.cameras, Recording(cameras, COCO17)) is None
