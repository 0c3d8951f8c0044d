"""2D detections as tools write them: the same numbers from every reader, one line for what is wrong."""

import json

import numpy as np
import pytest
from keypoint_layouts import (
    alphapose,
    coco,
    instances,
    mmpose_demo,
    mmpose_images,
    mmpose_video,
    openpose,
    pose2sim,
    write,
)

from voxelpose_core.detector_joint_sets import (
    BODY25,
    BODY25B,
    BODY137,
    COCO18,
    HALPE26,
    HALPE136,
    WHOLEBODY133,
)
from voxelpose_core.errors import InputError
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.keypoint_files import read_keypoints
from voxelpose_core.skeletons import COCO17

K = [[500, 0, 320], [0, 500, 240], [0, 0, 1]]
RIG = Rig(tuple(Camera(f"cam{i}", (640, 480), K, [0] * 5, np.eye(3), [1000.0 * i, 0, 0]) for i in range(3)))
FRAMES = (3, 4, 10)


def person(joint_set, rng):
    """A standing person whose joints lie where they are expected, roughly."""
    heights = {
        "eye": 0,
        "nose": 2,
        "ear": 3,
        "shoulder": 40,
        "hip": 120,
        "knee": 180,
        "ankle": 240,
        "toe": 250,
    }
    keypoints = rng.uniform(0, 4, (len(joint_set), 3))
    for joint, name in enumerate(joint_set.joint_names):
        keypoints[joint, 1] += next((height for part, height in heights.items() if part in name), 90)
    keypoints[:, :2] += rng.uniform(50, 300, 2)
    keypoints[:, 2] = rng.uniform(0.2, 1.0, len(joint_set))
    return np.round(keypoints, 3)


def recording(joint_set, counts=(2, 0, 1)):
    """Per camera and frame people (P, J, 3)."""
    rng = np.random.default_rng(len(joint_set))
    return [
        {
            frame: np.array([person(joint_set, rng) for _ in range(count)]).reshape(count, len(joint_set), 3)
            for frame, count in zip(FRAMES, counts)
        }
        for _ in RIG.cameras
    ]


WRITERS = (openpose, pose2sim, alphapose, coco, mmpose_video, mmpose_demo, mmpose_images)


@pytest.mark.parametrize("writer", WRITERS, ids=lambda writer: writer.__name__)
@pytest.mark.parametrize(
    "joint_set",
    [COCO17, COCO18, BODY25, BODY25B, HALPE26, WHOLEBODY133, HALPE136],
    ids=lambda joint_set: joint_set.name,
)
def test_every_layout_gives_the_same_numbers(tmp_path, writer, joint_set):
    written = recording(joint_set)
    names = [RIG.names[index] for index in (2, 0, 1)]
    paths = [writer(tmp_path, name, written[RIG.names.index(name)]) for name in names]
    read = read_keypoints(paths, RIG)
    assert read.joint_set == joint_set
    assert list(read.frames) == [f for f in FRAMES if f != 4 or writer not in (alphapose, coco)]
    for frame, views in read.frames.items():
        for view, frames in zip(views, written):
            assert view.dtype == np.float32 and np.array_equal(view, frames[frame].astype(np.float32))


def test_hands_and_face_of_openpose_come_along(tmp_path):
    written = recording(BODY137)
    paths = [openpose(tmp_path, name, frames) for name, frames in zip(RIG.names, written)]
    read = read_keypoints(paths, RIG)
    assert read.joint_set == BODY137 and read.layout == "OpenPose, body137"
    assert np.array_equal(read.frames[3][1], written[1][3].astype(np.float32))


def test_whole_body_results_of_coco_come_in_parts(tmp_path):
    written = recording(WHOLEBODY133)
    cuts = {"keypoints": (0, 17), "foot_kpts": (17, 23), "face_kpts": (23, 91)}
    cuts |= {"lefthand_kpts": (91, 112), "righthand_kpts": (112, 133)}
    for name, frames in zip(RIG.names, written):
        content = [
            {"image_id": frame, **{key: person[a:b].ravel().tolist() for key, (a, b) in cuts.items()}}
            for frame, people in frames.items()
            for person in people
        ]
        write(tmp_path / f"{name}.json", content)
    read = read_keypoints([tmp_path / f"{name}.json" for name in RIG.names], RIG)
    assert np.array_equal(read.frames[10][2], written[2][10].astype(np.float32))


