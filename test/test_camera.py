"""The camera model against OpenCV."""

import cv2
import numpy as np
import pytest

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.camera import Camera

PINHOLE = (0.0, 0.0, 0.0, 0.0, 0.0)
BARREL = (-0.28, 0.09, 0.0011, -0.0007, -0.012)
PINCUSHION = (0.12, 0.03, -0.002, 0.001, 0.004)
K = np.array([[1100.0, 0, 970.0], [0, 1090.0, 530.0], [0, 0, 1]])


def camera_at(center, target=(0, 0, 1000), distortion=PINHOLE, **changes) -> Camera:
    """A camera at `center` that looks at `target`, upright."""
    forward = np.subtract(target, center) / np.linalg.norm(np.subtract(target, center))
    right = np.cross(forward, [0, 0, 1])
    right /= np.linalg.norm(right)
    R = np.stack([right, np.cross(forward, right), forward])
    fields = {"image_size": (1920, 1080), "K": K, "R": R} | changes
    return Camera("cam", distortion=distortion, C=center, **fields)


def points_around(rng, count=300):
    return rng.uniform([-1500, -1500, 0], [1500, 1500, 2000], size=(count, 3))


@pytest.mark.parametrize("distortion", [PINHOLE, BARREL, PINCUSHION])
def test_project_equals_opencv(distortion):
    camera = camera_at((3000, -2500, 1800), distortion=distortion)
    points = points_around(np.random.default_rng(0))
    expected, _ = cv2.projectPoints(
        points, cv2.Rodrigues(camera.R)[0], camera.t, camera.K, camera.distortion
    )
    pixels, depth = camera.project(points)
    assert np.abs(pixels - expected[:, 0]).max() < 0.01
    assert np.allclose(depth, (points @ camera.R.T + camera.t)[:, 2])


def test_projection_matrix_equals_project_without_distortion():
    camera = camera_at((3000, -2500, 1800))
    points = points_around(np.random.default_rng(1))
    homogeneous = np.column_stack([points, np.ones(len(points))]) @ camera.projection_matrix.T
    assert np.allclose(homogeneous[:, :2] / homogeneous[:, 2:], camera.project(points)[0])


@pytest.mark.parametrize("distortion", [PINHOLE, BARREL, PINCUSHION])
def test_unproject_inverts_project(distortion):
    camera = camera_at((3000, -2500, 1800), distortion=distortion)
    points = points_around(np.random.default_rng(2))
    points = points[camera.sees(points)]
    assert len(points) > 50
    pixels, depth = camera.project(points)
    assert np.abs(camera.unproject(pixels, depth) - points).max() < 0.05
    local = camera.to_camera(points)
    assert np.abs(camera.undistort(pixels) - local[:, :2] / local[:, 2:]).max() < 1e-9


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
    ],
)
def test_bad_values_are_named(change, words):
    with pytest.raises(InputError, match=words) as error:
        camera_at((3000, 0, 1000), **change)
    assert "'cam'" in str(error.value) and "\n" not in str(error.value)
