"""The camera model against OpenCV."""

import cv2
import numpy as np
import pytest
import torch

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.voxel import Views
from voxelpose_core.voxel.views import project

PINHOLE = (0.0, 0.0, 0.0, 0.0, 0.0)
BARREL = (-0.28, 0.09, 0.0011, -0.0007, -0.012)
PINCUSHION = (0.12, 0.03, -0.002, 0.001, 0.004)
FOUR = (-0.28, 0.09, 0.0011, -0.0007)
RATIONAL = (0.31, -0.07, 0.0004, -0.0003, 0.002, 0.62, -0.05, 0.01)
FISHEYE = (-0.021, 0.012, -0.009, 0.0021)
LENSES = {
    "pinhole": PINHOLE,
    "barrel": BARREL,
    "pincushion": PINCUSHION,
    "four": FOUR,
    "rational": RATIONAL,
    "fisheye": FISHEYE,
}
K = np.array([[1100.0, 0, 970.0], [0, 1090.0, 530.0], [0, 0, 1]])


def camera_at(center, target=(0, 0, 1000), distortion=PINHOLE, **changes) -> Camera:
    """A camera at `center` that looks at `target`, upright."""
    forward = np.subtract(target, center) / np.linalg.norm(np.subtract(target, center))
    right = np.cross(forward, [0, 0, 1])
    right /= np.linalg.norm(right)
    R = np.stack([right, np.cross(forward, right), forward])
    fields = {"image_size": (1920, 1080), "K": K, "R": R} | changes
    return Camera("cam", distortion=distortion, C=center, **fields)


def camera_of(lens) -> Camera:
    changes = {}
    if lens == "fisheye":
        changes = {"fisheye": True, "K": np.array([[520.0, 0, 955], [0, 515, 545], [0, 0, 1]])}
    return camera_at((3000, -2500, 1800), distortion=LENSES[lens], **changes)


def opencv_pixels(camera, points):
    """(N, 2), by OpenCV's own projection."""
    rvec, tvec = cv2.Rodrigues(camera.R)[0], camera.t[:, None]
    if camera.fisheye:
        pixels, _ = cv2.fisheye.projectPoints(points[:, None], rvec, tvec, camera.K, camera.distortion)
    else:
        pixels, _ = cv2.projectPoints(points, rvec, tvec, camera.K, camera.distortion)
    return pixels[:, 0]


def points_around(rng, count=300):
    return rng.uniform([-1500, -1500, 0], [1500, 1500, 2000], size=(count, 3))


@pytest.mark.parametrize("lens", LENSES)
def test_project_equals_opencv(lens):
    camera = camera_of(lens)
    points = points_around(np.random.default_rng(0))
    pixels, depth = camera.project(points)
    assert np.abs(pixels - opencv_pixels(camera, points)).max() < 0.01
    assert np.allclose(depth, (points @ camera.R.T + camera.t)[:, 2])


@pytest.mark.parametrize("lens", LENSES)
def test_tensors_project_as_the_camera(lens):
    # Beside another kind of lens, so that no batch is spared the arithmetic by accident.
    cameras = [camera_of(lens), camera_of("rational"), camera_of("fisheye"), camera_of("barrel")]
    points = np.random.default_rng(3).uniform(-6000, 6000, size=(4000, 3))
    for count in (1, 4):
        views = Views.from_cameras(cameras[:count], (960, 540), (240, 135))
        view = views.map(lambda tensor: tensor[0])
        together = torch.as_tensor(points, dtype=torch.float32).expand(count, -1, -1)
        pixels, seen = project(together, view)
        for camera, ours, visible in zip(cameras, pixels.numpy(), seen.numpy()):
            expected = camera.sees(points)
            assert (visible != expected).mean() < 2e-3  # single precision, at the image's edge
            assert expected.sum() > 100
            difference = np.abs(ours - camera.project(points)[0])[expected]
            assert difference.max() < 0.05


def test_projection_matrix_equals_project_without_distortion():
    camera = camera_at((3000, -2500, 1800))
    points = points_around(np.random.default_rng(1))
    homogeneous = np.column_stack([points, np.ones(len(points))]) @ camera.projection_matrix.T
    assert np.allclose(homogeneous[:, :2] / homogeneous[:, 2:], camera.project(points)[0])


@pytest.mark.parametrize("lens", LENSES)
def test_unproject_inverts_project(lens):
    camera = camera_of(lens)
    points = points_around(np.random.default_rng(2))
    points = points[camera.sees(points)]
    assert len(points) > 50
    pixels, depth = camera.project(points)
    assert np.abs(camera.unproject(pixels, depth) - points).max() < 0.05
    directions = (points - camera.C) / np.linalg.norm(points - camera.C, axis=1, keepdims=True)
    assert np.abs(camera.ray_directions(pixels[None]) - directions).max() < 1e-6
    local = camera.to_camera(points)
    assert np.abs(camera.undistort(pixels) - local[:, :2] / local[:, 2:]).max() < 1e-9


