"""The rules of CameraInfo, against OpenCV: lens models, region of interest, binning, rectification."""

import cv2
import numpy as np
import pytest
import yaml
from scipy.spatial.transform import Rotation
from test_calibration_formats import (
    EQUIDISTANT,
    FISHEYE,
    PINHOLE,
    RADTAN,
    RADTAN4,
    RATIONAL,
    SIZE,
    WIDE,
    sources,
    write_ros,
    write_ros_topic_echo,
)
from test_reader_cases import ROOM, assert_sees_like, edit_yaml, refused

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.camera_info import CameraInfoFields, intrinsics_of
from voxelpose_core.geometry.rig import load_rig

K = np.array([[900.0, 0, 643.5], [0, 902, 355.75], [0, 0, 1]])


def fields(model="plumb_bob", D=RADTAN, size=SIZE, **more):
    return CameraInfoFields(size, K, model, np.array(D), **more)


@pytest.mark.parametrize(
    ("model", "given", "distortion", "fisheye"),
    [
        ("plumb_bob", RADTAN, RADTAN, False),
        ("plumb_bob", RADTAN4, RADTAN4, False),
        ("plumb_bob", [], [0.0] * 5, False),
        ("plumb_bob", [*RADTAN, 0, 0, 0], RADTAN, False),
        ("plumb_bob", [*RATIONAL, *[0] * 6], RATIONAL, False),
        ("rational_polynomial", RATIONAL, RATIONAL, False),
        ("rational_polynomial", [*RATIONAL, 0, 0, 0, 0], RATIONAL, False),
        ("rational_polynomial", [*RATIONAL, *[0] * 6], RATIONAL, False),
        ("equidistant", FISHEYE, FISHEYE, True),
        ("fisheye", FISHEYE, FISHEYE, True),
        ("KANNALA_BRANDT", [*FISHEYE, 0.0], FISHEYE, True),
        ("kannala-brandt4", FISHEYE, FISHEYE, True),
        ("equidistant", [*FISHEYE, 0, 0, 0, 0], FISHEYE, True),
        ("equidistant", [], [0.0] * 4, True),
        ("", RADTAN, RADTAN, False),
        ("", [0.0] * 4, [0.0] * 4, False),
        ("none", [], [0.0] * 5, False),
    ],
)
def test_lens_models(model, given, distortion, fisheye):
    found = intrinsics_of(fields(model, given))
    assert found.fisheye == fisheye and found.assumptions == ()
    np.testing.assert_array_equal(found.distortion, distortion)


@pytest.mark.parametrize(
    ("model", "given", "words"),
    [
        ("plumb_bob", [*RATIONAL, 0.01, 0, 0, 0], r"thin prism or tilt terms \(12 coef.*rational"),
        ("rational_polynomial", [*RATIONAL, *[0] * 5, 0.02], r"thin prism.*\(14 coefficients\)"),
        ("fov", [0.9], "distortion model is 'fov', expected one of plumb_bob"),
        ("double_sphere", [], "distortion model is 'double_sphere'"),
        ("none", RADTAN, "distortion model is 'none', but there are coefficients"),
        ("", FISHEYE, "four coefficients and no distortion_model, expected plumb_bob, or equid"),
    ],
)
def test_lens_models_that_are_refused(model, given, words):
    with pytest.raises(InputError, match=words):
        intrinsics_of(fields(model, given))


@pytest.mark.parametrize(
    ("size", "given", "fisheye"),
    [
        ((848, 800), [-0.003, 0.04, -0.037, 0.006, 0.0], True),
        # Another camera; recalibrated with plumb_bob; a fifth coefficient.
        ((640, 480), [-0.003, 0.04, -0.037, 0.006, 0.0], False),
        ((848, 800), [-0.25, 0.05, -0.0004, 0.0006, 0.0], False),
        ((848, 800), [-0.003, 0.04, -0.037, 0.006, 0.01], False),
    ],
)
def test_the_fisheye_of_a_t265_that_is_named_plumb_bob(size, given, fisheye):
    found = intrinsics_of(fields("plumb_bob", given, size))
    assert found.fisheye == fisheye
    assert len(found.assumptions) == fisheye
    np.testing.assert_array_equal(found.distortion, given[:4] if fisheye else given)


