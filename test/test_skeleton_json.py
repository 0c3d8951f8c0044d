"""skeletons.json: what is promised, and what is read back."""

import json

import numpy as np
import pytest
from skeleton_recordings import person

from voxelpose_core.errors import InputError
from voxelpose_core.skeleton_files import FrameSkeletons, Recording, json_file, read_skeletons
from voxelpose_core.skeletons import COCO17

BODY = np.random.default_rng(5).uniform([-300, -300, 0], [300, 300, 1700], (17, 3))
HEAD = '{"joint_set": "coco17", "unit": "m", "frames": '


def write(path, *frame_sets, rate_hz=25.0, processing=None):
    json_file.write(path, Recording(COCO17, list(frame_sets), rate_hz, processing or {}))
    return json.loads(path.read_text())


def test_json_has_the_promised_layout(tmp_path):
    skeleton = person(BODY, track_id=2)
    skeleton.joint_valid[3] = False
    document = write(
        tmp_path / "s.json",
        FrameSkeletons(7, 0.28, [skeleton]),
        FrameSkeletons(8, 0.32, []),
        processing={"fill_s": 0.2},
    )
    keys = [
        "format",
        "joint_set",
        "joint_names",
        "unit",
        "frame_id",
        "start_ns",
        "rate_hz",
        "processing",
        "frames",
    ]
    assert list(document) == keys
    assert document["format"] == "voxelpose_skeletons/1"
    assert document["joint_set"] == "coco17" and document["unit"] == "m"
    assert document["rate_hz"] == 25.0 and document["processing"] == {"fill_s": 0.2}
    assert document["joint_names"] == list(COCO17.joint_names)
    assert [f["frame"] for f in document["frames"]] == [7, 8]
    frame = document["frames"][0]
    assert list(frame) == ["frame", "stamp", "skeletons"] and frame["stamp"] == 0.28
    (entry,) = frame["skeletons"]
    assert list(entry) == ["track_id", "score", "joints"] and entry["track_id"] == 2
    joints = np.array(entry["joints"])
    assert joints.shape == (17, 4)
    np.testing.assert_allclose(joints[:, :3], BODY / 1000, atol=1e-5)  # metres
    assert joints[3, 3] == 0.0 and joints[4, 3] == pytest.approx(skeleton.joint_scores[4], abs=1e-4)


def test_json_is_read_back(tmp_path):
    skeleton = person(BODY, track_id=4)
    skeleton.joint_valid[3] = False
    write(tmp_path / "s.json", FrameSkeletons(7, 0.28, [skeleton, person(BODY + 900.0)]))
    recording = read_skeletons(tmp_path / "s.json")
    (frame_set,) = recording.frame_sets
    assert recording.joint_set is COCO17 and recording.rate_hz == 25.0 and recording.processing == {}
    assert (frame_set.frame, frame_set.stamp) == (7, 0.28)
    first = frame_set.skeletons[0]
    np.testing.assert_allclose(first.joints, skeleton.joints, atol=0.01)
    np.testing.assert_array_equal(first.joint_valid, skeleton.joint_valid)
    assert (first.track_id, first.score) == (4, 0.9)


def test_files_of_before_the_version_are_read_and_their_rate_is_measured(tmp_path):
    frames = [FrameSkeletons(i, i / 30, [person(BODY)]) for i in (0, 1, 2, 5)]
    document = write(tmp_path / "s.json", *frames)
    for key in ("format", "rate_hz", "processing"):
        del document[key]
    (tmp_path / "s.json").write_text(json.dumps(document))
    recording = read_skeletons(tmp_path / "s.json")
    assert len(recording.frame_sets) == 4
    assert recording.rate_hz == pytest.approx(30.0, rel=1e-4)


def test_covariances_are_square_metres_in_the_file_and_come_back(tmp_path):
    skeleton = person(BODY)
    spread = np.random.default_rng(0).normal(0, 30.0, (17, 3, 3))
    skeleton.joint_covariances = spread @ spread.swapaxes(1, 2) + 25.0 * np.eye(3)
    document = write(tmp_path / "s.json", FrameSkeletons(0, 0.0, [skeleton, person(BODY + 900.0, 1)]))
    known, unknown = document["frames"][0]["skeletons"]
    assert "joint_covariances" not in unknown
    written = np.array(known["joint_covariances"])
    assert written.shape == (17, 3, 3)
    np.testing.assert_allclose(written, skeleton.joint_covariances / 1e6, atol=1e-8)
    (frame_set,) = read_skeletons(tmp_path / "s.json").frame_sets
    np.testing.assert_allclose(
        frame_set.skeletons[0].joint_covariances, skeleton.joint_covariances, atol=0.01
    )
    assert np.linalg.eigvalsh(frame_set.skeletons[0].joint_covariances).min() > 0
    assert frame_set.skeletons[1].joint_covariances is None


def frame_of(**entry):
    return HEAD + json.dumps([{"frame": 0, "stamp": 0, "skeletons": [entry]}]) + "}"


@pytest.mark.parametrize(
    "text, message",
    [
        ("{", "not valid JSON"),
        ("[]", "expected skeletons.json"),
        ('{"joint_set": "coco17", "unit": "m"}', "key 'frames' is missing"),
        ('{"joint_set": "coco17", "unit": "mm", "frames": []}', "unit is 'mm'"),
        ('{"joint_set": "coco9", "unit": "m", "frames": []}', "'coco9' is unknown"),
        ('{"format": "voxelpose_skeletons/2"}', "voxelpose_skeletons/2', expected 'voxelpose_skeletons/1'"),
        (HEAD + '[], "processing": [1]}', "expected skeletons.json"),
        (
            frame_of(track_id=0, score=1, joints=[[1, 2, 3, 4]]),
            "frame 0, skeleton 0: 'joints' has 1 entries, expected 17 of",
        ),
        (
            frame_of(track_id=0, score=1, joints=[[1e300, 2, 3, 1]] * 17),
            "frame 0, skeleton 0: a joint is not finite or beyond 10000 m",
        ),
        (
            HEAD + '[{"frame": 1, "stamp": 1, "skeletons": []}, {"frame": 0, "stamp": 0, "skeletons": []}]}',
            "frame 0 at 0 s follows frame 1 at 1 s, expected stamps that rise",
        ),
        (
            frame_of(track_id=0, score=1, joints=[[1, 2, 3, 4]] * 17, joint_covariances=[[1, 2, 3]] * 17),
            "joint_covariances.*expected skeletons.json",
        ),
    ],
)
def test_bad_json_is_named(tmp_path, text, message):
    (tmp_path / "s.json").write_text(text)
    with pytest.raises(InputError, match=message) as error:
        read_skeletons(tmp_path / "s.json")
    assert "s.json" in str(error.value)


def test_json_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(InputError, match="absent.*cannot be written"):
        write(tmp_path / "absent" / "s.json")
