"""What the writers of all formats answer and share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from voxelpose_core.skeleton_files.names import person_path
from voxelpose_core.skeleton_files.tracks import Track, Tracks


@dataclass
class Written:
    """What writing a recording left behind.

    Attributes:
        paths: files written.
        notes: what is not in them, a line each.
    """

    paths: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def write_per_person(path: Path, tracks: Tracks, write: Callable[[Path, Track], list[str]]) -> Written:
    """One file per track, named by `person_path`.

    Args:
        path: as the user named it.
        tracks: all people.
        write: writes one person's file and answers notes.
    """
    written = Written(notes=list(tracks.notes))
    if not tracks.tracks:
        written.notes.append(nobody(path))
    for track in tracks.tracks:
        target = person_path(path, track.track_id, len(tracks.tracks))
        written.notes += write(target, track)
        written.paths.append(target)
    return written


def nobody(path: Path) -> str:
    """The note of a format that holds nothing without people."""
    return f"{path}: not written, as there is no person with a track id"