# The transform of full-resolution pixels to those of the image that is sent.
WINDOWS = [
    ((0, 0), (0, 0, 0, 0), (1280, 720), lambda p: p),
    ((1, 1), (0, 0, 1280, 720), (1280, 720), lambda p: p),
    ((2, 2), (0, 0, 0, 0), (640, 360), lambda p: p / 2),
    ((0, 0), (200, 100, 800, 600), (800, 600), lambda p: p - [200, 100]),
    ((2, 4), (200, 100, 800, 600), (400, 150), lambda p: (p - [200, 100]) / [2, 4]),
    ((2, 0), (80, 20, 0, 0), (600, 700), lambda p: (p - [80, 20]) / [2, 1]),
]


@pytest.mark.parametrize(("binning", "roi", "size", "transform"), WINDOWS)
@pytest.mark.parametrize("lens", [PINHOLE, WIDE, EQUIDISTANT])
def test_region_of_interest_and_binning(binning, roi, size, transform, lens):
    (source, *_) = sources(lens)
    info = CameraInfoFields(
        SIZE,
        source.K,
        "equidistant" if source.fisheye else "plumb_bob",
        np.array(source.distortion),
        binning=binning,
        roi=roi,
    )
    camera = intrinsics_of(info).camera("a", source.R, -source.R.T @ source.t)
    assert camera.image_size == size
    visible = camera.sees(ROOM)
    assert visible.sum() > 20
    expected = transform(source.opencv_pixels(ROOM))[visible]
    assert np.abs(camera.project(ROOM)[0][visible] - expected).max() < 1e-6


@pytest.mark.parametrize("roi", [(1000, 0, 400, 700), (0, 100, 1280, 700), (-1, 0, 10, 10), (2000, 0, 0, 0)])
def test_a_region_of_interest_outside_the_image_is_refused(roi):
    with pytest.raises(InputError, match="region of interest is .*inside its 1280x720 pixels"):
        intrinsics_of(fields(roi=roi))


def rectification():
    """A stereo camera's R and P."""
    R = Rotation.from_euler("xyz", [2.0, -3.0, 1.5], degrees=True).as_matrix()
    P = np.array([[850.0, 0, 630, -9000], [0, 850, 365, 0], [0, 0, 1, 0]])
    return R, P


@pytest.mark.parametrize("lens", [PINHOLE, WIDE, EQUIDISTANT])
@pytest.mark.parametrize(("binning", "roi", "size", "transform"), [WINDOWS[0], WINDOWS[4]])
def test_rectified_images(lens, binning, roi, size, transform):
    """A point lies where OpenCV rectifies its raw pixel to."""
    (source, *_) = sources(lens)
    R, P = rectification()
    model = "equidistant" if source.fisheye else "plumb_bob"
    D = np.array(source.distortion)
    info = CameraInfoFields(SIZE, source.K, model, D, R, P, binning, roi)
    camera = intrinsics_of(info, rectified=True).camera("a", source.R, -source.R.T @ source.t)
    assert camera.image_size == size and not camera.fisheye and not camera.distortion.any()
    visible = camera.sees(ROOM) & ((ROOM @ source.R.T + source.t)[:, 2] > 500)
    raw = source.opencv_pixels(ROOM[visible])[:, None]
    if source.fisheye:
        rectified = cv2.fisheye.undistortPoints(raw, source.K, D, R=R, P=P[:, :3])
    else:
        rectified = cv2.undistortPoints(raw, source.K, D, R=R, P=P[:, :3])
    error = np.abs(camera.project(ROOM)[0][visible] - transform(rectified[:, 0]))
    # OpenCV undistorts by a few iterations.
    assert len(error) > 100 and np.median(error) < 0.01 and error.max() < 1.0


def test_without_rectification_the_rotation_is_none():
    _, P = rectification()
    found = intrinsics_of(fields(R=np.zeros((3, 3)), P=P), rectified=True)
    np.testing.assert_array_equal(found.rectification, np.eye(3))
    for missing in (None, np.zeros((3, 4))):
        with pytest.raises(InputError, match="no projection matrix .P is zero."):
            intrinsics_of(fields(P=missing), rectified=True)
    with pytest.raises(InputError, match="no intrinsics .K is zero."):
        intrinsics_of(CameraInfoFields(SIZE, np.zeros((3, 3)), "plumb_bob", np.zeros(5)))


