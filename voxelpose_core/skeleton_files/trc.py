"""TRC, the marker files of OpenSim and Pose2Sim."""

from __future__ import annotations

from pathlib import Path

from voxelpose_core.atomic_files import write_text
from voxelpose_core.skeleton_files.names import marker_name
from voxelpose_core.skeleton_files.recording import Recording
from voxelpose_core.skeleton_files.tracks import Track, Tracks, tracks_of
from voxelpose_core.skeleton_files.written import Written, write_per_person

_MM_PER_M = 1000.0
_FIELDS = "DataRate CameraRate NumFrames NumMarkers Units OrigDataRate OrigDataStartFrame OrigNumFrames"


def write(path: Path, recording: Recording) -> Written:
    """Write one TRC file per person, in metres, y up as in OpenSim: (x, y, z) of the rig as (y, z, x).

    Frame numbers and times are those of the recording; a file begins and ends with its person. A
    joint that is not valid is NaN in all three columns: OpenSim 4.6 refuses a row that ends with
    empty cells, and other readers take later joints for it.
    """
    tracks = tracks_of(recording)

    def one(target: Path, track: Track) -> list[str]:
        write_text(target, "\n".join([*_header(target, tracks, track), "", *_rows(tracks, track)]) + "\n")
        return []

    return write_per_person(path, tracks, one)


def _header(path: Path, tracks: Tracks, track: Track) -> list[str]:
    names = [marker_name(joint) for joint in tracks.joint_set.joint_names]
    rate, count = f"{tracks.rate_hz:.6g}", str(len(track.joints))
    values = [rate, rate, count, str(len(names)), "m", rate, str(tracks.frames[track.first]), count]
    axes = [f"{axis}{number}" for number in range(1, len(names) + 1) for axis in "XYZ"]
    return [
        f"PathFileType\t4\t(X/Y/Z)\t{path.name}",
        _FIELDS.replace(" ", "\t"),
        "\t".join(values),
        "Frame#\tTime\t" + "".join(f"{name}\t\t\t" for name in names),
        "\t\t" + "\t".join(axes) + "\t",
    ]


def _rows(tracks: Tracks, track: Track) -> list[str]:
    y_up = track.joints[..., [1, 2, 0]] / _MM_PER_M
    cells = y_up.reshape(len(y_up), -1).tolist()
    return [
        "\t".join([str(frame), f"{time:.6f}", *(f"{cell:.5f}" if cell == cell else "NaN" for cell in row)])
        for frame, time, row in zip(tracks.frames[track.rows], tracks.times[track.rows], cells)
    ]
