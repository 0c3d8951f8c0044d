"""rerun_view: live skeletons, images and rig in the Rerun viewer, or in a file that is read back."""

import os
import re
import socket
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("voxelpose_ros.msg", reason="the package's messages are not built")

import rclpy
from rerun_files import needs_rerun, rows_of
from ros_processes import python_command, room_rig
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from test_ros_conversions import Transforms

from voxelpose_core.pose_types import Skeleton
from voxelpose_core.skeletons import get_joint_set
from voxelpose_ros import camera_info_messages, conversions, image_messages, rerun_view
from voxelpose_ros.msg import SkeletonArray

pytestmark = needs_rerun
SKELETONS = "/voxelpose/skeletons"
START_NS = 1_700_000_000 * 10**9
PERIOD_NS = 33_333_333
HALPE = get_joint_set("halpe26")


@pytest.fixture
def rig(tmp_path):
    return room_rig(tmp_path / "room.yaml", cameras=3)


def header(index, frame_id="world"):
    return Header(stamp=conversions.to_stamp(START_NS + index * PERIOD_NS), frame_id=frame_id)


def joints_of(person, index):
    """(26, 3) mm: a cloud that moves."""
    return np.random.default_rng(person).normal(0, 300, (len(HALPE), 3)) + [500 * person, 10 * index, 900]


def skeletons(people, index, frame_id="world", rig=None):
    """Message of these people at that time; without the left big toe."""
    valid = np.arange(len(HALPE)) != HALPE.index("left_big_toe")
    found = [
        Skeleton(joints_of(person, index), np.ones(len(HALPE)), valid, 0.9, track_id=person)
        for person in people
    ]
    names = () if rig is None else rig.names
    return conversions.skeletons_to_message(found, HALPE, names, header(index, frame_id))


def image(rig, index):
    width, height = rig.cameras[0].image_size
    return image_messages.bgr_to_image(np.full((height, width, 3), 50 + index, np.uint8), header(index))


def test_a_live_stream_is_saved(ros, rig, tmp_path):
    parameters = {"rig_file": tmp_path / "room.yaml", "save": tmp_path / "walk.rrd"}
    parameters |= {"images": "camera0,camera2", "image_rate": 4, "image_width": 320}
    viewer = ros.start(python_command("voxelpose_ros.rerun_view", **parameters))
    people = ros.node.create_publisher(SkeletonArray, SKELETONS, 10)
    images = {name: ros.node.create_publisher(Image, f"/{name}/image_raw", 2) for name in rig.names}
    wanted = [people, images["camera0"], images["camera2"]]
    ros.spin_until(
        lambda: all(p.get_subscription_count() for p in wanted) or viewer.poll() is not None, "the viewer"
    )
    assert viewer.poll() is None, viewer.output()
    assert not images["camera1"].get_subscription_count()
    sent = 45
    for index in range(sent):
        people.publish(skeletons([0, 7] if index < 20 else [7] if index < 30 else [], index))
        for publisher in images.values():
            publisher.publish(image(rig, index))
        ros.spin_for(0.02)
    people.publish(skeletons([3], sent, frame_id="map"))
    cropped = image(rig, sent)
    cropped.height, cropped.data = 99, cropped.data[: 99 * cropped.step]
    frame, size = "-p frame_id:=map", "image is 640x99"

    def spoil_and_wait():
        assert viewer.poll() is None, viewer.output()
        images["camera0"].publish(cropped)
        return frame in viewer.output() and size in viewer.output()

    ros.spin_until(spoil_and_wait, "both complaints")
    assert "skeletons are in frame 'map', expected the rig's frame 'world'" in viewer.output()
    assert "topic /camera0/image_raw: image is 640x99, camera 'camera0' is calibrated for" in viewer.output()
    assert ros.stop(viewer) == 0
    counted = re.search(r"walk.rrd: (\d+) frame sets of skeletons, (\d+) images", viewer.output())
    rows = rows_of(tmp_path / "walk.rrd")

    joints = rows["/world/people/joints"]
    assert len(joints) == int(counted[1]) and sent - 3 <= len(joints) <= sent
    shown = np.flatnonzero(np.arange(len(HALPE)) != HALPE.index("left_big_toe"))
    for row in joints:
        index = round((row["time"] - START_NS) / PERIOD_NS)
        assert row["time"] == START_NS + index * PERIOD_NS
        present = [0, 7] if index < 20 else [7] if index < 30 else []
        expected = [joints_of(person, index)[shown] / 1000 for person in present]
        np.testing.assert_allclose(
            np.reshape(row["Points3D:positions"], (-1, 3)), np.reshape(expected, (-1, 3)), atol=1e-4
        )
        names = [f"P{person} {HALPE.joint_names[joint]}" for person in present for joint in shown]
        assert row["Points3D:labels"] == names
    ids = [row["Points3D:labels"] for row in rows["/world/people/ids"]]
    assert ids[0] == ["P0", "P7"] and ["P7"] in ids and ids[-1] == []

    assert not [row for row in rows["/world/cameras/camera1"] if "EncodedImage:blob" in row]
    seen = 0
    for name in ("camera0", "camera2"):
        pictures = [row for row in rows[f"/world/cameras/{name}"] if "EncodedImage:blob" in row]
        # About one second at 4 images per second, of 45 that were sent.
        assert 1 <= len(pictures) <= 25
        seen += len(pictures)
        for row in pictures:
            picture = cv2.imdecode(np.array(row["EncodedImage:blob"][0], np.uint8), cv2.IMREAD_COLOR)
            index = round((row["time"] - START_NS) / PERIOD_NS)
            assert picture.shape == (240, 320, 3) and abs(int(picture[0, 0, 0]) - 50 - index) <= 2
        places = [row for row in rows[f"/world/cameras/{name}"] if "Transform3D:translation" in row]
        np.testing.assert_allclose(
            places[0]["Transform3D:translation"][0], rig.camera(name).C / 1000, atol=1e-4
        )
    assert seen == int(counted[2])


