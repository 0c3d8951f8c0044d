"""Numbers in messages."""

import math

import numpy as np
import pytest

from voxelpose_core.plain_numbers import plain


@pytest.mark.parametrize(
    ("number", "digits", "words"),
    [
        (1.7512, 3, "1.75"),
        (1250.0, 3, "1250"),
        (98765.0, 2, "99000"),
        (np.float32(4.0), 3, "4"),
        (0.000123, 2, "0.00012"),
        (0.0, 3, "0"),
        (-1.5e6, 3, "-1500000"),
        (math.nan, 3, "nan"),
        (math.inf, 3, "inf"),
    ],
)
def test_significant_digits_without_exponents(number, digits, words):
    assert plain(number, digits) == words
