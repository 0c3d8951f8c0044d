"""`voxelpose estimate`: files by their endings, what is refused before any work, and the progress bar."""

import csv
import fcntl
import importlib.util
import io
import json
import os
import pty
import re
import struct
import sys
import termios

import numpy as np
import pytest
from skeleton_recordings import recording, walk
from test_cli import fake, keypoints_file, refused, rig_file, run, videos  # noqa: F401  (fixtures)

import voxelpose_core.command_line.estimate
from voxelpose_core.command_line.options import progress_bar
from voxelpose_core.skeleton_files import write_skeletons

ENDINGS = ".json, .csv, .trc, .c3d, .bvh, .npz, .mcap"


@pytest.fixture
def command(fake, rig_file, videos):  # noqa: F811
    """Estimates six frames of one person at 10 Hz; without its outputs."""
    return ("estimate", "--rig", rig_file, "--videos", *videos)


@pytest.fixture
def no_work(monkeypatch):
    """Fails the test if sources are opened."""

    def opened(*_):
        raise AssertionError("work began")

    monkeypatch.setattr(voxelpose_core.command_line.estimate, "open_source", opened)


def test_all_formats_in_one_run(command, tmp_path, capsys):
    pytest.importorskip("ezc3d")
    files = [tmp_path / f"walk.{name}" for name in ("json", "csv", "trc", "c3d", "bvh", "npz")]
    assert run(*command, "--out", *files[:3], "--out", *files[3:]) == 0
    out, err = capsys.readouterr()
    assert f"written       {', '.join(map(str, files))}\n" in out
    assert all(path.stat().st_size > 100 for path in files)
    skeletons = json.loads(files[0].read_text())
    assert skeletons["rate_hz"] == 10.0 and len(skeletons["frames"]) == 6
    with files[1].open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 6 * 17
    assert "\n10\t10\t6\t17\tm\t10\t0\t6\n" in files[2].read_text()
    assert "Frames: 6\nFrame Time: 0.10000000\n" in files[4].read_text()
    assert np.load(files[5])["joints_m"].shape == (6, 17, 3)


def test_the_format_may_be_named(command, tmp_path):
    assert run(*command, "--out", tmp_path / "walk.txt", "--format", "csv") == 0
    assert (tmp_path / "walk.txt").read_text().startswith("frame,time_s,")
    pytest.importorskip("ezc3d")
    assert run(*command, "--out", tmp_path / "walk.txt", "--format", "c3d") == 0
    assert (tmp_path / "walk.txt").read_bytes()[1:2] == b"\x50"  # C3D's mark
    assert not (tmp_path / "walk.txt.c3d").exists()


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        (("walk.fbx",), rf"walk.fbx: ending '.fbx' is unknown, expected one of {ENDINGS}, or --format"),
        (("walk",), f"walk: has no ending, expected one of {ENDINGS}"),
        (("walk.json", "walk.xyz"), "walk.xyz: ending '.xyz' is unknown"),
        (("walk.json", "absent/walk.csv"), "absent' does not exist"),
        (("walk.json", "walk.json"), "walk.json: is --out as well"),
    ],
)
def test_outputs_that_cannot_be_are_refused_before_any_work(
    command, no_work, outputs, expected, tmp_path, capsys
):
    line = refused(capsys, *command, "--out", *(tmp_path / name for name in outputs))
    assert "--out" in line or "does not exist" in line
    assert expected in line
    assert not (tmp_path / "walk.json").exists()


def test_an_unknown_format_is_refused(command, no_work, tmp_path, capsys):
    line = refused(capsys, *command, "--out", tmp_path / "walk.json", "--format", "fbx")
    assert "--format" in line and "'fbx'" in line and "trc" in line


