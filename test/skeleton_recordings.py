"""Recordings of known people, for the tests of skeleton files."""

import numpy as np
from scipy.spatial.transform import Rotation

from voxelpose_core.pose_types import Skeleton
from voxelpose_core.skeleton_files import FrameSkeletons, Recording
from voxelpose_core.skeletons import COCO17

# Bone lengths in mm along a straight person: (joint, the one it hangs on, where from there).
_BONES = (
    ("left_hip", "hips", (0, 120, 0)),
    ("right_hip", "hips", (0, -120, 0)),
    ("left_knee", "left_hip", (0, 0, -430)),
    ("right_knee", "right_hip", (0, 0, -430)),
    ("left_ankle", "left_knee", (0, 0, -410)),
    ("right_ankle", "right_knee", (0, 0, -410)),
    ("shoulders", "hips", (0, 0, 480)),
    ("left_shoulder", "shoulders", (0, 180, 0)),
    ("right_shoulder", "shoulders", (0, -180, 0)),
    ("left_elbow", "left_shoulder", (0, 0, -300)),
    ("right_elbow", "right_shoulder", (0, 0, -300)),
    ("left_wrist", "left_elbow", (0, 0, -260)),
    ("right_wrist", "right_elbow", (0, 0, -260)),
    ("head", "shoulders", (0, 0, 220)),
    ("left_ear", "head", (0, 75, 0)),
    ("right_ear", "head", (0, -75, 0)),
    ("nose", "head", (110, 0, -10)),
    ("left_eye", "head", (90, 32, 25)),
    ("right_eye", "head", (90, -32, 25)),
)


def walk(frames: int, seed: int = 0, start=(0.0, 0.0)) -> np.ndarray:
    """(T, 17, 3) mm, z up: a person of constant bone lengths who turns every joint smoothly."""
    rng = np.random.default_rng(seed)
    rates, phases = rng.uniform(0.005, 0.025, (40, 3)), rng.uniform(0, 6, (40, 3))
    time = np.arange(frames)
    points = {"hips": np.column_stack([start[0] + 20.0 * time, start[1] + 0 * time, 950 + 0 * time])}
    turns = {"hips": _swaying(time, rates[0], phases[0], 0.3)}
    for index, (joint, above, place) in enumerate(_BONES, start=1):
        points[joint] = points[above] + turns[above].apply(np.array(place, float))
        sway = _swaying(time, rates[index], phases[index], 0.3 if joint in ("shoulders", "head") else 0.9)
        turns[joint] = turns[above] * sway
    return np.stack([points[name] for name in COCO17.joint_names], axis=1)


def _swaying(time, rates, phases, size):
    return Rotation.from_rotvec(size * np.sin(2 * np.pi * rates * time[:, None] + phases))


def person(joints, track_id=0, valid=None, score=0.9):
    """A skeleton of joints (17, 3) mm; those with NaN are not valid."""
    known = np.isfinite(joints).all(axis=1) if valid is None else np.asarray(valid, bool)
    scores = np.where(known, np.linspace(0.5, 0.9, len(joints)), 0.0)
    return Skeleton(np.nan_to_num(joints), scores, known, score, track_id)


def recording(people: dict[int, np.ndarray], rate_hz=50.0, first_frame=0, stamps=None) -> Recording:
    """A recording of tracks (T, 17, 3) mm by id; a person is not there where all joints are NaN."""
    count = max((len(joints) for joints in people.values()), default=0)
    frame_sets = []
    for index in range(count):
        skeletons = [
            person(joints[index], track_id)
            for track_id, joints in people.items()
            if index < len(joints) and np.isfinite(joints[index]).any()
        ]
        frame = first_frame + index
        stamp = frame / rate_hz if stamps is None else float(stamps[index])
        frame_sets.append(FrameSkeletons(frame, stamp, skeletons))
    return Recording(COCO17, frame_sets, rate_hz)
