"""Random rigs, detector noise and whole training scenes."""

import numpy as np
import pytest
import torch

from voxelpose_core.datasets.detection_noise import detect
from voxelpose_core.datasets.generated_rigs import as_camera
from voxelpose_core.datasets.random_rigs import HEATMAP_SIZES, miscalibrate, sample_rigs, sample_spaces
from voxelpose_core.datasets.random_scenes import MIN_DISTANCE, place_people, sample_scenes
from voxelpose_core.voxel import Boxes, feature_volumes
from voxelpose_core.voxel.views import project


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def rigs(count=6, views=4, seed=0):
    g = generator(seed)
    spaces = sample_spaces(count, g)
    return spaces, sample_rigs(spaces, views, HEATMAP_SIZES[0], g), g


def test_cameras_are_valid_and_look_into_the_space():
    spaces, views, _ = rigs(count=40)
    middle = torch.tensor([0.0, 0.0, 1000.0]).expand(40, 1, 3)
    seen = torch.stack([project(middle, views.map(lambda t, i=i: t[:, i]))[1][:, 0] for i in range(4)])
    assert seen.float().mean() > 0.8
    for scene in range(5):
        for index in range(4):
            as_camera(views, scene, index, "camera")
    assert spaces.min() >= 2000 and spaces.max() <= 15000


def test_valid_radius_is_that_of_the_camera_model():
    _, views, _ = rigs(count=20)
    for scene in range(20):
        expected = as_camera(views, scene, 0, "camera").valid_radius
        assert views.valid_radius[scene, 0] == pytest.approx(expected, rel=1e-3)


def test_some_lenses_are_fisheyes_and_none_folds_back_inside_its_image():
    _, views, _ = rigs(count=80)
    assert 0.02 < views.fisheye.mean() < 0.2
    assert (views.fisheye == views.fisheye[:, :1]).all()
    for scene in range(80):
        camera = as_camera(views, scene, 0, "camera")
        width, height = camera.image_size
        corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], dtype=float)
        rays = np.column_stack([camera.undistort(corners), np.ones(4)])
        points = camera.C + 3000 * rays @ camera.R
        np.testing.assert_allclose(camera.project(points)[0], corners, atol=1)


def test_miscalibration_grows_with_its_level():
    _, views, g = rigs(count=50)
    still = miscalibrate(views, torch.zeros(50), g)
    torch.testing.assert_close(still.R, views.R)
    moved = miscalibrate(views, torch.ones(50), g)
    shift = (moved.C - views.C).norm(dim=-1)
    assert 8 < shift.mean() < 20
    identity = moved.R @ moved.R.transpose(-1, -2)
    torch.testing.assert_close(identity, torch.eye(3).expand_as(identity), atol=1e-4, rtol=0)


def test_people_keep_their_distance():
    g = generator()
    joints, valid, focus = place_people(sample_spaces(60, g), g)
    roots = joints[:, :, [11, 12], :2].mean(dim=2)
    distance = torch.cdist(roots, roots) + 1e6 * torch.eye(roots.shape[1])
    distance[~(valid[:, :, None] & valid[:, None])] = 1e6
    assert distance.min() > MIN_DISTANCE - 60  # placed by the body's origin, measured at the hips
    assert (distance.amin(dim=(1, 2)) < 900).any(), "some stand close together"
    assert valid[:, 0].all()


def detections(level, seed=0, count=24):
    _, views, g = rigs(count=count, seed=seed)
    joints, valid, _ = place_people(torch.full((count, 2), 3000.0), g)
    found = detect(joints, valid, views, torch.full((count,), level), g)
    projected = [project(joints.flatten(1, 2), views.map(lambda t, i=i: t[:, i])) for i in range(len(views))]
    true = torch.stack([pixels.reshape(count, -1, 17, 2) for pixels, _ in projected], dim=1)
    seen = torch.stack([inside.reshape(count, -1, 17) for _, inside in projected], dim=1)
    return found, true, seen & valid[:, None, :, None]


def test_nobody_is_detected_who_is_not_there():
    found, _, seen = detections(0.5)
    assert ((found.scores[:, :, :-1] > 0) & ~seen).sum() == 0
    assert found.scores.max() <= 1


def test_noise_grows_with_its_level():
    shares, errors = [], []
    for level in (0.0, 1.0):
        found, true, seen = detections(level)
        detected = (found.scores[:, :, :-1] > 0) & seen
        shares.append(detected.sum() / seen.sum())
        errors.append((found.xy[:, :, :-1] - true)[detected].norm(dim=-1).median())
    assert 0.6 < shares[0] < 0.97
    assert shares[1] < shares[0] - 0.08
    assert errors[1] > 1.5 * errors[0] > 0


def test_scenes_are_reproducible_and_well_formed():
    first, second = sample_scenes(3, 3, generator(5)), sample_scenes(3, 3, generator(5))
    torch.testing.assert_close(first.heatmaps, second.heatmaps)
    assert first.heatmaps.shape[:3] == (3, 3, 17)
    assert 0 <= first.heatmaps.min() and 0.3 < first.heatmaps.max() <= 1
    assert (first.person_views <= 3).all()
    assert (first.joint_views.amax(dim=-1) <= first.person_views).all()


def test_heatmaps_show_the_people_where_the_calibration_says():
    scenes = sample_scenes(16, 5, generator(2))
    at_person, beside = [], []
    for index in range(16):
        for joints in scenes.joints[index][scenes.person_views[index] >= 4]:
            centers = joints[[5, 6, 11, 12]]
            value, moved = (
                feature_volumes(
                    scenes.heatmaps,
                    scenes.views,
                    Boxes(places, torch.full((4,), index), (1.0,) * 3, (1, 1, 1)),
                )[torch.arange(4), [5, 6, 11, 12]]
                for places in (centers, centers + 700)
            )
            at_person.append(value.mean())
            beside.append(moved.mean())
    assert torch.stack(at_person).mean() > 0.35
    assert torch.stack(beside).mean() < 0.15
