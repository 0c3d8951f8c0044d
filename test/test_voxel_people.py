"""What stands beside the voxel nets: 2D detections as heatmaps, the second look, the backbone's images."""

import numpy as np
import pytest
import torch
from test_estimator import keypoints_of, people, rig  # noqa: F401

from voxelpose_core.detection_heatmaps import DetectionHeatmaps
from voxelpose_core.estimator_settings import EstimatorSettings
from voxelpose_core.heatmap_people import SearchLimits
from voxelpose_core.image_backbone import ImageBackbone
from voxelpose_core.pose_types import Skeleton
from voxelpose_core.second_look import SecondLook

SIZE = (40, 24)
# Images are four times as large as heatmaps.
TO_HEATMAP = torch.tensor([[0.25, 0.0, 0.0], [0.0, 0.25, 0.0]]).expand(1, 2, 2, 3)


def skeleton(joints):
    return Skeleton(joints, np.ones(17), np.ones(17, bool), 1.0)


def test_2d_detections_are_drawn_with_their_scores_and_with_equal_peaks():
    person = np.array([[[40.0, 20.0, 0.5], [80.0, 60.0, 0.05]]])
    drawn = DetectionHeatmaps.of([person, None], TO_HEATMAP, 2, 0.1, SIZE)
    scored, equal = drawn.with_scores(), drawn.with_equal_peaks()
    assert scored.shape == equal.shape == (1, 2, 2, 24, 40)
    assert scored[0, 0, 0, 5, 10] == scored[0, 0, 0].max() == 0.5
    assert equal[0, 0, 0, 5, 10] == 1
    # Below the least score, and a camera without a frame.
    for heatmaps in (scored, equal):
        assert not heatmaps[0, 0, 1].any() and not heatmaps[0, 1].any()


def test_nothing_is_left_to_a_second_look_where_all_are_explained(rig):  # noqa: F811
    persons = people()
    keypoints = keypoints_of(rig, persons)
    found = [skeleton(joints) for joints in persons]
    settings = EstimatorSettings()
    assert SecondLook.after(found, keypoints, rig.cameras, rig.space, 17, settings) is None


def test_a_second_look_searches_what_the_skeletons_leave(rig):  # noqa: F811
    persons = people()
    keypoints = keypoints_of(rig, persons)
    found, missed = skeleton(persons[0]), skeleton(persons[1])
    settings = EstimatorSettings(support_threshold=0.3, second_look_threshold=0.07)
    second = SecondLook.after([found], keypoints, rig.cameras, rig.space, 17, settings)
    assert all(len(view) == 1 for view in second.detections)
    assert second.limits.root_score == 0.07
    assert second.limits.support == pytest.approx(0.15)
    assert second.limits.people == len(rig.cameras)
    # The one already found fits none of what is left.
    assert second.fitting([missed, found]) == [missed]
    assert second.fitting([]) == []


@pytest.mark.parametrize("views, fits", [(1, False), (2, True)])
def test_a_second_look_wants_two_views(rig, views, fits):  # noqa: F811
    persons = people()
    keypoints = keypoints_of(rig, persons[1:])
    left = [view if index < views else view[:0] for index, view in enumerate(keypoints)]
    second = SecondLook(rig.cameras, left, SearchLimits(0.1, 0.1, 2), 17, least_score=0.1)
    assert bool(second.fitting([skeleton(persons[1])])) == fits


def test_a_camera_without_a_frame_gives_the_backbone_zeros():
    seen = []
    backbone = ImageBackbone(
        lambda batch: seen.append(batch) or batch[:, :2, ::4, ::4], (64, 48), (0, 1), torch.device("cpu")
    )
    image = np.full((48, 64, 3), 200, np.uint8)
    assert backbone.heatmaps([image, None]).shape == (1, 2, 2, 12, 16)
    assert seen[0].shape == (2, 3, 48, 64)
    assert seen[0][0].any() and not seen[0][1].any()