@pytest.mark.parametrize("lens", LENSES)
def test_undistort_inverts_the_lens_over_the_whole_image(lens):
    # To a thousandth of a pixel, by the functions of OpenCV 4 and 5 alike.
    camera = camera_of(lens)
    grid = np.meshgrid(np.linspace(0, 1919, 41), np.linspace(0, 1079, 31))
    pixels = np.stack(grid, axis=-1).reshape(-1, 2)
    rays = camera.undistort(pixels)
    points = camera.unproject(pixels, 2000.0)
    seen = camera.lens_radius(points) < 0.9 * camera.valid_radius
    assert seen.mean() > 0.6
    assert np.abs(camera.project(points)[0] - pixels)[seen].max() < 1e-3
    assert np.allclose(rays, np.concatenate([camera.undistort(pixel) for pixel in pixels]))
    assert camera.undistort(pixels[:0]).shape == (0, 2)


def test_sees_only_in_front_and_in_the_image():
    camera = camera_at((3000, 0, 1000))
    ahead, behind, beside = (0, 0, 1000), (6000, 0, 1000), (2900, 3000, 1000)
    assert camera.sees(np.array([ahead, behind, beside])).tolist() == [True, False, False]
    # The image of the point behind lies in the image: only its depth tells.
    pixel = camera.project(np.array([behind]))[0][0]
    assert (pixel >= 0).all() and (pixel < camera.image_size).all()


def test_image_border_belongs_half_open_to_the_image():
    camera = camera_at((3000, 0, 1000))
    pixels = np.array([[0.01, 500], [-0.01, 500], [1919.99, 500], [1920.01, 500]])
    assert camera.sees(camera.unproject(pixels, 2000.0)).tolist() == [True, False, True, False]


def test_valid_radius_is_where_the_distortion_stops_growing():
    camera = camera_at((3000, 0, 1000), distortion=BARREL)
    k1, k2, _, _, k3 = BARREL
    r = np.linspace(0, 3, 300_001)
    grown = r * (1 + k1 * r**2 + k2 * r**4 + k3 * r**6)
    assert camera.valid_radius == pytest.approx(r[np.argmax(np.diff(grown) <= 0)], abs=1e-4)
    assert camera_at((3000, 0, 1000)).valid_radius == float("inf")


def test_valid_radius_of_a_rational_lens_ends_at_its_pole():
    camera = camera_at((3000, 0, 1000), distortion=(0, 0, 0, 0, 0, -0.25, 0, 0))
    assert camera.valid_radius == pytest.approx(2.0)
    folding = (0.0, 0.0, 0.0, 0.0, 0.0, 0.6, 0.0, 0.0)  # r / (1 + 0.6 r^2) grows to r^2 = 1 / 0.6
    camera = camera_at((3000, 0, 1000), distortion=folding)
    assert camera.valid_radius == pytest.approx(np.sqrt(1 / 0.6))


def test_valid_radius_of_a_fisheye_is_an_angle_short_of_a_right_one():
    assert camera_of("fisheye").valid_radius == pytest.approx(np.radians(89))
    folding = camera_at((3000, 0, 1000), distortion=(-0.3, 0, 0, 0), fisheye=True)
    assert folding.valid_radius == pytest.approx(np.sqrt(1 / 0.9))


def test_fisheye_sees_to_the_side_but_never_behind():
    camera = camera_at(
        (0, 0, 1000),
        target=(0, 5000, 1000),
        distortion=FISHEYE,
        fisheye=True,
        K=np.array([[400.0, 0, 960], [0, 400, 540], [0, 0, 1]]),
    )
    places = [[x, y, 1000.0] for x, y in ((3000, 300), (3000, 10), (3000, -300), (0, -3000))]
    assert camera.sees(np.array(places)).tolist() == [True, False, False, False]


def test_fisheye_pixels_past_its_angle_are_taken_to_it():
    camera = camera_of("fisheye")
    ray = camera.undistort(np.array([[955.0 + 3000, 545.0]]))[0]
    assert ray == pytest.approx([np.tan(np.radians(89)), 0.0])


def test_point_past_the_valid_radius_is_not_seen():
    # Strong barrel distortion folds a point at 75 degrees back into the image.
    camera = camera_at((3000, 0, 1000), distortion=(-0.3, 0.0, 0.0, 0.0, 0.0))
    far_off = camera.C + camera.R.T @ (1000.0 * np.array([1.75, 0.0, 1.0]))
    pixel = camera.project(far_off[None])[0][0]
    assert (pixel >= 0).all() and (pixel < camera.image_size).all()
    assert not camera.sees(far_off[None])[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"R": np.diag([1.0, 1.0, -1.0])}, "R is not a rotation"),
        ({"R": 1.1 * np.eye(3)}, "R is not a rotation"),
        ({"K": np.full((3, 3), np.nan)}, "K has a value that is not finite"),
        ({"K": np.eye(2)}, "K cannot be read"),
        ({"K": np.diag([-5.0, 5.0, 1.0])}, "focal lengths"),
        ({"image_size": (0, 1080)}, "image size is 0x1080"),
        ({"distortion": (0.1, 0.2, 0.0)}, "distortion has 3 coefficients, expected 4 or 5 or 8"),
        ({"fisheye": True}, "distortion has 5 coefficients, expected 4 of a fisheye"),
    ],
)
def test_bad_values_are_named(change, words):
    with pytest.raises(InputError, match=words) as error:
        camera_at((3000, 0, 1000), **change)
    assert "'cam'" in str(error.value) and "\n" not in str(error.value)
