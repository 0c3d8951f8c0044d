"""What the launch files and `make demo` share, and what a launch file cannot say itself.

Nothing here imports ROS when it is loaded, so that `voxelpose_ros.demo` runs without launch.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.rig import Rig, load_rig
from voxelpose_core.resources import find_resource
from voxelpose_ros.renamed_parameters import NODE

NODE_NAME = "voxelpose"
SKELETONS_TOPIC = f"/{NODE_NAME}/skeletons"

# That of foxglove_bridge.
_FOXGLOVE_PORT = 8765
_FAST_DDS_PROFILES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
_BEFORE_FAST_DDS_3 = ("humble", "iron", "jazzy")
_SHARED_MEMORY, _SHARED_MEMORY_BYTES = "/dev/shm", 48 * 2**20


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
        "and one video per camera"
    )


def _recording_folders() -> Iterator[Path]:
    package = importlib.util.find_spec("Pose2Sim")
    if package is not None and package.submodule_search_locations:
        yield Path(package.submodule_search_locations[0]) / "Demo_MultiPerson"
    for environment in (sys.prefix, os.environ.get("VIRTUAL_ENV", "")):
        yield from Path(environment, "demo_data").glob("*/Pose2Sim/Demo_MultiPerson")


# Functions for launch's OpaqueFunction ------------------------------------------------------------


def check_arguments(context: Any) -> None:
    """Refuse what `ros2 launch` would pass over: old names, node parameters, a file that is missing.

    Raises:
        InputError: naming the argument and what to type.
    """
    # Only what was typed: an including launch file may use the same names for things of its own.
    typed = {argument.partition(":=")[0] for argument in context.argv}
    arguments = context.launch_configurations
    for old, new in NODE.items():
        if old in typed and new in arguments:
            raise InputError(f"launch argument '{old}' is now '{new}'")
        if typed & {old, new} - {"qos.reliability"}:
            raise InputError(
                f"'{new}' is no launch argument: write it into a parameter file, params_file:=FILE"
            )
    if not os.path.isfile(arguments["params_file"]):
        raise InputError(f"params_file '{arguments['params_file']}' does not exist")


def use_recording(context: Any) -> list[Any]:
    """Set the launch arguments `rig` and `videos` to pose2sim's recording, where neither is given.

    Raises:
        InputError: when the recording is needed and not here, or only one of the two is given.
    """
    from launch.actions import SetLaunchConfiguration

    rig, videos = (context.launch_configurations[name] for name in ("rig", "videos"))
    if bool(rig) != bool(videos):
        raise InputError("launch arguments rig and videos belong together, expected both")
    if rig:
        return []
    rig, found = find_recording()
    return [SetLaunchConfiguration("rig", rig), SetLaunchConfiguration("videos", ",".join(found))]


def use_panoptic_sequence(context: Any) -> list[Any]:
    """Set `rig`, `videos` and `image_folders` to the files of the sequence of launch argument `sequence`.

    Raises:
        InputError: naming the file that is missing.
    """
    from launch.actions import SetLaunchConfiguration

    sequence = Path(context.launch_configurations["sequence"])
    cameras = context.launch_configurations["cameras"].split(",")
    found = sorted(sequence.glob("calibration_*.json"))
    if not found:
        raise InputError(f"sequence '{sequence}' has no calibration_*.json, expected one")
    files = {"rig": str(found[0]), "videos": "", "image_folders": ""}
    if context.launch_configurations["play"] == "true":
        files |= _panoptic_views(sequence, cameras)
    return [SetLaunchConfiguration(name, value) for name, value in files.items()]


def _panoptic_views(sequence: Path, cameras: list[str]) -> dict[str, str]:
    """The cameras' videos, or else their folders of images, separated by commas."""
    videos = [sequence / "hdVideos" / f"hd_{camera}.mp4" for camera in cameras]
    if all(video.is_file() for video in videos):
        return {"videos": ",".join(map(str, videos))}
    folders = [sequence / "hdImgs" / camera for camera in cameras]
    for folder, video in zip(folders, videos, strict=True):
        if not folder.is_dir():
            raise InputError(f"neither '{video}' nor '{folder}' exists, expected the camera's view")
    return {"image_folders": ",".join(map(str, folders))}


def show_rig(context: Any) -> list[Any]:
    """RViz and Foxglove's bridge, as launch arguments `rviz` and `foxglove` say, and the transforms of the
    cameras of launch argument `rig`."""
    from launch_ros.actions import Node

    from voxelpose_ros import conversions

    wanted = [start for name, start in _SCREENS.items() if context.launch_configurations[name] == "true"]
    if not wanted:
        return []
    rig = load_rig(context.launch_configurations["rig"])
    transforms = [
        Node(
            package="tf2_ros",
            executable="static_transform_publisher",
            name=f"{camera.name}_transform",
            arguments=_static_transform(conversions.camera_transform(camera, rig.frame)),
        )
        for camera in rig.cameras
    ]
    return [*(action for start in wanted for action in start(rig)), *transforms]


def _rviz(rig: Rig) -> list[Any]:
    from launch_ros.actions import Node

    config = str(find_resource("rviz/voxelpose.rviz"))
    return [
        Node(package="rviz2", executable="rviz2", name="rviz2", arguments=["-d", config, "-f", rig.frame])
    ]


def _foxglove(rig: Rig) -> list[Any]:
    from ament_index_python.packages import PackageNotFoundError, get_package_prefix
    from launch.actions import LogInfo
    from launch_ros.actions import Node

    from voxelpose_ros.foxglove import LAYOUT, write_layout

    try:
        get_package_prefix("foxglove_bridge")
    except PackageNotFoundError:
        distribution = os.environ.get("ROS_DISTRO", "$ROS_DISTRO")
        install = f"sudo apt install ros-{distribution}-foxglove-bridge"
        return [
            LogInfo(msg=f"foxglove:=true: foxglove_bridge is not installed ({install}); goes on without it")
        ]
    try:
        layout = write_layout(rig, f"/{NODE_NAME}")
    except OSError as error:
        layout = (
            f"{find_resource(LAYOUT)} and choose the cameras (that of the rig cannot be written: {error})"
        )
    told = f"Foxglove: connect to ws://localhost:{_FOXGLOVE_PORT} and import the layout {layout}"
    bridge = Node(
        package="foxglove_bridge",
        executable="foxglove_bridge",
        name="foxglove_bridge",
        output="screen",
    )
    return [LogInfo(msg=told), bridge]


# Launch arguments, and what each starts.
_SCREENS = {"rviz": _rviz, "foxglove": _foxglove}


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
