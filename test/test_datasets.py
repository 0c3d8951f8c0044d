"""Data sets on small generated folders and on the real cuts."""

import collections
import json
import logging
import os
import pickle

import cv2
import numpy as np
import pytest
import scipy.io

from voxelpose_core.datasets import DATASETS, check_dataset, open_dataset
from voxelpose_core.datasets.actors import read_actors
from voxelpose_core.datasets.campus import Campus
from voxelpose_core.datasets.panoptic import CAMERAS, Panoptic
from voxelpose_core.datasets.predictions import load_pickle, read_predictions
from voxelpose_core.datasets.shelf import Shelf
from voxelpose_core.errors import InputError
from voxelpose_core.evaluation import triangulate_actors
from voxelpose_core.metrics import evaluate_pcp
from voxelpose_core.skeletons import CAMPUS14, PANOPTIC15

STANDING_M = np.random.default_rng(0).uniform([-0.3, -0.3, 0], [0.3, 0.3, 1.7], (14, 3))
CENTER_M = np.array([3.0, 4.5, 0.0])


def look_rotation(center, target):
    forward = np.subtract(target, center) / np.linalg.norm(np.subtract(target, center))
    right = np.cross(forward, [0, 0, 1])
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(forward, right), forward])


def write_campus(folder, frames=751):
    """A Campus folder whose actor 0 is labelled in 350 and 351, actor 2 in 350 and 100."""
    folder.mkdir(parents=True, exist_ok=True)
    centers = [(1800, -5000, 1900), (-6200, 5200, 1900), (11900, -1800, 2000)]
    cameras = {
        str(i): {
            "R": look_rotation(center, 1000 * CENTER_M + [0, 0, 900]).tolist(),
            "T": [[v] for v in center],
            "fx": 430.0,
            "fy": 430.0,
            "cx": 180.0,
            "cy": 144.0,
            "k": [[0.0]] * 3,
            "p": [[0.0]] * 2,
        }
        for i, center in enumerate(centers)
    }
    (folder / "calibration_campus.json").write_text(json.dumps(cameras))
    write_actors(
        folder / "actorsGT.mat",
        {(0, 350): 0.0, (0, 351): 0.1, (2, 350): 1.5, (2, 100): 1.5},
        actors=3,
        frames=frames,
    )
    return folder


def write_actors(path, labels, actors, frames):
    cells = np.empty((1, actors), dtype=object)
    for actor in range(actors):
        column = np.empty((frames, 1), dtype=object)
        for frame in range(frames):
            column[frame, 0] = np.zeros((1, 0))
        cells[0, actor] = column
    for (actor, frame), offset in labels.items():
        cells[0, actor][frame, 0] = STANDING_M + CENTER_M + [offset, 0, 0]
    scipy.io.savemat(path, {"actor3D": cells})


def write_images(folder, frame, broken=()):
    for camera in range(3):
        path = folder / f"Camera{camera}" / f"campus4-c{camera}-{frame:05d}.png"
        path.parent.mkdir(exist_ok=True)
        if camera in broken:
            path.write_bytes(b"no picture")
        else:
            cv2.imwrite(str(path), np.full((288, 360, 3), 10 * camera, dtype=np.uint8))


def predictions_of(frames, as_array=np.array):
    person = np.column_stack([np.arange(34).reshape(17, 2), np.full(17, 0.5)])
    content = collections.defaultdict(list)
    for camera in range(3):
        for frame in frames:
            moved = person + np.array([camera, camera, 0.35 * camera])
            content[f"{camera}_{frame}"] = [{"pred": as_array(moved)}]
    return content, person


# --- Campus and Shelf ---------------------------------------------------------------------------


