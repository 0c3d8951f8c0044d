"""Numbers in messages."""

from __future__ import annotations

import numpy as np


def plain(number: float, digits: int = 3) -> str:
    """So many significant digits, never with an exponent: "1250", "0.0002"; "nan", "inf" as they are."""
    return np.format_float_positional(float(f"{number:.{digits}g}"), trim="-")
