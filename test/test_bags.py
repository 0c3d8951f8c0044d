"""rosbag2 recordings as input: the same skeletons as from files, and one line for whatever is wrong."""

import dataclasses
import json
import re
import sqlite3

import cv2
import numpy as np
import pytest

pytest.importorskip("rosbags")

from bag_files import START_NS, BagMaker

from voxelpose_core.bags.bag import Bag
from voxelpose_core.bags.calibration import rig_from_bag
from voxelpose_core.bags.frame_sets import BagFrameSets
from voxelpose_core.bags.recording import BagImages, first_stamp_ns
from voxelpose_core.bags.topics import COMPRESSED, IMAGE, KEYPOINTS, camera_topics, input_topics
from voxelpose_core.cli import main
from voxelpose_core.datasets.generated_recordings import (
    RecordingSettings,
    generate_recording,
)
from voxelpose_core.datasets.generated_walks import generate_walk
from voxelpose_core.detector_joint_sets import mapped_keypoints
from voxelpose_core.errors import InputError
from voxelpose_core.frame_choice import FrameChoice
from voxelpose_core.geometry.rig import save_rig
from voxelpose_core.ros_messages.keypoints import joint_set_of_most
from voxelpose_core.skeleton_files import read_skeletons
from voxelpose_core.skeletons import COCO17, get_joint_set

PERIOD_NS = 40_000_000


@pytest.fixture(scope="module")
def walk():
    return generate_walk(3, 0.15, 7, people=2, duration_s=0.6)


@pytest.fixture(scope="module")
def rig(walk):
    return walk.rig


def write_keypoints(path, walk, storage="sqlite3", late_ns=lambda index, camera: 0, lost=()):
    with BagMaker(path, storage) as bag:
        rows = [
            (START_NS + index * PERIOD_NS + 10**6 * c + late_ns(index, c), index, c)
            for index in range(len(walk.keypoints))
            for c in range(len(walk.rig))
            if (index, c) not in lost
        ]
        for received_ns, index, c in sorted(rows):
            camera = walk.rig.cameras[c]
            stamp_ns = START_NS + index * PERIOD_NS
            bag.keypoints(
                f"/{camera.name}/keypoints", camera, walk.keypoints[index][c], stamp_ns, received_ns
            )
    return path


def write_json(path, walk):
    document = {
        f"{c}_{index}": [{"pred": person.tolist()} for person in people]
        for index, views in enumerate(walk.keypoints)
        for c, people in enumerate(views)
    }
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_a_bag_gives_the_skeletons_of_its_detections(tmp_path, walk, rig, storage, capsys):
    save_rig(rig, tmp_path / "rig.yaml")
    bag = write_keypoints(tmp_path / "bag", walk, storage)
    keypoints = write_json(tmp_path / "keypoints.json", walk)
    common = ["estimate", "--rig", str(tmp_path / "rig.yaml"), "--out"]
    assert main([*common, str(tmp_path / "bag.json"), "--bag", str(bag)]) == 0
    assert "/camera_0/keypoints" in capsys.readouterr().out
    assert main([*common, str(tmp_path / "file.json"), "--keypoints", str(keypoints), "--fps", "25"]) == 0
    from_bag, from_file = (read_skeletons(tmp_path / name).frame_sets for name in ("bag.json", "file.json"))
    assert len(from_bag) == len(from_file) == len(walk.keypoints)
    assert any(frame_set.skeletons for frame_set in from_bag)
    for one, other in zip(from_bag, from_file, strict=True):
        assert (one.frame, one.stamp) == (other.frame, pytest.approx(other.stamp, abs=1e-6))
        assert [s.track_id for s in one.skeletons] == [s.track_id for s in other.skeletons]
        for a, b in zip(one.skeletons, other.skeletons, strict=True):
            np.testing.assert_allclose(a.joints, b.joints, atol=0.1)


