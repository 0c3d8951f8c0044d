"""Frames of a recording that cannot be read: the others count, and one line per file names the lost ones."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

# Ranges of frame numbers that are named.
_MOST_RANGES = 4
# Headers of some containers state a few frames more than there are: only so many at the end are no damage.
_HEADER_EXCESS = 3


class UnreadableFrames(UserWarning):
    """Frames of the input are damaged or missing; what could be read is used."""


class Unreadable:
    """Collects the frames of one file, folder or topic that cannot be read.

    Args:
        what: it is, as it begins the line ("video 'a.mp4'").
    """

    def __init__(self, what: str):
        self._what = what
        self._frames: list[int] = []
        self._reason = ""

    def add(self, frame: int, reason: str = "") -> None:
        """Take the number of a frame; of the reasons the first is told."""
        if frame not in self._frames[-1:]:
            self._frames.append(frame)
            self._reason = self._reason or reason

    def tell(self, end: int | None = None) -> None:
        """Warn, once, of what came since the last time.

        Args:
            end: number of the frame after the last one, if it is a header that says so.
        """
        frames, self._frames = self._frames, []
        if not frames:
            return
        count = f"{len(frames)} frame{'s' * (len(frames) != 1)}"
        reason = f"; {self._reason}" if self._reason else ""
        line = f"{self._what}: {count} could not be read ({in_ranges(frames)}{reason})"
        if len(frames) <= _HEADER_EXCESS and end is not None and frames[0] == end - len(frames):
            warnings.warn(f"{line}: the file has fewer than its header says")
        else:
            warnings.warn(f"{line}: that camera has no frame there", UnreadableFrames)


def in_ranges(numbers: Sequence[int]) -> str:
    """Rising numbers in words: "numbers 3, 7 to 9"."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    named = [f"{first}" if first == last else f"{first} to {last}" for first, last in ranges[:_MOST_RANGES]]
    more = ", ..." if len(ranges) > _MOST_RANGES else ""
    return f"number{'s' * (len(numbers) != 1)} {', '.join(named)}{more}"


@contextmanager
def kept_unreadable() -> Iterator[list[str]]:
    """The lines of `UnreadableFrames`, in a list that grows, instead of among the other warnings."""
    lines: list[str] = []
    show: Callable[..., Any] = warnings.showwarning

    def keep(message: Warning | str, category: type[Warning], *rest: Any, **options: Any) -> None:
        if issubclass(category, UnreadableFrames):
            # What is read twice is told once.
            if str(message) not in lines:
                lines.append(str(message))
        else:
            show(message, category, *rest, **options)

    with warnings.catch_warnings():
        warnings.simplefilter("always", UnreadableFrames)
        warnings.showwarning = keep
        yield lines
