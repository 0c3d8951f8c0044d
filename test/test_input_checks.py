"""What one camera may give: keypoints in pixels, with scores from 0 to 1."""

import numpy as np
import pytest

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.input_checks import check_keypoints, refuse_normalized

CAMERA = Camera("left", (640, 480), [[500, 0, 320], [0, 500, 240], [0, 0, 1]], [0] * 5, np.eye(3), [0, 0, 0])


def keypoints(people=2):
    return np.random.default_rng(0).uniform(0, 1, (people, 17, 3)) * [640, 480, 1]


def test_scores_a_little_outside_are_clipped():
    people = keypoints()
    people[0, :2, 2] = 1.008, -0.02
    assert check_keypoints(people, CAMERA, 17)[0, :2, 2].tolist() == [1.0, 0.0]


@pytest.mark.parametrize("score", [87.0, -1.0, 1.6])
def test_other_scores_are_refused(score):
    people = keypoints()
    people[1, 3, 2] = score
    with pytest.raises(InputError, match=f"camera 'left': a keypoint has the score {score:g}, expected"):
        check_keypoints(people, CAMERA, 17)


def test_normalized_keypoints_are_refused():
    people = keypoints() / [640, 480, 1]
    with pytest.raises(InputError, match="camera 'left': all keypoints have x and y .* expected pixels"):
        check_keypoints(people, CAMERA, 17)


def test_a_few_keypoints_in_the_corner_are_pixels():
    people = np.zeros((1, 17, 3))
    people[0, :4] = [0.5, 1.0, 0.9]
    people[0, 4:] = [300.0, 200.0, 0.0]
    refuse_normalized(people, "")
    check_keypoints(people, CAMERA, 17)
    assert len(check_keypoints(np.zeros((2, 17, 3)), CAMERA, 17)) == 2
