"""Which 2D detection is a skeleton's image, on cameras and people whose images are known."""

import numpy as np
import pytest

from voxelpose_core.association import (
    REPROJECTION,
    TRUTH,
    detections_of,
    explained_views,
    image_gaps,
    image_sizes,
    masked_median,
    may_be_inside,
    owned_views,
    pair_one_to_one,
    pixel_distances,
    unexplained_people,
)
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.space import Space

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
        0,
        2,
        0,
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


def test_the_mean_counts_a_wrong_joint_and_the_median_does_not():
    view, joints = camera(), person()
    people = image_of(view, joints)[None]
    people[0, 5, 0] += 1700.0
    pixels, visible = view.project(joints)[0][None], np.ones((1, 17), bool)
    assert pixel_distances(pixels, visible, people, REPROJECTION)[0, 0] == pytest.approx(100.0)
    assert image_gaps(view, joints[None], people, 0.1)[0, 0] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("count", range(6))
def test_a_median_is_that_of_the_joints_that_count(count):
    values = np.array([[5.0, -1.0, 3.0, 8.0, 2.0]])
    mask = np.arange(5)[None] < count
    expected = np.median(values[mask]) if count else np.inf
    assert masked_median(values, mask) == expected


def test_the_size_is_that_of_the_joints_that_count():
    pixels = np.array([[[0.0, 0.0], [30.0, 40.0], [500.0, 900.0]]] * 2)
    assert image_sizes(pixels, np.array([[1, 1, 0], [0, 0, 0]], bool)).tolist() == [40.0, 0.0]


def test_pairs_have_the_least_sum_and_an_unlikely_pair_does_not_count():
    assert list(pair_one_to_one(np.array([[1.0, 2.0], [2.0, 9.0]]), 100.0)) == [(0, 1), (1, 0)]
    # Cut at 4, the second pair of the sum above is no dearer than 0-0 with no pair for 1.
    assert list(pair_one_to_one(np.array([[1.0, 4.0], [9.0, np.inf]]), 4.0)) == [(0, 0), (1, 1)]
    assert list(pair_one_to_one(np.zeros((0, 3)), 1.0)) == []


VIEWS = [camera("a"), camera("b", x=800.0), camera("c", x=-800.0)]


def test_the_detections_of_a_person_and_not_of_the_neighbour():
    joints, other = person(), person(900.0)
    people = [np.stack([image_of(view, other), image_of(view, joints)]) for view in VIEWS]
    people[1] = people[1][:1]  # only the neighbour is detected here
    people[2] = None
    chosen = detections_of(VIEWS, people, joints)
    assert np.array_equal(chosen[0], people[0][1])
    assert not chosen[1].any() and not chosen[2].any()


def test_the_detections_of_a_person_of_whom_only_some_joints_are_known():
    joints = person()
    partial = joints.copy()
    partial[:5] = np.nan
    people = [image_of(view, joints)[None] for view in VIEWS]
    assert np.array_equal(detections_of(VIEWS, people, partial)[0], people[0][0])
    assert not detections_of(VIEWS, people, np.full((17, 3), np.nan)).any()
    people[0][0, 5 + TRUTH.min_common_joints :, 2] = 0
    assert detections_of(VIEWS, people, partial)[0].any()
    people[0][0, 5, 2] = 0
    assert not detections_of(VIEWS, people, partial)[0].any()


def test_a_person_behind_a_camera_has_no_detection_there():
    joints = person()
    people = [image_of(view, joints)[None] for view in VIEWS]
    assert not detections_of(VIEWS, people, joints - [0, 9000.0, 0]).any()


SPACE = Space((0, 0, 1000), (4000, 4000, 2000))
PAIR = [camera("a"), camera("b", x=1500.0)]


def seen_at(*places):
    """The 2D people of each camera of PAIR, one at each place (x, y) that is given for it."""
    return [
        np.array([image_of(view, person() + [x, y, 0.0]) for x, y in own])
        for view, own in zip(PAIR, places, strict=True)
    ]


@pytest.mark.parametrize("place, inside", [((0, 0), True), ((500, 1500), True), ((0, 7000), False)])
def test_somebody_is_where_rays_meet(place, inside):
    assert may_be_inside(PAIR, seen_at([place], [place]), SPACE, 0.1) == inside


def test_bystanders_whose_rays_do_not_meet_in_the_space():
    # Two different people, each before the other's background: the rays meet behind both.
    assert not may_be_inside(PAIR, seen_at([(-2000, 6000)], [(3000, 6000)]), SPACE, 0.1)
    # With one who is inside among them, in both views.
    people = seen_at([(-2000, 6000), (0, 0)], [(0, 0), (3000, 6000)])
    assert may_be_inside(PAIR, people, SPACE, 0.1)
    # One view alone, or nobody, is not enough.
    for some in ([people[0], None], [people[0], people[1][:0]], [None, None]):
        assert not may_be_inside(PAIR, some, SPACE, 0.1)


def test_people_of_whom_two_views_show_other_joints_may_be_one():
    upper, lower = seen_at([(0, 7000)], [(0, 7000)])
    upper[0, 8:, 2] = 0.0
    lower[0, :8, 2] = 0.0
    assert may_be_inside(PAIR, [upper, lower], SPACE, 0.1)


def test_rays_that_meet_behind_a_camera_or_are_parallel_meet_nowhere():
    behind = person() - [0, 9000.0, 0]
    for view, joints in ((PAIR[0], behind), (camera("c"), person())):
        people = [np.array([image_of(view, joints)]), np.array([image_of(PAIR[1], person())])]
        mirrored = may_be_inside([view, PAIR[1]], people, SPACE, 0.1)
        assert mirrored == (view.name == "c")
    same = camera("a"), camera("parallel")
    people = [np.array([image_of(same[0], person())])] * 2
    assert not may_be_inside(same, [people[0], people[1] + [40.0, 0, 0]], SPACE, 0.1)