def test_joints_are_mapped_by_the_names_that_mmpose_writes(tmp_path):
    written = recording(HALPE26)
    names = [{"mid_hip": "hip", "head_top": "head"}.get(name, name) for name in HALPE26.joint_names]
    crowd = [*COCO17.joint_names[5:], "top_head", "neck"]
    for joint_names, expected in ((names, HALPE26.joint_names), (crowd, tuple(crowd))):
        meta = {"dataset_name": "some", "keypoint_id2name": {str(i): n for i, n in enumerate(joint_names)}}
        for camera, frames in zip(RIG.names, written):
            content = [
                {"frame_id": frame, "instances": instances([person[: len(joint_names)] for person in people])}
                for frame, people in frames.items()
            ]
            write(tmp_path / f"{camera}.json", {"meta_info": meta, "instance_info": content})
        read = read_keypoints([tmp_path], RIG)
        assert read.joint_set.joint_names == expected


def test_one_folder_holds_those_of_the_cameras(tmp_path):
    written = recording(HALPE26)
    for name, frames in zip(RIG.names, written):
        pose2sim(tmp_path / "pose", name, frames)
    read = read_keypoints([tmp_path / "pose"], RIG)
    assert [path.name for path in read.paths] == ["cam0_json", "cam1_json", "cam2_json"]
    assert np.array_equal(read.frames[3][2], written[2][3].astype(np.float32))


def test_our_own_layout_takes_every_joint_set(tmp_path):
    written = recording(HALPE26)
    content = {
        f"{camera}_{frame}": [{"pred": person.tolist()} for person in people]
        for camera, frames in enumerate(written)
        for frame, people in frames.items()
    }
    read = read_keypoints([write(tmp_path / "all.json", content)], RIG)
    assert read.joint_set == HALPE26 and read.paths is None
    assert np.array_equal(read.frames[3][1], written[1][3].astype(np.float32))
    coco17 = read.coco17_frames()[3][1]
    assert np.array_equal(coco17, written[1][3][:, :17].astype(np.float32))


def test_missing_frames_are_no_frames_and_are_told(tmp_path):
    written = recording(COCO17)
    paths = [openpose(tmp_path, name, frames) for name, frames in zip(RIG.names, written)]
    (paths[1] / "cam1_000000000010_keypoints.json").unlink()
    read = read_keypoints(paths, RIG)
    assert read.frames[10][1] is None and read.frames[10][0] is not None
    (note,) = read.notes
    assert "cam1 lacks 1 of 3 frames (10): camera 'cam1' has no frame there" in note


def test_scores_on_another_scale_are_divided_and_told(tmp_path):
    written = recording(COCO17)
    for frames in written:
        for people in frames.values():
            people[..., 2] *= 5.5
    paths = [alphapose(tmp_path, name, frames) for name, frames in zip(RIG.names, written)]
    read = read_keypoints(paths, RIG)
    assert len(read.notes) == 3 and "scores reach" in read.notes[0]
    scores = read.frames[3][0][..., 2]
    assert 0.9 < scores.max() <= 1.0
    np.testing.assert_allclose(scores[0, :5] / scores[0, 0], written[0][3][0, :5, 2] / written[0][3][0, 0, 2])
    # MMPose's exceed 1 by a little: clipped.
    written = recording(COCO17)
    written[0][3][0, 0, 2] = 1.2
    paths = [mmpose_video(tmp_path, name, frames) for name, frames in zip(RIG.names, written)]
    read = read_keypoints(paths, RIG)
    assert read.notes == () and read.frames[3][0][0, 0, 2] == 1.0


def damaged(change):
    """Paths of three OpenPose cameras after a change to the second."""

    def make(folder):
        paths = [openpose(folder, name, frames) for name, frames in zip(RIG.names, recording(BODY25))]
        return change(paths) or paths

    return make


def first_file(folder):
    return sorted(folder.iterdir())[0]


def truncate(paths):
    file = first_file(paths[1])
    file.write_text(file.read_text()[:200])


def other_count(paths):
    content = {"people": [{"pose_keypoints_2d": [1.0] * 24}]}
    first_file(paths[1]).write_text(json.dumps(content))


