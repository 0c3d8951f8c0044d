"""Detection in parts of images: where people are expected, the same scale, turned cameras, the schedule."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_estimator import keypoints_of, people
from test_movenet import read_frame

from voxelpose_core.detectors import CropDetector, detect_upright, load_detector
from voxelpose_core.detectors.movenet import crop_letterbox, letterbox
from voxelpose_core.detectors.refinement import RefinedDetector
from voxelpose_core.detectors.regions import MIN_JOINTS, Region, people_regions
from voxelpose_core.errors import InputError
from voxelpose_core.estimator import PoseEstimator
from voxelpose_core.estimator_settings import EstimatorSettings
from voxelpose_core.geometry.rig import load_rig
from voxelpose_core.resources import find_resource
from voxelpose_core.skeletons import COCO17


class BrightestPixel:
    """One person, all of whose joints are the brightest pixel; keeps what it was given."""

    joint_set = COCO17

    def __init__(self):
        self.sizes, self.whole_sizes = [], []

    def detect(self, images):
        return self.detect_crops(images, [image.shape[1::-1] for image in images])

    def detect_crops(self, crops, whole_sizes):
        self.sizes += [crop.shape[1::-1] for crop in crops]
        self.whole_sizes += whole_sizes
        spots = [np.unravel_index(crop[..., 0].argmax(), crop.shape[:2])[::-1] for crop in crops]
        return [np.tile(np.array([x, y, 0.9], np.float32), (1, 17, 1)) for x, y in spots]


class WholeOnly:
    joint_set = COCO17

    def detect(self, images):
        return [np.zeros((0, 17, 3), np.float32) for _ in images]


@pytest.fixture(scope="module")
def rig():
    return load_rig(find_resource("config/rigs/shelf.yaml"))


def test_regions_hold_the_people_and_little_more(rig):
    persons = people()
    regions = people_regions(rig.cameras, persons)
    for camera, region in zip(rig.cameras, regions, strict=True):
        width, height = camera.image_size
        assert 0 <= region.left < region.right <= width and 0 <= region.top < region.bottom <= height
        for joints in persons:
            pixels = camera.project(joints[camera.sees(joints)])[0]
            if len(pixels) >= MIN_JOINTS:
                assert (pixels >= [region.left, region.top]).all()
                assert (pixels <= [region.right, region.bottom]).all()
    areas = [(r.right - r.left) * (r.bottom - r.top) for r in regions]
    assert sum(areas) < 0.8 * sum(np.prod(camera.image_size) for camera in rig.cameras)
    assert all(region.empty for region in people_regions(rig.cameras, persons + [0, 0, 50_000.0]))
    assert all(region.empty for region in people_regions(rig.cameras, persons[:0]))


@pytest.mark.parametrize("crop", [(300, 700), (1088, 400), (20, 30), (1087, 1919)])
def test_a_crop_has_the_scale_of_the_whole(crop):
    whole = letterbox((1088, 1920))
    box = crop_letterbox(crop, (1088, 1920))
    assert all(side % 32 == 0 and side >= 96 for side in box.outer)
    assert all(c >= 0 and c + i <= o for c, i, o in zip(box.corner, box.inner, box.outer))
    for given, inner in zip(crop, box.inner):
        assert abs(inner - given * whole.inner[1] / 1920) <= 0.51
    assert np.prod(box.outer) <= np.prod(whole.outer)
    assert crop_letterbox((1088, 1920), (1088, 1920)) == whole


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_joints_in_a_region_are_those_of_the_image(turns):
    image = np.zeros((90, 120, 3), np.uint8)
    image[40, 70] = 255
    detector = BrightestPixel()
    regions = [Region(50, 20, 100, 80), Region(0, 0, 0, 0)]
    found = detect_upright(detector, [image, image], [turns, 0], regions)
    np.testing.assert_allclose(found[0][0], np.tile([70, 40, 0.9], (17, 1)), atol=1e-5)
    assert found[1].shape == (0, 17, 3)
    assert detector.sizes == [(60, 50) if turns % 2 else (50, 60)]
    assert detector.whole_sizes == [(90, 120) if turns % 2 else (120, 90)]


def test_whole_images_in_every_third_frame_set(rig):
    detector = BrightestPixel()
    settings = EstimatorSettings(full_detection_every=3)
    estimator = PoseEstimator(rig, device="cpu", detector=detector, settings=settings)
    images = [np.zeros((776, 1032, 3), np.uint8)] * 5
    persons = people()
    whole = []
    for _ in range(7):
        detector.sizes.clear()
        estimator.estimate_images(images, persons)
        whole.append(detector.sizes == [(1032, 776)] * 5)
        assert whole[-1] or all(size < (1032, 776) for size in detector.sizes)
    assert whole == [False, False, True, False, False, True, False]
    # Nobody is expected: everywhere, and the count starts again.
    for nobody in (None, persons[:0]):
        detector.sizes.clear()
        estimator.estimate_images(images, nobody)
        assert detector.sizes == [(1032, 776)] * 5
    # A camera without a frame changes nothing for the others.
    detector.sizes.clear()
    estimate = estimator.estimate_images([images[0], None, *images[2:]], persons)
    assert len(detector.sizes) == 4 and estimate.keypoints[1] is None


def test_whole_images_always_unless_asked(rig):
    detector = BrightestPixel()
    estimator = PoseEstimator(rig, device="cpu", detector=detector)
    for _ in range(3):
        estimator.estimate_images([np.zeros((776, 1032, 3), np.uint8)] * 5, people())
    assert set(detector.sizes) == {(1032, 776)}


def test_a_detector_without_crops_is_named(rig):
    settings = EstimatorSettings(full_detection_every=2)
    for refine in (False, True):
        with pytest.raises(InputError, match="full_detection_every is 2, but detector WholeOnly.*expected 1"):
            PoseEstimator(
                rig, device="cpu", detector=WholeOnly(), settings=settings, refine_detections=refine
            )
    PoseEstimator(rig, device="cpu", detector=None, settings=settings).estimate_keypoints(
        keypoints_of(rig, people())
    )


def test_the_person_of_a_recording_is_found_in_a_crop(shared_dir):
    image = read_frame(shared_dir / "data/pose2sim/SinglePerson/cam03.mp4", 10)
    movenet = load_detector("movenet", threads=1)
    assert isinstance(movenet, CropDetector)
    (person,) = movenet.detect([image])[0][:1]
    sure = person[:, 2] > 0.4
    low, high = person[sure, :2].min(axis=0), person[sure, :2].max(axis=0)
    size = (high - low).max()
    corners = np.concatenate([low - 0.12 * size, high + 0.12 * size]).astype(int)
    region = Region(*np.clip(corners, 0, [*image.shape[1::-1]] * 2).tolist())
    for detector in (movenet, RefinedDetector(movenet, threads=1)):
        (found,) = detect_upright(detector, [image], [0], [region])
        gaps = np.linalg.norm(found[0, sure, :2] - person[sure, :2], axis=1)
        assert np.median(gaps) < 0.02 * size


def test_the_benchmark_prints_a_row_per_setting(shared_dir):
    script = Path(__file__).resolve().parents[1] / "benchmarks" / "detection_settings.py"
    command = [sys.executable, script, "--pose2sim", shared_dir / "data/pose2sim", "--frames", "2"]
    ended = subprocess.run([*command, "--every", "2"], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    rows = [line.split(" | ") for line in ended.stdout.splitlines() if line.startswith("| ")]
    settings = [row[0].strip("| ") for row in rows if row[0].strip("| ") not in ("setting", "---")]
    expected = ["as shipped", "refine_detections", "full_detection_every 2", "both, 2"]
    assert settings == 2 * expected
    assert all(" in 2" in row[5] for row in rows if row[0].strip("| ") in expected)
    ended = subprocess.run([*command[:2], "--pose2sim", "nowhere"], capture_output=True, text=True)
    assert ended.returncode == 2 and len(ended.stderr.splitlines()) == 1