@pytest.fixture
def in_this_process(tmp_path):
    """Makes the node with parameters; returns it and the callbacks of its topics."""
    made = []

    def make(**parameters):
        arguments = ["--ros-args"]
        for name, value in parameters.items():
            arguments += ["-p", f"{name}:={value}"]
        # Apart from what else may run on this computer.
        rclpy.init(args=arguments, domain_id=1 + (os.getpid() + 50) % 101)
        made.append(rerun_view.RerunViewNode())
        return made[-1], {s.topic_name: s.callback for s in made[-1].subscriptions}

    yield make
    for node in made:
        node.destroy_node()
    rclpy.try_shutdown()


def test_calibration_from_topics(in_this_process, rig, tmp_path, monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "tf2_ros", Transforms(rig.cameras))
    node, callbacks = in_this_process(
        calibration="topics",
        cameras="[camera0, camera1, camera2]",
        frame_id="map",
        input="compressed",
        save=tmp_path / "walk.rrd",
    )
    node._watch()
    assert "calibration: topic /camera0/camera_info: no CameraInfo has come yet" in capfd.readouterr().err
    # Skeletons and images need not wait for the calibration.
    callbacks[SKELETONS](skeletons([1], 0, "map"))
    jpeg = image_messages.bgr_to_compressed(np.zeros((480, 640, 3), np.uint8), header(0))
    callbacks["/camera1/image_raw/compressed"](jpeg)
    for camera in rig.cameras:
        info = camera_info_messages.camera_info(camera, header(0).stamp)
        callbacks[f"/{camera.name}/camera_info"](info)
    node._watch()
    deadline = time.monotonic() + 60
    while not node._images and time.monotonic() < deadline:
        time.sleep(0.01)
    node.close()
    rows = rows_of(tmp_path / "walk.rrd")
    for camera in rig.cameras:
        (row,) = (r for r in rows[f"/world/cameras/{camera.name}"] if "Transform3D:mat3x3" in r)
        turn = np.reshape(row["Transform3D:mat3x3"][0], (3, 3)).T
        np.testing.assert_allclose(turn, camera.R.T, atol=1e-5)
    assert len(rows["/world/people/joints"]) == 1
    assert sum("EncodedImage:blob" in row for row in rows["/world/cameras/camera1"]) == 1