def strange_count(paths):
    for file in paths[1].iterdir():
        file.write_text(json.dumps({"people": [{"pose_keypoints_2d": [100.0] * 24}]}))


def other_set(paths):
    for file in paths[1].iterdir():
        file.write_text(json.dumps({"people": [{"pose_keypoints_2d": [100.0] * 51}]}))


def not_thirds(paths):
    first_file(paths[1]).write_text(json.dumps({"people": [{"pose_keypoints_2d": [1.0, 2.0]}]}))


def no_pose(paths):
    first_file(paths[1]).write_text(json.dumps({"people": [{"pose": 3}]}))


def words(paths):
    first_file(paths[1]).write_text(json.dumps({"people": [{"pose_keypoints_2d": ["a", "b", "c"]}]}))


def not_finite(paths):
    first_file(paths[1]).write_text('{"people": [{"pose_keypoints_2d": [' + "NaN, " * 74 + "1]}]}")


def emptied(paths):
    for file in paths[1].iterdir():
        file.unlink()


def pictures(paths):
    emptied(paths)
    (paths[1] / "1.png").write_bytes(b"")


def without_one(paths):
    return paths[:2]


def absent(paths):
    return [*paths[:2], paths[2].parent / "cam2x"]


def renumbered(paths):
    for file in sorted(paths[1].iterdir()):
        file.rename(file.with_name(f"cam1_{int(file.stem.split('_')[1]) + 500:012d}_keypoints.json"))


def unnumbered(paths):
    first_file(paths[1]).rename(paths[1] / "keypoints.json")


def twice(paths):
    (paths[1] / "again_3_keypoints.json").write_text('{"people": []}')


def normalized(paths):
    for file in paths[1].iterdir():
        content = json.loads(file.read_text())
        for person in content["people"]:
            person["pose_keypoints_2d"] = [value / 1000 for value in person["pose_keypoints_2d"]]
        file.write_text(json.dumps(content))


