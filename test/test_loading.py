"""Frames become batches: what is seen where, who shares what, and what cannot be served."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.io
import torch
from tiny_experiment import tiny_config, tiny_rig

from voxelpose_core.config import load_config
from voxelpose_core.datasets.campus import Campus
from voxelpose_core.datasets.configured import check_rigs, heatmap_source, open_configured
from voxelpose_core.datasets.loading import make_loader, set_epoch
from voxelpose_core.datasets.simulated_detections import (
    coco17_from_campus14,
    join_keypoints,
)
from voxelpose_core.errors import InputError
from voxelpose_core.evaluation import FrameResult, evaluate, joint_conversion
from voxelpose_core.images import normalize, warp_on_device, warp_to_network
from voxelpose_core.models.voxelpose import VoxelPose
from voxelpose_core.resources import find_resource
from voxelpose_core.skeletons import CAMPUS14, COCO17, PANOPTIC15
from voxelpose_core.training.network import TrainedNetwork


def loader_of(config, train=True, **share):
    return make_loader(open_configured(config, train), config, train, False, **share)


def test_what_looks_wrong_with_a_rig_is_said_once_and_is_an_error_when_strict(tmp_path):
    config = tiny_config(tmp_path)
    datasets = [open_configured(config, train) for train in (True, False)]
    said = []
    check_rigs(datasets, said.append, strict=True)
    assert said == []
    # One camera stands 20 m high.
    high = dataclasses.replace(tiny_rig().cameras[0], C=[3500, 3500, 20_000])
    for dataset in datasets:
        dataset.rig = dataclasses.replace(dataset.rig, cameras=(high, *dataset.rig.cameras[1:]))
    check_rigs(datasets, said.append)
    assert len(said) == len(set(said)) >= 1 and "'cam0' is 20.00 m above the ground" in said[0]
    with pytest.raises(InputError, match="'cam0' is 20.00 m above the ground"):
        check_rigs(datasets, said.append, strict=True)


def everything(loader):
    return [index for batch in loader for index in batch.indices]


def test_batches_hold_what_was_drawn(tmp_path):
    config = tiny_config(tmp_path, TRAIN={"BATCH_SIZE": 3}, SYNTHETIC={"MAX_PEOPLE": 4})
    batch = next(iter(loader_of(config)))
    assert len(batch) == 3 and batch.images is None
    most = max(len(sample.poses) for sample in batch.samples)
    assert batch.keypoints.shape == batch.pixels.shape == (3, 4, most, 15, 3)
    for row, sample in enumerate(batch.samples):
        count = len(sample.poses)
        assert batch.people[row].tolist() == [True] * count + [False] * (most - count)
        np.testing.assert_allclose(batch.joints[row, :count], sample.poses, atol=0.01)
        np.testing.assert_allclose(batch.roots[row, :count], sample.poses[:, 2], atol=0.01)
        assert (batch.keypoints[row, :, count:] == 0).all()
        for view in range(4):
            pixels, seen = sample.project(view)
            ours = batch.pixels[row, view, :count].numpy()
            np.testing.assert_array_equal(ours[..., 2] > 0, seen)
            # Images have four times the heatmaps' resolution.
            np.testing.assert_allclose(ours[seen][:, :2], pixels[seen] / 4, atol=1e-3)
    assert batch.keys == ", ".join(sample.key for sample in batch.samples)
    assert batch.views.K.shape == (3, 4, 3, 3)


def test_heatmaps_peak_at_the_joints(tmp_path):
    config = tiny_config(tmp_path, TRAIN={"BATCH_SIZE": 1}, SYNTHETIC={"MAX_PEOPLE": 1})
    batch = next(iter(loader_of(config)))
    network = TrainedNetwork(VoxelPose(config), config)
    heatmaps = network.heatmaps(batch)
    assert heatmaps.shape == (1, 4, 15, 48, 64)
    true = network.true_heatmaps(batch)
    for view in range(4):
        for joint in range(15):
            x, y, peak = batch.keypoints[0, view, 0, joint].tolist()
            if peak and 1 < x < 62 and 1 < y < 46:
                strongest = int(heatmaps[0, view, joint].argmax())
                row, column = divmod(strongest, 64)
                assert abs(column - x) <= 0.51 and abs(row - y) <= 0.51
                assert heatmaps[0, view, joint].max() == pytest.approx(peak, rel=0.25)
                assert true[0, view, joint].max() >= heatmaps[0, view, joint].max()
    # NETWORK.SIGMA is that of the original: twice as much is twice as wide.
    wide = config.model_copy(deep=True)
    wide.network.sigma = 2 * config.network.sigma
    ratio = TrainedNetwork(VoxelPose(wide), wide).heatmaps(batch).sum() / heatmaps.sum()
    assert 3 < ratio < 4.5


def test_workers_start_where_opencv_has_threads(tmp_path):
    """In a process of its own, because a worker that waits for threads it does not have waits forever."""
    script = """
