"""Detectors in ONNX files: graphs of the published nets' inputs and outputs, which see painted people."""

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip("onnx", reason="writing the graphs needs the package onnx")

import pose_graphs as graphs

from voxelpose_core import cli
from voxelpose_core.datasets.people import sample_people
from voxelpose_core.detectors import Detector, load_detector
from voxelpose_core.detectors.detector_files import file_paths
from voxelpose_core.detectors.network_images import best_boxes
from voxelpose_core.detectors.onnx_structure import first_operators
from voxelpose_core.detectors.rtmpose import crop_of
from voxelpose_core.errors import InputError
from voxelpose_core.estimator import PoseEstimator
from voxelpose_core.geometry.rig import load_rig
from voxelpose_core.resources import find_resource
from voxelpose_core.self_calibration.recording import RecordedCameras, record_images
from voxelpose_core.skeletons import COCO17, get_joint_set
from voxelpose_core.sources import open_image_folders

SIZE = (800, 480)
# What a spot's centre is off by where an image is made three times smaller by a factor that is no whole
# number, px; and the mean of all joints, which a wrong corner or pixel centre moves by more.
TOLERANCE, MEAN_TOLERANCE = 1.8, 0.4


def people_at(*corners, size=(150, 300), seed=5):
    """(P, 17, 2): joints at whole pixels, far enough apart, in no order."""
    rows, columns = np.indices((5, 4)).reshape(2, -1)
    result = []
    for index, corner in enumerate(corners):
        cells = np.random.default_rng(seed + index).permutation(20)[:17]
        steps = np.column_stack([columns[cells] * size[0] // 3, rows[cells] * size[1] // 4])
        jitter = np.random.default_rng(seed - index).integers(-6, 7, (17, 2))
        result.append(steps + np.array(corner) + jitter)
    return np.array(result)


TWO = people_at((60, 90), (480, 60))
NETS = {
    "rtmo": graphs.rtmo,
    "rtmo of a fixed batch of one": lambda: graphs.rtmo(batch=1),
    "rtmo of a fixed batch of three": lambda: graphs.rtmo(batch=3),
    "rtmo, half precision": lambda: graphs.rtmo(dtype=graphs.HALF),
    "rtmo, not square": lambda: graphs.rtmo(size=(320, 192)),
    "yolo": graphs.yolo_pose,
    "yolo, half precision": lambda: graphs.yolo_pose(dtype=graphs.HALF),
    "yolo of any batch": lambda: graphs.yolo_pose(batch="batch"),
    "yolo of any size": lambda: graphs.yolo_pose(size=None, batch="batch"),
    "yolo, suppressed": lambda: graphs.yolo_pose(suppressed=True),
    "yolo, described": lambda: graphs.yolo_pose(metadata={"task": "pose", "kpt_shape": "[17, 3]"}),
    "movenet": lambda: graphs.movenet(True),
    "movenet of any size": lambda: graphs.movenet(True, size=None),
    "movenet of floats": lambda: graphs.movenet(True, dtype=graphs.FLOAT),
    "movenet of bytes": lambda: graphs.movenet(True, dtype=graphs.TensorProto.UINT8),
}
PERSONS = {
    "rtmdet": lambda: graphs.persons("rtmdet"),
    "rtmdet of a fixed batch": lambda: graphs.persons("rtmdet", batch=1),
    "yolox of mmdeploy": lambda: graphs.persons("yolox"),
    "yolox": lambda: graphs.yolox_cells(decoded=False),
    "yolox in pixels": lambda: graphs.yolox_cells(decoded=True),
    "yolox of people only": lambda: graphs.yolox_cells(decoded=False, classes=1),
}


def written(folder, name, content):
    (folder / name).write_bytes(content)
    return str(folder / name)


def check_people(found, expected, tolerance=TOLERANCE):
    """Each expected person once, where it was painted."""
    assert found.dtype == np.float32 and len(found) == len(expected)
    for person in expected:
        errors = found[..., :2] - person
        best = errors[np.abs(errors).max(axis=(1, 2)).argmin()]
        assert np.abs(best).max() < tolerance
        assert np.abs(best.mean(axis=0)).max() < MEAN_TOLERANCE
    assert (found[..., 2] >= 0).all() and (found[..., 2] <= 1).all()


@pytest.mark.parametrize("case", NETS)
def test_one_net_finds_people_where_they_are(case, tmp_path):
    detector = load_detector(written(tmp_path, "x.onnx", NETS[case]()), threads=1)
    assert isinstance(detector, Detector) and detector.joint_set is COCO17
    upright = people_at((30, 200), size=(210, 520))
    images = [
        graphs.paint(TWO, SIZE),
        graphs.paint(TWO[:0], SIZE),
        graphs.paint(TWO[:1], SIZE),
        graphs.paint(upright, (480, 800)),
    ]
    found = detector.detect(images)
    for people, expected in zip(found, [TWO, TWO[:0], TWO[:1], upright], strict=True):
        check_people(people, expected)


@pytest.mark.parametrize("case", PERSONS)
def test_two_nets_find_people_where_they_are(case, tmp_path):
    persons = written(tmp_path, "a.onnx", PERSONS[case]())
    pose = written(tmp_path, "b.onnx", graphs.rtmpose())
    images = [graphs.paint(TWO, SIZE), graphs.paint(TWO[:0], SIZE), graphs.paint(TWO[1:], SIZE)]
    for given in (f"{pose},{persons}", f"{persons}, {pose}"):
        detector = load_detector(given, threads=1)
        assert isinstance(detector, Detector) and detector.joint_set is COCO17
        first, nobody, other = detector.detect(images)
        check_people(first, TWO)
        check_people(nobody, TWO[:0])
        check_people(other, TWO[1:])
        assert nobody.shape == (0, 17, 3)


@pytest.mark.parametrize(
    "options",
    [{"batch": 1}, {"batch": 3}, {"dtype": graphs.HALF}, {"swapped": True}, {"size": (288, 384)}],
    ids=str,
)
def test_nets_for_one_person_of_other_shapes(options, tmp_path):
    persons = written(tmp_path, "a.onnx", graphs.persons("rtmdet"))
    detector = load_detector(f"{written(tmp_path, 'b.onnx', graphs.rtmpose(**options))},{persons}", threads=1)
    (people,) = detector.detect([graphs.paint(TWO, SIZE)])
    check_people(people, TWO)


@pytest.mark.parametrize(("joints", "name"), [(26, "halpe26"), (133, "wholebody133"), (136, "halpe136")])
def test_joint_sets_go_by_the_number_of_keypoints(joints, name, tmp_path):
    persons = written(tmp_path, "a.onnx", graphs.persons("rtmdet"))
    pose = written(tmp_path, "b.onnx", graphs.rtmpose(joints=joints))
    detector = load_detector(f"{pose},{persons}", threads=1)
    assert detector.joint_set.name == name
    (people,) = detector.detect([graphs.paint(TWO, SIZE)])
    assert people.shape == (2, joints, 3)
    check_people(people[:, :17], TWO)


def test_scores_above_one_are_cut(tmp_path):
    persons = written(tmp_path, "a.onnx", graphs.persons("rtmdet"))
    pose = written(tmp_path, "b.onnx", graphs.rtmpose(peak=1.3))
    (people,) = load_detector(f"{pose},{persons}", threads=1).detect([graphs.paint(TWO, SIZE)])
    assert people[..., 2].max() == 1.0
    lower = written(tmp_path, "c.onnx", graphs.rtmpose(peak=0.6))
    (people,) = load_detector(f"{lower},{persons}", threads=1).detect([graphs.paint(TWO, SIZE)])
    np.testing.assert_allclose(people[..., 2], 0.6, atol=0.02)


def test_movenet_for_one_person(tmp_path):
    net = written(tmp_path, "x.onnx", graphs.movenet(False))
    detector = load_detector(net, threads=1)
    one, nobody = detector.detect([graphs.paint(TWO[1:], SIZE), graphs.paint(TWO[:0], SIZE)])
    check_people(one, TWO[1:])
    check_people(nobody, TWO[:0])


def test_crops_are_as_published():
    """1.25 times the box about its middle, widened to the input's shape."""
    corner, scale = crop_of(np.array([100.0, 200.0, 200.0, 400.0]), (192, 256))
    assert scale == pytest.approx(250 / 256)
    np.testing.assert_allclose(corner, [150 - 96 * scale, 175])


def test_boxes_are_suppressed_best_first():
    boxes = np.array(
        [[0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 10], [0, 0, np.nan, 1], [40, 0, 50, 10]], float
    )
    assert best_boxes(boxes, np.array([0.5, 0.9, 0.4, 0.9, 0.1]), 0.3, 0.6).tolist() == [1, 2]
    assert best_boxes(boxes[:0], np.zeros(0), 0.3, 0.6).tolist() == []


def test_first_operators_are_read_from_the_file():
    assert first_operators(graphs.persons("yolox"), "input") == {"Slice"}
    assert "Slice" not in first_operators(graphs.persons("rtmdet"), "input")
    # Casts are passed.
    assert first_operators(graphs.rtmo(dtype=graphs.HALF), "input") == {"Mul"}
    for broken in (b"\xff" * 30, graphs.rtmo()[:-7]):
        with pytest.raises(ValueError):
            first_operators(broken, "input")


def test_paths_of_files():
    assert [str(path) for path in file_paths("a/rtmpose.onnx, b/rtmdet.onnx")] == [
        "a/rtmpose.onnx",
        "b/rtmdet.onnx",
    ]
    assert file_paths("openpose") == ()


def test_a_comma_in_a_file_name_is_no_separator(tmp_path):
    assert file_paths(written(tmp_path, "a,b.onnx", graphs.rtmo())) == (tmp_path / "a,b.onnx",)


KNOWN = r"expected MoveNet: .*; RTMO: .*; YOLO-pose: .*; RTMPose: .*; RTMDet or YOLOX: "
REFUSED = {
    "a net for classes": (
        graphs.classifier,
        r"unknown kind of net: input data \(batch, 3, 224, 224\) float; output scores \(1, 1000\); " + KNOWN,
    ),
    "two inputs": (
        graphs.two_inputs,
        r"inputs image \(1, 3, 64, 64\) float, size \(1, 1, 1, 1\) float, expected one image",
    ),
    "a truncated file": (lambda: graphs.rtmo()[:-2000], "no ONNX file, or a damaged one"),
    "a text file": (lambda: b"not a net\n", "no ONNX file, or a damaged one"),
    "an empty file": (lambda: b"", "empty file, expected an ONNX file"),
    "only the joints": (graphs.rtmpose, "RTMPose net, and it sees one person at a time: expected two files"),
    "only the boxes": (PERSONS["yolox"], "YOLOX net, and it finds boxes, not joints: expected two files"),
    "21 keypoints": (
        lambda: graphs.rtmpose(joints=21),
        r"RTMPose net of 21 keypoints, expected 17 \(coco17\), 26 \(halpe26\)",
    ),
    "a YOLO net for boxes": (
        lambda: graphs.yolo_pose(metadata={"task": "detect"}),
        "Ultralytics net for 'detect', expected one for 'pose'",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_other_files_are_refused_in_one_line(case, tmp_path):
    content, message = REFUSED[case]
    with pytest.raises(InputError, match=message) as error:
        load_detector(written(tmp_path, "x.onnx", content()), threads=1)
    assert "x.onnx" in str(error.value) and "\n" not in str(error.value)


def test_files_that_do_not_belong_together_are_refused(tmp_path):
    one = written(tmp_path, "one.onnx", graphs.rtmo())
    pose = written(tmp_path, "pose.onnx", graphs.rtmpose())
    with pytest.raises(
        InputError, match=r"one.onnx \(RTMO\) and .*pose.onnx \(RTMPose\), expected an RTMPose net"
    ):
        load_detector(f"{one},{pose}", threads=1)
    with pytest.raises(InputError, match="3 files, expected one, or two"):
        load_detector(f"{one},{pose},{pose}", threads=1)
    with pytest.raises(InputError, match="absent.onnx: cannot be read .*expected an ONNX file"):
        load_detector(str(tmp_path / "absent.onnx"))
    with pytest.raises(InputError, match="cannot be read"):
        load_detector(f"{tmp_path}/")


def test_skeletons_from_images_by_a_file(tmp_path):
    """Painted images of a person in three cameras, one net of one stage, and the ray model."""
    rig = load_rig(find_resource("config/rigs/shelf.yaml"))
    drawn = sample_people(60, torch.Generator().manual_seed(4), child_share=0.0).double().numpy()
    joints = drawn[(drawn[:, 0, 2] > 1400) & (drawn[:, 0, 2] < 1750)][0] + np.array([300.0, 0, 0])
    images = []
    for camera in rig.cameras:
        width, height = camera.image_size
        image = graphs.paint(camera.project(joints)[0][None], camera.image_size, radius=3)
        images.append(image)
        assert image.shape == (height, width, 3)
    net = written(tmp_path, "x.onnx", graphs.rtmo(size=rig.cameras[0].image_size))
    estimator = PoseEstimator(rig, device="cpu", detector=net)
    assert estimator.description()["detector"] == "x.onnx (RTMO)"
    (skeleton,) = estimator.estimate_images(images).skeletons
    # Spots of the head cover each other.
    assert np.median(np.linalg.norm(skeleton.joints - joints, axis=1)) < 20


def test_the_command_line_refuses_a_bad_file(tmp_path, capsys):
    rig = find_resource("config/rigs/shelf.yaml")
    for camera in load_rig(rig).cameras:
        (tmp_path / camera.name).mkdir()
        cv2.imwrite(str(tmp_path / camera.name / "0.png"), graphs.paint(TWO[:0], camera.image_size))
    folders = [str(tmp_path / camera.name) for camera in load_rig(rig).cameras]
    for content, message in ((graphs.classifier(), "unknown kind of net"), (b"text", "no ONNX file")):
        net = written(tmp_path, "x.onnx", content)
        out = tmp_path / "out.json"
        given = ["--rig", str(rig), "--images", *folders, "--out", str(out), "--detector", net]
        assert cli.main(["estimate", *given]) == 2
        error = capsys.readouterr().err
        assert message in error.splitlines()[-1] and "x.onnx" in error and not out.exists()


def test_a_wrong_image_is_named(tmp_path):
    detector = load_detector(written(tmp_path, "x.onnx", graphs.rtmo()), threads=1)
    with pytest.raises(InputError, match=r"shape \(480, 640\).*BGR"):
        detector.detect([np.zeros((480, 640), np.uint8)])


def test_recordings_for_rigs_have_the_joints_of_the_body(tmp_path):
    """A rig from people goes by COCO-17, whatever else a detector answers."""

    class Feet:
        joint_set = get_joint_set("halpe26")

        def detect(self, images):
            return [np.tile(np.arange(26, dtype=np.float32)[:, None], (1, 1, 3)) / 26 for _ in images]

    rig = load_rig(find_resource("config/rigs/shelf.yaml"))
    camera = rig.cameras[0]
    (tmp_path / "a").mkdir()
    cv2.imwrite(str(tmp_path / "a" / "0.png"), graphs.paint(TWO[:0], camera.image_size))
    source = RecordedCameras(open_image_folders([tmp_path / "a"], 25.0), [camera])
    recording, _ = record_images([source], Feet())
    assert recording.joint_set is COCO17
    (people,) = recording.cameras[0].people
    np.testing.assert_allclose(people[0, :, 0], np.arange(17) / 26)
