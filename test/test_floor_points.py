"""A world from points of the floor: named points, and targets that lie on it."""

import json

import cv2
import numpy as np
import pytest

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.self_calibration.alignment import Similarity, align_to_points, rotation_to_z
from voxelpose_core.self_calibration.floor_points import FloorTarget, find_floor_target, read_floor_points

SIZE = (1280, 720)
needs_aruco = pytest.mark.skipif(
    not hasattr(getattr(cv2, "aruco", None), "ArucoDetector"), reason="OpenCV 4.7 has the ArUco detector"
)


def rig(places=((-2500, -3500, 1800), (2500, -3500, 2200), (300, -4200, 1500))):
    """Cameras that look at the origin."""
    cameras = []
    for index, place in enumerate(places):
        center = np.array(place, float)
        forward = -center / np.linalg.norm(center)
        right = np.cross(forward, [0, 0, 1.0])
        right /= np.linalg.norm(right)
        R = np.stack([right, np.cross(forward, right), forward])
        K = np.array([[1500.0, 0, 640], [0, 1500, 360], [0, 0, 1]])
        cameras.append(Camera(f"cam{index}", SIZE, K, np.zeros(5), R, center))
    return Rig(tuple(cameras))


ROOM = rig()
# The world of the file: turned, and in another unit.
OTHER = Similarity(
    rotation_to_z([0.2, 0.9, -0.4] / np.linalg.norm([0.2, 0.9, -0.4])), 0.01, np.array([3.0, 1, -2])
)
FILED = OTHER.rig(ROOM)
CORNERS = {
    "door": [-900.0, 200, 0],
    "mat": [700.0, -300, 0],
    "plinth": [100.0, 800, 0],
    "drain": [-200.0, -600, 0],
}


def pixels_of(point, noise=0.0):
    random = np.random.default_rng(0)
    return {
        camera.name: (camera.project(np.array([point]))[0][0] + random.normal(0, noise, 2)).tolist()
        for camera in ROOM.cameras
    }


def write(tmp_path, points):
    path = tmp_path / "points.json"
    path.write_text(json.dumps({"points": points}))
    return path


def check(alignment, unit_known):
    """That the new world has the room's floor at zero, and its unit."""
    factor = 1.0 if unit_known else 0.01
    for camera, true in zip(alignment.rig.cameras, ROOM.cameras, strict=True):
        assert camera.C[2] == pytest.approx(factor * true.C[2], rel=0.02)
    assert alignment.floor.sigma_deg < 0.5


def test_named_points_as_pixels_and_as_points_of_the_world(tmp_path):
    points = {name: pixels_of(place, 0.5) for name, place in CORNERS.items()}
    points["drain"] = OTHER.points(np.array(CORNERS["drain"])).tolist()
    found = read_floor_points(write(tmp_path, points), FILED)
    assert found.names == tuple(CORNERS) and found.errors_px.max() < 2
    apart = float(np.linalg.norm(ROOM.cameras[0].C - ROOM.cameras[2].C))
    alignment = align_to_points(FILED, found, ("cam0", "cam2", apart))
    check(alignment, unit_known=True)
    middle = np.mean(list(CORNERS.values()), axis=0)
    np.testing.assert_allclose(alignment.similarity.points(OTHER.points(middle)), 0, atol=10)
    kept = align_to_points(FILED, found)
    check(kept, unit_known=False)
    assert kept.notes == ("the unit is kept: --distance sets it",)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ({"a": [0, 0, 0], "b": [1, 0, 0]}, "points: expected three or more named points"),
        ({"a": [0, 0], "b": [1, 0, 0], "c": [0, 1, 0]}, r"point 'a': \[0, 0\], expected \[x, y, z\]"),
        ({"a": {"cam0": [1, 2]}, "b": [1, 0, 0], "c": [0, 1, 0]}, "point 'a': expected .* two views or more"),
        (
            {"a": {"cam0": [1, 2], "cam7": [1, 2]}, "b": [1, 0, 0], "c": [0, 1, 0]},
            "camera 'cam7' is not in rig",
        ),
        (
            {"a": {"cam0": [1, 2], "cam1": [1, "x"]}, "b": [1, 0, 0], "c": [0, 1, 0]},
            r"camera 'cam1': \[1, 'x'\]",
        ),
        (
            {"a": {"cam0": [200, 300], "cam1": [1200, 700]}, "b": [1, 0, 0], "c": [0, 1, 0]},
            "point 'a': the rays through its pixels (miss each other|meet behind)",
        ),
    ],
)
def test_bad_points_are_named(tmp_path, points, message):
    path = write(tmp_path, points)
    with pytest.raises(InputError, match=message) as caught:
        read_floor_points(path, FILED)
    assert str(caught.value).startswith(f"{path}: ")


