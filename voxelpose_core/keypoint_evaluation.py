"""What a method makes of 2D detections, measured: on labelled actors and on generated rigs.

A method is anything that is called like `PoseEstimator.estimate_keypoints`. All methods are compared by
the functions of this module, so that they get the same detections and the same rules.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from voxelpose_core.datasets.actors import ActorsDataset
from voxelpose_core.datasets.base import Sample
from voxelpose_core.datasets.generated_rigs import GeneratedFrameSet
from voxelpose_core.metrics.average_precision import DetectionMetrics, evaluate_detections
from voxelpose_core.metrics.mpjpe import pose_distances
from voxelpose_core.metrics.pcp import PCP, campus14_from_coco17, evaluate_pcp
from voxelpose_core.pose_types import Estimate, joints_of
from voxelpose_core.skeletons import COCO17

# People that at least so many cameras see whole are counted together.
_MANY_VIEWS = 4
_RECALL_MM = 500.0


class KeypointMethod(Protocol):
    """Anything that finds people in the 2D detections of one frame set."""

    def estimate_keypoints(self, keypoints: Sequence[np.ndarray | None]) -> Estimate:
        """See `PoseEstimator.estimate_keypoints`."""


@dataclass
class Predictions:
    """What a method found in F frame sets.

    Attributes:
        poses: per frame set (P, 17, 3), COCO-17, mm.
        scores: per frame set (P,).
        wall_ms: per frame set, milliseconds of the call.
        cpu_ms: per frame set, milliseconds that all threads of this process computed. Other
            processes on a shared computer hardly change them.
    """

    poses: list[np.ndarray] = field(default_factory=list)
    scores: list[np.ndarray] = field(default_factory=list)
    wall_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)

    def add(self, method: KeypointMethod, keypoints: Sequence[np.ndarray | None]) -> None:
        """Run the method on the 2D detections of one frame set, per camera (P, J, 3) or None."""
        wall, cpu = time.perf_counter(), time.process_time()
        skeletons = method.estimate_keypoints(keypoints).skeletons
        self.wall_ms.append((time.perf_counter() - wall) * 1e3)
        self.cpu_ms.append((time.process_time() - cpu) * 1e3)
        self.poses.append(joints_of(skeletons, len(COCO17)))
        self.scores.append(np.array([s.score for s in skeletons]))


def predict(method: KeypointMethod, frame_sets: Iterable[Sequence[np.ndarray | None]]) -> Predictions:
    """What a method finds in frame sets (per camera (P, 17, 3), or None), one after the other."""
    predictions = Predictions()
    for keypoints in frame_sets:
        predictions.add(method, keypoints)
    return predictions


def actors_pcp(predictions: Predictions, dataset: ActorsDataset) -> PCP:
    """Ten-part PCP per actor over the frames of a data set."""
    poses = [campus14_from_coco17(own, dataset.name) for own in predictions.poses]
    return evaluate_pcp(poses, dataset.actors)


def actors_metrics(
    predictions: Predictions, dataset: ActorsDataset, samples: Sequence[Sample]
) -> DetectionMetrics:
    """Recall and MPJPE over the 14 labelled joints; bystanders have no labels and count as false."""
    poses = [campus14_from_coco17(own, dataset.name) for own in predictions.poses]
    return evaluate_detections(poses, predictions.scores, [sample.poses for sample in samples])


@dataclass(frozen=True)
class RigMetrics:
    """What a method reaches in front of generated rigs.

    Attributes:
        metrics: over the people that two cameras see whole.
        recall_by_whole_views: number of cameras that see the person whole (4: or more) -> people
            found within 500 mm, people.
        recall_of_detected: the same of those that the 2D detector finds in two views.
        false_positives_per_frame: skeletons per frame set that are within 500 mm of no person.
    """

    metrics: DetectionMetrics
    recall_by_whole_views: dict[int, tuple[int, int]]
    recall_of_detected: dict[int, tuple[int, int]]
    false_positives_per_frame: float


def rig_metrics(predictions: Predictions, frame_sets: Sequence[GeneratedFrameSet]) -> RigMetrics:
    """Metrics of predictions on the frame sets of generated rigs."""
    truths = [frame_set.poses for frame_set in frame_sets]
    whole = [frame_set.whole_views for frame_set in frame_sets]
    # A person that no two cameras see whole need not be found; finding one is no false positive.
    everybody = evaluate_detections(predictions.poses, predictions.scores, truths)
    asked = [truth[views >= 2] for truth, views in zip(truths, whole, strict=True)]
    # A person that the detector finds in one view alone cannot be placed.
    detected = [frame_set.detected_views >= 2 for frame_set in frame_sets]
    return RigMetrics(
        evaluate_detections(predictions.poses, predictions.scores, asked),
        _recall_by_views(predictions.poses, truths, whole),
        _recall_by_views(
            predictions.poses,
            [truth[found] for truth, found in zip(truths, detected, strict=True)],
            [views[found] for views, found in zip(whole, detected, strict=True)],
        ),
        everybody.false_positives_per_frame,
    )


def _recall_by_views(
    poses: Sequence[np.ndarray], truths: Sequence[np.ndarray], whole: Sequence[np.ndarray]
) -> dict[int, tuple[int, int]]:
    """People found (within 500 mm) and people, by how many cameras (2, 3, 4 and more) see them whole."""
    found: Counter[int] = Counter()
    people: Counter[int] = Counter()
    for pose, truth, views in zip(poses, truths, whole, strict=True):
        nearest = pose_distances(pose, truth).min(axis=0, initial=np.inf)
        for count, distance in zip(np.minimum(views, _MANY_VIEWS), nearest, strict=True):
            people[int(count)] += 1
            found[int(count)] += bool(distance < _RECALL_MM)
    return {n: (found[n], people[n]) for n in sorted(people) if n >= 2}