def test_campus_samples(tmp_path):
    data = Campus(write_campus(tmp_path))
    assert len(data) == 222 and data.frames[0] == 350 and data.frames[-1] == 750
    sample = data[0]
    assert sample.key == "campus/00350" and len(sample.rig) == 3
    assert str(sample.rig.space) == "3000,4500,1000,12000,12000,2000"
    assert sample.person_ids.tolist() == [0, 2] and sample.images is None
    assert sample.keypoints is None
    assert sample.poses == pytest.approx(
        1000 * np.stack([STANDING_M + CENTER_M, STANDING_M + CENTER_M + [1.5, 0, 0]])
    )
    assert sample.visible.all() and sample.visible.shape == (2, 14)
    assert data[1].person_ids.tolist() == [0] and len(data[2].poses) == 0
    pixels, seen = sample.project(0)
    assert pixels.shape == (2, 14, 2) and seen.shape == (2, 14) and seen.any()
    assert data.joint_set is CAMPUS14
    with pytest.raises(IndexError):
        data[222]


def test_campus_subsets(tmp_path):
    root = write_campus(tmp_path)
    assert Campus(root, subset="all").frames == (100, 350, 351)
    assert Campus(root, subset="train").frames == (100,)
    assert Campus(root, frames=[351]).frames == (351,)
    actors = Campus(root, frames=[350, 351]).actors
    assert actors.shape == (2, 3, 14, 3)
    assert np.isfinite(actors).all(axis=(2, 3)).tolist() == [
        [True, False, True],
        [True, False, False],
    ]
    with pytest.raises(InputError, match="subset .test.: expected validation, train, all, or frames"):
        Campus(root, subset="test")
    with pytest.raises(InputError, match="has 751 frames, expected frame 751 too"):
        Campus(root, frames=[751])


def test_images_are_read_and_a_broken_one_costs_its_frame(tmp_path, caplog):
    root = write_campus(tmp_path)
    write_images(root, 350)
    write_images(root, 351, broken=[1])
    data = Campus(root, images=True, frames=[350, 351, 352])
    images = data[0].images
    assert [image.shape for image in images] == [(288, 360, 3)] * 3
    assert [int(image[0, 0, 0]) for image in images] == [0, 10, 20]
    with caplog.at_level(logging.WARNING):
        assert data[1] is None and data[2] is None
    assert data.broken == 2
    assert "campus4-c1-00351.png cannot be decoded" in caplog.text
    assert "campus4-c0-00352.png is missing" in caplog.text
    assert [sample.key for sample in data.samples()] == ["campus/00350"]


def test_image_of_another_size_and_missing_folders_are_errors(tmp_path):
    root = write_campus(tmp_path)
    with pytest.raises(InputError, match="Camera0: does not exist, expected images such as"):
        Campus(root, images=True)
    write_images(root, 350)
    path = root / "Camera2" / "campus4-c2-00350.png"
    cv2.imwrite(str(path), np.zeros((144, 180, 3), dtype=np.uint8))
    with pytest.raises(InputError, match="180x144, expected 360x288 as camera '2'"):
        Campus(root, images=True)[0]


@pytest.mark.parametrize("suffix", ["pkl", "json"])
def test_predictions_from_pickle_and_json(tmp_path, suffix, caplog):
    root = write_campus(tmp_path)
    content, person = predictions_of([350], as_array=list if suffix == "json" else np.array)
    path = root / f"pred_campus_maskrcnn_hrnet_coco.{suffix}"
    if suffix == "pkl":
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        path.write_text(json.dumps(content, default=lambda row: row.tolist()))
    with caplog.at_level(logging.WARNING):
        data = Campus(root, frames=[350, 351])
    assert "no predictions for 1 of 2 frames" in caplog.text
    keypoints = data[0].keypoints
    assert len(keypoints) == 3 and keypoints[2].shape == (1, 17, 3)
    assert keypoints[2][0, :, :2] == pytest.approx(person[:, :2] + 2)
    # Scores a little above 1, as those read off heatmaps, are clipped.
    assert keypoints[2].max(axis=1)[0, 2] == 1.0
    assert data[1].keypoints == (None, None, None)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(InputError, match="calibration_campus.json: does not exist"):
        Campus(tmp_path)
    root = write_campus(tmp_path / "campus")
    (root / "actorsGT.mat").unlink()
    with pytest.raises(InputError, match="actorsGT.mat: does not exist"):
        Campus(root)


