"""Videos with a variable frame rate, by the time stamps of their containers."""

import json
import struct
import warnings

import cv2
import numpy as np
import pytest
from test_cli import FakeEstimator, fake, rig_file, run  # noqa: F401

from voxelpose_core.frame_choice import FrameChoice
from voxelpose_core.frame_sets import AlignedFrameSets, ImageFrameSets
from voxelpose_core.geometry.rig import load_rig
from voxelpose_core.sources import Videos, open_videos
from voxelpose_core.video_times import frame_times, nearest_frames

# Per frame the multiple of 1/25 s that it lasts: a camera that halves its rate for a while.
SLOWING = [1] * 10 + [2] * 10 + [1] * 10
SLOWING_TIMES = 0.04 * np.cumsum([0] + SLOWING[:-1])


def write_video(path, frames, rate=25.0):
    """Frames that show their number: a black or white stripe per binary digit."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), rate, (320, 240))
    for number in range(frames):
        digits = [255 * (number >> place & 1) for place in range(8)]
        row = np.repeat(np.array(digits, np.uint8), 40)
        writer.write(np.broadcast_to(row[None, :, None], (240, 320, 3)).copy())
    writer.release()
    return path


def number_in(image):
    """The frame number that an image shows; None for no image."""
    if image is None:
        return None
    return sum(1 << place for place in range(8) if image[120, 40 * place + 20, 1] > 127)


def boxes(data, start, end):
    while start < end:
        size, kind = struct.unpack(">I4s", data[start : start + 8])
        yield kind, start, size
        start += size


def give_durations(path, lasting):
    """Rewrite the table of an MP4 file that says how long each frame lasts, in periods."""
    data, above = bytearray(path.read_bytes()), []
    start, end = 0, len(data)
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stts"):
        below = {kind: (at, size) for kind, at, size in boxes(data, start, end)}
        if b"edts" in below:  # an edit list, which would cut the video at its former length
            data[below[b"edts"][0] + 4 : below[b"edts"][0] + 8] = b"free"
        at, size = below[name]
        above.append(at)
        start, end = at + 8, at + size
    (period,) = struct.unpack(">I", data[at + 20 : at + 24])
    entries = b"".join(struct.pack(">II", 1, period * periods) for periods in lasting)
    table = struct.pack(">I4sII", 16 + len(entries), b"stts", 0, len(lasting)) + entries
    data[at : at + size] = table
    for box in above[:-1]:
        (before,) = struct.unpack(">I", data[box : box + 4])
        data[box : box + 4] = struct.pack(">I", before + len(table) - size)
    path.write_bytes(data)
    return path


@pytest.fixture
def slowing(tmp_path):
    return give_durations(write_video(tmp_path / "slowing.mp4", 30), SLOWING)


@pytest.fixture
def steady(tmp_path):
    return write_video(tmp_path / "steady.mp4", 50)


def test_times_are_those_of_the_container(slowing, steady):
    fps = cv2.VideoCapture(str(slowing)).get(cv2.CAP_PROP_FPS)
    np.testing.assert_allclose(frame_times(slowing, fps), SLOWING_TIMES, atol=1e-6)
    assert frame_times(steady, 25.0) is None


def test_nearest_frames():
    times = np.array([0.0, 0.1, 0.2, 0.5])
    wanted = np.array([0.0, 0.04, 0.06, 0.1, 0.26, 0.35, 0.46, 0.56])
    assert nearest_frames(times, wanted).tolist() == [0, 0, 1, 1, -1, -1, 3, -1]
    assert nearest_frames(times[:1], np.array([0.0, 0.04])).tolist() == [0, -1]


def test_videos_of_a_constant_rate_go_by_it(steady, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        source = open_videos([steady, write_video(tmp_path / "b.mp4", 50)])
    assert isinstance(source, Videos)
    assert source.stamps == [index / 25.0 for index in range(50)]


def test_frames_meet_at_their_times(slowing, steady):
    """Mean rates differ by a quarter; what belongs together is as far from the start."""
    with pytest.warns(
        UserWarning, match=r"variable frame rate in 1 of 2 videos \('.*slowing.mp4'\): frames go by"
    ):
        source = open_videos([slowing, steady])
    assert source.fps == pytest.approx(25.0) and source.counts == [30, 50]
    frame_sets = list(source)
    np.testing.assert_allclose([stamp for _, stamp, _ in frame_sets], SLOWING_TIMES, atol=1e-6)
    for index, stamp, (first, second) in frame_sets:
        assert (number_in(first), number_in(second)) == (index, round(25 * stamp))
    chosen = list(source.at([3, 15, 29]))
    assert [index for index, _, _ in chosen] == [3, 15, 29]
    for index, _, images in chosen:
        for image, expected in zip(images, frame_sets[index][2]):
            np.testing.assert_array_equal(image, expected)


def test_the_first_camera_sets_the_times(slowing, steady):
    with pytest.warns(UserWarning, match="variable frame rate"):
        frame_sets = list(open_videos([steady, slowing]))
    assert len(frame_sets) == 40  # 1.6 s, which is where the other one ends
    for _, stamp, (_, second) in frame_sets:
        away = np.abs(SLOWING_TIMES - stamp).min()
        assert (second is None) == (away > 0.021)
        if away < 0.01:
            assert number_in(second) == np.abs(SLOWING_TIMES - stamp).argmin()


def test_time_offsets_go_on_top(slowing, steady, rig_file):  # noqa: F811
    """Frames of the second camera that were taken 40 ms earlier than they say."""
    rig = load_rig(rig_file, cameras=["cam0", "cam1"]).with_time_offsets([0.0, -40.0])
    with pytest.warns(UserWarning, match="variable frame rate"):
        source = ImageFrameSets(open_videos([slowing, steady]), rig, "--videos", [slowing, steady])
    for frame_set in AlignedFrameSets(source):
        assert number_in(frame_set.images[1]) in (None, round(25 * frame_set.stamp) + 1)


def test_estimate_has_the_stamps_of_the_container(fake, rig_file, slowing, steady, tmp_path, capsys):  # noqa: F811
    third = write_video(tmp_path / "third.mp4", 50)
    out = tmp_path / "s.json"
    videos = ("--videos", slowing, steady, third, "--in-order")
    command = ("estimate", "--rig", rig_file, *videos, "--out", out, tmp_path / "s.trc")
    assert run(*command, "--start", "0.4", "--end", "1.2") == 0
    frames = json.loads(out.read_text())["frames"]
    assert [frame["frame"] for frame in frames] == list(range(10, 20))
    np.testing.assert_allclose([frame["stamp"] for frame in frames], SLOWING_TIMES[10:20], atol=1e-6)
    assert "warning: variable frame rate in 1 of 3 videos" in capsys.readouterr().err
    assert run(*command) == 0
    err = capsys.readouterr().err
    assert len(json.loads(out.read_text())["frames"]) == 30
    assert "\n25\t25\t40\t17\tm\t" in (tmp_path / "s.trc").read_text()
    assert "resampled" not in err  # all stamps lie on rows of 25 Hz


def test_a_choice_goes_by_the_containers_times(slowing, steady, rig_file):  # noqa: F811
    rig = load_rig(rig_file, cameras=["cam0", "cam1"])
    with pytest.warns(UserWarning, match="variable frame rate"):
        source = ImageFrameSets(open_videos([slowing, steady]), rig, "--videos", [slowing, steady])
    source.choose(FrameChoice(start_s=0.8))
    assert [frame for frame, _ in source.times()] == list(range(15, 30))
    assert source.span(0) == (0.0, pytest.approx(SLOWING_TIMES[-1])) and source.period_s == pytest.approx(
        0.04
    )
