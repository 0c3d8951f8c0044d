"""`voxelpose dataset check` says what a folder holds and lacks, and draws a frame."""

import cv2
import numpy as np
import pytest
from test_loading import write_campus

from voxelpose_core import cli
from voxelpose_core.command_line.dataset import _shown
from voxelpose_core.command_line.options import EXIT_SUSPICIOUS


@pytest.fixture
def campus(tmp_path):
    write_campus(tmp_path / "CampusSeq1")
    return tmp_path / "CampusSeq1"


def test_what_is_there_and_what_is_missing(campus, capsys):
    assert cli.main(["dataset", "check", str(campus)]) == EXIT_SUSPICIOUS
    out = capsys.readouterr().out
    assert out.startswith(f"campus: {campus}\n")
    assert "calibration of 3 cameras" in out and "ground truth in 1 of the 222" in out
    assert "missing: 2D predictions" in out and "missing: images" in out
    assert "campus4-c0-00350.png" in out


def test_picture(campus, tmp_path, capsys):
    picture = tmp_path / "sample.png"
    cli.main(["dataset", "check", str(campus), "--picture", str(picture)])
    image = cv2.imread(str(picture))
    assert image.shape[1] == 1920 and np.unique(image.reshape(-1, 3), axis=0).shape[0] > 100
    assert f"written: {picture}" in capsys.readouterr().out


def test_unlabelled_joints_hide_at_their_neighbours():
    pose = np.arange(12.0).reshape(4, 3)
    seen = np.array([False, False, True, False])
    shown = _shown(pose, seen, [(0, 1), (1, 2)])
    np.testing.assert_array_equal(shown, pose[[2, 2, 2, 3]])


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["nowhere"], "nowhere"),
        (["."], "is no known data set"),
        (["{campus}", "--name", "mars"], "'mars'"),
        (["{campus}", "--picture", "nowhere/sample.png"], "nowhere"),
    ],
)
def test_bad_input(campus, tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    arguments = [argument.format(campus=campus) for argument in arguments]
    assert cli.main(["dataset", "check", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and words in error
