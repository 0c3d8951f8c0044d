"""The detector beside the cameras: images in, keypoints out; a bad image costs only itself."""

import numpy as np
import pytest

pytest.importorskip("voxelpose_ros.msg", reason="the package's messages are not built")

from diagnostic_msgs.msg import DiagnosticStatus
from ros_processes import Cameras, python_command, room_rig, stamp_ns, start_coloured_dots
from sensor_msgs.msg import Image

from voxelpose_core.ros_messages.keypoints import keypoints_from_message
from voxelpose_core.skeletons import COCO17
from voxelpose_ros import detector_node
from voxelpose_ros.msg import Keypoints2DArray


def start_detector(ros, folder, **parameters):
    """The detector node before two cameras: its process, the cameras, and their keypoint topics."""
    rig = room_rig(folder / "room.yaml", cameras=2)
    cameras = Cameras(ros, rig, Image, "/{camera}/image_raw", node_name="/detector")
    answers = {name: f"/{name}/keypoints" for name in rig.names}
    for topic in answers.values():
        ros.listen(Keypoints2DArray, topic)
    process = start_coloured_dots(ros, "detector_node", cameras="[camera0, camera1]", **parameters)
    publishers = list(cameras.publishers.values())
    ros.wait_for_node(process, answers["camera0"])
    ros.spin_until(lambda: all(p.get_subscription_count() for p in publishers), "subscriptions")
    ros.spin_for(0.5)
    return process, cameras, answers


def expect_the_person(ros, cameras, answers):
    """One set of images in, and the person's keypoints of each camera out."""
    cameras.publish(cameras.image)
    ros.spin_until(lambda: all(ros.heard[topic] for topic in answers.values()), "keypoints")
    for camera in cameras.rig.cameras:
        (message,) = ros.heard[answers[camera.name]]
        assert (message.image_width, message.image_height) == camera.image_size
        (person,) = keypoints_from_message(message, camera, COCO17)
        pixels, _ = camera.project(cameras.joints)
        seen = person[:, 2] > 0
        assert seen.sum() > 12
        np.testing.assert_allclose(person[seen, :2], pixels[seen], atol=2.0)


def test_keypoints_come_of_images(ros, tmp_path):
    process, cameras, answers = start_detector(ros, tmp_path, qos__reliability="reliable")
    expect_the_person(ros, cameras, answers)
    stamps = {stamp_ns(ros.heard[topic][0]) for topic in answers.values()}
    assert len(stamps) == 1

    # A bad image is named, and the next good one comes out.
    bad = cameras.image("camera0", ros.node.get_clock().now().to_msg())
    bad.encoding = "h264"
    cameras.publishers["camera0"].publish(bad)

    def warned():
        status = cameras.status("camera0")
        return status is not None and "encoding 'h264' is unknown" in status.message

    ros.spin_until(warned, "a word about the bad image")
    assert "topic /camera0/image_raw: enc" in cameras.status("camera0").message
    assert cameras.status("camera0").level in (DiagnosticStatus.WARN, DiagnosticStatus.ERROR)
    cameras.publish(cameras.image, ["camera0"])
    ros.spin_until(lambda: len(ros.heard[answers["camera0"]]) == 2, "the next keypoints")

    # Cameras that are silent are named, too.
    ros.spin_until(lambda: cameras.status("camera1").level == DiagnosticStatus.ERROR, "silence")
    text = cameras.status("camera1").message
    assert text.startswith("nothing on /camera1/image_raw for ") and "(1 publisher there)" in text
    assert ros.stop(process) == 0, process.output()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ([], "parameter 'cameras' is empty, expected the names of the cameras"),
        (["-p", "cameras:=[a]", "-p", "detector:=oracle"], "detector 'oracle' is unknown"),
        (["-p", "cameras:=[a]", "-p", "image_topic:=/image"], "has no '{camera}' in it"),
        (["-p", "cameras:=[a]", "-p", "device:=abacus"], "device 'abacus' is unknown"),
        (["-p", "cameras:=[a]", "-p", "refine_detections:=often"], "expected true or false"),
    ],
)
def test_a_bad_start_says_why_in_one_line(parameters, message, capfd, monkeypatch):
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    assert detector_node.main(["detector", "--ros-args", *parameters]) == 2
    (line,) = [x for x in capfd.readouterr().err.splitlines() if x.startswith("error: ")]
    assert message in line


def test_images_are_turned_upright_and_joints_back(ros, tmp_path):
    """The detector of this test knows no up, so that only the way there and back is seen here."""
    turns = {"qos__reliability": "reliable", "quarter_turns": "[1, 2]"}
    process, cameras, answers = start_detector(ros, tmp_path, **turns)
    expect_the_person(ros, cameras, answers)
    assert ros.stop(process) == 0, process.output()


@pytest.mark.parametrize("turns", ["[1, 2, 3]", "[0.5]"])
def test_quarter_turns_that_do_not_fit_the_cameras_are_refused(ros, turns):
    process = ros.start(
        python_command("voxelpose_ros.detector_node", cameras="[left, right]", quarter_turns=turns)
    )
    assert process.wait(60) == 2
    assert "parameter 'quarter_turns' is" in process.output()
    assert "one for all cameras or 2" in process.output()
