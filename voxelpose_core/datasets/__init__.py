"""Data sets of calibrated frames, by name; procedural people in random rigs beside them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from voxelpose_core.datasets import campus, panoptic, shelf, synthetic
from voxelpose_core.datasets.base import DatasetReport, FrameDataset, Sample
from voxelpose_core.errors import InputError

__all__ = ["DATASETS", "DatasetReport", "FrameDataset", "Sample", "check_dataset", "open_dataset"]

DATASETS: dict[str, type[FrameDataset]] = {
    "panoptic": panoptic.Panoptic,
    "campus": campus.Campus,
    "shelf": shelf.Shelf,
    "campus_synthetic": synthetic.CampusSynthetic,
    "shelf_synthetic": synthetic.ShelfSynthetic,
    "synthetic": synthetic.Synthetic,
}
_CHECKS = {"panoptic": panoptic.check, "campus": campus.check, "shelf": shelf.check}


def open_dataset(name: str, root: Path | str, **options: Any) -> FrameDataset:
    """The data set of that name at `root`, a folder or file; the class tells which and the options.

    Raises:
        InputError: the name is unknown (the known ones are listed), or the folder is wrong.
    """
    if name not in DATASETS:
        raise InputError(f"data set '{name}' is unknown, expected one of {', '.join(DATASETS)}")
    # Each takes options of its own.
    make: Callable[..., FrameDataset] = DATASETS[name]
    return make(root, **options)


def check_dataset(path: Path | str, name: str | None = None) -> DatasetReport:
    """What the folder holds and lacks; its files tell which data set it is.

    Raises:
        InputError: the folder does not exist, or holds none of the known data sets.
    """
    path = Path(path)
    if not path.is_dir():
        raise InputError(f"{path}: is no folder, expected a data set")
    if name is None:
        name = _recognise(path)
    if name not in _CHECKS:
        raise InputError(f"data set '{name}' is unknown, expected one of {', '.join(_CHECKS)}")
    return _CHECKS[name](path)


def _recognise(path: Path) -> str:
    for name in ("campus", "shelf"):
        if (path / f"calibration_{name}.json").is_file():
            return name
    if panoptic.find_sequences(path):
        return "panoptic"
    raise InputError(
        f"{path}: is no known data set, expected calibration_campus.json, calibration_shelf.json "
        "or folders SEQ with calibration_SEQ.json (Panoptic)"
    )
