"""What cameras saw: 2D detections over time, and the people whom several cameras saw at one time.

`Recording` is the input of everything in this package. `SharedPoses` is what association makes of it and
what the adjustment fits: who is seen by whom is settled there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from voxelpose_core.errors import InputError
from voxelpose_core.skeletons import JointSet


@dataclass(frozen=True, eq=False)
class CameraDetections:
    """The 2D detections of one camera.

    Attributes:
        name: the camera's.
        stamps: (T,) seconds on the camera's own clock, rising.
        people: T arrays (P, J, 3): x and y in pixels of the camera's images, and score; P may be 0.

    Raises:
        InputError: stamps that do not rise, or another number of them than of frames.
    """

    name: str
    stamps: np.ndarray
    people: tuple[np.ndarray, ...]

    def __post_init__(self) -> None:
        stamps = np.asarray(self.stamps, np.float64)
        object.__setattr__(self, "stamps", stamps)
        object.__setattr__(self, "people", tuple(self.people))
        if stamps.shape != (len(self.people),):
            raise InputError(
                f"camera '{self.name}': {stamps.size} stamps for {len(self.people)} frames, expected one each"
            )
        if not (np.diff(stamps) > 0).all():
            raise InputError(f"camera '{self.name}': stamps do not rise")


@dataclass(frozen=True, eq=False)
class Recording:
    """The 2D detections of all cameras of a rig, in its order.

    Attributes:
        cameras: one per camera.
        joint_set: of the detections.
    """

    cameras: tuple[CameraDetections, ...]
    joint_set: JointSet

    def shifted(self, offsets_s: Sequence[float]) -> Recording:
        """The same with `offsets_s` added to the stamps of each camera."""
        moved = (
            dataclasses.replace(camera, stamps=camera.stamps + offset)
            for camera, offset in zip(self.cameras, offsets_s, strict=True)
        )
        return dataclasses.replace(self, cameras=tuple(moved))


@dataclass(frozen=True, eq=False)
class SharedPoses:
    """K poses of people, each at one time and seen by two cameras or more.

    A camera's pixels are those at `times` on its own clock, with the velocity that tells where they are
    when its clock is off by a little.

    Attributes:
        times: (K,) seconds.
        people: (K,) number of the person, the same over time as far as it could be followed.
        pixels: (K, V, J, 2); what means nothing where the score is 0.
        velocities: (K, V, J, 2) px/s.
        scores: (K, V, J) of the detector; 0 where a camera does not see the joint.
    """

    times: np.ndarray
    people: np.ndarray
    pixels: np.ndarray
    velocities: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.times)

    def select(self, index: np.ndarray) -> SharedPoses:
        """Only those of `index`, as numpy takes it for the first axis."""
        return SharedPoses(*(getattr(self, field.name)[index] for field in dataclasses.fields(self)))