def test_frame_sets_are_the_same_in_every_run_and_miss_what_was_lost(tmp_path, walk, rig):
    late = {(4, 1): 60_000_000, (5, 2): 45_000_000}
    bag = write_keypoints(
        tmp_path / "bag",
        walk,
        late_ns=lambda index, c: late.get((index, c), 0),
        lost={(7, 0), (9, 1), (9, 2)},
    )
    runs = [list(BagFrameSets(bag, rig)) for _ in range(2)]
    for one, other in zip(*runs, strict=True):
        for a, b in zip(one.keypoints, other.keypoints, strict=True):
            assert (a is None and b is None) or np.array_equal(a, b)
    by_stamp = {round(frame_set.stamp / 0.04): frame_set for frame_set in runs[0]}
    # One camera alone is no frame set; late messages belong to theirs.
    assert set(by_stamp) == set(range(len(walk.keypoints))) - {9}
    assert [view is None for view in by_stamp[7].keypoints] == [True, False, False]
    assert all(view is not None for view in by_stamp[4].keypoints)
    np.testing.assert_allclose(by_stamp[4].keypoints[1], walk.keypoints[4][1], atol=1e-3)


def test_a_part_of_a_bag(tmp_path, walk, rig):
    source = BagFrameSets(write_keypoints(tmp_path / "bag", walk), rig)
    source.choose(FrameChoice(0.2, 0.41, 2))
    assert [(s.frame, round(s.stamp, 3)) for s in source] == [(5, 0.2), (7, 0.28), (9, 0.36)]
    assert source.fps == pytest.approx(12.5)


def test_time_offsets_count_as_in_the_node(tmp_path, walk, rig):
    bag = write_keypoints(tmp_path / "bag", walk)
    moved = rig.with_time_offsets([0.0, 40.0, 40.0])
    first = next(iter(BagFrameSets(bag, moved)))
    # The other cameras' first frame fits the first camera's second.
    np.testing.assert_allclose(first.keypoints[1], walk.keypoints[0][1], atol=1e-3)
    assert first.keypoints[0] is None or np.array_equal(first.keypoints[0], np.float32(walk.keypoints[1][0]))


def test_images_of_a_bag(tmp_path, rig):
    random = np.random.default_rng(0)
    pictures = {}
    with BagMaker(tmp_path / "bag") as bag:
        for index in range(3):
            for camera in rig.cameras:
                width, height = camera.image_size
                picture = random.integers(0, 255, (height, width, 3), np.uint8)
                pictures[index, camera.name] = picture
                bag.image(f"/{camera.name}/image_raw", picture, START_NS + index * PERIOD_NS)
                bag.image(f"/{camera.name}/depth/image", picture, START_NS + index * PERIOD_NS)
    for index, frame_set in enumerate(BagFrameSets(tmp_path / "bag", rig)):
        for camera, image in zip(rig.cameras, frame_set.images, strict=True):
            np.testing.assert_array_equal(image, pictures[index, camera.name])


