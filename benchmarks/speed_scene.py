"""The frame that benchmarks/speed.py measures: standing people in a rig, weights, estimators; its
frames one way and the other, how exact their skeletons are and how much memory they take."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from plain_voxelpose import plain_frame
from stopwatch import memory_of_process

from voxelpose_core.config import Config
from voxelpose_core.datasets.people import sample_people
from voxelpose_core.estimator import EstimatorSettings, PoseEstimator
from voxelpose_core.geometry.rig import Rig, load_rig
from voxelpose_core.geometry.space import Space
from voxelpose_core.heatmaps import render_keypoints
from voxelpose_core.models.checkpoints import load_weights, save_weights
from voxelpose_core.models.voxelpose import VoxelPose
from voxelpose_core.resources import find_resource, find_weights
from voxelpose_core.voxel import Views

# Pitch of the proposal grid that the shipped weights know, and edge of the person grid, mm.
PROPOSAL_PITCH, PERSON_EDGE = 125.0, 2000.0
# The middle of where the cameras of each rig look, mm.
RIGS = {3: ("config/rigs/campus.yaml", (3000.0, 4500.0)), 5: ("config/rigs/shelf.yaml", (450.0, 0.0))}
# Where people stand around it.
PLACES = (
    (0, 0),
    (-1000, 1000),
    (1200, -900),
    (1300, 900),
    (-1200, -700),
    (100, 2000),
    (100, -2000),
    (-2200, 100),
    (2400, 100),
    (-2200, 2000),
)
# No proposal is refused and no person is dropped afterwards: the number of people is the one asked for.
EVERYBODY = {"proposal_threshold": -1e9, "support_threshold": 0.0, "floor_tolerance": 1e9}
# What the original does with a proposal, and no more.
SAME_STEPS = {"recenter": False, "refine": False, "second_look": False}


@dataclass(frozen=True)
class Setup:
    """Numbers of voxels of the two grids, and how many views see how many people."""

    proposal_voxels: tuple[int, int, int]
    person_voxels: tuple[int, int, int]
    views: int = 3
    people: int = 3

    def shrunk(self, factor: int) -> Setup:
        def less(voxels):
            return tuple(max(8, count // factor // 4 * 4) for count in voxels)

        return Setup(less(self.proposal_voxels), less(self.person_voxels), self.views, self.people)

    def __str__(self) -> str:
        voxels = ["x".join(map(str, v)) for v in (self.proposal_voxels, self.person_voxels)]
        return f"{voxels[0]}, person {voxels[1]}, {self.views} views, {self.people} people"


SETUPS = {
    "campus": Setup((80, 80, 20), (64, 64, 64)),
    "small": Setup((48, 48, 12), (32, 32, 32)),
}


class Scene:
    """One frame of standing people in a rig: weights, heatmaps, keypoints, estimators.

    Args:
        setup: grids, views, people.
        device: where to run.
        backbone: name for BACKBONE_MODEL, with random weights; frames then start from images.
    """

    def __init__(self, setup: Setup, device: torch.device, backbone: str = ""):
        file, middle = RIGS[setup.views]
        rig = load_rig(find_resource(file))
        size = [PROPOSAL_PITCH * (count - 1) for count in setup.proposal_voxels]
        # Hips, in the middle of which people are found, lie 0.9 to 1 m high.
        space = Space((*middle, 1000.0), size)
        self.rig = Rig(rig.cameras[: setup.views], name=rig.name, space=space)
        self.setup, self.device = setup, device
        self.joints = people_at(middle, setup.people)
        self.config = self._config(space, backbone)
        self.model = VoxelPose(self.config).eval()
        shipped = load_weights(find_weights("voxelpose")).state_dict()
        self.model.load_state_dict(shipped, strict=not backbone)
        self.model.to(device)
        network = self.config.network
        self.views = Views.from_cameras(self.rig.cameras, network.image_size, network.heatmap_size, device)
        self.keypoints = [self._seen_by(camera) for camera in self.rig.cameras]
        points = torch.tensor(np.stack(self.keypoints), device=device)[None]
        affine = self.views.to_heatmap[:, :, None, None]
        xy = (affine[..., :2] @ points[..., :2, None])[..., 0] + affine[..., 2]
        self.heatmaps = render_keypoints(xy, points[..., 2], network.heatmap_size)
        self.grid = self.model.proposal_grid()
        centers = torch.tensor(self.joints[:, [11, 12]].mean(axis=1), dtype=torch.float32)
        self.centers = centers.to(device)

    def _config(self, space: Space, backbone: str) -> Config:
        network_size = (960, 512) if backbone else (800, 640)
        return Config(
            backbone_model=backbone,
            network={
                "num_joints": 17,
                "image_size": network_size,
                "heatmap_size": tuple(edge // 4 for edge in network_size),
            },
            dataset={"joint_set": "coco17"},
            multi_person={
                "space_size": space.size,
                "space_center": space.center,
                "initial_cube_size": self.setup.proposal_voxels,
            },
            pict_struct={
                "grid_size": (PERSON_EDGE,) * 3,
                "cube_size": self.setup.person_voxels,
            },
        )

    def _seen_by(self, camera) -> np.ndarray:
        """(P, 17, 3) keypoints of a good detector."""
        noise = np.random.default_rng(0).normal(0, 1.0, (*self.joints.shape[:2], 2))
        pixels = [camera.project(joints)[0] for joints in self.joints]
        scores = [0.9 * camera.sees(joints) for joints in self.joints]
        return np.concatenate([np.stack(pixels) + noise, np.stack(scores)[..., None]], axis=-1).astype(
            np.float32
        )

    def estimator(self, precision: str = "auto", original: bool = True, **settings) -> PoseEstimator:
        """The estimator with these weights, for exactly the people of the scene.

        Args:
            precision: see PoseEstimator.
            original: as an original configuration; else as ours, whose weights know a pitch.
            settings: of the estimator.
        """
        settings = {"max_people": self.setup.people, **EVERYBODY, **settings}
        model = copy.copy(self.model)
        if not original:
            space = {"voxel_pitch": PROPOSAL_PITCH}
            grids = model.config.multi_person.model_copy(update=space)
            model.config = model.config.model_copy(update={"multi_person": grids})
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "benchmark.safetensors"
            save_weights(model, path)
            return PoseEstimator(
                self.rig,
                path,
                str(self.device),
                None,
                settings=EstimatorSettings(**settings),
                precision=precision,
            )


def people_at(middle: tuple[float, float], count: int) -> np.ndarray:
    """(P, 17, 3) people who stand around the middle, mm."""
    drawn = sample_people(60 + 20 * count, torch.Generator().manual_seed(3), child_share=0.0)
    drawn = drawn.double().numpy()
    people = drawn[(drawn[:, 0, 2] > 1300) & (drawn[:, 0, 2] < 1750)][:count]
    for joints, place in zip(people, PLACES, strict=False):
        joints[:, :2] += np.array(middle) + place
    return people


def accuracy(estimator: PoseEstimator, exact: PoseEstimator, scene: Scene) -> dict[str, Any]:
    """Distances, mm, of the joints of people who were found from where float32 puts them, and from
    the truth. Where no proposal is refused, some skeletons are false positives: they do not count."""
    ours, theirs = (
        [skeleton.joints for skeleton in e.estimate_keypoints(scene.keypoints).skeletons]
        for e in (estimator, exact)
    )
    if not ours or not theirs:
        return {"found": 0}
    errors, differences = [], []
    for joints in scene.joints:
        reference = min(theirs, key=lambda other: distances(other, joints).mean())
        if distances(reference, joints).mean() < 300.0:
            nearest = min(ours, key=lambda other: distances(other, reference).mean())
            errors.append(distances(nearest, joints).mean())
            differences.append(distances(nearest, reference))
    if not errors:
        return {"found": 0}
    return {
        "found": len(errors),
        "error_mm": round(float(np.mean(errors)), 1),
        "from_float32_mean_mm": round(float(np.mean(differences)), 2),
        "from_float32_max_mm": round(float(np.max(differences)), 2),
    }


def distances(joints: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(J,) mm."""
    return np.linalg.norm(joints - others, axis=1)


def frame_of(way: str, scene: Scene) -> Callable[[], Any]:
    """A frame of the scene, computed "plain" or by "ours"."""
    if way == "plain":
        people = scene.setup.people
        return lambda: plain_frame(scene.model, scene.heatmaps, scene.views, scene.grid, people)
    estimator = scene.estimator()
    return lambda: estimator.estimate_keypoints(scene.keypoints)


def peak_memory(way: str, setup: Setup, device: torch.device) -> int:
    """MiB at the peak of a frame above what is held before it, weights and inputs."""
    frame_of(way, Scene(setup.shrunk(4), device))()  # brings the libraries' code into memory
    frame = frame_of(way, Scene(setup, device))
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        frame()
        peak = torch.cuda.max_memory_allocated(device) - before
    else:
        before = memory_of_process("VmRSS")
        frame()
        peak = memory_of_process("VmHWM") - before
    return round(peak / 2**20)
