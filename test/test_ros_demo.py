"""The demonstration: real video over ROS into pictures, skeletons.json and a report."""

import os
import re
import subprocess
import sys

import cv2
import pytest

pytest.importorskip("voxelpose_ros.msg", reason="the package's messages are not built")

from voxelpose_core.errors import InputError
from voxelpose_core.skeleton_files import read_skeletons
from voxelpose_ros import bringup, demo

FRAMES = 6


@pytest.fixture(scope="module")
def recording(request):
    """Calibration and four videos of two people."""
    try:
        return bringup.find_recording()
    except InputError:
        folder = request.getfixturevalue("shared_dir") / "data" / "pose2sim" / "MultiPerson"
        return str(folder / "Calib.qca.txt"), sorted(str(v) for v in folder.glob("cam*.mp4"))


def run(*arguments, timeout=1500):
    environment = {
        **os.environ,
        "ROS_DOMAIN_ID": str(1 + os.getpid() % 101),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
    }
    command = [sys.executable, "-m", "voxelpose_ros.demo", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout)


def test_real_video_becomes_pictures_skeletons_and_a_report(recording, tmp_path):
    rig, videos = recording
    output = tmp_path / "output"
    ended = run("--rig", rig, "--videos", *videos, "--output", output, "--frames", FRAMES)
    assert ended.returncode == 0, ended.stderr

    report = ended.stdout
    assert f"frames        {FRAMES} in, {FRAMES} estimated" in report
    assert f"people        2 in {FRAMES} frames; 2 track ids" in report
    assert "cameras       4 in 6 frames" in report
    for part in ("reprojection", "ms per frame", "detector", "proposals", "latency", "transport", "waiting"):
        assert part in report
    error = float(report.split("reprojection")[1].split("px")[0])
    assert error < 20
    page = (output / "report.html").read_text()
    for words in (f"{FRAMES} in, {FRAMES} estimated", "SkeletonArray", "data:image/jpeg;base64", "P1"):
        assert words in page

    recording = read_skeletons(output / "skeletons.json")
    joint_set, frame_sets = recording.joint_set, recording.frame_sets
    assert joint_set.name == "coco17"
    assert [frame_set.frame for frame_set in frame_sets] == list(range(FRAMES))
    assert {s.track_id for m in frame_sets for s in m.skeletons} == {0, 1}
    assert frame_sets[1].stamp == pytest.approx(1 / 60, abs=1e-3)

    video = cv2.VideoCapture(str(output / "demo.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == FRAMES
    readable, frame = video.read()
    assert readable
    assert cv2.imread(str(output / "demo.png")).shape == frame.shape


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--rig", "nowhere.txt", "--videos", "a.mp4", "b.mp4"], "error: nowhere.txt: "),
        (["--rig", "nowhere.txt"], "error: --rig and --videos belong together"),
    ],
)
def test_bad_arguments_end_with_one_line(arguments, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert demo.main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(said)


def test_unreadable_videos_are_named(recording, tmp_path, capsys):
    video = tmp_path / "broken.mp4"
    video.write_bytes(b"not a video")
    assert demo.main(["--rig", recording[0], "--videos", *[str(video)] * 4]) == 2
    assert "broken.mp4" in capsys.readouterr().err


def test_a_node_that_cannot_start_ends_the_demo(recording, tmp_path):
    rig, videos = recording
    ended = run("--rig", rig, "--videos", *videos, "--output", tmp_path, "--weights", "no_such_weights")
    assert ended.returncode == 2
    # On a busy machine the bar of the estimation is there already, on the same line.
    errors = re.findall("error: .*", ended.stderr)
    assert "no_such_weights" in errors[0]
    assert errors[1] == "error: node 'voxelpose' ended with exit code 2"
