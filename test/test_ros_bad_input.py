"""Bad configuration: one line and exit code 2. Bad messages: they cost only themselves."""

import subprocess
import sys
import threading

import cv2
import numpy as np
import pytest

pytest.importorskip("voxelpose_ros.msg", reason="the package's messages are not built")

import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from ros_processes import (
    INPUTS,
    Cameras,
    Ros,
    positions,
    python_command,
    room_rig,
    ros_arguments,
    start_coloured_dots,
)

from voxelpose_ros import (
    camera_info_messages,
    camera_player,
    detector_node,
    image_messages,
    process,
    rig_simulator,
)
from voxelpose_ros import node as voxelpose_node
from voxelpose_ros.msg import Keypoints2D


@pytest.fixture
def rig_file(tmp_path):
    room_rig(tmp_path / "room.yaml", cameras=3)
    return tmp_path / "room.yaml"


NODE, PLAYER, SIMULATOR = voxelpose_node, camera_player, rig_simulator
DETECTOR = detector_node
BAD_STARTS = [
    (NODE, {"rig_file": None}, "parameter 'rig_file' is empty, expected a calibration file"),
    (NODE, {"rig_file": "nowhere.yaml"}, "nowhere.yaml: does not exist"),
    (NODE, {"cameras": "[camera0, camera9]"}, "camera 'camera9' is not in the rig, expected one of camera0"),
    (NODE, {"cameras": "[camera0]"}, "1 camera(s), expected at least 2"),
    (NODE, {"topics": "[/a, /b]"}, "calibrations of 3 cameras (camera0, camera1, camera2)"),
    (NODE, {"topics": "[/a, /b, /a]"}, "topic '/a' serves two cameras"),
    (NODE, {"topics": "[/a, /b, '/9 c']"}, "topic '/9 c' is not a ROS name"),
    (NODE, {"image_topic": "/image"}, "topic '/image' has no '{camera}' in it"),
    (NODE, {"input": "video"}, "'input' is 'video', expected one of image, compressed, keypoints"),
    (NODE, {"sync.slop_ms": "-1"}, "'sync.slop_ms' is -1, expected a number from 0 to 1000"),
    (NODE, {"sync.slop_ms": "wide"}, "'sync.slop_ms' is 'wide', expected a number from 0 to 1000"),
    (NODE, {"sync.min_cameras": "4", "input": "keypoints"}, "sync.min_cameras is 4"),
    (NODE, {"sync.min_cameras": "2.5"}, "'sync.min_cameras' is 2.5, expected a whole number"),
    (NODE, {"check_camera_info": "7"}, "'check_camera_info' is 7, expected true or false"),
    (NODE, {"space": "1,2,3"}, "space '1,2,3': expected CX,CY,CZ,SX,SY,SZ"),
    (NODE, {"weights": "no_such"}, "weights 'no_such'"),
    (NODE, {"device": "abacus", "input": "keypoints"}, "device 'abacus'"),
    (NODE, {"detector": "crystal_ball"}, "detector 'crystal_ball' is unknown"),
    (NODE, {"refine_detections": "true", "input": "keypoints"}, "refine_detections: there is no 2D detector"),
    (PLAYER, {"rig_file": None}, "parameter 'rig_file' is empty"),
    (PLAYER, {}, "'videos' and 'image_folders': expected one of them"),
    (PLAYER, {"videos": "[a.mp4, b.mp4]"}, "2 videos for 3 cameras"),
    (PLAYER, {"videos": "[a.mp4, b.mp4, c.mp4]"}, "a.mp4"),
    (PLAYER, {"faults.drop": "1.5"}, "'faults.drop' is 1.5, expected a number from 0 to 1"),
    (NODE, {"slop_ms": "20.0"}, "parameter 'slop_ms' is now 'sync.slop_ms'"),
    (NODE, {"track_gate_mm": "400.0"}, "parameter 'track_gate_mm' is now 'tracking.gate_mm'"),
    (NODE, {"sync.slopms": "20.0"}, "parameter 'sync.slopms' is unknown, did you mean 'sync.slop_ms'?"),
    (NODE, {"gate_mm": "400.0"}, "'gate_mm' is unknown, did you mean 'tracking.gate_mm'?"),
    (NODE, {"detectr": "movenet"}, "'detectr' is unknown, did you mean 'detector'?"),
    (
        DETECTOR,
        {"rig_file": None, "reliability": "reliable"},
        "parameter 'reliability' is now 'qos.reliability'",
    ),
    (DETECTOR, {"rig_file": None, "camera": "[a, b]"}, "'camera' is unknown, did you mean 'cameras'?"),
    (PLAYER, {"moments": "3"}, "parameter 'moments' is now 'max_frame_sets'"),
    (SIMULATOR, {"noise_px": "3.0"}, "parameter 'noise_px' is now 'faults.noise_px'"),
    (SIMULATOR, {"rig_file": "nowhere.yaml"}, "nowhere.yaml: does not exist"),
    (SIMULATOR, {"people": "40"}, "40 people, expected at most"),
]


