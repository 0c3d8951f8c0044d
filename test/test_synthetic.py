"""Synthetic data sets: people stand apart, where cameras watch, and look as detectors see them."""

import json
import pickle

import numpy as np
import pytest

from voxelpose_core.datasets import open_dataset
from voxelpose_core.datasets.synthetic import (
    HeatmapNoise,
    RecordedPeople,
    _overlaps,
    read_training_poses,
)
from voxelpose_core.errors import InputError
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.rig import Rig, load_rig, save_rig
from voxelpose_core.geometry.space import Space
from voxelpose_core.resources import find_resource
from voxelpose_core.skeletons import CAMPUS14, COCO17, PANOPTIC15, panoptic15_from_coco17


@pytest.fixture(scope="module")
def campus():
    return open_dataset("campus_synthetic", "nowhere")


def watching_cameras(rig, point):
    return sum(bool(camera.sees(point[None])[0]) for camera in rig.cameras)


def test_shipped_rigs_need_no_folder(campus):
    assert len(campus) == 3000 and len(campus.rig) == 3
    assert campus.rig.cameras[0].image_size == (360, 288)
    shelf = open_dataset("shelf_synthetic", "nowhere", camera_count=4)
    assert len(shelf.rig) == 4 and shelf.joint_set is COCO17


def test_campus_people_are_watched_and_apart(campus):
    counts = []
    for index in range(60):
        sample = campus[index]
        roots = COCO17.root_of(sample.poses)
        counts.append(len(roots))
        for root in roots:
            assert watching_cameras(sample.rig, np.array([*root[:2], 1000.0])) >= 2
        boxes = np.concatenate([sample.poses[..., :2].min(1), sample.poses[..., :2].max(1)], axis=1)
        for person in range(1, len(boxes)):
            assert _overlaps(boxes[person : person + 1], boxes[:person])[0] < 0.01
    assert min(counts) >= 1 and max(counts) == 9 and 4 < np.mean(counts) < 6


def test_shelf_people_stay_near_the_middle():
    shelf = open_dataset("shelf_synthetic", "nowhere")
    roots = np.concatenate([COCO17.root_of(shelf[index].poses) for index in range(40)])
    anywhere = (roots[:, :2] > [-1000, -1600]) & (roots[:, :2] < [2000, 1600])
    # All but those who stand beside somebody.
    assert anywhere.all(axis=1).mean() > 0.8
    assert max(len(shelf[index].poses) for index in range(40)) == 5


def test_keypoints_lie_on_the_projected_joints(campus):
    sample = campus[3]
    for view, people in enumerate(sample.keypoints):
        pixels, seen = sample.project(view)
        found = people[..., 2] > 0
        assert (found <= seen).all()
        np.testing.assert_allclose(people[found][:, :2], pixels[found], atol=1e-3)
        assert (people[~found] == 0).all()


def test_peaks_are_those_of_the_original(campus):
    peaks = HeatmapNoise(COCO17)._peaks((20000, 17), np.random.default_rng(0))
    weak = (peaks < 0.7).mean(axis=0)
    wrist, elbow, knee = (COCO17.index(f"left_{n}") for n in ("wrist", "elbow", "knee"))
    assert weak[[wrist, elbow]] == pytest.approx(0.10, abs=0.01)
    assert weak[knee] == pytest.approx(0.05, abs=0.01)
    assert np.median(peaks[peaks[:, wrist] < 0.7, wrist]) < 0.25
    assert 0.4 < np.median(peaks[peaks[:, elbow] < 0.7, elbow]) <= 0.5
    strong = peaks[peaks > 0.7]
    assert (strong == 1).mean() == pytest.approx(0.4, abs=0.01)
    assert strong[strong < 1].mean() == pytest.approx(0.9, abs=0.005)
    legs = HeatmapNoise(COCO17, weak_legs=True)._peaks((20000, 17), np.random.default_rng(0))
    assert (legs[:, knee] < 0.7).mean() == pytest.approx(0.10, abs=0.01)


def test_shelf_views_miss_people():
    shelf = open_dataset("shelf_synthetic", "nowhere")
    missed = []
    for index in range(60):
        sample = shelf[index]
        for view, people in enumerate(sample.keypoints):
            in_view = sample.project(view)[1].sum(axis=1) > 10
            missed.extend((people[in_view, :, 2] == 0).all(axis=1))
    assert 0.02 < np.mean(missed) < 0.09


