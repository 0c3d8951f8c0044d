"""Plain triangulation of one person from detections that are known to be this person's.

This is the yardstick for VoxelPose: the same 2D detections, the association given by the ground
truth, and no learned knowledge of bodies.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from voxelpose_core.geometry.camera import Camera

# Unit of the linear system: keeps its rotation and translation columns of like size.
_SCALE_MM = 1000.0


def triangulate(cameras: Sequence[Camera], keypoints: np.ndarray) -> np.ndarray:
    """Joints by the direct linear transform (Hartley and Zisserman, chapter 12.2).

    Views count alike, whatever their score. Lens distortion is removed first.

    Args:
        cameras: V cameras.
        keypoints: (V, J, 3) x px, y px, score of one person; a score of 0 or less or a NaN means
            that the view did not detect the joint.

    Returns:
        (J, 3) mm; NaN where fewer than two views detected a joint, or where it comes out behind a
        camera that detected it.
    """
    keypoints = np.asarray(keypoints, dtype=np.float64)
    used = np.isfinite(keypoints).all(axis=2) & (keypoints[..., 2] > 0)
    origin = np.mean([camera.C for camera in cameras], axis=0)
    system = np.stack(
        [
            _equations(camera, points, origin)
            for camera, points in zip(cameras, np.where(used[..., None], keypoints, 0), strict=True)
        ],
        axis=1,
    )
    system = np.where(used.T[:, :, None, None], system, 0.0).reshape(keypoints.shape[1], -1, 4)
    solution = np.linalg.svd(system)[2][:, -1]
    with np.errstate(divide="ignore", invalid="ignore"):
        joints = origin + _SCALE_MM * solution[:, :3] / solution[:, 3:]
    depths = np.stack([camera.to_camera(joints)[:, 2] for camera in cameras])
    good = (used.sum(axis=0) >= 2) & (~used | (depths > 0)).all(axis=0)
    good &= np.isfinite(joints).all(axis=1)
    return np.where(good[:, None], joints, np.nan)


def _equations(camera: Camera, keypoints: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """(J, 2, 4) rows of the linear system of one view, in units of metres around the origin."""
    rays = camera.undistort(keypoints[:, :2])
    pose = np.column_stack([camera.R, camera.R @ (origin - camera.C) / _SCALE_MM])
    return rays[:, :, None] * pose[2] - pose[:2]
