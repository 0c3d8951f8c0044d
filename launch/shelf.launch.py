"""The five cameras of the Shelf rig, or people simulated in it, in RViz."""

from voxelpose_ros import launch_files


def generate_launch_description():
    """What `ros2 launch voxelpose_ros shelf.launch.py` starts."""
    return launch_files.describe_shipped("shelf")
