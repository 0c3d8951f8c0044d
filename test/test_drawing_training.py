"""Debug pictures show people where they are."""

import cv2
import numpy as np
import pytest
from tiny_experiment import tiny_rig

from voxelpose_core.config import DebugConfig
from voxelpose_core.datasets.base import Sample
from voxelpose_core.drawing.training import (
    PREDICTION,
    TRUTH,
    Scene,
    draw_heatmaps,
    draw_poses,
    draw_proposals,
    draw_views,
    save_pictures,
)
from voxelpose_core.models.voxelpose import ProposalGrid
from voxelpose_core.skeletons import CAMPUS14, PANOPTIC15


def person(x, y, joints):
    """Joints on a vertical line."""
    return np.column_stack([np.full(joints, x), np.full(joints, y), np.linspace(100, 1700, joints)])


def make_scene(truth=((-800, 0),), found=((800, 0),), images=None):
    rig = tiny_rig()
    poses = np.array([person(x, y, 14) for x, y in truth]).reshape(-1, 14, 3)
    sample = Sample("here/1", rig, poses, np.ones(poses.shape[:2], bool), np.arange(len(poses)))
    volume = np.zeros((16, 16, 8))
    volume[12, 8, 4] = 1.0
    return Scene(
        sample=sample,
        true_joint_set=CAMPUS14,
        joint_set=PANOPTIC15,
        grid=ProposalGrid((0.0, 0.0, 1000.0), (3000.0, 3000.0, 2000.0), (16, 16, 8)),
        heatmaps=np.random.default_rng(0).random((4, 15, 24, 32)).astype(np.float32),
        true_heatmaps=None,
        root_volume=volume,
        poses=np.array([person(x, y, 15) for x, y in found]).reshape(-1, 15, 3),
        scores=np.full(len(found), 0.9),
        images=images,
    )


def middle_of(picture, color):
    """Mean (x, y) of the pixels of about that colour."""
    near = np.abs(picture.astype(int) - color).max(axis=2) < 30
    assert near.any()
    ys, xs = np.nonzero(near)
    return xs.mean(), ys.mean()


def test_poses_from_above_and_from_the_front():
    picture = draw_poses(make_scene())
    truth, found = middle_of(picture, TRUTH), middle_of(picture, PREDICTION)
    # A metre and a half apart along x, which is to the right.
    assert found[0] - truth[0] > 200
    front = picture[len(picture) // 2 :]
    near = np.abs(front.astype(int) - TRUTH).max(axis=2) < 30
    assert np.ptp(np.nonzero(near.any(axis=1))[0]) > 200  # upright


def test_proposals_mark_the_roots():
    picture = draw_proposals(make_scene())
    assert middle_of(picture, PREDICTION)[0] - middle_of(picture, TRUTH)[0] > 200
    # The volume's peak lies where it is: x at 12 / 15 and y in the middle.
    assert picture[2 * 28 + 10 + 640 * 7 // 16, 10 + int(640 * 12.5 / 16)].min() > 200


def test_views_show_who_is_asked_for():
    scene = make_scene()
    both, only_truth = draw_views(scene), draw_views(scene, predictions=False)
    assert middle_of(both, PREDICTION)
    with pytest.raises(AssertionError):
        middle_of(only_truth, PREDICTION)
    assert middle_of(only_truth, TRUTH)


def test_nobody():
    scene = make_scene(truth=(), found=())
    for draw in (draw_poses, draw_proposals, draw_views):
        picture = draw(scene)
        assert picture.dtype == np.uint8 and picture.ndim == 3


def test_heatmaps_over_images():
    images = np.full((4, 3, 96, 128), 0, np.uint8)
    images[:, 0] = 250  # red
    empty = np.zeros((4, 15, 24, 32), np.float32)
    picture = draw_heatmaps(make_scene(images=images), {"input": empty, "truth": empty})
    blue, green, red = picture[200, 200]
    assert red > 240 and max(blue, green) < 10


def test_views_stand_in_two_columns():
    scene = make_scene()
    one = draw_heatmaps(scene, {"input": scene.heatmaps})
    two = draw_heatmaps(scene, {"input": scene.heatmaps, "truth": scene.heatmaps})
    assert one.shape[1] == two.shape[1] and one.shape[0] < 0.6 * two.shape[0]
    assert draw_views(scene).shape == one.shape


@pytest.mark.parametrize(
    "settings, kinds",
    [
        ({}, {"poses", "proposals", "heatmaps"}),
        ({"save_heatmaps_pred": False}, {"poses", "proposals"}),
        ({"save_batch_images_gt": True}, {"poses", "proposals", "heatmaps", "views"}),
    ],
)
def test_files(tmp_path, settings, kinds):
    save_pictures(tmp_path / "new" / "train_000_000000", make_scene(), DebugConfig(**settings))
    files = sorted((tmp_path / "new").iterdir())
    assert {file.stem.removeprefix("train_000_000000_") for file in files} == kinds
    assert all(cv2.imread(str(file)) is not None for file in files)
