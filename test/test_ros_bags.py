"""A bag gives the skeletons that the node publishes when the bag is played to it: `estimate --bag`."""

import json
from functools import partial

import numpy as np
import pytest

pytest.importorskip("voxelpose_ros.msg", reason="the package's messages are not built")
pytest.importorskip("rosbags")

from bag_files import START_NS, BagMaker
from coloured_dots_node import ColouredDots, draw_person
from node_in_process import nodes_in_process, stand_in_for_tf2
from ros_processes import positions, room_rig, stamp_ns
from sensor_msgs.msg import CameraInfo, Image

from voxelpose_core.bags.bag import Bag
from voxelpose_core.bags.topics import KEYPOINTS
from voxelpose_core.cli import main
from voxelpose_core.detector_joint_sets import HALPE26
from voxelpose_core.detectors import register_detector
from voxelpose_core.geometry.rig import save_rig
from voxelpose_core.skeletons import COCO17
from voxelpose_ros import conversions, topics
from voxelpose_ros.msg import Keypoints2DArray, SkeletonArray
from voxelpose_ros.rig_simulator import WalkingPeople

SKELETONS = "/voxelpose/skeletons"
PERIOD_NS = 100_000_000
FRAME_SETS = 8
HANGS_S = 120.0
TYPES = {
    "sensor_msgs/msg/Image": Image,
    "sensor_msgs/msg/CameraInfo": CameraInfo,
    KEYPOINTS: Keypoints2DArray,
}


@pytest.fixture
def start(tmp_path, monkeypatch):
    with nodes_in_process(tmp_path, monkeypatch) as start:
        yield start


class Recording:
    """People who walk in a room, as its cameras send them: jittered stamps, some messages late or missing.

    Args:
        path: of the bag to write.
        rig: the cameras.
        people: how many.
        write: called as write(bag, camera, frame, joints, stamp_ns, received_ns), writes one message.
        late_ns: delay by (frame, camera).
        stops: frame from which a camera, by index, is silent.
    """

    def __init__(self, path, rig, people, write, late_ns, stops=None, transforms=False):
        self.path, walkers, random = path, WalkingPeople(rig.space, people, seed=4), np.random.default_rng(3)
        rows = []
        for frame in range(FRAME_SETS):
            for c in range(len(rig)):
                if frame < (stops or {}).get(c, FRAME_SETS):
                    stamp = START_NS + frame * PERIOD_NS + int(random.integers(0, 4_000_000))
                    stamp -= round(1e6 * rig.time_offsets_ms[c])
                    rows.append((stamp + 5_000_000 + late_ns.get((frame, c), 0), frame, c, stamp))
        rows.sort()
        # After which of the cameras' messages a frame set is there, as far as it will be.
        last = {frame: number for number, (_, frame, _, _) in enumerate(rows)}
        self.ends = {number: frame for frame, number in last.items()}
        with BagMaker(path) as bag:
            for camera in rig.cameras:
                bag.camera_info(f"/{camera.name}/camera_info", camera, f"{camera.name}_optical_frame")
            if transforms:
                bag.camera_poses(rig)
            for received, frame, c, stamp in rows:
                write(bag, rig.cameras[c], frame, walkers.joints(frame / 10.0), stamp, received)

    def play(self, ros, calibrated=lambda: True):
        """Publish the messages as they were recorded: the calibration, then frame sets, each when the one
        before was answered."""
        with Bag(self.path) as bag:
            publishers = {
                topic: ros.node.create_publisher(TYPES[kind], topic, topics.sensor_qos("reliable", 10))
                for topic, kind in bag.types.items()
                if kind in TYPES
            }
            ros.spin_until(partial(all_subscribed, publishers), "the subscriptions", HANGS_S)
            messages = list(bag.messages(publishers))
        # A publisher knows its subscriber somewhat before that hears it.
        ros.spin_for(1.0)
        infos = [message for message in messages if message.topic.endswith("/camera_info")]

        def calibrate():
            for message in infos:
                publishers[message.topic].publish(message.data)
            ros.spin_for(0.1)
            return calibrated()

        ros.spin_until(calibrate, "the calibration", HANGS_S)
        for number, message in enumerate(message for message in messages if message not in infos):
            publishers[message.topic].publish(message.data)
            if (frame := self.ends.get(number)) is not None:
                ros.spin_until(partial(answered, ros, frame), f"the answer to frame set {frame}", HANGS_S)


def all_subscribed(publishers):
    return all(p.get_subscription_count() for p in publishers.values())


def answered(ros, frame):
    return any(stamp_ns(message) >= START_NS + frame * PERIOD_NS for message in ros.heard[SKELETONS])


def estimated(bag, folder, *options):
    """What `estimate --bag` says: stamp in ns -> arrays of its skeletons, as they are in NPZ files.

    Both bags have messages that cannot be used, which exit code 2 says.
    """
    out = [str(folder / "bag.npz"), str(folder / "bag.json")]
    arguments = ["estimate", "--bag", str(bag), "--device", "cpu", "--out", *out, *map(str, options)]
    assert main(arguments) == 2
    start = json.loads((folder / "bag.json").read_text())["start_ns"]
    with np.load(out[0]) as arrays:
        frames = dict(zip(arrays["frames"].tolist(), arrays["frame_times_s"].tolist(), strict=True))
        names = ("track_id", "score", "joints_m", "joint_scores", "joint_covariances_m2")
        return {
            start + round(time_s * 1e9): {name: arrays[name][arrays["frame"] == frame] for name in names}
            for frame, time_s in frames.items()
        }, str(arrays["joint_set"])