@pytest.mark.parametrize("wraps", [0, 1, 2])
@pytest.mark.parametrize(("actors", "frames"), [(3, 4), (1, 4), (2, 1)])
def test_actors_in_any_number_of_cells(tmp_path, wraps, actors, frames):
    path = tmp_path / "actorsGT.mat"
    write_actors(path, {(0, 0): 0.0, (actors - 1, frames - 1): 1.0}, actors, frames)
    cells = scipy.io.loadmat(path)["actor3D"]
    for _ in range(wraps):
        outer = np.empty((1, 1), dtype=object)
        outer[0, 0] = cells
        cells = outer
    scipy.io.savemat(path, {"actor3D": cells})
    labels = read_actors(path)
    assert labels.shape == (frames, actors, 14, 3)
    assert np.isfinite(labels).all(axis=(2, 3)).sum() == 2
    assert labels[0, 0] == pytest.approx(1000 * (STANDING_M + CENTER_M))


def test_broken_ground_truth_is_named(tmp_path):
    path = tmp_path / "actorsGT.mat"
    with pytest.raises(InputError, match="actorsGT.mat: cannot be read"):
        read_actors(path)
    path.write_bytes(b"no matlab" * 100)
    with pytest.raises(InputError, match="is no MATLAB 5 file"):
        read_actors(path)
    scipy.io.savemat(path, {"other": np.zeros(3)})
    with pytest.raises(InputError, match="'actor3D' is missing"):
        read_actors(path)
    scipy.io.savemat(path, {"actor3D": np.zeros((14, 3))})
    with pytest.raises(InputError, match="holds no cells"):
        read_actors(path)
    write_actors(path, {}, actors=2, frames=3)
    cells = scipy.io.loadmat(path)["actor3D"]
    cells[0, 1][2, 0] = np.zeros((13, 3))
    scipy.io.savemat(path, {"actor3D": cells})
    with pytest.raises(InputError, match=r"actor 1, frame 2 has shape \(13, 3\)"):
        read_actors(path)


# --- Pickles --------------------------------------------------------------------------------------


class Evil:
    def __reduce__(self):
        return os.system, ("touch pwned",)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_of_plain_data(tmp_path, protocol):
    content = {
        "a": np.arange(6.0).reshape(2, 3),
        "b": [np.float32(2.5), (1, "x")],
        "c": collections.OrderedDict(d=collections.defaultdict(list, e=[1])),
    }
    path = tmp_path / "data.pkl"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    again = load_pickle(path)
    assert np.array_equal(again["a"], content["a"])
    assert again["b"] == content["b"] and again["c"] == content["c"]


