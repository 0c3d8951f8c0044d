"""Cameras whose clocks differ: frame sets at common times, with 2D detections between frames."""

import json

import numpy as np
import pytest

from voxelpose_core.errors import InputError
from voxelpose_core.frame_sets import AlignedFrameSets, CameraFrame, KeypointFrameSets
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.time_offsets import interpolate, offsets_text, parse_offsets

FPS = 10.0


def person(x, y=100.0, score=0.8):
    """(17, 3) somebody 170 px tall, whose joints lie at x and below y."""
    return np.column_stack([np.full(17, x), y + 10.0 * np.arange(17), np.full(17, score)])


def rig(*offsets_ms):
    K = np.array([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]])
    cameras = [
        Camera(f"cam{i}", (640, 480), K, np.zeros(5), np.eye(3), [1000.0 * i, 0, 0])
        for i in range(len(offsets_ms))
    ]
    return Rig(tuple(cameras)).with_time_offsets(offsets_ms)


def walk(rig, speed=200.0, frames=20, missing=()):
    """Per frame the 2D detections of a person at x = speed times time, on each camera's own clock."""
    return {
        frame: [
            None
            if (camera, frame) in missing
            else person(speed * (frame / FPS + offset / 1e3))[None].astype(np.float32)
            for camera, offset in enumerate(rig.time_offsets_ms)
        ]
        for frame in range(frames)
    }


def places(frame_set):
    """x of the one person in each camera; None where there is no frame."""
    return [None if view is None else float(view[0, 0, 0]) for view in frame_set.keypoints]


def test_offsets_are_read_and_written():
    assert parse_offsets("-33.3,0,12") == (-33.3, 0.0, 12.0)
    assert parse_offsets(offsets_text([0.0, -33.26, -0.001])) == (0.0, -33.3, 0.0)
    for text in ("", "1,,2", "1;2", "1,nan", "a"):
        with pytest.raises(InputError, match="expected one offset in ms per camera"):
            parse_offsets(text)


def test_people_move_in_straight_lines():
    before = np.array([person(100.0), person(300.0, score=0.4)])
    after = np.array([person(290.0, score=0.6), person(110.0)])
    for share in (0.25, 0.75):
        found = interpolate(before, after, share)
        found = found[np.argsort(found[:, 0, 0])]
        np.testing.assert_allclose(found[:, 0, 0], [100 + 10 * share, 300 - 10 * share])
        np.testing.assert_allclose(found[:, 0, 2], [0.8, 0.4 + 0.2 * share])


def test_whoever_is_in_one_frame_is_there_half_of_the_time():
    before, nobody = person(100.0)[None], np.zeros((0, 17, 3))
    assert len(interpolate(before, nobody, 0.4)) == 1 and len(interpolate(before, nobody, 0.6)) == 0
    # Somebody else, elsewhere, is nobody's next frame.
    np.testing.assert_array_equal(interpolate(before, person(400.0)[None], 0.4), before)


def test_a_joint_of_one_frame_moves_with_the_body():
    before, after = person(100.0)[None], person(120.0)[None]
    after[0, 5] = 0.0
    early, late = interpolate(before, after, 0.25)[0], interpolate(before, after, 0.75)[0]
    assert early[5].tolist() == pytest.approx([105.0, 150.0, 0.8])
    assert late[5].tolist() == [0.0, 0.0, 0.0]
    assert (late[:5, 0] == 115.0).all()


def test_inputs_are_left_as_they_are():
    before, after = person(100.0)[None], person(120.0)[None]
    interpolate(before, after, 0.3)
    assert (before[..., 0] == 100.0).all() and (after[..., 0] == 120.0).all()


@pytest.mark.parametrize("offsets", [(0.0, 30.0, -170.0), (0.0, 300.0, -200.0), (-40.0, 0.0, 64.0)])
def test_all_cameras_are_brought_to_the_first_ones_times(offsets):
    source = KeypointFrameSets(walk(rig(*offsets)), rig(*offsets), FPS)
    frame_sets = list(AlignedFrameSets(source))
    assert [frame_set.frame for frame_set in frame_sets] == list(range(20))
    seen = np.zeros(3, int)
    for frame_set in frame_sets:
        assert frame_set.stamp == pytest.approx(frame_set.frame / FPS + offsets[0] / 1e3)
        assert frame_set.images is None
        for camera, place in enumerate(places(frame_set)):
            own = frame_set.stamp - offsets[camera] / 1e3
            if place is None:
                assert own < -0.5 / FPS or own > 19.5 / FPS
                continue
            seen[camera] += 1
            # At the ends the last frame stands for half a period.
            assert place == pytest.approx(200.0 * np.clip(own, 0, 19 / FPS) + 0.2 * offsets[camera], abs=0.01)
    assert seen[0] == 20 and (seen >= 16).all()


def test_offsets_of_whole_frames_take_the_frames_as_they_are():
    frames = walk(rig(0.0, 200.0))
    frame_sets = list(AlignedFrameSets(KeypointFrameSets(frames, rig(0.0, 200.0), FPS)))
    assert frame_sets[0].keypoints[1] is None and frame_sets[1].keypoints[1] is None
    for frame in range(2, 20):
        assert frame_sets[frame].keypoints[1] is frames[frame - 2][1]


def test_missing_frames_are_not_filled():
    offsets = (0.0, 30.0)
    frames = walk(rig(*offsets), missing={(1, 4), (1, 5), (1, 6)})
    frame_sets = list(AlignedFrameSets(KeypointFrameSets(frames, rig(*offsets), FPS)))
    given = [frame_set.keypoints[1] is not None for frame_set in frame_sets]
    # cam1 is 0.3 periods late: frame 4 lies 0.7 after its frame 3, frame 7 0.3 before its frame 7.
    assert given == [frame not in (4, 5, 6) for frame in range(20)]