def test_scenes_come_from_seed_epoch_and_index():
    def scene(seed=0, epoch=0, index=0):
        data = open_dataset("campus_synthetic", "nowhere", seed=seed)
        data.set_epoch(epoch)
        return data[index]

    first, again = scene(), scene()
    np.testing.assert_array_equal(first.poses, again.poses)
    for one, other in zip(first.keypoints, again.keypoints, strict=True):
        np.testing.assert_array_equal(one, other)
    for other in (scene(seed=1), scene(epoch=1), scene(index=1)):
        assert other.key != first.key or not np.array_equal(other.poses[0], first.poses[0])
        assert not np.array_equal(other.poses[0], first.poses[0])


def test_detector_noise():
    data = open_dataset("campus_synthetic", "nowhere", noise="detector")
    sample = data[1]
    pixels, seen = sample.project(0)
    people = sample.keypoints[0][: len(pixels)]
    both = seen & (people[..., 2] > 0)
    distance = np.linalg.norm(people[..., :2] - pixels, axis=-1)[both]
    assert both.any() and 0 < np.median(distance) < 20
    with pytest.raises(InputError, match="coco17"):
        open_dataset("campus_synthetic", "nowhere", noise="detector", joint_set=PANOPTIC15)


def test_own_rig(tmp_path):
    forward = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    K = [[500.0, 0, 320], [0, 500, 240], [0, 0, 1]]
    cameras = [
        Camera(f"cam{i}", (640, 480), K, np.zeros(5), forward, [500 * i, -6000, 1000]) for i in range(2)
    ]
    path = tmp_path / "rig.yaml"
    save_rig(Rig(cameras, Space((0, 0, 1000), (4000, 4000, 2000))), path)
    data = open_dataset("synthetic", path, joint_set=PANOPTIC15, frames=7, max_people=2)
    assert len(data) == 7
    sample = data[0]
    assert sample.poses.shape[1:] == (15, 3) and len(sample.poses) <= 2
    assert (abs(PANOPTIC15.root_of(sample.poses)[:, :2]) < 2000).all()
    with pytest.raises(InputError, match="no place of the space"):
        open_dataset("synthetic", path, space=Space((0, -50000, 1000), (4000, 4000, 2000)))
    assert open_dataset("synthetic", path, cameras=["cam1", "cam0"]).rig.names == ("cam1", "cam0")
    with pytest.raises(InputError, match="'cam7'"):
        open_dataset("synthetic", path, cameras=["cam0", "cam7"])
    with pytest.raises(InputError, match="at least 3"):
        open_dataset("synthetic", path, camera_count=3)
    with pytest.raises(InputError, match="coco17 or panoptic15"):
        open_dataset("synthetic", path, joint_set=CAMPUS14)


def test_people_stand_on_the_ground_of_the_rig(tmp_path):
    rig = load_rig(find_resource("config/rigs/shelf.yaml")).with_ground(-750.0)
    save_rig(rig, tmp_path / "rig.yaml")
    data = open_dataset("synthetic", tmp_path / "rig.yaml", seed=3)
    feet = np.concatenate([data[index].poses[:, 15:, 2].min(axis=1) for index in range(8)])
    assert -760 < feet.min() and np.median(feet) < -600


def write_poses(path, entries):
    path.write_bytes(pickle.dumps(entries))
    return path


def test_training_poses_of_the_original(tmp_path):
    pose = np.random.default_rng(0).uniform(0, 1700, (17, 3))
    seen = np.ones((17, 3), dtype=bool)
    without_hip = seen.copy()
    without_hip[11] = False
    without_nose = seen.copy()
    without_nose[0] = False
    entries = [{"pose": pose, "vis": v} for v in (seen, without_hip, without_nose)]
    path = write_poses(tmp_path / "panoptic_training_pose.pkl", entries)
    poses, visible = read_training_poses(path)
    assert poses.shape == (3, 17, 3) and visible.sum() == 3 * 17 - 2

    data = open_dataset("campus_synthetic", "nowhere", people=path)
    for index in range(10):
        sample = data[index]
        assert sample.visible[:, 11:13].all()
        # People are turned and moved, not bent.
        for person in sample.poses:
            np.testing.assert_allclose(
                np.linalg.norm(person - person[11], axis=1),
                np.linalg.norm(pose - pose[11], axis=1),
            )
            np.testing.assert_allclose(person[:, 2], pose[:, 2])
    assert any(not data[index].visible[:, 0].all() for index in range(10))