@pytest.mark.parametrize(("module", "changes", "message"), BAD_STARTS)
def test_a_bad_start_says_why_in_one_line(module, changes, message, rig_file, capfd, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    arguments = ros_arguments({"rig_file": rig_file} | changes)
    assert module.main(["program", *arguments]) == 2
    (line,) = [x for x in capfd.readouterr().err.splitlines() if x.startswith("error: ")]
    assert message in line


def test_the_process_ends_with_exit_code_2(tmp_path):
    command = python_command("voxelpose_ros.node", rig_file=tmp_path / "missing.yaml")
    ended = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"error: {tmp_path / 'missing.yaml'}: ")
    assert len(ended.stderr.splitlines()) == 1


def test_unreadable_ros_arguments_are_told_in_one_line(capfd):
    assert voxelpose_node.main(["node", "--ros-args", "-p", "nonsense"]) == 2
    lines = [x for x in capfd.readouterr().err.splitlines() if x.startswith("error: ")]
    assert len(lines) == 1
    assert "nonsense" in lines[0]


@pytest.mark.parametrize("argument", ["rig_file:=rig.yaml", "--rig", "--help"])
@pytest.mark.parametrize("module", [NODE, DETECTOR, PLAYER, SIMULATOR])
def test_arguments_that_are_not_ros_arguments_are_refused(module, argument, capfd):
    assert module.main(["node", argument]) == 2
    (line,) = [x for x in capfd.readouterr().err.splitlines() if x.startswith("error: ")]
    assert f"argument '{argument}' is unknown, expected parameters as --ros-args -p NAME:=VALUE" in line


@pytest.mark.parametrize("debug", [False, True])
def test_an_unexpected_error_is_one_line_unless_asked(debug, capfd):
    def fail():
        raise ZeroDivisionError("division by zero")

    assert process.run(fail, args=["node", *["--debug"] * debug]) == 70
    lines = capfd.readouterr().err.splitlines()
    if debug:
        assert lines[0].startswith("Traceback") and lines[-1].startswith("ZeroDivisionError")
    else:
        assert [line.split(" (run again")[0] for line in lines] == [
            "error: unexpected ZeroDivisionError: division by zero"
        ]


@pytest.mark.parametrize("ends", [True, False])
def test_errors_of_a_message_that_ctrl_c_cut_off_are_not_told(ends, capfd):
    def work(node):
        if ends:
            threading.Timer(0.1, rclpy.try_shutdown).start()
        raise RuntimeError("Unable to convert call argument")

    assert process.run(lambda: rclpy.create_node("cut_off"), work, ["node"]) == (0 if ends else 70)
    assert ("unexpected RuntimeError: Unable to convert" in capfd.readouterr().err) is not ends


@pytest.fixture(scope="module")
def start_node(tmp_path_factory):
    """The node for one kind of input: returns its process and the cameras.

    All are started with the first, each in a domain of its own, and end together.
    """
    running, ready = {}, set()

    def start(kind):
        if not running:
            for number, other in enumerate(INPUTS):
                running[other] = start_another(other, number)
        _, process, cameras = running[kind]
        if kind not in ready:
            cameras.wait_for_node(process)
            ready.add(kind)
        return process, cameras

    def start_another(kind, number):
        folder = tmp_path_factory.mktemp(kind)
        ros = Ros(folder, number=number)
        cameras = Cameras(ros, room_rig(folder / "room.yaml"), *INPUTS[kind])
        process = start_coloured_dots(
            ros,
            rig_file=folder / "room.yaml",
            input=kind,
            device="cpu",
            qos__reliability="reliable",
            sync__max_wait_ms=3000,
        )
        return ros, process, cameras

    yield start
    for ros, *_ in running.values():
        ros.interrupt()
    for ros, *_ in running.values():
        ros.close()


