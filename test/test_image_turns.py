"""Images turned by quarters: what R says, pixels that go where the image's do, and joints turned back."""

import numpy as np
import pytest

from voxelpose_core.detectors import detect_upright
from voxelpose_core.errors import InputError
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.image_turns import (
    roll_turns,
    turn_image,
    turn_points,
    turned_size,
    upright_turns,
)
from voxelpose_core.geometry.rig import Rig, load_rig, save_rig
from voxelpose_core.skeletons import COCO17
from voxelpose_core.voxel.views import heatmap_affine


@pytest.mark.parametrize("turns", [-1, 0, 1, 2, 3, 5])
def test_points_follow_the_image(turns):
    image = np.zeros((4, 6, 3), np.uint8)
    image[1, 5] = 255
    turned = turn_image(image, turns)
    assert turned_size((6, 4), turns) == turned.shape[1::-1]
    assert turned.flags.c_contiguous
    x, y = turn_points(np.array([5.0, 1.0]), (6, 4), turns).astype(int)
    assert turned[y, x].tolist() == [255] * 3
    back = turn_points(np.array([x, y]), turned.shape[1::-1], -turns)
    assert back.tolist() == [5, 1]


def test_one_turn_is_clockwise():
    image = np.zeros((2, 3), np.uint8)
    image[0, 0] = 1
    # The top left corner goes to the top right.
    assert turn_image(image, 1)[0, 1] == 1


def rolled(degrees, pitch=20.0, quarter_turns=None, name="cam"):
    """A camera that looks along y, down by `pitch`, turned clockwise about its optical axis."""
    pitch, roll = np.radians(pitch), np.radians(degrees)
    forward = np.array([0, np.cos(pitch), -np.sin(pitch)])
    right = np.array([1.0, 0, 0])
    level = np.stack([right, np.cross(forward, right), forward])
    c, s = np.cos(roll), np.sin(roll)
    # Seen by a camera turned clockwise, the world turns counter-clockwise.
    R = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1.0]]) @ level
    K = np.array([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]])
    return Camera(name, (640, 480), K, np.zeros(5), R, [0, -4000, 2000], quarter_turns=quarter_turns)


@pytest.mark.parametrize(
    "roll, turns",
    [(0, 0), (44, 0), (46, 1), (90, 1), (134, 1), (136, 2), (180, 2), (270, 3), (-90, 3), (-44, 0)],
)
def test_a_camera_turned_clockwise_needs_its_images_turned_clockwise(roll, turns):
    # Turning a camera clockwise turns its image counter-clockwise.
    camera = rolled(roll)
    assert upright_turns([camera]) == (turns,)
    pixels, _ = camera.project(np.array([[0.0, 0, 900], [0, 0, 1700]]))
    feet, head = turn_points(pixels, camera.image_size, turns)
    assert feet[1] > head[1] and abs(feet[0] - head[0]) <= 1.05 * abs(feet[1] - head[1])


def test_straight_down_has_no_upright():
    assert roll_turns(rolled(90, pitch=80).R) is None
    assert upright_turns([rolled(90, pitch=80), rolled(90, pitch=60)]) == (0, 1)


def test_what_the_user_says_counts():
    assert upright_turns([rolled(90, quarter_turns=0), rolled(0, quarter_turns=2)]) == (0, 2)
    assert upright_turns([rolled(0, pitch=90, quarter_turns=3)]) == (3,)


def test_no_pose_is_relied_on_where_the_world_is_not_z_up():
    assert upright_turns([rolled(90), rolled(90, pitch=-60)]) == (0, 0)
    assert upright_turns([rolled(90, quarter_turns=1), rolled(90, pitch=-60)]) == (1, 0)


@pytest.mark.parametrize("wrong", [4, -1, True, "1", 1.0])
def test_other_quarter_turns_are_refused(wrong):
    with pytest.raises(InputError, match="camera 'cam': quarter_turns is .*, expected 0, 1, 2 or 3"):
        rolled(0, quarter_turns=wrong)


class TopLeftDetector:
    """Answers with the brightest pixel of each image, as 17 joints."""

    joint_set = COCO17

    def detect(self, images):
        self.images = images
        found = []
        for image in images:
            y, x = np.unravel_index(image[..., 0].argmax(), image.shape[:2])
            found.append(np.tile(np.array([x, y, 0.5], np.float32), (1, 17, 1)))
        return found


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_joints_are_turned_back(turns):
    image = np.zeros((48, 64, 3), np.uint8)
    image[7, 50] = 255
    detector = TopLeftDetector()
    (people,) = detect_upright(detector, [image], [turns])
    assert detector.images[0].shape[:2] == ((64, 48) if turns % 2 else (48, 64))
    assert people.shape == (1, 17, 3) and people.dtype == np.float32
    np.testing.assert_allclose(people[0, 0], [50, 7, 0.5])


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_heatmaps_are_of_upright_images(turns):
    camera = rolled(0)
    affine = heatmap_affine(camera.image_size, (96, 64), (24, 16), turns)
    pixels = np.array([[0.0, 0], [639, 0], [10, 400]])
    direct = turn_points(pixels, camera.image_size, turns)
    upright = heatmap_affine(turned_size(camera.image_size, turns), (96, 64), (24, 16))
    expected = direct @ upright[:, :2].T + upright[:, 2]
    np.testing.assert_allclose(pixels @ affine[:, :2].T + affine[:, 2], expected, atol=1e-9)


def test_a_rig_file_keeps_the_turns(tmp_path):
    rig = Rig((rolled(0, quarter_turns=3, name="a"), rolled(0, name="b")))
    save_rig(rig, tmp_path / "rig.yaml")
    assert [c.quarter_turns for c in load_rig(tmp_path / "rig.yaml").cameras] == [3, None]
