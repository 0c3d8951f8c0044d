"""PoseEstimator: images or keypoints of one frame set -> 3D skeletons. The one way in."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from voxelpose_core.additional_joints import AdditionalJoints
from voxelpose_core.allocator import keep_freed_memory
from voxelpose_core.association import usable_joints
from voxelpose_core.detector_joint_sets import completed, mapped_keypoints, missing_joints
from voxelpose_core.detectors import CropDetector, Detector, detect_upright, load_detector
from voxelpose_core.detectors.refinement import RefinedDetector
from voxelpose_core.detectors.regions import Region, people_regions
from voxelpose_core.devices import select_device, select_dtype
from voxelpose_core.errors import InputError
from voxelpose_core.estimator_settings import EstimatorSettings
from voxelpose_core.geometry.coverage import propose_space
from voxelpose_core.geometry.image_turns import upright_turns
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.geometry.space import Space
from voxelpose_core.input_checks import check_image, check_keypoints, check_previous
from voxelpose_core.models.checkpoints import load_weights
from voxelpose_core.models.inference import for_inference
from voxelpose_core.models.ray_pose import RayPose
from voxelpose_core.pose_types import Estimate, Skeleton
from voxelpose_core.ray_people import RayPeople
from voxelpose_core.ray_runtime import ray_runtime
from voxelpose_core.resources import find_weights
from voxelpose_core.selection import floor_of
from voxelpose_core.skeletons import COCO17, JointSet, get_joint_set
from voxelpose_core.stage_clock import StageClock
from voxelpose_core.voxel_people import VoxelPeople


class PoseEstimator:
    """3D skeletons from synchronized views of one rig.

    2D detections may have more joints than the weights: those are triangulated for each skeleton
    that was found (`AdditionalJoints`), and the weights' own joints are what they are without.

    Attributes:
        joint_set: the joints of skeletons, and of the 2D detections of estimates.
        detection_joints: the joints that `estimate_keypoints` expects; see `for_detections`.

    Args:
        rig: the calibrated cameras; views are given in their order.
        weights: a shipped name ("universal") or a file.
        device: "auto", "cpu" or "cuda:N".
        detector: name or instance of the 2D detector for images; None where only keypoints come.
            Weights with a backbone of their own need none.
        space: capture space; by default the rig's, else one proposed from the cameras.
        settings: thresholds and limits.
        precision: of the convolutions: "float32", "bfloat16", or "auto", which is bfloat16 where
            the hardware multiplies it natively.
        refine_detections: refine each 2D detection with a second net on a crop
            (`voxelpose_core.detectors.refinement`): more accurate joints for more time per person.

    Raises:
        InputError: for unknown weights, device, detector or precision, fewer than two cameras, or
            refine_detections without a detector that it can refine.
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
        refine_detections: bool = False,
    ):
        if len(rig.cameras) < 2:
            raise InputError(f"rig '{rig.name}' has {len(rig.cameras)} camera, expected at least 2")
        self.settings = settings
        self.device = select_device(device)
        if self.device.type == "cpu":
            keep_freed_memory()
        self.weights_path = find_weights(weights)
        dtype = select_dtype(precision, self.device)
        self.model = load_weights(self.weights_path, self.device)
        if isinstance(self.model, RayPose):
            self._runtime = ray_runtime(self.model)
        else:
            self.model = for_inference(self.model, dtype)
        self._weights_joints = get_joint_set(self.model.config.joint_set_name)
        self.joint_set = self.detection_joints = self._weights_joints
        self._place(rig, space)
        if self._has_backbone:
            detector = None
        self.detector = (
            load_detector(detector, device=str(self.device)) if isinstance(detector, str) else detector
        )
        if refine_detections:
            self.detector = self._refined_detector()
        if self.detector is not None:
            self._expect(self.detector.joint_set)
        if settings.full_detection_every > 1 and not _detects_crops(self.detector):
            raise InputError(
                f"full_detection_every is {settings.full_detection_every}, but detector "
                f"{_name(self.detector)} has no detect_crops, expected 1"
            )
        # Frame sets since the detector looked at whole images.
        self._since_full = 0

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

    def for_detections(self, joint_set: JointSet) -> PoseEstimator:
        """An estimator of 2D detections with other joints; it shares model and detector.

        Joints are mapped by name. Those of the weights that the detections lack count as not detected.

        Args:
            joint_set: of the keypoints to come.

        Raises:
            InputError: when it lacks joints that the weights need.
        """
        other = copy.copy(self)
        other._expect(joint_set)
        return other

    def _expect(self, joint_set: JointSet) -> None:
        """2D detections of that joint set."""
        self.detection_joints = joint_set
        if joint_set == self._weights_joints:
            self.joint_set = joint_set
        elif self._weights_joints == COCO17:
            self.joint_set = completed(joint_set)
        else:
            missing = missing_joints(joint_set, self._weights_joints)
            if missing:
                raise InputError(
                    f"2D detections are {joint_set.name}, which lacks {', '.join(missing)}: weights "
                    f"'{self.weights_path.name}' expect {self._weights_joints.name}"
                )
            self.joint_set = self._weights_joints
        self._additional = AdditionalJoints(self.rig.cameras, self.joint_set)

    def _place(self, rig: Rig, space: Space | None) -> None:
        """Everything that follows from the cameras."""
        self.rig = rig
        self._additional = AdditionalJoints(rig.cameras, self.joint_set)
        self.quarter_turns = upright_turns(rig.cameras)
        trained_for = None if isinstance(self.model, RayPose) else VoxelPeople.own_space(self.model)
        self.space = space or trained_for or rig.space or propose_space(rig)
        self.people: RayPeople | VoxelPeople
        if isinstance(self.model, RayPose):
            self.people = RayPeople(self.model, rig, self.space, self._runtime)
        else:
            self.people = VoxelPeople(self.model, rig, self.space)

    @property
    def floor(self) -> float:
        """Height of the floor, mm: the rig's ground or the space's floor, whichever is lower."""
        return floor_of(self.rig, self.space)

    def description(self) -> dict[str, Any]:
        """What runs: weights, device, detector, space, and what finds people; plain values."""
        return {
            "weights": self.weights_path.name,
            "device": str(self.device),
            "detector": "backbone" if self._has_backbone else _name(self.detector),
            "cameras": len(self.rig.cameras),
            "quarter_turns": list(self.quarter_turns),
            "space_center_mm": [round(float(v), 1) for v in self.space.center],
            "space_size_mm": [round(float(v), 1) for v in self.space.size],
            **self.people.description(),
        }

    def estimate_images(
        self, images: Sequence[np.ndarray | None], previous: np.ndarray | None = None
    ) -> Estimate:
        """Skeletons from one image per camera.

        Args:
            images: BGR uint8 (H, W, 3) in the order of the rig; None: that camera has no frame.
            previous: as for `estimate_keypoints`.

        Raises:
            InputError: naming the camera, when an image is not BGR uint8 of its calibrated size.
        """
        previous = self._check_previous(previous)
        self._check_images(images)
        if self._has_backbone:
            return self._estimate_with_backbone(images)
        clock = StageClock()
        keypoints = self._detect(images, previous)
        clock.lap("detector")
        return self._estimate_keypoints(self._in_joint_set(keypoints), clock, previous)

    def estimate_keypoints(
        self, keypoints: Sequence[np.ndarray | None], previous: np.ndarray | None = None
    ) -> Estimate:
        """Skeletons from the 2D detections of each camera.

        Args:
            keypoints: (P, J, 3) x, y in pixels of the camera's image, and score, of the joints of
                `detection_joints`, in the order of the rig; a keypoint with score 0 is missing; None:
                that camera has no frame.
            previous: (Q, J, 3), mm, where a tracker expects the joints of its people now
                (`Tracker.predict`). The ray model looks there, too, where no pair of 2D detections
                proposes a person; the voxel nets do not use it.

        Raises:
            InputError: naming the camera, when an array has another shape or joint count.
        """
        previous = self._check_previous(previous)
        self._check_count(keypoints, "keypoint arrays")
        checked = [
            None if people is None else check_keypoints(people, camera, len(self.detection_joints))
            for camera, people in zip(self.rig.cameras, keypoints, strict=True)
        ]
        return self._estimate_keypoints(self._in_joint_set(checked), StageClock(), previous)

    def detect(self, images: Sequence[np.ndarray | None]) -> list[np.ndarray | None]:
        """The 2D detections that `estimate_images` would start from.

        Args:
            images: as for `estimate_images`.

        Returns:
            per camera (P, J, 3) x, y in pixels, and score; None where the camera has no frame.

        Raises:
            InputError: as `estimate_images`, or because there is no 2D detector.
        """
        self._check_images(images)
        return self._detect(images, None)

    def warm_up(self) -> None:
        """Run the networks once on nothing, for the numbers of people that they meet most.

        Libraries choose and compile their kernels at the first call of each shape; without this the
        first frames pay for it.
        """
        self.people.warm_up(self.settings)

    @property
    def _has_backbone(self) -> bool:
        return hasattr(self.model, "backbone")

    def _check_images(self, images: Sequence[np.ndarray | None]) -> None:
        self._check_count(images, "images")
        for camera, image in zip(self.rig.cameras, images, strict=True):
            if image is not None:
                check_image(image, camera)

    def _detect(
        self, images: Sequence[np.ndarray | None], previous: np.ndarray | None
    ) -> list[np.ndarray | None]:
        if self.detector is None:
            raise InputError("images given to an estimator without a detector, expected keypoints")
        present = [index for index, image in enumerate(images) if image is not None]
        given = [image for image in images if image is not None]
        turns = [self.quarter_turns[index] for index in present]
        regions = self._regions(present, previous)
        detected = detect_upright(self.detector, given, turns, regions) if present else []
        keypoints: list[np.ndarray | None] = [None] * len(images)
        for index, people in zip(present, detected, strict=True):
            keypoints[index] = people
        return keypoints

    def _regions(self, present: Sequence[int], previous: np.ndarray | None) -> list[Region] | None:
        """Where the detector looks in each view that has a frame; None: everywhere."""
        every = self.settings.full_detection_every
        if previous is None or len(previous) == 0 or self._since_full + 1 >= every:
            self._since_full = 0
            return None
        self._since_full += 1
        return people_regions([self.rig.cameras[index] for index in present], previous)

    def _refined_detector(self) -> Detector:
        if self._has_backbone:
            raise InputError(
                f"refine_detections: weights '{self.weights_path.name}' have a backbone of their own, "
                "expected weights that take 2D detections"
            )
        if self.detector is None:
            raise InputError("refine_detections: there is no 2D detector to refine, expected images as input")
        return RefinedDetector(self.detector, device=str(self.device))

    def _check_previous(self, previous: np.ndarray | None) -> np.ndarray | None:
        """Poses with the weights' joints (Q, J, 3), mm, of expected ones with the skeletons' joints."""
        previous = check_previous(previous, len(self.joint_set))
        return None if previous is None else self.joint_set.body_part(previous)

    def _check_count(self, views: Sequence, what: str) -> None:
        if len(views) != len(self.rig.cameras):
            raise InputError(
                f"{len(views)} {what} given for rig '{self.rig.name}' of "
                f"{len(self.rig.cameras)} cameras, expected one per camera (None where it has none)"
            )

    def _estimate_keypoints(
        self,
        keypoints: list[np.ndarray | None],
        clock: StageClock,
        previous: np.ndarray | None,
    ) -> Estimate:
        present = [people is not None for people in keypoints]
        if sum(present) < self.settings.min_cameras or self._too_few_views(keypoints):
            return Estimate([], keypoints, self._names(present), clock.laps)
        own = [None if people is None else self.joint_set.body_part(people) for people in keypoints]
        skeletons, below = self.people.find(own, self.settings, clock, previous)
        clock.lap("poses")
        if self.joint_set.additional:
            skeletons = self._with_additional_joints(skeletons, keypoints)
            below = self._with_additional_joints(below, keypoints)
            clock.lap("additional joints")
        return Estimate(skeletons, keypoints, self._names(present), clock.laps, below)

    def _in_joint_set(self, keypoints: Sequence[np.ndarray | None]) -> list[np.ndarray | None]:
        """2D detections with the skeletons' joints; those that the detector lacks are missing."""
        if self.detection_joints == self.joint_set:
            return list(keypoints)
        return [
            None if people is None else mapped_keypoints(people, self.detection_joints, self.joint_set)
            for people in keypoints
        ]

    def _with_additional_joints(
        self, skeletons: list[Skeleton], keypoints: Sequence[np.ndarray | None]
    ) -> list[Skeleton]:
        settings = self.settings
        return self._additional.added(
            skeletons, keypoints, settings.keypoint_threshold, settings.joint_threshold
        )

    def _estimate_with_backbone(self, images: Sequence[np.ndarray | None]) -> Estimate:
        clock = StageClock()
        present = [image is not None for image in images]
        nothing: list[np.ndarray | None] = [None] * len(images)
        if sum(present) < self.settings.min_cameras:
            return Estimate([], nothing, self._names(present), clock.laps)
        assert isinstance(self.people, VoxelPeople)  # ray models have no backbone
        skeletons, below = self.people.find_in_images(images, self.settings, clock)
        return Estimate(skeletons, nothing, self._names(present), clock.laps, below)

    def _too_few_views(self, keypoints: Sequence[np.ndarray | None]) -> bool:
        """No person can be located: fewer than two views have a usable keypoint."""
        threshold = self.settings.keypoint_threshold
        usable = [people is not None and bool(usable_joints(people, threshold).any()) for people in keypoints]
        return sum(usable) < 2

    def _names(self, present: Sequence[bool]) -> tuple[str, ...]:
        return tuple(c.name for c, p in zip(self.rig.cameras, present, strict=True) if p)


def _name(detector: Detector | None) -> str:
    if isinstance(detector, RefinedDetector):
        return f"{_name(detector.detector)}, refined"
    return getattr(detector, "name", type(detector).__name__)


def _detects_crops(detector: Detector | None) -> bool:
    """Whether it can look at parts of images; without a detector there is nothing to look at."""
    if isinstance(detector, RefinedDetector):
        return _detects_crops(detector.detector)
    return detector is None or isinstance(detector, CropDetector)
