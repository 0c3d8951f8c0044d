"""Plays a recording of calibrated cameras and estimates the people in it, in RViz.

ros2 launch voxelpose_ros demo.launch.py rig:=rig.yaml videos:=a.mp4,b.mp4,c.mp4
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution, PythonExpression
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchDescription
from voxelpose_ros import bringup

SHARE = Path(get_package_share_directory("voxelpose_ros"))
FLAG = ["true", "false"]


def generate_launch_description():
    step_by_step = LaunchConfiguration("step_by_step")
    params_file = ["'lockstep.yaml' if '", step_by_step, "' == 'true' else 'voxelpose_node.yaml'"]
    arguments = [
        DeclareLaunchArgument(
            "rig",
            default_value="",
            description="Calibration of the cameras; empty: that of the demo's recording.",
        ),
        DeclareLaunchArgument(
            "videos",
            default_value="",
            description="One video per camera, in the rig's order, separated by commas.",
        ),
        DeclareLaunchArgument(
            "loop", default_value="true", choices=FLAG, description="Start again at the end."
        ),
        DeclareLaunchArgument(
            "rate", default_value="0.0", description="Frame sets per second; 0: the videos' own rate."
        ),
        DeclareLaunchArgument(
            "step_by_step",
            default_value="false",
            choices=FLAG,
            description="Wait for each frame set's skeletons instead of playing in real time.",
        ),
        DeclareLaunchArgument(
            "params_file",
            default_value=PathJoinSubstitution(
                [str(SHARE / "config" / "ros"), PythonExpression(params_file)]
            ),
            description="Parameter file for all other parameters of node and player; default: "
            "config/ros/lockstep.yaml with step_by_step:=true, else config/ros/voxelpose_node.yaml.",
        ),
    ]
    player = Node(
        package="voxelpose_ros",
        executable="camera_player",
        name="camera_player",
        parameters=[
            LaunchConfiguration("params_file"),
            {
                "rig_file": ParameterValue(LaunchConfiguration("rig"), value_type=str),
                "videos": ParameterValue(LaunchConfiguration("videos"), value_type=str),
                "loop": ParameterValue(LaunchConfiguration("loop"), value_type=bool),
                "rate": ParameterValue(LaunchConfiguration("rate"), value_type=float),
            },
        ],
        additional_env=bringup.image_transport(),
        output="screen",
    )
    estimation = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(SHARE / "launch" / "rig.launch.py")),
        launch_arguments={"rig": LaunchConfiguration("rig"), "qos.reliability": "reliable"}.items(),
    )
    recording = OpaqueFunction(function=bringup.use_recording)
    return LaunchDescription([*arguments, recording, estimation, player])
