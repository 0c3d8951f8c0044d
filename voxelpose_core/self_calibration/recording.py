"""A `Recording` from videos, images or a file of 2D detections."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from tqdm import tqdm

from voxelpose_core.detector_joint_sets import mapped_keypoints, missing_joints
from voxelpose_core.detectors import Detector, detect_upright
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.image_turns import upright_turns
from voxelpose_core.input_checks import check_image, check_keypoints
from voxelpose_core.joint_set import JointSet
from voxelpose_core.self_calibration.observations import CameraDetections, Recording
from voxelpose_core.skeletons import COCO17
from voxelpose_core.sources import FrameSource, restored_image

# Frames are left out as long as so many per second remain: walking people are smooth at that rate.
SUFFICIENT_HZ = 25.0
# So much of a recording is used, s: people who walk for a minute have been everywhere.
DEFAULT_SECONDS = 60.0
# Frames of each camera on which all quarter turns of its images are tried.
_PROBES = 6
# Another turn is taken where the detector's scores sum to so many times those of the expected one (of
# images that are upright, others reach a half to three quarters), and to so much per probe.
_TURN_RATIO, _LEAST_SCORE = 1.25, 0.3


@dataclass(frozen=True)
class RecordedCameras:
    """Images of some cameras that come together, and the cameras.

    Attributes:
        frames: the images; one per camera in each frame set.
        cameras: calibrated for images of this size.
    """

    frames: FrameSource
    cameras: Sequence[Camera]


def record_images(
    sources: Sequence[RecordedCameras], detector: Detector, seconds: float = DEFAULT_SECONDS
) -> tuple[Recording, tuple[int, ...]]:
    """Detect people in images, with a progress bar where stderr is a terminal.

    Only every Nth frame is looked at, such that 25 frames per second remain. Images are turned for the
    detector as their camera's pose says; another quarter turn is taken where the detector sees people much
    better with it.

    Args:
        sources: all cameras of the rig in its order; cameras in different sources may have different frame
            rates.
        detector: of 2D poses.
        seconds: how much to use, from the beginning.

    Returns:
        the recording, and per camera the clockwise quarter turns with which the detector saw its images.

    Raises:
        InputError: naming the camera, when an image is not of the calibrated size.
    """
    turns = list(upright_turns([camera for source in sources for camera in source.cameras]))
    cameras: list[CameraDetections] = []
    total = sum(_frame_count(source.frames, seconds) * len(source.cameras) for source in sources)
    with tqdm(total=total, unit="image", disable=not sys.stderr.isatty()) as progress:
        for source in sources:
            at = slice(len(cameras), len(cameras) + len(source.cameras))
            group = _Group(source, detector, turns[at])
            group.record(seconds, progress)
            better = group.better_turns()
            if better != turns[at]:
                turns[at] = better
                progress.total += _frame_count(source.frames, seconds) * len(source.cameras)
                group = _Group(source, detector, better)
                group.record(seconds, progress)
            cameras += group.detections()
    return Recording(tuple(cameras), _used_joints(detector.joint_set)), tuple(turns)


def record_keypoints(
    frames: Mapping[int, Sequence[np.ndarray | None]],
    cameras: Sequence[Camera],
    fps: float,
    seconds: float = DEFAULT_SECONDS,
) -> Recording:
    """The recording of a keypoint file.

    Args:
        frames: by number, ascending: per camera its people (P, 17, 3), or None for no frame; see
            `KeypointRecording.coco17_frames`.
        cameras: of the rig.
        fps: frames per second.
        seconds: how much to use, from the beginning.
    """
    step, first = _step(fps), min(frames, default=0)
    used = [
        (number / fps, people)
        for number, people in frames.items()
        if (number - first) % step == 0 and number - first < seconds * fps
    ]
    recorded = []
    for index, camera in enumerate(cameras):
        own = [(stamp, people[index]) for stamp, people in used]
        stamps = np.array([stamp for stamp, people in own if people is not None])
        checked = [check_keypoints(people, camera, len(COCO17)) for _, people in own if people is not None]
        recorded.append(CameraDetections(camera.name, stamps, tuple(checked)))
    return Recording(tuple(recorded), COCO17)


def _used_joints(joint_set: JointSet) -> JointSet:
    """The joints that tell a rig: of detections with feet, hands or faces, the body's."""
    return COCO17 if not missing_joints(joint_set, COCO17) else joint_set


def _step(fps: float) -> int:
    return max(1, math.floor(fps / SUFFICIENT_HZ + 1e-6))


def _frame_count(frames: FrameSource, seconds: float) -> int:
    """How many frames of each camera are looked at."""
    return math.ceil(min(len(frames), seconds * frames.fps) / _step(frames.fps))


@dataclass
class _Group:
    """Detections of cameras whose images come together, as they are found."""

    source: RecordedCameras
    detector: Detector
    turns: Sequence[int]
    found: list[list[tuple[float, np.ndarray]]] = field(default_factory=list)

    def record(self, seconds: float, progress: tqdm) -> None:
        """Detect in all frames; every turn in a few."""
        cameras, frames = self.source.cameras, self.source.frames
        count, step = _frame_count(frames, seconds), _step(frames.fps)
        probes = set(np.linspace(0, count - 1, _PROBES + 2).round().astype(int)[1:-1].tolist())
        self.found = [[] for _ in cameras]
        self._scores = np.zeros((len(cameras), 4))
        for index, stamp, images in frames:
            if index >= count * step:
                break
            if index % step:
                continue
            there, ready = [], []
            for camera, image in enumerate(images):
                if image is not None:
                    there.append(camera)
                    ready.append(restored_image(image, cameras[camera]))
                    check_image(ready[-1], cameras[camera])
            turns = [self.turns[camera] for camera in there]
            people = detect_upright(self.detector, ready, turns)
            for camera, own in zip(there, people, strict=True):
                self.found[camera].append((stamp, own))
            if index // step in probes:
                self._probe(there, ready, people)
            progress.update(len(cameras))

    def _probe(self, there: list[int], images: list[np.ndarray], as_turned: list[np.ndarray]) -> None:
        """Add up the scores of people in all turns of the images."""
        for more in range(4):
            turns = [self.turns[camera] + more for camera in there]
            people = detect_upright(self.detector, images, turns) if more else as_turned
            for camera, turn, own in zip(there, turns, people, strict=True):
                self._scores[camera, turn % 4] += own[..., 2].mean(axis=-1).sum() if len(own) else 0.0

    def better_turns(self) -> list[int]:
        """Per camera the turn in which the detector sees people best; the given one unless that is clear."""
        best = self._scores.argmax(axis=1)
        better = []
        for turn, other, scores in zip(self.turns, best.tolist(), self._scores, strict=True):
            clear = scores[other] > max(_TURN_RATIO * scores[turn], _LEAST_SCORE * _PROBES)
            better.append(other if clear else turn)
        return better

    def detections(self) -> list[CameraDetections]:
        """Per camera."""
        given = self.detector.joint_set
        used = _used_joints(given)

        def body(people: np.ndarray) -> np.ndarray:
            return people if used == given else mapped_keypoints(people, given, used)

        return [
            CameraDetections(
                camera.name, np.array([stamp for stamp, _ in own]), tuple(body(people) for _, people in own)
            )
            for camera, own in zip(self.source.cameras, self.found, strict=True)
        ]
