"""Calibrations of other tools: one small reader each, every one into millimetres.

A reader is a module with `DESCRIPTION`, `matches` and `read`, which take the parsed file; the
content finds the reader, never the name of the file. It lists the cameras and reads each by itself.
To add a tool, write its module and add it to `_READERS`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.calibration_formats import (
    anipose,
    kalibr,
    mc_calib,
    multical,
    opencv,
    panoptic,
    qualisys,
    ros,
    voxelpose_json,
)
from voxelpose_core.geometry.calibration_formats.documents import UnreadableFile, read_document
from voxelpose_core.geometry.calibration_formats.panoptic import PANOPTIC_TO_Z_UP
from voxelpose_core.geometry.calibration_formats.values import (
    Calibration,
    CameraEntry,
    FileContents,
    ImageSize,
    Notes,
    cameras_in_words,
    check_names,
    coefficients,
    number,
    numbers,
    parse_image_size,
    require,
    select_entries,
)
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.plain_numbers import plain

__all__ = [
    "PANOPTIC_TO_Z_UP",
    "UNITS_MM",
    "Calibration",
    "CameraEntry",
    "Notes",
    "check_names",
    "coefficients",
    "number",
    "numbers",
    "parse_image_size",
    "read_calibration",
    "read_document",
    "require",
    "select_entries",
]

UNITS_MM = {"mm": 1.0, "cm": 10.0, "m": 1000.0}

_READERS = (qualisys, panoptic, kalibr, mc_calib, multical, anipose, opencv, ros, voxelpose_json)

# No rig that watches people is 60 m wide or 60 mm small; few are 15 m wide or 300 mm small, and
# then the unit may as well be centimetres.
_METRES_BELOW = 60.0
_UNLIKELY = (15.0, 300.0)


def read_calibration(
    document: Any,
    image_size: ImageSize | None = None,
    unit: str | None = None,
    cameras: Sequence[str] | None = None,
) -> Calibration:
    """The cameras of a parsed file of another tool.

    Args:
        document: what `read_document` gave.
        image_size: (width, height) of every camera, used where the format does not say it.
        unit: mm, cm or m, where the file's is not the one that its tool writes. Where a format
            leaves the unit open, it is metres or millimetres by the distance of the cameras.
        cameras: names of the cameras to read, in this order; faults of others do not matter. None:
            all that the file has values of.

    Returns:
        the cameras in mm; `unit` is that of the file, `tool` says in words what was taken.

    Raises:
        InputError: naming camera and key, when the format is unknown or a value is wrong.
    """
    if document is None:
        raise InputError("is empty, or holds comments only, expected a calibration: is the file cut off?")
    for reader in _READERS:
        if reader.matches(document):
            contents = reader.read(document, image_size)
            return _take(contents, contents.tool or reader.DESCRIPTION, unit, cameras)
    if isinstance(document, dict):
        for entry in document.values():
            if isinstance(entry, UnreadableFile):
                raise entry.error
    known = "; ".join(reader.DESCRIPTION for reader in _READERS)
    raise InputError(f"is no known calibration, expected one of: rig YAML; {known}")


def _take(contents: FileContents, tool: str, unit: str | None, names: Sequence[str] | None) -> Calibration:
    check_names([entry.name for entry in contents.entries])
    chosen = select_entries(contents.entries, names)
    cameras = [entry.read() for entry in chosen]
    notes = list(contents.notes.lines([entry.name for entry in chosen]))
    if names is None:
        notes += [*contents.remarks, *_left_out(contents.entries)]
    how = f"in {unit}, as given"
    if unit is None:
        unit, how = contents.unit, f"in {contents.unit}"
    if unit is None:
        spread = _spread([*cameras, *_readable(contents.entries, chosen)])
        unit = "m" if spread < _METRES_BELOW else "mm"
        how = f"in {unit} by the distance of its cameras"
        if _UNLIKELY[0] < spread < _UNLIKELY[1]:
            notes.append(
                f"the file does not say its unit; the cameras are up to {plain(spread)} apart, which "
                f"is read as {unit}: give --unit mm, cm or m if that is wrong"
            )
    what = "; ".join([f"{tool} {how}", *sorted({camera.lens for camera in cameras})])
    scaled = [dataclasses.replace(camera, C=camera.C * UNITS_MM[unit]) for camera in cameras]
    return Calibration(scaled, unit, contents.frame, what, tuple(notes), contents.axes)


def _left_out(entries: Sequence[CameraEntry]) -> list[str]:
    """One line per reason, for all cameras that are left out for it."""
    by_reason: dict[str, list[str]] = {}
    for entry in entries:
        if entry.left_out is not None:
            by_reason.setdefault(entry.left_out, []).append(entry.name)
    return [f"{cameras_in_words(names)} left out: {why}" for why, names in by_reason.items()]


def _readable(entries: Sequence[CameraEntry], known: Sequence[CameraEntry]) -> list[Camera]:
    """The other cameras of the file, without those that cannot be read."""
    cameras, names = [], {entry.name for entry in known}
    for entry in entries:
        if entry.name in names:
            continue
        try:
            cameras.append(entry.read())
        except InputError:
            pass
    return cameras


def _spread(cameras: Sequence[Camera]) -> float:
    """The largest distance between two cameras."""
    centers = np.array([camera.C for camera in cameras]).reshape(-1, 3)
    return max((np.linalg.norm(centers - center, axis=1).max() for center in centers), default=0.0)