# --- The same in files ------------------------------------------------------------------------------


def test_files_with_a_region_of_interest_and_binning(tmp_path):
    cameras = sources(PINHOLE, WIDE)
    folder = write_ros_topic_echo(cameras, tmp_path)
    roi = {"x_offset": 200, "y_offset": 100, "width": 800, "height": 600, "do_rectify": False}
    window = {"binning_x": 2, "binning_y": 4, "roi": roi}
    edit_yaml(folder / "cam1.yaml", lambda d: d.update(window))
    first, second, _ = load_rig(folder).cameras
    assert_sees_like(first, cameras[0])
    assert second.image_size == (400, 150)
    np.testing.assert_allclose(second.K[:2, 2], (cameras[1].K[:2, 2] - [200, 100]) / [2, 4])
    edit_yaml(folder / "cam1.yaml", lambda d: d.update(binning_x=-1))
    refused(folder, "'cam1': binning_x is -1, expected a whole number of pixels")
    edit_yaml(folder / "cam1.yaml", lambda d: d.update(binning_x=0, roi={"x_offset": 1e9}))
    refused(folder, "'cam1': roi: x_offset is 1000000000.0, expected a whole number")
    edit_yaml(folder / "cam1.yaml", lambda d: d.update(roi=3))
    refused(folder, "'cam1': roi: is a int, expected keys and values")


def test_files_of_rectified_cameras(tmp_path):
    cameras = sources(PINHOLE, EQUIDISTANT)
    folder = write_ros(cameras, tmp_path)
    R, P = rectification()
    for camera in cameras:
        # depthai's file says 4 x 3 of the same twelve numbers.
        values = {
            "rectification_matrix": {"rows": 3, "cols": 3, "data": R.ravel().tolist()},
            "projection_matrix": {"rows": 4, "cols": 3, "data": P.ravel().tolist()},
        }
        edit_yaml(folder / f"{camera.name}_info.yaml", lambda d, v=values: d.update(v))
    edit_yaml(folder / "extrinsics.yaml", lambda d: d.update(rectified=True))
    for camera, source in zip(load_rig(folder).cameras, cameras, strict=True):
        np.testing.assert_allclose(camera.K, P[:, :3])
        np.testing.assert_allclose(camera.R, R @ source.R, atol=1e-9)
        np.testing.assert_allclose(camera.C, -source.R.T @ source.t, atol=1e-6)
        assert not camera.fisheye and not camera.distortion.any()
    edit_yaml(folder / "cam1_info.yaml", lambda d: d.pop("projection_matrix"))
    refused(folder, "'cam1': CameraInfo has no projection matrix")
    edit_yaml(folder / "extrinsics.yaml", lambda d: d.update(rectified="maybe"))
    refused(folder, "extrinsics.yaml: rectified is 'maybe', expected true or false")


def test_files_without_a_distortion_model(tmp_path):
    folder = write_ros(sources(PINHOLE), tmp_path)
    edit_yaml(folder / "cam1_info.yaml", lambda d: d.pop("distortion_model"))
    assert not load_rig(folder).cameras[1].fisheye
    four = {"rows": 4, "cols": 1, "data": FISHEYE}
    edit_yaml(folder / "cam1_info.yaml", lambda d: d.update(distortion_coefficients=four))
    refused(folder, "'cam1': distortion has four coefficients and no distortion_model")


def test_yaml_of_a_number_of_a_name_is_text(tmp_path):
    """YAML reads 01 as a number; cameras are named so."""
    cameras = sources(PINHOLE)
    for camera, name in zip(cameras, ("01", "02", "1_0"), strict=True):
        camera.name = name
    folder = write_ros_topic_echo(cameras, tmp_path)
    text = (folder / "extrinsics.yaml").read_text()
    assert "'01'" in text
    (folder / "extrinsics.yaml").write_text(text.replace("'", ""))
    assert yaml.safe_load((folder / "extrinsics.yaml").read_text())["cameras"].keys() == {1, 2, 10}
    assert load_rig(folder).names == ("01", "02", "1_0")
