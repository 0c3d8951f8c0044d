"""Ctrl-C and errors in the middle of `voxelpose estimate`: what was estimated before is written."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import cv2
import numpy as np
import pytest
from test_cli import SIZE, FakeEstimator, fake, rig_file, run, videos  # noqa: F401  (fixtures)

from voxelpose_core.command import run_command
from voxelpose_core.command_line.interruption import Interruption
from voxelpose_core.drawing.files import VideoWriter
from voxelpose_core.drawing.run_pictures import _Middles
from voxelpose_core.errors import InputError
from voxelpose_core.geometry.rig import load_rig


@pytest.fixture
def outputs(tmp_path):
    return {name: tmp_path / f"walk.{name}" for name in ("json", "mp4", "png", "html")}


@pytest.fixture
def command(fake, rig_file, videos, outputs):  # noqa: F811
    """Estimates six frames."""
    return ["estimate", "--rig", rig_file, "--videos", *videos, "--out", outputs["json"]]


@pytest.fixture
def command_with_all(command, outputs):
    """The same with every kind of output."""
    names = {"--video-out": "mp4", "--picture": "png", "--report": "html"}
    return [*command, *(word for option, name in names.items() for word in (option, outputs[name]))]


def at_frame(monkeypatch, number, act):
    """Call `act` when the estimator gets its frame set of this number, from 1 on."""
    answer = FakeEstimator._answer

    def acting(self, views):
        if len(self.inputs) + 1 == number:
            act()
        return answer(self, views)

    monkeypatch.setattr(FakeEstimator, "_answer", acting)


def interrupt(times=1):
    for _ in range(times):
        signal.raise_signal(signal.SIGINT)


def fail_with(error):
    def fail(*_):
        raise error

    return fail


def frames_of(path):
    return [frame["frame"] for frame in json.loads(path.read_text())["frames"]]


def video_length(path):
    capture, length = cv2.VideoCapture(str(path)), 0
    while capture.read()[0]:
        length += 1
    return length


def test_the_first_ctrl_c_writes_what_there_is(command_with_all, outputs, monkeypatch, capsys):
    before = signal.getsignal(signal.SIGINT)
    at_frame(monkeypatch, 4, interrupt)
    assert run(*command_with_all) == 130
    out, err = capsys.readouterr()
    words = "interrupted after 4 of 6 frame sets"
    assert err == f"warning: {words}: these are written now; Ctrl-C again ends at once\n"
    assert f"written       {outputs['json']}, {outputs['mp4']}, {outputs['png']}\n" in out
    assert frames_of(outputs["json"]) == [0, 1, 2, 3] and video_length(outputs["mp4"]) == 4
    assert cv2.imread(str(outputs["png"])) is not None
    report = outputs["html"].read_text()
    assert "⚠ Only a part of the recording" in report and f"<li>{words}</li>" in report
    assert signal.getsignal(signal.SIGINT) is before


def test_the_second_ctrl_c_ends_at_once(command, outputs, monkeypatch, capsys):
    at_frame(monkeypatch, 4, lambda: interrupt(2))
    assert run(*command) == 130
    assert capsys.readouterr().err == "interrupted\n"
    assert not outputs["json"].exists()


def test_ctrl_c_before_the_first_frame_set(command, outputs, monkeypatch, capsys):
    monkeypatch.setattr(FakeEstimator, "__init__", lambda *_, **__: interrupt())
    assert run(*command) == 130
    assert capsys.readouterr().err == "interrupted\n"
    assert not any(path.exists() for path in outputs.values())


def test_ctrl_c_at_the_last_frame_set_is_no_partial_run(command, outputs, monkeypatch, capsys):
    at_frame(monkeypatch, 6, interrupt)
    assert run(*command) == 0
    assert capsys.readouterr().err == "" and len(frames_of(outputs["json"])) == 6


def test_ctrl_c_stays_ignored_where_it_is_and_in_threads():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Interruption() as interruption:
        interrupt(2)
    assert not interruption.requested
    entered = []
    thread = threading.Thread(target=lambda: entered.append(Interruption().__enter__()))
    thread.start()
    thread.join()
    assert entered and signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_commands_say_that_they_were_interrupted(capsys):
    assert run_command(fail_with(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_bad_input_in_the_middle_costs_nothing_before_it(command_with_all, outputs, monkeypatch, capsys):
    at_frame(monkeypatch, 4, fail_with(InputError("camera 'cam1': image is 1x1")))
    assert run(*command_with_all) == 2
    err = capsys.readouterr().err
    stopped = "stopped after 3 of 6 frame sets, which are written"
    assert err == f"error: frame 3: camera 'cam1': image is 1x1 ({stopped})\n"
    assert frames_of(outputs["json"]) == [0, 1, 2] and video_length(outputs["mp4"]) == 3
    assert "<li>stopped after 3 of 6 frame sets: frame 3: camera" in outputs["html"].read_text()


def test_bad_input_in_the_first_frame_writes_nothing(command, outputs, monkeypatch, capsys):
    at_frame(monkeypatch, 1, fail_with(InputError("camera 'cam1': image is 1x1")))
    assert run(*command) == 2
    assert capsys.readouterr().err == "error: frame 0: camera 'cam1': image is 1x1\n"
    assert not outputs["json"].exists()


def test_an_error_of_the_program_costs_nothing_before_it(command, outputs, monkeypatch, capsys):
    at_frame(monkeypatch, 4, fail_with(RuntimeError("can't allocate memory")))
    assert run(*command) == 70
    warning, error = capsys.readouterr().err.splitlines()
    assert warning == "warning: stopped after 3 of 6 frame sets, which are written"
    assert error.startswith("error: not enough memory")
    assert len(frames_of(outputs["json"])) == 3


@pytest.mark.parametrize("late", [False, True], ids=["while writing", "at the end"])
def test_a_video_that_fails_costs_nothing_else(command_with_all, outputs, late, monkeypatch, capsys):
    failed = fail_with(InputError(f"{outputs['mp4']}: is the disk full?"))
    monkeypatch.setattr(VideoWriter, "close" if late else "write", failed)
    assert run(*command_with_all) == 2
    out, err = capsys.readouterr()
    assert err == f"error: {outputs['mp4']}: is the disk full?\n"
    assert f"written       {outputs['json']}, {outputs['png']}\n" in out
    assert len(frames_of(outputs["json"])) == 6
    assert all(outputs[name].exists() for name in ("png", "html"))


def test_a_broken_image_costs_that_frame_of_that_camera(fake, rig_file, tmp_path, capsys):  # noqa: F811
    folders = [tmp_path / f"cam{index}" for index in range(3)]
    for folder in folders:
        folder.mkdir()
        for number in range(3):
            cv2.imwrite(str(folder / f"{number:04}.png"), np.full((*SIZE[::-1], 3), 90, np.uint8))
    (folders[1] / "0002.png").write_bytes(b"broken")
    out = tmp_path / "s.json"
    assert run("estimate", "--rig", rig_file, "--images", *folders, "--out", out) == 2
    lost = "1 frame could not be read (number 2; the first is 0002.png): that camera has no frame there"
    assert capsys.readouterr().err == f"error: image folder '{folders[1]}': {lost}\n"
    assert frames_of(out) == [0, 1, 2]
    assert [view is None for view in FakeEstimator.made[0].inputs[2]] == [False, True, False]


@pytest.mark.parametrize(("kept", "code"), [(0.5, 2), (0.93, 0)])
def test_a_video_that_breaks_off(kept, code, fake, rig_file, tmp_path, capsys):  # noqa: F811
    """A frame or two less than the header says is how some recorders end; much less is damage."""
    paths = [tmp_path / f"cam{index}.avi" for index in range(3)]
    pictures = np.random.default_rng(0).integers(0, 255, (30, *SIZE[::-1], 3), np.uint8)
    for path in paths:
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, SIZE)
        for picture in pictures:
            writer.write(picture)
        writer.release()
    data = paths[1].read_bytes()
    paths[1].write_bytes(data[: int(kept * len(data))])
    out = tmp_path / "s.json"
    assert run("estimate", "--rig", rig_file, "--videos", *paths, "--out", out) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{'error' if code else 'warning'}: video '{paths[1]}': ") and "to 29" in line, (
        line
    )
    assert len(frames_of(out)) == 30


@pytest.mark.parametrize("count", [1, 2, 3, 10, 57, 300, 1000])
def test_the_picture_of_a_shorter_recording_is_near_its_middle(count):
    middles, painted = _Middles(1000), 0
    for index in range(count):
        if middles.wants(index):
            middles.keep(index, np.array(index))
            painted += 1
    middle = int(middles.of(count))
    assert abs(middle - count // 2) <= 0.1 * count and (count < 1000 or middle == 500)
    assert painted <= 20 and len(middles._pictures) <= 6


def test_ctrl_c_in_a_real_process(rig_file, tmp_path):  # noqa: F811
    """As from a terminal, while the real estimator works."""
    pixels = [camera.project(np.tile([0.0, 0.0, 900.0], (17, 1)))[0] for camera in load_rig(rig_file).cameras]
    people = [{"pred": [[float(x), float(y), 0.9] for x, y in own]} for own in pixels]
    content = {f"{camera}_{frame}": [people[camera]] for camera in range(3) for frame in range(600)}
    (tmp_path / "keypoints.json").write_text(json.dumps(content))
    out, video = tmp_path / "s.json", tmp_path / "s.mp4"
    arguments = ["--rig", rig_file, "--keypoints", tmp_path / "keypoints.json", "--out", out]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.Popen(
        [sys.executable, "-m", "voxelpose_core", "estimate", *arguments, "--video-out", video],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not video.exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 130, err
    interrupted = [line for line in err.splitlines() if line.startswith("warning: interrupted after ")]
    assert len(interrupted) == 1 and "Traceback" not in err, err
    assert 1 <= len(frames_of(out)) < 600 and video_length(video) == len(frames_of(out))