@pytest.mark.parametrize("payload", [Evil(), [print], {"a": pickle.loads}, np.array([Evil()])])
def test_pickles_that_ask_for_code_are_refused(tmp_path, payload, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "data.pkl"
    path.write_bytes(pickle.dumps(payload))
    with pytest.raises(InputError, match="data.pkl: it asks for '.*', expected .* plain data"):
        load_pickle(path)
    assert not (tmp_path / "pwned").exists()


def test_broken_pickles_and_wrong_contents_are_named(tmp_path):
    path = tmp_path / "data.pkl"
    with pytest.raises(InputError, match="cannot be read"):
        load_pickle(path)
    for broken in (b"", b"garbage", pickle.dumps({"a": np.zeros(50)})[:-20]):
        path.write_bytes(broken)
        with pytest.raises(InputError, match="data.pkl: "):
            load_pickle(path)
    for content, words in [
        ([1], "holds a list"),
        ({"a_1": []}, "key 'a_1', expected"),
        ({"0_1": {}}, "key '0_1' is no list"),
        ({"0_1": [{"x": 1}]}, "person 0: no 'pred'"),
        ({"0_1": [{"pred": np.zeros((16, 3))}]}, "person 0: 'pred' has shape 16 x 3"),
        ({"0_1": [{"pred": np.full((17, 3), np.nan)}]}, "not finite"),
    ]:
        path.write_bytes(pickle.dumps(content))
        with pytest.raises(InputError, match=words):
            read_predictions(path, 3)


# --- Panoptic -------------------------------------------------------------------------------------

SEQUENCE = "160906_pizza1"


def write_panoptic(root, frames=3, size=(64, 36)):
    """A sequence of the paper's five cameras on a circle; joints at known places."""
    folder = root / SEQUENCE
    (folder / "hdPose3d_stage1_coco19").mkdir(parents=True)
    cameras = []
    for i, name in enumerate(sorted(CAMERAS)):
        angle = 2 * np.pi * i / 5
        center = np.array([300 * np.cos(angle), -200.0, 300 * np.sin(angle)])  # cm, y down
        R = look_rotation(center * [1, 1, 1], [0, -100, 0])
        forward = R[2]
        right = np.cross(forward, [0, -1, 0])
        right /= np.linalg.norm(right)
        R = np.stack([right, np.cross(forward, right), forward])
        cameras.append(
            {
                "name": name,
                "type": "hd",
                "resolution": size,
                "panel": 0,
                "node": int(name[3:]),
                "K": [[50, 0, size[0] / 2], [0, 50, size[1] / 2], [0, 0, 1]],
                "distCoef": [0] * 5,
                "R": R.tolist(),
                "t": (-R @ center)[:, None].tolist(),
            }
        )
    (folder / f"calibration_{SEQUENCE}.json").write_text(json.dumps({"cameras": cameras}))
    for frame in range(frames):
        joints = np.zeros((19, 4))
        joints[:, :3] = np.arange(57).reshape(19, 3) - [0, 100, 0]
        joints[:, 3] = 0.9
        joints[4, 3] = 0.05
        hidden_root = joints.copy()
        hidden_root[PANOPTIC15.index("mid_hip"), 3] = 0.0
        bodies = [
            {"id": 7, "joints19": joints.ravel().tolist()},
            {"id": 8, "joints19": hidden_root.ravel().tolist()},
        ]
        path = folder / "hdPose3d_stage1_coco19" / f"body3DScene_{frame:08d}.json"
        path.write_text(json.dumps({"bodies": bodies}))
        for name in CAMERAS:
            image = folder / "hdImgs" / name / f"{name}_{frame:08d}.jpg"
            image.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(image), np.zeros((size[1], size[0], 3), dtype=np.uint8))
    return root


def test_panoptic_samples(tmp_path):
    data = Panoptic(write_panoptic(tmp_path), interval=1)
    assert len(data) == 3 and data.sequences == (SEQUENCE,)
    sample = data[1]
    assert sample.key == f"{SEQUENCE}/00000001" and sample.rig.names == CAMERAS
    assert sample.person_ids.tolist() == [7]
    assert sample.visible[0].sum() == 14 and not sample.visible[0, 4]
    # cm, y down: (x, y, z) becomes 10 (x, z, -y).
    assert sample.poses[0, 2] == pytest.approx([60, 80, 930])
    assert len(sample.images) == 5 and sample.images[0].shape == (36, 64, 3)
    pixels, seen = sample.project(0)
    assert seen[0].any() and not seen[0, 4]
    assert len(Panoptic(tmp_path, interval=2, images=False)) == 2
    assert len(Panoptic(tmp_path)) == 1
    two = Panoptic(tmp_path, cameras=["00_03", "00_12"], images=False)
    assert two[0].rig.names == ("00_03", "00_12") and two[0].images is None


def test_panoptic_broken_files_cost_their_frames(tmp_path, caplog):
    root = write_panoptic(tmp_path)
    labels = root / SEQUENCE / "hdPose3d_stage1_coco19"
    (labels / "body3DScene_00000000.json").write_text("{")
    (labels / "body3DScene_00000001.json").write_text('{"bodies": [{"id": 1, "joints19": [1]}]}')
    (root / SEQUENCE / "hdImgs/00_06/00_06_00000002.jpg").write_bytes(b"")
    data = Panoptic(root, interval=1)
    with caplog.at_level(logging.WARNING):
        assert [data[i] for i in range(3)] == [None, None, None]
    assert data.broken == 3 and "00_06_00000002.jpg cannot be decoded" in caplog.text


def test_panoptic_errors(tmp_path, caplog):
    with pytest.raises(InputError, match="has no sequence of validation, expected 160906_pizza1"):
        Panoptic(tmp_path)
    root = write_panoptic(tmp_path)
    with caplog.at_level(logging.WARNING):
        Panoptic(root)
    assert "sequences not there: 160422_haggling1" in caplog.text
    with pytest.raises(InputError, match="subset 'test'"):
        Panoptic(root, subset="test")
    with pytest.raises(InputError, match="'00_99' is not in the rig"):
        Panoptic(root, cameras=["00_03", "00_99"])


