"""What an estimation reports: counts, times, and how well the skeletons fit what was seen."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from voxelpose_core.association import REPROJECTION, image_sizes, pair_one_to_one, pixel_distances
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.pose_types import Estimate, Skeleton

MIN_KEYPOINT_SCORE = 0.2
# Pixels that no pair of a skeleton and a 2D detection is apart.
_NO_PAIR_PX = 1e9


@dataclass(frozen=True)
class ViewAgreement:
    """How well the skeletons of a frame set fit what one camera saw; see `ReprojectionError`.

    Attributes:
        detected: 2D detections.
        in_view: skeletons in the camera's view.
        paired: how many of them have a 2D detection.
        px: mean distance over the common joints of all pairs; NaN without a pair.
        share: mean over the pairs of their distance as a share of the skeleton's longer side in the image;
            NaN without a pair.
    """

    detected: int
    in_view: int = 0
    paired: int = 0
    px: float = math.nan
    share: float = math.nan


@dataclass
class ReprojectionError:
    """Pixels between 2D detections and the 3D joints projected into their images.

    In one camera of a frame set, a skeleton and a 2D detection lie as far apart as the mean distance
    over their common joints: valid in 3D, seen by the camera, 2D score at least 0.2; at least 4 of
    them. People are paired one to one with the smallest sum of these distances (Hungarian
    algorithm). A pair farther apart than half the skeleton's longer side in the image is none: that
    2D detection is someone else. The error is the mean over all common joints of all pairs.

    Attributes:
        distances: px, one entry a joint of a pair.
        in_view: skeletons in a camera's view, summed over cameras and frame sets.
        paired: how many of them have a 2D detection.
    """

    distances: list[float] = field(default_factory=list)
    in_view: int = 0
    paired: int = 0

    def add(
        self,
        rig: Rig,
        skeletons: Sequence[Skeleton],
        keypoints: Sequence[np.ndarray | None],
    ) -> list[ViewAgreement | None]:
        """Take one frame set: skeletons in mm, and per camera its 2D detections (P, J, 3) or None.

        Returns:
            per camera how well they agree; None without 2D detections.
        """
        return [
            None if people is None else self._add_view(camera, skeletons, people)
            for camera, people in zip(rig.cameras, keypoints, strict=True)
        ]

    @property
    def mean_px(self) -> float:
        """The mean; NaN where nothing was compared."""
        return float(np.mean(self.distances)) if self.distances else math.nan

    @property
    def median_px(self) -> float:
        """The median; NaN where nothing was compared."""
        return float(np.median(self.distances)) if self.distances else math.nan

    def _add_view(self, camera: Camera, skeletons: Sequence[Skeleton], people: np.ndarray) -> ViewAgreement:
        if not skeletons:
            return ViewAgreement(len(people))
        joints = np.array([skeleton.joints for skeleton in skeletons])
        seen = np.array([s.joint_valid & camera.sees(s.joints) for s in skeletons])
        in_view = seen.sum(axis=1) >= REPROJECTION.min_common_joints
        joints, seen = joints[in_view], seen[in_view]
        self.in_view += len(joints)
        pixels = camera.project(joints.reshape(-1, 3))[0].reshape(*joints.shape[:2], 2)
        costs = pixel_distances(pixels, seen, people, REPROJECTION, MIN_KEYPOINT_SCORE)
        sizes = image_sizes(pixels, seen)
        distances: list[float] = []
        shares: list[float] = []
        for row, column in pair_one_to_one(costs, _NO_PAIR_PX):
            if costs[row, column] <= REPROJECTION.max_share * sizes[row]:
                common = seen[row] & (people[column, :, 2] >= MIN_KEYPOINT_SCORE)
                offsets = pixels[row, common] - people[column, common, :2]
                distances.extend(np.linalg.norm(offsets, axis=1).tolist())
                shares.append(float(costs[row, column] / max(sizes[row], 1.0)))
        self.paired += len(shares)
        self.distances.extend(distances)
        if not shares:
            return ViewAgreement(len(people), len(joints))
        return ViewAgreement(
            len(people), len(joints), len(shares), float(np.mean(distances)), float(np.mean(shares))
        )


@dataclass
class RunReport:
    """What an estimation did, counted while it runs.

    Attributes:
        rig: whose cameras.
        frames: frame sets that came in.
        estimated: frame sets that at least two cameras contributed to.
        people: how many frame sets had 0, 1, 2 ... people.
        track_ids: people told apart over time.
        reprojection: how well the skeletons fit the 2D detections.
        stages_ms: milliseconds of each stage, one entry per frame set.
        dropped: skeletons that the floor rule dropped.
        frames_with_dropped: frame sets in which it dropped some.
    """

    rig: Rig
    frames: int = 0
    estimated: int = 0
    people: Counter[int] = field(default_factory=Counter)
    track_ids: set[int] = field(default_factory=set)
    reprojection: ReprojectionError = field(default_factory=ReprojectionError)
    stages_ms: dict[str, list[float]] = field(default_factory=dict)
    dropped: int = 0
    frames_with_dropped: int = 0
    _images: Counter[str] = field(default_factory=Counter)
    _images_with_people: Counter[str] = field(default_factory=Counter)
    _in_two_views: int = 0

    def add(self, estimate: Estimate) -> list[ViewAgreement | None]:
        """Count one frame set; returns how well each camera agrees, None without 2D detections."""
        self.frames += 1
        self.estimated += len(estimate.cameras) >= 2
        self.people[len(estimate.skeletons)] += 1
        self.dropped += estimate.dropped_below_floor
        self.frames_with_dropped += estimate.dropped_below_floor > 0
        self.track_ids |= {s.track_id for s in estimate.skeletons if s.track_id >= 0}
        agreement = self.reprojection.add(self.rig, estimate.skeletons, estimate.keypoints)
        views = {
            camera.name: len(people) > 0
            for camera, people in zip(self.rig.cameras, estimate.keypoints, strict=True)
            if people is not None
        }
        self._images.update(views.keys())
        self._images_with_people.update(name for name, some in views.items() if some)
        self._in_two_views += sum(views.values()) >= 2
        for stage, milliseconds in estimate.timings_ms.items():
            self.stages_ms.setdefault(stage, []).append(milliseconds)
        return agreement

    def findings(self) -> list[str]:
        """Why there are no skeletons, in one line; nothing where there are some, or no people."""
        lines = []
        if self._in_two_views and not sum(self.people[count] * count for count in self.people):
            lines.append(
                f"no skeletons, though two cameras or more detect people in {self._in_two_views} of "
                f"{self.frames} frame sets: look at the calibration (voxelpose rig check), the floor "
                "(--ground) and the capture space (--space)"
            )
        if self._images_with_people and not self._in_two_views:
            seen = ", ".join(f"'{name}'" for name in self.rig.names if self._images_with_people[name])
            lines.append(
                f"no skeletons: none of {self.frames} frame sets has 2D detections of two cameras (there are "
                f"some of {seen}), expected two cameras that see the same person"
            )
        return lines

    def lines(self) -> list[str]:
        """The report, for people."""
        counts = ", ".join(
            f"{people} in {frames} frame{'s' * (frames != 1)}"
            for people, frames in sorted(self.people.items(), key=lambda item: -item[1])
        )
        lines = [
            f"frames        {self.frames} in, {self.estimated} estimated",
            f"people        {counts or 'none'}; {len(self.track_ids)} track ids",
        ]
        if self.dropped:
            lines.append(
                f"floor         {self.dropped} skeletons below it dropped, in "
                f"{self.frames_with_dropped} frame{'s' * (self.frames_with_dropped != 1)}"
            )
        error = self.reprojection
        if error.paired:
            lines.append(
                f"reprojection  {error.mean_px:.1f} px mean, {error.median_px:.1f} px median; "
                f"{100 * error.paired / error.in_view:.0f} % of the people in view detected in 2D"
            )
        if self.stages_ms:
            medians = {stage: float(np.median(v)) for stage, v in self.stages_ms.items()}
            stages = ", ".join(f"{stage} {ms:.0f}" for stage, ms in medians.items())
            lines.append(f"ms per frame  {stages}; together {sum(medians.values()):.0f}")
        return lines
