"""Which processes a demonstration or a rig consists of: said once, started in two ways.

Launch files make launch_ros actions of the descriptions, `voxelpose_ros.demo` plain processes, so
that both start the same with the same parameters, with or without a ROS installation.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.rig import load_rig
from voxelpose_core.resources import find_resource
from voxelpose_ros import conversions

PACKAGE = "voxelpose_ros"
NODE_NAME = "voxelpose"
SKELETONS_TOPIC = f"/{NODE_NAME}/skeletons"

_FAST_DDS_PROFILES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
_BEFORE_FAST_DDS_3 = ("humble", "iron", "jazzy")
_SHARED_MEMORY, _SHARED_MEMORY_BYTES = "/dev/shm", 48 * 2**20

_MODULES = {
    "voxelpose_node": "voxelpose_ros.node",
    "camera_player": "voxelpose_ros.camera_player",
    "detector_node": "voxelpose_ros.detector_node",
    "rig_simulator": "voxelpose_ros.rig_simulator",
}


@dataclass(frozen=True)
class Process:
    """A ROS executable, its node's name, parameters, plain arguments, environment variables."""

    package: str
    executable: str
    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    arguments: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    def command(self) -> list[str]:
        """Command line that starts it with this Python; for the executables of this package."""
        command = [sys.executable, "-m", _MODULES[self.executable], *self.arguments]
        command += ["--ros-args", "-r", f"__node:={self.name}"]
        for name, value in self._given().items():
            # JSON is YAML, which rcl reads.
            command += ["-p", f"{name}:={json.dumps(value)}"]
        return command

    def action(self) -> Any:
        """The launch_ros action that starts it."""
        from launch_ros.actions import Node

        return Node(
            package=self.package,
            executable=self.executable,
            name=self.name,
            parameters=[dict(self._given())],
            arguments=list(self.arguments),
            additional_env=dict(self.environment),
            output="screen",
            # The frame set at hand is finished first, which takes its time on a busy CPU.
            sigterm_timeout="20",
        )

    def _given(self) -> dict[str, Any]:
        # rcl cannot tell the type of an empty list.
        return {name: value for name, value in self.parameters.items() if value not in ([], None)}


def demo(
    rig: str,
    videos: Sequence[str],
    loop: bool = False,
    rate: float = 0.0,
    moments: int = 0,
    step_by_step: bool = True,
    **node_parameters: Any,
) -> list[Process]:
    """The node and the player of a recording.

    Args:
        rig: calibration file.
        videos: one per camera, in the rig's order.
        loop: begin again at the end.
        rate: frame sets per second, at most; 0: the videos' own.
        moments: stop after this many frame sets; 0: at the end.
        step_by_step: the player waits for the node's answer, so that no frame set is skipped.
        node_parameters: further parameters of the node.
    """
    player = {
        "rig_file": rig,
        "videos": list(videos),
        "loop": loop,
        "rate": float(rate),
        "max_frame_sets": moments,
    }
    node = {"rig_file": rig, "qos.reliability": "reliable", **node_parameters}
    if step_by_step:
        player |= {"lockstep.wait_for": SKELETONS_TOPIC}
        # Stamps tell the time of the day: a slow machine makes slow people, not lost ones.
        node = {"sync.max_wait_ms": 2000.0, "tracking.max_age_s": 10.0, **node}
    return [
        Process(PACKAGE, "voxelpose_node", NODE_NAME, node),
        Process(
            PACKAGE, "camera_player", "camera_player", player, environment=image_transport()
        ),
    ]


def image_transport() -> dict[str, str]:
    """Environment of a process that publishes images: lets Fast DDS carry them whole.

    Nothing where the user has settings of their own, or where a small shared memory (a container's)
    would not hold them.
    """
    given = any(name in os.environ for name in _FAST_DDS_PROFILES)
    if given or not os.path.isdir(_SHARED_MEMORY):
        return {}
    if shutil.disk_usage(_SHARED_MEMORY).free < _SHARED_MEMORY_BYTES:
        return {}
    name = _FAST_DDS_PROFILES[os.environ.get("ROS_DISTRO") in _BEFORE_FAST_DDS_3]
    return {name: str(find_resource("config/fastdds_images.xml"))}


def rig(file: str, people: int | None = None, **node_parameters: Any) -> list[Process]:
    """The node for a rig, and the simulator instead of its cameras where people are given.

    Args:
        file: calibration of the cameras.
        people: how many simulated people walk; None: the cameras are real.
        node_parameters: further parameters of the node.
    """
    node = {"rig_file": file, **node_parameters}
    if people is None:
        return [Process(PACKAGE, "voxelpose_node", NODE_NAME, node)]
    node["input"] = "keypoints"
    simulator = {"rig_file": file, "people": people}
    return [
        Process(PACKAGE, "voxelpose_node", NODE_NAME, node),
        Process(PACKAGE, "rig_simulator", "rig_simulator", simulator),
    ]


def shipped_rig(name: str) -> str:
    """Path of a calibration that ships with the package: "campus" or "shelf"."""
    return str(find_resource(f"config/rigs/{name}.yaml"))


