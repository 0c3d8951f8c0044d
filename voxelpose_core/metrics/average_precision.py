"""Average precision, recall and MPJPE of detected people, as on CMU Panoptic.

The rule of VoxelPose (Tu et al., ECCV 2020): a prediction belongs to the true person to which its
mean joint distance is least, and is right if that distance is below a threshold and no prediction
with a higher score took the person before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from voxelpose_core.errors import InputError
from voxelpose_core.metrics.mpjpe import assign_one_to_one, pose_distances

THRESHOLDS_MM = (25, 50, 75, 100, 125, 150)
_RECALL_MM = 500.0


@dataclass(frozen=True)
class DetectionMetrics:
    """How well people were found.

    Attributes:
        ap: threshold in mm -> average precision, 0 to 1.
        recall: threshold in mm -> share of true people found.
        mean_ap: mean of `ap` over the thresholds.
        recall_500: share of true people with a prediction within 500 mm.
        mpjpe: mean joint distance in mm of people found within 500 mm; NaN where none is.
        people: number of true people.
        predictions: number of predicted people.
        false_positives_per_frame: predictions per frame that are within 500 mm of no true person.
    """

    ap: dict[int, float]
    recall: dict[int, float]
    mean_ap: float
    recall_500: float
    mpjpe: float
    people: int
    predictions: int
    false_positives_per_frame: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**vars(self), "ap": dict(self.ap), "recall": dict(self.recall)}


def evaluate_detections(
    predictions: Sequence[np.ndarray],
    scores: Sequence[np.ndarray],
    truths: Sequence[np.ndarray],
    visible: Sequence[np.ndarray] | None = None,
    one_to_one: bool = False,
) -> DetectionMetrics:
    """AP at 25 to 150 mm, recall at 500 mm, MPJPE, over F frames.

    Frames without predictions count as misses, predictions in frames without people as false.

    Args:
        predictions: per frame (P, J, 3), mm; P may be 0.
        scores: per frame (P,).
        truths: per frame (G, J, 3), mm; G may be 0.
        visible: per frame (G, J) bool, joints of the truth that count; all by default.
        one_to_one: match each prediction to one person at most before anything is scored, with
            the least total distance, instead of the nearest person.

    Raises:
        InputError: the sequences differ in length.
    """
    if not len(predictions) == len(scores) == len(truths):
        raise InputError(
            f"{len(predictions)} frames of predictions, {len(scores)} of scores, {len(truths)} of "
            "ground truth: expected equally many"
        )
    people = sum(len(truth) for truth in truths)
    errors, owners, ranks = [], [], []
    first = 0
    for frame, (poses, truth) in enumerate(zip(predictions, truths, strict=True)):
        seen = None if visible is None else visible[frame]
        error, owner = _match(pose_distances(poses, truth, seen), one_to_one)
        errors.append(error)
        owners.append(np.where(owner >= 0, owner + first, -1))
        ranks.append(np.asarray(scores[frame], dtype=np.float64).reshape(len(error)))
        first += len(truth)
    return _summary(_by_score(errors, owners, ranks), people, len(truths))


def _match(distances: np.ndarray, one_to_one: bool) -> tuple[np.ndarray, np.ndarray]:
    """Per prediction its distance (P,) and the true person (P,) it belongs to, -1 for none."""
    count, people = distances.shape
    error, owner = np.full(count, np.inf), np.full(count, -1)
    if one_to_one:
        chosen = assign_one_to_one(distances)
        taken = np.flatnonzero(chosen >= 0)
        owner[chosen[taken]] = taken
        error[chosen[taken]] = distances[chosen[taken], taken]
    elif people:
        owner = distances.argmin(axis=1)
        error = distances.min(axis=1)
    return error, owner


def _by_score(
    errors: list[np.ndarray], owners: list[np.ndarray], scores: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Errors and owners of all predictions, best score first."""
    if not errors:
        return np.zeros(0), np.zeros(0, dtype=int)
    order = np.argsort(-np.concatenate(scores), kind="stable")
    return np.concatenate(errors)[order], np.concatenate(owners)[order]


def _hits(error: np.ndarray, owner: np.ndarray, threshold: float) -> np.ndarray:
    """(N,) bool: near enough, and the first, by score, that is near enough to its person."""
    hits = np.zeros(len(error), dtype=bool)
    near = np.flatnonzero((error < threshold) & (owner >= 0))
    _, firsts = np.unique(owner[near], return_index=True)
    hits[near[firsts]] = True
    return hits


def _average_precision(hits: np.ndarray, people: int) -> tuple[float, float]:
    """Area under the precision-recall curve, precision made falling; and the final recall."""
    if people == 0:
        return float("nan"), float("nan")
    right = np.cumsum(hits)
    precision = right / np.arange(1, len(hits) + 1)
    falling = np.maximum.accumulate(precision[::-1])[::-1]
    # Recall grows by 1 / people at each hit and nowhere else.
    return float(falling[hits].sum() / people), float(hits.sum() / people)


def _summary(matches: tuple[np.ndarray, np.ndarray], people: int, frames: int) -> DetectionMetrics:
    error, owner = matches
    curves = {t: _average_precision(_hits(error, owner, t), people) for t in THRESHOLDS_MM}
    found = _hits(error, owner, _RECALL_MM)
    return DetectionMetrics(
        ap={t: ap for t, (ap, _) in curves.items()},
        recall={t: recall for t, (_, recall) in curves.items()},
        mean_ap=float(np.mean([ap for ap, _ in curves.values()])),
        recall_500=float(found.sum() / people) if people else float("nan"),
        mpjpe=float(error[found].mean()) if found.any() else float("nan"),
        people=people,
        predictions=len(error),
        false_positives_per_frame=float((error >= _RECALL_MM).sum() / max(frames, 1)),
    )