def change(**values):
    def spoil(message):
        for name, value in values.items():
            setattr(message, name, value)

    return spoil


def crop(message):
    smaller = image_messages.bgr_to_image(np.zeros((180, 320, 3), np.uint8), message.header)
    for name in ("width", "height", "step", "data"):
        setattr(message, name, getattr(smaller, name))


def test_bad_images_cost_only_themselves(start_node):
    process, cameras = start_node("image")
    everyone = list(cameras.rig.names)
    assert list(cameras.show(cameras.image).cameras) == everyone
    for spoil, said in (
        (crop, "image is 320x180, camera 'camera1' is calibrated for 640x480"),
        (change(encoding="h264"), "encoding 'h264' is unknown"),
        (change(step=7), "expected step 7 x 480 rows"),
        (change(data=[]), "image has 0 bytes"),
        (change(width=0, height=0, step=0, data=[]), "image is 0x0, expected pixels"),
    ):
        answer = cameras.show(cameras.image, spoil, bad=["camera1"])
        assert list(answer.cameras) == ["camera0", "camera2", "camera3"]
        problem = cameras.problem("camera1")
        assert problem.startswith("topic /camera1/image_raw: ")
        assert said in problem
        assert "\n" not in problem
    # All bad but one: no answer, and the node says so; then everything is well again.
    stamp = cameras.ros.node.get_clock().now().to_msg()
    for name, publisher in cameras.publishers.items():
        message = cameras.image(name, stamp)
        if name != "camera0":
            crop(message)
        publisher.publish(message)
    assert cameras.problem("estimator") == (
        "frame set dropped: usable messages of 1 of 4 cameras, sync.min_cameras is 2"
    )
    for name in everyone[1:]:
        assert "image is 320x180" in cameras.problem(name)
    answer = cameras.show(cameras.image)
    assert list(answer.cameras) == everyone
    assert len(answer.skeletons) == 1
    assert process.poll() is None


def test_a_scaled_copy_is_resized_and_remarked_once(start_node):
    process, cameras = start_node("image")
    expected = positions(cameras.show(cameras.image).skeletons[0])

    def enlarge(message):
        image = cv2.resize(image_messages.to_bgr(message), (1280, 960), interpolation=cv2.INTER_NEAREST)
        larger = image_messages.bgr_to_image(image, message.header)
        for name in ("width", "height", "step", "data"):
            setattr(message, name, getattr(larger, name))

    answer = cameras.show(cameras.image, enlarge, bad=["camera1"])
    assert list(answer.cameras) == list(cameras.rig.names)
    found = positions(answer.skeletons[0])
    assert np.linalg.norm(found - expected, axis=-1).max() < 0.02
    remark = "camera 'camera1': images are 1280x960, 2 times the calibrated 640x480: they are resized"
    cameras.ros.spin_until(lambda: cameras.value("camera1", "remark") == remark, "the remark")
    assert process.poll() is None


def test_a_camera_info_that_contradicts_the_rig_takes_its_camera_out(start_node):
    process, cameras = start_node("image")
    wrong = camera_info_messages.camera_info(
        cameras.rig.camera("camera2"), cameras.ros.node.get_clock().now().to_msg()
    )
    right = camera_info_messages.camera_info(cameras.rig.camera("camera2"), wrong.header.stamp)
    wrong.width = 1280
    cameras.infos["camera2"].publish(wrong)
    cameras.ros.spin_for(0.5)
    assert list(cameras.show(cameras.image).cameras) == ["camera0", "camera1", "camera3"]
    assert cameras.problem("camera2") == (
        "topic /camera2/camera_info: CameraInfo says 1280x480 pixels, the rig file 640x480 "
        "for camera 'camera2'"
    )
    cameras.infos["camera2"].publish(right)
    cameras.ros.spin_for(0.5)
    assert list(cameras.show(cameras.image).cameras) == list(cameras.rig.names)
    assert process.poll() is None


