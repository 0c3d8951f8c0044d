"""The capture space: the box of the world in which people are looked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from voxelpose_core.errors import InputError

# No person fits into a smaller box.
_LEAST_EDGE_MM = 100.0


@dataclass(frozen=True, eq=False)
class Space:
    """An axis-aligned box of the world.

    Attributes:
        center: (3,) mm.
        size: (3,) edge lengths, mm.

    Raises:
        InputError: a value is not finite, or an edge is not positive.
    """

    center: np.ndarray
    size: np.ndarray

    if TYPE_CHECKING:
        # __post_init__ makes arrays of what it is given.
        def __init__(self, center: ArrayLike, size: ArrayLike) -> None: ...

    def __post_init__(self):
        for field in ("center", "size"):
            try:
                value = np.array(getattr(self, field), dtype=np.float64).reshape(3)
            except (TypeError, ValueError):
                raise InputError(
                    f"space: {field} is {getattr(self, field)!r}, expected 3 numbers in mm"
                ) from None
            if not np.isfinite(value).all():
                raise InputError(f"space: {field} has a value that is not finite, expected mm")
            value.setflags(write=False)
            object.__setattr__(self, field, value)
        if (self.size <= 0).any():
            raise InputError(f"space: size is {self.size.tolist()}, expected positive mm")

    @property
    def low(self) -> np.ndarray:
        """(3,) corner with the smallest coordinates, mm."""
        return self.center - self.size / 2

    @property
    def high(self) -> np.ndarray:
        """(3,) corner with the largest coordinates, mm."""
        return self.center + self.size / 2

    def contains(self, points: np.ndarray) -> np.ndarray:
        """(...,) bool for points (..., 3) in mm; the faces belong to the space."""
        points = np.asarray(points, dtype=np.float64)
        return np.all((points >= self.low) & (points <= self.high), axis=-1)

    @classmethod
    def between(cls, low: ArrayLike, high: ArrayLike) -> Space:
        """The space between two opposite corners (3,), mm."""
        low, high = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
        return cls((low + high) / 2, high - low)

    @classmethod
    def parse(cls, text: str) -> Space:
        """The space written as "CX,CY,CZ,SX,SY,SZ": centre, then size, in mm.

        Raises:
            InputError: when the text is something else, or a size is not positive.
        """
        try:
            values = [float(part) for part in text.split(",")]
        except ValueError:
            values = []
        if len(values) != 6:
            raise InputError(f"space '{text}': expected CX,CY,CZ,SX,SY,SZ, six numbers in mm")
        space = cls(values[:3], values[3:])
        if (space.size < _LEAST_EDGE_MM).all():
            raise InputError(
                f"space '{text}': its edges are below {_LEAST_EDGE_MM:g} mm, expected mm: were metres "
                f"meant? Then give {','.join(f'{1000 * value:g}' for value in values)}"
            )
        return space

    def __str__(self) -> str:
        return ",".join(f"{value:g}" for value in (*self.center, *self.size))