def check_the_same(ros, found, joint_set):
    """Everything that the node published is what the bag gives."""
    published = {stamp_ns(message): message for message in ros.heard[SKELETONS]}
    assert sorted(published) == sorted(found)
    people = 0
    for stamp, message in published.items():
        own = found[stamp]
        assert message.joint_set == joint_set
        people += len(message.skeletons)
        assert len(own["score"]) == len(message.skeletons)
        for index, skeleton in enumerate(message.skeletons):
            # A file gives a track's id also to its first skeletons, which the node cannot know.
            assert skeleton.track_id in (own["track_id"][index], -1)
            valid = np.array(skeleton.joint_valid)
            np.testing.assert_array_equal(np.isfinite(own["joints_m"][index]).all(axis=1), valid)
            # Messages hold positions as float64, scores as float32.
            np.testing.assert_array_equal(own["joints_m"][index][valid], positions(skeleton)[valid])
            covariances = np.reshape(skeleton.joint_covariances, (-1, 3, 3))
            np.testing.assert_array_equal(own["joint_covariances_m2"][index], covariances)
            scores = np.where(valid, skeleton.joint_scores, 0.0)
            np.testing.assert_array_equal(np.float32(own["joint_scores"][index]), np.float32(scores))
            assert np.float32(own["score"][index]) == np.float32(skeleton.score)
    return people


def keypoints_of(camera, joints):
    return np.array([np.column_stack([camera.project(j)[0], camera.sees(j) * 0.9]) for j in joints])


def test_a_bag_of_images_gives_what_the_node_publishes(start, tmp_path, capsys):
    """One image is damaged, one camera's are cropped by a codec, one message comes late, one clock is off."""
    register_detector("coloured_dots", ColouredDots)
    rig = room_rig(tmp_path / "room.yaml", cameras=3, image_size=(320, 240))
    rig = rig.with_time_offsets([0.0, 40.0, 0.0])
    save_rig(rig, tmp_path / "room.yaml")

    def write(bag, camera, frame, joints, stamp, received):
        image = np.zeros((240, 320, 3), np.uint8)
        draw_person(image, camera.project(joints[0])[0], camera.sees(joints[0]))
        if camera.name == "camera2":
            image = image[:, :312]
        encoding = "strange" if (frame, camera.name) == (3, "camera1") else "bgr8"
        bag.image(f"/{camera.name}/image_raw", image, stamp, received, encoding)

    recording = Recording(tmp_path / "bag", rig, 1, write, late_ns={(5, 0): 40_000_000})
    ros = start(
        rig_file=tmp_path / "room.yaml",
        detector="coloured_dots",
        device="cpu",
        qos__reliability="reliable",
        sync__max_wait_ms=5000,
    )
    ros.listen(SkeletonArray, SKELETONS)
    recording.play(ros)
    options = ("--rig", tmp_path / "room.yaml", "--detector", "coloured_dots", "--no-refine-detections")
    found, joint_set = estimated(tmp_path / "bag", tmp_path, *options)
    assert "1 frame could not be read (number 3; encoding 'strange' is unknown" in capsys.readouterr().err
    assert check_the_same(ros, found, joint_set) >= FRAME_SETS - 1


def test_a_camera_that_stops_and_the_rig_of_camera_info_and_tf(start, tmp_path, monkeypatch, capsys):
    """The third of four cameras stops; feet of a joint set that the fourth does not state."""
    rig = room_rig(tmp_path / "room.yaml", cameras=4)
    transforms = stand_in_for_tf2(monkeypatch)
    for camera in rig.cameras:
        transform = conversions.camera_transform(camera, "map")
        transforms.known[transform.child_frame_id] = transform

    def write(bag, camera, frame, joints, stamp, received):
        people, joint_set = keypoints_of(camera, joints), COCO17
        if camera.name != "camera3":
            joint_set = HALPE26
            people = np.concatenate([people, np.repeat(people[:, 15:16], len(HALPE26) - 17, axis=1)], axis=1)
        bag.keypoints(f"/{camera.name}/keypoints", camera, people, stamp, received, joint_set.name)

    late = {(2, 1): 30_000_000, (3, 0): 60_000_000}
    recording = Recording(tmp_path / "bag", rig, 2, write, late, stops={2: 5}, transforms=True)
    ros = start(
        calibration="topics",
        cameras=",".join(rig.names),
        input="keypoints",
        frame_id="map",
        device="cpu",
        qos__reliability="reliable",
        sync__max_wait_ms=1500,
    )
    ros.listen(SkeletonArray, SKELETONS)
    recording.play(ros, lambda: transforms.asked == set(transforms.known))
    found, joint_set = estimated(tmp_path / "bag", tmp_path)
    assert "joint set is 'coco17', expected 'halpe26'" in capsys.readouterr().err
    assert joint_set == "halpe26"
    assert check_the_same(ros, found, joint_set) >= 2 * (FRAME_SETS - 3)
