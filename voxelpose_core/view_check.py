"""Do the views fit the calibration? Exchanged cameras and turned images, found from 2D detections.

The rays of a joint in two views lie in one plane with both camera centres (epipolar constraint;
Hartley and Zisserman, chapter 9). Where the views of two cameras are exchanged, or a camera's images are
turned, they do not, and the arrangement of the views in which they do is the right one. Only 2D
detections are needed: no skeletons, and no known association.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.image_turns import turn_points, turns_in_words
from voxelpose_core.geometry.rig import Rig

# Frame sets that follow each other at once show the same poses again.
PERIOD_S = 0.2
_FRAME_SETS = 40
# Evidence that is evaluated at once: views times frame sets.
_MAX_IMAGES = 240
_MAX_PEOPLE = 6
_MIN_SCORE = 0.2
_MIN_JOINTS = 4
# With less evidence a right rig can agree better with a wrong arrangement by chance: pairs of views of a
# frame set, of those that the arrangement changes, with people to compare.
_MIN_FRAME_SETS = 3
# Frame sets nearer to each other that are kept in case that no others come.
_FRAME_SETS_OF_SHORT = 12
_MIN_COMPARISONS = 8
# Epipolar distances below this share of the person's size are detector noise.
_NOISE_SHARE = 0.005
# Share that stands for rays which meet behind one of the cameras.
_BEHIND_SHARE = 1.0
# Another arrangement is reported if its mean distance, over the pairs of views that it changes, is below
# this share of the given one's. Right rigs were never below 1, wrong ones nearly all below 0.4.
_ALARM_RATIO = 0.7
# Views whose distances are below this share of people's size fit, whatever fits still better: a person who
# stands in the middle of a regular rig looks alike from all sides.
_FITS_SHARE = 0.05
# Up to so many cameras every permutation is tried; beyond, exchanges of two, one after the other.
_ALL_PERMUTATIONS = 5

# Per view: index of the camera that took it, and clockwise quarter turns that make it fit.
_Arrangement = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Contradiction:
    """Views that do not fit the calibration as given, and the arrangement in which they do.

    Attributes:
        names: the rig's cameras, in the order in which the views were given.
        cameras: per given view the index of the camera whose calibration it fits.
        turns: per given view the clockwise quarter turns after which its images fit.
        given_px: mean epipolar distance of the 2D detections as given, over the pairs of views that
            the arrangement changes, px.
        fitting_px: the same in the arrangement that fits.
    """

    names: tuple[str, ...]
    cameras: tuple[int, ...]
    turns: tuple[int, ...]
    given_px: float
    fitting_px: float

    @property
    def order(self) -> tuple[int, ...]:
        """Per camera of the rig the index of the given view that belongs to it."""
        return tuple(int(index) for index in np.argsort(self.cameras))

    def __str__(self) -> str:
        exchanged = [i for i, camera in enumerate(self.cameras) if camera != i]
        parts = []
        if len(exchanged) == 2:
            parts.append("cameras {} and {} look exchanged".format(*self._quoted(exchanged)))
        elif exchanged:
            moves = ", ".join(
                f"what is given as '{self.names[i]}' fits '{self.names[self.cameras[i]]}'" for i in exchanged
            )
            parts.append(f"the views look permuted ({moves})")
        for turns in sorted(set(self.turns) - {0}):
            views = [view for view, own in enumerate(self.turns) if own == turns]
            whose = f"camera{'s' * (len(views) > 1)} {', '.join(self._quoted(views))}"
            parts.append(f"images of {whose} look turned {turns_in_words(-turns)}")
        return (
            f"{' and '.join(parts)}: 2D detections of different views disagree by "
            f"{self.given_px:.0f} px as given, by {self.fitting_px:.0f} px if that is undone"
        )

    def _quoted(self, indices: Sequence[int]) -> list[str]:
        return [f"'{self.names[index]}'" for index in indices]


class ViewCheck:
    """Collects 2D detections and tells whether another arrangement of the views fits far better.

    Keeps the last 40 frame sets that are at least 0.2 s apart and in which two views or more have
    detections. Views are only exchanged between cameras of the same image size, and images turned by
    90 degrees only where they are square: others are refused by their size.

    Args:
        rig: the calibrated cameras; views are given in their order.
    """

    def __init__(self, rig: Rig):
        self.rig = rig
        self._frame_sets: deque[list[np.ndarray]] = deque(maxlen=_FRAME_SETS)
        self._between: deque[list[np.ndarray]] = deque(maxlen=_FRAME_SETS_OF_SHORT)
        self._last_stamp: float | None = None
        self._new = 0
        self._contradiction: Contradiction | None = None

    def __len__(self) -> int:
        """Frame sets of evidence."""
        return len(self._frame_sets)

    def add(self, keypoints: Sequence[np.ndarray | None], stamp: float) -> None:
        """Take the 2D detections of one frame set; most frame sets are skipped, see the class.

        Args:
            keypoints: per camera (P, J, 3) x, y in pixels of its image, and score; None: no frame.
            stamp: seconds.
        """
        soon = self._last_stamp is not None and 0 <= stamp - self._last_stamp < PERIOD_S - 1e-6
        if soon and len(self) >= _MIN_FRAME_SETS:
            return
        people = [_usable(view) for view in keypoints]
        if sum(len(view) > 0 for view in people) < 2:
            return
        if soon:
            self._between.append(people)
            return
        self._frame_sets.append(people)
        self._last_stamp = stamp
        self._new += 1

    def finish(self) -> None:
        """No frame set will follow: a recording of less than a second is judged by all that it has."""
        if len(self) < _MIN_FRAME_SETS:
            self._frame_sets.extend(self._between)
            self._new += len(self._between)
        self._between.clear()

    def contradiction(self, new_frame_sets: int = 1) -> Contradiction | None:
        """The arrangement that fits instead of the given one; None where the given one fits.

        Args:
            new_frame_sets: the answer is computed anew only when so many frame sets were added since;
                until then the last one is returned. Takes 0.02 s for 4 cameras, some seconds for 16.
        """
        if self._new >= new_frame_sets and len(self) >= _MIN_FRAME_SETS:
            self._new = 0
            self._contradiction = find_contradiction(self.rig, list(self._frame_sets))
        return self._contradiction

    def finding(self, new_frame_sets: int = 1) -> str | None:
        """`contradiction` as one line."""
        contradiction = self.contradiction(new_frame_sets)
        return None if contradiction is None else str(contradiction)


def _usable(view: np.ndarray | None) -> np.ndarray:
    """(P, J, 3) people of a view with enough joints, or an empty array."""
    people = np.zeros((0, 1, 3)) if view is None or len(view) == 0 else np.array(view, np.float32)
    return people[(people[..., 2] >= _MIN_SCORE).sum(axis=1) >= _MIN_JOINTS][:_MAX_PEOPLE]


def find_contradiction(rig: Rig, frame_sets: Sequence[list[np.ndarray]]) -> Contradiction | None:
    """The arrangement of the views that fits far better than the given one; None where that fits.

    Args:
        rig: the cameras.
        frame_sets: per camera the people (P, J, 3) of each, some tenths of a second apart.
    """
    if len(frame_sets) < _MIN_FRAME_SETS:
        return None
    evidence = _evidence(rig, frame_sets)
    given = tuple((camera, 0) for camera in range(len(rig)))
    best = _best_arrangement(evidence, given)
    changed = [view for view, place in enumerate(best) if place != given[view]]
    if not changed or evidence.comparisons(best, changed) < _MIN_COMPARISONS:
        return None
    as_given, fitting = (np.exp(evidence.cost(a, changed)) for a in (given, best))
    if as_given < _FITS_SHARE or fitting >= _ALARM_RATIO * as_given:
        return None
    cameras, turns = zip(*best)
    pixels = (evidence.pixels(arrangement, changed) for arrangement in (given, best))
    return Contradiction(rig.names, cameras, turns, *pixels)


def disagreement_share(rig: Rig, frame_sets: Sequence[list[np.ndarray]], views: Sequence[int]) -> float:
    """Mean epipolar distance, as a share of people's size, over the pairs of views with one of `views`.

    The mean is that of logarithms, and views are taken as given. 1 where there is nothing to compare.
    """
    if not frame_sets:
        return 1.0
    given = tuple((camera, 0) for camera in range(len(rig)))
    evidence = _evidence(rig, frame_sets)
    return float(np.exp(evidence.cost(given, views))) if evidence.comparisons(given, views) else 1.0


def _evidence(rig: Rig, frame_sets: Sequence[list[np.ndarray]]) -> _Evidence:
    """As many of the frame sets as can be evaluated at once."""
    most = max(_MIN_FRAME_SETS, _MAX_IMAGES // len(rig))
    step = -(-len(frame_sets) // most)
    return _Evidence(rig.cameras, [[_usable(view) for view in views] for views in frame_sets[::step]])


class _View:
    """Detections of one view as rays of one camera.

    Attributes:
        rays: (T, P, J, 3) unit vectors in the world, T frame sets.
        valid: (T, P, J) bool.
        size: (T, P) how large a person is, as the diagonal of the box around its rays.
        camera: whose rays they are.
    """

    def __init__(self, camera: Camera, turns: int, people: np.ndarray):
        pixels = turn_points(people[..., :2].reshape(-1, 2), camera.image_size, turns)
        self.camera = camera
        self.rays = camera.ray_directions(pixels).reshape(people.shape)
        self.valid = people[..., 2] >= _MIN_SCORE
        valid = self.valid[..., None]
        extent = np.where(valid, self.rays, -2.0).max(axis=2) - np.where(valid, self.rays, 2.0).min(axis=2)
        self.size = np.maximum(np.linalg.norm(extent, axis=-1), 1e-3)


class _Evidence:
    """Epipolar distances of frame sets in any arrangement of their views."""

    def __init__(self, cameras: Sequence[Camera], frame_sets: Sequence[list[np.ndarray]]):
        self.cameras = cameras
        self._people = [_padded([views[i] for views in frame_sets]) for i in range(len(cameras))]
        self._views: dict[tuple[int, int, int], _View] = {}
        self._pairs: dict[tuple, tuple[float, float, int]] = {}

    def cost(self, arrangement: _Arrangement, views: Sequence[int] | None = None) -> float:
        """Mean log distance, as a share of people's size, over pairs of views (with one of `views`)."""
        return self._mean(arrangement, views, 0)

    def pixels(self, arrangement: _Arrangement, views: Sequence[int]) -> float:
        """Mean distance in px over the pairs of views with one of `views`."""
        return self._mean(arrangement, views, 1)

    def comparisons(self, arrangement: _Arrangement, views: Sequence[int]) -> int:
        """Pairs of views, with one of `views`, that have people to compare, over all frame sets."""
        return sum(pair[2] for pair in self._pairs_with(arrangement, views))

    def _mean(self, arrangement: _Arrangement, views: Sequence[int] | None, which: int) -> float:
        total, weight = 0.0, 0
        for pair in self._pairs_with(arrangement, views):
            total, weight = total + pair[which] * pair[2], weight + pair[2]
        return total / weight if weight else 0.0

    def _pairs_with(
        self, arrangement: _Arrangement, views: Sequence[int] | None
    ) -> Iterator[tuple[float, float, int]]:
        for a, b in itertools.combinations(range(len(arrangement)), 2):
            if views is None or a in views or b in views:
                yield self._pair(a, b, arrangement[a], arrangement[b])

    def _pair(self, a: int, b: int, place_a: tuple[int, int], place_b: tuple[int, int]) -> tuple:
        key = a, b, place_a, place_b
        if key not in self._pairs:
            self._pairs[key] = _compare(self._view(a, *place_a), self._view(b, *place_b))
        return self._pairs[key]

    def _view(self, index: int, camera: int, turns: int) -> _View:
        key = index, camera, turns
        if key not in self._views:
            self._views[key] = _View(self.cameras[camera], turns, self._people[index])
        return self._views[key]


