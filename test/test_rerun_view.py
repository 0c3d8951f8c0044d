"""`voxelpose view` in the Rerun viewer: files for it, read back with rerun's own tool."""

import importlib.util
import re
import subprocess
import sys

import numpy as np
import pytest
from skeleton_recordings import recording, walk
from test_cli import fake, refused, rig_file, run, videos  # noqa: F401  (fixtures)

from voxelpose_core.command_line import view
from voxelpose_core.skeleton_files import write_skeletons

needs_rerun = pytest.mark.skipif(
    importlib.util.find_spec("rerun") is None, reason="rerun-sdk is not installed"
)


@pytest.fixture
def result(tmp_path):
    joints = walk(5)
    joints[1] = np.nan
    write_skeletons([tmp_path / "skeletons.json"], recording({2: joints}, rate_hz=10.0))
    return tmp_path / "skeletons.json"


def printed(path, *options):
    """What rerun says of a file that it can read."""
    rerun = [sys.executable, "-m", "rerun", "rrd"]
    subprocess.run([*rerun, "verify", path], check=True, capture_output=True, timeout=60)
    command = [*rerun, "print", *options, path]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


@needs_rerun
def test_rig_images_and_skeletons_in_a_file(rig_file, videos, result, tmp_path, capsys):  # noqa: F811
    path = tmp_path / "walk.rrd"
    assert run("view", rig_file, result, "--videos", *videos, "--save", path) == 0
    assert f"written       {path}" in capsys.readouterr().out
    rows = {}
    for count, entity in re.findall(r"(\d+) rows[^\n]*?(/world[/\w]*)", printed(path, "-v")):
        rows[entity] = rows.get(entity, 0) + int(count)
    assert rows["/world/people/joints"] == rows["/world/people/limbs"] == 5
    assert rows["/world/space"] == 1
    # Pose and lens, and the images of six frames.
    assert [rows[f"/world/cameras/cam{i}"] for i in range(3)] == [8, 8, 8]


@needs_rerun
def test_joints_are_metres(rig_file, result, tmp_path):  # noqa: F811
    assert run("view", rig_file, result, "--save", tmp_path / "walk.rrd") == 0
    text = printed(tmp_path / "walk.rrd", "-vvv", "--entity", "/world/people/joints")
    noses = [[float(v) for v in row.split(",")] for row in re.findall(r"\[\[([-\d., ]+)\]", text)]
    np.testing.assert_allclose(noses, walk(5)[[0, 2, 3, 4], 0] / 1000, atol=1e-4)
    assert text.count("P2 nose") == 4


@needs_rerun
def test_page_and_file_in_one_run(rig_file, result, tmp_path):  # noqa: F811
    page, saved = tmp_path / "a.html", tmp_path / "a.rrd"
    assert run("view", rig_file, result, "--out", page, "--save", saved) == 0
    assert page.stat().st_size > 10_000 and saved.stat().st_size > 5_000


@needs_rerun
def test_without_a_file_a_window_opens(rig_file, result, monkeypatch, capsys):  # noqa: F811
    import rerun

    opened = []
    monkeypatch.setattr(rerun.RecordingStream, "spawn", lambda self: opened.append(self))
    assert run("view", rig_file, result) == 0
    assert len(opened) == 1 and "in the Rerun viewer" in capsys.readouterr().out


@needs_rerun
def test_a_viewer_that_does_not_open_is_one_line(rig_file, monkeypatch, capsys):  # noqa: F811
    import rerun

    def fail(self):
        raise RuntimeError("no display")

    monkeypatch.setattr(rerun.RecordingStream, "spawn", fail)
    assert "the Rerun viewer cannot be opened (no display)" in refused(capsys, "view", rig_file)


def test_without_rerun_one_line_says_what_to_type(rig_file, tmp_path, monkeypatch, capsys):  # noqa: F811
    monkeypatch.setattr("voxelpose_core.rerun_view.importlib.util.find_spec", lambda name: None)
    line = refused(capsys, "view", rig_file, "--save", tmp_path / "a.rrd")
    assert "pip install rerun-sdk" in line and "--out page.html" in line


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--save", "a.txt"), "--save a.txt: expected a file that ends in .rrd"),
        (("--save", "none/a.rrd"), "folder 'none' does not exist"),
        (("--out", "a.html", "--images", "x", "y", "z"), "--images: a page holds no images"),
        (("--save", "a.rrd", "--videos", "missing.mp4", "b.mp4", "c.mp4"), "missing.mp4"),
        (("missing.json", "--save", "a.rrd"), "missing.json: cannot be read"),
    ],
)
def test_bad_input_is_refused(rig_file, arguments, expected, tmp_path, monkeypatch, capsys):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(view, "check_available", lambda: None)
    assert expected in refused(capsys, "view", rig_file, *arguments)
