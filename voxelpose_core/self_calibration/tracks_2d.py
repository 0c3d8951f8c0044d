"""2D tracks: the detections of one person in one camera over time.

Self-calibration compares tracks of different cameras, and a track that changes from one person to another
spoils the comparison. Tracks therefore end where it is not clear who is who, and a new track begins
afterwards: several short tracks of one person are harmless.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from voxelpose_core.association import image_sizes, masked_median, pair_one_to_one, usable_joints
from voxelpose_core.self_calibration.observations import CameraDetections, Recording

# Detections with fewer joints do not tell who they are.
_MIN_JOINTS = 4
# Two detections of one frame that are closer, in the median of their joints and as a share of their size,
# are one person detected twice.
_DUPLICATE_SHARE = 0.08
# A detection continues a track when the median distance of its joints from the predicted ones is at most
# this share of the person's size, plus a share per second since the last detection: 1.5 m/s.
_GATE_SHARE, _GATE_SHARE_PER_S = 0.12, 0.9
# Two candidates whose distances differ by less than this share of the person's size end a track.
_CLEAR_SHARE = 0.1
# A track survives this long without a detection, seconds, and two missed frames of slow cameras; after a
# second anybody may be anywhere.
_LONGEST_GAP_S, _GAP_FRAMES, _ANYBODY_S = 0.25, 3, 1.0
# Velocities are slopes over so many frames before and after, but not over more than this time: a foot
# swings for about half a second.
_VELOCITY_FRAMES, _VELOCITY_S = 4, 0.2
# Sum of the squared times of a slope's detections, s^2, below which it would be mostly noise: two detections
# that are 70 ms apart.
_LEAST_SPREAD_S2 = 0.0025


@dataclass(frozen=True, eq=False)
class Track2D:
    """The detections of one person in one camera: N frames, J joints.

    Attributes:
        times: (N,) seconds on the camera's own clock, rising.
        pixels: (N, J, 2) as detected; meaningless where the score is 0.
        velocities: (N, J, 2) px/s, smoothed; 0 where a joint has too few detections around.
        scores: (N, J) of the detector, 0 where the joint was not detected.
        longest_gap: seconds without a detection that `at` interpolates over.
    """

    times: np.ndarray
    pixels: np.ndarray
    velocities: np.ndarray
    scores: np.ndarray
    longest_gap: float = _LONGEST_GAP_S

    def __len__(self) -> int:
        return len(self.times)

    @property
    def sizes(self) -> np.ndarray:
        """(N,) longer side of the person's box in the image, px."""
        return image_sizes(self.pixels, self.scores > 0)

    def at(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Detections between the frames, by linear interpolation.

        Args:
            times: (K,) seconds on the camera's own clock.

        Returns:
            pixels (K, J, 2), velocities (K, J, 2) px/s and scores (K, J). The score is 0 before and after
            the track, in gaps, and where one of the two frames around misses the joint.
        """
        times = np.asarray(times, np.float64)
        after = np.clip(np.searchsorted(self.times, times), 0, len(self) - 1)
        before = np.where(self.times[after] > times, np.maximum(after - 1, 0), after)
        gap = self.times[after] - self.times[before]
        share = np.where(gap > 0, (times - self.times[before]) / np.where(gap > 0, gap, 1.0), 0.0)
        inside = (times >= self.times[0] - 1e-6) & (times <= self.times[-1] + 1e-6)
        inside &= gap <= self.longest_gap
        weight = np.clip(share, 0.0, 1.0)[:, None, None]
        pixels = (1 - weight) * self.pixels[before] + weight * self.pixels[after]
        velocities = (1 - weight) * self.velocities[before] + weight * self.velocities[after]
        scores = np.minimum(self.scores[before], self.scores[after]) * inside[:, None]
        return pixels, velocities, scores


@dataclass(eq=False)
class _OpenTrack:
    """A track that may go on."""

    times: list[float] = field(default_factory=list)
    people: list[np.ndarray] = field(default_factory=list)
    size: float = 0.0

    def add(self, time: float, person: np.ndarray, size: float) -> None:
        # Detections of a part of the body are smaller than the person.
        self.size = max(size, 0.9 * self.size)
        self.times.append(time)
        self.people.append(person)

    def predicted(self, time: float) -> np.ndarray:
        """(J, 3) the last detection, moved on by the body's mean motion between the last two."""
        last = self.people[-1]
        if len(self.people) < 2:
            return last
        previous = self.people[-2]
        common = (last[:, 2] > 0) & (previous[:, 2] > 0)
        if common.sum() < _MIN_JOINTS:
            return last
        motion = np.median(last[common, :2] - previous[common, :2], axis=0)
        ahead = min((time - self.times[-1]) / (self.times[-1] - self.times[-2]), 2.0)
        moved = last.copy()
        moved[:, :2] += motion * ahead
        return moved


def tracks_2d(camera: CameraDetections, least_score: float = 0.0) -> list[Track2D]:
    """The tracks of one camera's detections, in the order in which they begin.

    Args:
        camera: with T frames of detections.
        least_score: keypoints with a lower score count as not detected.
    """
    ended: list[_OpenTrack] = []
    running: list[_OpenTrack] = []
    frame_s = float(np.median(np.diff(camera.stamps))) if len(camera.stamps) > 1 else 1.0
    longest_gap = min(max(_LONGEST_GAP_S, _GAP_FRAMES * frame_s), _ANYBODY_S)
    for time, people in zip(camera.stamps.tolist(), camera.people, strict=True):
        found, sizes = _distinct(np.asarray(people, np.float64), least_score)
        going_on = [track for track in running if time - track.times[-1] <= longest_gap + 1e-6]
        ended += [track for track in running if time - track.times[-1] > longest_gap + 1e-6]
        links, unclear = _links(going_on, found, sizes, time)
        for track, detection in links:
            going_on[track].add(time, found[detection], sizes[detection])
        taken = {detection for _, detection in links}
        ended += [track for index, track in enumerate(going_on) if index in unclear]
        running = [track for index, track in enumerate(going_on) if index not in unclear]
        for detection in range(len(found)):
            if detection not in taken:
                running.append(_OpenTrack())
                running[-1].add(time, found[detection], sizes[detection])
    tracks = sorted(ended + running, key=lambda track: track.times[0])
    return [_finished(track, longest_gap) for track in tracks]


def recording_tracks(recording: Recording, least_score: float = 0.0) -> list[list[Track2D]]:
    """The `tracks_2d` of each camera."""
    return [tracks_2d(camera, least_score) for camera in recording.cameras]


def _distinct(people: np.ndarray, least_score: float) -> tuple[np.ndarray, np.ndarray]:
    """Detections (P, J, 3) with enough joints and without duplicates, and their sizes (P,), px."""
    if not people.size:
        return np.zeros((0, 1, 3)), np.zeros(0)
    finite = np.isfinite(people).all(axis=-1)
    people = np.where((usable_joints(people, least_score) & finite)[..., None], people, 0.0)
    used = people[..., 2] > 0
    sizes = image_sizes(people[..., :2], used)
    order = np.argsort(-people[..., 2].sum(axis=1), kind="stable")
    kept: list[int] = []
    for index in order.tolist():
        if used[index].sum() < _MIN_JOINTS or sizes[index] <= 0:
            continue
        shares = _shares(people[index], people[kept], np.maximum(sizes[kept], sizes[index]))
        if not (shares < _DUPLICATE_SHARE).any():
            kept.append(index)
    return people[kept], sizes[kept]


def _shares(person: np.ndarray, others: np.ndarray, sizes: np.ndarray | float) -> np.ndarray:
    """(P,) median distance of a detection's (J, 3) joints from those of others (P, J, 3) per size."""
    common = (person[:, 2] > 0) & (others[..., 2] > 0)
    distances = np.linalg.norm(others[..., :2] - person[:, :2], axis=-1)
    median = np.where(common.sum(axis=-1) >= _MIN_JOINTS, masked_median(distances, common), np.inf)
    return median / np.maximum(sizes, 1e-9)


def _links(
    tracks: Sequence[_OpenTrack], found: np.ndarray, sizes: np.ndarray, time: float
) -> tuple[list[tuple[int, int]], set[int]]:
    """Which detection continues which track, and the tracks for which that is not clear."""
    if not tracks or not len(found):
        return [], set()
    costs = np.array(
        [_shares(track.predicted(time), found, np.maximum(sizes, track.size)) for track in tracks]
    )
    gates = np.array([_GATE_SHARE + _GATE_SHARE_PER_S * (time - track.times[-1]) for track in tracks])
    costs = np.where(costs <= gates[:, None], costs, np.inf)
    unclear = {
        row
        for row, column in zip(*np.nonzero(np.isfinite(costs)), strict=True)
        if _is_rivalled(costs, int(row), int(column))
    }
    pairs = pair_one_to_one(costs, no_pair=float(gates.max()) + 1.0)
    links = [(row, column) for row, column in pairs if np.isfinite(costs[row, column])]
    return [(row, column) for row, column in links if row not in unclear], {int(row) for row in unclear}


def _is_rivalled(costs: np.ndarray, row: int, column: int) -> bool:
    """Whether a track's best detection is hardly better than another, for it or for another track."""
    cost = costs[row, column]
    if cost > costs[row].min():
        return False
    others = np.concatenate([np.delete(costs[row], column), np.delete(costs[:, column], row)])
    return bool((others < cost + _CLEAR_SHARE).any())


def _finished(track: _OpenTrack, longest_gap: float) -> Track2D:
    times = np.array(track.times)
    people = np.array(track.people)
    pixels, scores = people[..., :2], people[..., 2]
    return Track2D(times, pixels, _velocities(times, pixels, scores > 0), scores, longest_gap)


def _velocities(times: np.ndarray, pixels: np.ndarray, used: np.ndarray) -> np.ndarray:
    """(N, J, 2) px/s: slopes of the least-squares lines through the detections around each frame."""
    count = len(times)
    frames = np.arange(-_VELOCITY_FRAMES, _VELOCITY_FRAMES + 1)
    index = np.arange(count)[:, None] + frames  # (N, W)
    inside = (index >= 0) & (index < count)
    index = np.clip(index, 0, count - 1)
    moments = times[index] - times[:, None]
    inside &= (np.abs(moments) <= _VELOCITY_S) | (np.abs(frames) <= 1)
    inside &= np.abs(moments) <= _LONGEST_GAP_S * 2
    weights = (inside[..., None] & used[index]).astype(np.float64)  # (N, W, J)
    total = np.maximum(weights.sum(axis=1), 1e-9)
    mean_time = (weights * moments[..., None]).sum(axis=1) / total
    mean_pixel = (weights[..., None] * pixels[index]).sum(axis=1) / total[..., None]
    centred = (moments[..., None] - mean_time[:, None]) * weights
    spread = (centred * (moments[..., None] - mean_time[:, None])).sum(axis=1)
    slope = (centred[..., None] * (pixels[index] - mean_pixel[:, None])).sum(axis=1)
    enough = spread >= _LEAST_SPREAD_S2
    return np.where(enough[..., None], slope / np.where(enough, spread, 1.0)[..., None], 0.0)
