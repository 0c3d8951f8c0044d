"""The `voxelpose` command: what it writes, and one line with exit code 2 for bad input."""

import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest

import voxelpose_core.estimator
import voxelpose_core.input_checks
from voxelpose_core import cli
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.rig import Rig, load_rig, save_rig
from voxelpose_core.geometry.space import Space
from voxelpose_core.pose_types import Estimate, Skeleton
from voxelpose_core.results import RunReport
from voxelpose_core.skeletons import COCO17, get_joint_set

SIZE = (320, 240)
REPOSITORY = Path(__file__).resolve().parents[1]


class FakeEstimator:
    """One person who walks; remembers what it was given."""

    made = []

    def __init__(self, rig, weights, device, detector, space):
        self.rig, self.joint_set, self.device = rig, COCO17, device
        self.space = space or rig.space
        self.weights_path = Path(weights)
        self.detector, self.inputs = detector, []
        FakeEstimator.made.append(self)

    def estimate_images(self, images, previous):
        for camera, image in zip(self.rig.cameras, images):
            if image is not None:
                voxelpose_core.input_checks.check_image(image, camera)
        return self._answer(images)

    def estimate_keypoints(self, keypoints, previous):
        return self._answer(keypoints)

    def _answer(self, views):
        self.inputs.append(views)
        joints = np.tile([10.0 * len(self.inputs), 0.0, 900.0], (17, 1))
        joints[:, 2] += np.linspace(800, -800, 17)
        joints[:, 0] += np.linspace(-200, 200, 17)
        skeleton = Skeleton(joints, np.full(17, 0.7), np.ones(17, bool), 0.9)
        keypoints = [
            np.concatenate([c.project(joints)[0] + 3, np.full((17, 1), 0.9)], axis=1)[None]
            for c in self.rig.cameras
        ]
        return Estimate([skeleton], keypoints, self.rig.names, {"detector": 1.0, "poses": 2.0})


class FakeDetector(NamedTuple):
    name: str
    threads: int
    device: str

    @property
    def joint_set(self):
        return get_joint_set("panoptic15" if self.name == "other" else "coco17")


@pytest.fixture
def fake(monkeypatch):
    FakeEstimator.made.clear()
    monkeypatch.setattr(voxelpose_core.estimator, "PoseEstimator", FakeEstimator)
    monkeypatch.setattr("voxelpose_core.detectors.load_detector", FakeDetector)
    monkeypatch.setattr(
        "voxelpose_core.detectors.refinement.RefinedDetector",
        lambda detector, threads, device: ("refined", detector, threads, device),
    )


@pytest.fixture
def rig_file(tmp_path):
    cameras = []
    for index, azimuth in enumerate((0.3, 2.3, 4.4)):
        center = np.array([4000 * np.cos(azimuth), 4000 * np.sin(azimuth), 1600.0])
        forward = np.array([0, 0, 900.0]) - center
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, [0, 0, 1.0])
        right /= np.linalg.norm(right)
        K = np.array([[260, 0, 160], [0, 260, 120], [0, 0, 1.0]])
        rotation = np.stack([right, np.cross(forward, right), forward])
        cameras.append(Camera(f"cam{index}", SIZE, K, np.zeros(5), rotation, center))
    path = tmp_path / "rig.yaml"
    save_rig(Rig(tuple(cameras), Space([0, 0, 1000], [4000, 4000, 2000])), path)
    return path


@pytest.fixture
def videos(tmp_path):
    paths = []
    for index in range(3):
        paths.append(str(tmp_path / f"cam{index}.mp4"))
        writer = cv2.VideoWriter(paths[-1], cv2.VideoWriter_fourcc(*"mp4v"), 10.0, SIZE)
        for value in range(6):
            writer.write(np.full((SIZE[1], SIZE[0], 3), 20 * value + 30, np.uint8))
        writer.release()
    return paths


@pytest.fixture
def keypoints_file(tmp_path):
    content = {
        f"{camera}_{frame}": [{"pred": [[100.0, 100.0, 0.9]] * 17}]
        for camera in range(3)
        for frame in (300, 310)
    }
    path = tmp_path / "kp.json"
    path.write_text(json.dumps(content))
    return path


