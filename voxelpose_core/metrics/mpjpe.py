"""Mean per joint position error, and the matching of predicted to true people by it."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment


def mpjpe(prediction: np.ndarray, truth: np.ndarray, visible: np.ndarray | None = None) -> float:
    """Mean distance of one person's joints (J, 3) from the truth (J, 3), in their unit.

    Args:
        prediction: (J, 3).
        truth: (J, 3).
        visible: (J,) bool, joints that count; all by default. NaN where none does.
    """
    visible = np.ones(len(truth), dtype=bool) if visible is None else np.asarray(visible, dtype=bool)
    distance = np.linalg.norm(np.asarray(prediction) - np.asarray(truth), axis=-1)[visible]
    return float(distance.mean()) if distance.size else float("nan")


def pose_distances(
    predictions: np.ndarray, truths: np.ndarray, visible: np.ndarray | None = None
) -> np.ndarray:
    """Mean joint distance of every prediction from every true person.

    Args:
        predictions: (P, J, 3); a joint that was not predicted is NaN and is left out of the mean.
        truths: (G, J, 3).
        visible: (G, J) bool, joints of the truth that count; all by default.

    Returns:
        (P, G) in the unit of the poses; infinite where no joint can be compared.
    """
    predictions = np.asarray(predictions, dtype=np.float64)
    truths = np.asarray(truths, dtype=np.float64)
    if len(predictions) == 0 or len(truths) == 0:
        return np.zeros((len(predictions), len(truths)))
    distance = np.linalg.norm(predictions[:, None] - truths[None], axis=-1)
    counts = np.isfinite(distance)
    if visible is not None:
        counts &= np.asarray(visible, dtype=bool)[None]
    number = counts.sum(axis=-1)
    total = np.where(counts, distance, 0.0).sum(axis=-1)
    return np.where(number > 0, total / np.maximum(number, 1), np.inf)


def assign_one_to_one(distances: np.ndarray) -> np.ndarray:
    """(G,) index of the prediction for each true person, -1 for none, least total distance.

    Args:
        distances: (P, G) of `pose_distances`. Infinite distances are never assigned.
    """
    chosen = np.full(distances.shape[1], -1)
    finite = np.isfinite(distances)
    if finite.any():
        # The assignment needs numbers; any that exceeds every sum of real ones does.
        large = 1.0 + distances[finite].sum()
        rows, columns = linear_sum_assignment(np.where(finite, distances, large))
        kept = finite[rows, columns]
        chosen[columns[kept]] = rows[kept]
    return chosen
