"""--start, --end and --every: the chosen frame sets are those of the whole recording, with their stamps."""

import json
import warnings

import cv2
import numpy as np
import pytest
from test_cli import FakeEstimator, fake, keypoints_file, refused, rig_file, run, videos  # noqa: F401
from test_time_offsets import FPS, rig, walk

from voxelpose_core.errors import InputError
from voxelpose_core.frame_choice import FrameChoice
from voxelpose_core.frame_sets import AlignedFrameSets, KeypointFrameSets
from voxelpose_core.sources import open_image_folders, open_videos
from voxelpose_core.video_times import read_images


def test_a_choice_goes_by_stamps():
    stamps = [i / 60 for i in range(600)]
    assert FrameChoice().of(stamps) == list(range(600))
    assert FrameChoice(1.0, 2.0).of(stamps) == list(range(60, 120))
    assert FrameChoice(1.0, 2.0, 25).of(stamps) == [60, 85, 110]
    assert FrameChoice(end_s=1 / 60).of(stamps) == [0]
    assert FrameChoice(9.98).of(stamps) == [599]
    assert FrameChoice(2.0, 9.0).of([]) == []


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (FrameChoice(10.0), "--start 10: no frame lies there, expected times from 0 to 9.98333 s"),
        (FrameChoice(0.001, 0.002), "--start 0.001 --end 0.002: no frame lies there"),
        (FrameChoice(3.0, 3.0), "--start 3 --end 3: expected an end after the start"),
    ],
)
def test_a_choice_of_nothing_is_refused(choice, expected):
    with pytest.raises(InputError, match=expected.replace(".", r"\.")):
        choice.of([i / 60 for i in range(600)])


def test_videos_and_folders_skip_to_the_same_images(tmp_path):
    """What is skipped is not decoded, but the frames are those that a whole pass finds."""
    for name in "ab":
        (tmp_path / name).mkdir()
        writer = cv2.VideoWriter(
            str(tmp_path / f"{name}.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 10.0, (64, 48)
        )
        for index in range(30):
            image = np.full((48, 64, 3), 8 * index, np.uint8)
            cv2.imwrite(str(tmp_path / name / f"{index:03}.png"), image)
            writer.write(image)
        writer.release()
    clips = open_videos([tmp_path / "a.mp4", tmp_path / "b.mp4"])
    folders = open_image_folders([tmp_path / "a", tmp_path / "b"], 10.0)
    for source in (clips, folders):
        whole = list(source)
        chosen = list(source.at([4, 5, 13, 29]))
        assert [(index, stamp) for index, stamp, _ in chosen] == [(4, 0.4), (5, 0.5), (13, 1.3), (29, 2.9)]
        for index, _, images in chosen:
            for image, expected in zip(images, whole[index][2]):
                np.testing.assert_array_equal(image, expected)


def test_frames_that_cannot_be_read_are_told_though_skipped(tmp_path):
    path = tmp_path / "a.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10.0, (64, 48))
    for index in range(10):
        writer.write(np.full((48, 64, 3), 20 * index, np.uint8))
    writer.release()
    with pytest.warns(UserWarning, match="a.mp4': 2 frames could not be read"):
        assert list(read_images(path, [11])) == [None]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert all(image is not None for image in read_images(path, [0, 9]))


def test_keypoints_keep_frame_numbers_and_stamps():
    people = walk(rig(0.0, 0.0))
    source = KeypointFrameSets(people, rig(0.0, 0.0), FPS)
    whole = {frame_set.frame: frame_set for frame_set in source}
    source.choose(FrameChoice(start_s=10 / FPS, end_s=20 / FPS, every=3))
    assert len(source) == 4 and source.fps == FPS / 3
    chosen = list(source)
    assert [frame_set.frame for frame_set in chosen] == [10, 13, 16, 19]
    assert all(frame_set.stamp == whole[frame_set.frame].stamp for frame_set in chosen)
    assert [frame for frame, _ in source.times()] == [10, 13, 16, 19]


def test_time_offsets_are_bridged_from_all_frames_whatever_is_chosen():
    """A camera that is half a frame late is interpolated between neighbours, not between chosen frames."""
    offsets = (0.0, 500.0 / FPS)
    whole = {f.frame: f for f in AlignedFrameSets(KeypointFrameSets(walk(rig(*offsets)), rig(*offsets), FPS))}
    source = KeypointFrameSets(walk(rig(*offsets)), rig(*offsets), FPS)
    source.choose(FrameChoice(start_s=5 / FPS, every=4))
    chosen = list(AlignedFrameSets(source))
    assert [f.frame for f in chosen][:3] == [5, 9, 13]
    for frame_set in chosen:
        for people, expected in zip(frame_set.keypoints, whole[frame_set.frame].keypoints):
            np.testing.assert_array_equal(people, expected)


def test_estimate_takes_a_part(fake, rig_file, videos, keypoints_file, tmp_path, capsys):  # noqa: F811
    out = tmp_path / "s.json"
    command = ("estimate", "--rig", rig_file, "--out", out)
    assert run(*command, "--videos", *videos, "--start", "0.1", "--end", "0.5", "--every", "2") == 0
    document = json.loads(out.read_text())
    assert [(f["frame"], f["stamp"]) for f in document["frames"]] == [(1, 0.1), (3, 0.3)]
    assert document["rate_hz"] == 5.0
    grey = [views[0][120, 160, 0] for views in FakeEstimator.made[-1].inputs]
    assert np.allclose(grey, [50, 90], atol=6)  # of frames 1 and 3
    assert run(*command, "--keypoints", keypoints_file, "--fps", "10", "--start", "30.5") == 0
    assert [f["frame"] for f in json.loads(out.read_text())["frames"]] == [310]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--start", "7"), "--start 7: no frame lies there, expected times from 0 to 0.5 s"),
        (("--start", "0.4", "--end", "0.3"), "--start 0.4 --end 0.3: expected an end after the start"),
        (("--start", "-1"), "--start: '-1', expected seconds, from 0 on"),
        (("--end", "soon"), "--end: 'soon', expected seconds, from 0 on"),
        (("--every", "0"), "--every: '0', expected a whole number of at least 1"),
        (("--every", "1.5"), "--every: '1.5', expected a whole number of at least 1"),
        (
            ("--every", "4", "--smooth", "1.3"),
            "--smooth 1.3: expected less than 1.25 Hz at 2.5 frames per second",
        ),
    ],
)
def test_parts_that_are_none_are_refused(options, expected, fake, rig_file, videos, tmp_path, capsys):  # noqa: F811
    command = ("estimate", "--rig", rig_file, "--out", tmp_path / "s.json", "--videos", *videos)
    assert expected in refused(capsys, *command, *options)
    assert FakeEstimator.made == []
