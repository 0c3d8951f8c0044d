"""The generated test sets: the same for everybody, and solvable."""

import numpy as np
import pytest

from voxelpose_core.datasets.generated_rigs import LEVELS, VIEW_COUNTS, generate_rig


@pytest.mark.parametrize("view_count", VIEW_COUNTS)
def test_a_number_names_one_rig_and_its_frame_sets(view_count):
    (first, frame_sets), (second, again) = (generate_rig(view_count, 0.45, 3) for _ in range(2))
    assert len(first) == view_count
    for camera, other in zip(first.cameras, second.cameras, strict=True):
        assert np.array_equal(camera.K, other.K) and np.array_equal(camera.C, other.C)
    for frame_set, same in zip(frame_sets, again, strict=True):
        assert np.array_equal(frame_set.poses, same.poses)
        for people, others in zip(frame_set.keypoints, same.keypoints, strict=True):
            assert np.array_equal(people, others)


def test_numbers_levels_and_view_counts_name_different_people():
    poses = [
        generate_rig(views, level, number)[1][0].poses[0]
        for views in VIEW_COUNTS[:3]
        for level in LEVELS.values()
        for number in range(3)
    ]
    corners = {tuple(pose[0].round(3)) for pose in poses}
    assert len(corners) == len(poses)


def test_people_stand_in_the_space_and_detections_lie_on_them():
    distances = []
    for number in range(4):
        rig, frame_sets = generate_rig(5, LEVELS["good"], number)
        for frame_set in frame_sets:
            assert rig.space.contains(frame_set.poses[:, [11, 12]].mean(axis=1)).mean() > 0.5
            assert ((0 <= frame_set.whole_views) & (frame_set.whole_views <= 5)).all()
            found = sum(len(people) for people in frame_set.keypoints)
            # Besides these, false people at most.
            assert 0 < frame_set.detected_views.sum() <= found
            for camera, people in zip(rig.cameras, frame_set.keypoints, strict=True):
                pixels = camera.project(frame_set.poses.reshape(-1, 3))[0].reshape(-1, 17, 2)
                size = max(camera.image_size)
                for person in people:
                    seen = person[:, 2] > 0
                    gap = np.linalg.norm(pixels[:, seen] - person[seen, :2], axis=-1)
                    distances.append(np.median(gap, axis=1).min() / size)
    assert np.median(distances) < 0.01
