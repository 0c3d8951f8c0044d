"""A run of `voxelpose estimate`: frame sets in, skeletons and all that is told of them out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from voxelpose_core.bags.frame_sets import BagFrameSets
from voxelpose_core.camera_watch import CameraFinding, CameraWatch
from voxelpose_core.command_line.frame_sources import OpenedSource
from voxelpose_core.command_line.interruption import Interruption
from voxelpose_core.command_line.options import progress_bar, warn
from voxelpose_core.command_line.skeleton_outputs import recording_from
from voxelpose_core.drawing.run_pictures import RunPictures
from voxelpose_core.errors import InputError
from voxelpose_core.floor_watch import FloorWatch
from voxelpose_core.frame_sets import (
    AlignedFrameSets,
    FrameSet,
    FrameSets,
    KeypointFrameSets,
)
from voxelpose_core.pose_types import Estimate, body_joint_set, body_only
from voxelpose_core.results import RunReport, ViewAgreement
from voxelpose_core.skeleton_files import FrameSkeletons, Recording
from voxelpose_core.source_matching import ContradictionError, ViewWatch
from voxelpose_core.tracking import Tracker

if TYPE_CHECKING:
    from voxelpose_core.estimator import PoseEstimator


@dataclass(frozen=True)
class Stop:
    """A run that ended before its recording did.

    Attributes:
        taken: frame sets that were taken; of these there is a result.
        expected: frame sets of the recording.
        error: what was raised; None: the user interrupted it.
    """

    taken: int
    expected: int
    error: Exception | None = None

    @property
    def cause(self) -> str:
        """What ended it, and when."""
        words = f": {self.error}" if isinstance(self.error, InputError) else ""
        return f"{self._when}{words}"

    @property
    def line(self) -> str:
        """The same for the one who waits, with what becomes of what was taken."""
        if self.error is None:
            kept = "these are written now; Ctrl-C again ends at once" if self.taken else "nothing is written"
            return f"{self._when}: {kept}"
        if not isinstance(self.error, InputError):
            return f"{self._when}, which are written"
        return f"{self.error} ({self._when}, which are written)" if self.taken else str(self.error)

    @property
    def _when(self) -> str:
        how = "interrupted" if self.error is None else "stopped"
        return f"{how} after {self.taken} of {self.expected} frame sets"


class EstimationRun:
    """Takes the frame sets of a source one after the other.

    Args:
        estimator: of the source's rig and joint set.
        cameras: the source as opened; with time offsets its frame sets are put together anew.
        strict: raise `ContradictionError` where the views contradict the calibration.

    Attributes:
        estimator, cameras: as given.
        source: the frame sets.
        frame_sets: their skeletons.
        report: what was counted.
        agreement: per frame set and camera, of `RunReport.add`.
        camera_watch: which cameras do not fit the others.
        pictures: take every frame set, too; None: none are wanted.
    """

    def __init__(
        self,
        estimator: PoseEstimator,
        cameras: OpenedSource,
        strict: bool = False,
    ):
        rig, joint_set = cameras.rig, estimator.joint_set
        self.estimator, self.cameras = estimator, cameras
        self._detection = _Detection(estimator)
        self._tracker = Tracker(body=joint_set.body)
        self.source = _aligned(cameras, self._detection)
        self._views = ViewWatch(rig, self.source.option, self.source.paths, warn, strict)
        self.frame_sets: list[FrameSkeletons] = []
        self.report = RunReport(rig)
        self.agreement: list[list[ViewAgreement | None]] = []
        self._floor = FloorWatch(rig, joint_set)
        self.camera_watch = CameraWatch(rig, body_joint_set(joint_set))
        self.pictures: RunPictures | None = None

    def take_all(self, interruption: Interruption) -> Stop | None:
        """Take all frame sets; what was taken stays when an error or Ctrl-C ends that before.

        Raises:
            ContradictionError: see `strict`.
        """
        try:
            # Closed at once, so that sources tell what they could not read.
            with (
                closing(iter(self.source)) as frame_sets,
                progress_bar(frame_sets, len(self.source)) as shown,
            ):
                for frame_set in shown:
                    self.add(frame_set)
                    if interruption.requested and len(self.frame_sets) < len(self.source):
                        return Stop(len(self.frame_sets), len(self.source))
        except ContradictionError:
            raise
        except Exception as error:
            return Stop(len(self.frame_sets), len(self.source), error)
        return None

    def add(self, frame_set: FrameSet) -> None:
        """Take one frame set.

        Raises:
            InputError: with the number of the frame.
            ContradictionError: see `strict`.
        """
        joint_set = self.estimator.joint_set
        answer = self._estimate(frame_set)
        answer.timings_ms = {**self._detection.timings_ms(), **answer.timings_ms}
        seen = body_only(answer, joint_set)
        self._floor.add(seen)
        self._views.add(seen.keypoints, frame_set.stamp)
        answer.skeletons = self._tracker.update(answer.skeletons, frame_set.stamp)
        self.frame_sets.append(FrameSkeletons(frame_set.frame, frame_set.stamp, answer.skeletons))
        tracked = body_only(answer, joint_set)
        self.agreement.append(self.report.add(tracked))
        self.camera_watch.add(tracked, self.agreement[-1], frame_set.stamp)
        if self.pictures is not None:
            self.pictures.add(frame_set, answer)

    def finish(self) -> None:
        """No frame set will follow: say what is to be said of the views."""
        self._views.finish()
        self.camera_watch.finish()

    def camera_findings(self) -> list[CameraFinding]:
        """What is wrong with single cameras, where the views are those of the cameras at all."""
        return [] if self._views.contradicted else self.camera_watch.findings()

    def findings(self) -> list[str]:
        """What looks wrong with the recording, one line each."""
        cameras = [finding.line for finding in self.camera_findings()]
        found = [*self.report.findings(), self._floor.finding(), *cameras]
        return [line for line in found if line]

    def recording(self) -> Recording:
        """The skeletons so far."""
        return recording_from(self.estimator.joint_set, self.frame_sets, self.source)

    def _estimate(self, frame_set: FrameSet) -> Estimate:
        previous = self._tracker.predict(frame_set.stamp)
        try:
            if frame_set.keypoints is not None:
                return self.estimator.estimate_keypoints(frame_set.keypoints, previous)
            assert frame_set.images is not None  # a frame set has either
            return self.estimator.estimate_images(frame_set.images, previous)
        except InputError as error:
            raise InputError(f"frame {frame_set.frame}: {error}") from None


class _Detection:
    """2D detection for frame sets that are put together afterwards, and its time."""

    def __init__(self, estimator: PoseEstimator):
        self._estimator = estimator
        self._seconds = 0.0

    def __call__(self, images: Sequence[np.ndarray | None]) -> list[np.ndarray | None]:
        start = time.perf_counter()
        found = self._estimator.detect(images)
        self._seconds += time.perf_counter() - start
        return found

    @property
    def possible(self) -> bool:
        """Whether there is a 2D detector."""
        return self._estimator.detector is not None

    def timings_ms(self) -> dict[str, float]:
        """What it took since the last call; empty where it has not run."""
        seconds, self._seconds = self._seconds, 0.0
        return {"detector": 1e3 * seconds} if seconds else {}


def _aligned(cameras: OpenedSource, detection: _Detection) -> FrameSets:
    """The frame sets with the rig's time offsets between the cameras."""
    if not cameras.rig.has_time_offsets or isinstance(cameras, BagFrameSets):
        return cameras
    if isinstance(cameras, KeypointFrameSets):
        return AlignedFrameSets(cameras)
    if detection.possible:
        return AlignedFrameSets(cameras, detection)
    warn("weights with a backbone have no 2D detections to interpolate: time offsets count in whole frames")
    return AlignedFrameSets(cameras)