def run(*arguments):
    return cli.main([str(a) for a in arguments])


def refused(capsys, *arguments):
    """The one line that the command says, checked to be one line with exit code 2."""
    try:
        code = run(*arguments)
    except SystemExit as stop:
        code = stop.code
    lines = capsys.readouterr().err.strip().splitlines()
    assert code == 2 and len(lines) == 1 and lines[0].startswith("error: "), lines
    return lines[0]


def test_videos_to_skeletons_picture_and_video(fake, rig_file, videos, tmp_path, capsys):
    out, video, picture = tmp_path / "s.json", tmp_path / "s.mp4", tmp_path / "s.png"
    code = run(
        *("estimate", "--rig", rig_file, "--videos", *videos, "--out", out),
        *("--video-out", video, "--picture", picture),
        *("--weights", "mine", "--device", "cpu", "--threads", 2),
    )
    assert code == 0
    document = json.loads(out.read_text())
    assert [f["frame"] for f in document["frames"]] == list(range(6))
    assert document["frames"][3]["stamp"] == pytest.approx(0.3)
    assert all(f["skeletons"][0]["track_id"] == 0 for f in document["frames"])
    joints = np.array(document["frames"][0]["skeletons"][0]["joints"])
    assert joints[:, 2].mean() == pytest.approx(0.9)  # metres
    (estimator,) = FakeEstimator.made
    assert estimator.weights_path == Path("mine")
    assert estimator.detector == ("refined", ("movenet", 2, "cpu"), 2, "cpu")
    capture = cv2.VideoCapture(str(video))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 6
    assert capture.read()[1].shape == cv2.imread(str(picture)).shape
    report = capsys.readouterr().out
    assert "6 in, 6 estimated" in report and "1 in 6 frames; 1 track ids" in report
    assert "4.2 px mean" in report and "detector 1, poses 2" in report
    assert len(report.splitlines()) < 25


def test_detections_are_refined_unless_told_otherwise(
    fake, rig_file, videos, keypoints_file, tmp_path, capsys
):
    given = ("estimate", "--rig", rig_file, "--out", tmp_path / "s.json", "--threads", 1, "--device", "cpu")
    plain = ("movenet", 1, "cpu")
    for options, detector in (
        ((), ("refined", plain, 1, "cpu")),
        (("--refine-detections",), ("refined", plain, 1, "cpu")),
        (("--no-refine-detections",), plain),
        # A detector of other joints cannot be refined: by default it is not.
        (("--detector", "other"), ("other", 1, "cpu")),
    ):
        FakeEstimator.made.clear()
        assert run(*given, "--videos", *videos, *options) == 0
        assert FakeEstimator.made[0].detector == detector
    assert run(*given, "--keypoints", keypoints_file) == 0
    assert run(*given, "--keypoints", keypoints_file, "--refine-detections") == 2
    assert "--refine-detections: --keypoints has no images" in capsys.readouterr().err
    assert run(*given, "--keypoints", keypoints_file, "--detector", "movenet") == 2
    assert "--detector: --keypoints brings its own detections" in capsys.readouterr().err


def test_weights_that_are_a_folder_are_told_as_one(rig_file, keypoints_file, tmp_path, capsys):
    given = ("estimate", "--rig", rig_file, "--keypoints", keypoints_file, "--out", tmp_path / "s.json")
    assert run(*given, "--weights", tmp_path) == 2
    assert (
        f"weights '{tmp_path}': is a folder, expected a file in it, or one of universal"
        in capsys.readouterr().err
    )


def test_image_folders_and_a_choice_of_cameras(fake, rig_file, tmp_path):
    folders = [tmp_path / "b", tmp_path / "a"]
    for value, folder in enumerate(folders):
        folder.mkdir()
        for name in ("1.png", "2.png"):
            image = np.full((SIZE[1], SIZE[0], 3), 100 * value, np.uint8)
            cv2.imwrite(str(folder / name), image)
    out = tmp_path / "s.json"
    code = run(
        *("estimate", "--rig", rig_file, "--cameras", "cam2", "cam0", "--images", *folders),
        *("--out", out, "--fps", 4, "--space", "0,0,1000,3000,3000,2000"),
    )
    assert code == 0
    assert [f["stamp"] for f in json.loads(out.read_text())["frames"]] == [0.0, 0.25]
    (estimator,) = FakeEstimator.made
    assert estimator.rig.names == ("cam2", "cam0") and estimator.space.size[0] == 3000
    assert [image.mean() for image in estimator.inputs[0]] == [0.0, 100.0]