def panoptic(
    sequence: str,
    cameras: Sequence[str],
    play: bool = True,
    loop: bool = False,
    rate: float = 0.0,
    **node_parameters: Any,
) -> tuple[str, list[Process]]:
    """The calibration of a CMU Panoptic sequence, the node for it and the player of its cameras.

    Args:
        sequence: folder with calibration_*.json and, to play, hdVideos/hd_00_03.mp4 or
            hdImgs/00_03/*.jpg of each camera.
        cameras: names of HD cameras, such as 00_03.
        play: whether to play the sequence.
        loop: begin again at the end.
        rate: frame sets per second, at most; 0: the videos' own.
        node_parameters: further parameters of the node.

    Raises:
        InputError: naming the file that is missing.
    """
    # Imports torch, for which other launches need not wait.
    from voxelpose_core.datasets.panoptic import SPACE

    found = sorted(Path(sequence).glob("calibration_*.json"))
    if not found:
        raise InputError(f"sequence '{sequence}' has no calibration_*.json, expected one")
    shared = {"rig_file": str(found[0]), "cameras": list(cameras)}
    space = ",".join(f"{value:g}" for value in (*SPACE.center, *SPACE.size))
    node = {**shared, "space": space, **node_parameters}
    if not play:
        return str(found[0]), [Process(PACKAGE, "voxelpose_node", NODE_NAME, node)]
    node |= {"qos.reliability": "reliable"}
    player = {**shared, **_panoptic_views(Path(sequence), cameras), "loop": loop, "rate": rate}
    return str(found[0]), [
        Process(PACKAGE, "voxelpose_node", NODE_NAME, node),
        Process(
            PACKAGE, "camera_player", "camera_player", player, environment=image_transport()
        ),
    ]


def _panoptic_views(sequence: Path, cameras: Sequence[str]) -> dict[str, list[str]]:
    """The player's parameter that names the videos, or else the folders of images."""
    videos = [sequence / "hdVideos" / f"hd_{camera}.mp4" for camera in cameras]
    if all(video.is_file() for video in videos):
        return {"videos": [str(video) for video in videos]}
    folders = [sequence / "hdImgs" / camera for camera in cameras]
    for folder, video in zip(folders, videos):
        if not folder.is_dir():
            raise InputError(f"neither '{video}' nor '{folder}' exists, expected the camera's view")
    return {"image_folders": [str(folder) for folder in folders]}


def rviz(rig: str) -> list[Process]:
    """RViz with people, cameras and space, in the rig's frame, and the cameras' transforms."""
    cameras = load_rig(rig)
    config = str(find_resource("rviz/voxelpose.rviz"))
    processes = [
        Process("rviz2", "rviz2", "rviz2", arguments=["-d", config, "-f", cameras.frame])
    ]
    for camera in cameras.cameras:
        transform = conversions.camera_transform(camera, cameras.frame)
        arguments = _static_transform(transform)
        name = f"{camera.name}_transform"
        processes.append(
            Process("tf2_ros", "static_transform_publisher", name, arguments=arguments)
        )
    return processes


def _static_transform(transform: Any) -> list[str]:
    position, rotation = transform.transform.translation, transform.transform.rotation
    values = {
        "x": position.x,
        "y": position.y,
        "z": position.z,
        "qx": rotation.x,
        "qy": rotation.y,
        "qz": rotation.z,
        "qw": rotation.w,
        "frame-id": transform.header.frame_id,
        "child-frame-id": transform.child_frame_id,
    }
    return [part for name, value in values.items() for part in (f"--{name}", str(value))]


def is_true(name: str, text: str) -> bool:
    """A launch argument as true or false; InputError names the argument."""
    if text.lower() not in ("true", "false"):
        raise InputError(f"launch argument '{name}' is '{text}', expected true or false")
    return text.lower() == "true"


def number(name: str, text: str) -> float:
    """A launch argument as a number; InputError names the argument."""
    try:
        return float(text)
    except ValueError:
        raise InputError(f"launch argument '{name}' is '{text}', expected a number") from None


def find_recording() -> tuple[str, list[str]]:
    """Calibration and videos of pose2sim's four-camera demonstration, which `make demo` fetches.

    Raises:
        InputError: when it is nowhere here.
    """
    for folder in _recording_folders():
        rig = folder / "calibration" / "Calib.qca.txt"
        videos = sorted(str(video) for video in (folder / "videos").glob("*.mp4"))
        if rig.is_file() and videos:
            return str(rig), videos
    raise InputError(
        "no recording is given and pose2sim's is not here (`make demo` fetches it), expected a rig "
        "and one video a camera"
    )


def _recording_folders() -> Iterator[Path]:
    package = importlib.util.find_spec("Pose2Sim")
    if package is not None and package.submodule_search_locations:
        yield Path(package.submodule_search_locations[0]) / "Demo_MultiPerson"
    for environment in (sys.prefix, os.environ.get("VIRTUAL_ENV", "")):
        yield from Path(environment, "demo_data").glob("*/Pose2Sim/Demo_MultiPerson")
