"""2D detections from files, as the tools that make them write them; each is recognized by its content.

`read_keypoints` takes one file of VoxelPose's layout, or one file or folder per camera.
"""

from voxelpose_core.keypoint_files.recording import KeypointRecording as KeypointRecording
from voxelpose_core.keypoint_files.recording import read_keypoints as read_keypoints