@pytest.mark.parametrize(
    "entries, words",
    [
        ([], "list of poses"),
        ({"pose": 1}, "list of poses"),
        ([{"pose": np.zeros((17, 3))}], "entry 0"),
        ([{"pose": np.zeros((15, 3)), "vis": np.ones((17, 3))}], "entry 0, 'pose'"),
        ([{"pose": np.zeros((17, 3)), "vis": np.zeros((17, 3))}], "mid-hip"),
    ],
)
def test_broken_training_poses(tmp_path, entries, words):
    path = write_poses(tmp_path / "poses.pkl", entries)
    with pytest.raises(InputError, match=words) as caught:
        open_dataset("campus_synthetic", "nowhere", people=path)
    assert str(path) in str(caught.value)


def test_people_of_panoptic_sequences(tmp_path):
    joints = np.random.default_rng(0).uniform(-100, 100, (19, 3))
    scores = np.ones((19, 1))
    scores[1] = -1  # no nose
    folder = tmp_path / "seq" / "hdPose3d_stage1_coco19"
    folder.mkdir(parents=True)
    (tmp_path / "seq" / "calibration_seq.json").write_text("{}")
    body = {"id": 3, "joints19": np.hstack([joints, scores]).ravel().tolist()}
    (folder / "body3DScene_00000001.json").write_text(json.dumps({"bodies": [body]}))
    for joint_set, nose in ((COCO17, 0), (PANOPTIC15, 1)):
        data = open_dataset("campus_synthetic", "nowhere", people=tmp_path, joint_set=joint_set)
        sample = data[0]
        assert sample.poses.shape[1:] == (len(joint_set), 3)
        assert (sample.visible.sum(axis=1) == len(joint_set) - 1).all()
        assert not sample.visible[:, nose].any()
        # Left and right of both sets agree with Panoptic's order.
        knee, wrist = joint_set.index("left_knee"), joint_set.index("right_wrist")
        length = np.linalg.norm(sample.poses[:, knee] - sample.poses[:, wrist], axis=1)
        assert length == pytest.approx(10 * np.linalg.norm(joints[7] - joints[11]))
    with pytest.raises(InputError, match="no person in any"):
        open_dataset("campus_synthetic", "nowhere", people=tmp_path / "seq")


def test_eyes_and_ears_of_real_sequences(shared_dir):
    """An ear is nearer to its own side's shoulder than to the other's, and behind the eye."""
    folder = shared_dir / "data" / "panoptic"
    data = open_dataset("campus_synthetic", "nowhere", people=folder)
    people = [data[i].poses[data[i].visible.all(axis=1)] for i in range(40)]
    people = np.concatenate(people)
    names = ("left_ear", "right_ear", "left_shoulder", "right_shoulder")
    left_ear, right_ear, left, right = (people[:, COCO17.index(name)] for name in names)
    across = left - right
    assert (((left_ear - right_ear) * across).sum(axis=1) > 0).mean() > 0.95
    nose, eye = people[:, 0], people[:, COCO17.index("left_eye")]
    to_nose = np.linalg.norm(eye - nose, axis=1)
    assert (to_nose < np.linalg.norm(left_ear - nose, axis=1)).mean() > 0.95


def test_panoptic15_from_coco17():
    pose = np.arange(17 * 3.0).reshape(17, 3)
    converted = panoptic15_from_coco17(pose)
    assert converted[PANOPTIC15.index("right_ankle")].tolist() == pose[16].tolist()
    assert converted[0].tolist() == ((pose[5] + pose[6]) / 2).tolist()
    assert converted[2].tolist() == ((pose[11] + pose[12]) / 2).tolist()


def test_recorded_people_without_a_root_are_left_out():
    visible = np.ones((2, 15), dtype=bool)
    visible[0, 2] = False
    poses = np.stack([np.zeros((15, 3)), np.ones((15, 3))])
    drawn, _ = RecordedPeople(poses, visible, PANOPTIC15, "here").draw(5, np.random.default_rng(0))
    assert (drawn == 1).all()
