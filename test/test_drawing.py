"""Pictures: layout, projection into the views, colours, video files."""

import cv2
import numpy as np
import pytest

from voxelpose_core.drawing.colors import PALETTE, UNTRACKED, person_color
from voxelpose_core.drawing.files import VideoWriter
from voxelpose_core.drawing.frame import FramePainter
from voxelpose_core.drawing.layout import plan_layout
from voxelpose_core.drawing.scene_view import best_azimuth
from voxelpose_core.drawing.text import write_text
from voxelpose_core.errors import InputError
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.geometry.space import Space
from voxelpose_core.pose_types import Skeleton
from voxelpose_core.skeletons import CAMPUS14, COCO17, PANOPTIC15

LANDSCAPE, PORTRAIT = (1920, 1080), (1088, 1920)


def looking_at_origin(name, azimuth, image_size=(640, 480), distance=4000.0, height=1500.0):
    center = np.array([distance * np.cos(azimuth), distance * np.sin(azimuth), height])
    forward = np.array([0, 0, 900.0]) - center
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    focal = 0.9 * max(image_size)
    K = [[focal, 0, image_size[0] / 2], [0, focal, image_size[1] / 2], [0, 0, 1]]
    return Camera(name, image_size, np.array(K), np.zeros(5), rotation, center)


def a_rig(count=3, image_size=(640, 480)):
    cameras = [looking_at_origin(f"cam{i}", 2 * np.pi * i / count, image_size) for i in range(count)]
    return Rig(tuple(cameras), Space([0, 0, 1000], [4000, 4000, 2000]))


def a_person(track_id=0, joint_set=COCO17, offset=(0, 0, 0)):
    rng = np.random.default_rng(2)
    joints = rng.uniform([-250, -250, 100], [250, 250, 1700], (len(joint_set), 3)) + offset
    ones = np.ones(len(joint_set))
    return Skeleton(joints, ones, ones > 0, 1.0, track_id)


def greys(rig, value=127):
    return [np.full((c.image_size[1], c.image_size[0], 3), value, np.uint8) for c in rig.cameras]


@pytest.mark.parametrize("count", range(2, 11))
@pytest.mark.parametrize("size", [LANDSCAPE, PORTRAIT, (640, 480), (500, 500)])
def test_layout_fits_and_shows_everything(count, size):
    layout = plan_layout([size] * count)
    width, height = layout.size
    assert width == 1920 and height <= 1080 and height % 2 == 0
    panels = [*layout.views, layout.scene]
    assert len(layout.views) == count
    taken = np.zeros((height, width), int)
    for panel in panels:
        assert panel.x >= 0 and panel.y >= 0
        assert panel.x + panel.width <= width and panel.y + panel.height <= height
        taken[panel.y : panel.y + panel.height, panel.x : panel.x + panel.width] += 1
    assert taken.max() == 1  # nothing overlaps
    assert min(layout.scene.size) >= 500
    assert all(min(panel.size) >= 150 for panel in layout.views)
    aspect = layout.views[0].width / layout.views[0].height
    assert aspect == pytest.approx(size[0] / size[1], rel=0.02)


def test_layout_of_mixed_sizes_and_other_widths():
    layout = plan_layout([LANDSCAPE, PORTRAIT, LANDSCAPE], width=1280)
    assert layout.size[0] == 1280 and layout.size[1] <= 720


def test_skeleton_is_drawn_where_the_camera_projects_it():
    rig = a_rig()
    painter = FramePainter(rig, COCO17)
    person = a_person()
    with_person = painter.paint(greys(rig), [person])
    without = painter.paint(greys(rig), [])
    changed = np.abs(with_person.astype(int) - without).sum(axis=2) > 60
    for camera, panel in zip(rig.cameras, painter._layout.views):
        pixels, _ = camera.project(person.joints)
        scale = panel.width / camera.image_size[0]
        for x, y in np.round((pixels + 0.5) * scale - 0.5 + [panel.x, panel.y]).astype(int):
            assert changed[y, x]
        view = changed[panel.y : panel.y + panel.height, panel.x : panel.x + panel.width]
        assert view.mean() < 0.3
    scene = painter._layout.scene
    assert changed[scene.y :, scene.x :].sum() > 500


def test_people_are_coloured_by_their_number():
    assert person_color(0) != person_color(1)
    assert person_color(len(PALETTE)) == person_color(0)
    assert person_color(-1) == UNTRACKED
    rig = a_rig()
    picture = FramePainter(rig, COCO17).paint(greys(rig), [a_person(track_id=1)])
    assert (np.abs(picture.astype(int) - PALETTE[1]).sum(axis=2) == 0).sum() > 200


