"""Synchronized input from videos, image folders and keypoint JSON, good and bad."""

import dataclasses
import json

import cv2
import numpy as np
import pytest

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.image_scale import is_scaled_copy, scaled_camera, scaled_points
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.keypoint_files.ours import read_keypoints_json
from voxelpose_core.sources import (
    fit_rig,
    open_image_folders,
    open_videos,
    restore_codec_crop,
)


def grey(value, size=(64, 48)):
    return np.full((size[1], size[0], 3), value, np.uint8)


def write_video(path, values, fps=30.0):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), fps, (64, 48))
    assert writer.isOpened()
    for value in values:
        writer.write(grey(value))
    writer.release()
    return path


def write_images(folder, names):
    folder.mkdir()
    for value, name in enumerate(names):
        cv2.imwrite(str(folder / name), grey(value * 10))
    return folder


def write_json(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def person(x=100.0, score=0.5, joints=17):
    return {"pred": [[x + j, 50.0, score] for j in range(joints)]}


def one_line(error):
    return "\n" not in str(error.value)


def test_videos_run_together(tmp_path):
    paths = [write_video(tmp_path / f"{c}.mp4", range(0, 200, 20)) for c in "ab"]
    source = open_videos(paths)
    assert len(source) == 10 and source.fps == pytest.approx(30.0)
    frame_sets = list(source)
    assert [index for index, _, _ in frame_sets] == list(range(10))
    assert frame_sets[3][1] == pytest.approx(0.1)
    for index, _, images in frame_sets:
        assert [image.shape for image in images] == [(48, 64, 3)] * 2
        assert abs(float(images[1].mean()) - 20 * index) < 4
    assert len(list(source)) == 10  # a second pass starts anew


def test_shorter_video_ends_all_with_a_warning(tmp_path):
    paths = [write_video(tmp_path / "a.mp4", range(9)), write_video(tmp_path / "b.mp4", range(5))]
    with pytest.warns(UserWarning, match="a.mp4' has 9 frames, the shortest 5"):
        source = open_videos(paths)
    assert len(source) == 5 and len(list(source)) == 5


@pytest.mark.parametrize("content", [b"", b"this is no video", None])
def test_unreadable_video_is_named(tmp_path, content):
    good, bad = write_video(tmp_path / "a.mp4", range(3)), tmp_path / "b.mp4"
    if content is not None:
        bad.write_bytes(content)
    with pytest.raises(InputError, match="b.mp4") as error:
        open_videos([good, bad])
    assert one_line(error)


def test_different_rates_are_refused(tmp_path):
    paths = [
        write_video(tmp_path / "a.mp4", range(3), fps=30),
        write_video(tmp_path / "b.mp4", range(3), fps=60),
    ]
    with pytest.raises(InputError, match="b.mp4' has 60 frames/s, expected 30"):
        open_videos(paths)


def test_equally_named_images_belong_together(tmp_path):
    names = ["10.png", "2.png", "1.png"]
    folders = [write_images(tmp_path / "a", names), write_images(tmp_path / "b", names[::-1])]
    source = open_image_folders(folders, fps=10)
    frame_sets = list(source)
    # In order 1, 2, 10; a wrote them with 20, 10, 0, b with 0, 10, 20.
    assert [[int(image.mean()) for image in images] for _, _, images in frame_sets] == [
        [20, 0],
        [10, 10],
        [0, 20],
    ]
    assert [stamp for _, stamp, _ in frame_sets] == pytest.approx([0.0, 0.1, 0.2])


def test_equally_many_images_are_matched_by_order(tmp_path):
    folders = [
        write_images(tmp_path / "a", ["left_1.png", "left_2.png"]),
        write_images(tmp_path / "b", ["right_8.png", "right_9.png"]),
    ]
    assert len(list(open_image_folders(folders))) == 2


def test_a_folder_that_lacks_an_image_lacks_a_frame(tmp_path):
    names = [f"{number}.png" for number in range(1, 12)]
    folders = [
        write_images(tmp_path / "a", names),
        write_images(tmp_path / "b", [name for name in names if name not in ("3.png", "10.png")]),
        write_images(tmp_path / "c", names),
    ]
    with pytest.warns(UserWarning) as told:
        source = open_image_folders(folders)
    assert [str(warning.message) for warning in told] == [
        f"image folder '{folders[1]}' lacks 2 of 11 images (3.png, 10.png): that camera has no frame there"
    ]
    assert len(source) == 11 and source.sizes == [(64, 48)] * 3
    present = [[image is not None for image in images] for _, _, images in source]
    assert present == [[True, number not in (3, 10), True] for number in range(1, 12)]


def test_the_first_image_may_be_the_one_that_lacks(tmp_path):
    folders = [
        write_images(tmp_path / "a", ["1.png", "2.png", "3.png"]),
        write_images(tmp_path / "b", ["2.png", "3.png"]),
    ]
    with pytest.warns(UserWarning, match="b' lacks 1 of 3 images .1.png."):
        source = open_image_folders(folders)
    assert [image is None for image in next(iter(source))[2]] == [False, True]
    assert source.sizes == [(64, 48)] * 2


def test_other_counts_and_names_are_refused(tmp_path):
    three = write_images(tmp_path / "a", ["1.png", "2.png", "3.png"])
    two = write_images(tmp_path / "b", ["x1.png", "x2.png"])
    other = write_images(tmp_path / "c", ["3.png", "4.png", "5.png", "6.png"])
    with pytest.raises(InputError, match="b' has 2 images, expected 3 as in .*, or the same names"):
        open_image_folders([three, two])
    with pytest.raises(InputError, match="expected the same names, or none") as error:
        open_image_folders([write_images(tmp_path / "d", ["6.png"]), three, other])
    assert "d' lacks 5 of the 6 images that the folders have (1.png, 2.png, 3.png, ...)" in str(error.value)


def test_missing_and_empty_folders_are_named(tmp_path):
    good = write_images(tmp_path / "a", ["1.png"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="absent' does not exist"):
        open_image_folders([good, tmp_path / "absent"])
    with pytest.raises(InputError, match="empty' has no images"):
        open_image_folders([good, tmp_path / "empty"])


def test_broken_image_costs_that_camera_that_frame(tmp_path):
    names = ["1.png", "2.png", "3.png"]
    folders = [write_images(tmp_path / c, names) for c in "ab"]
    (folders[1] / "2.png").write_bytes(b"broken")
    with pytest.warns(UserWarning, match=r"b': 1 frame could not be read \(number 1; the first is 2.png\)"):
        frame_sets = list(open_image_folders(folders))
    present = [[image is not None for image in images] for _, _, images in frame_sets]
    assert present == [[True, True], [True, False], [True, True]]


def test_keypoints_are_read_by_frame_and_camera(tmp_path):
    path = write_json(
        tmp_path / "kp.json",
        {"0_12": [person(), person(300)], "1_12": [], "1_3": [person(score=1.3)]},
    )
    frames = read_keypoints_json(path, 3)
    assert list(frames) == [3, 12]
    assert frames[12][0].shape == (2, 17, 3) and frames[12][0].dtype == np.float32
    assert frames[12][0][1, 2].tolist() == pytest.approx([302.0, 50.0, 0.5])
    assert frames[12][1].shape == (0, 17, 3)
    assert frames[12][2] is None and frames[3][0] is None
    assert frames[3][1][0, 0, 2] == 1.0


@pytest.mark.parametrize(
    "content, message",
    [
        ({"camera0_1": []}, "key 'camera0_1', expected"),
        ({"0_1": [], "2_1": []}, "key '2_1' is of camera 2, expected 0 to 1"),
        ({"0_1": {"pred": []}}, "key '0_1' is no list"),
        ({"0_1": [{"joints": []}]}, "key '0_1', person 0: no 'pred'"),
        ({"0_1": [person(), person(joints=16)]}, "person 1: 'pred' has shape 16 x 3"),
        ({"0_1": [{"pred": [[1, 2]] * 17}]}, "'pred' has shape 17 x 2"),
        ({"0_1": [{"pred": [[1, 2, "x"]] * 17}]}, "key '0_1', person 0"),
        ({"0_1": [{"pred": 4}]}, "'pred' has shape int"),
        ({"0_1": [person(x=float("nan"))]}, "key '0_1', person 0.*not finite"),
        ({"0_1": [person(x=float("inf"))]}, "not finite"),
        ({"0_1": [person(), person(score=87.0)]}, "'0_1', person 1: a keypoint has the score 87, expected 0"),
        ({"0_1": [person(score=-1.0)]}, "person 0: a keypoint has the score -1, expected 0 .* to 1"),
        ({"0_1": [{"pred": [[0.3, 0.6, 0.9]] * 17}], "1_1": []}, "kp.json: all keypoints .* expected pixels"),
        ({}, "expected keys"),
        ([1], "expected keys"),
        ('{"0_1": [', "not valid JSON"),
        ("\xff\xfe", "not valid JSON"),
    ],
)
def test_bad_keypoints_name_file_and_key(tmp_path, content, message):
    path = write_json(tmp_path / "kp.json", content)
    with pytest.raises(InputError, match=message) as error:
        read_keypoints_json(path, 2)
    assert "kp.json" in str(error.value) and one_line(error)


def test_missing_keypoints_file(tmp_path):
    with pytest.raises(InputError, match="absent.json: cannot be read"):
        read_keypoints_json(tmp_path / "absent.json", 2)


def test_real_detections_are_read(shared_dir):
    frames = read_keypoints_json(shared_dir / "data/shelf/pred_shelf_openpose_coco17.json", 5)
    assert list(frames) == list(range(300, 450))
    assert all(view is not None for views in frames.values() for view in views)


def _rig_of(*sizes):
    K = [[500, 0, 300], [0, 500, 200], [0, 0, 1]]
    return Rig(
        tuple(
            Camera(f"cam{i}", size, K, [0] * 5, np.eye(3), [1000.0 * i, 0, 0]) for i, size in enumerate(sizes)
        )
    )


def test_a_codecs_crop_is_filled_on_the_right_and_below():
    image = np.full((1072, 1080, 3), 9, np.uint8)
    with pytest.warns(UserWarning, match="cam0.*1080x1072.*1088x1080"):
        padded, absent = restore_codec_crop([image, None], _rig_of((1088, 1080), (640, 480)))
    assert absent is None
    assert padded.shape == (1080, 1088, 3)
    assert (padded[:1072, :1080] == 9).all() and not padded[:, 1080:].any()


@pytest.mark.parametrize("size", [(640, 480), (1072, 1080), (1089, 1080), (1088, 1080)])
def test_other_sizes_stay_as_they_are(size):
    image = np.zeros((size[1], size[0], 3), np.uint8)
    assert restore_codec_crop([image, None], _rig_of((1088, 1080), (640, 480)))[0] is image


@pytest.mark.parametrize(
    "size, scaled",
    [
        ((320, 240), True),
        ((1280, 960), True),
        ((214, 160), True),  # 213.3: rounded to even, as encoders do
        ((640, 480), False),
        ((480, 640), False),
        ((320, 180), False),
        ((640, 360), False),
        ((641, 480), False),
        ((644, 483), False),
        ((4, 3), False),
        ((0, 0), False),
    ],
)
def test_scaled_copies_have_the_calibrated_aspect(size, scaled):
    camera = _rig_of((640, 480), (640, 480)).cameras[0]
    assert is_scaled_copy(size, camera) == scaled


@pytest.mark.parametrize("size", [(320, 240), (1280, 960)])
def test_k_follows_the_image_as_opencv_resizes_it(size):
    camera = dataclasses.replace(_rig_of((640, 480), (640, 480)).cameras[0], distortion=[-0.1, 0, 0, 0, 0])
    point = np.array([[210.0, -95.0, 1300.0]])
    (pixel,), _ = camera.project(point)
    columns, rows = np.meshgrid(np.arange(640), np.arange(480))
    blob = 255 * np.exp(-((columns - pixel[0]) ** 2 + (rows - pixel[1]) ** 2) / (2 * 8.0**2))
    small = cv2.resize(blob, size, interpolation=cv2.INTER_AREA if size[0] < 640 else cv2.INTER_LINEAR)
    columns, rows = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    seen = [(axis * small).sum() / small.sum() for axis in (columns, rows)]
    other = scaled_camera(camera, size)
    assert other.image_size == size
    np.testing.assert_allclose(other.project(point)[0][0], seen, atol=0.02)
    np.testing.assert_allclose(scaled_points(pixel, (640, 480), size), seen, atol=0.02)


def test_each_camera_follows_its_own_images():
    rig = _rig_of((640, 480), (1088, 1920), (640, 480), (640, 480))
    fitted, notes = fit_rig(rig, [(320, 240), (1080, 1920), (640, 480), None])
    assert notes == ["camera 'cam0': images are 320x240, 0.5 times the calibrated 640x480: K is scaled"]
    # A codec's crop stays one.
    assert [camera.image_size for camera in fitted.cameras] == [
        (320, 240),
        (1088, 1920),
        (640, 480),
        (640, 480),
    ]
    np.testing.assert_allclose(fitted.cameras[0].K, [[250, 0, 149.75], [0, 250, 99.75], [0, 0, 1]])
    assert fitted.cameras[1:] == rig.cameras[1:]


def test_a_text_file_is_no_video_whatever_ffmpeg_makes_of_it(tmp_path):
    calibration = tmp_path / "Calib.qca.txt"
    calibration.write_text("<calibration>\n" + "<camera name='cam01'/>\n" * 200)
    with pytest.raises(InputError, match="Calib.qca.txt' cannot be read, expected a video"):
        open_videos([calibration])


def test_a_video_that_its_recorder_did_not_finish_is_told(tmp_path):
    path = write_video(tmp_path / "a.mp4", range(5))
    content = path.read_bytes()
    index = content.index(b"moov") - 4
    path.write_bytes(content[:index])
    with pytest.raises(InputError, match=r"a\.mp4' was not finished by its recorder .*moov"):
        open_videos([path])
    path.write_bytes(b"")
    with pytest.raises(InputError, match=r"a\.mp4' is an empty file, expected a video"):
        open_videos([path])
