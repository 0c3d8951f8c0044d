"""Recordings whose truth is known, for what finds or mends a rig from the people in it.

People walk before cameras that have clocks of their own. What the user of the rig knows is off by a given
amount: every camera turned and moved, its stamps late or early, its focal length wrong, its images in
another camera's place or turned. Everything follows from the number of the recording.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.signal import lfilter
from scipy.spatial.transform import Rotation

from voxelpose_core.association import image_sizes
from voxelpose_core.datasets.generated_walks import LASTING_ERRORS, swing_arms
from voxelpose_core.datasets.random_rigs import look_at
from voxelpose_core.generated_motion import random_walks, walking_pose
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.image_turns import turn_points
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.self_calibration.observations import CameraDetections, Recording
from voxelpose_core.skeletons import COCO17

_FIRST_SEED = 2**44
_IMAGE_SIZE = (1280, 720)
# The truth is kept this often; between, joints move straight.
_TRUTH_HZ = 50.0
# Truth before and after the recording, for cameras whose clocks are off, s.
_MARGIN_S = 2.0
# Detections with fewer joints in the image are not found.
_MIN_JOINTS = 6
_DISTORTION = (-0.12, 0.03, 0.0005, -0.0005, 0.0)
_FISHEYE_DISTORTION = (0.02, -0.005, 0.001, 0.0)
_CAMERA_HEIGHTS = (1300.0, 2800.0)
# Horizontal fields of view, degrees.
_FIELD_OF_VIEW = (62.0, 85.0)
_FISHEYE_FIELD_OF_VIEW = (110.0, 150.0)


@dataclass(frozen=True)
class RecordingSettings:
    """What is recorded, and how far off the user's knowledge is.

    Attributes:
        cameras: number of cameras.
        people: who walk to and fro, stop, and swing their arms.
        duration_s: on every camera.
        rates_hz: frames per second; one number, or one per camera.
        noise: standard deviation of each pixel coordinate, as a share of the longer side of the person's
            box in the image. Errors last for a while, as those of detectors do.
        outliers: share of joints that are off by ten times as much.
        missed: share of frames in which a camera misses a person.
        degrees: angle by which every camera of the user's rig is turned, about a random axis.
        mm: distance by which every camera of the user's rig is moved, in a random direction.
        off_cameras: the cameras that are turned and moved; None: all.
        offsets_ms: per camera the true time offset, which is to be ADDED to its stamps; the first must be
            0. One number: the others are drawn from minus that to plus that.
        focal_errors: per camera the share by which the user's focal length is too long.
        order: per camera of the rig the camera whose images are taken for its own; None: right.
        turns: per camera clockwise quarter turns of the images that it gives.
        room_mm: side of the square in which people walk.
        standing: people stay where they are and only swing their arms.
        arc_degrees: the cameras stand around so much of the room.
        fisheye: equidistant lenses with a wide field of view.
        distorted: pinhole lenses with distortion.
    """

    cameras: int = 4
    people: int = 1
    duration_s: float = 20.0
    rates_hz: float | Sequence[float] = 30.0
    noise: float = 0.02
    outliers: float = 0.01
    missed: float = 0.03
    degrees: float = 0.0
    mm: float = 0.0
    off_cameras: Sequence[int] | None = None
    offsets_ms: float | Sequence[float] = 0.0
    focal_errors: Sequence[float] | None = None
    order: Sequence[int] | None = None
    turns: Sequence[int] | None = None
    room_mm: float = 4000.0
    standing: bool = False
    arc_degrees: float = 360.0
    fisheye: bool = False
    distorted: bool = True


@dataclass(frozen=True, eq=False)
class GeneratedRecording:
    """A recording, and the truth about it.

    Attributes:
        rig: as its user knows it.
        true_rig: as it is.
        recording: 2D detections, in the order of the rig's cameras as its user believes.
        offsets_ms: (V,) true time offsets: added to the stamps, all cameras agree. The first is 0.
        times: (T,) seconds of the truth, on the first camera's clock.
        poses: (T, P, 17, 3) true joints, mm.
    """

    rig: Rig
    true_rig: Rig
    recording: Recording
    offsets_ms: np.ndarray
    times: np.ndarray
    poses: np.ndarray

    def true_joints(self, spacing_s: float = 0.2) -> np.ndarray:
        """(N, 3) joints of the poses this far apart, mm; for `metrics.rig_error`."""
        step = max(1, round(spacing_s * _TRUTH_HZ))
        inside = (self.times >= 0) & (self.times <= self.times[-1] - _MARGIN_S)
        return self.poses[inside][::step].reshape(-1, 3)


def generate_recording(number: int, settings: RecordingSettings = RecordingSettings()) -> GeneratedRecording:
    """Recording `number` with these settings; numbers differ in rig, walks, errors, everything.

    Args:
        number: 0 or more.
        settings: what is recorded.
    """
    random = np.random.default_rng(_FIRST_SEED + number)
    true_rig = _true_rig(random, settings, number)
    rig = off_rig(true_rig, random, settings)
    offsets = _offsets(random, settings)
    times, poses = _walks(random, settings)
    taken = _all_detections(random, settings, true_rig.cameras, times, poses, offsets)
    turns = settings.turns or [0] * settings.cameras
    given = [
        _turned(taken[source], camera, turn)
        for source, camera, turn in zip(
            settings.order or range(settings.cameras), rig.cameras, turns, strict=True
        )
    ]
    return GeneratedRecording(rig, true_rig, Recording(tuple(given), COCO17), offsets, times, poses)


def record_people(
    cameras: Sequence[Camera], number: int, settings: RecordingSettings = RecordingSettings(), walk: int = 0
) -> Recording:
    """What given cameras see of other people: for one rig at different times.

    Args:
        cameras: as they are, in the order of the recording.
        number: 0 or more.
        settings: how long, how many people, what noise, what offsets; the rest is the cameras'.
        walk: 0 or more; people walk differently in each.
    """
    random = np.random.default_rng((_FIRST_SEED + number, walk))
    settings = dataclasses.replace(settings, cameras=len(cameras))
    offsets = _offsets(random, settings)
    times, poses = _walks(random, settings)
    return Recording(tuple(_all_detections(random, settings, cameras, times, poses, offsets)), COCO17)


def off_rig(rig: Rig, random: np.random.Generator, settings: RecordingSettings) -> Rig:
    """The rig with its cameras turned by `settings.degrees`, moved by `settings.mm`, focal lengths wrong."""
    cameras = []
    for index, camera in enumerate(rig.cameras):
        axis, way = random.normal(size=(2, 3))
        off = settings.off_cameras is None or index in settings.off_cameras
        turn = np.radians(settings.degrees * off) * axis / np.linalg.norm(axis)
        K = camera.K.copy()
        if settings.focal_errors is not None:
            K[[0, 1], [0, 1]] *= 1.0 + settings.focal_errors[index]
        R = Rotation.from_rotvec(turn).as_matrix() @ camera.R
        C = camera.C + settings.mm * off * way / np.linalg.norm(way)
        cameras.append(dataclasses.replace(camera, K=K, R=R, C=C))
    return dataclasses.replace(rig, cameras=tuple(cameras))


def _true_rig(random: np.random.Generator, settings: RecordingSettings, number: int) -> Rig:
    """Cameras around the room, that look about its middle."""
    count = settings.cameras
    step = np.arange(count) + random.uniform(-0.25, 0.25, count)
    angle = random.uniform(0, 2 * np.pi) + np.radians(settings.arc_degrees) * step / count
    reach = 0.5 * settings.room_mm + random.uniform(1200.0, 3000.0, count)
    height = random.uniform(*_CAMERA_HEIGHTS, count)
    centers = np.stack([reach * np.cos(angle), reach * np.sin(angle), height], axis=1)
    aim = random.uniform(-0.1, 0.1, (count, 3)) * settings.room_mm
    aim[:, 2] = random.uniform(800.0, 1100.0, count)
    roll = random.normal(0.0, 0.03, count)
    R = look_at(*(torch.from_numpy(value) for value in (centers, aim, roll))).numpy()
    width, height_px = _IMAGE_SIZE
    cameras = []
    for index in range(count):
        field = random.uniform(*(_FISHEYE_FIELD_OF_VIEW if settings.fisheye else _FIELD_OF_VIEW))
        half = np.radians(field) / 2
        focal = width / 2 / (half if settings.fisheye else np.tan(half))
        middle = np.array([width, height_px]) / 2 + random.normal(0.0, 10.0, 2)
        distortion = np.array(_FISHEYE_DISTORTION if settings.fisheye else _DISTORTION)
        cameras.append(
            Camera(
                f"camera_{index}",
                _IMAGE_SIZE,
                [[focal, 0.0, middle[0]], [0.0, focal, middle[1]], [0.0, 0.0, 1.0]],
                distortion * (settings.fisheye or settings.distorted),
                R[index],
                centers[index],
                fisheye=settings.fisheye,
            )
        )
    return Rig(tuple(cameras), name=f"generated_{number}")


def _offsets(random: np.random.Generator, settings: RecordingSettings) -> np.ndarray:
    """(V,) ms."""
    if np.ndim(settings.offsets_ms):
        return np.array(settings.offsets_ms, dtype=float)
    offsets = random.uniform(-1.0, 1.0, settings.cameras) * settings.offsets_ms
    offsets[0] = 0.0
    return offsets


def _walks(random: np.random.Generator, settings: RecordingSettings) -> tuple[np.ndarray, np.ndarray]:
    """Times (T,) from before 0 on, and poses (T, P, 17, 3)."""
    duration = settings.duration_s + 2 * _MARGIN_S
    if settings.standing:
        count = round(duration * _TRUTH_HZ)
        places = random.uniform(-0.3, 0.3, (settings.people, 2)) * settings.room_mm
        poses = np.stack(
            [
                walking_pose(
                    random.uniform(1550.0, 1900.0), 0.0, np.array([*place, 0.0]), random.uniform(0, 6)
                )
                for place in places
            ]
        )
        poses = np.repeat(poses[None], count, axis=0)
    else:
        seed = int(random.integers(2**32))
        poses = random_walks(settings.people, _TRUTH_HZ, duration, seed, settings.room_mm)
    poses = swing_arms(poses, _TRUTH_HZ, random)
    return np.arange(len(poses)) / _TRUTH_HZ - _MARGIN_S, poses


def _all_detections(
    random: np.random.Generator,
    settings: RecordingSettings,
    cameras: Sequence[Camera],
    times: np.ndarray,
    poses: np.ndarray,
    offsets_ms: np.ndarray,
) -> list[CameraDetections]:
    rates = np.broadcast_to(settings.rates_hz, len(cameras)).astype(float)
    return [
        _detections(random, settings, camera, times, poses, rate, offset / 1000.0)
        for camera, rate, offset in zip(cameras, rates, offsets_ms, strict=True)
    ]


def _detections(
    random: np.random.Generator,
    settings: RecordingSettings,
    camera: Camera,
    times: np.ndarray,
    poses: np.ndarray,
    rate_hz: float,
    offset_s: float,
) -> CameraDetections:
    """What one camera's detector says; stamps + offset are the times of the truth."""
    count = round(settings.duration_s * rate_hz)
    true_times = (np.arange(count) + random.uniform(0, 1)) / rate_hz
    joints = poses_at(times, poses, true_times)
    people = joints.shape[1]
    flat = joints.reshape(-1, 3)
    pixels = camera.project(flat)[0].reshape(count, people, len(COCO17), 2)
    seen = camera.sees(flat).reshape(count, people, len(COCO17))
    size = image_sizes(pixels, seen)
    error = _lasting_noise(random, pixels.shape, rate_hz)
    gross = random.random(seen.shape) < settings.outliers
    error *= np.where(gross, 10.0, 1.0)[..., None]
    pixels = pixels + settings.noise * size[..., None, None] * error
    scores = np.clip(random.normal(0.6, 0.15, seen.shape), 0.25, 1.0) * seen
    found = (seen.sum(axis=-1) >= _MIN_JOINTS) & (random.random((count, people)) >= settings.missed)
    detected = np.concatenate([np.where(seen[..., None], pixels, 0.0), scores[..., None]], axis=-1)
    frames = [random.permutation(row[there]) for row, there in zip(detected, found, strict=True)]
    return CameraDetections(camera.name, true_times - offset_s, tuple(frames))


