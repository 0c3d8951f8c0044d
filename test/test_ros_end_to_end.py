"""Real processes over real DDS: simulator or player -> node -> skeletons, markers, diagnostics."""

import signal

import cv2
import numpy as np
import pytest

pytest.importorskip("voxelpose_ros.msg", reason="the package's messages are not built")

from coloured_dots_node import draw_person
from diagnostic_msgs.msg import DiagnosticArray
from ros_processes import positions, python_command, room_rig, stamp_ns, start_coloured_dots
from visualization_msgs.msg import Marker, MarkerArray

from voxelpose_core.estimator import PoseEstimator
from voxelpose_core.ros_messages.keypoints import keypoints_from_message
from voxelpose_core.skeletons import COCO17
from voxelpose_ros.msg import Keypoints2DArray, SkeletonArray
from voxelpose_ros.rig_simulator import WalkingPeople

SKELETONS = "/voxelpose/skeletons"
MARKERS = "/voxelpose/markers"
TRUTH = "/rig_simulator/truth"
FRAME_SETS = 6


def listen_to_everything(ros, rig, keypoints_topic):
    ros.listen(SkeletonArray, SKELETONS)
    ros.listen(MarkerArray, MARKERS)
    ros.listen(DiagnosticArray, "/diagnostics")
    for name in rig.names:
        ros.listen(Keypoints2DArray, keypoints_topic.format(camera=name))


def status_of(ros, name):
    for message in reversed(ros.heard["/diagnostics"]):
        for status in message.status:
            if status.name == f"voxelpose: {name}":
                return status
    return None


def value_of(ros, name, key):
    status = status_of(ros, name)
    return None if status is None else {v.key: v.value for v in status.values}.get(key)


def offline(rig, ros, topic, stamp):
    """What PoseEstimator says, without ROS, of the keypoints that were published of a frame set."""
    keypoints = []
    for camera in rig.cameras:
        heard = {stamp_ns(m): m for m in ros.heard[topic.format(camera=camera.name)]}
        message = heard.get(stamp)
        keypoints.append(None if message is None else keypoints_from_message(message, camera, COCO17))
    return PoseEstimator(rig, detector=None, device="cpu").estimate_keypoints(keypoints)


def nearest_errors(found, truth):
    """Mean joint distance of each true person to the nearest of those found, same unit."""
    gaps = np.linalg.norm(found[None] - truth[:, None], axis=-1).mean(axis=-1)
    return gaps.min(axis=1)


def check_message(message, rig):
    assert message.header.frame_id == rig.frame
    assert message.joint_set == "coco17"
    assert list(message.joint_names) == list(COCO17.joint_names)
    assert list(message.cameras) == list(rig.names)
    for skeleton in message.skeletons:
        joints = positions(skeleton)
        assert joints.shape == (17, 3)
        assert len(skeleton.joint_scores) == len(skeleton.joint_valid) == 17
        covariances = np.reshape(skeleton.joint_covariances, (17, 3, 3))
        assert 0 < np.linalg.eigvalsh(covariances).min() and covariances.max() < 0.3**2
        root = [skeleton.root.x, skeleton.root.y, skeleton.root.z]
        np.testing.assert_allclose(root, COCO17.root_of(joints), atol=1e-6)