def test_c3d_without_its_library_says_what_to_type(command, no_work, tmp_path, capsys, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ezc3d" else found(name))
    line = refused(capsys, *command, "--out", tmp_path / "a.json", tmp_path / "walk.c3d")
    assert "walk.c3d: C3D files need the Python package ezc3d: pip install ezc3d" in line


@pytest.mark.parametrize(
    ("option", "value"),
    [("--fill", "0"), ("--fill", "x"), ("--smooth", "-1"), ("--smooth", "nan"), ("--min-track", "inf")],
)
def test_numbers_that_make_no_sense_are_refused(command, no_work, option, value, tmp_path, capsys):
    line = refused(capsys, *command, "--out", tmp_path / "a.json", f"{option}={value}")
    assert option in line and f"'{value}', expected a number above 0" in line


def test_a_cutoff_above_half_the_rate_is_refused_before_any_work(command, tmp_path, capsys):
    line = refused(capsys, *command, "--out", tmp_path / "a.json", "--smooth", "5")
    assert line == "error: --smooth 5: expected less than 5 Hz at 10 frames per second"


def test_more_frames_than_c3d_holds_are_refused_before_any_work(command, tmp_path, capsys, monkeypatch):
    pytest.importorskip("ezc3d")
    monkeypatch.setattr("voxelpose_core.frame_sets.ImageFrameSets.__len__", lambda _: 65536)
    line = refused(capsys, *command, "--out", tmp_path / "a.c3d")
    assert "a.c3d: 65536 frames, but a .c3d file holds at most 65535" in line


def test_smoothing_and_filling_are_stated_in_the_file(command, tmp_path):
    out = tmp_path / "a.json"
    assert run(*command, "--out", out, "--fill", "0.3", "--smooth", "3", "--min-track", "0.5") == 0
    assert json.loads(out.read_text())["processing"] == {"min_track_s": 0.5, "fill_s": 0.3, "smooth_hz": 3.0}


def test_short_tracks_are_left_out_and_told(command, tmp_path, capsys):
    assert run(*command, "--out", tmp_path / "a.trc", tmp_path / "a.json", "--min-track", "2") == 0
    out, err = capsys.readouterr()
    assert "written       " + str(tmp_path / "a.json") in out
    assert "warning: 1 track shorter than 2 s left out\n" in err
    assert f"warning: {tmp_path / 'a.trc'}: not written, as there is no person with a track id\n" in err


def test_a_file_that_fails_late_costs_neither_the_others_nor_the_report(
    command, tmp_path, capsys, monkeypatch
):
    """As on a disk that fills up while the recording is estimated."""
    import voxelpose_core.skeleton_files.csv_file as csv_file

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(csv_file.csv, "writer", full)
    files = [tmp_path / f"a.{name}" for name in ("csv", "json")]
    assert run(*command, "--out", *files, "--picture", tmp_path / "a.png") == 2
    out, err = capsys.readouterr()
    assert f"written       {files[1]}, {tmp_path / 'a.png'}\n" in out and "reprojection" in out
    assert (tmp_path / "a.png").is_file() and files[1].is_file()
    assert err.strip() == f"error: {files[0]}: cannot be written (No space left on device)"


@pytest.fixture
def skeletons(tmp_path):
    """skeletons.json of two people who are seen for a second."""
    path = tmp_path / "skeletons.json"
    write_skeletons([path], recording({0: walk(50), 3: walk(50, seed=1)}))
    return path


def test_convert_writes_other_formats(skeletons, tmp_path, capsys):
    assert run("convert", skeletons, "--out", tmp_path / "a.trc", tmp_path / "a.json", "--smooth", "6") == 0
    out, err = capsys.readouterr()
    files = [tmp_path / name for name in ("a_P0.trc", "a_P3.trc", "a.json")]
    assert out == f"written       {', '.join(map(str, files))}\n" and err == ""
    assert json.loads(files[2].read_text())["processing"] == {"smooth_hz": 6.0}
    assert "\t50\t17\tm\t" in files[0].read_text()


def test_convert_says_that_joints_are_smoothed_already(skeletons, tmp_path, capsys):
    once = tmp_path / "once.json"
    assert run("convert", skeletons, "--out", once, "--smooth", "6", "--fill", "0.1") == 0
    assert run("convert", once, "--out", tmp_path / "twice.csv", "--smooth", "6") == 0
    assert capsys.readouterr().err == (
        f"warning: {once}: joints are smoothed with 6 Hz already, now once more\n"
    )


def test_convert_refuses_what_it_cannot_do(skeletons, tmp_path, capsys):
    before = skeletons.read_text()
    assert "is the input as well" in refused(capsys, "convert", skeletons, "--out", skeletons)
    assert "'.fbx' is unknown" in refused(capsys, "convert", skeletons, "--out", tmp_path / "a.fbx")
    line = refused(capsys, "convert", skeletons, "--out", tmp_path / "a.csv", "--smooth", "25")
    assert line == "error: --smooth 25: expected less than 25 Hz at 50 frames per second"
    absent = tmp_path / "absent.json"
    assert f"{absent}: cannot be read" in refused(capsys, "convert", absent, "--out", tmp_path / "a.csv")
    assert skeletons.read_text() == before and not (tmp_path / "a.csv").exists()


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_progress_bar_has_the_rate_and_the_time_left(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert list(progress_bar([1, 2, 3])) == [1, 2, 3]
    last = terminal.getvalue().strip().split("\r")[-1]
    assert last.startswith("100 % |") and "3 of 3 frames" in last
    assert "frames/s" in last and last.endswith("00:00 left")


@pytest.mark.parametrize(
    ("columns", "frames", "expected"),
    [
        (100, [1, 2, 3], r"100 % \|█+\| 3 of 3 frames, +[\d.]+ frames/s, 00:00 left"),
        (44, [1, 2, 3], r"100 %, +[\d.]+ frames/s, 00:00 left"),
        (100, iter([1, 2, 3]), r"3 frames, +[\d.]+ frames/s, 00:00 so far"),
    ],
)
def test_the_progress_bar_fits_the_terminal(monkeypatch, columns, frames, expected):
    screen, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with os.fdopen(terminal, "w", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        assert list(progress_bar(frames)) == [1, 2, 3]
        print("end", file=stream, flush=True)
        shown = ""
        while "end" not in shown:
            shown += os.read(screen, 100_000).decode()
    os.close(screen)
    *lines, _ = (line.strip() for line in shown.split("\r") if line.strip())
    assert re.fullmatch(expected, lines[-1]), lines
    assert max(map(len, lines)) <= columns


def test_the_progress_bar_is_quiet_without_a_terminal(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    assert list(progress_bar([1, 2, 3])) == [1, 2, 3]
    assert stream.getvalue() == ""