def test_points_on_a_line_or_off_a_plane_are_refused(tmp_path):
    line = {name: [x, 2.0 * x, 0.0] for name, x in zip("abc", (0.0, 1.0, 2.0), strict=True)}
    with pytest.raises(InputError, match="lie on one line"):
        align_to_points(FILED, read_floor_points(write(tmp_path, line), FILED))
    table = {name: OTHER.points(np.array(place)).tolist() for name, place in CORNERS.items()}
    table["mat"] = OTHER.points(np.array([700.0, -300, 750])).tolist()
    with pytest.raises(InputError, match="do not lie on one plane: '(door|mat|plinth|drain)'"):
        align_to_points(FILED, read_floor_points(write(tmp_path, table), FILED))


def lying(texture, side_mm):
    """Images of a texture (H, W) that lies on the floor around the origin, `side_mm` per pixel."""
    height, width = texture.shape
    on_floor = np.array([[side_mm, 0, -side_mm * width / 2], [0, -side_mm, side_mm * height / 2], [0, 0, 1]])
    images = []
    for camera in ROOM.cameras:
        to_image = camera.projection_matrix[:, [0, 1, 3]] @ on_floor
        image = cv2.warpPerspective(texture, to_image, SIZE, flags=cv2.INTER_AREA, borderValue=160)
        images.append(cv2.cvtColor(cv2.GaussianBlur(image, (3, 3), 0), cv2.COLOR_GRAY2BGR))
    return images


def chessboard(columns, rows, square):
    board = np.full(((rows + 3) * square, (columns + 3) * square), 255, np.uint8)
    for row in range(rows + 1):
        for column in range(columns + 1):
            if (row + column) % 2 == 0:
                board[
                    (row + 1) * square : (row + 2) * square, (column + 1) * square : (column + 2) * square
                ] = 0
    return board


@pytest.mark.parametrize("size", [(6, 5), (6, 4)])
def test_a_chessboard_on_the_floor_gives_everything(size):
    images = lying(chessboard(*size, 60), 2.0)
    target = FloorTarget.parse(f"chessboard:{size[0]}x{size[1]}:120")
    points = find_floor_target(target, [images, images], FILED)
    assert len(points.names) == size[0] * size[1] and points.unit_mm == pytest.approx(100.0, rel=0.01)
    check(align_to_points(FILED, points), unit_known=True)


@needs_aruco
@pytest.mark.parametrize("text", ["aruco:4x4_50:300", "charuco:6x4:150:110:4x4_50"])
def test_markers_on_the_floor_give_everything(text):
    target = FloorTarget.parse(text)
    dictionary = target.opencv_dictionary()
    if target.kind == "aruco":
        texture = np.full((400, 400), 255, np.uint8)
        texture[50:350, 50:350] = cv2.aruco.generateImageMarker(dictionary, 7, 300)
        images = lying(texture, 1.0)
    else:
        board = cv2.aruco.CharucoBoard((6, 4), 150.0, 110.0, dictionary)
        images = lying(board.generateImage((900, 600), marginSize=0), 1.0)
    points = find_floor_target(target, [images, [None, *images[1:]]], FILED)
    assert points.unit_mm == pytest.approx(100.0, rel=0.02)
    check(align_to_points(FILED, points), unit_known=True)


def test_a_target_that_is_not_there_or_moves_is_named():
    board = chessboard(6, 5, 60)
    images = lying(board, 2.0)
    target = FloorTarget.parse("chessboard:6x5:120")
    empty = np.zeros_like(images[0])
    with pytest.raises(InputError, match="the chessboard is found by 'cam1', expected two cameras or more"):
        find_floor_target(target, [[empty, images[1], None]], FILED)
    with pytest.raises(InputError, match="the chessboard is found by no camera"):
        find_floor_target(target, [[empty] * 3], FILED)
    moved = [np.roll(image, 40, axis=1) for image in images]
    with pytest.raises(InputError, match="camera 'cam0': the chessboard moves by"):
        find_floor_target(target, [images, moved], FILED)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tape", "'tape', expected a file of points, chessboard:9x6:40"),
        ("chessboard:6x6:40", "a square board looks alike from all sides"),
        ("chessboard:9x6:0", "side 0, expected millimetres"),
        pytest.param("aruco:9x9_1:100", "dictionary '9x9_1' is unknown, expected one of", marks=needs_aruco),
        pytest.param("charuco:5x7:30:40:4x4_50", "markers that are smaller than squares", marks=needs_aruco),
    ],
)
def test_bad_targets_are_named(text, message):
    with pytest.raises(InputError, match=message):
        FloorTarget.parse(text)