import sys
from pathlib import Path
import cv2
import numpy as np
from test_loading import loader_of
from tiny_experiment import tiny_config
cv2.setNumThreads(4)
for _ in range(3):
    cv2.GaussianBlur(np.zeros((2000, 2000, 3), np.uint8), (31, 31), 5)
print(len(list(loader_of(tiny_config(Path(sys.argv[1]), WORKERS=2)))))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0


def test_epochs_differ_and_workers_do_not(tmp_path):
    seen = []
    for workers, epoch in ((0, 0), (2, 0), (0, 1)):
        loader = loader_of(tiny_config(tmp_path, WORKERS=workers))
        set_epoch(loader, epoch)
        seen.append(list(loader))
    first, same, other = seen
    for one, two in zip(first, same, strict=True):
        assert one.keys == two.keys
        torch.testing.assert_close(one.keypoints, two.keypoints)
    assert [b.keys for b in first] != [b.keys for b in other]
    indices = [sorted(index for batch in epoch for index in batch.indices) for epoch in seen]
    assert indices == [list(range(8))] * 3


def test_processes_share_the_frames(tmp_path):
    config = tiny_config(tmp_path, SYNTHETIC={"TRAIN_FRAMES": 6, "TEST_FRAMES": 5})
    whole = everything(loader_of(config))
    parts = [everything(loader_of(config, rank=rank, processes=2)) for rank in (0, 1)]
    # One process' doubled batch is the two processes' batches.
    assert [i for pair in zip(*parts, strict=True) for i in pair] == whole
    tests = [everything(loader_of(config, train=False, rank=r, processes=2)) for r in (0, 1)]
    assert tests == [[0, 2, 4], [1, 3]]


def test_training_and_test_scenes_differ(tmp_path):
    config = tiny_config(tmp_path)
    train, test = open_configured(config, True), open_configured(config, False)
    assert (len(train), len(test)) == (8, 4)
    assert not np.array_equal(train[0].poses[0], test[0].poses[0])


def test_heatmap_sources():
    config = load_config(find_resource("config/campus/prn64_cpn80x80x20.yaml"))
    assert heatmap_source(config, True) == "pred"
    config = load_config(find_resource("config/panoptic/prn64_cpn80x80x20_960x512_cam5.yaml"))
    assert heatmap_source(config, False) == "image"
    config.dataset.test_heatmap_src = "gt"
    assert heatmap_source(config, False) == "gt"


def write_campus(folder, predictions=None):
    """A Campus folder with one actor in frame 350, and 2D predictions if they are given."""
    folder.mkdir(exist_ok=True)
    cameras = {
        str(index): {
            "R": camera.R.tolist(),
            "T": camera.C.reshape(3, 1).tolist(),
            "fx": camera.K[0, 0],
            "fy": camera.K[1, 1],
            "cx": camera.K[0, 2],
            "cy": camera.K[1, 2],
            "k": [[0.0]] * 3,
            "p": [[0.0]] * 2,
        }
        for index, camera in enumerate(tiny_rig().cameras[:3])
    }
    (folder / "calibration_campus.json").write_text(json.dumps(cameras))
    cells = np.empty((1, 1), dtype=object)
    cells[0, 0] = np.empty((751, 1), dtype=object)
    for frame in range(751):
        cells[0, 0][frame, 0] = np.zeros((1, 0))
    pose = np.random.default_rng(0).uniform([-0.3, -0.3, 0.1], [0.3, 0.3, 1.7], (14, 3))
    cells[0, 0][350, 0] = pose
    scipy.io.savemat(folder / "actorsGT.mat", {"actor3D": cells})
    if predictions is not None:
        (folder / "pred_campus.json").write_text(json.dumps(predictions))
    return 1000 * pose


def campus_config(tmp_path, **dataset):
    return tiny_config(
        tmp_path,
        DATASET={
            "ROOT": str(tmp_path / "CampusSeq1"),
            "TEST_DATASET": "campus",
            "CAMERA_NUM": 3,
            **dataset,
        },
        NETWORK={"NUM_JOINTS": 17},
    )