# --- Registry and check ---------------------------------------------------------------------------


def test_registry(tmp_path):
    assert {"campus", "shelf", "panoptic"} <= set(DATASETS)
    assert isinstance(open_dataset("campus", write_campus(tmp_path), subset="all"), Campus)
    with pytest.raises(InputError, match="data set 'h36m' is unknown, expected one of"):
        open_dataset("h36m", tmp_path)


def test_check_of_campus(tmp_path):
    root = write_campus(tmp_path)
    report = check_dataset(root)
    assert report.name == "campus"
    assert any("ground truth in 2 of the 222" in line for line in report.found)
    assert "ground truth in 1 other frames: subset train" in report.found
    assert any("images of all cameras in 0 of the 222" in line for line in report.missing)
    content, _ = predictions_of(range(350, 751))
    (root / "pred_campus.pkl").write_bytes(pickle.dumps(content))
    write_images(root, 350)
    report = check_dataset(root)
    assert any("2D predictions of all cameras in 222" in line for line in report.found)
    assert any("images of all cameras in 1 of" in line for line in report.missing)
    (root / "actorsGT.mat").unlink()
    assert any("actorsGT.mat" in line for line in check_dataset(root).missing)


def test_check_of_panoptic(tmp_path):
    report = check_dataset(write_panoptic(tmp_path))
    assert f"{SEQUENCE}: calibration, labels of 3 frames" in report.found
    assert any("3 of 3 labelled frames" in line for line in report.found)
    assert any("train sequences: 160422_ultimatum1" in line for line in report.missing)


def test_check_of_other_folders(tmp_path):
    with pytest.raises(InputError, match="is no known data set"):
        check_dataset(tmp_path)
    with pytest.raises(InputError, match="is no folder"):
        check_dataset(tmp_path / "nothing")


# --- Real cuts ------------------------------------------------------------------------------------


def test_real_campus_ground_truth(shared_dir):
    data = Campus(shared_dir / "data/campus", subset="train")
    assert data.actors.shape[1] == 3 and len(data) > 900
    seen = np.concatenate([data[i].project(0)[1].ravel() for i in range(0, len(data), 50)])
    assert seen.mean() > 0.5


def test_real_format_samples(shared_dir):
    for name, actors in (("campus", 3), ("shelf", 4)):
        folder = shared_dir / "data" / name / "mmpose_mini"
        assert read_actors(folder / "actorsGT.mat").shape == (3, actors, 14, 3)
        predictions = read_predictions(folder / f"pred_{name}_maskrcnn_hrnet_coco.pkl", 5)
        assert list(predictions) == [0, 1, 2] and len(predictions[0]) == 5
        poses = load_pickle(folder / "panoptic_training_pose.pkl")
        assert poses[0]["pose"].shape == (17, 3)


def test_real_panoptic_joints_lie_where_the_paper_looks_for_them(shared_dir):
    data = Panoptic(shared_dir / "data/panoptic", subset="all", images=False)
    assert len(data) == 40
    for index in range(0, 40, 8):
        sample = data[index]
        assert len(sample.poses) == 3
        assert sample.rig.space.contains(PANOPTIC15.root_of(sample.poses)).all()
        heights = [np.ptp(p[v][:, 2]) for p, v in zip(sample.poses, sample.visible, strict=True)]
        assert max(heights) < 1800
        assert np.mean([sample.project(view)[1].sum() for view in range(5)]) > 25


def test_figure_of_triangulation_on_shelf(shared_dir):
    """PCP of actors 0 and 2 in frames 300..449, real detections, ideal association: about 95."""
    data = Shelf(shared_dir / "data/shelf", frames=range(300, 450))
    predictions = [triangulate_actors(sample, data) for sample in data.samples()]
    result = evaluate_pcp(predictions, data.actors)
    assert result.frames[0] == 150
    assert result.average == pytest.approx(0.953, abs=0.005)
