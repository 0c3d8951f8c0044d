"""NumPy arrays, one row per skeleton."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from voxelpose_core.atomic_files import writing
from voxelpose_core.skeleton_files.recording import Recording
from voxelpose_core.skeleton_files.written import Written

_MM_PER_M = 1000.0


def write(path: Path, recording: Recording) -> Written:
    """Write an NPZ file of S skeletons, all people of all frame sets, in the order of time.

    Arrays: `frame`, `time_s`, `track_id` (-1: not followed), `score`, each (S,); `joints_m` (S, J, 3),
    NaN where a joint is not valid; `joint_scores` (S, J); where all skeletons have them
    `joint_covariances_m2` (S, J, 3, 3); of the recording `joint_names` (J,), `joint_set`, `rate_hz`,
    and `frames` (F,), `frame_times_s` (F,) of all frame sets, also those without people.
    """
    pairs = [(frame_set, s) for frame_set in recording.frame_sets for s in frame_set.skeletons]
    joints = len(recording.joint_set)
    valid = np.array([s.joint_valid for _, s in pairs], bool).reshape(-1, joints)
    positions = np.array([s.joints for _, s in pairs], np.float64).reshape(-1, joints, 3) / _MM_PER_M
    scores = np.array([s.joint_scores for _, s in pairs], np.float64).reshape(-1, joints)
    arrays: dict[str, Any] = {
        "frame": np.array([frame_set.frame for frame_set, _ in pairs], np.int64),
        "time_s": np.array([frame_set.stamp for frame_set, _ in pairs], np.float64),
        "track_id": np.array([s.track_id for _, s in pairs], np.int64),
        "score": np.array([s.score for _, s in pairs], np.float64),
        "joints_m": np.where(valid[..., None], positions, np.nan),
        "joint_scores": np.where(valid, scores, 0.0),
        "joint_names": np.array(recording.joint_set.joint_names),
        "joint_set": np.array(recording.joint_set.name),
        "rate_hz": np.array(recording.rate_hz),
        "frames": np.array([frame_set.frame for frame_set in recording.frame_sets], np.int64),
        "frame_times_s": np.array([frame_set.stamp for frame_set in recording.frame_sets], np.float64),
    }
    covariances = [s.joint_covariances for _, s in pairs]
    if pairs and all(c is not None for c in covariances):
        arrays["joint_covariances_m2"] = np.array(covariances, np.float64) / _MM_PER_M**2
    # A file that is open already: numpy adds ".npz" to other names.
    with writing(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **arrays)
    return Written([path])
