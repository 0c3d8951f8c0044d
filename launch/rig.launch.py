"""The node for a rig of your own, whose calibration file is all that it needs; shown in RViz.

ros2 launch voxelpose_ros rig.launch.py rig:=/path/to/rig.yaml
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, PythonExpression
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchDescription
from voxelpose_ros import bringup

SHARE = Path(get_package_share_directory("voxelpose_ros"))
FLAG = ["true", "false"]


def text(name):
    return ParameterValue(LaunchConfiguration(name), value_type=str)


def flag(name):
    return ParameterValue(LaunchConfiguration(name), value_type=bool)


def generate_launch_description():
    simulate = LaunchConfiguration("simulate")
    kind = ["'keypoints' if '", simulate, "' == 'true' else '", LaunchConfiguration("input"), "'"]
    cameras = {
        "rig_file": text("rig"),
        "cameras": text("cameras"),
        "input": ParameterValue(PythonExpression(kind), value_type=str),
        "image_topic": text("image_topic"),
        "keypoints_topic": text("keypoints_topic"),
        "qos.reliability": text("qos.reliability"),
        "space": text("space"),
        "ground": text("ground"),
    }
    arguments = [
        DeclareLaunchArgument(
            "rig", description="Calibration of the cameras: rig YAML, or the file of another tool."
        ),
        DeclareLaunchArgument(
            "cameras", default_value="", description="Cameras of the rig, separated by commas; empty: all."
        ),
        DeclareLaunchArgument(
            "input",
            default_value="image",
            choices=["image", "compressed", "keypoints"],
            description="Type of the camera topics.",
        ),
        DeclareLaunchArgument(
            "image_topic", default_value="/{camera}/image_raw", description="Image topic of each camera."
        ),
        DeclareLaunchArgument(
            "keypoints_topic",
            default_value="/{camera}/keypoints",
            description="Keypoints topic of each camera.",
        ),
        DeclareLaunchArgument(
            "qos.reliability",
            default_value="best_effort",
            choices=["best_effort", "reliable"],
            description="Reliability of the camera topics.",
        ),
        DeclareLaunchArgument(
            "space",
            default_value="",
            description="Capture space as CX,CY,CZ,SX,SY,SZ (centre, size) in mm; empty: the rig file's, "
            "or one proposed from the cameras.",
        ),
        DeclareLaunchArgument(
            "ground",
            default_value="",
            description="Height of the floor in the rig's world, mm; empty: the rig file's, else 0.",
        ),
        DeclareLaunchArgument(
            "weights",
            default_value="universal",
            description="3D weights: universal, voxelpose or a file.",
        ),
        DeclareLaunchArgument(
            "device", default_value="auto", description="Device of the 3D model: auto, cpu or cuda:N."
        ),
        DeclareLaunchArgument(
            "detector",
            default_value="movenet",
            description="2D detector: movenet or an ONNX file (docs/detectors.md).",
        ),
        DeclareLaunchArgument(
            "refine_detections",
            default_value="false",
            choices=FLAG,
            description="Refine each 2D detection with a second net: more accurate, slower.",
        ),
        DeclareLaunchArgument(
            "publish_tf",
            default_value="false",
            choices=FLAG,
            description="Broadcast a frame body_<id> at each person's mid-hip.",
        ),
        DeclareLaunchArgument(
            "autostart",
            default_value="true",
            choices=FLAG,
            description="Configure and activate the node; false: left to a lifecycle manager.",
        ),
        DeclareLaunchArgument(
            "params_file",
            default_value=str(SHARE / "config" / "ros" / "voxelpose_node.yaml"),
            description="Parameter file for all other parameters of the nodes; default: "
            "config/ros/voxelpose_node.yaml, which has their defaults.",
        ),
        DeclareLaunchArgument(
            "simulate",
            default_value="false",
            choices=FLAG,
            description="Simulate walking people and their noisy keypoints instead of cameras.",
        ),
        DeclareLaunchArgument(
            "people", default_value="3", description="Number of simulated people, with simulate:=true."
        ),
        DeclareLaunchArgument(
            "rviz",
            default_value="true",
            choices=FLAG,
            description="Show people, cameras and capture space in RViz.",
        ),
        DeclareLaunchArgument(
            "foxglove",
            default_value="false",
            choices=FLAG,
            description="Start foxglove_bridge, and write a Foxglove layout for the rig.",
        ),
        DeclareLaunchArgument(
            "rerun",
            default_value="false",
            choices=FLAG,
            description="Show people, cameras, capture space and images in the Rerun viewer.",
        ),
    ]
    node = Node(
        package="voxelpose_ros",
        executable="voxelpose_node",
        name=bringup.NODE_NAME,
        parameters=[
            LaunchConfiguration("params_file"),
            {
                **cameras,
                "weights": text("weights"),
                "device": text("device"),
                "detector": text("detector"),
                "refine_detections": flag("refine_detections"),
                "publish_tf": flag("publish_tf"),
                "autostart": flag("autostart"),
            },
        ],
        output="screen",
        # It finishes the frame set at hand, which takes its time on a busy CPU.
        sigterm_timeout="20",
    )
    simulator = Node(
        package="voxelpose_ros",
        executable="rig_simulator",
        name="rig_simulator",
        parameters=[
            {
                "rig_file": text("rig"),
                "people": ParameterValue(LaunchConfiguration("people"), value_type=int),
                "keypoints_topic": text("keypoints_topic"),
            }
        ],
        output="screen",
        condition=IfCondition(simulate),
    )
    screens = OpaqueFunction(function=bringup.show_rig)
    rerun = Node(
        package="voxelpose_ros",
        executable="rerun_view",
        name="rerun_view",
        parameters=[LaunchConfiguration("params_file"), cameras],
        output="screen",
        condition=IfCondition(LaunchConfiguration("rerun")),
    )
    checks = OpaqueFunction(function=bringup.check_arguments)
    return LaunchDescription([*arguments, checks, node, simulator, screens, rerun])
