"""What the launch files have in common: arguments, and how actions come of described processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from voxelpose_ros import bringup

# By name: default (None: required) and description.
Arguments = Mapping[str, "tuple[str | None, str]"]

MODEL: Arguments = {
    "weights": ("universal", "3D weights: universal, voxelpose or a file."),
    "device": ("auto", "Device of the 3D model: auto, cpu or cuda:N."),
    "detector": ("movenet", "2D detector."),
    "refine_detections": ("false", "Refine each 2D detection with a second net: more accurate, slower."),
    "publish_tf": ("false", "Broadcast a frame body_<id> at each person's mid-hip."),
}
CAMERAS: Arguments = {
    "input": ("image", "Type of the camera topics: image, compressed or keypoints."),
    "image_topic": ("/{camera}/image_raw", "Image topic of each camera."),
    "keypoints_topic": ("/{camera}/keypoints", "Keypoints topic of each camera."),
    "qos.reliability": ("best_effort", "Reliability of the camera topics: best_effort or reliable."),
    "autostart": ("true", "Configure and activate the node; false: left to a lifecycle manager."),
}
SIMULATION: Arguments = {
    "simulate": ("false", "Simulate walking people and their noisy keypoints instead of cameras."),
    "people": ("3", "Number of simulated people, with simulate:=true."),
}
RVIZ: Arguments = {"rviz": ("true", "Show people, cameras and capture space in RViz.")}
RIG: Arguments = {"rig": (None, "Calibration of the cameras: rig YAML, or the file of another tool.")}
PLAYER: Arguments = {
    "loop": ("true", "Start again at the end."),
    "rate": ("0.0", "Frame sets per second; 0: the videos' own rate."),
}
DEMO: Arguments = {
    "rig": ("", "Calibration of the cameras; empty: that of the demo's recording."),
    "videos": ("", "One video per camera, in the rig's order, separated by commas."),
    **PLAYER,
    "step_by_step": ("false", "Wait for each frame set's skeletons instead of playing in real time."),
}

_FLAGS = ("publish_tf", "autostart", "refine_detections")


class Given:
    """The arguments of one launch, as text."""

    def __init__(self, values: Mapping[str, str]):
        self._values = values

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def flag(self, name: str) -> bool:
        """True or false; InputError names the argument."""
        return bringup.is_true(name, self[name])

    def number(self, name: str) -> float:
        """A number; InputError names the argument."""
        return bringup.number(name, self[name])

    def texts(self, name: str) -> list[str]:
        """What commas separate."""
        return [text for text in self[name].split(",") if text]

    def node_parameters(self) -> dict[str, Any]:
        """Those arguments that are parameters of the node by the same name."""
        names = [name for name in (*CAMERAS, *MODEL) if name in self._values]
        return {name: self.flag(name) if name in _FLAGS else self[name] for name in names}


def describe(
    arguments: Arguments, bring_up: Callable[[Given], tuple[str, list[bringup.Process]]]
) -> Any:
    """The LaunchDescription of a launch file.

    Args:
        arguments: those of the launch file; `rviz` is added.
        bring_up: makes the rig's file and the processes of the arguments given.
    """
    from launch import LaunchDescription
    from launch.actions import DeclareLaunchArgument, OpaqueFunction
    from launch.substitutions import LaunchConfiguration

    arguments = {**arguments, **RVIZ}

    def actions(context: Any) -> list[Any]:
        given = Given({name: LaunchConfiguration(name).perform(context) for name in arguments})
        rig, processes = bring_up(given)
        if given.flag("rviz"):
            processes = processes + bringup.rviz(rig)
        return [process.action() for process in processes]

    declared = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in arguments.items()
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=actions)])


def describe_shipped(rig_name: str) -> Any:
    """The LaunchDescription of a rig that ships with the package, with cameras or simulated."""

    def bring_up(given: Given) -> tuple[str, list[bringup.Process]]:
        rig = bringup.shipped_rig(rig_name)
        people = int(given.number("people"))
        simulated = people if given.flag("simulate") else None
        return rig, bringup.rig(rig, simulated, **given.node_parameters())

    return describe({**SIMULATION, **CAMERAS, **MODEL}, bring_up)
