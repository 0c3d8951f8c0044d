"""The 2D detector: letterbox, duplicates, weights, and people in real images."""

import json
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest

from voxelpose_core.detectors import Detector, load_detector, register_detector
from voxelpose_core.detectors.movenet import (
    WEIGHTS_SHA256,
    MoveNet,
    drop_duplicates,
    letterbox,
    object_keypoint_similarity,
)
from voxelpose_core.detectors.onnx_session import CPU, CUDA, TENSORRT, providers, verify_sha256
from voxelpose_core.errors import InputError
from voxelpose_core.resources import find_resource
from voxelpose_core.skeletons import COCO17

SIZES = [(1920, 1080), (1088, 1920), (640, 480), (360, 288), (500, 500), (3000, 300), (200, 3000)]


@pytest.fixture(scope="module")
def movenet():
    return load_detector("movenet", threads=1)


def a_person(x=200.0, y=300.0, size=100.0):
    """(17, 3) a person of random build, all scores 0.9."""
    offsets = np.random.default_rng(3).uniform(-0.5, 0.5, (17, 2)) * size
    return np.column_stack([offsets + [x, y], np.full(17, 0.9)]).astype(np.float32)


@pytest.mark.parametrize("size", SIZES)
def test_letterbox_is_undone_exactly(size):
    box = letterbox(size)
    scale = np.array(box.inner) / np.array(size)
    points = np.array([[0.0, 0.0], [size[0] - 1, size[1] - 1], [size[0] / 3, size[1] / 5]])
    # Pixel centres: the left edge of pixel 0 is at -0.5 in both images.
    network = (points + 0.5) * scale - 0.5 + np.array(box.corner)
    np.testing.assert_allclose(box.undo(network), points, atol=1e-9)


@pytest.mark.parametrize("size", SIZES)
def test_letterbox_keeps_aspect_and_stride(size):
    box = letterbox(size)
    assert all(side % 32 == 0 for side in box.outer)
    assert all(c >= 0 and c + i <= o for c, i, o in zip(box.corner, box.inner, box.outer))
    assert (box.outer[0] >= box.outer[1]) == (size[0] >= size[1])
    scale = np.array(box.inner) / np.array(size)
    np.testing.assert_allclose(scale[0], scale[1], rtol=0.02)
    assert 80_000 < np.prod(box.outer) < 160_000


def test_letterbox_of_common_formats():
    assert letterbox((1920, 1080)).outer == (480, 256)
    assert letterbox((1080, 1920)).outer == (256, 480)
    assert letterbox((1088, 1920)).outer == (256, 480)


def test_letterbox_moves_a_spot_as_undo_says():
    image = np.zeros((1920, 1088, 3), np.uint8)
    image[1200:1240, 700:740] = (0, 0, 255)
    box = letterbox((1088, 1920))
    canvas = box.apply(image)
    assert canvas.shape == (1, 480, 256, 3) and canvas.dtype == np.int32
    red = canvas[0, ..., 0].astype(float)
    assert canvas[0, ..., 2].max() == 0  # RGB, not BGR
    ys, xs = np.indices(red.shape)
    spot = np.array([(red * xs).sum(), (red * ys).sum()]) / red.sum()
    np.testing.assert_allclose(box.undo(spot), [719.5, 1219.5], atol=0.5)


def test_oks_falls_with_distance_and_grows_with_size():
    person = a_person()[:, :2]
    assert object_keypoint_similarity(person, person) == pytest.approx(1.0)
    near = object_keypoint_similarity(person, person + 3)
    far = object_keypoint_similarity(person, person + 30)
    assert 1 > near > far
    larger = a_person(size=300)[:, :2]
    assert object_keypoint_similarity(larger, larger + 30) > far


def test_duplicates_are_dropped_and_neighbours_kept():
    first, double, neighbour = a_person(), a_person(x=202), a_person(x=290)
    kept = drop_duplicates(np.stack([first, double, neighbour]), 0.7)
    np.testing.assert_array_equal(kept, np.stack([first, neighbour]))
    assert drop_duplicates(np.zeros((0, 17, 3), np.float32), 0.7).shape == (0, 17, 3)