def test_predictions_of_campus(tmp_path):
    person = [[float(10 * j), float(5 * j), 0.2 + 0.04 * j] for j in range(17)]
    write_campus(tmp_path / "CampusSeq1", {"0_350": [{"pred": person}], "1_350": []})
    loader = loader_of(campus_config(tmp_path, TEST_SUBSET="350-351"), train=False)
    (batch,) = loader
    assert batch.keypoints.shape == (2, 3, 1, 17, 3)
    # Peaks of Campus are 1, whatever the scores; a camera without predictions is absent.
    assert batch.keypoints[0, 0, 0, :, 2].tolist() == [1.0] * 17
    assert batch.views.present.tolist() == [[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    assert batch.joints is None and batch.pixels is None
    assert batch.people.tolist() == [[True], [False]]
    # Fewer cameras than the file is for.
    config = campus_config(tmp_path, TEST_SUBSET="350-350", CAMERA_NUM=2)
    (batch,) = loader_of(config, train=False)
    assert batch.views.present.tolist() == [[1.0, 1.0]]


def test_simulated_detections_of_campus(tmp_path):
    write_campus(tmp_path / "CampusSeq1")
    config = campus_config(tmp_path, TEST_HEATMAP_SRC="simulated", TEST_SUBSET="350-350")
    (first,), (second,) = (loader_of(config, train=False) for _ in range(2))
    torch.testing.assert_close(first.keypoints, second.keypoints, rtol=0, atol=0)
    assert first.keypoints.shape[:2] == (1, 3) and first.keypoints.shape[3:] == (17, 3)
    (sample,) = first.samples
    assert sample.poses.shape == (1, 14, 3)
    hips = [CAMPUS14.index("left_hip"), COCO17.index("left_hip")]
    near = []
    for view, people in enumerate(sample.keypoints):
        pixels, _ = sample.project(view)
        size = np.ptp(pixels[0], axis=0).max()
        x, y, score = people[0, hips[1]]
        near.append(score > 0 and np.hypot(*(pixels[0, hips[0]] - [x, y])) < 0.2 * size)
    assert sum(near) >= 2
    assert not np.isclose(sample.keypoints[0][0, hips[1], :2], sample.project(0)[0][0, hips[0]]).any()


def test_faces_of_campus_people():
    """Somebody upright who looks along x: ears amid the head, the nose in front."""
    pose = np.zeros((14, 3))
    pose[:, 2] = 1000.0
    for name, place in (
        ("left_shoulder", (0, 200, 1400)),
        ("right_shoulder", (0, -200, 1400)),
        ("head_bottom", (0, 0, 1500)),
        ("head_top", (0, 0, 1800)),
        ("left_wrist", (300, 250, 1000)),
    ):
        pose[CAMPUS14.index(name)] = place
    coco = dict(zip(COCO17.joint_names, coco17_from_campus14(pose), strict=True))
    assert coco["left_wrist"].tolist() == [300, 250, 1000]
    np.testing.assert_allclose((coco["left_ear"] + coco["right_ear"]) / 2, [0, 0, 1650], atol=1e-9)
    assert coco["left_ear"][1] > 50 and coco["nose"][0] > 80 and abs(coco["nose"][1]) < 1e-9
    assert coco["left_eye"][1] > 0 > coco["right_eye"][1] and coco["left_eye"][2] > 1650


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"TEST_DATASET": "campus"}, "no 2D predictions"),
        ({"TEST_DATASET": "campuss"}, "campuss"),
        ({"TRAIN_DATASET": "campus"}, "labelled with campus14"),
        ({"TEST_DATASET": "campus", "TEST_HEATMAP_SRC": "gt"}, "labelled with campus14"),
        ({"TEST_DATASET": "campus", "ROOTIDX": [11, 12]}, "ROOTIDX"),
        ({"TEST_DATASET": "campus", "TEST_SUBSET": "test"}, "subset 'test'"),
        ({"TEST_DATASET": "campus", "CAMERA_NUM": 5}, "at least 5"),
        ({"TRAIN_HEATMAP_SRC": "image"}, "has no images"),
        ({"TEST_HEATMAP_SRC": "simulated"}, "for campus and shelf only"),
    ],
)
def test_what_cannot_be_served(tmp_path, changes, words):
    write_campus(tmp_path / "CampusSeq1")
    config = campus_config(tmp_path, **{"TEST_DATASET": "synthetic", **changes})
    train = any(key.startswith("TRAIN") for key in changes)
    with pytest.raises(InputError, match=words):
        open_configured(config, train)


def test_images_without_a_backbone(tmp_path):
    write_campus(tmp_path / "CampusSeq1")
    (tmp_path / "CampusSeq1" / "Camera0").mkdir()
    (tmp_path / "CampusSeq1" / "Camera1").mkdir()
    (tmp_path / "CampusSeq1" / "Camera2").mkdir()
    config = campus_config(tmp_path, TEST_HEATMAP_SRC="image")
    with pytest.raises(InputError, match="BACKBONE_MODEL"):
        open_configured(config, False)


