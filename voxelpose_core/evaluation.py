"""What predictions are worth: the metrics of each data set, as a table and for JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from voxelpose_core.association import detections_of
from voxelpose_core.datasets.actors import ActorsDataset
from voxelpose_core.datasets.base import FrameDataset, Sample
from voxelpose_core.errors import InputError
from voxelpose_core.metrics import campus14_from_coco17, evaluate_detections, evaluate_pcp
from voxelpose_core.skeletons import (
    CAMPUS14,
    COCO17,
    PANOPTIC15,
    JointSet,
    panoptic15_from_coco17,
)
from voxelpose_core.triangulation import triangulate


@dataclass(frozen=True)
class FrameResult:
    """What a network found in one frame.

    Attributes:
        index: of the frame in its data set.
        sample: the frame with its truth, without images.
        poses: (P, J, 3), mm, in the network's joint set.
        scores: (P,).
    """

    index: int
    sample: Sample
    poses: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True)
class Evaluation:
    """The metrics of a data set.

    Attributes:
        precision: by which the best model is chosen: average PCP, or mean AP; 0 to 1.
        table: for people, some lines.
        values: for JSON.
    """

    precision: float
    table: str
    values: dict[str, Any]


def evaluate(
    results: Sequence[FrameResult],
    dataset: FrameDataset,
    joint_set: JointSet,
    one_to_one: bool = False,
) -> Evaluation:
    """PCP on Campus and Shelf, beside that of plain triangulation; AP, recall, MPJPE elsewhere.

    Args:
        results: of the frames that could be read, in any order.
        dataset: that they come from.
        joint_set: of the poses.
        one_to_one: match each prediction to one person at most.

    Raises:
        InputError: the poses cannot be compared with the data set's.
    """
    results = sorted(results, key=lambda result: result.index)
    convert = joint_conversion(joint_set, dataset)
    predictions = [convert(result.poses) for result in results]
    if isinstance(dataset, ActorsDataset):
        evaluation = _evaluate_actors(results, predictions, dataset, one_to_one)
    else:
        evaluation = _evaluate_people(results, predictions, one_to_one)
    unreadable = len(dataset) - len(results)
    counts = {
        "dataset": dataset.name,
        "evaluated_frames": len(results),
        "unreadable_frames": unreadable,
    }
    lines = [f"{dataset.name}: {len(results)} frames", evaluation.table]
    if unreadable:
        lines.insert(1, f"{unreadable} frames could not be read and are left out")
    return Evaluation(evaluation.precision, "\n".join(lines), counts | evaluation.values)


def joint_conversion(joint_set: JointSet, dataset: FrameDataset) -> Callable[[np.ndarray], np.ndarray]:
    """How poses (P, J, 3) of a network become poses in the joints of a data set.

    Raises:
        InputError: when there is no way from these joints to those.
    """
    if joint_set == dataset.joint_set:
        return lambda poses: poses
    if joint_set == COCO17 and isinstance(dataset, ActorsDataset):
        return lambda poses: campus14_from_coco17(poses, dataset.name)
    if joint_set == COCO17 and dataset.joint_set == PANOPTIC15:
        return panoptic15_from_coco17
    raise InputError(
        f"data set '{dataset.name}' is labelled with {dataset.joint_set.name}, with which "
        f"{joint_set.name} cannot be compared"
    )


def _evaluate_actors(
    results: Sequence[FrameResult],
    predictions: Sequence[np.ndarray],
    dataset: ActorsDataset,
    one_to_one: bool,
) -> Evaluation:
    truth = np.full((len(results), *dataset.actors.shape[1:]), np.nan)
    for frame, result in enumerate(results):
        truth[frame, result.sample.person_ids] = result.sample.poses
    pcp = evaluate_pcp(predictions, truth, one_to_one=one_to_one)
    values = pcp.to_dict()
    columns = [f"actor {actor + 1}" for actor in range(len(pcp.actors))] + ["average"]
    rows = [("PCP", [*pcp.actors, pcp.average])]
    rows += [(name.replace("_", " "), list(shares)) for name, shares in pcp.groups.items()]
    if dataset.has_keypoints:
        dlt = [triangulate_actors(result.sample, dataset) for result in results]
        plain = evaluate_pcp(dlt, truth)
        values["dlt_ideal_association"] = plain.to_dict()
        rows.append(("PCP of DLT", [*plain.actors, plain.average]))
    lines = [_row("", columns)]
    lines += [_row(name, [_percent(share) for share in shares]) for name, shares in rows]
    if dataset.has_keypoints:
        lines.append("DLT: plain triangulation of the same 2D detections, their association taken as known")
    lines.append(f"recall at 500 mm {pcp.recall_500:.4f}, {_false_positives(pcp.false_positives_per_frame)}")
    return Evaluation(pcp.average, "\n".join(lines), values)


def triangulate_actors(sample: Sample, dataset: ActorsDataset) -> np.ndarray:
    """The yardstick: every labelled actor from the 2D detections that fit the true pose best.

    Returns:
        (P, 14, 3) campus14, mm; NaN for a joint that fewer than two views detected.
    """
    assert sample.keypoints is not None  # asked only of a data set that has them
    poses = np.full((len(sample.poses), len(COCO17), 3), np.nan)
    for index, actor in enumerate(sample.poses):
        known = np.full((len(COCO17), 3), np.nan)
        for name in set(COCO17.joint_names) & set(CAMPUS14.joint_names):
            known[COCO17.index(name)] = actor[CAMPUS14.index(name)]
        keypoints = detections_of(sample.rig.cameras, sample.keypoints, known)
        poses[index] = triangulate(sample.rig.cameras, keypoints)
    return campus14_from_coco17(poses, dataset.name)


def _evaluate_people(
    results: Sequence[FrameResult], predictions: Sequence[np.ndarray], one_to_one: bool
) -> Evaluation:
    metrics = evaluate_detections(
        predictions,
        [result.scores for result in results],
        [result.sample.poses for result in results],
        [result.sample.visible for result in results],
        one_to_one,
    )
    lines = [
        _row("", [f"{threshold} mm" for threshold in metrics.ap] + ["mean"]),
        _row("AP", [_percent(ap) for ap in (*metrics.ap.values(), metrics.mean_ap)]),
        _row("recall", [_percent(recall) for recall in metrics.recall.values()]),
        f"MPJPE {metrics.mpjpe:.2f} mm, recall at 500 mm {metrics.recall_500:.4f}, "
        f"{_false_positives(metrics.false_positives_per_frame)}",
    ]
    return Evaluation(metrics.mean_ap, "\n".join(lines), metrics.to_dict())


def _row(name: str, cells: Sequence[str]) -> str:
    return f"{name:<11}" + "".join(f"{cell:>9}" for cell in cells)


def _percent(share: float) -> str:
    """A share in percent; a dash where there is no one."""
    return "-" if np.isnan(share) else f"{100 * share:.2f}"


def _false_positives(per_frame: float) -> str:
    return f"{per_frame:.3f} false positives per frame"