def test_keypoints_are_shown():
    rig = a_rig()
    painter = FramePainter(rig, COCO17)
    people = np.zeros((1, 17, 3), np.float32)
    people[0, 5] = (320, 240, 0.9)
    people[0, 6] = (100, 100, 0.01)  # too unsure to show
    plain = painter.paint(greys(rig), [])
    dotted = painter.paint(greys(rig), [], [people, None, None])
    first = painter._layout.views[0]
    changed = (dotted != plain).any(axis=2)
    view = changed[first.y : first.y + first.height, first.x : first.x + first.width]
    ys, xs = np.nonzero(view)
    np.testing.assert_allclose([xs.mean(), ys.mean()], np.array(first.size) / 2, atol=2)
    assert np.ptp(xs) < 15 and np.ptp(ys) < 15


def test_missing_images_do_not_matter():
    rig = a_rig()
    painter = FramePainter(rig, COCO17)
    images = greys(rig)
    images[1] = None
    person = a_person()
    assert painter.paint(images, [person]).shape == painter.size[::-1] + (3,)
    assert painter.paint(None, [person], [None] * 3).dtype == np.uint8


@pytest.mark.parametrize("joint_set", [COCO17, PANOPTIC15, CAMPUS14])
def test_every_joint_set_can_be_drawn(joint_set):
    rig = a_rig(4, PORTRAIT)
    person = a_person(joint_set=joint_set)
    person.joint_valid[:3] = False
    picture = FramePainter(rig, joint_set).paint(None, [person], caption="1 person")
    assert picture.shape[1] == 1920


def test_people_behind_cameras_and_far_away_are_survived():
    rig = a_rig()
    people = [a_person(0, offset=(6000, 0, 0)), a_person(1, offset=(4000, 0, 0))]
    people.append(a_person(2, offset=(1e6, 1e6, 0)))
    picture = FramePainter(rig, COCO17).paint(greys(rig), people)
    assert picture.max() > 0


def test_a_space_away_from_the_floor_and_a_rig_on_one_side():
    cameras = [looking_at_origin(f"c{i}", 0.2 * i) for i in range(3)]
    rig = Rig(tuple(cameras), Space([0, 0, -900], [3000, 3000, 400]))
    assert FramePainter(rig, COCO17).paint(None, [a_person(offset=(0, 0, -2000))]).shape[1] == 1920


def test_rig_on_one_side_is_seen_from_there():
    centers = [[1000, -500, 0], [1000, 500, 0], [1200, 0, 0]]
    assert abs(best_azimuth(np.array(centers, float), np.zeros(3))) < 0.6
    ring = [[np.cos(a), np.sin(a), 0] for a in (0, 2, 4)]
    # The widest gap is from 4 to 2 pi.
    assert best_azimuth(np.array(ring), np.zeros(3)) == pytest.approx(2 - np.pi)


def test_turning_moves_the_3d_view_only():
    rig = a_rig()
    painter = FramePainter(rig, COCO17)
    still = painter.paint(greys(rig), [a_person()])
    turned = painter.paint(greys(rig), [a_person()], turn_deg=10)
    scene = painter._layout.scene
    np.testing.assert_array_equal(still[:, : scene.x], turned[:, : scene.x])
    assert (still[:, scene.x :] != turned[:, scene.x :]).any()


def test_text_stays_inside_the_picture():
    picture = np.zeros((40, 100, 3), np.uint8)
    width, height = write_text(picture, "a caption far too long for it", (60, 25), 20, (255,) * 3)
    assert width > 40 and height > 10 and picture.max() > 100
    assert write_text(picture, "", (0, 0), 20, (255,) * 3) == (0, 0)


def test_video_can_be_read_back(tmp_path):
    path = tmp_path / "out.mp4"
    with VideoWriter(path, 25.0) as video:
        for value in range(0, 250, 25):
            video.write(np.full((98, 128, 3), value, np.uint8))
    capture = cv2.VideoCapture(str(path))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(25.0)
    values = []
    while True:
        readable, image = capture.read()
        if not readable:
            break
        assert image.shape == (98, 128, 3)
        values.append(image.mean())
    np.testing.assert_allclose(values, range(0, 250, 25), atol=4)


def test_video_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(InputError, match="absent.*does not exist"):
        VideoWriter(tmp_path / "absent" / "out.mp4", 25.0)
    folder = tmp_path / "out.mp4"
    folder.mkdir()
    with pytest.raises(InputError, match="out.mp4.*cannot be written"):
        with VideoWriter(folder, 25.0) as video:
            video.write(np.zeros((64, 64, 3), np.uint8))
