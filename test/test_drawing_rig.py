"""The picture of a rig: what is drawn where."""

import dataclasses

import cv2
import numpy as np
import pytest

from voxelpose_core import cli
from voxelpose_core.drawing.rig import _Coverage, _from_above, draw_rig
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.rig import Rig, load_rig, save_rig
from voxelpose_core.geometry.space import Space
from voxelpose_core.resources import find_resource

SPACE = Space((0, 0, 1000), (2000, 2000, 2000))


def camera_at(name, center, target, **lens):
    forward = np.subtract(target, center) / np.linalg.norm(np.subtract(target, center))
    right = np.cross(forward, [0, 0, 1])
    right /= np.linalg.norm(right)
    R = np.stack([right, np.cross(forward, right), forward])
    K = [[1400, 0, 640], [0, 1400, 360], [0, 0, 1]]
    return Camera(name, (1280, 720), K, lens.pop("distortion", [0] * 5), R, center, **lens)


@pytest.fixture
def rig() -> Rig:
    """Two cameras that look at the origin from -x and -y."""
    return Rig(
        (
            camera_at("west", (-4000.0, 0, 1500), (0, 0, 900)),
            camera_at("south", (0.0, -4000, 1500), (0, 0, 900)),
        )
    )


def pixel_of(place, rig, space, size):
    """Where a place of the ground is in the view from above, in a picture of `size`."""
    panel = ((size[0] - 48) // 2, size[1] - 92 - 16)
    x, y, w = _from_above(_Coverage(rig, space, panel), panel) @ [*place, 0.0, 1.0]
    return int(x / w) + 16, int(y / w) + 92


def test_coverage_counts_the_cameras(rig):
    coverage = _Coverage(rig, SPACE, (900, 800))

    def count(x, y):
        i, j = ((np.array([x, y]) - coverage.low) / coverage.step).astype(int)
        return coverage.counts[i, j]

    assert count(0, 0) == 2
    assert count(1500, -3500) == 0 and count(-3500, -3500) == 0
    assert count(-600, -1900) == 1 and count(-1900, -600) == 1
    assert coverage.share[1] > 0.9


def test_places_have_the_colour_of_their_coverage(rig):
    size = (1200, 700)
    picture = draw_rig(rig, SPACE, size)
    assert picture.shape == (700, 1200, 3) and picture.dtype == np.uint8
    colors = _Coverage(rig, SPACE, (576, 592)).colors(2).astype(int)
    # Between the lines of the grid.
    for place, count in (((-500, 500), 2), ((-1900, -600), 1), ((2500, -3500), 0)):
        x, y = pixel_of(place, rig, SPACE, size)
        assert np.abs(picture[y, x].astype(int) - colors[count]).max() < 12, (place, count)
    # A point of the space's edge is red.
    x, y = pixel_of((1000, 500), rig, SPACE, size)
    blue, _, red = picture[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3).astype(int).T
    assert (red - blue).max() > 100


def test_rig_whose_cameras_do_not_meet_is_drawn_without_space(rig):
    away = camera_at("south", (0.0, -4000, 1500), (0, -9000, 900))
    picture = draw_rig(dataclasses.replace(rig, cameras=(rig.cameras[0], away)))
    assert picture.shape == (1000, 1920, 3) and picture.std() > 5


def test_wrong_units_and_fisheyes_are_drawn(rig):
    fisheye = camera_at("wide", (3000.0, 3000, 2000), (0, 0, 900), distortion=[0] * 4, fisheye=True)
    cameras = (*rig.cameras, fisheye)
    for scale in (1e-3, 1.0, 1e3):
        scaled = [dataclasses.replace(c, C=c.C * scale) for c in cameras]
        assert draw_rig(Rig(tuple(scaled)), size=(800, 450)).shape == (450, 800, 3)


def test_preview_command(tmp_path, capsys):
    out = tmp_path / "rig.png"
    campus = str(find_resource("config/rigs/campus.yaml"))
    assert cli.main(["rig", "preview", campus, "--out", str(out)]) == 0
    assert "3 cameras, read as rig YAML (mm)" in capsys.readouterr().out
    assert cv2.imread(str(out)).shape == (1000, 1920, 3)
    assert cli.main(["rig", "preview", campus, "--out", str(tmp_path / "no" / "rig.png")]) == 2
    assert cli.main(["rig", "preview", campus, "--out", str(tmp_path / "rig.txt")]) == 2
    save_rig(load_rig(campus), tmp_path / "copy.yaml")
    again = tmp_path / "again.png"
    other = ["--space", "0,0,1000,4000,4000,2000"]
    copy = str(tmp_path / "copy.yaml")
    assert cli.main(["rig", "preview", copy, "--out", str(again), *other]) == 0
    assert (cv2.imread(str(out)) != cv2.imread(str(again))).any()
