"""How well identities hold over time: CLEAR MOT and IDF1.

MOTA, misses, false positives and switches follow Bernardin and Stiefelhagen, "Evaluating Multiple
Object Tracking Performance: The CLEAR MOT Metrics" (2008); IDF1 follows Ristani et al.,
"Performance Measures and a Data Set for Multi-Target, Multi-Camera Tracking" (2016).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from voxelpose_core.errors import InputError
from voxelpose_core.metrics.mpjpe import assign_one_to_one, pose_distances


@dataclass(frozen=True)
class TrackingMetrics:
    """What a tracker did over a sequence.

    Attributes:
        truths: true people, summed over the frame sets.
        misses: true people without a track.
        false_positives: tracks without a true person.
        switches: true people whose track is another one than the last that they had.
        mota: 1 - (misses + false positives + switches) / truths; NaN without a true person.
        idf1: share of people and tracks that agree when every person is paired with one track for
            the whole sequence: 2 agreeing / (truths + tracks); NaN where there is neither.
    """

    truths: int
    misses: int
    false_positives: int
    switches: int
    mota: float
    idf1: float


class TrackingEvaluation:
    """Compares tracks with true people, frame set after frame set.

    Args:
        max_distance_mm: largest mean joint distance of a track from the person that it may be of.
    """

    def __init__(self, max_distance_mm: float = 500.0):
        self._limit = max_distance_mm
        self._track_of: dict[int, int] = {}
        self._agreeing: Counter[tuple[int, int]] = Counter()
        self._truths: Counter[int] = Counter()
        self._tracks: Counter[int] = Counter()
        self._misses = self._false_positives = self._switches = 0

    def add(
        self,
        truth_ids: Sequence[int],
        truths: np.ndarray,
        track_ids: Sequence[int],
        tracks: np.ndarray,
    ) -> None:
        """Take one frame set.

        Args:
            truth_ids: G numbers of true people.
            truths: (G, J, 3) their joints, mm.
            track_ids: P numbers of tracks; who has none yet (-1) is left out by the caller.
            tracks: (P, J, 3) their joints, mm; NaN where a joint is not known.

        Raises:
            InputError: when a number comes twice, or counts of numbers and people differ.
        """
        truth_ids, track_ids = list(truth_ids), list(track_ids)
        for ids, people, what in ((truth_ids, truths, "people"), (track_ids, tracks, "tracks")):
            if len(set(ids)) != len(ids) or len(ids) != len(people):
                raise InputError(
                    f"{len(people)} {what} of one frame set have the numbers {ids}, "
                    "expected one of its own for each"
                )
        distances: np.ndarray = pose_distances(tracks, truths).reshape(len(track_ids), len(truth_ids))
        distances = np.where(distances <= self._limit, distances, np.inf)
        for row, column in zip(*np.nonzero(np.isfinite(distances))):
            self._agreeing[truth_ids[column], track_ids[row]] += 1
        self._truths.update(truth_ids)
        self._tracks.update(track_ids)
        matches = self._match(truth_ids, track_ids, distances)
        self._misses += len(truth_ids) - len(matches)
        self._false_positives += len(track_ids) - len(matches)
        for truth, track in matches.items():
            self._switches += self._track_of.get(truth, track) != track
            self._track_of[truth] = track

    def _match(self, truth_ids: list[int], track_ids: list[int], distances: np.ndarray) -> dict[int, int]:
        """Track of each true person: the one of the last frame set while it is near, else nearest."""
        left = distances.copy()
        matches = {}
        for column, truth in enumerate(truth_ids):
            track = self._track_of.get(truth)
            if track in track_ids and np.isfinite(left[track_ids.index(track), column]):
                matches[truth] = track
                left[track_ids.index(track), :] = left[:, column] = np.inf
        for column, row in enumerate(assign_one_to_one(left)):
            if row >= 0:
                matches[truth_ids[column]] = track_ids[row]
        return matches

    def result(self) -> TrackingMetrics:
        """The metrics of all frame sets so far."""
        truths, tracks = sum(self._truths.values()), sum(self._tracks.values())
        errors = self._misses + self._false_positives + self._switches
        agreeing = 2.0 * self._most_agreeing()
        return TrackingMetrics(
            truths=truths,
            misses=self._misses,
            false_positives=self._false_positives,
            switches=self._switches,
            mota=1.0 - errors / truths if truths else float("nan"),
            idf1=agreeing / (truths + tracks) if truths + tracks else float("nan"),
        )

    def _most_agreeing(self) -> int:
        """Frame sets that agree when every person is paired with at most one track for good."""
        people, tracks = list(self._truths), list(self._tracks)
        counts = np.array([[self._agreeing[p, t] for t in tracks] for p in people])
        counts = counts.reshape(len(people), len(tracks))
        rows, columns = linear_sum_assignment(counts, maximize=True)
        return int(counts[rows, columns].sum())