def _padded(frame_sets: Sequence[np.ndarray]) -> np.ndarray:
    """(T, P, J, 3) of arrays (P', J, 3); score 0 where no person is."""
    most = max(max(map(len, frame_sets)), 1)
    joints = max(people.shape[1] for people in frame_sets)
    padded = np.zeros((len(frame_sets), most, joints, 3))
    for row, people in zip(padded, frame_sets, strict=True):
        if len(people):
            row[: len(people)] = people
    return padded


def _compare(a: _View, b: _View) -> tuple[float, float, int]:
    """Mean log distance of two views' people, mean distance in px, and frame sets that count.

    In each frame set every person of the view that has fewer is matched with the most similar one of
    the other. Whether a person is seen by both is the same in every arrangement.
    """
    if a.rays.shape[2] != b.rays.shape[2]:
        return 0.0, 0.0, 0
    baseline = b.camera.C - a.camera.C
    baseline = baseline / max(float(np.linalg.norm(baseline)), 1e-9)
    normals_a, normals_b = np.cross(baseline, a.rays), np.cross(baseline, b.rays)
    triple = np.abs(np.einsum("tpjc,tqjc->tpqj", a.rays, normals_b))
    # Sines of the angles between each ray and the plane of the other.
    of_b = triple / np.maximum(np.linalg.norm(normals_a, axis=-1), 1e-6)[:, :, None]
    of_a = triple / np.maximum(np.linalg.norm(normals_b, axis=-1), 1e-6)[:, None]
    shares = (of_a / a.size[:, :, None, None] + of_b / b.size[:, None, :, None]) / 2
    shares = np.where(_meet_behind(a, b, baseline), np.maximum(shares, _BEHIND_SHARE), shares)
    pixels = (of_a * a.camera.K[0, 0] + of_b * b.camera.K[0, 0]) / 2

    common = a.valid[:, :, None] & b.valid[:, None]
    counts = common.sum(axis=-1)
    logs = np.where(common, np.log(np.maximum(shares, _NOISE_SHARE)), 0.0).sum(axis=-1)
    costs = np.where(counts >= _MIN_JOINTS, logs / np.maximum(counts, 1), np.inf)
    pixels = np.where(common, pixels, 0.0).sum(axis=-1) / np.maximum(counts, 1)
    matched = [_best_matches(c, p) for c, p in zip(costs, pixels, strict=True) if np.isfinite(c).any()]
    if not matched:
        return 0.0, 0.0, 0
    return (*np.mean(matched, axis=0).tolist(), len(matched))


