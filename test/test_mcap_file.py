"""MCAP files of skeletons: read back by rosbags, and by ROS's own deserializer where it is there."""

import dataclasses

import numpy as np
import pytest

pytest.importorskip("rosbags")

from skeleton_recordings import recording, walk

from voxelpose_core.bags.bag import Bag
from voxelpose_core.skeleton_files import mcap_file, read_skeletons, write_skeletons

START_NS = 1_700_000_000_250_000_000


def made():
    """Two people, the second later than the first and without an elbow; with velocities and covariances."""
    second = walk(6, seed=1, start=(1500.0, 0.0))
    second[:2] = np.nan
    second[3, 7] = np.nan
    found = dataclasses.replace(recording({4: walk(6), 9: second}, 25.0), frame_id="map", start_ns=START_NS)
    for frame_set in found.frame_sets:
        for skeleton in frame_set.skeletons:
            skeleton.joint_velocities = 2.0 * skeleton.joints
            skeleton.joint_covariances = np.tile(np.diag([1.0, 4.0, 9.0]), (17, 1, 1))
    return found


def messages(path):
    with Bag(path) as bag:
        return [(m, bag.decoded(m)) for m in bag.messages([mcap_file.TOPIC])]


def test_what_is_written_is_read_back(tmp_path):
    given = made()
    written, failure = write_skeletons([tmp_path / "walk.mcap"], given)
    assert failure is None and written.paths == [tmp_path / "walk.mcap"]
    assert [path.name for path in tmp_path.iterdir()] == ["walk.mcap"]
    found = messages(tmp_path / "walk.mcap")
    assert len(found) == len(given.frame_sets)
    for (raw, message), frame_set in zip(found, given.frame_sets, strict=True):
        assert raw.stamp_ns == START_NS + round(frame_set.stamp * 1e9) == raw.received_ns
        assert (message.header.frame_id, message.joint_set) == ("map", "coco17")
        assert message.joint_names == list(given.joint_set.joint_names)
        assert [s.track_id for s in message.skeletons] == [s.track_id for s in frame_set.skeletons]
        for there, skeleton in zip(message.skeletons, frame_set.skeletons, strict=True):
            joints = np.array([[p.x, p.y, p.z] for p in there.joints])
            np.testing.assert_allclose(joints, skeleton.joints / 1000.0, atol=1e-9)
            np.testing.assert_array_equal(there.joint_valid, skeleton.joint_valid)
            assert there.joint_velocities[0].x == pytest.approx(skeleton.joint_velocities[0, 0] / 1000.0)
            np.testing.assert_allclose(there.joint_covariances[:9], np.diag([1e-6, 4e-6, 9e-6]).ravel())


def test_ros_reads_the_same_as_the_node_sends(tmp_path):
    pytest.importorskip("rclpy")
    pytest.importorskip("voxelpose_ros.msg", reason="voxelpose_ros is not built and sourced")
    from rclpy.serialization import deserialize_message, serialize_message
    from std_msgs.msg import Header

    from voxelpose_ros import conversions
    from voxelpose_ros.msg import SkeletonArray

    given = made()
    mcap_file.write(tmp_path / "walk.mcap", given)
    for (raw, _), frame_set in zip(messages(tmp_path / "walk.mcap"), given.frame_sets, strict=True):
        header = Header(stamp=conversions.to_stamp(raw.stamp_ns), frame_id="map")
        sent = conversions.skeletons_to_message(frame_set.skeletons, given.joint_set, [], header)
        # float32 on the way.
        received = deserialize_message(serialize_message(sent), SkeletonArray)
        assert deserialize_message(raw.data, SkeletonArray) == received


def test_json_keeps_frame_and_start(tmp_path):
    given = made()
    write_skeletons([tmp_path / "walk.json"], given)
    found = read_skeletons(tmp_path / "walk.json")
    assert (found.frame_id, found.start_ns) == ("map", START_NS)


def test_no_people_and_no_rosbags(tmp_path, monkeypatch):
    mcap_file.write(tmp_path / "empty.mcap", recording({0: np.full((3, 17, 3), np.nan)}))
    assert [message.skeletons for _, message in messages(tmp_path / "empty.mcap")] == [[], [], []]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(Exception, match="pip install rosbags"):
        mcap_file.check_available()
