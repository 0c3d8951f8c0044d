"""Plays a recording of calibrated cameras and estimates the people in it, in RViz."""

from voxelpose_ros import bringup, launch_files


def bring_up(given):
    """The rig and its processes."""
    rig, videos = given["rig"], given.texts("videos")
    if not rig and not videos:
        rig, videos = bringup.find_recording()
    processes = bringup.demo(
        rig,
        videos,
        loop=given.flag("loop"),
        rate=given.number("rate"),
        step_by_step=given.flag("step_by_step"),
        **given.node_parameters(),
    )
    return rig, processes


def generate_launch_description():
    """What `ros2 launch voxelpose_ros demo.launch.py` starts."""
    return launch_files.describe({**launch_files.DEMO, **launch_files.MODEL}, bring_up)
