"""PoseEstimator: images or keypoints of one moment -> 3D skeletons. The one way in."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field

from voxelpose_core.detectors import Detector, detect_upright, load_detector
from voxelpose_core.devices import select_device, select_dtype
from voxelpose_core.errors import InputError
from voxelpose_core.estimate import Estimate, Skeleton
from voxelpose_core.explanation import (
    explained_views,
    may_be_inside,
    owned_views,
    unexplained_people,
    usable_joints,
)
from voxelpose_core.geometry.image_turns import turn_image, turned_size, upright_turns
from voxelpose_core.geometry.rig import Rig, Space, propose_space
from voxelpose_core.heatmaps import render_keypoints
from voxelpose_core.images import normalize, warp_on_device, warp_to_network
from voxelpose_core.inputs import check_image, check_keypoints
from voxelpose_core.memory import keep_freed_memory
from voxelpose_core.models.checkpoints import load_weights
from voxelpose_core.models.inference import for_inference
from voxelpose_core.models.refinement import joint_heat, refine_joints
from voxelpose_core.resources import find_weights
from voxelpose_core.selection import split_at_floor, supported, without_doubles
from voxelpose_core.skeletons import JointSet, get_joint_set
from voxelpose_core.voxel import Views, implementation, unchanged_heatmaps

# Pixels of a heatmap where the rig, not the configuration, decides its shape, and its stride.
_HEATMAP_AREA = 240 * 136
_HEATMAP_STRIDE = 4
# Voxels of people whose poses are regressed at once on a CPU: more leave the caches and take memory
# without being faster. A GPU takes everybody at once, in one of a few shapes.
_VOXELS_AT_ONCE = 2**18
_PEOPLE_BUCKETS = (1, 2, 4, 8)


class EstimatorSettings(BaseModel):
    """What may be tuned without other weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    proposal_threshold: float | None = Field(
        None, description="Root score that a person exceeds; None: what the weights say."
    )
    support_threshold: float = Field(
        0.2,
        ge=0,
        le=1,
        description="Mean heatmap value at the reprojected joints that a person reaches; people "
        "below it are phantoms where rays of others cross. The second look asks for half of it.",
    )
    joint_threshold: float = Field(
        0.05, ge=0, le=1, description="Support from which a single joint is valid."
    )
    keypoint_threshold: float = Field(
        0.1, ge=0, le=1, description="2D keypoints with a lower score are ignored."
    )
    duplicate_distance: float = Field(
        200.0, ge=0, description="Of two skeletons whose joints are nearer in the mean, mm, one goes."
    )
    floor_tolerance: float = Field(
        300.0,
        ge=0,
        description="A person with a joint farther than this below the floor, mm, is dropped as a "
        "false positive, and counted.",
    )
    second_look: bool = Field(
        True,
        description="Look once more for people, in the 2D people that no skeleton explains, where "
        "two views have some. (Heatmaps of a backbone have no 2D people.)",
    )
    second_look_threshold: float = Field(
        0.05,
        description="Root score that people of the second look exceed, who also fit 2D people in "
        "two views.",
    )
    max_people: int = Field(10, ge=1, description="At most so many people at once.")
    min_cameras: int = Field(2, ge=2, description="Fewer cameras with a frame give no estimate.")
    recenter: bool = Field(
        True,
        description="Run the pose net a second time, centred on its own mid-hip, for people whom "
        "their proposal missed by more than recenter_distance.",
    )
    recenter_distance: float = Field(
        60.0, ge=0, description="Between mid-hip and proposal, mm, from which recenter acts."
    )
    refine: bool = Field(
        True, description="Move joints to the nearby place that the heatmaps agree on."
    )


