"""CSV, NPZ, TRC and C3D: each read back by a reader that shares nothing with its writer."""

import csv

import numpy as np
import pytest
from skeleton_file_readers import read_c3d, read_trc
from skeleton_recordings import person, recording, walk

from voxelpose_core.errors import InputError
from voxelpose_core.skeleton_files import FORMATS, FrameSkeletons, format_of, write_skeletons
from voxelpose_core.skeletons import COCO17

MARKERS = (
    "Nose LEye REye LEar REar LShoulder RShoulder LElbow RElbow LWrist RWrist LHip RHip LKnee RKnee "
    "LAnkle RAnkle"
).split()


def two_people():
    """Ids 3 and 5; gaps in joints, 5 comes later, and 3 is away for two frames."""
    first, second = walk(12), walk(12, seed=1, start=(0.0, 2000.0))
    first[4, 9] = first[7:9, 2] = np.nan
    first[10, 16] = np.nan  # the last column of a row
    first[5:7] = np.nan
    second[:3] = np.nan
    return {3: first, 5: second}


def written(path, made, name=None):
    answer, failure = write_skeletons([path], made, name)
    assert failure is None
    return answer


# CSV --------------------------------------------------------------------------------------------


def test_csv_has_a_row_per_frame_person_and_joint(tmp_path):
    people = two_people()
    assert written(tmp_path / "s.csv", recording(people, first_frame=7)).paths == [tmp_path / "s.csv"]
    with (tmp_path / "s.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == "frame time_s skeleton track_id joint x_m y_m z_m score".split()
    assert len(rows) == 17 * (10 + 9)
    by_key = {(int(r["frame"]), int(r["track_id"]), r["joint"]): r for r in rows}
    assert len(by_key) == len(rows)
    for (frame, track_id, joint), row in by_key.items():
        expected = people[track_id][frame - 7, COCO17.index(joint)]
        assert float(row["time_s"]) == pytest.approx(frame / 50.0)
        if np.isnan(expected).any():
            assert (row["x_m"], row["y_m"], row["z_m"], row["score"]) == ("", "", "", "0")
        else:
            got = [float(row[axis]) for axis in ("x_m", "y_m", "z_m")]
            np.testing.assert_allclose(got, expected / 1000, atol=1e-5)
            assert 0.5 <= float(row["score"]) <= 0.9


def test_csv_and_npz_keep_people_that_were_not_followed(tmp_path):
    made = recording(two_people())
    made.frame_sets[0].skeletons += [person(walk(1)[0], -1), person(walk(1)[0] + 500.0, -1)]
    written(tmp_path / "s.csv", made)
    with (tmp_path / "s.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["track_id"] == "-1"]
    assert {row["skeleton"] for row in rows} == {"1", "2"} and len(rows) == 34
    written(tmp_path / "s.npz", made)
    assert (np.load(tmp_path / "s.npz")["track_id"] == -1).sum() == 2


# NPZ --------------------------------------------------------------------------------------------


def test_npz_has_a_row_per_skeleton(tmp_path):
    people = two_people()
    written(tmp_path / "s.npz", recording(people, first_frame=7))
    with np.load(tmp_path / "s.npz", allow_pickle=False) as file:
        data = dict(file)
    assert list(data["joint_names"]) == list(COCO17.joint_names) and data["joint_set"] == "coco17"
    assert data["rate_hz"] == 50.0
    np.testing.assert_array_equal(data["frames"], np.arange(7, 19))
    np.testing.assert_allclose(data["frame_times_s"], np.arange(7, 19) / 50)
    for track_id, joints in people.items():
        mine = data["track_id"] == track_id
        there = np.isfinite(joints).any(axis=(1, 2))
        np.testing.assert_array_equal(data["frame"][mine], np.flatnonzero(there) + 7)
        np.testing.assert_allclose(data["joints_m"][mine], joints[there] / 1000)
        assert (data["joint_scores"][mine][np.isnan(joints[there]).any(axis=2)] == 0).all()
    assert "joint_covariances_m2" not in data


def test_npz_has_covariances_where_all_skeletons_have_them(tmp_path):
    made = recording({0: walk(2)})
    for frame_set in made.frame_sets:
        frame_set.skeletons[0].joint_covariances = np.tile(100.0 * np.eye(3), (17, 1, 1))
    written(tmp_path / "s.npz", made)
    covariances = np.load(tmp_path / "s.npz")["joint_covariances_m2"]
    np.testing.assert_allclose(covariances, np.tile(1e-4 * np.eye(3), (2, 17, 1, 1)))


# TRC --------------------------------------------------------------------------------------------


def test_trc_has_a_file_per_person_in_metres_and_y_up(tmp_path):
    people = two_people()
    answer = written(tmp_path / "walk.trc", recording(people, first_frame=7))
    assert answer.paths == [tmp_path / "walk_P3.trc", tmp_path / "walk_P5.trc"] and answer.notes == []
    assert not (tmp_path / "walk.trc").exists()
    for track_id, first in ((3, 0), (5, 3)):
        values, markers, frames, times, points = read_trc(tmp_path / f"walk_P{track_id}.trc")
        assert markers == MARKERS
        assert values["Units"] == "m" and values["OrigDataStartFrame"] == str(7 + first)
        assert float(values["DataRate"]) == float(values["CameraRate"]) == 50.0
        np.testing.assert_array_equal(frames, np.arange(7 + first, 19))
        np.testing.assert_allclose(times, frames / 50, atol=1e-6)
        expected = people[track_id][first:] / 1000
        # OpenSim's axes: y up. Turning them back gives the rig's.
        np.testing.assert_allclose(points[..., [2, 0, 1]], expected, atol=1e-5)
        nose, ankle = points[:, MARKERS.index("Nose"), 1], points[:, MARKERS.index("LAnkle"), 1]
        assert np.nanmin(nose - ankle) > 0.5


def test_trc_of_one_person_has_the_name_that_was_given(tmp_path):
    answer = written(tmp_path / "walk.trc", recording({4: walk(3)}))
    assert answer.paths == [tmp_path / "walk.trc"]
    assert len(read_trc(tmp_path / "walk.trc")[2]) == 3


# C3D --------------------------------------------------------------------------------------------


def test_c3d_has_the_joints_of_all_people_as_points(tmp_path):
    pytest.importorskip("ezc3d")
    people = two_people()
    answer = written(tmp_path / "walk.c3d", recording(people, first_frame=7))
    assert answer.paths == [tmp_path / "walk.c3d"] and answer.notes == []
    points, residuals, rate, parameters = read_c3d(tmp_path / "walk.c3d")
    assert points.shape == (12, 34, 3) and rate == 50.0
    assert parameters["POINT:UNITS"] == ["mm"] and parameters["POINT:RATE"] == [50.0]
    assert parameters["POINT:LABELS"] == [f"P{i}:{marker}" for i in (3, 5) for marker in MARKERS]
    assert parameters["SUBJECTS:NAMES"] == ["P3", "P5"]
    assert parameters["SUBJECTS:LABEL_PREFIXES"] == ["P3:", "P5:"]
    assert (parameters["POINT:X_SCREEN"], parameters["POINT:Y_SCREEN"]) == (["+X"], ["+Z"])
    expected = np.concatenate([people[3], people[5]], axis=1)
    gaps = np.isnan(expected).any(axis=2)
    np.testing.assert_array_equal(residuals == -1, gaps)
    np.testing.assert_allclose(points[~gaps], expected[~gaps], atol=1e-3)


def test_c3d_is_read_by_ezc3d(tmp_path):
    ezc3d = pytest.importorskip("ezc3d")
    joints = walk(5)
    joints[2, 9] = np.nan
    written(tmp_path / "walk.c3d", recording({4: joints}))
    data = ezc3d.c3d(str(tmp_path / "walk.c3d"))
    assert data["parameters"]["POINT"]["LABELS"]["value"] == MARKERS  # one person: no prefix
    np.testing.assert_allclose(data["data"]["points"][:3].transpose(2, 1, 0), joints, atol=1e-3)
    assert data["data"]["meta_points"]["residuals"][0, 9].tolist() == [0, 0, -1, 0, 0]


def test_c3d_refuses_more_frames_than_it_can_count(tmp_path):
    pytest.importorskip("ezc3d")
    made = recording({0: walk(2)})
    made.frame_sets[1].stamp = 65535 / 50.0  # far later: rows without anyone in between
    answer, failure = write_skeletons([tmp_path / "a.c3d", tmp_path / "a.csv"], made)
    assert "65536 frames, but a C3D file holds at most 65535" in str(failure)
    assert answer.paths == [tmp_path / "a.csv"]


# All --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_no_people_at_all(name, tmp_path):
    path = tmp_path / f"s.{name}"
    empty = recording({})
    empty.frame_sets = [FrameSkeletons(0, 0.0, []), FrameSkeletons(1, 0.02, [])]
    answer = written(path, empty)
    if name in ("trc", "c3d", "bvh"):
        assert answer.paths == [] and answer.notes == [
            f"{path}: not written, as there is no person with a track id"
        ]
        assert list(tmp_path.iterdir()) == []
    else:
        assert answer.paths == [path] and path.is_file()


@pytest.mark.parametrize("name", FORMATS)
def test_a_recording_without_frame_sets(name, tmp_path):
    written(tmp_path / f"s.{name}", recording({}))


@pytest.mark.parametrize("name", FORMATS)
def test_one_frame_only(name, tmp_path):
    answer = written(tmp_path / f"s.{name}", recording({0: walk(1)}))
    assert answer.paths == [tmp_path / f"s.{name}"] and answer.notes == []
    if name == "c3d":
        assert len(read_c3d(answer.paths[0])[0]) == 1
    if name == "trc":
        assert len(read_trc(answer.paths[0])[2]) == 1


@pytest.mark.parametrize("name", ["trc", "c3d", "bvh"])
def test_a_person_without_any_valid_joint_is_left_out_and_told(name, tmp_path):
    made = recording({0: walk(3)})
    for frame_set in made.frame_sets:
        frame_set.skeletons.append(person(walk(1)[0], 1, np.zeros(17)))
        frame_set.skeletons.append(person(walk(1)[0], -1))
    answer = written(tmp_path / f"s.{name}", made)
    assert answer.paths == [tmp_path / f"s.{name}"]
    assert any(note.startswith("person 1 has no valid joint") for note in answer.notes)
    assert any(note.startswith("3 skeletons without a track id") for note in answer.notes)


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_that_cannot_be_written_keeps_no_other_from_it(name, tmp_path):
    paths = [tmp_path / "absent" / f"s.{name}", tmp_path / "s.csv"]
    answer, failure = write_skeletons(paths, recording({0: walk(2)}))
    assert str(paths[0]) in str(failure) and "cannot be written" in str(failure)
    assert answer.paths == [tmp_path / "s.csv"]


@pytest.mark.parametrize("path", ["s.xyz", "s", "s.json.gz"])
def test_an_unknown_ending_is_refused_with_those_known(path):
    with pytest.raises(InputError, match=r"expected one of \.json, \.csv, \.trc, \.c3d, \.bvh, \.npz"):
        format_of(path)
    assert format_of(path, "trc").name == "trc"
    assert format_of("S.TRC").name == "trc"
    with pytest.raises(InputError, match="format 'fbx' is unknown: expected one of json, csv"):
        format_of(path, "fbx")


@pytest.mark.parametrize("name", ["trc", "c3d", "bvh"])
def test_a_frame_set_far_from_all_others_is_refused_by_rows(name, tmp_path):
    """Not by running out of memory."""
    made = recording(two_people())
    last = made.frame_sets[-1]
    made.frame_sets.append(FrameSkeletons(999_999_999, 2e7, last.skeletons))
    (_, failure) = write_skeletons([tmp_path / f"s.{name}"], made)
    assert f"s after frame {last.frame}, too late for rows at a constant rate" in str(failure)