def test_nobody_in_an_empty_image(movenet):
    (people,) = movenet.detect([np.full((480, 640, 3), 127, np.uint8)])
    assert people.shape == (0, 17, 3) and people.dtype == np.float32


def test_wrong_image_type_is_named(movenet):
    with pytest.raises(InputError, match=r"shape \(480, 640\).*BGR"):
        movenet.detect([np.zeros((480, 640), np.uint8)])


def test_it_is_a_detector(movenet):
    assert isinstance(movenet, Detector) and movenet.joint_set is COCO17


def test_unknown_detector_names_the_known_ones():
    with pytest.raises(InputError, match="'openpose' is unknown.*movenet"):
        load_detector("openpose")


def test_a_detector_plugs_in(monkeypatch):
    monkeypatch.setattr("voxelpose_core.detectors._DETECTORS", {})
    register_detector("mine", lambda threads, device: f"mine on {threads} of {device}")
    assert load_detector("mine", threads=3, device="cuda:1") == "mine on 3 of cuda:1"


def test_truncated_weights_are_refused(tmp_path):
    whole = find_resource("weights/movenet_multipose_lightning.onnx").read_bytes()
    broken = tmp_path / "movenet.onnx"
    broken.write_bytes(whole[:-1000])
    with pytest.raises(InputError, match=r"movenet.onnx: damaged file of \d+ bytes") as error:
        MoveNet(broken)
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="absent.onnx: cannot be read"):
        verify_sha256(tmp_path / "absent.onnx", WEIGHTS_SHA256)


def test_model_card_states_the_checksum():
    card = find_resource("weights/movenet_multipose_lightning.md").read_text()
    assert WEIGHTS_SHA256 in card
    licence = find_resource("weights/movenet_multipose_lightning.LICENSE")
    assert "MIT License" in licence.read_text()


@pytest.mark.parametrize(
    ("device", "available", "expected", "line"),
    [
        ("cpu", [CUDA, CPU], [CPU], None),
        ("auto", [CUDA, CPU], [(CUDA, {"device_id": 0}), CPU], None),
        ("cuda", [CUDA, CPU], [(CUDA, {"device_id": 0}), CPU], None),
        ("cuda:1", ["TensorrtExecutionProvider", CUDA, CPU], [(CUDA, {"device_id": 1}), CPU], None),
        (
            "tensorrt:1",
            [CUDA, CPU],
            [(CUDA, {"device_id": 1}), CPU],
            "runs on CUDA: this onnxruntime has no Tens",
        ),
        ("tensorrt", [CPU], [CPU], "runs on the CPU: this onnxruntime has no TensorrtExecutionProvider"),
        ("auto", [CPU], [CPU], None),
        ("cuda:1", [CPU], [CPU], "runs on the CPU: this onnxruntime has no CUDAExecutionProvider"),
    ],
)
def test_nets_run_on_cuda_where_asked_and_available(device, available, expected, line, monkeypatch, caplog):
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: available)
    assert providers(device) == expected
    assert [line in record.getMessage() for record in caplog.records] == [True] * bool(line)


def test_tensorrt_comes_before_cuda_and_keeps_its_engines(monkeypatch, tmp_path):
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: [TENSORRT, CUDA, CPU])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first, *others = providers("tensorrt:1")
    folder = tmp_path / "voxelpose" / "tensorrt"
    engines = {"trt_engine_cache_enable": True, "trt_engine_cache_path": str(folder)}
    assert first == (TENSORRT, {"device_id": 1, **engines}) and folder.is_dir()
    assert others == [(CUDA, {"device_id": 1}), CPU]


