"""Calibrations of other tools: one small reader each, every one into millimetres.

A reader is a module with `DESCRIPTION`, `matches` and `read`, which take the parsed file; the
content finds the reader, never the name of the file. To add a tool, write its module and add it to
`_READERS`.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.calibration_formats import (
    anipose,
    kalibr,
    multical,
    opencv,
    panoptic,
    qualisys,
    ros,
    voxelpose_json,
)
from voxelpose_core.geometry.calibration_formats.documents import read_document
from voxelpose_core.geometry.calibration_formats.panoptic import PANOPTIC_TO_Z_UP
from voxelpose_core.geometry.calibration_formats.values import (
    Calibration,
    ImageSize,
    number,
    numbers,
    parse_image_size,
    require,
)
from voxelpose_core.geometry.camera import Camera

__all__ = [
    "PANOPTIC_TO_Z_UP",
    "UNITS_MM",
    "Calibration",
    "number",
    "numbers",
    "parse_image_size",
    "read_calibration",
    "read_document",
    "require",
]

UNITS_MM = {"mm": 1.0, "cm": 10.0, "m": 1000.0}

_READERS = (qualisys, panoptic, kalibr, multical, anipose, opencv, ros, voxelpose_json)

# No rig that watches people is 60 m wide or 60 mm small.
_METRES_BELOW = 60.0


def read_calibration(
    document: Any, image_size: ImageSize | None = None, unit: str | None = None
) -> Calibration:
    """The cameras of a parsed file of another tool.

    Args:
        document: what `read_document` gave.
        image_size: (width, height) of every camera, used where the format does not say it.
        unit: mm, cm or m, where the file's is not the one that its tool writes. Where a format
            leaves the unit open, it is metres or millimetres by the distance of the cameras.

    Returns:
        the cameras in mm, in the order of the file; `unit` is that of the file, `tool` says in
        words what was taken.

    Raises:
        InputError: naming camera and key, when the format is unknown or a value is wrong.
    """
    for reader in _READERS:
        if reader.matches(document):
            taken = reader.read(document, image_size)
            return _in_millimetres(taken, unit, taken.tool or reader.DESCRIPTION)
    known = "; ".join(reader.DESCRIPTION for reader in _READERS)
    raise InputError(f"is no known calibration, expected one of: rig YAML; {known}")


def _in_millimetres(taken: Calibration, unit: str | None, tool: str) -> Calibration:
    how = f"in {unit}, as given"
    if unit is None:
        unit, how = taken.unit, f"in {taken.unit}"
    if unit is None:
        unit = _unit_by_distance(taken.cameras)
        how = f"in {unit} by the distance of its cameras"
    lenses = sorted({camera.lens for camera in taken.cameras})
    cameras = [_scaled(camera, UNITS_MM[unit]) for camera in taken.cameras]
    what = "; ".join([f"{tool} {how}", *lenses])
    return dataclasses.replace(taken, cameras=cameras, unit=unit, tool=what)


def _unit_by_distance(cameras: list[Camera]) -> str:
    centers = np.array([camera.C for camera in cameras]).reshape(-1, 3)
    spread = max((np.linalg.norm(centers - center, axis=1).max() for center in centers), default=0)
    return "m" if spread < _METRES_BELOW else "mm"


def _scaled(camera: Camera, factor: float) -> Camera:
    return dataclasses.replace(camera, C=camera.C * factor)
