"""C3D, the format of motion capture systems."""

from __future__ import annotations

import errno
import importlib.util
import os
from pathlib import Path

import numpy as np

from voxelpose_core.atomic_files import writing
from voxelpose_core.errors import InputError
from voxelpose_core.skeleton_files.names import marker_name
from voxelpose_core.skeleton_files.recording import Recording
from voxelpose_core.skeleton_files.tracks import Tracks, tracks_of
from voxelpose_core.skeleton_files.written import Written, nobody

# Frames are counted in 16 bits; libraries read no more, even where a file has them.
MAX_FRAMES = 65535


def check_available() -> None:
    """InputError where ezc3d is not installed."""
    if importlib.util.find_spec("ezc3d") is None:
        raise InputError("C3D files need the Python package ezc3d: pip install ezc3d")


def write(path: Path, recording: Recording) -> Written:
    """Write one C3D file with the joints of all people as points, in mm, world frame of the rig (z up).

    Points are named like markers (`marker_name`), with several people after their person: "P0:LShoulder",
    as SUBJECTS:LABEL_PREFIXES says. A joint that is not valid has residual -1, others have 0. All frames
    of the recording are there.

    Raises:
        InputError: ezc3d is missing, the recording has more than 65535 frames, or the file cannot be
            written.
    """
    check_available()
    tracks = tracks_of(recording)
    if not tracks.tracks:
        return Written(notes=[*tracks.notes, nobody(path)])
    if len(tracks.frames) > MAX_FRAMES:
        raise InputError(f"{path}: {len(tracks.frames)} frames, but a C3D file holds at most {MAX_FRAMES}")
    document = _document(tracks)
    with writing(path) as partial:
        _write(document, partial)
    return Written([path], tracks.notes)


def _write(document, path: Path) -> None:
    """Write to a path of any ending; OSError where that fails."""
    # ezc3d appends the ending where there is another.
    named = path.with_name(f"{path.name}.c3d")
    try:
        named.open("wb").close()  # ezc3d names neither the file nor the cause
        try:
            document.write(str(named))
        except RuntimeError as error:
            raise OSError(str(error)) from None
        # Nor does it tell that a disk is full: four numbers of four bytes for each point.
        if named.stat().st_size < 4 * document["data"]["points"].size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        named.replace(path)
    finally:
        named.unlink(missing_ok=True)


def _document(tracks: Tracks):
    import ezc3d

    markers = [marker_name(joint) for joint in tracks.joint_set.joint_names]
    people = [f"P{track.track_id}" for track in tracks.tracks]
    prefixes = [f"{person}:" for person in people] if len(people) > 1 else [""]
    document = ezc3d.c3d()
    point = document["parameters"]["POINT"]
    point["RATE"]["value"] = [tracks.rate_hz]
    point["UNITS"]["value"] = ["mm"]
    point["LABELS"]["value"] = [prefix + marker for prefix in prefixes for marker in markers]
    # The axes that point right and up on a screen.
    document.add_parameter("POINT", "X_SCREEN", ["+X"])
    document.add_parameter("POINT", "Y_SCREEN", ["+Z"])
    document.add_parameter("SUBJECTS", "USED", [len(people)])
    document.add_parameter("SUBJECTS", "USES_PREFIXES", [int(len(people) > 1)])
    document.add_parameter("SUBJECTS", "NAMES", people)
    document.add_parameter("SUBJECTS", "LABEL_PREFIXES", prefixes)
    points = _points(tracks)
    missing = np.isnan(points[0])
    document["data"]["points"] = points
    document["data"]["meta_points"]["residuals"] = np.where(missing, -1.0, 0.0)[None]
    return document


def _points(tracks: Tracks) -> np.ndarray:
    """(4, P * J, T): mm and 1; NaN in gaps."""
    joints = len(tracks.joint_set)
    points = np.full((len(tracks.frames), len(tracks.tracks), joints, 4), np.nan)
    points[..., 3] = 1.0
    for person, track in enumerate(tracks.tracks):
        points[track.rows, person, :, :3] = track.joints
    return points.reshape(len(points), -1, 4).transpose(2, 1, 0)