def test_keypoints_keep_their_frame_numbers(fake, rig_file, keypoints_file, tmp_path):
    out, picture = tmp_path / "s.json", tmp_path / "s.png"
    arguments = ("estimate", "--rig", rig_file, "--keypoints", keypoints_file, "--out", out)
    assert run(*arguments, "--picture", picture) == 0
    frames = json.loads(out.read_text())["frames"]
    assert [(f["frame"], f["stamp"]) for f in frames] == [(300, 12.0), (310, 12.4)]
    (estimator,) = FakeEstimator.made
    assert estimator.detector is None and estimator.inputs[0][0].shape == (1, 17, 3)
    assert cv2.imread(str(picture)) is not None


def test_warnings_are_one_line_each(fake, rig_file, videos, tmp_path, capsys):
    writer = cv2.VideoWriter(videos[1], cv2.VideoWriter_fourcc(*"mp4v"), 10.0, SIZE)
    for _ in range(4):
        writer.write(np.zeros((SIZE[1], SIZE[0], 3), np.uint8))
    writer.release()
    out = tmp_path / "s.json"
    assert run("estimate", "--rig", rig_file, "--videos", *videos, "--out", out) == 0
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 2 and all(line.startswith("warning: video") for line in lines)
    assert len(json.loads(out.read_text())["frames"]) == 4


def test_bad_input_is_one_line(fake, rig_file, videos, keypoints_file, tmp_path, capsys):
    out = ("--out", tmp_path / "s.json")
    start = ("estimate", "--rig", rig_file)
    assert "required: COMMAND" in refused(capsys)
    assert "'bake'" in refused(capsys, "bake")
    assert "--videos --images --keypoints" in refused(capsys, *start, *out)
    both = ("--videos", *videos, "--keypoints", keypoints_file)
    assert "not allowed" in refused(capsys, *start, *both, *out)
    absent = ("estimate", "--rig", tmp_path / "absent.yaml", "--videos", *videos)
    assert "absent.yaml" in refused(capsys, *absent, *out)
    assert "cam9" in refused(capsys, *start, "--cameras", "cam9", "cam0", "--videos", *videos, *out)
    two = refused(capsys, *start, "--videos", *videos[:2], *out)
    assert "2 videos given for a rig of 3 cameras" in two and "cam0, cam1, cam2" in two
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    assert "broken.mp4" in refused(capsys, *start, "--videos", broken, *videos[1:], *out)
    nowhere = ("--out", tmp_path / "nowhere" / "s.json")
    assert "nowhere" in refused(capsys, *start, "--videos", *videos, *nowhere)
    assert "is a folder" in refused(capsys, *start, "--videos", *videos, "--out", tmp_path)
    for option, value in (
        ("--space", "1,2,3"),
        ("--image-size", "320"),
        ("--fps", "0"),
        ("--fps", "nan"),
        ("--threads", "-1"),
    ):
        line = refused(capsys, *start, "--videos", *videos, *out, f"{option}={value}")
        assert option in line and value in line
    assert not (tmp_path / "s.json").exists()


def rewrite_video(path, size):
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*"mp4v"), 10.0, size)
    for _ in range(6):
        writer.write(np.zeros((size[1], size[0], 3), np.uint8))
    writer.release()


def test_image_of_another_size_names_frame_and_camera(fake, rig_file, videos, tmp_path, capsys):
    rewrite_video(videos[1], (160, 90))
    start = ("estimate", "--rig", rig_file, "--videos", *videos, "--out", tmp_path / "s.json")
    line = refused(capsys, *start)
    assert line.endswith("frame 0: camera 'cam1': image is 160x90, but its calibration is for 320x240")
    rewrite_video(videos[1], (240, 320))
    assert refused(capsys, *start).endswith("is for 320x240: turned by 90 degrees?")


