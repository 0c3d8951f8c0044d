"""Which 2D people skeletons explain, on cameras and people whose images are known."""

import numpy as np
import pytest

from voxelpose_core.explanation import (
    explained_views,
    image_gaps,
    owned_views,
    unexplained_people,
)
from voxelpose_core.geometry.camera import Camera

# From (0, -5000, 1000), looking along y; 0.2 px a mm at the origin.
ROTATION = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])


def camera(name="front", x=0.0):
    K = np.array([[1000.0, 0, 500], [0, 1000, 500], [0, 0, 1]])
    return Camera(name, (1000, 1000), K, np.zeros(5), ROTATION, np.array([x, -5000.0, 1000]))


def person(x=0.0):
    """(17, 3): a grid of joints in the plane y = 0, 1600 mm high."""
    heights = np.linspace(100, 1700, 17)
    return np.column_stack([x + 200 * np.sin(np.arange(17)), np.zeros(17), heights])


def image_of(view, joints, score=0.9, shift=0.0):
    pixels, _ = view.project(joints)
    return np.column_stack([pixels + [shift, 0.0], np.full(len(joints), score)])


def test_a_gap_is_a_share_of_the_height_in_the_image():
    view, joints = camera(), person()
    people = np.array([image_of(view, joints), image_of(view, joints, shift=32.0)])
    # 1600 mm are 320 pixels here.
    np.testing.assert_allclose(image_gaps(view, joints[None], people, 0.1), [[0, 0.1]], atol=1e-9)


def test_missing_joints_do_not_count():
    view, joints = camera(), person()
    partly = image_of(view, joints)
    partly[8:, 2] = 0.05
    partly[8:, :2] = 0.0
    few = partly.copy()
    few[3:, 2] = 0.0
    gaps = image_gaps(view, joints[None], np.array([partly, few]), 0.1)
    assert gaps[0, 0] == pytest.approx(0, abs=1e-9)
    assert gaps[0, 1] == np.inf


def test_people_behind_the_camera_have_no_image():
    view = camera()
    behind = person() - [0, 9000.0, 0]
    assert image_gaps(view, behind[None], image_of(view, person())[None], 0.1) == np.inf


def test_what_is_left_over():
    views = [camera("a"), camera("b", x=800.0), camera("c"), camera("d")]
    known, unknown = person(), person(900.0)
    both = [np.array([image_of(v, known), image_of(v, unknown)]) for v in views[:2]]
    keypoints = [*both, None, np.zeros((0, 17, 3))]
    rest = unexplained_people(views, known[None], keypoints, 0.1)
    for left, people in zip(rest[:2], both, strict=True):
        np.testing.assert_array_equal(left, people[1:])
    assert rest[2] is None and rest[3].shape == (0, 17, 3)
    assert explained_views(views, np.array([known, unknown, person(-900)]), rest, 0.1).tolist() == [
        0, 2, 0,
    ]


def test_without_skeletons_everybody_is_left_over_who_has_joints_enough():
    view = camera()
    people = np.array([image_of(view, person()), image_of(view, person(), score=0.05)])
    (rest,) = unexplained_people([view], np.zeros((0, 17, 3)), [people], 0.1)
    np.testing.assert_array_equal(rest, people[:1])
    assert explained_views([view], np.zeros((0, 17, 3)), [people], 0.1).shape == (0,)


def test_a_skeleton_between_two_people_owns_neither():
    views = [camera("a"), camera("b", x=800.0)]
    persons = np.array([person(), person(300.0)])
    between = person(150.0)
    keypoints = [np.array([image_of(v, joints) for joints in persons]) for v in views]
    everybody = np.concatenate([between[None], persons])
    assert explained_views(views, everybody, keypoints, 0.1).tolist() == [2, 2, 2]
    assert owned_views(views, everybody, keypoints, 0.1).tolist() == [0, 2, 2]
    # Where the second person was not found, it is the best that there is.
    assert owned_views(views, everybody[:2], keypoints, 0.1).tolist() == [2, 2]
    assert owned_views(views, everybody, [keypoints[0], None], 0.1).tolist() == [0, 1, 1]
    assert owned_views(views, everybody[:0], keypoints, 0.1).shape == (0,)
