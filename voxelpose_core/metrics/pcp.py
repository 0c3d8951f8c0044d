"""Percentage of correct parts on Campus and Shelf (Belagiannis et al., CVPR 2014)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from voxelpose_core.errors import InputError
from voxelpose_core.metrics.mpjpe import assign_one_to_one, pose_distances
from voxelpose_core.skeletons import CAMPUS14, COCO17

_MID_HIP = -1
_RECALL_MM = 500.0
_REPORTED_ACTORS = 3


def _parts(text: str) -> tuple[tuple[int, int], ...]:
    def end(name: str) -> int:
        return _MID_HIP if name == "mid_hip" else CAMPUS14.index(name)

    pairs = (part.split("-") for part in text.split())
    return tuple((end(first), end(second)) for first, second in pairs)


# The ten parts by group; the torso runs from the middle of the hips to the lower end of the head.
_GROUPS = {
    "head": _parts("head_bottom-head_top"),
    "torso": _parts("mid_hip-head_bottom"),
    "upper_arms": _parts("right_elbow-right_shoulder left_shoulder-left_elbow"),
    "lower_arms": _parts("right_wrist-right_elbow left_elbow-left_wrist"),
    "upper_legs": _parts("right_knee-right_hip left_hip-left_knee"),
    "lower_legs": _parts("right_ankle-right_knee left_knee-left_ankle"),
}
_PARTS = tuple(part for parts in _GROUPS.values() for part in parts)


@dataclass(frozen=True)
class PCP:
    """Shares of correct parts, 0 to 1; NaN for an actor without ground truth.

    Attributes:
        actors: share per actor, A values.
        average: mean over the first three actors that have ground truth, as the field reports.
        groups: bone group -> share per actor, A values.
        frames: frames with ground truth per actor, A values.
        recall_500: share of true people with a prediction within 500 mm (mean joint distance).
        false_positives_per_frame: predictions per frame that are within 500 mm of no labelled person.
            Data sets leave bystanders without labels, who count here too.
    """

    actors: tuple[float, ...]
    average: float
    groups: dict[str, tuple[float, ...]]
    frames: tuple[int, ...]
    recall_500: float
    false_positives_per_frame: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "actors": list(self.actors),
            "average": self.average,
            "groups": {name: list(values) for name, values in self.groups.items()},
            "frames": list(self.frames),
            "recall_500": self.recall_500,
            "false_positives_per_frame": self.false_positives_per_frame,
        }


def evaluate_pcp(
    predictions: Sequence[np.ndarray],
    actors: np.ndarray,
    alpha: float = 0.5,
    one_to_one: bool = False,
) -> PCP:
    """Ten-part PCP: a part is right if the mean error of its ends is at most alpha of its length.

    The field's rule compares every true person with the prediction nearest to it in mean joint
    distance, so that two people may share one. With `one_to_one`, each prediction serves one
    person at most. A person without a prediction misses all ten parts.

    Args:
        predictions: per frame (P, 14, 3) in campus14, mm; P may be 0. NaN joints are wrong.
        actors: (F, A, 14, 3) ground truth, mm; NaN where an actor is not labelled.
        alpha: tolerance as a share of the part's length.
        one_to_one: see above.

    Raises:
        InputError: shapes do not fit.
    """
    actors = np.asarray(actors, dtype=np.float64)
    _check_shapes(predictions, actors)
    labelled = np.isfinite(actors).all(axis=(2, 3))
    correct = np.zeros((actors.shape[1], len(_PARTS)))
    found = false_positives = 0
    for poses, people, present in zip(predictions, actors, labelled, strict=True):
        who = np.flatnonzero(present)
        poses = np.asarray(poses, dtype=np.float64).reshape(-1, len(CAMPUS14), 3)
        distances = pose_distances(poses, people[who])
        chosen = _choose(distances, one_to_one)
        false_positives += int((distances.min(axis=1, initial=np.inf) >= _RECALL_MM).sum())
        for column, (actor, pose) in enumerate(zip(who, chosen, strict=True)):
            if pose < 0:
                continue
            found += distances[pose, column] < _RECALL_MM
            correct[actor] += _correct_parts(poses[pose], people[actor], alpha)
    return _summary(correct, labelled, found, false_positives)


def campus14_from_coco17(poses: np.ndarray, dataset: str = "campus") -> np.ndarray:
    """COCO-17 poses (..., 17, 3) as campus14 (..., 14, 3), z up, in the same unit.

    COCO has no ends of the head; they are built as published results build them: for Campus from
    ears and shoulders, for Shelf mostly from the nose (microsoft/voxelpose-pytorch, evaluation).

    Args:
        poses: (..., 17, 3).
        dataset: "campus" or "shelf", whose annotators placed the head differently.

    Raises:
        InputError: for another data set.
    """
    poses = np.asarray(poses, dtype=np.float64)
    result = np.empty((*poses.shape[:-2], len(CAMPUS14), 3))
    result[..., :-2, :] = poses[..., _BODY_FROM_COCO17, :]
    neck = _middle(poses, "shoulder")
    ears = _middle(poses, "ear")
    bottom = (neck + ears) / 2
    top = 2 * ears - bottom
    if dataset == "shelf":
        forward = poses[..., COCO17.index("nose"), :] - neck
        bottom = 0.75 * (neck + forward / 2) + 0.25 * bottom
        top = 0.75 * (neck + forward * [0.75, 0.75, 1.5]) + 0.25 * top
    elif dataset != "campus":
        raise InputError(f"data set '{dataset}': expected campus or shelf")
    result[..., CAMPUS14.index("head_bottom"), :] = bottom
    result[..., CAMPUS14.index("head_top"), :] = top
    return result


_BODY_FROM_COCO17 = [COCO17.index(name) for name in CAMPUS14.joint_names[:-2]]


def _middle(poses: np.ndarray, joint: str) -> np.ndarray:
    sides = [COCO17.index(f"left_{joint}"), COCO17.index(f"right_{joint}")]
    return poses[..., sides, :].mean(axis=-2)


def _check_shapes(predictions: Sequence[np.ndarray], actors: np.ndarray) -> None:
    if actors.ndim != 4 or actors.shape[2:] != (len(CAMPUS14), 3):
        raise InputError(f"ground truth has shape {actors.shape}, expected (F, A, 14, 3)")
    if len(predictions) != len(actors):
        raise InputError(f"{len(predictions)} frames of predictions, expected {len(actors)}")
    for frame, poses in enumerate(predictions):
        if np.size(poses) and np.shape(poses)[1:] != (len(CAMPUS14), 3):
            raise InputError(f"prediction {frame} has shape {np.shape(poses)}, expected (P, 14, 3)")


def _choose(distances: np.ndarray, one_to_one: bool) -> np.ndarray:
    """(G,) the prediction that is compared with each true person, -1 for none."""
    if one_to_one:
        return assign_one_to_one(distances)
    if len(distances) == 0:
        return np.full(distances.shape[1], -1)
    nearest = distances.argmin(axis=0)
    return np.where(np.isfinite(distances.min(axis=0)), nearest, -1)


def _correct_parts(pose: np.ndarray, truth: np.ndarray, alpha: float) -> np.ndarray:
    """(10,) bool."""
    pose, truth = _with_mid_hip(pose), _with_mid_hip(truth)
    errors = np.linalg.norm(pose - truth, axis=1)
    first, second = np.array(_PARTS).T
    length = np.linalg.norm(truth[first] - truth[second], axis=1)
    return (errors[first] + errors[second]) / 2 <= alpha * length


def _with_mid_hip(pose: np.ndarray) -> np.ndarray:
    """The pose with the middle of its hips appended, where `_MID_HIP` finds it."""
    return np.vstack([pose, CAMPUS14.root_of(pose)])


def _summary(correct: np.ndarray, labelled: np.ndarray, found: int, false_positives: int) -> PCP:
    frames = labelled.sum(axis=0)
    seen = np.where(frames > 0, frames, np.nan)
    shares = correct.sum(axis=1) / (seen * len(_PARTS))
    groups, start = {}, 0
    for name, parts in _GROUPS.items():
        chosen = correct[:, start : start + len(parts)]
        groups[name] = tuple((chosen.sum(axis=1) / (seen * len(parts))).tolist())
        start += len(parts)
    reported = shares[:_REPORTED_ACTORS]
    reported = reported[np.isfinite(reported)]
    people = int(frames.sum())
    return PCP(
        actors=tuple(shares.tolist()),
        average=float(reported.mean()) if reported.size else float("nan"),
        groups=groups,
        frames=tuple(frames.tolist()),
        recall_500=found / people if people else float("nan"),
        false_positives_per_frame=false_positives / max(len(labelled), 1),
    )
