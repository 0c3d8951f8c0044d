"""Quarter turns: pixels go where the image's do."""

import numpy as np
import pytest

from voxelpose_core.geometry.image_turns import turn_image, turn_points, turned_size


@pytest.mark.parametrize("turns", [-1, 0, 1, 2, 3, 5])
def test_points_follow_the_image(turns):
    image = np.zeros((4, 6, 3), np.uint8)
    image[1, 5] = 255
    turned = turn_image(image, turns)
    assert turned_size((6, 4), turns) == turned.shape[1::-1]
    assert turned.flags.c_contiguous
    x, y = turn_points(np.array([5.0, 1.0]), (6, 4), turns).astype(int)
    assert turned[y, x].tolist() == [255] * 3
    back = turn_points(np.array([x, y]), turned.shape[1::-1], -turns)
    assert back.tolist() == [5, 1]


def test_one_turn_is_clockwise():
    image = np.zeros((2, 3), np.uint8)
    image[0, 0] = 1
    # The top left corner goes to the top right.
    assert turn_image(image, 1)[0, 1] == 1