def poses_at(times: np.ndarray, poses: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Poses (T, ...) of rising `times` (T,), linearly interpolated at `at` (N,): (N, ...)."""
    after = np.clip(np.searchsorted(times, at), 1, len(times) - 1)
    share = (at - times[after - 1]) / (times[after] - times[after - 1])
    share = share.reshape(-1, *[1] * (poses.ndim - 1))
    return (1 - share) * poses[after - 1] + share * poses[after]


def _lasting_noise(random: np.random.Generator, shape: tuple[int, ...], rate_hz: float) -> np.ndarray:
    """Noise (T, ...) of deviation 1, its parts lasting as long as `LASTING_ERRORS` says."""
    total = np.zeros(shape)
    for share, lasting_s in LASTING_ERRORS:
        kept = float(np.exp(-1.0 / (rate_hz * lasting_s))) if lasting_s else 0.0
        drawn = random.normal(size=shape)
        drawn[1:] *= (1.0 - kept**2) ** 0.5
        total += share**0.5 * lfilter([1.0], [1.0, -kept], drawn, axis=0)
    return total


def _turned(detections: CameraDetections, camera: Camera, turns: int) -> CameraDetections:
    """The same under the name of the camera that the user takes it for, images turned clockwise."""
    people = detections.people
    if turns % 4:
        people = tuple(
            np.concatenate([turn_points(own[..., :2], camera.image_size, turns), own[..., 2:]], axis=-1)
            * (own[..., 2:] > 0)
            for own in people
        )
    return CameraDetections(camera.name, detections.stamps, people)