def test_bad_compressed_images_cost_only_themselves(start_node):
    process, cameras = start_node("compressed")
    answer = cameras.show(cameras.compressed)
    assert len(answer.skeletons) == 1

    def truncate(message):
        jpeg = cv2.imencode(".jpg", np.zeros((480, 640, 3), np.uint8))[1].tobytes()
        message.data = jpeg[: len(jpeg) // 2]

    answer = cameras.show(cameras.compressed, truncate, bad=["camera0"])
    assert list(answer.cameras) == ["camera1", "camera2", "camera3"]
    problem = cameras.problem("camera0")
    assert problem.startswith("topic /camera0/image_raw/compressed: ")
    assert "is cut off" in problem
    assert len(cameras.show(cameras.compressed).skeletons) == 1
    assert process.poll() is None


def test_bad_keypoints_cost_only_themselves(start_node):
    process, cameras = start_node("keypoints")
    assert len(cameras.show(cameras.keypoints).skeletons) == 1
    for spoil, said in (
        (change(image_width=1), "image is 1x480"),
        (change(joint_set="octopus8"), "joint set is 'octopus8', expected 'coco17'"),
        (change(camera="camera0"), "keypoints are of camera 'camera0', expected 'camera3'"),
        (change(people=[Keypoints2D()] * 500), "500 people, expected at most 100"),
        (change(people=[Keypoints2D(x=[1.0])]), "a person has 1 keypoints, expected 17"),
    ):
        answer = cameras.show(cameras.keypoints, spoil, bad=["camera3"])
        assert list(answer.cameras) == ["camera0", "camera1", "camera2"]
        problem = cameras.problem("camera3")
        assert problem.startswith("topic /camera3/keypoints: ")
        assert said in problem
    assert len(cameras.show(cameras.keypoints).skeletons) == 1
    assert process.poll() is None


def test_a_camera_that_is_silent_is_named(start_node):
    process, cameras = start_node("keypoints")
    stamp = cameras.ros.node.get_clock().now().to_msg()
    for name, publisher in cameras.publishers.items():
        if name != "camera1":
            publisher.publish(cameras.keypoints(name, stamp))

    def silent():
        status = cameras.status("camera1")
        return status is not None and status.level == DiagnosticStatus.ERROR

    cameras.ros.spin_until(silent, "a word about camera1")
    text = cameras.status("camera1").message
    assert text.startswith("nothing on /camera1/keypoints for ")
    assert text.endswith("expected a stream (1 publisher there)")
    assert process.poll() is None


def test_a_bad_image_shows_in_the_status_of_its_camera(start_node):
    process, cameras = start_node("image")
    stop = []

    def shown():
        if len(stop) % 10 == 0:
            stamp = cameras.ros.node.get_clock().now().to_msg()
            for name, publisher in cameras.publishers.items():
                message = cameras.image(name, stamp)
                if name == "camera1":
                    message.encoding = "h264"
                publisher.publish(message)
        stop.append(None)
        status = cameras.status("camera1")
        return status is not None and "encoding" in status.message

    cameras.ros.spin_until(shown, "a status that names the encoding")
    status = cameras.status("camera1")
    assert status.level in (DiagnosticStatus.WARN, DiagnosticStatus.ERROR)
    assert status.message.startswith("topic /camera1/image_raw: encoding 'h264' is unknown")
    assert status.hardware_id == "room"
    assert process.poll() is None


INTERRUPTED_IN_A_FINALIZER = """
import signal, sys, time
import rclpy
from voxelpose_ros import process


class Noisy:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)
        for _ in range(100):  # the signal arrives between two instructions
            pass


def work(node):
    noisy = Noisy()
    del noisy
    time.sleep(600)


sys.exit(process.run(lambda: rclpy.create_node("interrupted"), work))
"""


def test_an_interrupt_in_a_finalizer_ends_the_process_without_a_traceback():
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_IN_A_FINALIZER],
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
