"""The three cameras of the Campus rig, or people simulated in it, in RViz."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration

from voxelpose_ros import bringup

ARGUMENTS = {
    "simulate": ("false", "No cameras: people walk through the rig, noisy keypoints come of it."),
    "people": ("3", "How many people walk, with simulate:=true."),
    "input": ("image", "What the cameras publish: image, compressed or keypoints."),
    "image_topic": ("/{camera}/image_raw", "Image topic of a camera."),
    "keypoints_topic": ("/{camera}/keypoints", "Keypoints topic of a camera."),
    "weights": ("universal", "Name or file of the 3D weights."),
    "device": ("auto", "auto, cpu or cuda:N."),
    "detector": ("movenet", "2D detector."),
    "rviz": ("true", "Show the skeletons in RViz."),
}


def bring_up(context):
    """The actions, once the arguments are known."""
    given = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    processes = bringup.campus(
        simulate=bringup.is_true("simulate", given["simulate"]),
        people=int(bringup.number("people", given["people"])),
        input=given["input"],
        image_topic=given["image_topic"],
        keypoints_topic=given["keypoints_topic"],
        weights=given["weights"],
        device=given["device"],
        detector=given["detector"],
    )
    if bringup.is_true("rviz", given["rviz"]):
        processes += bringup.rviz(bringup.campus_rig())
    return [process.action() for process in processes]


def generate_launch_description():
    """What `ros2 launch voxelpose_ros campus.launch.py` starts."""
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in ARGUMENTS.items()
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=bring_up)])
