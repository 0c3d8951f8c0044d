"""A tidy table: one row per frame set, person and joint."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from voxelpose_core.atomic_files import writing
from voxelpose_core.skeleton_files.recording import Recording
from voxelpose_core.skeleton_files.written import Written

HEADER = ("frame", "time_s", "skeleton", "track_id", "joint", "x_m", "y_m", "z_m", "score")
_MM_PER_M = 1000.0


def write(path: Path, recording: Recording) -> Written:
    """Write a CSV file with the columns HEADER.

    `skeleton` counts the people of a frame set from 0; `track_id` is -1 for one that was seen too
    shortly to be followed. A joint that is not valid has its row, with empty coordinates and score 0.
    """
    with writing(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(HEADER)
        table.writerows(_rows(recording))
    return Written([path])


def _rows(recording: Recording) -> Iterator[tuple[object, ...]]:
    names = recording.joint_set.joint_names
    for frame_set in recording.frame_sets:
        frame = (frame_set.frame, f"{frame_set.stamp:.6f}")
        for index, skeleton in enumerate(frame_set.skeletons):
            person = (*frame, index, skeleton.track_id)
            joints = np.asarray(skeleton.joints, np.float64) / _MM_PER_M
            valid = np.asarray(skeleton.joint_valid, bool).tolist()
            for name, known, point, score in zip(
                names, valid, joints.tolist(), np.asarray(skeleton.joint_scores).tolist()
            ):
                if known:
                    x, y, z = point
                    yield (*person, name, f"{x:.5f}", f"{y:.5f}", f"{z:.5f}", f"{score:.4f}")
                else:
                    yield (*person, name, "", "", "", "0")