def _meet_behind(a: _View, b: _View, baseline: np.ndarray) -> np.ndarray:
    """(T, Pa, Pb, J) whether rays come closest to each other behind one of the cameras."""
    cosine = np.einsum("tpjc,tqjc->tpqj", a.rays, b.rays)
    along_a, along_b = (a.rays @ baseline)[:, :, None], (b.rays @ baseline)[:, None]
    return (along_a < cosine * along_b) | (cosine * along_a < along_b)


def _best_matches(costs: np.ndarray, pixels: np.ndarray) -> tuple[float, float]:
    """Mean cost and px of the best match of each person of the smaller group; (Pa, Pb) each."""
    comparable = np.isfinite(costs)
    if comparable.any(axis=1).sum() > comparable.any(axis=0).sum():
        costs, pixels, comparable = costs.T, pixels.T, comparable.T
    rows = np.flatnonzero(comparable.any(axis=1))
    best = costs[rows].argmin(axis=1)
    return float(costs[rows, best].mean()), float(pixels[rows, best].mean())


def _best_arrangement(evidence: _Evidence, given: _Arrangement) -> _Arrangement:
    """The best that exchanges and turns of single views lead to from the best permutation (of many
    cameras: from the given order), and from the same with all images upside down."""
    start = given
    if len(given) <= _ALL_PERMUTATIONS:
        start = min(_permutations(evidence.cameras), key=evidence.cost)
    upside_down = tuple((camera, (turns + 2) % 4) for camera, turns in start)
    return min((_improved(evidence, s) for s in (start, upside_down)), key=evidence.cost)


