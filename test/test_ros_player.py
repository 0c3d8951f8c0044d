"""The camera player: stamps, intrinsics, jitter, drops, loops, and steps."""

import signal
import time

import cv2
import numpy as np
import pytest

pytest.importorskip("voxelpose_ros.msg", reason="the package's messages are not built")

from ros_processes import python_command, room_rig, stamp_ns
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from voxelpose_core.ros_messages.camera_info import check_camera_info
from voxelpose_ros import image_messages
from voxelpose_ros.msg import SkeletonArray
from voxelpose_ros.pacing import Pace

ANSWERS = "/answers"


@pytest.fixture
def rig(tmp_path):
    """A rig, and in the folder of each camera five pictures whose brightness tells which."""
    rig = room_rig(tmp_path / "room.yaml", cameras=3, image_size=(64, 48))
    for number, name in enumerate(rig.names):
        (tmp_path / name).mkdir()
        for index in range(5):
            image = np.full((48, 64, 3), 10 * index + 100 * (number == 0), np.uint8)
            cv2.imwrite(str(tmp_path / name / f"{index}.png"), image)
    return rig


def play(ros, rig, folder, **parameters):
    """Run the player to its end; answers every frame set, as the node would."""
    ros.listen(Image, "/camera0/image_raw")
    for name in rig.names:
        ros.listen(CameraInfo, f"/{name}/camera_info")
        ros.listen(CompressedImage, f"/{name}/image_raw/compressed")
        if name != "camera0":
            ros.listen(Image, f"/{name}/image_raw")
    answers = ros.node.create_publisher(SkeletonArray, ANSWERS, 10)
    player = ros.start(
        python_command(
            "voxelpose_ros.camera_player",
            rig_file=folder / "room.yaml",
            image_folders=f"[{', '.join(str(folder / name) for name in rig.names)}]",
            lockstep__wait_for=ANSWERS,
            lockstep__step_timeout_s=5,
            **parameters,
        )
    )
    answered = set()

    def over():
        infos = [i for name in rig.names for i in ros.heard[f"/{name}/camera_info"]]
        for info in infos:
            if stamp_ns(info) not in answered:
                answered.add(stamp_ns(info))
                answer = SkeletonArray()
                answer.header.stamp = info.header.stamp
                answers.publish(answer)
        return player.poll() is not None

    ros.spin_until(over, "the end of the recording")
    ros.spin_for(0.5)
    assert player.returncode == 0, player.output()
    return player


def test_every_frame_set_comes_once_with_one_stamp_and_its_intrinsics(ros, rig, tmp_path):
    play(ros, rig, tmp_path, format="both", rate=50)
    stamps = [stamp_ns(m) for m in ros.heard["/camera0/image_raw"]]
    assert len(stamps) == 5
    assert stamps == sorted(set(stamps))
    for name in rig.names:
        images = ros.heard[f"/{name}/image_raw"]
        assert [stamp_ns(m) for m in images] == stamps
        assert {m.header.frame_id for m in images} == {f"{name}_optical_frame"}
        infos = ros.heard[f"/{name}/camera_info"]
        assert [stamp_ns(m) for m in infos] == stamps
        check_camera_info(infos[0], rig.camera(name))
        compressed = ros.heard[f"/{name}/image_raw/compressed"]
        assert [stamp_ns(m) for m in compressed] == stamps
        for index, (raw, jpeg) in enumerate(zip(images, compressed)):
            value = 10 * index + 100 * (name == "camera0")
            assert (image_messages.image_to_bgr(raw) == value).all()
            assert np.abs(image_messages.compressed_to_bgr(jpeg).astype(int) - value).max() <= 3


def test_jitter_drops_loops_and_their_end(ros, rig, tmp_path):
    play(
        ros,
        rig,
        tmp_path,
        loop="true",
        max_frame_sets=20,
        rate=200,
        faults__jitter_ms=8,
        faults__drop=0.3,
        seed=1,
    )
    heard = {name: [stamp_ns(m) for m in ros.heard[f"/{name}/image_raw"]] for name in rig.names}
    everything = sorted(stamp for stamps in heard.values() for stamp in stamps)
    assert 25 <= len(everything) <= 55  # of 60, 30 % lost
    assert len(set(everything)) == len(everything)
    # The pictures begin again after the fifth.
    values = {int(image_messages.image_to_bgr(m)[0, 0, 0]) for m in ros.heard["/camera1/image_raw"]}
    assert values == {0, 10, 20, 30, 40}


def test_it_waits_for_the_answer_to_each_frame_set(ros, rig, tmp_path):
    """Nobody answers: each of two frame sets takes the time-out."""
    ros.listen(Image, "/camera0/image_raw")
    ros.listen(Image, "/camera1/image_raw")
    ros.listen(Image, "/camera2/image_raw")
    ros.node.create_publisher(SkeletonArray, ANSWERS, 10)
    player = ros.start(
        python_command(
            "voxelpose_ros.camera_player",
            rig_file=tmp_path / "room.yaml",
            image_folders=f"[{', '.join(str(tmp_path / name) for name in rig.names)}]",
            lockstep__wait_for=ANSWERS,
            lockstep__step_timeout_s=1.0,
            max_frame_sets=2,
        )
    )
    ros.spin_until(lambda: player.poll() is not None, "the end of the recording")
    assert player.returncode == 0
    first, second = (stamp_ns(m) for m in ros.heard["/camera0/image_raw"])
    assert second - first >= 1e9
    assert player.output().count("no answer on /answers within 1 s") == 2


def test_without_a_listener_it_ends_with_one_line(ros, rig, tmp_path):
    player = ros.start(
        python_command(
            "voxelpose_ros.camera_player",
            rig_file=tmp_path / "room.yaml",
            image_folders=f"[{', '.join(str(tmp_path / name) for name in rig.names)}]",
            lockstep__wait_for=ANSWERS,
            lockstep__start_timeout_s=1.0,
        )
    )
    ros.spin_until(lambda: player.poll() is not None, "the end of the player")
    assert player.returncode == 2
    assert "error: no node at the other end of /camera0/image_raw" in player.output()


@pytest.mark.parametrize("module", ["camera_player", "rig_simulator"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["int", "term"])
def test_it_can_be_told_to_stop_at_any_time(ros, rig, tmp_path, module, number):
    parameters = {"rig_file": tmp_path / "room.yaml", "rate": 200}
    if module == "camera_player":
        folders = ", ".join(str(tmp_path / name) for name in rig.names)
        parameters |= {"image_folders": f"[{folders}]", "loop": "true"}
    process = ros.start(python_command(f"voxelpose_ros.{module}", **parameters))
    ros.listen(CameraInfo, "/camera0/camera_info")
    ros.spin_until(lambda: len(ros.heard["/camera0/camera_info"]) > 3, "a stream")
    process.send_signal(number)
    ros.spin_until(lambda: process.poll() is not None, "its end")
    assert process.returncode == 0, process.output()
    assert "Traceback" not in process.output()


def test_the_pace_does_not_catch_up_after_a_hold_up(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    pace = Pace(10.0)
    ticks = []
    for index in range(6):
        if index == 3:
            now[0] += 5.0
        pace.wait()
        ticks.append(round(now[0] - 100.0, 6))
    assert ticks == [0.0, 0.1, 0.2, 5.2, 5.2, 5.3]