def test_k_is_scaled_for_a_scaled_video(fake, rig_file, videos, tmp_path, capsys):
    rewrite_video(videos[1], (160, 120))
    out = tmp_path / "s.json"
    assert run("estimate", "--rig", rig_file, "--videos", *videos, "--out", out) == 0
    assert capsys.readouterr().err.splitlines() == [
        "warning: camera 'cam1': images are 160x120, 0.5 times the calibrated 320x240: K is scaled"
    ]
    cameras = FakeEstimator.made[0].rig.cameras
    assert [camera.image_size for camera in cameras] == [SIZE, (160, 120), SIZE]
    assert cameras[1].K.tolist() == [[130, 0, 79.75], [0, 130, 59.75], [0, 0, 1]]


def test_videos_find_their_cameras_by_name(fake, rig_file, videos, tmp_path, capsys):
    rewrite_video(videos[1], (160, 120))
    order = (videos[1], videos[0], videos[2])
    start = ("estimate", "--rig", rig_file, "--out", tmp_path / "s.json", "--videos", *order)
    assert run(*start) == 0
    first, second = capsys.readouterr().err.splitlines()
    assert first == (
        "warning: --videos: matched with the cameras by their names: cam0.mp4 is for 'cam0', "
        "cam1.mp4 is for 'cam1' (--in-order: as given)"
    )
    assert second.startswith("warning: camera 'cam1': images are 160x120")
    assert run(*start, "--in-order") == 0
    assert capsys.readouterr().err.startswith("warning: camera 'cam0': images are 160x120")


class OffCentreEstimator(FakeEstimator):
    """The person stands off the centre, where views tell themselves apart."""

    order = (0, 1, 2)

    def _answer(self, views):
        answer = super()._answer(views)
        joints = answer.skeletons[0].joints + [700.0, -500.0, 0.0]
        seen = [np.column_stack([c.project(joints)[0], np.full(17, 0.9)]) for c in self.rig.cameras]
        answer.keypoints = [seen[index][None] for index in self.order]
        return answer


class ExchangedEstimator(OffCentreEstimator):
    """Sees in the first camera what the second should see, and the other way round."""

    order = (1, 0, 2)


def test_exchanged_views_are_told_with_what_to_type(fake, monkeypatch, rig_file, videos, tmp_path, capsys):
    monkeypatch.setattr(voxelpose_core.estimator, "PoseEstimator", ExchangedEstimator)
    out = tmp_path / "s.json"
    start = ("estimate", "--rig", rig_file, "--videos", *videos, "--out", out)
    assert run(*start) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: cameras 'cam0' and 'cam1' look exchanged: ")
    assert line.endswith(f"give --in-order --videos {videos[1]} {videos[0]} {videos[2]}")
    out.unlink()
    assert "look exchanged" in refused(capsys, *start, "--strict")
    monkeypatch.setattr(voxelpose_core.estimator, "PoseEstimator", OffCentreEstimator)
    assert run(*start, "--strict") == 0
    assert capsys.readouterr().err == ""


def test_rig_of_one_camera_and_nan(rig_file, tmp_path, capsys):
    text = rig_file.read_text()
    rig_file.write_text(text.replace("260.0", ".nan", 1))
    line = refused(capsys, "rig", "check", rig_file)
    assert "rig.yaml" in line and "cam0" in line and "K" in line
    head, *_ = text.split("- name: cam1")
    (tmp_path / "one.yaml").write_text(head)
    assert "1 camera" in refused(capsys, "rig", "check", tmp_path / "one.yaml")


def test_rig_commands(rig_file, tmp_path, capsys):
    assert run("rig", "check", rig_file) in (0, 1)
    out = capsys.readouterr().out
    assert "3 cameras" in out and "focal length 260 px" in out
    assert "cam2: 320x240, pinhole without distortion" in out
    assert run("rig", "space", rig_file) == 0
    space = Space.parse(capsys.readouterr().out.strip())
    assert space.contains(np.array([0, 0, 1000.0]))
    copy = tmp_path / "copy.yaml"
    assert run("rig", "convert", rig_file, copy, "--space", "0,0,1000,3000,2000,2000") == 0
    converted = load_rig(copy)
    assert converted.names == ("cam0", "cam1", "cam2")
    assert converted.space.size.tolist() == [3000, 2000, 2000]


