"""The node for a rig of your own: its calibration file is all that it needs; and RViz."""

from voxelpose_ros import bringup, launch_files


def bring_up(given):
    """The rig and its processes."""
    return given["rig"], bringup.rig(given["rig"], **given.node_parameters())


def generate_launch_description():
    """What `ros2 launch voxelpose_ros rig.launch.py rig:=FILE` starts."""
    arguments = {**launch_files.RIG, **launch_files.CAMERAS, **launch_files.MODEL}
    return launch_files.describe(arguments, bring_up)
