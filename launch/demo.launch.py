"""Plays a recording of calibrated cameras and estimates the people in it, in RViz."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration

from voxelpose_ros import bringup

ARGUMENTS = {
    "rig": ("", "Calibration file of the cameras; empty: the demonstration's."),
    "videos": ("", "One video a camera, in the rig's order, separated by commas."),
    "loop": ("true", "Begin again at the end."),
    "rate": ("0.0", "Moments per second; 0: the videos' own."),
    "step_by_step": ("false", "Wait for every answer instead of playing in real time."),
    "weights": ("universal", "Name or file of the 3D weights."),
    "device": ("auto", "auto, cpu or cuda:N."),
    "detector": ("movenet", "2D detector."),
    "rviz": ("true", "Show the skeletons in RViz."),
}


def bring_up(context):
    """The actions, once the arguments are known."""
    given = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    rig, videos = given["rig"], [video for video in given["videos"].split(",") if video]
    if not rig and not videos:
        rig, videos = bringup.find_recording()
    processes = bringup.demo(
        rig,
        videos,
        loop=bringup.is_true("loop", given["loop"]),
        rate=bringup.number("rate", given["rate"]),
        step_by_step=bringup.is_true("step_by_step", given["step_by_step"]),
        weights=given["weights"],
        device=given["device"],
        detector=given["detector"],
    )
    if bringup.is_true("rviz", given["rviz"]):
        processes += bringup.rviz(rig)
    return [process.action() for process in processes]


def generate_launch_description():
    """What `ros2 launch voxelpose_ros demo.launch.py` starts."""
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in ARGUMENTS.items()
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=bring_up)])
