"""Multi-camera 3D human pose without ROS: the names that most users need.

Example::

    from voxelpose_core import PoseEstimator, load_rig

    estimator = PoseEstimator(load_rig("rig.yaml"))
    estimate = estimator.estimate_images([left, middle, right])

Each name is imported when it is first used, so that ``import voxelpose_core`` stays fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from voxelpose_core.detectors import Detector as Detector
    from voxelpose_core.detectors import load_detector as load_detector
    from voxelpose_core.errors import InputError as InputError
    from voxelpose_core.estimator import PoseEstimator as PoseEstimator
    from voxelpose_core.estimator_settings import EstimatorSettings as EstimatorSettings
    from voxelpose_core.geometry.camera import Camera as Camera
    from voxelpose_core.geometry.rig import Rig as Rig
    from voxelpose_core.geometry.rig import load_rig as load_rig
    from voxelpose_core.geometry.rig import save_rig as save_rig
    from voxelpose_core.geometry.space import Space as Space
    from voxelpose_core.pose_types import Estimate as Estimate
    from voxelpose_core.pose_types import Skeleton as Skeleton
    from voxelpose_core.skeletons import JointSet as JointSet
    from voxelpose_core.skeletons import get_joint_set as get_joint_set
    from voxelpose_core.tracking import Tracker as Tracker
    from voxelpose_core.tracking import TrackerSettings as TrackerSettings

_HOMES = {
    "Camera": "geometry.camera",
    "Detector": "detectors",
    "Estimate": "pose_types",
    "EstimatorSettings": "estimator_settings",
    "InputError": "errors",
    "JointSet": "skeletons",
    "PoseEstimator": "estimator",
    "Rig": "geometry.rig",
    "Skeleton": "pose_types",
    "Space": "geometry.space",
    "Tracker": "tracking",
    "TrackerSettings": "tracking",
    "get_joint_set": "skeletons",
    "load_detector": "detectors",
    "load_rig": "geometry.rig",
    "save_rig": "geometry.rig",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
