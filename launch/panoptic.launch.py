"""A sequence of CMU Panoptic: plays its HD cameras and estimates the people in them, in RViz."""

from voxelpose_core.datasets.panoptic import CAMERAS
from voxelpose_ros import bringup, launch_files

ARGUMENTS = {
    "sequence": (None, "Folder of a sequence with calibration_*.json and hdVideos or hdImgs."),
    "cameras": (",".join(CAMERAS), "HD cameras, separated by commas; default: the paper's five."),
    "play": ("true", "Play the sequence; false: its topics come from elsewhere."),
    **launch_files.PLAYER,
    **launch_files.MODEL,
}


def bring_up(given):
    """The rig and its processes."""
    return bringup.panoptic(
        given["sequence"],
        given.texts("cameras"),
        play=given.flag("play"),
        loop=given.flag("loop"),
        rate=given.number("rate"),
        **given.node_parameters(),
    )


def generate_launch_description():
    """What `ros2 launch voxelpose_ros panoptic.launch.py sequence:=DIR` starts."""
    return launch_files.describe(ARGUMENTS, bring_up)