RIG_CHECK = "voxelpose_core.command_line.rig.check_rig"


def test_suspicious_rig_has_its_own_exit_code(rig_file, monkeypatch, capsys):
    monkeypatch.setattr(RIG_CHECK, lambda rig: ["the cameras stand on their heads"])
    assert run("rig", "check", rig_file) == 1
    assert "suspicious: the cameras stand on their heads" in capsys.readouterr().out


LOOKS_WRONG = ["camera 'cam1' looks up into the sky"]


@pytest.fixture
def wrong(monkeypatch):
    """Every rig looks wrong."""
    monkeypatch.setattr("voxelpose_core.geometry.rig_check.check_rig", lambda rig: LOOKS_WRONG)


def test_estimate_says_once_what_looks_wrong(wrong, fake, rig_file, videos, tmp_path, capsys):
    arguments = ("estimate", "--rig", rig_file, "--videos", *videos, "--out", tmp_path / "s.json")
    assert run(*arguments) == 0
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines == [f"warning: {LOOKS_WRONG[0]}"]
    (tmp_path / "s.json").unlink()
    assert LOOKS_WRONG[0] in refused(capsys, *arguments, "--strict")
    assert not (tmp_path / "s.json").exists()


@pytest.mark.parametrize("action", [("convert", "copy.yaml"), ("preview", "--out", "rig.png")])
def test_rig_commands_say_what_looks_wrong(wrong, rig_file, tmp_path, capsys, action):
    *start, out = action
    arguments = ("rig", start[0], rig_file, *start[1:], tmp_path / out)
    assert LOOKS_WRONG[0] in refused(capsys, *arguments, "--strict")
    assert not (tmp_path / out).exists()
    assert run(*arguments) == 0 and (tmp_path / out).exists()
    assert capsys.readouterr().err == f"warning: {LOOKS_WRONG[0]}\n"


def test_ground_is_taken_by_every_rig_command(fake, rig_file, videos, tmp_path, capsys):
    assert run("rig", "space", rig_file, "--ground", "-750") == 0
    assert Space.parse(capsys.readouterr().out.strip()).low[2] == -750
    copy = tmp_path / "copy.yaml"
    assert run("rig", "convert", rig_file, copy, "--ground", "-750") == 0
    assert load_rig(copy).ground == -750
    assert run("rig", "preview", copy, "--out", tmp_path / "rig.png") == 0
    assert "ground" in refused(capsys, "rig", "check", copy, "--ground", "low")
    out = ("--out", tmp_path / "s.json")
    assert run("estimate", "--rig", rig_file, "--ground", "400", "--videos", *videos, *out) == 0
    assert FakeEstimator.made[-1].rig.ground == 400


def test_report_counts_whom_the_floor_rule_drops(rig_file):
    report = RunReport(load_rig(rig_file))
    skeleton = Skeleton(np.zeros((17, 3)), np.ones(17), np.ones(17, bool), 0.9)
    for below in ([skeleton] * 2, [], [skeleton]):
        report.add(Estimate([], [None] * 3, ("cam0", "cam1"), below_floor=below))
    assert "floor         3 skeletons below it dropped, in 2 frames" in report.lines()


def test_other_warnings_stay_silent(monkeypatch, rig_file, capsys):
    def warn(rig):
        warnings.warn("of a library", RuntimeWarning)
        return []

    monkeypatch.setattr(RIG_CHECK, warn)
    assert run("rig", "check", rig_file) == 0
    assert capsys.readouterr().err == ""


def test_as_a_process(tmp_path):
    """Help shows worked examples, quickly: without importing torch."""
    program = "import sys; from voxelpose_core.cli import main; code = main(); "
    program += "sys.exit(9 if 'torch' in sys.modules else code)"

    def call(*arguments):
        command = [sys.executable, "-c", program, *arguments]
        return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)

    answer = call("--help")
    assert answer.returncode == 0 and "voxelpose estimate --rig" in answer.stdout
    answer = call("rig", "check", str(tmp_path / "absent.json"))
    assert answer.returncode == 2 and "Traceback" not in answer.stderr
    assert answer.stderr.startswith("error: ") and answer.stderr.count("\n") == 1
