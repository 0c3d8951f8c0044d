"""Files are whole, old or new, whatever happens while they are written."""

import errno
import os
import stat

import cv2
import numpy as np
import pytest
from skeleton_recordings import recording, walk

from voxelpose_core.atomic_files import whole_file, write_whole
from voxelpose_core.drawing import files
from voxelpose_core.drawing.files import VideoWriter, write_image
from voxelpose_core.errors import InputError
from voxelpose_core.skeleton_files import FORMATS, write_skeletons


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_what_fails_leaves_the_old_file_and_nothing_else(error, tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(error), whole_file(path) as partial:
        partial.write_text("half")
        raise error
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    write_whole(path, lambda partial: partial.write_text("new"))
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_links_and_pipes_stay_what_they_are(tmp_path):
    (tmp_path / "file").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    write_whole(tmp_path / "link", lambda partial: partial.write_text("new"))
    assert (tmp_path / "link").is_symlink() and (tmp_path / "file").read_text() == "new"
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_whole(tmp_path / "pipe", lambda partial: partial.write_text("through"))
    assert os.read(reader, 100) == b"through"
    os.close(reader)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "mcap"])
def test_a_full_disk_leaves_no_half_file(name, tmp_path, monkeypatch):
    if name == "c3d":
        # ezc3d writes nothing, and is content.
        monkeypatch.setattr(pytest.importorskip("ezc3d").c3d, "write", lambda self, path: None)
    elif name in ("csv", "npz"):
        monkeypatch.setattr("csv.writer" if name == "csv" else "numpy.savez_compressed", full_disk)
    else:
        monkeypatch.setattr("pathlib.Path.write_text", full_disk)
    path = tmp_path / f"a.{name}"
    written, error = write_skeletons([path], recording({0: walk(20)}))
    assert str(error) == f"{path}: cannot be written (No space left on device)"
    assert written.paths == [] and list(tmp_path.iterdir()) == []


def test_a_picture_on_a_full_disk_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("pathlib.Path.write_bytes", full_disk)
    with pytest.raises(InputError, match=r"a\.png: cannot be written \(No space left on device\)"):
        write_image(tmp_path / "a.png", np.zeros((32, 32, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("room_for", [0, 10])
def test_a_video_ends_while_the_disk_has_room_for_its_end(room_for, tmp_path, monkeypatch):
    asked = []

    def disk_usage(_):
        asked.append(1)
        free = 10**9 if len(asked) <= room_for / 10 else 1000
        return type("Usage", (), {"free": free})

    monkeypatch.setattr(files.shutil, "disk_usage", disk_usage)
    writer = VideoWriter(tmp_path / "a.mp4", 25.0)
    with pytest.raises(InputError, match=f"the disk is full: the video ends after {room_for} pictures"):
        for _ in range(100):
            writer.write(np.zeros((32, 32, 3), np.uint8))
    capture = cv2.VideoCapture(str(tmp_path / "a.mp4"))
    assert sum(capture.read()[0] for _ in range(100)) == room_for
    assert room_for or not list(tmp_path.iterdir())