class PoseEstimator:
    """3D skeletons from synchronized views of one rig.

    Args:
        rig: the calibrated cameras; views are given in their order.
        weights: a shipped name ("universal") or a file.
        device: "auto", "cpu" or "cuda:N".
        detector: name or instance of the 2D detector for images; None where only keypoints come.
            Weights with a backbone of their own do without.
        space: capture space; by default the rig's, else one proposed from the cameras.
        settings: thresholds and limits.
        precision: of the convolutions: "float32", "bfloat16", or "auto", which is bfloat16 where
            the hardware multiplies it natively.

    Raises:
        InputError: for unknown weights, device, detector or precision, or fewer than two cameras.
    """

    def __init__(
        self,
        rig: Rig,
        weights: str | Path = "universal",
        device: str = "auto",
        detector: str | Detector | None = "movenet",
        space: Space | None = None,
        settings: EstimatorSettings = EstimatorSettings(),
        precision: str = "auto",
    ):
        if len(rig.cameras) < 2:
            raise InputError(f"rig '{rig.name}' has {len(rig.cameras)} camera, expected at least 2")
        self.settings = settings
        self.device = select_device(device)
        if self.device.type == "cpu":
            keep_freed_memory()
        self.weights_path = find_weights(weights)
        model = load_weights(self.weights_path, self.device)
        self.model = for_inference(model, select_dtype(precision, self.device))
        self.joint_set = get_joint_set(self.model.config.joint_set_name)
        self._place(rig, space)
        self.detector = None if self._has_backbone else _make_detector(detector, self.joint_set)

    def recalibrated(self, rig: Rig, space: Space | None = None) -> PoseEstimator:
        """An estimator of the same cameras, newly calibrated; it shares model and detector.

        Args:
            rig: the cameras, in the order of before.
            space: as for a new estimator.

        Raises:
            InputError: when these are other cameras.
        """
        if rig.names != self.rig.names:
            raise InputError(
                f"rig '{rig.name}' has the cameras {', '.join(rig.names)}, "
                f"expected {', '.join(self.rig.names)}"
            )
        other = copy.copy(self)
        other._place(rig, space)
        return other

    def _place(self, rig: Rig, space: Space | None) -> None:
        """Everything that follows from the cameras."""
        self.rig = rig
        self.space = space or self._own_space() or rig.space or propose_space(rig)
        self.grid = self.model.proposal_grid(self.space.center, self.space.size)
        self.quarter_turns = upright_turns(rig.cameras)
        self.network_size, self.heatmap_size = self._input_sizes()
        self.views = Views.from_cameras(
            rig.cameras, self.network_size, self.heatmap_size, self.device, self.quarter_turns
        )
        self.sampling = self.model.proposal_sampling(self.views, self.grid, self.heatmap_size)

    @property
    def floor(self) -> float:
        """Height of the floor, mm: the rig's ground or the space's floor, whichever is lower."""
        return min(self.rig.ground, float(self.space.low[2]))

    def description(self) -> dict[str, Any]:
        """What runs: weights, device, kernel, grids, detector; plain values."""
        return {
            "weights": self.weights_path.name,
            "device": str(self.device),
            "voxel_kernel": implementation(self.device),
            "precision": str(self.model.volume_dtype).removeprefix("torch."),
            "detector": "backbone" if self._has_backbone else type(self.detector).__name__,
            "cameras": len(self.rig.cameras),
            "quarter_turns": list(self.quarter_turns),
            "space_center_mm": [round(float(v), 1) for v in self.space.center],
            "space_size_mm": [round(float(v), 1) for v in self.space.size],
            "proposal_voxels": list(self.grid.voxels),
            "person_voxels": list(self.model.config.pict_struct.cube_size),
            "heatmap_size": list(self.heatmap_size),
        }

    def estimate_images(self, images: Sequence[np.ndarray | None]) -> Estimate:
        """Skeletons from one image a camera.

        Args:
            images: BGR uint8 (H, W, 3) in the order of the rig; None: that camera has no frame.

        Raises:
            InputError: naming the camera, when an image is not BGR uint8 of its calibrated size.
        """
        self._check_count(images, "images")
        for camera, image in zip(self.rig.cameras, images, strict=True):
            if image is not None:
                check_image(image, camera)
        if self._has_backbone:
            return self._estimate_with_backbone(images)
        if self.detector is None:
            raise InputError("images given to an estimator without a detector, expected keypoints")
        clock = _Clock()
        present = [index for index, image in enumerate(images) if image is not None]
        given = [images[index] for index in present]
        turns = [self.quarter_turns[index] for index in present]
        detected = detect_upright(self.detector, given, turns) if present else []
        keypoints: list[np.ndarray | None] = [None] * len(images)
        for index, people in zip(present, detected, strict=True):
            keypoints[index] = people
        clock.lap("detector")
        return self._estimate_keypoints(keypoints, clock)

    def estimate_keypoints(self, keypoints: Sequence[np.ndarray | None]) -> Estimate:
        """Skeletons from the 2D people of each camera.

        Args:
            keypoints: (P, J, 3) x, y in pixels of the camera's image, and score, in the order of
                the rig; a keypoint with score 0 is missing; None: that camera has no frame.

        Raises:
            InputError: naming the camera, when an array has another shape or joint count.
        """
        self._check_count(keypoints, "keypoint arrays")
        checked = [
            None if people is None else check_keypoints(people, camera, len(self.joint_set))
            for camera, people in zip(self.rig.cameras, keypoints, strict=True)
        ]
        return self._estimate_keypoints(checked, _Clock())

    @torch.inference_mode()
    def warm_up(self) -> None:
        """Run the networks once on nothing, for the numbers of people that they meet most.

        Libraries choose and compile their kernels at the first call of each shape; without this the
        first frames pay for it.
        """
        width, height = self.heatmap_size
        heatmaps = torch.zeros(1, len(self.views), len(self.joint_set), height, width)
        heatmaps = heatmaps.to(self.device)
        limit = self.settings.max_people
        self.model.propose(
            heatmaps, self.views, self.grid, max_people=limit, sampling=self.sampling
        )
        center = heatmaps.new_tensor(self.grid.center)
        most = min(limit, self._people_at_once)
        for people in sorted({min(bucket, most) for bucket in (*_PEOPLE_BUCKETS, most)}):
            self._poses(heatmaps, self.views, center.expand(people, 3), people)
        if self._has_backbone:
            self.model.backbone(self._network_input([None] * len(self.views)))

    @property
    def _has_backbone(self) -> bool:
        return hasattr(self.model, "backbone")

    def _own_space(self) -> Space | None:
        """The space that fixed-grid weights were trained for; others have none."""
        settings = self.model.config.multi_person
        if settings.voxel_pitch is not None:
            return None
        return Space(settings.space_center, settings.space_size)

    def _input_sizes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Network and heatmap size: the configuration's, or shaped like the rig's images."""
        network = self.model.config.network
        if self.model.config.multi_person.voxel_pitch is None:
            return network.image_size, network.heatmap_size
        sizes = [
            turned_size(camera.image_size, turns)
            for camera, turns in zip(self.rig.cameras, self.quarter_turns, strict=True)
        ]
        aspect = float(np.median([width / height for width, height in sizes]))
        width = 8 * max(1, round((_HEATMAP_AREA * aspect) ** 0.5 / 8))
        height = 8 * max(1, round((_HEATMAP_AREA / aspect) ** 0.5 / 8))
        return (width * _HEATMAP_STRIDE, height * _HEATMAP_STRIDE), (width, height)

    def _check_count(self, views: Sequence, what: str) -> None:
        if len(views) != len(self.rig.cameras):
            raise InputError(
                f"{len(views)} {what} given for rig '{self.rig.name}' of "
                f"{len(self.rig.cameras)} cameras, expected one a camera (None where it has none)"
            )

    def _estimate_keypoints(self, keypoints: list[np.ndarray | None], clock: "_Clock") -> Estimate:
        present = [people is not None for people in keypoints]
        if sum(present) < self.settings.min_cameras or self._too_few_views(keypoints):
            return Estimate([], keypoints, self._names(present), clock.laps)
        skeletons, below = self._find_people(keypoints, present, self._first_look, clock)
        if self.settings.second_look:
            again, below_again = self._look_again(skeletons, keypoints, present, clock)
            skeletons = without_doubles(skeletons + again, self.settings.duplicate_distance)
            skeletons = skeletons[: self.settings.max_people]
            # Both looks find the same person below the floor.
            below = without_doubles(below + below_again, self.settings.duplicate_distance)
        skeletons = self._without_borrowed(skeletons, keypoints)
        clock.lap("poses")
        return Estimate(skeletons, keypoints, self._names(present), clock.laps, below)

    @torch.inference_mode()
    def _find_people(
        self,
        keypoints: list[np.ndarray | None],
        present: Sequence[bool],
        look: "_Look",
        clock: "_Clock",
    ) -> tuple[list[Skeleton], list[Skeleton]]:
        """People, and those whom the floor rule drops."""
        xy, scores = self._heatmap_points(keypoints)
        heatmaps = render_keypoints(xy, scores, self.heatmap_size)
        clock.lap("heatmaps", self.device)

        def with_peaks_of_one() -> torch.Tensor:
            peaks = render_keypoints(xy, (scores > 0).to(scores.dtype), self.heatmap_size)
            clock.lap("heatmaps", self.device)
            return peaks

        # Original configurations come from training with scores.
        original = self.model.config.multi_person.voxel_pitch is None
        peaks = None if original else with_peaks_of_one
        with unchanged_heatmaps():
            return self._run_networks(heatmaps, peaks, present, look, clock)

    def _look_again(
        self,
        skeletons: list[Skeleton],
        keypoints: list[np.ndarray | None],
        present: Sequence[bool],
        clock: "_Clock",
    ) -> tuple[list[Skeleton], list[Skeleton]]:
        """People in the 2D detections that no skeleton explains, and those below the floor.

        Without their neighbours' joints, those stand out who were too near to others or too faint,
        and rays of people already found no longer cross. So a low root score is enough, if the
        skeleton is the image of 2D people in two views.
        """
        cameras, least_score = self.rig.cameras, self.settings.keypoint_threshold
        rest = unexplained_people(cameras, self._joints(skeletons), keypoints, least_score)
        if not may_be_inside(cameras, rest, self.space, least_score):
            return [], []
        most = min(self.settings.max_people, sum(len(p) for p in rest if p is not None))
        # Less support, too: the mean over many views is low for people whom two of them detect.
        least_support = self.settings.support_threshold / 2
        look = _Look(self.settings.second_look_threshold, least_support, most)
        found = self._find_people(rest, present, look, clock)

        def fitting(skeletons: list[Skeleton]) -> list[Skeleton]:
            views = explained_views(cameras, self._joints(skeletons), rest, least_score)
            return [s for s, count in zip(skeletons, views, strict=True) if count >= 2]

        above, below = map(fitting, found)
        return above, below

    def _without_borrowed(
        self, skeletons: list[Skeleton], keypoints: list[np.ndarray | None]
    ) -> list[Skeleton]:
        """Drop phantoms where rays of others cross: all that they fit is somebody else's image."""
        least_score = self.settings.keypoint_threshold
        owned = owned_views(self.rig.cameras, self._joints(skeletons), keypoints, least_score)
        return [s for s, count in zip(skeletons, owned, strict=True) if count]

    @property
    def _first_look(self) -> "_Look":
        settings = self.settings
        return _Look(settings.proposal_threshold, settings.support_threshold, settings.max_people)

    def _joints(self, skeletons: list[Skeleton]) -> np.ndarray:
        """(S, J, 3), mm."""
        return np.array([s.joints for s in skeletons]).reshape(-1, len(self.joint_set), 3)

    def _estimate_with_backbone(self, images: Sequence[np.ndarray | None]) -> Estimate:
        clock = _Clock()
        present = [image is not None for image in images]
        nothing: list[np.ndarray | None] = [None] * len(images)
        if sum(present) < self.settings.min_cameras:
            return Estimate([], nothing, self._names(present), clock.laps)
        with torch.inference_mode():
            heatmaps = self.model.backbone(self._network_input(images))[None]
            clock.lap("backbone", self.device)
            with unchanged_heatmaps():
                skeletons, below = self._run_networks(
                    heatmaps, None, present, self._first_look, clock
                )
        return Estimate(skeletons, nothing, self._names(present), clock.laps, below)

    def _network_input(self, images: Sequence[np.ndarray | None]) -> torch.Tensor:
        """(V, 3, H, W) normalized and upright; zeros for an absent view."""
        width, height = self.network_size
        batch = torch.zeros(len(images), 3, height, width, device=self.device)
        for index, image in enumerate(images):
            if image is None:
                continue
            image = turn_image(image, self.quarter_turns[index])
            if self.device.type == "cpu":
                warped = torch.from_numpy(warp_to_network(image, self.network_size))
            else:
                # From pinned memory images travel while the next one is read.
                pinned = torch.from_numpy(image).pin_memory()
                on_device = pinned.to(self.device, non_blocking=True)
                warped = warp_on_device(on_device, self.network_size)
            batch[index] = normalize(warped)
        return batch

    def _too_few_views(self, keypoints: Sequence[np.ndarray | None]) -> bool:
        """Nobody can be located: fewer than two views have a usable keypoint."""
        threshold = self.settings.keypoint_threshold
        usable = [
            people is not None and bool(usable_joints(people, threshold).any())
            for people in keypoints
        ]
        return sum(usable) < 2

    def _names(self, present: Sequence[bool]) -> tuple[str, ...]:
        return tuple(c.name for c, p in zip(self.rig.cameras, present, strict=True) if p)

    def _heatmap_points(
        self, keypoints: Sequence[np.ndarray | None]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(1, V, P, J, 2) heatmap pixels of all 2D people, and (1, V, P, J) their scores, 0 where a
        keypoint does not count."""
        joints = len(self.joint_set)
        most = max((len(people) for people in keypoints if people is not None), default=0)
        padded = np.zeros((1, len(keypoints), max(most, 1), joints, 3), dtype=np.float32)
        for index, people in enumerate(keypoints):
            if people is not None and len(people):
                padded[0, index, : len(people)] = people
        points = torch.from_numpy(padded).to(self.device)
        affine = self.views.to_heatmap[:, :, None, None]
        xy = (affine[..., :2] @ points[..., :2, None])[..., 0] + affine[..., 2]
        return xy, points[..., 2] * (points[..., 2] >= self.settings.keypoint_threshold)

    def _run_networks(
        self,
        heatmaps: torch.Tensor,
        draw_peaks: Callable[[], torch.Tensor] | None,
        present: Sequence[bool],
        look: "_Look",
        clock: "_Clock",
    ) -> tuple[list[Skeleton], list[Skeleton]]:
        """People found in heatmaps (1, V, J, H, W) whose peaks are scores, and those below the floor.

        Whether somebody is there is a matter of confidence. Where the joints are of somebody who is,
        is not: with scores for peaks, forearms that few views show are drawn to the trunk. So joints
        are looked for in heatmaps with peaks of 1, if `draw_peaks` makes some.
        """
        # Not kept for each set of cameras: small tensors that stay between the large ones of a
        # frame leave holes in the heap, a third of the process's memory after some minutes.
        views = self.views if all(present) else self.views.with_present(present)
        proposals = self.model.propose(
            heatmaps, views, self.grid, look.threshold, self.settings.max_people, self.sampling
        )
        # The strongest come first: the valid ones are the first so many.
        count = min(int(proposals.valid[0].sum()), look.max_people)
        clock.lap("proposals", self.device)
        if count == 0:
            clock.lap("poses")
            return [], []
        people = self._bucket(count, proposals.centers.shape[1])
        peaks = draw_peaks() if draw_peaks else heatmaps
        joints = self._poses(peaks, views, proposals.centers[0, :people], count)
        support = joint_heat(joints, heatmaps, views)
        # One transfer from the device for all that there is to know.
        scores = proposals.scores[0, :people, None]
        answer = torch.cat([joints.flatten(1), support, scores], dim=1)[:count].cpu()
        clock.lap("poses")
        found = supported(self._skeletons(answer.numpy()), look.least_support)
        above, below = split_at_floor(found, self.floor - self.settings.floor_tolerance)
        distance = self.settings.duplicate_distance
        return without_doubles(above, distance), without_doubles(below, distance)

    def _bucket(self, count: int, most: int) -> int:
        """How many people are computed for `count` of them."""
        if self.device.type == "cpu":
            return count
        return min(most, next((b for b in _PEOPLE_BUCKETS if b >= count), most))

    def _poses(
        self, heatmaps: torch.Tensor, views: Views, centers: torch.Tensor, count: int
    ) -> torch.Tensor:
        """(P, J, 3) joints, mm, of people at centers (P, 3); the first `count` are there."""
        joints = self._regress(heatmaps, views, centers)
        if self.settings.recenter:
            joints = self._recenter(joints, heatmaps, views, centers, count)
        if self.settings.refine:
            joints = refine_joints(joints, heatmaps, views, self.settings.joint_threshold)
        return joints

    def _recenter(
        self,
        joints: torch.Tensor,
        heatmaps: torch.Tensor,
        views: Views,
        centers: torch.Tensor,
        count: int,
    ) -> torch.Tensor:
        """The joints (P, J, 3) again, in boxes around their mid-hips, of those far from `centers`."""
        roots = joints[:, list(self.joint_set.root)].mean(dim=1)
        gaps = (roots - centers).norm(dim=1)
        gaps[count:] = 0.0
        # To wait for a GPU's answer costs far less than to regress everybody again.
        moved = int((gaps > self.settings.recenter_distance).sum())
        if moved:
            farthest = gaps.topk(self._bucket(moved, len(gaps))).indices
            again = self._regress(heatmaps, views, roots[farthest])
            far = gaps[farthest] > self.settings.recenter_distance
            joints[farthest] = torch.where(far[:, None, None], again, joints[farthest])
        return joints

    @property
    def _people_at_once(self) -> int:
        if self.device.type != "cpu":
            return self.settings.max_people
        return max(1, _VOXELS_AT_ONCE // math.prod(self.model.config.pict_struct.cube_size))

    def _regress(self, heatmaps: torch.Tensor, views: Views, centers: torch.Tensor) -> torch.Tensor:
        parts = [
            self.model.regress(heatmaps, views, part, torch.zeros_like(part[:, 0], dtype=torch.long))
            for part in centers.split(self._people_at_once)
        ]
        return torch.cat(parts)

    def _skeletons(self, answer: np.ndarray) -> list[Skeleton]:
        """Of rows (P, 4 J + 1) that hold joints, their support, and the root score."""
        count = len(self.joint_set)
        joints = answer[:, : 3 * count].reshape(-1, count, 3).astype(np.float64)
        return [
            Skeleton(
                joints=places,
                joint_scores=support,
                joint_valid=support >= self.settings.joint_threshold,
                score=float(np.clip(score, 0, 1)),
            )
            for places, support, score in zip(
                joints, answer[:, 3 * count : -1], answer[:, -1], strict=True
            )
        ]


def _make_detector(detector: str | Detector | None, joint_set: JointSet) -> Detector | None:
    if isinstance(detector, str):
        detector = load_detector(detector)
    if detector is not None and detector.joint_set != joint_set:
        raise InputError(
            f"the detector answers {detector.joint_set.name}, but the weights expect "
            f"{joint_set.name}"
        )
    return detector


@dataclass(frozen=True)
class _Look:
    """What a look for people asks of them: root score, support, and to be so many at most."""

    threshold: float | None
    least_support: float
    max_people: int


class _Clock:
    """Milliseconds of one stage after the other."""

    def __init__(self):
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str, device: torch.device | None = None) -> None:
        if device is not None and device.type == "cuda":
            torch.cuda.synchronize(device)
        now = time.perf_counter()
        self.laps[stage] = self.laps.get(stage, 0.0) + (now - self._last) * 1e3
        self._last = now
