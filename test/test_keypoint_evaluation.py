"""The functions that all methods are measured by: a method that knows the truth, and one that does not."""

import time

import numpy as np
import pytest
from test_datasets import write_actors, write_campus

from voxelpose_core.datasets.campus import Campus
from voxelpose_core.datasets.generated_rigs import LEVELS, generate_rig
from voxelpose_core.datasets.simulated_detections import coco17_from_campus14
from voxelpose_core.keypoint_evaluation import actors_metrics, actors_pcp, predict, rig_metrics
from voxelpose_core.metrics.pcp import campus14_from_coco17
from voxelpose_core.pose_types import Estimate, Skeleton


class Answers:
    """Gives prepared poses, frame set after frame set."""

    def __init__(self, answers):
        self._answers = iter(answers)

    def estimate_keypoints(self, keypoints):
        valid = np.ones(17, dtype=bool)
        skeletons = [Skeleton(pose, np.ones(17), valid, 0.9) for pose in next(self._answers)]
        time.sleep(0.02)
        return Estimate(skeletons, list(keypoints), ())


@pytest.fixture(scope="module")
def frame_sets():
    return [m for number in range(3) for m in generate_rig(4, LEVELS["usual"], number)[1]]


def measure(frame_sets, change):
    answers = [change(frame_set.poses) for frame_set in frame_sets]
    keypoints = [frame_set.keypoints for frame_set in frame_sets]
    return rig_metrics(predict(Answers(answers), keypoints), frame_sets)


def test_the_truth_is_perfect_on_rigs(frame_sets):
    found = measure(frame_sets, lambda poses: poses)
    assert found.metrics.recall_500 == 1 and found.metrics.mpjpe == 0 and found.false_positives_per_frame == 0
    assert found.metrics.people == sum(people for _, people in found.recall_by_whole_views.values())
    for recall in (found.recall_by_whole_views, found.recall_of_detected):
        assert set(recall) <= {2, 3, 4} and all(found == people for found, people in recall.values())
    detected = sum(people for _, people in found.recall_of_detected.values())
    assert 0 < detected <= found.metrics.people


def test_errors_misses_and_phantoms_are_counted_on_rigs(frame_sets):
    shifted = measure(frame_sets, lambda poses: poses + [60.0, 0, 80.0])
    assert shifted.metrics.mpjpe == pytest.approx(100.0) and shifted.metrics.recall_500 == 1
    nobody = measure(frame_sets, lambda poses: poses[:0])
    assert nobody.metrics.recall_500 == 0 and nobody.false_positives_per_frame == 0
    assert all(found == 0 for found, _ in nobody.recall_by_whole_views.values())
    elsewhere = measure(frame_sets, lambda poses: np.concatenate([poses, poses[:1] + [0, 0, 9000.0]]))
    assert elsewhere.false_positives_per_frame == 1 and elsewhere.metrics.recall_500 == 1


def test_actors_and_times(tmp_path):
    write_campus(tmp_path)
    labels = {(0, 751): 0.0, (2, 751): 1.5, (0, 826): 0.1}
    write_actors(tmp_path / "actorsGT.mat", labels, actors=3, frames=901)
    dataset = Campus(tmp_path, frames=[751, 800, 826], simulated=True)
    samples = list(dataset.samples())
    answers = [coco17_from_campus14(sample.poses) for sample in samples]
    predictions = predict(Answers(answers), [sample.keypoints for sample in samples])
    assert [len(poses) for poses in predictions.poses] == [2, 0, 1]
    # Sleeping takes time and computes nothing.
    assert len(predictions.cpu_ms) == 3 and min(predictions.wall_ms) >= 20
    assert min(predictions.cpu_ms) < min(predictions.wall_ms)
    assert actors_pcp(predictions, dataset).actors[::2] == pytest.approx((1, 1))
    metrics = actors_metrics(predictions, dataset, samples)
    expected = campus14_from_coco17(np.concatenate(answers)) - np.concatenate([s.poses for s in samples])
    assert metrics.mpjpe == pytest.approx(np.linalg.norm(expected, axis=-1).mean())
    assert metrics.recall_500 == 1 and metrics.false_positives_per_frame == 0