def _improved(evidence: _Evidence, arrangement: _Arrangement) -> _Arrangement:
    """Exchanges and turns, as long as they make it better."""
    best = arrangement
    while True:
        better = min(_neighbours(best, evidence.cameras), key=evidence.cost, default=best)
        if evidence.cost(better) >= evidence.cost(best) - 1e-9:
            return best
        best = better


def _permutations(cameras: Sequence[Camera]) -> Iterator[_Arrangement]:
    """The given order first: it stays where nothing is better."""
    sizes = [camera.image_size for camera in cameras]
    for order in itertools.permutations(range(len(cameras))):
        if all(sizes[view] == sizes[camera] for view, camera in enumerate(order)):
            yield tuple((camera, 0) for camera in order)


def _neighbours(arrangement: _Arrangement, cameras: Sequence[Camera]) -> Iterator[_Arrangement]:
    for view, (camera, turns) in enumerate(arrangement):
        width, height = cameras[camera].image_size
        for more in (1, 2, 3) if width == height else (2,):
            turned = (camera, (turns + more) % 4)
            yield (*arrangement[:view], turned, *arrangement[view + 1 :])
    for first, second in itertools.combinations(range(len(arrangement)), 2):
        (camera, turns), (other, other_turns) = arrangement[first], arrangement[second]
        if cameras[camera].image_size == cameras[other].image_size:
            exchanged = list(arrangement)
            exchanged[first], exchanged[second] = (other, turns), (camera, other_turns)
            yield tuple(exchanged)
