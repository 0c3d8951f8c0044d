"""The Shelf data set: five cameras, four actors, indoors (Belagiannis et al., CVPR 2014)."""

from __future__ import annotations

from pathlib import Path

from voxelpose_core.datasets.actors import ActorsDataset, check_actors
from voxelpose_core.datasets.base import DatasetReport
from voxelpose_core.geometry.space import Space


class Shelf(ActorsDataset):
    """Shelf. Validation: frames 300..600."""

    name = "shelf"
    image_size = (1032, 776)
    space = Space((450, -320, 800), (8000, 8000, 2000))
    validation_frames = tuple(range(300, 601))
    image_pattern = "Camera{camera}/img_{frame:06d}.png"


def check(path: Path | str) -> DatasetReport:
    """What a Shelf folder holds and lacks."""
    return check_actors(Shelf, path)
