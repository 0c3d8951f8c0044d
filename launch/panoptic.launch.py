"""A sequence of CMU Panoptic: plays its HD cameras and estimates the people in them, in RViz.

ros2 launch voxelpose_ros panoptic.launch.py sequence:=/path/to/160906_ian5
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PythonExpression
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchDescription
from voxelpose_ros import bringup

SHARE = Path(get_package_share_directory("voxelpose_ros"))
FLAG = ["true", "false"]


def text(name):
    return ParameterValue(LaunchConfiguration(name), value_type=str)


def generate_launch_description():
    arguments = [
        DeclareLaunchArgument(
            "sequence", description="Folder of a sequence with calibration_*.json and hdVideos or hdImgs."
        ),
        DeclareLaunchArgument(
            "cameras",
            default_value="00_12,00_06,00_23,00_13,00_03",
            description="HD cameras, separated by commas; default: the paper's five.",
        ),
        DeclareLaunchArgument(
            "space",
            default_value="0,-500,800,8000,8000,2000",
            description="Capture space as CX,CY,CZ,SX,SY,SZ (centre, size) in mm; default: the paper's.",
        ),
        DeclareLaunchArgument(
            "play",
            default_value="true",
            choices=FLAG,
            description="Play the sequence; false: its topics come from elsewhere.",
        ),
        DeclareLaunchArgument(
            "loop", default_value="true", choices=FLAG, description="Start again at the end."
        ),
        DeclareLaunchArgument(
            "rate", default_value="0.0", description="Frame sets per second; 0: the videos' own rate."
        ),
        DeclareLaunchArgument(
            "qos.reliability",
            default_value=PythonExpression(
                ["'reliable' if '", LaunchConfiguration("play"), "' == 'true' else 'best_effort'"]
            ),
            choices=["best_effort", "reliable"],
            description="Reliability of the camera topics; default: reliable where the sequence is played.",
        ),
    ]
    player = Node(
        package="voxelpose_ros",
        executable="camera_player",
        name="camera_player",
        parameters=[
            {
                "rig_file": text("rig"),
                "cameras": text("cameras"),
                "videos": text("videos"),
                "image_folders": text("image_folders"),
                "loop": ParameterValue(LaunchConfiguration("loop"), value_type=bool),
                "rate": ParameterValue(LaunchConfiguration("rate"), value_type=float),
            }
        ],
        additional_env=bringup.image_transport(),
        output="screen",
        condition=IfCondition(LaunchConfiguration("play")),
    )
    estimation = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(SHARE / "launch" / "rig.launch.py")),
        launch_arguments={"rig": LaunchConfiguration("rig")}.items(),
    )
    sequence = OpaqueFunction(function=bringup.use_panoptic_sequence)
    return LaunchDescription([*arguments, sequence, estimation, player])
