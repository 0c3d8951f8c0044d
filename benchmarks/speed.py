#!/usr/bin/env python3
"""Measure the voxel kernel, the stages and whole frames, on this machine's CPU or GPU.

    python benchmarks/speed.py --out benchmark.json

Everything that is compared runs side by side: `plain` is the original's way
(benchmarks/plain_voxelpose.py), timed in the same process; whole frames of it a second time, in a process
whose allocator is as glibc comes, which is how the original runs. The `small` set-up is our preset for
CPUs with its weights; `campus` has the numbers of voxels, views and joints of the original's
prn64_cpn80x80x20 configuration, with the same weights, which were not trained for its person grid.
Frames start from heatmaps, but for the parts `keypoints` and `images`. Times are milliseconds.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from plain_voxelpose import plain_frame, plain_volume

from voxelpose_core.allocator import keep_freed_memory
from voxelpose_core.command import Parser, run_command
from voxelpose_core.config import Config
from voxelpose_core.datasets.people import sample_people
from voxelpose_core.devices import select_device
from voxelpose_core.estimator import EstimatorSettings, PoseEstimator
from voxelpose_core.geometry.rig import Rig, load_rig, save_rig
from voxelpose_core.geometry.space import Space
from voxelpose_core.heatmaps import render_keypoints
from voxelpose_core.models.checkpoints import load_weights, save_weights
from voxelpose_core.models.voxelpose import VoxelPose
from voxelpose_core.processor import device_name
from voxelpose_core.ray_runtime import TorchRays
from voxelpose_core.resources import find_resource, find_weights
from voxelpose_core.voxel import (
    Boxes,
    Views,
    feature_volumes,
    implementation,
    sampling_grid,
    torch_reference,
)

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
# No proposal is refused and nobody is dropped afterwards: the number of people is the one asked for.
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


def main() -> int:
    args = parse_args()
    torch.set_num_threads(args.threads or torch.get_num_threads())
    device = select_device(args.device)
    bench = Benchmark(device, args.seconds, args.shrink)
    if args.child:
        print(json.dumps(bench.in_this_process(**json.loads(args.child))))
        return 0
    if device.type == "cpu":
        keep_freed_memory()
    parts = {
        "machine": bench.machine,
        "kernel": bench.kernel,
        "frames": bench.frames,
        "memory": bench.memory,
        "scaling": bench.scaling,
        "keypoints": bench.keypoints,
        "images": bench.images,
    }
    results: dict[str, Any] = {"device": device_name(device), "threads": torch.get_num_threads()}
    print("on", results["device"], "with", results["threads"], "threads", flush=True)
    for name in args.only or [name for name in parts if name != "images" or device.type == "cuda"]:
        results[name] = parts[name]()
        print_table(name, results[name])
    if args.out:
        args.out.write_text(json.dumps(results, indent=1) + "\n")
    return 0


def parse_args() -> argparse.Namespace:
    parser = Parser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, help="also write the numbers as JSON")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:N")
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's)")
    parser.add_argument("--seconds", type=float, default=1.5, help="approximate duration of each measurement")
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="PART",
        choices=["machine", "kernel", "frames", "memory", "scaling", "keypoints", "images"],
        help="machine, kernel, frames, memory, scaling, keypoints (whole frames by the shipped "
        "weights), images (a backbone; CUDA's default only)",
    )
    parser.add_argument(
        "--shrink", type=int, default=1, help="divide numbers of voxels along each edge, for a try"
    )
    parser.add_argument("--child", metavar="JSON", help=argparse.SUPPRESS)
    return parser.parse_args()


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


class Benchmark:
    """The parts of the benchmark; each gives rows of a table.

    Args:
        device: where to run.
        seconds: how long a measurement takes, about; slow things are run twice at least.
        shrink: divides numbers of voxels along each edge.
    """

    def __init__(self, device: torch.device, seconds: float, shrink: int):
        self.device, self.seconds, self.shrink = device, seconds, shrink

    def machine(self) -> list[dict[str, Any]]:
        """What this ran on."""
        return [
            {
                "device": device_name(self.device),
                "threads": torch.get_num_threads(),
                "torch": torch.__version__,
                "kernel": implementation(self.device),
                "precision": self.scene("small").estimator().description()["precision"],
                "copy_GB_s": round(self.copy_bandwidth(), 1),
            }
        ]

    def kernel(self) -> list[dict[str, Any]]:
        """The voxel op alone, forward and backward, against the plain loop and the reference."""
        rows = []
        bandwidth = self.copy_bandwidth()
        for name, views in (("campus", 3), ("small", 3), ("campus", 5)):
            scene = self.scene(name, views)
            person = scene.config.pict_struct
            boxes = {
                "proposals": (scene.views.C.new_tensor([scene.grid.center]), scene.grid),
                "people": (scene.centers, None),
            }
            for what, (centers, grid) in boxes.items():
                size = grid.size if grid else person.grid_size
                voxels = grid.voxels if grid else person.cube_size
                rows.append(
                    {"grid": f"{name} {what}", "boxes": len(centers), "views": views}
                    | self._kernel_row(scene, centers, size, voxels, bandwidth)
                )
        return rows

    def _kernel_row(self, scene, centers, size, voxels, bandwidth) -> dict[str, Any]:
        boxes = Boxes.in_one_scene(centers, size, voxels)
        arguments = (scene.views, boxes)
        maps = list(scene.heatmaps.unbind(1))
        # As those of a backbone, which are nowhere exactly zero.
        dense = scene.heatmaps.clamp(min=1e-3)
        leaf = scene.heatmaps.clone().requires_grad_()
        half = {"dtype": torch.bfloat16, "channels_last": True}
        grid = sampling_grid(*arguments, scene.config.network.heatmap_size)
        located = (scene.views, dataclasses.replace(boxes, sampling=grid))

        def loop():
            for center in centers:
                plain_volume(maps, scene.views, center, size, voxels)

        with torch.inference_mode():
            plain = self.time(loop)
            reference = self.time(lambda: torch_reference.feature_volumes(scene.heatmaps, *arguments))
            ours = self.time(lambda: feature_volumes(scene.heatmaps, *arguments))
            on_dense = self.time(lambda: feature_volumes(dense, *arguments))
            inference = self.time(lambda: feature_volumes(scene.heatmaps, *arguments, **half))
            fixed = self.time(lambda: feature_volumes(scene.heatmaps, *located, **half))
        gradients = [
            self.time_backward(lambda op=op: op(leaf, *arguments))
            for op in (torch_reference.feature_volumes, feature_volumes)
        ]
        values = len(centers) * 17 * int(np.prod(voxels))
        moved = 4 * (scene.heatmaps.numel() + values)
        return {
            "plain": plain.median,
            "reference": reference.median,
            "ours": ours.median,
            "times_faster": round(plain.median / ours.median, 1),
            "ours_dense": on_dense.median,
            "times_faster_dense": round(plain.median / on_dense.median, 1),
            "ours_bf16": inference.median,
            "with_grid": fixed.median,
            "GB_s": round(moved / ours.median / 1e6, 1),
            "of_copy_%": round(100 * moved / ours.median / 1e6 / bandwidth),
            "backward_reference": gradients[0].median,
            "backward_ours": gradients[1].median,
        }

    def frames(self) -> list[dict[str, Any]]:
        """Whole frames from heatmaps, ours against the original's way with the same weights."""
        rows = []
        for name in SETUPS:
            scene = self.scene(name)
            plain = self.time(frame_of("plain", scene))
            rows.append({"setup": name, "frame": "plain, our allocator", **plain.row()})
            original = plain
            if self.device.type == "cpu":
                original = Times(self.in_new_process("plain_frames", name)["times"])
                rows.append({"setup": name, "frame": "plain", **original.row()})
            for label, passes in (
                ("ours, the same steps", SAME_STEPS),
                ("ours, as shipped", {"original": False}),
            ):
                estimator = scene.estimator(**passes)
                times, stages = self.time_frames(estimator, scene)
                exact = scene.estimator("float32", **passes)
                rows.append(
                    {"setup": name, "frame": label, **times.row()}
                    | stages
                    | {
                        "times_faster": round(original.median / times.median, 1),
                        "same_allocator": round(plain.median / times.median, 1),
                    }
                    | accuracy(estimator, exact, scene)
                )
        return rows

    def memory(self) -> list[dict[str, Any]]:
        """Peak memory of a frame of the campus set-up above what was held before it."""
        return [
            {"setup": str(self.setup("campus")), "frame": way, "peak_MiB": self.peak_of("campus", way)}
            for way in ("plain", "ours")
        ]

    def peak_of(self, name: str, way: str, **numbers: int) -> int:
        """MiB at the peak of a frame; of a CPU in a process of its own, which has kept nothing."""
        if self.device.type == "cuda":
            return self.in_this_process("memory", name, way, **numbers)["peak_MiB"]
        return self.in_new_process("memory", name, way, **numbers)["peak_MiB"]

    def in_new_process(self, task: str, name: str, way: str = "plain", **numbers: int) -> dict:
        """`in_this_process` of a new one."""
        asked = json.dumps({"task": task, "name": name, "way": way, **numbers})
        command = [sys.executable, __file__, "--child", asked, "--shrink", str(self.shrink)]
        command += ["--device", str(self.device), "--threads", str(torch.get_num_threads())]
        command += ["--seconds", str(self.seconds)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return json.loads(done.stdout.splitlines()[-1])

    def in_this_process(self, task: str, name: str, way: str, **numbers: int) -> dict[str, Any]:
        """What is measured apart: "memory" of a frame, that of a process which gets "keypoints", or the
        times of "plain_frames".

        Args:
            name: of the set-up; of the folder that holds rig and keypoints.
            way: "plain" or "ours"; one of `keypoint_ways`.
            numbers: of views and people.
        """
        if task == "keypoints":
            return {"peak_MiB": self.peak_of_keypoints(name, way)}
        if task == "memory":
            return {"peak_MiB": peak_memory(way, self.setup(name, **numbers), self.device)}
        return {"times": self.time(frame_of("plain", self.scene(name))).values}

    def scaling(self) -> list[dict[str, Any]]:
        """Cost against people and views, of the small set-up as shipped; then against voxels."""
        rows = []
        for views in (3, 5):
            for people in (1, 3, 5, 10):
                rows.append(self._scaling_row("small", views, people))
        rows.append(self._scaling_row("campus", 3, 1))
        return rows

    def _scaling_row(self, name: str, views: int, people: int) -> dict[str, Any]:
        scene = self.scene(name, views, people)
        times, stages = self.time_frames(scene.estimator(original=name != "small"), scene)
        voxels = int(np.prod(scene.setup.proposal_voxels))
        voxels += people * int(np.prod(scene.setup.person_voxels))
        row = {"setup": name, "views": views, "people": people, "voxels": voxels}
        peak = self.peak_of(name, "ours", views=views, people=people)
        return row | times.row() | stages | {"peak_MiB": peak}

    def keypoints(self) -> list[dict[str, Any]]:
        """Whole frames from 2D detections, as the weights ship: the ray model as graphs in onnxruntime
        (on a CPU) and in PyTorch, in turns, and the voxel nets. `peak_MiB` is that of a whole process
        that does nothing else, `load` that of the machine."""
        rows = []
        for views, people in ((3, 3), (5, 10)):
            scene = self.scene("small", views, people)
            estimators = {way: self.keypoint_estimator(way, scene.rig) for way in self.keypoint_ways()}
            frames = {
                way: (lambda e=estimator, s=scene: e.estimate_keypoints(s.keypoints))
                for way, estimator in estimators.items()
            }
            found = {way: len(frame().skeletons) for way, frame in frames.items()}
            # The voxel nets, on their own, because they push the small nets out of the caches.
            voxels = {"voxel nets": frames.pop("voxel nets")}
            times = self.time_in_turns(frames) | self.time_in_turns(voxels)
            for way, (wall, processor) in times.items():
                row = {"way": way, "views": views, "people": people, "found": found[way], **wall.row()}
                row["cpu_ms"] = processor.median
                row["times_faster"] = round(times["rays, PyTorch"][0].median / wall.median, 2)
                row["load"] = round(os.getloadavg()[0], 1)
                rows.append(row | self.keypoint_memory(way, scene))
        return rows

    def keypoint_ways(self) -> list[str]:
        graphs = ["rays, onnxruntime"] if self.device.type == "cpu" else []
        return [*graphs, "rays, PyTorch", "voxel nets"]

    def keypoint_estimator(self, way: str, rig: Rig) -> PoseEstimator:
        """An estimator that finds people in that way, warmed up."""
        weights = "voxelpose" if way == "voxel nets" else "universal"
        estimator = PoseEstimator(rig, weights, str(self.device), None)
        if way == "rays, PyTorch":
            estimator.people.runtime = TorchRays(estimator.model)
        estimator.warm_up()
        return estimator

    def keypoint_memory(self, way: str, scene: Scene) -> dict[str, int]:
        """Peak of a new process that computes some frames; of CPUs only."""
        if self.device.type != "cpu":
            return {}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "keypoints.npz"
            np.savez(path, *scene.keypoints)
            save_rig(scene.rig, Path(folder) / "rig.yaml")
            return self.in_new_process("keypoints", folder, way)

    def peak_of_keypoints(self, folder: str, way: str) -> int:
        """MiB of this process at its peak."""
        rig = load_rig(Path(folder) / "rig.yaml")
        with np.load(Path(folder) / "keypoints.npz") as file:
            keypoints = [file[name] for name in file.files]
        estimator = self.keypoint_estimator(way, rig)
        for _ in range(20):
            estimator.estimate_keypoints(keypoints)
        return round(memory_of_process("VmHWM") / 2**20)

    def images(self) -> list[dict[str, Any]]:
        """Whole frames from images: PoseResNet-50 (random weights) at 960x512, five views; and this
        backbone alone, as it is trained and as it infers."""
        rows = []
        for people in (1, 4, 10):
            setup = Setup((80, 80, 20), (64, 64, 64), 5, people).shrunk(self.shrink)
            scene = Scene(setup, self.device, backbone="pose_resnet")
            estimator = scene.estimator()
            estimator.warm_up()
            random = np.random.default_rng(0)
            images = [
                random.integers(0, 255, (*camera.image_size[::-1], 3), np.uint8)
                for camera in scene.rig.cameras
            ]
            if not rows:
                rows += self._backbone_rows(scene, estimator)
            times = self.time(lambda e=estimator, i=images: e.estimate_images(i))
            rows.append({"what": "frame", "views": 5, "people": people, **times.row()})
        return rows

    def _backbone_rows(self, scene: Scene, estimator: PoseEstimator) -> list[dict[str, Any]]:
        width, height = scene.config.network.image_size
        batch = torch.rand(scene.setup.views, 3, height, width, device=self.device)
        rows = []
        with torch.inference_mode():
            for what, model in (("as trained", scene.model), ("inference", estimator.model)):
                times = self.time(lambda m=model: m.backbone(batch))
                rows.append({"what": f"backbone, {what}", "views": len(batch), **times.row()})
        return rows

    def setup(self, name: str, views: int = 3, people: int = 3) -> Setup:
        return replace(SETUPS[name], views=views, people=people).shrunk(self.shrink)

    def scene(self, name: str, views: int = 3, people: int = 3) -> Scene:
        return Scene(self.setup(name, views, people), self.device)

    def time_frames(self, estimator: PoseEstimator, scene: Scene) -> tuple[Times, dict[str, float]]:
        """Of frames from heatmaps, and the medians of their stages."""
        estimator.warm_up()
        laps: list[dict[str, float]] = []
        self.time(lambda: laps.append(estimator.estimate_keypoints(scene.keypoints).timings_ms))
        laps = laps[1:]
        stages = {key: [lap[key] for lap in laps] for key in ("proposals", "poses")}
        total = [sum(values) for values in zip(*stages.values(), strict=True)]
        medians = {key: round(float(np.median(values)), 2) for key, values in stages.items()}
        return Times(total), medians

    def time(self, function: Callable[[], Any], prepare: Callable[[], Any] | None = None) -> Times:
        """Run a function again and again; the first run does not count."""
        times: list[float] = []
        until = None
        while until is None or len(times) < 2 or (time.perf_counter() < until and len(times) < 500):
            argument = prepare() if prepare else None
            self.synchronize()
            start = time.perf_counter()
            function(argument) if prepare else function()
            self.synchronize()
            elapsed = time.perf_counter() - start
            if until is None:
                until = time.perf_counter() + self.seconds
            else:
                times.append(elapsed * 1e3)
        return Times(times)

    def time_in_turns(self, functions: dict[str, Callable[[], Any]]) -> dict[str, tuple[Times, Times]]:
        """Wall and processor time of functions that are run in turns, so that other load on the machine
        meets all of them; the first three rounds do not count."""
        wall: dict[str, list[float]] = {name: [] for name in functions}
        processor: dict[str, list[float]] = {name: [] for name in functions}
        until = time.perf_counter() + self.seconds * len(functions)
        rounds = 0
        while rounds < 5 or (time.perf_counter() < until and rounds < 500):
            for name, function in functions.items():
                self.synchronize()
                start, used = time.perf_counter(), time.process_time()
                function()
                self.synchronize()
                wall[name].append((time.perf_counter() - start) * 1e3)
                processor[name].append((time.process_time() - used) * 1e3)
            rounds += 1
        return {name: (Times(wall[name][3:]), Times(processor[name][3:])) for name in functions}

    def time_backward(self, forward: Callable[[], torch.Tensor]) -> Times:
        gradient = torch.rand_like(forward())
        return self.time(lambda volumes: volumes.backward(gradient), prepare=forward)

    def synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def copy_bandwidth(self) -> float:
        """GB/s that a plain copy reads and writes, of more than caches hold."""
        source = torch.rand(2**26 if self.device.type == "cuda" else 2**25, device=self.device)
        target = torch.empty_like(source)
        best = min(self.time(lambda: target.copy_(source)).values)
        return 2 * source.numel() * source.element_size() / best / 1e6


@dataclass(frozen=True)
class Times:
    """Milliseconds of runs of the same thing."""

    values: list[float]

    @property
    def median(self) -> float:
        return round(float(np.median(self.values)), 2)

    def row(self) -> dict[str, float]:
        p95 = round(float(np.percentile(self.values, 95)), 2)
        return {"p50": self.median, "p95": p95, "per_second": round(1e3 / self.median, 1)}


def accuracy(estimator: PoseEstimator, exact: PoseEstimator, scene: Scene) -> dict[str, Any]:
    """Distances, mm, of the joints of people who were found from where float32 puts them, and from
    the truth. With proposals that nobody refuses some skeletons are false positives: they do not count."""
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


def memory_of_process(field: str) -> int:
    """Bytes that this process holds (VmRSS) or held at most (VmHWM), on Linux.

    getrusage's peak would include that of the process that started this one.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(field))


def print_table(title: str, rows: list[dict[str, Any]]) -> None:
    """Columns that are as wide as what they hold."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    cells = [keys, *([str(row.get(key, "")) for key in keys] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(keys))]
    print(f"\n{title}")
    for line in lines_of(cells, widths):
        print(line, flush=True)


def lines_of(cells: list[list[str]], widths: list[int]) -> Iterator[str]:
    for row in cells:
        yield "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))


if __name__ == "__main__":
    sys.exit(run_command(main))
