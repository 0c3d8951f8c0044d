"""Calibration from topics, transforms, overlays, markers of the rig, qualities of service: one node
in this process, with a tf2_ros of its own where none is installed."""

import dataclasses
import sys

import numpy as np
import pytest

pytest.importorskip("voxelpose_ros.msg", reason="the package's messages are not built")

from diagnostic_msgs.msg import DiagnosticStatus
from node_in_process import nodes_in_process, stand_in_for_tf2
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_processes import Cameras, positions, room_rig
from sensor_msgs.msg import Image
from visualization_msgs.msg import MarkerArray

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.rig import load_rig, save_rig
from voxelpose_core.geometry.rig_check import rig_findings
from voxelpose_ros import camera_info_messages, conversions, image_messages, topics
from voxelpose_ros.calibration import RigFile
from voxelpose_ros.msg import Keypoints2DArray, SkeletonArray

TOPIC = "/{camera}/keypoints"


@pytest.fixture
def transforms(monkeypatch):
    return stand_in_for_tf2(monkeypatch)


@pytest.fixture
def start(tmp_path, monkeypatch):
    with nodes_in_process(tmp_path, monkeypatch) as start:
        yield start


def publish_until(cameras, condition, what):
    """Publish frame sets until it happens."""

    def happened():
        cameras.publish(cameras.keypoints)
        cameras.ros.spin_for(0.3)
        return condition()

    cameras.ros.spin_until(happened, what)


def test_a_node_calibrated_by_topics_tells_and_follows(start, transforms, tmp_path):
    rig = room_rig(tmp_path / "room.yaml", cameras=3)
    ros = start(
        calibration="topics",
        cameras="camera0,camera1,camera2",
        input="keypoints",
        device="cpu",
        frame_id="hall",
        sync__max_wait_ms=3000,
        publish_tf=True,
    )
    ros.listen(MarkerArray, "/voxelpose/rig_markers", topics.latched_qos())
    cameras = Cameras(ros, rig, Keypoints2DArray, TOPIC)
    publishers = [*cameras.publishers.values(), *cameras.infos.values()]
    ros.spin_until(lambda: all(p.get_subscription_count() for p in publishers), "subscriptions")
    assert cameras.problem("estimator").startswith("calibration: topic /camera0/camera_info: no C")

    stamp = ros.node.get_clock().now().to_msg()
    for camera in rig.cameras:
        cameras.infos[camera.name].publish(camera_info_messages.camera_info(camera, stamp))

    def unknown():
        return "no transform from 'hall' to" in (cameras.value("estimator", "last problem") or "")

    ros.spin_until(unknown, "a word about the missing transform")
    for camera in rig.cameras:
        transform = conversions.camera_transform(camera, "hall")
        transforms.known[transform.child_frame_id] = transform

    publish_until(cameras, lambda: ros.heard[cameras.skeletons], "skeletons")
    (person,) = ros.heard[cameras.skeletons][-1].skeletons
    assert np.linalg.norm(positions(person) - cameras.joints / 1e3, axis=1).mean() < 0.12
    assert ros.heard[cameras.skeletons][-1].header.frame_id == "hall"

    # A frame at mid-hip that looks where the person goes.
    sent = transforms.sent[-1]
    assert (sent.header.frame_id, sent.child_frame_id) == ("hall", f"body_{person.track_id}")
    place = sent.transform.translation
    root = person.root
    np.testing.assert_allclose([place.x, place.y, place.z], [root.x, root.y, root.z])

    # The cameras and the space, also for who comes late.
    ros.spin_until(lambda: ros.heard["/voxelpose/rig_markers"], "markers of the rig")
    markers = {(m.ns, m.id): m for m in ros.heard["/voxelpose/rig_markers"][-1].markers}
    assert {m.header.frame_id for m in markers.values()} == {"hall"}
    frusta = np.array([[p.x, p.y, p.z] for p in markers["cameras", 0].points])
    assert len(frusta) == 3 * 16
    for index, camera in enumerate(rig.cameras):
        assert markers["names", index].text == camera.name
        np.testing.assert_allclose(frusta[16 * index], camera.C / 1e3, atol=1e-6)
    space = [[p.x, p.y, p.z] for p in markers["space", 0].points]
    assert len(space) == 24 and np.min(space, axis=0)[2] == pytest.approx(0.0)

    # A camera that was moved is followed.
    transforms.known["camera0_optical_frame"].transform.translation.z += 0.5
    said = len(ros.heard["/voxelpose/rig_markers"])

    markers = ros.heard["/voxelpose/rig_markers"]
    publish_until(cameras, lambda: len(markers) > said, "the new calibration")
    first = markers[-1].markers[1]
    assert (first.ns, first.points[0].z) == ("cameras", pytest.approx(2.8))


