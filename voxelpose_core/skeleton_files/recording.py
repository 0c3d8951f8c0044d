"""Skeletons of a whole recording, frame set by frame set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from voxelpose_core.errors import InputError
from voxelpose_core.pose_types import Skeleton
from voxelpose_core.skeletons import JointSet

# A measured rate that is as near to a nominal one as this is taken to be the nominal one.
_SAME_RATE = 1e-3


@dataclass
class FrameSkeletons:
    """The people of one frame set: frame number, stamp in seconds, skeletons in mm."""

    frame: int
    stamp: float
    skeletons: list[Skeleton]


@dataclass
class Recording:
    """What a file of skeletons holds.

    Attributes:
        joint_set: of all skeletons.
        frame_sets: in the order of their stamps.
        rate_hz: frame sets per second.
        processing: what was changed on request, for example {"fill_s": 0.2, "smooth_hz": 6.0}.
        frame_id: name of the rig's world frame.
        start_ns: ROS time of stamp 0, nanoseconds; 0 where it is not known.
    """

    joint_set: JointSet
    frame_sets: list[FrameSkeletons]
    rate_hz: float
    processing: dict[str, float] = field(default_factory=dict)
    frame_id: str = "world"
    start_ns: int = 0


def check_stamps(frame_sets: Sequence[FrameSkeletons]) -> None:
    """InputError where stamps do not rise."""
    for before, after in zip(frame_sets, frame_sets[1:]):
        if not after.stamp > before.stamp:
            raise InputError(
                f"frame {after.frame} at {after.stamp:g} s follows frame {before.frame} at "
                f"{before.stamp:g} s, expected stamps that rise"
            )


def measured_rate(stamps: Sequence[float], nominal_hz: float) -> float:
    """Frame sets per second, from their stamps.

    Args:
        stamps: seconds, rising; frame sets may be missing in between.
        nominal_hz: rate that the source names. It is the answer where the stamps agree with it, or are
            fewer than two.
    """
    steps = np.diff(np.asarray(stamps, np.float64))
    steps = steps[steps > 0]
    if not len(steps):
        return nominal_hz
    period = float(np.median(steps))
    whole = round(float(steps.sum()) / period)
    rate = whole / float(steps.sum())
    return nominal_hz if abs(rate / nominal_hz - 1.0) < _SAME_RATE else rate
