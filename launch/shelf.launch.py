"""The five cameras of the Shelf rig, or people simulated in it, in RViz.

ros2 launch voxelpose_ros shelf.launch.py simulate:=true
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

from launch import LaunchDescription

SHARE = Path(get_package_share_directory("voxelpose_ros"))


def generate_launch_description():
    return LaunchDescription(
        [
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(SHARE / "launch" / "rig.launch.py")),
                launch_arguments={"rig": str(SHARE / "config" / "rigs" / "shelf.yaml")}.items(),
            )
        ]
    )