def test_keypoints_become_skeletons_where_the_people_are(ros, tmp_path):
    rig = room_rig(tmp_path / "room.yaml", cameras=5)
    topic = "/{camera}/keypoints"
    listen_to_everything(ros, rig, topic)
    ros.listen(SkeletonArray, TRUTH)
    node = ros.start(
        python_command(
            "voxelpose_ros.node",
            rig_file=tmp_path / "room.yaml",
            input="keypoints",
            device="cpu",
            sync__max_wait_ms=5000,
            tracking__max_age_s=30,
            tracking__smooth=False,
        )
    )
    ros.wait_for_node(node, SKELETONS)
    simulator = ros.start(
        python_command(
            "voxelpose_ros.rig_simulator",
            rig_file=tmp_path / "room.yaml",
            people=2,
            max_frame_sets=FRAME_SETS,
            faults__noise_px=1.0,
            seed=3,
            lockstep__wait_for=SKELETONS,
        )
    )
    ros.spin_until(lambda: simulator.poll() is not None, "the end of the simulation")
    assert simulator.returncode == 0, simulator.output()
    ros.spin_until(lambda: value_of(ros, "estimator", "frame sets estimated") == str(FRAME_SETS))

    # Stamps: those of the frame sets that were seen.
    truths = {stamp_ns(message): message for message in ros.heard[TRUTH]}
    skeletons = {stamp_ns(message): message for message in ros.heard[SKELETONS]}
    assert len(skeletons) == FRAME_SETS
    assert truths and set(truths) <= set(skeletons)

    # Where the people are, in metres; the truth follows from the seed.
    people = WalkingPeople(rig.space, 2, seed=3)
    for index, stamp in enumerate(sorted(skeletons)):
        check_message(skeletons[stamp], rig)
        truth = people.joints(index / 10.0) / 1000.0
        if stamp in truths:
            said = [positions(s) for s in truths[stamp].skeletons]
            np.testing.assert_allclose(said, truth, atol=1e-9)
        found = np.array([positions(s) for s in skeletons[stamp].skeletons])
        assert len(found) == 2
        assert nearest_errors(found, truth).max() < 0.12
    # Each person keeps one number.
    numbers = {s.track_id for m in skeletons.values() for s in m.skeletons}
    assert numbers == {0, 1}

    # The same as without ROS.
    last = max(skeletons)
    answer = offline(rig, ros, topic, last)
    expected = [s.joints / 1000.0 for s in answer.skeletons]
    found = [positions(s) for s in skeletons[last].skeletons]
    np.testing.assert_allclose(found, expected, atol=1e-4)

    # Markers of every frame set, in the same frame.
    drawn = {}
    for message in ros.heard[MARKERS]:
        for marker in message.markers:
            if marker.action == Marker.ADD:
                drawn.setdefault(stamp_ns(marker), []).append(marker)
    assert set(drawn) == set(skeletons)
    for stamp, markers in drawn.items():
        assert {m.header.frame_id for m in markers} == {rig.frame}
        assert {(m.ns, m.id) for m in markers} == {
            (ns, number) for ns in ("joints", "limbs", "ids") for number in (0, 1)
        }
        for marker in (m for m in markers if m.ns == "joints"):
            (person,) = [s for s in skeletons[stamp].skeletons if s.track_id == marker.id]
            valid = positions(person)[np.array(person.joint_valid)]
            np.testing.assert_allclose([[p.x, p.y, p.z] for p in marker.points], valid)

    # A launch passes Ctrl-C on to processes that got it already.
    node.send_signal(signal.SIGINT)
    ros.spin_for(0.2)
    node.send_signal(signal.SIGINT)
    assert ros.stop(node) == 0, node.output()
    assert "Traceback" not in node.output()


@pytest.fixture
def drawn_recording(tmp_path):
    """A rig and one folder of pictures a camera, in which one drawn person walks."""
    rig = room_rig(tmp_path / "room.yaml")
    people = WalkingPeople(rig.space, 1, seed=5)
    folders = []
    for camera in rig.cameras:
        folder = tmp_path / camera.name
        folder.mkdir()
        for index in range(FRAME_SETS):
            (joints,) = people.joints(index / 10.0)
            image = np.zeros((480, 640, 3), np.uint8)
            draw_person(image, camera.project(joints)[0], camera.sees(joints))
            cv2.imwrite(str(folder / f"{index:03d}.png"), image)
        folders.append(str(folder))
    truth = [people.joints(index / 10.0) / 1000.0 for index in range(FRAME_SETS)]
    return rig, folders, truth


def test_images_become_skeletons_where_the_person_is(ros, tmp_path, drawn_recording):
    rig, folders, truth = drawn_recording
    keypoints = "/voxelpose/keypoints/{camera}"
    listen_to_everything(ros, rig, keypoints)
    node = start_coloured_dots(
        ros,
        rig_file=tmp_path / "room.yaml",
        device="cpu",
        qos__reliability="reliable",
        sync__max_wait_ms=5000,
        tracking__smooth=False,
    )
    ros.wait_for_node(node, SKELETONS)
    player = ros.start(
        python_command(
            "voxelpose_ros.camera_player",
            rig_file=tmp_path / "room.yaml",
            image_folders=f"[{', '.join(folders)}]",
            lockstep__wait_for=SKELETONS,
        )
    )
    ros.spin_until(lambda: player.poll() is not None, "the end of the recording")
    assert player.returncode == 0, player.output()
    ros.spin_until(lambda: value_of(ros, "estimator", "frame sets estimated") == str(FRAME_SETS))

    messages = sorted(ros.heard[SKELETONS], key=stamp_ns)
    assert len(messages) == FRAME_SETS
    for message, people in zip(messages, truth):
        check_message(message, rig)
        (skeleton,) = message.skeletons
        assert np.linalg.norm(positions(skeleton) - people[0], axis=1).mean() < 0.12
    last = stamp_ns(messages[-1])
    (expected,) = offline(rig, ros, keypoints, last).skeletons
    found = positions(messages[-1].skeletons[0])
    np.testing.assert_allclose(found, expected.joints / 1000.0, atol=1e-4)
    assert value_of(ros, "camera0", "received") == str(FRAME_SETS)
    assert ros.stop(node) == 0, node.output()