# --- images -------------------------------------------------------------------------------------


def test_network_input_keeps_the_aspect_and_turns_to_rgb():
    image = np.zeros((100, 200, 3), np.uint8)
    image[..., 0] = 200  # blue
    warped = warp_to_network(image, (100, 100))
    assert warped.shape == (3, 100, 100) and warped.dtype == np.uint8
    assert (warped[2, 30:70] == 200).all() and (warped[:2] == 0).all()
    assert (warped[:, :20] == 0).all() and (warped[:, 80:] == 0).all()


@pytest.mark.parametrize("size", [(64, 48), (100, 30)])
def test_images_on_a_device_are_warped_as_those_in_memory(size):
    coarse = np.random.default_rng(0).integers(0, 255, (9, 12, 3), np.uint8)
    image = cv2.resize(coarse, (160, 120), interpolation=cv2.INTER_CUBIC)
    ours = warp_on_device(torch.from_numpy(image), size).numpy()
    expected = warp_to_network(image, size).astype(np.float32)
    inside = (expected > 0).all(axis=0) & (ours > 0).all(axis=0)
    assert inside.mean() > 0.35
    # OpenCV rounds positions to 1/32 pixel and values to whole numbers.
    assert np.abs(ours - expected)[:, inside].mean() < 1.0
    assert np.abs(ours - expected)[:, inside].max() < 8.0


def test_normalized_images():
    grey = torch.full((2, 3, 4, 4), 128, dtype=torch.uint8)
    expected = (128 / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(normalize(grey)[1, :, 2, 3], expected, rtol=1e-5)


# --- evaluation ---------------------------------------------------------------------------------


def test_pcp_of_campus(tmp_path):
    truth = write_campus(tmp_path / "CampusSeq1")
    dataset = Campus(tmp_path / "CampusSeq1", subset="350-352")
    frames = [dataset[index] for index in range(3)]

    def result(index, poses):
        return FrameResult(index, frames[index], np.array(poses).reshape(-1, 14, 3), np.ones(len(poses)))

    right = evaluate([result(1, []), result(0, [truth]), result(2, [truth])], dataset, CAMPUS14)
    assert right.precision == 1 and right.values["evaluated_frames"] == 3
    assert right.values["actors"] == [1.0] and right.values["frames"] == [1]
    assert "actor 1" in right.table and "100.00" in right.table and "upper arms" in right.table
    # Nobody found is a miss; a frame that could not be read is left out, and said to be.
    assert evaluate([result(0, [])], dataset, CAMPUS14).precision == 0
    without = evaluate([result(1, [])], dataset, CAMPUS14)
    assert without.values["unreadable_frames"] == 2 and "2 frames could not be read" in without.table
    assert np.isnan(without.precision)


def test_plain_triangulation_stands_beside_pcp(tmp_path):
    """Of exact 2D people it is exact; of none it misses all, whatever the network finds."""
    truth = write_campus(tmp_path / "CampusSeq1", {"0_350": []})
    dataset = Campus(tmp_path / "CampusSeq1", subset="350-350")
    (sample,) = dataset.samples()
    poses = coco17_from_campus14(truth[None])
    people = dataclasses.replace(sample, poses=poses, visible=np.ones((1, 17), bool))
    exact = tuple(join_keypoints(*map(np.asarray, people.project(view))) for view in range(len(sample.rig)))
    for keypoints, share in ((exact, 1.0), ((None,) * 3, 0.0)):
        frame = dataclasses.replace(sample, keypoints=keypoints)
        evaluation = evaluate([FrameResult(0, frame, poses, np.ones(1))], dataset, COCO17)
        assert evaluation.values["dlt_ideal_association"]["groups"]["upper_legs"] == [share]
        assert evaluation.values["groups"]["upper_legs"] == [1.0]
        assert "PCP of DLT" in evaluation.table


def test_joints_of_networks_and_data_sets(tmp_path):
    write_campus(tmp_path / "CampusSeq1")
    campus = Campus(tmp_path / "CampusSeq1")
    poses = np.random.default_rng(0).normal(size=(2, 17, 3))
    assert joint_conversion(COCO17, campus)(poses).shape == (2, 14, 3)
    assert joint_conversion(CAMPUS14, campus)(poses) is poses
    campus.joint_set = PANOPTIC15
    with pytest.raises(InputError, match="cannot be compared"):
        joint_conversion(CAMPUS14, campus)
