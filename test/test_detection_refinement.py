"""The second stage of 2D detection: crops, what two answers make together, and real images."""

import numpy as np
import pytest
from test_movenet import read_frame

from voxelpose_core.detectors import Detector, load_detector
from voxelpose_core.detectors.movenet_thunder import WEIGHTS_SHA256, MoveNetThunder, Square
from voxelpose_core.detectors.refinement import (
    AGREEMENT,
    CROP_SCALE,
    RefinedDetector,
    merge,
    person_box,
    square_around,
)
from voxelpose_core.errors import InputError
from voxelpose_core.estimator import PoseEstimator
from voxelpose_core.geometry.rig import load_rig
from voxelpose_core.resources import find_resource
from voxelpose_core.skeletons import COCO17, PANOPTIC15


class Known:
    """Answers what it was given."""

    joint_set = COCO17

    def __init__(self, *answers):
        self.answers = [np.asarray(a, np.float32).reshape(-1, 17, 3) for a in answers]

    def detect(self, images):
        return [self.answers[index].copy() for index in range(len(images))]


class Other(Known):
    joint_set = PANOPTIC15


def a_person(x=300.0, y=240.0, size=200.0, score=0.8):
    offsets = np.random.default_rng(5).uniform(-0.5, 0.5, (17, 2)) * size
    return np.column_stack([offsets + [x, y], np.full(17, score)]).astype(np.float32)


@pytest.mark.parametrize("square", [Square(100, 50, 400), Square(-90, 300, 700), Square(10, 20, 64)])
def test_a_crop_moves_a_spot_as_undo_says(square):
    image = np.zeros((600, 800, 3), np.uint8)
    x, y = (square.column + square.side // 2, square.row + square.side // 3)
    image[y - 8 : y + 8, x - 8 : x + 8] = (0, 0, 255)
    cut = square.cut(image)
    assert cut.shape == (1, 256, 256, 3) and cut.dtype == np.int32 and cut.flags.c_contiguous
    red = cut[0, ..., 0].astype(float)
    assert red.max() > 0 and cut[0, ..., 2].max() == 0  # RGB, not BGR
    rows, columns = np.indices(red.shape)
    spot = np.array([(red * columns).sum(), (red * rows).sum()]) / red.sum()
    np.testing.assert_allclose(square.undo(spot), [x - 0.5, y - 0.5], atol=0.5)


def test_a_crop_is_black_beyond_the_image():
    white = np.full((100, 100, 3), 255, np.uint8)
    cut = Square(-50, -50, 256).cut(white)[0, ..., 0]
    assert cut[50:150, 50:150].min() == 255 and cut.sum() == 255 * 100 * 100
    assert Square(500, -900, 30).cut(white).max() == 0


def test_the_crop_is_the_box_of_the_sure_joints_enlarged():
    person = a_person()
    person[3] = 5000, 5000, 0.1
    low, high = person_box(person)
    assert (high < 500).all()
    square = square_around(low, high)
    assert square.side == round(CROP_SCALE * (high - low).max())
    middle = np.array([square.column, square.row]) + (square.side - 1) / 2
    np.testing.assert_allclose(middle, (low + high) / 2, atol=0.5)
    person[:, 2] = 0.1  # nothing is sure: all joints count
    assert person_box(person)[1].max() == 5000


def test_two_answers_are_averaged_where_they_agree():
    person = a_person(score=0.8)
    second = person + np.array([6.0, 0.0, -0.4], np.float32)
    second[4, 0] = person[4, 0] + 2 * AGREEMENT * 200
    person[9, 2] = 0.0  # not there
    merged = merge(person, second, 200.0)
    agree = np.ones(17, bool)
    agree[[4, 9]] = False
    np.testing.assert_allclose(merged[agree], person[agree] + [3.0, 0.0, -0.2], atol=1e-4)
    np.testing.assert_allclose(merged[4], [*person[4, :2], 0.4], atol=1e-6)
    assert merged[9, 2] == 0.0


def test_people_stay_with_their_images():
    images = [np.full((480, 640, 3), 127, np.uint8)] * 3
    first, second = a_person(), a_person(x=400.0)
    refined = RefinedDetector(Known([first, second], [], [second]), threads=1)
    assert isinstance(refined, Detector)
    found = refined.detect(images)
    assert [len(people) for people in found] == [2, 0, 1]
    assert all(people.dtype == np.float32 and people.shape[1:] == (17, 3) for people in found)
    np.testing.assert_array_equal(found[0][1], found[2][0])
    assert refined.detect([]) == []


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e9])
def test_nonsense_of_a_detector_is_left_as_it_is(value):
    person = a_person()
    person[2, 0] = value
    (people,) = RefinedDetector(Known(person), threads=1).detect([np.zeros((480, 640, 3), np.uint8)])
    np.testing.assert_array_equal(people[0], person)


def test_other_joints_are_refused():
    with pytest.raises(InputError, match="refine_detections: detector Other answers panoptic15.*coco17"):
        RefinedDetector(Other())


def test_model_card_states_the_checksum():
    card = find_resource("weights/movenet_singlepose_thunder.md").read_text()
    assert WEIGHTS_SHA256 in card
    licence = find_resource("weights/movenet_singlepose_thunder.LICENSE")
    assert "MIT License" in licence.read_text()


def test_truncated_weights_are_refused(tmp_path):
    broken = tmp_path / "thunder.onnx"
    broken.write_bytes(find_resource("weights/movenet_singlepose_thunder.onnx").read_bytes()[:-1000])
    with pytest.raises(InputError, match=r"thunder.onnx: damaged file of \d+ bytes"):
        MoveNetThunder(broken)


def test_the_estimator_refines_what_its_detector_finds():
    rig = load_rig(find_resource("config/rigs/shelf.yaml"))
    detector = Known(*[[]] * 5)
    estimator = PoseEstimator(rig, device="cpu", detector=detector, refine_detections=True)
    assert estimator.detector.detector is detector
    assert estimator.description()["detector"] == "Known, refined"
    with pytest.raises(InputError, match="refine_detections: there is no 2D detector"):
        PoseEstimator(rig, device="cpu", detector=None, refine_detections=True)


def test_real_people_are_seen_alike_by_both_stages(shared_dir):
    """A quarter of the image further the same person is found, so the way into crops and back is right."""
    folder = shared_dir / "data/pose2sim/SinglePerson"
    image = read_frame(folder / "cam03.mp4", 10)
    movenet = load_detector("movenet", threads=1)
    net = MoveNetThunder(threads=1)
    (person,) = movenet.detect([image])[0][:1]
    low, high = person_box(person)
    size = float((high - low).max())
    square = square_around(low, high)
    sure = person[:, 2] > 0.4
    assert sure.sum() > 10
    second = net.keypoints(image, square)
    assert np.median(np.linalg.norm(second[sure, :2] - person[sure, :2], axis=1)) < 0.03 * size
    # The mirror image has the mirrored person: no systematic shift.
    mirrored = np.ascontiguousarray(image[:, ::-1])
    there = Square(image.shape[1] - square.column - square.side, square.row, square.side)
    back = net.keypoints(mirrored, there)[list(COCO17.mirror)]
    shift = image.shape[1] - 1 - back[sure, 0] - second[sure, 0]
    assert abs(np.median(shift)) < 0.005 * size
    (refined,) = RefinedDetector(movenet, threads=1).detect([image])
    np.testing.assert_allclose(refined[0], merge(person, second, size), atol=1e-3)
