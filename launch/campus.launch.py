"""The three cameras of the Campus rig, or people simulated in it, in RViz."""

from voxelpose_ros import launch_files


def generate_launch_description():
    """What `ros2 launch voxelpose_ros campus.launch.py` starts."""
    return launch_files.describe_shipped("campus")