def test_compressed_images_of_a_bag_and_a_broken_one(tmp_path, rig):
    picture = np.full((rig.cameras[0].image_size[1], rig.cameras[0].image_size[0], 3), 90, np.uint8)
    with BagMaker(tmp_path / "bag") as bag:
        kind = COMPRESSED
        for camera in rig.cameras:
            shape = camera.image_size[::-1]
            data = cv2.imencode(".jpg", np.full((*shape, 3), 90, np.uint8))[1].ravel()
            for index in range(2):
                sent = data[: len(data) // 2] if (index, camera.name) == (1, rig.names[1]) else data
                message = bag.type(kind)(bag.header(START_NS + index * PERIOD_NS), "jpeg", sent)
                bag.write(f"/{camera.name}/image_raw/compressed", kind, message, START_NS + index * PERIOD_NS)
    source = BagFrameSets(tmp_path / "bag", rig)
    words = f"/{rig.names[1]}/image_raw/compressed: 1 frame .*1; JPEG of .* cut off"
    with pytest.warns(UserWarning, match=words):
        first, second = source
    assert np.abs(first.images[0].astype(int) - picture).max() <= 3
    assert [image is None for image in second.images] == [False, True, False]


def test_the_rig_of_camera_info_and_tf(tmp_path, walk, rig, capsys):
    """Cameras below a room that is turned and moved in the map."""
    turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    place = np.array([2.0, -1.0, 0.0])
    with BagMaker(tmp_path / "bag") as bag:
        bag.transforms([("map", "room", turn, place)])
        bag.transforms([("room", f"{c.name}_optical", c.R.T, c.C / 1000.0) for c in rig.cameras], "/tf")
        for c, camera in enumerate(rig.cameras):
            bag.camera_info(f"/{camera.name}/camera_info", camera, f"{camera.name}_optical")
            for index, views in enumerate(walk.keypoints):
                stamp_ns = START_NS + index * PERIOD_NS
                bag.keypoints(f"/{camera.name}/keypoints", camera, views[c], stamp_ns)
    with Bag(tmp_path / "bag") as bag:
        in_map, in_room = rig_from_bag(bag), rig_from_bag(bag, world_frame="room")
    assert (in_map.frame, in_room.frame, in_map.names) == ("map", "room", rig.names)
    for mine, there, true in zip(in_room.cameras, in_map.cameras, rig.cameras, strict=True):
        np.testing.assert_allclose(mine.C, true.C, atol=1e-3)
        np.testing.assert_allclose(mine.R, true.R, atol=1e-6)
        np.testing.assert_allclose(mine.K, true.K)
        np.testing.assert_allclose(there.C, turn @ true.C + 1000.0 * place, atol=1e-3)
    out = str(tmp_path / "skeletons.json")
    assert main(["estimate", "--bag", str(tmp_path / "bag"), "--world-frame", "room", "--out", out]) == 0
    assert "CameraInfo and TF of the bag" in capsys.readouterr().out
    assert any(frame_set.skeletons for frame_set in read_skeletons(out).frame_sets)


TYPES = {
    "/left/image_raw": IMAGE,
    "/left/image_rect": IMAGE,
    "/right/image_raw": IMAGE,
    "/right/image_raw/compressed": COMPRESSED,
    "/left/keypoints": KEYPOINTS,
    "/rosout": "rcl_interfaces/msg/Log",
}


def test_topics_of_cameras():
    assert input_topics(TYPES, ["left", "right"]) == {"left": "/left/image_raw", "right": "/right/image_raw"}
    for template in ("/{camera}/keypoints", "{camera}/keypoints"):
        assert input_topics(TYPES, ["left"], [template]) == {"left": "/left/keypoints"}
    swapped = ["/right/image_raw", "left/image_raw"]
    assert input_topics(TYPES, ["a", "b"], swapped) == {"a": "/right/image_raw", "b": "/left/image_raw"}
    infos = {
        "/a/left/camera_info": "sensor_msgs/msg/CameraInfo",
        "/b/left/camera_info": "sensor_msgs/msg/CameraInfo",
    }
    images = {"/a/left/image_raw": IMAGE, "/b/left/image_raw": IMAGE}
    found = {"a_left": "/a/left/image_raw", "b_left": "/b/left/image_raw"}
    assert camera_topics(infos | images) == found
    types = infos | images | {"/a/left/image_rect": IMAGE}
    assert list(camera_topics(types, ["/b/left/image_raw", "/a/left/image_rect"]).items()) == [
        ("b_left", "/b/left/image_raw"),
        ("a_left", "/a/left/image_rect"),
    ]


@pytest.mark.parametrize(
    ("types", "cameras", "given", "text"),
    [
        (
            TYPES,
            ["left", "middle"],
            None,
            "camera 'middle': no topic .* expected /middle/image_raw",
        ),
        (
            TYPES,
            ["left"],
            ["/left/image"],
            "expected one topic for each of the cameras left, or one",
        ),
        (TYPES, ["left", "right"], ["/a", "/b", "/c"], "--topic /a /b /c: expected one topic for each"),
        (TYPES, ["left"], ["/{camera}/nothing"], "topic /left/nothing is not in the bag"),
        (TYPES, ["left", "right"], ["/left/image_raw"] * 2, "/left/image_raw serves two cameras"),
        (
            TYPES,
            ["left", "right"],
            ["/left/keypoints", "/right/image_raw"],
            "topic /left/keypoints is of 2D detections, /right/image_raw of images, expected one for all",
        ),
        ({"/left/x": IMAGE, "/left/y": IMAGE}, ["left"], None, "/left/x, /left/y have its name.*{camera}/x"),
        ({}, ["left"], None, "the bag has no messages"),
        ({"/left/image_raw": "std_msgs/msg/String"}, ["left"], None, r"has /left/image_raw \(std_msgs/msg/S"),
    ],
)
def test_topics_that_are_not_there(types, cameras, given, text):
    with pytest.raises(InputError, match=text):
        input_topics(types, cameras, given)


def refused(capsys, *arguments):
    assert main(["estimate", "--out", "unused.json", *map(str, arguments)]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    return error[-1]


def test_what_is_no_bag(tmp_path, walk, rig, capsys):
    save_rig(rig, tmp_path / "rig.yaml")
    (tmp_path / "empty").mkdir()
    for storage in ("sqlite3", "mcap"):
        (file,) = (
            f for f in write_keypoints(tmp_path / storage, walk, storage).iterdir() if "yaml" not in f.suffix
        )
        (tmp_path / f"cut{file.suffix}").write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    (tmp_path / "mcap" / "metadata.yaml").unlink()
    (tmp_path / "sqlite3" / "metadata.yaml").write_text("a: [")
    (tmp_path / "text.mcap").write_text("not a recording")
    (tmp_path / "old.bag").write_bytes(b"#ROSBAG V2.0\n")
    for name, text in {
        "missing": "does not exist",
        "empty": "is a folder without metadata.yaml and .mcap or .db3 files",
        "mcap": "has no metadata.yaml, which the recorder writes when it ends: `ros2 bag reindex` makes it",
        "sqlite3": "metadata.yaml: while parsing a flow node",
        "cut.mcap": "expected a whole recording: `mcap recover`",
        "cut.db3": "expected a whole recording: `sqlite3 FILE.db3 .recover`",
        "text.mcap": "cannot be read",
        "old.bag": "is of ROS 1, expected rosbag2",
    }.items():
        line = refused(capsys, "--rig", tmp_path / "rig.yaml", "--bag", tmp_path / name)
        assert text in line and name in line


def test_options_that_a_bag_does_not_take(tmp_path, walk, rig, capsys):
    save_rig(rig, tmp_path / "rig.yaml")
    bag = write_keypoints(tmp_path / "bag", walk)
    with_rig = ("--rig", tmp_path / "rig.yaml", "--bag", bag)
    assert "--fps" in refused(capsys, *with_rig, "--fps", "25")
    assert "--in-order" in refused(capsys, *with_rig, "--in-order")
    assert "--world-frame" in refused(capsys, *with_rig, "--world-frame", "map")
    assert "--rig: missing" in refused(capsys, "--keypoints", write_json(tmp_path / "k.json", walk))
    assert "the bag has no CameraInfo, expected --rig" in refused(capsys, "--bag", bag)
    assert "--refine-detections: --bag with /camera_0/key" in refused(
        capsys, *with_rig, "--refine-detections"
    )
    assert "brings its own detections" in refused(capsys, *with_rig, "--detector", "movenet")
    for option in ("--keypoints", "--videos", "--images"):
        line = refused(capsys, "--rig", tmp_path / "rig.yaml", option, bag)
        assert f"{bag}: is a recording of ROS messages, expected with --bag" in line


def test_of_a_damaged_bag_what_can_be_read_is_used(tmp_path, walk, rig, capsys):
    save_rig(rig, tmp_path / "rig.yaml")
    bag = write_keypoints(tmp_path / "bag", walk, "mcap")
    (file,) = bag.glob("*.mcap")
    content = bytearray(file.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 3000] = bytes(3000)
    file.write_bytes(content)
    given = ("--rig", tmp_path / "rig.yaml", "--bag", bag, "--out", tmp_path / "out.json")
    assert main(["estimate", *map(str, given)]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"bag '{bag}': is damaged" in line
    read = int(re.search(r"(\d+) of 45 messages could be read on /camera_0/keypoints", line)[1])
    frame_sets = read_skeletons(tmp_path / "out.json").frame_sets
    assert 0 < 3 * len(frame_sets) <= read < 45 and frame_sets[0].skeletons


def test_cameras_without_common_transforms(tmp_path, walk, rig, capsys):
    with BagMaker(tmp_path / "bag") as bag:
        for c, camera in enumerate(rig.cameras):
            bag.camera_info(f"/{camera.name}/camera_info", camera, f"{camera.name}_optical")
            bag.keypoints(f"/{camera.name}/keypoints", camera, walk.keypoints[0][c], START_NS)
    line = refused(capsys, "--bag", tmp_path / "bag")
    assert "have no common root" in line and "/tf_static" in line
    line = refused(capsys, "--bag", tmp_path / "bag", "--world-frame", "map")
    assert "no transform from 'map' to 'camera_0_optical'" in line


def test_cameras_whose_stamps_never_meet(tmp_path, walk, rig, capsys):
    with BagMaker(tmp_path / "bag") as bag:
        for c, camera in enumerate(rig.cameras):
            stamp_ns = START_NS + c * 20_000_000
            bag.keypoints(f"/{camera.name}/keypoints", camera, walk.keypoints[0][c], stamp_ns)
    save_rig(rig, tmp_path / "rig.yaml")
    line = refused(capsys, "--rig", tmp_path / "rig.yaml", "--bag", tmp_path / "bag")
    assert "no two cameras have messages within 15 ms" in line


def write_views(path, walk, joint_sets=None, stamp_ns=lambda index: START_NS + index * PERIOD_NS, lost=()):
    """A bag of 2D detections whose joint sets are those that `joint_sets(camera, frame)` gives."""
    with BagMaker(path) as bag:
        for index, views in enumerate(walk.keypoints):
            for c, camera in enumerate(walk.rig.cameras):
                if (c, index) not in lost:
                    joint_set = get_joint_set(joint_sets(c, index) if joint_sets else "coco17")
                    people = mapped_keypoints(views[c], COCO17, joint_set)
                    received_ns = START_NS + index * PERIOD_NS + c
                    topic = f"/{camera.name}/keypoints"
                    bag.keypoints(topic, camera, people, stamp_ns(index), received_ns, joint_set.name)
    return path


def test_a_bag_follows_the_joint_set_of_most_cameras(tmp_path, walk, rig):
    """As the node does; the camera that states another has no frames, and that is told once."""
    bag = write_views(tmp_path / "bag", walk, lambda c, index: ("body25", "coco17", "body25")[c])
    source = BagFrameSets(bag, rig)
    assert source.joint_set == get_joint_set("body25")
    with pytest.warns(UserWarning) as told:
        frame_sets = list(source)
    for frame_set in frame_sets:
        assert [view is None for view in frame_set.keypoints] == [False, True, False]
    (line,) = (str(warning.message) for warning in told)
    assert f"topic /camera_1/keypoints: {len(frame_sets)} frames could not be read" in line
    assert "joint set is 'coco17', expected 'body25'" in line


def test_another_joint_set_in_the_middle_of_a_bag_is_told_and_can_be_chosen(tmp_path, walk, rig):
    told = []
    bag = write_views(tmp_path / "bag", walk, lambda c, index: "halpe26" if index >= 6 else "coco17")
    source = BagFrameSets(bag, rig, tell=told.append)
    assert source.joint_set == COCO17
    with pytest.warns(UserWarning, match="joint set is 'halpe26', expected 'coco17'"):
        assert len(list(source)) == 6
    assert any("from 0.240 s on most cameras' joint set is 'halpe26'" in line for line in told)
    assert any(f"{len(walk.keypoints) - 6} frame sets dropped, from 0.240 s on" in line for line in told)
    source.choose(FrameChoice(0.24, 100.0, 1))
    assert source.joint_set == get_joint_set("halpe26") and len(list(source)) == len(walk.keypoints) - 6


@pytest.mark.parametrize(
    ("names", "current", "refused", "expected"),
    [
        ("coco17 coco17 halpe26", "coco17", "", "coco17"),
        ("halpe26 coco17 halpe26", "coco17", "", "halpe26"),
        # The current one stays where half of the cameras state it.
        ("halpe26 coco17", "coco17", "", "coco17"),
        ("halpe26 coco17", "halpe26", "", "halpe26"),
        ("body25 halpe26 halpe26", "coco17", "halpe26", "body25"),
        ("mine mine BODY_25", "coco17", "", "body25"),
        ("mine mine", "coco17", "", "coco17"),
        ("", "halpe26", "", "halpe26"),
    ],
)
def test_which_joint_set_most_cameras_state(names, current, refused, expected):
    def check(joint_set):
        if joint_set.name == refused:
            raise InputError("not this one")

    assert joint_set_of_most(names.split(), get_joint_set(current), check).name == expected


def test_stamps_of_0_are_told(tmp_path, walk, rig):
    told = []
    bag = write_views(tmp_path / "bag", walk, stamp_ns=lambda index: index and START_NS + index * PERIOD_NS)
    source = BagFrameSets(bag, rig, tell=told.append)
    assert len(source) == len(walk.keypoints) - 1 and len(told) == 3
    assert f"topic /camera_0/keypoints: 1 of {len(walk.keypoints)} messages have no stamp in" in told[0]
    with pytest.raises(InputError, match="no two cameras have messages within 15 ms"):
        BagFrameSets(write_views(tmp_path / "zero", walk, stamp_ns=lambda index: 0), rig, tell=told.append)


def damage(bag, statement):
    """Change what the database of a bag holds."""
    database = sqlite3.connect(next(bag.glob("*.db3")))
    database.execute(statement)
    database.commit()
    database.close()


def test_messages_that_are_cut_off_are_told(tmp_path, walk, rig):
    bag = write_views(tmp_path / "bag", walk)
    damage(bag, "update messages set data = substr(data, 1, 2 + 60 * (id % 2)) where id in (4, 5)")
    told = []
    source = BagFrameSets(bag, rig, tell=told.append)
    with pytest.warns(UserWarning, match="/keypoints: 1 frame could not be read .*message cannot be decoded"):
        assert len(list(source)) == len(walk.keypoints) - 1
    assert any("1 of 15 messages have no stamp" in line for line in told)
    assert any("1 frame set dropped, from 0.040 s on" in line for line in told)


def test_a_bag_whose_damage_takes_a_whole_camera(tmp_path, walk, rig):
    bag = write_views(tmp_path / "bag", walk)
    damage(bag, "delete from messages where id % 3 = 0")
    with pytest.warns(UserWarning, match="is damaged: 30 of 45 messages could be read on /cam"):
        frame_sets = list(BagFrameSets(bag, rig))
    assert [view is None for view in frame_sets[0].keypoints] == [False, False, True]
    with Bag(bag) as opened, pytest.raises(InputError, match="/camera_2/keypoints: none of its messages"):
        first_stamp_ns(opened, input_topics(opened.types, rig.names))


def test_joint_sets_that_are_not_known(tmp_path, rig):
    with BagMaker(tmp_path / "bag") as bag:
        for camera in rig.cameras:
            bag.keypoints(
                f"/{camera.name}/keypoints", camera, np.zeros((1, 5, 3)), START_NS, joint_set="mine"
            )
    with pytest.raises(InputError, match="topic /camera_0/keypoints: joint set 'mine' is unknown: expected"):
        BagFrameSets(tmp_path / "bag", rig)


def test_of_a_recording_that_was_played_again_the_longest_run_is_used(tmp_path, walk, rig):
    told = []
    again = lambda index: START_NS + (index if index < 4 else index - 4) * PERIOD_NS  # noqa: E731
    bag = write_views(tmp_path / "bag", walk, stamp_ns=lambda index: again(index) + (index >= 4) * -(10**10))
    source = BagFrameSets(bag, rig, tell=told.append)
    stamps = [frame_set.stamp for frame_set in source]
    assert len(stamps) == len(walk.keypoints) - 4 and stamps == sorted(stamps)
    (line,) = told
    assert "stamps jump back once" in line and f"{len(stamps)} of {len(walk.keypoints)} frame sets" in line


def test_late_messages_are_late_as_in_the_node(tmp_path, walk, rig):
    """Nothing else arrives while a frame set waits: it goes out without the message that comes too late."""
    bag = write_keypoints(
        tmp_path / "bag",
        walk,
        late_ns=lambda index, c: 150_000_000 if (index, c) == (len(walk.keypoints) - 1, 2) else 0,
    )
    *_, last = BagFrameSets(bag, rig)
    assert [view is None for view in last.keypoints] == [False, False, True]


def test_images_of_another_size_are_resized_as_the_node_does(tmp_path, rig):
    told, halves = [], {}
    with BagMaker(tmp_path / "bag") as bag:
        for camera in rig.cameras:
            width, height = camera.image_size
            halves[camera.name] = np.random.default_rng(1).integers(
                0, 255, (height // 2, width // 2, 3), np.uint8
            )
            bag.image(f"/{camera.name}/image_raw", halves[camera.name], START_NS)
    source = BagFrameSets(tmp_path / "bag", rig, tell=told.append)
    (frame_set,) = source
    assert source.rig is rig and len(told) == 3 and "0.5 times the calibrated" in told[0]
    for camera, image in zip(rig.cameras, frame_set.images, strict=True):
        np.testing.assert_array_equal(image, cv2.resize(halves[camera.name], camera.image_size))


def test_a_bag_of_another_rig_is_refused(tmp_path, walk, rig, capsys):
    save_rig(rig, tmp_path / "rig.yaml")
    first = rig.cameras[0]
    other = dataclasses.replace(first, K=first.K * [[1.3], [1.3], [1.0]])
    with BagMaker(tmp_path / "bag") as bag:
        bag.camera_info(f"/{first.name}/camera_info", other, "optical")
        for c, camera in enumerate(rig.cameras):
            bag.keypoints(f"/{camera.name}/keypoints", camera, walk.keypoints[0][c], START_NS)
    with_rig = ("--rig", tmp_path / "rig.yaml", "--bag", tmp_path / "bag")
    line = refused(capsys, *with_rig)
    assert "topic /camera_0/camera_info: CameraInfo says fx" in line and "--no-check-camera-info" in line
    out = str(tmp_path / "skeletons.json")
    assert main(["estimate", *map(str, with_rig), "--out", out, "--no-check-camera-info"]) == 0
    assert len(BagFrameSets(tmp_path / "bag", rig.select(rig.names[1:]))) == 1
    with BagMaker(tmp_path / "small") as bag:
        for camera in rig.cameras:
            bag.image(f"/{camera.name}/image_raw", np.zeros((100, 130, 3), np.uint8), START_NS)
    line = refused(capsys, "--rig", tmp_path / "rig.yaml", "--bag", tmp_path / "small")
    assert "topic /camera_0/image_raw: image is 130x100, camera 'camera_0' is calibrated for" in line


def write_recording(path, made):
    """A bag of a generated recording's 2D detections, each camera on its own clock."""
    with BagMaker(path) as bag:
        for camera, seen in zip(made.rig.cameras, made.recording.cameras, strict=True):
            bag.camera_info(f"/{camera.name}/camera_info", camera, "optical")
            for stamp, people in zip(seen.stamps, seen.people, strict=True):
                stamp_ns = START_NS + round(stamp * 1e9)
                bag.keypoints(f"/{camera.name}/keypoints", camera, people, stamp_ns, stamp_ns + 10**6)
    return path


def test_the_rig_commands_take_bags(tmp_path, capsys):
    offsets = [0.0, 120.0, -60.0]
    made = generate_recording(
        1001, RecordingSettings(cameras=3, rates_hz=15.0, duration_s=16.0, offsets_ms=offsets)
    )
    bag = write_recording(tmp_path / "bag", made)
    save_rig(made.rig, tmp_path / "rig.yaml")
    assert main(["rig", "diagnose", str(tmp_path / "rig.yaml"), "--bag", str(bag)]) == 1
    told = capsys.readouterr()
    found = re.search(r"--offsets-ms (\S+)", told.out + told.err)[1]
    assert [float(value) for value in found.split(",")] == pytest.approx(offsets, abs=15.0)


def test_images_of_one_camera_for_self_calibration(tmp_path):
    pictures = [np.full((40, 60, 3), 50 * index, np.uint8) for index in range(4)]
    with BagMaker(tmp_path / "bag") as bag:
        for index, picture in enumerate(pictures):
            # The third message repeats the second's stamp.
            bag.image("/left/image_raw", picture, START_NS + (0, 1, 1, 2)[index] * PERIOD_NS)
    images = BagImages(tmp_path / "bag", "/left/image_raw", START_NS - PERIOD_NS)
    assert (len(images), images.sizes, images.fps) == (3, [(60, 40)], pytest.approx(25.0))
    assert [round(stamp, 3) for stamp in images.stamps] == [0.04, 0.08, 0.12]
    assert [views[0][0, 0, 0] for _, _, views in images] == [0, 50, 150]
    assert [index for index, _, _ in images.at([1])] == [1]
    assert images.span(0) == pytest.approx((0.04, 0.12))