def test_a_calibration_from_topics_comes_without_simulated_time(start, transforms, tmp_path):
    rig = room_rig(tmp_path / "room.yaml", cameras=2)
    ros = start(
        calibration="topics",
        cameras="camera0,camera1",
        input="keypoints",
        device="cpu",
        use_sim_time=True,
    )
    ros.listen(MarkerArray, "/voxelpose/rig_markers", topics.latched_qos())
    cameras = Cameras(ros, rig, Keypoints2DArray, TOPIC)
    ros.spin_until(lambda: all(p.get_subscription_count() for p in cameras.infos.values()), "subscriptions")
    for camera in rig.cameras:
        transform = conversions.camera_transform(camera, "world")
        transforms.known[transform.child_frame_id] = transform

    def calibrated():
        # Again and again: the node's side may find the publishers later than they find it.
        stamp = ros.node.get_clock().now().to_msg()
        for camera in rig.cameras:
            cameras.infos[camera.name].publish(camera_info_messages.camera_info(camera, stamp))
        return ros.heard["/voxelpose/rig_markers"]

    publish_until(cameras, calibrated, "the calibration")
    publish_until(cameras, lambda: ros.heard[cameras.skeletons], "skeletons")


def test_overlays_are_drawn_for_whoever_listens_and_other_qualities_are_told(start, tmp_path):
    rig = room_rig(tmp_path / "room.yaml", cameras=3)
    ros = start(
        rig_file=tmp_path / "room.yaml",
        input="keypoints",
        device="cpu",
        sync__max_wait_ms=3000,
        qos__reliability="reliable",
        qos__output_reliability="best_effort",
    )
    cameras = Cameras(ros, rig, Keypoints2DArray, TOPIC)
    ros.node.destroy_publisher(cameras.publishers["camera2"])
    careless = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
    cameras.publishers["camera2"] = ros.node.create_publisher(
        Keypoints2DArray, "/camera2/keypoints", careless
    )
    assert cameras.problem("camera2") == (
        "topic /camera2/keypoints: a publisher offers another reliability than is asked for "
        "(parameter 'qos.reliability' is reliable)"
    )
    # The listener's reliable subscription, too.
    assert cameras.problem("estimator").startswith(
        "topic /voxelpose/skeletons: a subscriber asks for another reliability than is offered"
    )
    ros.listen(SkeletonArray, "/voxelpose/skeletons", topics.sensor_qos())
    ros.listen(Image, "/voxelpose/overlay/camera1", topics.sensor_qos())
    for topic in ("/camera0/keypoints", "/camera1/keypoints"):
        ros.spin_until(lambda topic=topic: ros.node.count_subscribers(topic), "subscriptions")
    ros.spin_for(1.0)
    publish_until(cameras, lambda: ros.heard["/voxelpose/overlay/camera1"], "an overlay")
    picture = image_messages.image_to_bgr(ros.heard["/voxelpose/overlay/camera1"][-1])
    assert picture.shape == (480, 640, 3)
    assert ros.heard["/voxelpose/overlay/camera1"][-1].header.frame_id == "camera1_optical_frame"
    # Something was drawn where the person is.
    pixels, _ = rig.camera("camera1").project(cameras.joints)
    x, y = pixels[11:13].mean(axis=0).astype(int)
    assert np.ptp(picture[y - 20 : y + 20, x - 20 : x + 20].reshape(-1, 3), axis=0).max() > 50
    # camera2's messages never come, and its status says why.
    silence = "nothing on /camera2/keypoints"
    ros.spin_until(lambda: silence in cameras.status("camera2").message, "its silence")
    assert cameras.status("camera2").message.endswith(
        "(1 publisher there): a publisher there offers another reliability than is asked for"
    )