def test_silence_is_told_and_people_do_not_stay(in_this_process, rig, tmp_path, capfd):
    node, callbacks = in_this_process(rig_file=tmp_path / "room.yaml", save=tmp_path / "walk.rrd")
    callbacks[SKELETONS](skeletons([1], 0))
    callbacks[SKELETONS](skeletons([1], 90))
    compressed = node.create_publisher(CompressedImage, "/camera1/image_raw/compressed", 1)
    elsewhere = node.create_publisher(SkeletonArray, "/robot/skeletons", 1)
    node._heard_s = {camera: before - 8.0 for camera, before in node._heard_s.items()}
    node._watch()
    node._watch()
    said = [line.partition("[rerun_view]: ")[2] for line in capfd.readouterr().err.splitlines()]
    silent = [line for line in said if line.startswith("nothing on ")]
    assert silent == [
        f"nothing on {SKELETONS} for 8 s, expected skeletons (no publishers there); they come on "
        "/robot/skeletons: -p skeletons_topic:=TOPIC",
        "nothing on /camera0/image_raw for 8 s, expected images (no publishers there)",
        "nothing on /camera1/image_raw for 8 s, expected images (no publishers there); they come on "
        "/camera1/image_raw/compressed: -p input:=compressed",
        "nothing on /camera2/image_raw for 8 s, expected images (no publishers there)",
    ]
    node.destroy_publisher(compressed)
    node.destroy_publisher(elsewhere)
    # A bag that starts again.
    callbacks[SKELETONS](skeletons([1], 30))
    assert "stamps went back by 2.0 s" in capfd.readouterr().err
    assert "start the node, `ros2 launch voxelpose_ros rig.launch.py" in node._skeletons_advice()
    node.close()
    joints = rows_of(tmp_path / "walk.rrd")["/world/people/joints"]
    assert [len(row["Points3D:positions"]) > 0 for row in joints] == [True, True, False, True]
    assert joints[2]["time"] == START_NS + 90 * PERIOD_NS + 1


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_viewer_elsewhere_is_sent_to_until_it_is_closed(ros, rig, tmp_path):
    program = pytest.importorskip("rerun_cli", reason="this rerun-sdk has no viewer").__path__[0]
    port = free_port()
    viewer = ros.start([Path(program) / "rerun", "--serve-grpc", "--port", str(port)])

    def answers():
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    ros.spin_until(answers, "the viewer")
    parameters = {"rig_file": tmp_path / "room.yaml", "images": "none", "connect": f"127.0.0.1:{port}"}
    sender = ros.start(python_command("voxelpose_ros.rerun_view", **parameters))
    people = ros.node.create_publisher(SkeletonArray, SKELETONS, 10)
    ros.spin_until(lambda: people.get_subscription_count() or sender.poll() is not None, "the sender")
    for index in range(5):
        people.publish(skeletons([0], index))
        ros.spin_for(0.05)
    # What reached the viewer: it sends all of it to whoever asks.
    copy = tmp_path / "copy.rrd"
    url = f"rerun+http://127.0.0.1:{port}/proxy"
    saving = ros.start([Path(program) / "rerun", url, "--save", str(copy)])

    def arrived():
        assert saving.poll() is None and sender.poll() is None, saving.output() + sender.output()
        return copy.exists() and copy.stat().st_size > 10_000

    ros.spin_until(arrived, "a copy of what the viewer has")
    viewer.terminate()
    ros.spin_until(lambda: sender.poll() is not None, "the end of the sender")
    assert sender.returncode == 2
    assert sender.output().splitlines()[-1] == f"error: {url}: was closed, or the connection to it is lost"
    saving.wait(timeout=60)
    # The first messages may come before the two have found each other.
    row = rows_of(copy)["/world/people/joints"][0]
    index = (row["time"] - START_NS) // PERIOD_NS
    shown = np.flatnonzero(np.arange(len(HALPE)) != HALPE.index("left_big_toe"))
    np.testing.assert_allclose(row["Points3D:positions"], joints_of(0, index)[shown] / 1000, atol=1e-4)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"rig_file": None}, "parameter 'rig_file' is empty, expected a calibration file"),
        ({"rig_file": "nowhere.yaml"}, "nowhere.yaml: does not exist"),
        ({"save": "none/walk.rrd"}, "none/walk.rrd: folder 'none' does not exist"),
        ({"save": "walk.txt"}, "parameter 'save': walk.txt: expected a file that ends in .rrd"),
        ({"connect": "robot"}, "'save' and 'connect' exclude each other"),
        ({"save": None, "connect": "127.0.0.1:9"}, "rerun+http://127.0.0.1:9/proxy: no Rerun viewer answers"),
        ({"save": None, "connect": "http://robot"}, "viewer 'http://robot': expected HOST"),
        (
            {"images": "camera0,camera9"},
            "'images': camera 'camera9' is unknown, expected none, or some of cam",
        ),
        ({"image_rate": "0"}, "'image_rate' is 0, expected a number from 0.1 to 1000"),
        ({"skeletons_topic": "/9 c"}, "topic '/9 c' is not a ROS name"),
        ({"image_with": "1"}, "parameter 'image_with' is unknown, did you mean 'image_width'?"),
    ],
)
def test_bad_starts_are_one_line(parameters, expected, rig, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    given = {"rig_file": "room.yaml", "save": "walk.rrd", **parameters}
    arguments = ["--ros-args"]
    for name, value in given.items():
        if value is not None:
            arguments += ["-p", f"{name}:={value}"]
    assert rerun_view.main(["rerun_view", *arguments]) == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and expected in lines[0]


def test_without_rerun_one_line_says_what_to_type(rig, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("voxelpose_core.rerun_destination.importlib.util.find_spec", lambda name: None)
    assert rerun_view.main(["rerun_view", "--ros-args", "-p", f"rig_file:={tmp_path / 'room.yaml'}"]) == 2
    assert "the Rerun viewer is not installed: pip install rerun-sdk" in capfd.readouterr().err
