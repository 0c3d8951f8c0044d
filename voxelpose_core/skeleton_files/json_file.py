"""skeletons.json, this project's own format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from voxelpose_core.atomic_files import write_text
from voxelpose_core.errors import InputError
from voxelpose_core.pose_types import Skeleton
from voxelpose_core.skeleton_files.recording import (
    FrameSkeletons,
    Recording,
    check_stamps,
    measured_rate,
)
from voxelpose_core.skeleton_files.written import Written
from voxelpose_core.skeletons import JointSet, written_joint_set
from voxelpose_core.sources import DEFAULT_FPS

FORMAT = "voxelpose_skeletons/1"
MM_PER_M = 1000.0
# Farther joints are no people's.
_FARTHEST_M = 10_000.0


def write(path: Path, recording: Recording) -> Written:
    """Write skeletons.json.

    {"format": "voxelpose_skeletons/1", "joint_set", "joint_names", "unit": "m", "frame_id", "start_ns",
    "rate_hz", "processing",
    "frames": [{"frame", "stamp", "skeletons": [{"track_id", "score", "joints": [[x, y, z, score], ...],
    "joint_covariances": [[[xx, xy, xz], [yx, yy, yz], [zx, zy, zz]], ...]}]}]}: metres, seconds, scores
    from 0 to 1; a joint that is not valid has score 0. Covariances of the joints' errors are in square
    metres; the key is missing where the weights give none.

    Raises:
        InputError: the file cannot be written.
    """
    document = {
        "format": FORMAT,
        "joint_set": recording.joint_set.name,
        "joint_names": list(recording.joint_set.joint_names),
        "unit": "m",
        "frame_id": recording.frame_id,
        "start_ns": recording.start_ns,
        "rate_hz": round(recording.rate_hz, 6),
        "processing": recording.processing,
        "frames": [
            {
                "frame": frame_set.frame,
                "stamp": round(frame_set.stamp, 6),
                "skeletons": [_skeleton_entry(skeleton) for skeleton in frame_set.skeletons],
            }
            for frame_set in recording.frame_sets
        ],
    }
    write_text(path, json.dumps(document, allow_nan=False) + "\n")
    return Written([path])


def read_skeletons(path: Path | str) -> Recording:
    """Read skeletons.json back, in mm; joints of score 0 are not valid.

    Files of before the format had a version are read, too.

    Raises:
        InputError: naming the file and what it lacks.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise InputError(f"{path}: is no text, expected skeletons.json as estimate writes it") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: not valid JSON ({error}), expected skeletons.json as estimate writes it"
        ) from None
    try:
        _check_format(document)
        joint_set = written_joint_set(document["joint_set"], document.get("joint_names", ()))
        if document["unit"] != "m":
            raise InputError(f"unit is '{document['unit']}', expected 'm'")
        frame_sets = [_read_frame(frame, joint_set) for frame in document["frames"]]
        check_stamps(frame_sets)
        rate_hz = float(document.get("rate_hz") or 0.0)
        frame_id, start_ns = str(document.get("frame_id", "world")), int(document.get("start_ns", 0))
        processing = {str(k): float(v) for k, v in document.get("processing", {}).items()}
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except KeyError as error:
        raise InputError(f"{path}: key {error} is missing, expected skeletons.json") from None
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: {error}, expected skeletons.json") from None
    if not 0.0 < rate_hz < np.inf:
        rate_hz = measured_rate([frame_set.stamp for frame_set in frame_sets], DEFAULT_FPS)
    return Recording(joint_set, frame_sets, rate_hz, processing, frame_id, start_ns)


def _check_format(document: dict[str, Any]) -> None:
    found = document.get("format", FORMAT)
    if found != FORMAT:
        raise InputError(
            f"format is '{found}', expected '{FORMAT}': written by a newer version, or not skeletons"
        )


def _read_frame(frame: dict[str, Any], joint_set: JointSet) -> FrameSkeletons:
    skeletons = []
    for index, entry in enumerate(frame["skeletons"]):
        where = f"frame {frame['frame']}, skeleton {index}"
        joints = _read_joints(entry["joints"], len(joint_set), where)
        skeletons.append(
            Skeleton(
                joints=joints[:, :3] * MM_PER_M,
                joint_scores=joints[:, 3],
                joint_valid=joints[:, 3] > 0,
                score=float(entry["score"]),
                track_id=int(entry["track_id"]),
                joint_covariances=_read_covariances(entry, len(joint_set)),
            )
        )
    return FrameSkeletons(int(frame["frame"]), float(frame["stamp"]), skeletons)


def _read_joints(values: Any, count: int, where: str) -> np.ndarray:
    """(J, 4) x, y, z in metres and score; InputError begins with `where`."""
    try:
        joints = np.array(values, np.float64)
    except (TypeError, ValueError, OverflowError):
        joints = np.empty(0)
    if joints.shape != (count, 4):
        number = len(values) if isinstance(values, list) else 0
        raise InputError(f"{where}: 'joints' has {number} entries, expected {count} of [x, y, z, score]")
    if not (np.isfinite(joints).all() and np.abs(joints[:, :3]).max() <= _FARTHEST_M):
        raise InputError(f"{where}: a joint is not finite or beyond {_FARTHEST_M:g} m, expected metres")
    return joints


def _read_covariances(entry: dict[str, Any], joints: int) -> np.ndarray | None:
    if "joint_covariances" not in entry:
        return None
    covariances = np.array(entry["joint_covariances"], np.float64)
    if covariances.shape != (joints, 3, 3):
        raise ValueError(f"joint_covariances are {covariances.shape} numbers, expected ({joints}, 3, 3)")
    return covariances * MM_PER_M**2


def _skeleton_entry(skeleton: Skeleton) -> dict[str, Any]:
    scores = np.where(skeleton.joint_valid, skeleton.joint_scores, 0.0)
    joints = np.column_stack([np.round(skeleton.joints / MM_PER_M, 5), np.round(scores, 4)])
    entry = {
        "track_id": int(skeleton.track_id),
        "score": round(float(skeleton.score), 4),
        "joints": joints.tolist(),
    }
    if skeleton.joint_covariances is not None:
        # To 0.01 mm^2, so that they stay positive definite.
        entry["joint_covariances"] = np.round(skeleton.joint_covariances / MM_PER_M**2, 8).tolist()
    return entry