@pytest.mark.parametrize(
    ("device", "expected"),
    [("cpu", "tensorrt"), ("auto", "tensorrt"), ("cuda", "tensorrt"), ("cuda:1", "tensorrt:1")],
)
def test_tensorrt_is_asked_for_before_the_name(device, expected, monkeypatch):
    monkeypatch.setattr("voxelpose_core.detectors._DETECTORS", {})
    register_detector("mine", lambda threads, device: device)
    assert load_detector("tensorrt:mine", device=device) == expected
    assert load_detector("mine", device=device) == device


def test_cuda_that_cannot_start_leaves_the_cpu_and_one_line(monkeypatch, caplog):
    """onnxruntime-gpu without the CUDA libraries lists the provider and makes a session without it."""
    if CUDA in onnxruntime.get_available_providers():
        pytest.skip("onnxruntime has CUDA here")
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: [CUDA, CPU])
    with pytest.warns(UserWarning, match="CUDAExecutionProvider"):  # onnxruntime's own
        detector = MoveNet(threads=1, device="cuda:0")
    (record,) = caplog.records
    assert "could not start CUDAExecutionProvider" in record.getMessage()
    (people,) = detector.detect([np.full((480, 640, 3), 127, np.uint8)])
    assert people.shape == (0, 17, 3)


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "cpu:0x", ""])
def test_unknown_devices_are_refused(device):
    with pytest.raises(InputError, match=f"device '{device}' is unknown: expected auto, cpu or cuda:N"):
        providers(device)


def read_frame(path: Path, index: int) -> np.ndarray:
    capture = cv2.VideoCapture(str(path))
    for _ in range(index + 1):
        readable, image = capture.read()
        assert readable
    capture.release()
    return image


def test_people_of_the_demo_are_found_in_every_view(movenet, shared_dir):
    folder = shared_dir / "data/pose2sim/MultiPerson"
    images = [read_frame(folder / f"cam0{i}.mp4", 20) for i in (1, 2, 3, 4)]
    views = movenet.detect(images)
    assert all(2 <= len(people) <= 3 for people in views)
    for people, image in zip(views, images):
        assert people[:2, :, 2].mean() > 0.4
        inside = (people[:2, 5:, :2] >= 0) & (people[:2, 5:, :2] < image.shape[1::-1])
        assert inside.all()


def test_keypoints_agree_with_another_detector(movenet, shared_dir):
    """OpenPose saw the same video; its shoulders and knees lie where ours do."""
    folder = shared_dir / "data/pose2sim/SinglePerson"
    reference = json.loads((folder / "openpose_body25b.json").read_text())
    distances = []
    for camera in (3, 4):
        image = read_frame(folder / f"cam0{camera}.mp4", 10)
        person = movenet.detect([image])[0][0]
        theirs = np.array(reference[f"cam0{camera}"][10][0]).reshape(25, 3)
        # BODY_25B starts with COCO's order.
        for joint in (5, 6, 13, 14):
            distances.append(np.linalg.norm(person[joint, :2] - theirs[joint, :2]))
    assert np.mean(distances) < 40  # px of 1088x1920; a person is about 900 px tall


def test_mirror_images_agree(movenet, shared_dir):
    """No systematic shift: a person in the mirror is the mirror of the person."""
    folder = shared_dir / "data/panoptic/mmpose_demo"
    shifts = []
    for path in sorted(folder.glob("*/*_00005514.jpg")):
        image = cv2.imread(str(path))
        people, mirrored = movenet.detect([image, np.ascontiguousarray(image[:, ::-1])])
        mirrored = mirrored[:, list(COCO17.mirror)]
        mirrored[..., 0] = image.shape[1] - 1 - mirrored[..., 0]
        for person in people:
            gaps = np.linalg.norm(mirrored[..., :2] - person[:, :2], axis=-1)
            match = gaps.mean(axis=-1).argmin()
            good = (gaps[match] < 25) & (person[:, 2] > 0.4)
            shifts.extend((mirrored[match] - person)[good, 0])
    assert len(shifts) > 50
    assert abs(np.median(shifts)) < 1.5  # px; one network pixel is 4.2
