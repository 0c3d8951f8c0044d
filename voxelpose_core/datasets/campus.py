"""The Campus data set: three cameras, three actors, outdoors (Belagiannis et al., CVPR 2014)."""

from __future__ import annotations

from pathlib import Path

from voxelpose_core.datasets.actors import ActorsDataset, check_actors
from voxelpose_core.datasets.base import DatasetReport
from voxelpose_core.geometry.space import Space


class Campus(ActorsDataset):
    """CampusSeq1. Validation: frames 350..470 and 650..750."""

    name = "campus"
    peaks_follow_scores = False  # as in the original, for Campus alone
    image_size = (360, 288)
    space = Space((3000, 4500, 1000), (12000, 12000, 2000))
    validation_frames = (*range(350, 471), *range(650, 751))
    image_pattern = "Camera{camera}/campus4-c{camera}-{frame:05d}.png"


def check(path: Path | str) -> DatasetReport:
    """What a Campus folder holds and lacks."""
    return check_actors(Campus, path)