def test_no_common_time_names_the_camera():
    with pytest.raises(
        InputError, match="camera 'cam1': with a time offset of 9000 ms its 1.9 s have no time"
    ):
        AlignedFrameSets(KeypointFrameSets(walk(rig(0.0, 9000.0)), rig(0.0, 9000.0), FPS))


class Images:
    """Frame sets of images that hold their camera and frame."""

    option, paths, fps, period_s, start_ns = "--videos", (), FPS, 1.0 / FPS, 0

    def __init__(self, rig, frames=8):
        self.rig, self.frames = rig, frames
        self.read = [0] * len(rig)

    def __len__(self):
        return self.frames

    def times(self):
        return ((frame, frame / FPS) for frame in range(self.frames))

    def span(self, camera):
        return 0.0, (self.frames - 1) / FPS

    def frames_of(self, camera):
        for frame in range(self.frames):
            self.read[camera] += 1
            yield CameraFrame(frame / FPS, np.array([[camera, frame]], np.uint8))


def test_each_needed_image_is_detected_once_and_the_nearest_is_shown():
    source, detected = Images(rig(0.0, -130.0)), []

    def detect(images):
        detected.extend(tuple(image[0]) for image in images if image is not None)
        return [None if image is None else person(10.0 * image[0, 1])[None] for image in images]

    frame_sets = list(AlignedFrameSets(source, detect))
    assert len(detected) == len(set(detected)) and (1, 0) not in detected
    for frame_set in frame_sets[:6]:
        # The second camera's time is 1.3 frames later.
        assert [tuple(image[0]) for image in frame_set.images] == [
            (0, frame_set.frame),
            (1, frame_set.frame + 1),
        ]
        assert places(frame_set) == pytest.approx([10.0 * frame_set.frame, 10.0 * (frame_set.frame + 1.3)])
    assert frame_sets[7].images[1] is None and frame_sets[7].keypoints[1] is None


def test_without_a_detector_images_come_together_as_whole_frames():
    frame_sets = list(AlignedFrameSets(Images(rig(0.0, -130.0))))
    assert frame_sets[2].keypoints is None
    assert [tuple(image[0]) for image in frame_sets[2].images] == [(0, 2), (1, 3)]


def test_memory_does_not_grow_with_the_offset():
    source = Images(rig(0.0, 500.0))
    next(iter(AlignedFrameSets(source)))
    assert source.read == [2, 1]


def test_reprojection_of_a_walk_is_mended_by_the_offsets(tmp_path, capsys):
    """`estimate` on 2D detections of cameras whose clocks differ by fractions of a frame."""
    from voxelpose_core import cli
    from voxelpose_core.generated_motion import walking_pose
    from voxelpose_core.geometry.rig import load_rig, save_rig
    from voxelpose_core.resources import find_resource

    shelf = load_rig(find_resource("config/rigs/shelf.yaml"))
    offsets = (0.0, 130.0, -90.0, 55.0, -20.0)
    content = {}
    for frame in range(8):
        for camera, offset in zip(range(5), offsets):
            t = frame / FPS + offset / 1e3
            joints = walking_pose(1750.0, 6.0 * t, np.array([1200.0 * t - 400, 300.0, -100.0]), 0.0)
            pixels = shelf.cameras[camera].project(joints)[0]
            content[f"{camera}_{frame}"] = [{"pred": [[*xy, 0.9] for xy in pixels.tolist()]}]
    (tmp_path / "kp.json").write_text(json.dumps(content))
    for name, given in (("plain", [0.0] * 5), ("timed", offsets), ("wrong", [-o for o in offsets])):
        save_rig(shelf.with_time_offsets(given), tmp_path / f"{name}.yaml")

    def error_px(name, *more):
        arguments = ["--rig", tmp_path / name, "--keypoints", tmp_path / "kp.json", "--fps", FPS]
        assert cli.main(list(map(str, ["estimate", *arguments, "--out", tmp_path / "out.json", *more]))) == 0
        out = capsys.readouterr().out
        assert ("offsets" in out) == (name != "plain.yaml")
        return float(out.split("reprojection")[1].split()[0])

    without = error_px("plain.yaml")
    right = error_px("timed.yaml")
    assert right < without / 3
    assert error_px("wrong.yaml", "--offsets-ms", ",".join(map(str, offsets))) == right
    out = json.loads((tmp_path / "out.json").read_text())
    assert [frame["frame"] for frame in out["frames"]] == list(range(8))


def test_bad_offsets_are_one_line(tmp_path, capsys):
    from voxelpose_core import cli
    from voxelpose_core.resources import find_resource

    (tmp_path / "kp.json").write_text('{"0_0": []}')
    given = ["--rig", find_resource("config/rigs/shelf.yaml"), "--keypoints", tmp_path / "kp.json"]
    for text, words in (
        ("-5,0", "--offsets-ms: 2 time offsets given, expected one for each of the 5 cameras"),
        ("0,1,x,0,0", "'0,1,x,0,0', expected one offset in ms per camera"),
        ("0,0,0,0,-1e9", "camera 'camera4': time_offset_ms is -1e+09, expected milliseconds from"),
    ):
        arguments = ["estimate", *given, "--out", tmp_path / "out.json", "--offsets-ms", text]
        try:
            code = cli.main(list(map(str, arguments)))
        except SystemExit as end:
            code = end.code
        err = capsys.readouterr().err
        assert code == 2 and words in err and err.count("\n") == 1
