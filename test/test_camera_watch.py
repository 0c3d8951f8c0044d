"""Which camera of a recording is wrong, told apart by the people whom the cameras share."""

import dataclasses

import numpy as np
import pytest

from voxelpose_core.camera_watch import BLIND_LIMIT, CameraWatch, _longest
from voxelpose_core.datasets.generated_recordings import (
    RecordingSettings,
    generate_recording,
    off_rig,
    poses_at,
)
from voxelpose_core.pose_types import Estimate, Skeleton
from voxelpose_core.results import RunReport
from voxelpose_core.skeletons import COCO17

SETTINGS = RecordingSettings(cameras=3, duration_s=14.0, rates_hz=50.0)
FAULTY = 1


def watched(rig, made, covered=(), noise_px=0.0, seconds=14.0):
    """A watch that has seen the recording, with the true skeletons for the estimated ones."""
    watch, report = CameraWatch(rig, COCO17), RunReport(rig)
    noise = np.random.default_rng(0)
    for stamp in np.arange(0.1, seconds - 0.2, 0.1).tolist():
        keypoints = []
        for view, camera in enumerate(made.recording.cameras):
            people = camera.people[int(np.argmin(np.abs(camera.stamps - stamp)))].copy()
            people[..., :2] += noise.normal(0, noise_px, people[..., :2].shape)
            keypoints.append(people[:0] if view == FAULTY and stamp in covered else people)
        (joints,) = poses_at(made.times, made.poses, np.array([stamp]))
        skeletons = [Skeleton(own, np.ones(17), np.ones(17, bool), 1.0, 0) for own in joints]
        answer = Estimate(skeletons, keypoints, rig.names)
        watch.add(answer, report.add(answer), stamp)
    watch.finish()
    return watch


class Span(tuple):
    """Times from a first to before a last one."""

    def __contains__(self, stamp):
        return self[0] <= stamp < self[1]


@pytest.fixture(scope="module")
def right():
    return generate_recording(3001, SETTINGS)


def turned(made, degrees):
    settings = dataclasses.replace(SETTINGS, degrees=degrees, off_cameras=[FAULTY])
    return off_rig(made.rig, np.random.default_rng(1), settings)


def test_a_right_rig_has_no_finding(right):
    watch = watched(right.rig, right)
    assert watch.judged and watch.findings() == []


def test_a_turned_camera_is_named(right):
    (finding,) = watched(turned(right, 2.0), right).findings()
    assert "camera_1" in finding.cameras and finding.short.startswith("turned ")
    assert float(finding.short.removeprefix("turned ").rstrip("°")) == pytest.approx(2.0, abs=0.5)
    assert "`voxelpose rig refine`" in finding.line


def test_a_late_camera_is_named():
    made = generate_recording(3002, dataclasses.replace(SETTINGS, offsets_ms=[0.0, -100.0, 0.0]))
    (finding,) = watched(made.rig, made).findings()
    assert finding.cameras[0] == "camera_1" and finding.short.endswith(" ms late")
    assert float(finding.short.split()[0]) == pytest.approx(100, abs=25)
    assert "--offsets-ms" in finding.line


def test_a_camera_that_is_covered_for_a_while_is_named_with_the_time(right):
    (finding,) = watched(right.rig, right, covered=Span((4.0, 12.0))).findings()
    assert finding.cameras == ("camera_1",) and finding.short.startswith("sees no person ")
    assert "(longest from 4.0 to 11.9 s)" in finding.line
    assert watched(right.rig, right, covered=Span((4.0, 4.0 + 0.5 * BLIND_LIMIT * 14))).findings() == []


def test_a_camera_that_never_sees_a_person_is_named(right):
    (finding,) = watched(right.rig, right, covered=Span((0.0, 99.0))).findings()
    assert finding.short == "sees no person" and "no person was detected in any frame" in finding.line


def test_too_short_to_judge_disagreement_is_told_all_the_same(right):
    watch = watched(right.rig, right, seconds=1.5)
    assert not watch.judged and watch.findings() == []
    watch = watched(turned(right, 5.0), right, seconds=1.5)
    assert not watch.judged
    assert "camera_1" in [name for finding in watch.findings() for name in finding.cameras]
    assert "of people's size, expected up to 7 %" in watch.findings()[0].line


@pytest.mark.parametrize(
    ("flags", "run"), [("", (0, -1)), ("0110", (1, 2)), ("1011", (2, 3)), ("111", (0, 2)), ("000", (0, -1))]
)
def test_the_longest_run(flags, run):
    assert _longest([flag == "1" for flag in flags]) == run
