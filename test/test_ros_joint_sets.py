"""2D detections with more joints than the weights: the node follows them, markers show hands thinly."""

import numpy as np
import pytest

pytest.importorskip("voxelpose_ros.msg", reason="the package's messages are not built")

from ros_processes import Cameras, python_command, room_rig
from std_msgs.msg import Header

from voxelpose_core.detector_joint_sets import HALPE26, WHOLEBODY133
from voxelpose_core.pose_types import Skeleton
from voxelpose_core.ros_messages.skeletons import skeletons_from_message
from voxelpose_core.skeletons import COCO17
from voxelpose_ros import conversions
from voxelpose_ros.markers import DETAILS, NAMESPACES, SkeletonMarkers
from voxelpose_ros.msg import Keypoints2DArray


def test_the_node_follows_the_joint_set_of_most_cameras(ros, tmp_path):
    rig = room_rig(tmp_path / "room.yaml")
    cameras = Cameras(ros, rig, Keypoints2DArray, "/{camera}/keypoints")
    command = python_command(
        "voxelpose_ros.node",
        rig_file=tmp_path / "room.yaml",
        input="keypoints",
        keypoints_topic="'/{camera}/keypoints'",
        device="cpu",
        space="'0,0,1000,3000,3000,2000'",
    )
    cameras.wait_for_node(ros.start(command))
    assert cameras.show(cameras.keypoints).joint_set == "coco17"
    full = np.zeros((len(HALPE26), 3))
    full[list(HALPE26.body)] = cameras.joints
    for joint in HALPE26.additional:
        full[joint] = full[HALPE26.index("left_ankle" if "left" in HALPE26.joint_names[joint] else "nose")]

    def halpe(name, stamp):
        camera = rig.camera(name)
        person = np.column_stack([camera.project(full)[0], camera.sees(full) * 0.9])[None]
        return conversions.keypoints_to_message(person, camera, HALPE26, Header(stamp=stamp))

    answer = cameras.show(halpe)
    assert answer.joint_set == "halpe26" and list(answer.joint_names) == list(HALPE26.joint_names)
    (person,) = skeletons_from_message(answer)
    toe = HALPE26.index("left_big_toe")
    assert person.joint_valid[toe] and np.linalg.norm(person.joints[toe] - full[toe]) < 5
    # One camera's detector has another joint set: it costs that camera.
    one = rig.names[1]
    answer = cameras.show(lambda name, stamp: (cameras.keypoints if name == one else halpe)(name, stamp))
    assert answer.joint_set == "halpe26" and one not in answer.cameras
    assert "joint set is 'coco17', expected 'halpe26'" in cameras.problem(one)


def message_of(joint_set):
    joints = np.random.default_rng(0).uniform(0, 1800, (len(joint_set), 3))
    ones = np.ones(len(joint_set))
    skeleton = Skeleton(joints, ones, ones.astype(bool), 0.9, 4)
    return conversions.skeletons_to_message([skeleton], joint_set, ["a", "b"], Header(frame_id="world"))


@pytest.mark.parametrize(("joint_set", "dots"), [(COCO17, 17), (HALPE26, 26), (WHOLEBODY133, 23)])
def test_hands_and_faces_are_thin_lines_of_their_own(joint_set, dots):
    message = message_of(joint_set)
    markers = SkeletonMarkers()
    drawn = {marker.ns: marker for marker in markers.update(message).markers if marker.ns}
    assert set(drawn) == {*NAMESPACES, *([DETAILS] if joint_set == WHOLEBODY133 else [])}
    assert len(drawn["joints"].points) == dots
    lines = len(drawn["limbs"].points) + (len(drawn[DETAILS].points) if DETAILS in drawn else 0)
    assert lines == 2 * len(joint_set.limbs)
    message.skeletons = []
    gone = {marker.ns for marker in markers.update(message).markers}
    assert gone == set(drawn)


def test_skeletons_of_joints_that_have_only_names_cross():
    joint_set = WHOLEBODY133
    message = message_of(joint_set)
    message.joint_set = "my_own"
    (person,) = skeletons_from_message(message)
    assert person.joints.shape == (133, 3)