def nobody(paths):
    for path in paths:
        for file in path.iterdir():
            file.write_text('{"people": []}')


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (truncate, "cam1_000000000003_keypoints.json: not valid JSON"),
        (other_count, "cam1: frame 3 has people of 8 joints, frame 10 of 25, expected all of one joint set"),
        (strange_count, r"cam1: people have 8 joints, expected 17 \(coco17\), 18"),
        (
            other_set,
            r"cam1 \(camera 'cam1'\) has 17 joints \(coco17\), .*cam0 .* 25 \(body25\), expected one",
        ),
        (not_thirds, "person 0: 'pose_keypoints_2d' is a list of 2, expected numbers"),
        (no_pose, "person 0: no 'pose_keypoints_2d'"),
        (words, "'pose_keypoints_2d' is a list of 3, expected numbers"),
        (not_finite, "cam1: frame 3 has a value that is not finite"),
        (emptied, "cam1: the folder is empty, expected one JSON file"),
        (pictures, "cam1: the folder holds .png and no JSON files"),
        (without_one, "2 keypoint files or folders given for a rig of 3 cameras .* expected one per camera"),
        (absent, "cam2x: does not exist"),
        (renumbered, r"cam1 \(camera 'cam1'\) has the frames 503 to 510, 3 of the 6"),
        (unnumbered, "'keypoints.json' has no frame number"),
        (twice, "'again_3_keypoints.json' and 'cam1_000000000003_keypoints.json' are both of frame 3"),
        (normalized, "cam1: all keypoints have x and y .* expected pixels"),
        (nobody, "no person is detected in any frame"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_bad_folders_name_the_file_and_what_was_expected(tmp_path, change, message):
    paths = damaged(change)(tmp_path)
    with pytest.raises(InputError, match=message) as error:
        read_keypoints(paths, RIG, in_order=change is absent)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("cam0.mp4", "\x00\x00video", "this is a video: give it with --videos"),
        ("cam0.csv", "a,b\n1,2", "this is a table"),
        ("cam0.txt", "Frame\tTime\tX\n1\t0.0\t3.5", "this is a table"),
        ("cam0.qca.txt", "<?xml version='1.0'?>\n<calibration><cameras/>", "a calibration of Qualisys"),
        ("cam0.trc", "PathFileType\t4", "this is 3D already"),
        ("cam0.yaml", "cameras:\n", "this is YAML or TOML"),
        ("cam0.json", {"joint_names": [], "frames": []}, "holds skeletons in 3D"),
        ("cam0.json", {"images": [], "annotations": []}, "holds COCO annotations"),
        ("cam0.json", {"version": 1.3, "people": []}, "is a single frame of OpenPose: give its folder"),
        ("cam0.json", [{"keypoints": [[1, 2]], "keypoint_scores": [1]}], "people of one image as of MMPose"),
        ("cam0.json", {"cameras": {}}, r"may be a calibration \(--rig\)"),
        ("cam0.json", {"a": 1, "b": 2}, "has the keys 'a', 'b', expected OpenPose's"),
        ("cam0.json", [{"a": 1}], "is a list of entries with 'a'"),
        ("cam0.json", [[1, 2]], "holds a list, expected"),
        ("cam0.json", "3", "holds a int, expected"),
        ("cam0.json", [{"image_id": 1, "keypoints": [1, 2]}], "entry 0: 'keypoints' is a list of 2"),
        ("cam0.json", [{"image_id": "a", "keypoints": [1, 2, 3]}], "entry 0: 'a' has no frame number"),
        ("cam0.json", [{"image_id": -1, "keypoints": [1, 2, 3]}], "entry 0: image_id is -1"),
        ("cam0.json", [{"image_id": 1, "keypoints": [1, 2, 3]}, 4], "entry 1 has no 'image_id'"),
        ("cam0.json", {"instance_info": [{"frame_id": 1}]}, "one image, expected those of a video"),
        ("cam0.json", [{"frame_id": "x", "instances": []}], "entry 0 has no 'frame_id'"),
        ("cam0.json", [{"frame_id": 1, "instances": [{}]}], "frame 1, person 0: no 'keypoints'"),
        (
            "cam0.json",
            [{"frame_id": 1, "instances": [{"keypoints": [[1, 2, 3]], "keypoint_scores": [1]}]}],
            "do not fit, expected J x",
        ),
    ],
)
def test_foreign_files_are_told_what_they_are(tmp_path, name, content, message):
    with pytest.raises(InputError, match=message) as error:
        read_keypoints([write(tmp_path / name, content)], RIG)
    assert name in str(error.value) and len(str(error.value).splitlines()) == 1


def people_in(path, frames, cameras=range(3), people=1):
    """A file of our layout."""
    pred = [{"pred": person(COCO17, np.random.default_rng(1)).tolist()}] * people
    path.write_text(json.dumps({f"{camera}_{frame}": pred for camera in cameras for frame in frames}))
    return path


def test_times_in_the_place_of_frame_numbers_are_refused(tmp_path):
    path = people_in(tmp_path / "k.json", [0, 1, 1_700_000_000_000])
    with pytest.raises(InputError, match=r"k\.json: frame 1700000000000, expected a frame's number.*time\?"):
        read_keypoints([path], RIG)


def test_frames_that_are_not_numbered_one_by_one_are_told(tmp_path):
    path = people_in(tmp_path / "k.json", range(0, 17 * 12, 17))
    assert "step by 17" in read_keypoints([path], RIG).notes[0]
    assert read_keypoints([people_in(tmp_path / "k.json", range(12))], RIG).notes == ()


def test_a_camera_that_our_layout_lacks_is_told(tmp_path):
    (note,) = read_keypoints([people_in(tmp_path / "k.json", range(3), cameras=(0, 2))], RIG).notes
    assert "camera 'cam1' has no entry in 3 of 3 frames" in note


def test_of_a_crowd_the_surest_are_taken(tmp_path):
    path = people_in(tmp_path / "k.json", [0], people=130)
    content = json.loads(path.read_text())
    for joint in content["1_0"][0]["pred"]:
        joint[2] = 0.01
    path.write_text(json.dumps(content))
    read = read_keypoints([path], RIG)
    assert [len(people) for people in read.frames[0]] == [100, 100, 100]
    assert read.frames[0][1][:, :, 2].min() > 0.1
    assert [note.split(":")[0] for note in read.notes] == [f"camera '{name}'" for name in RIG.names]