def test_a_rig_of_rectified_images_is_compared_with_p(start, tmp_path):
    raw = room_rig(tmp_path / "raw.yaml", cameras=3)
    shrink = np.diag([0.9, 0.9, 1.0])
    rectified = dataclasses.replace(
        raw,
        cameras=tuple(
            dataclasses.replace(camera, K=shrink @ camera.K, distortion=np.zeros(5)) for camera in raw.cameras
        ),
    )
    save_rig(rectified, tmp_path / "room.yaml")
    ros = start(
        rig_file=tmp_path / "room.yaml",
        input="keypoints",
        rectified=True,
        device="cpu",
        qos__reliability="reliable",
        sync__max_wait_ms=3000,
    )
    cameras = Cameras(ros, rectified, Keypoints2DArray, TOPIC)
    ros.spin_until(lambda: all(p.get_subscription_count() for p in cameras.infos.values()), "subscriptions")
    ros.spin_for(1.0)
    for camera, flat in zip(raw.cameras, rectified.cameras):
        info = camera_info_messages.camera_info(camera, ros.node.get_clock().now().to_msg())
        info.p = np.hstack([flat.K, np.zeros((3, 1))]).ravel().tolist()
        cameras.infos[camera.name].publish(info)
    ros.spin_for(0.5)
    assert list(cameras.show(cameras.keypoints).cameras) == list(raw.names)
    # The last CameraInfo again, with the raw image's matrix as P.
    info.p = np.hstack([camera.K, np.zeros((3, 1))]).ravel().tolist()
    cameras.infos["camera2"].publish(info)
    ros.spin_for(0.5)
    assert list(cameras.show(cameras.keypoints).cameras) == ["camera0", "camera1"]
    assert "(P), the rig file" in cameras.problem("camera2")


def test_what_looks_wrong_with_a_rig_and_its_views_stays_in_the_diagnostics(start, tmp_path):
    room_rig(tmp_path / "room.yaml", cameras=3)
    file = tmp_path / "room.yaml"
    wrong = load_rig(file)
    distortion = wrong.cameras[1].distortion.copy()
    distortion[2] = 0.05
    odd = dataclasses.replace(wrong.cameras[1], distortion=distortion)
    wrong = dataclasses.replace(wrong, cameras=(wrong.cameras[0], odd, wrong.cameras[2]))
    (line,) = rig_findings(wrong).wrong
    save_rig(wrong, file)
    ros = start(rig_file=file, input="keypoints", device="cpu", sync__max_wait_ms=3000)
    cameras = Cameras(ros, wrong, Keypoints2DArray, TOPIC)
    status = lambda: cameras.status("calibration")  # noqa: E731
    for _ in range(2):
        ros.heard["/diagnostics"].clear()
        ros.spin_until(status, "a word about the calibration")
        assert (status().level, status().message) == (DiagnosticStatus.WARN, line)

    def exchanged():
        """Exchanged cables: camera0's topic carries what camera2 sees."""
        stamp = ros.node.get_clock().now().to_msg()
        for name, seen in zip(wrong.names, reversed(wrong.names)):
            message = cameras.keypoints(seen, stamp)
            message.camera = name
            cameras.publishers[name].publish(message)
        ros.spin_for(0.3)
        return "'camera0' and 'camera2' look exchanged" in cameras.status("estimator").message

    ros.spin_until(exchanged, "a word about the exchange", timeout_s=120.0)
    # Right again: so is the status.
    room_rig(file, cameras=3)
    ros.spin_until(lambda: status().level == DiagnosticStatus.OK, "the new calibration")


@pytest.mark.parametrize("folder", [False, True])
def test_a_calibration_is_read_when_it_changed(tmp_path, folder):
    file = tmp_path / "rig" / "room.yaml"
    file.parent.mkdir()
    room_rig(file, cameras=2)
    calibration = RigFile(file.parent if folder else file, lambda: load_rig(file))
    assert calibration.poll().frame == "world"
    assert calibration.poll() is None
    text = file.read_text()
    file.write_text(text.replace("frame: world", "frame: hall"))
    assert calibration.poll().frame == "hall"
    file.unlink()
    with pytest.raises(InputError, match="does not exist"):
        calibration.poll()
    assert calibration.poll() is None
    file.write_text(text.replace("camera1", "another"))
    with pytest.raises(InputError, match="other cameras need a reconfigure"):
        calibration.poll()
    file.write_text(text)
    assert calibration.poll().frame == "world"


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"calibration": "topics"}, "parameter 'cameras' is empty"),
        ({"calibration": "topics", "cameras": "a,b"}, "calibration:=topics needs tf2_ros"),
        ({"publish_tf": True}, "publish_tf needs tf2_ros, which is not installed here"),
        ({"sync.offsets_ms": "[1.0, 2.0]"}, "'sync.offsets_ms' has 2 values, expected one for each of"),
        ({"sync.offsets_ms": "[a, b, c]"}, "expected a list of numbers from -3.6e.06 to"),
    ],
)
def test_what_cannot_be_is_told(start, tmp_path, monkeypatch, parameters, text):
    monkeypatch.setitem(sys.modules, "tf2_ros", None)
    room_rig(tmp_path / "room.yaml", cameras=3)
    with pytest.raises(InputError, match=text.replace("[", r"\[")):
        start(rig_file=tmp_path / "room.yaml", input="keypoints", device="cpu", **parameters)
