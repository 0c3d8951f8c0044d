"""What a 2D detector gets wrong, counted: the same figures of real and of simulated detections.

`benchmarks/measure_detections.py` prints them side by side; the magnitudes in detection_noise.py come
from there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from voxelpose_core.association import DETECTION, image_sizes, pair_one_to_one, pixel_distances
from voxelpose_core.skeletons import COCO17

# The joints that every source of truth at hand labels alike, left and right together.
PARTS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
_PAIRS = np.array([[COCO17.index(f"left_{p}"), COCO17.index(f"right_{p}")] for p in PARTS])
_LIMBS = _PAIRS.ravel()
# Shares of the box side from here on are all alike: no detection is that far from its person.
_NO_PAIR = 1e3
# People with fewer joints in the image are not counted: whether they can be detected is open.
_MIN_JOINTS_IN_VIEW = 6
# Errors from here on are another limb or another person, not jitter. Share of the box side.
_GROSS = 0.12


class DetectionStatistics:
    """Collects, view by view, how detections differ from the projected truth."""

    def __init__(self) -> None:
        self.errors: list[np.ndarray] = []
        self.in_view: list[np.ndarray] = []
        self.scores: list[np.ndarray] = []
        self.swapped: list[np.ndarray] = []
        self.people = self.missed_people = self.other_detections = self.views = 0

    def add_view(self, truth: np.ndarray, seen: np.ndarray, detections: np.ndarray | None) -> None:
        """Count one image.

        Args:
            truth: (P, 17, 2) projected COCO-17 joints, pixels.
            seen: (P, 17) bool: labelled and inside the image.
            detections: (Q, 17, 3) x px, y px, score (0: not detected), or None for no person.
        """
        self.views += 1
        countable = seen[:, _LIMBS].sum(axis=1) >= _MIN_JOINTS_IN_VIEW
        detections = np.zeros((0, 17, 3)) if detections is None else np.asarray(detections)
        side = image_sizes(truth, seen)
        decisive = seen & np.isin(np.arange(seen.shape[1]), _LIMBS)
        share = pixel_distances(truth, decisive, detections, DETECTION)
        share = share / np.maximum(side, 1.0)[:, None]
        pairs = pair_one_to_one(share, _NO_PAIR)
        matched = {row: column for row, column in pairs if share[row, column] < DETECTION.max_share}
        self.other_detections += len(detections) - len(matched)
        self.people += int(countable.sum())
        self.missed_people += sum(1 for p in np.flatnonzero(countable) if int(p) not in matched)
        for person, found in matched.items():
            if countable[person]:
                self._add_person(truth[person], seen[person], detections[found], side[person])

    def _add_person(self, truth, seen, found, side) -> None:
        detected = seen & (found[:, 2] > 0)
        error = np.linalg.norm(found[:, :2] - truth, axis=1) / side
        self.errors.append(np.where(detected, error, np.nan)[_PAIRS])
        self.in_view.append(seen[_PAIRS])
        self.scores.append(np.where(detected, found[:, 2], np.nan)[_PAIRS])
        self.swapped.append(_swapped(truth, detected, found))

    def summary(self) -> dict:
        """Shares by part and over all; errors in per cent of the person's box side."""
        errors, in_view = np.array(self.errors), np.array(self.in_view)
        detected = np.isfinite(errors)
        jitter = np.where(errors < _GROSS, errors, np.nan)
        swapped = np.array(self.swapped)
        by_part = {}
        for index, part in enumerate(PARTS):
            by_part[part] = {
                "missed_%": _percent(1 - detected[:, index].sum() / in_view[:, index].sum()),
                "error_p50_%": _percent(_quantile(jitter[:, index], 0.5)),
                "error_p90_%": _percent(_quantile(jitter[:, index], 0.9)),
                "gross_%": _percent((errors[:, index] >= _GROSS).sum() / detected[:, index].sum()),
                "score_p50": round(_quantile(np.array(self.scores)[:, index], 0.5), 2),
            }
        return {
            "people": len(errors),
            "missed_people_%": _percent(self.missed_people / max(self.people, 1)),
            "other_detections_per_view": round(self.other_detections / max(self.views, 1), 2),
            "swapped_pairs_%": _percent(swapped[np.isfinite(swapped)].mean()),
            "miss_correlation": _miss_correlation(in_view, detected),
            "parts": by_part,
        }


def _swapped(truth, detected, found) -> np.ndarray:
    """(6,) 1 where left and right fit better exchanged; NaN where that cannot be told."""
    left, right = _PAIRS.T
    both = detected[left] & detected[right]

    def cost(a, b):
        return np.linalg.norm(found[a, :2] - truth[left], axis=1) + np.linalg.norm(
            found[b, :2] - truth[right], axis=1
        )

    apart = np.linalg.norm(truth[left] - truth[right], axis=1)
    clear = np.abs(cost(left, right) - cost(right, left)) > apart
    return np.where(both & clear, cost(right, left) < cost(left, right), np.nan)


def _miss_correlation(in_view, detected) -> float:
    """How much misses come together: spread of misses a person against independent misses."""
    missed = (in_view & ~detected).reshape(len(in_view), -1)
    expected = missed.mean(axis=0)
    return round(float(missed.sum(axis=1).var() / max((expected * (1 - expected)).sum(), 1e-9)), 2)


def _quantile(values: np.ndarray, q: float) -> float:
    """Of the finite values; NaN where there is none."""
    finite = values[np.isfinite(values)]
    return float(np.quantile(finite, q)) if finite.size else float("nan")


def _percent(share: float) -> float:
    return round(100 * float(share), 1)


def coco17_truth(joints: dict[str, np.ndarray], count: int) -> np.ndarray:
    """(count, 17, 3) mm, from arrays (count, 3), mm, by joint name; NaN for the other joints."""
    poses = np.full((count, 17, 3), np.nan)
    for name, values in joints.items():
        poses[:, COCO17.index(name)] = values
    return poses


def project_truth(camera, poses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (P, 17, 2) and seen (P, 17) bool of poses (P, 17, 3), mm, NaN for unknown joints."""
    points = poses.reshape(-1, 3)
    known = np.isfinite(points).all(axis=1)
    pixels = np.zeros((len(points), 2))
    seen = np.zeros(len(points), dtype=bool)
    if known.any():
        pixels[known] = camera.project(points[known])[0]
        seen[known] = camera.sees(points[known])
    return pixels.reshape(*poses.shape[:2], 2), seen.reshape(poses.shape[:2])


def view_statistics(
    cameras: Sequence,
    poses: np.ndarray,
    keypoints: Sequence[np.ndarray | None],
    statistics: DetectionStatistics,
) -> None:
    """Count all views of one frame set: poses (P, 17, 3) mm, keypoints (Q, 17, 3) a camera."""
    for camera, people in zip(cameras, keypoints, strict=True):
        statistics.add_view(*project_truth(camera, poses), people)
