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
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from plain_voxelpose import plain_volume
from speed_scene import SAME_STEPS, SETUPS, Scene, Setup, accuracy, frame_of, peak_memory
from stopwatch import Stopwatch, Times, memory_of_process, print_table

from voxelpose_core.allocator import keep_freed_memory
from voxelpose_core.command import Parser, run_command
from voxelpose_core.devices import select_device
from voxelpose_core.estimator import PoseEstimator
from voxelpose_core.geometry.rig import Rig, load_rig, save_rig
from voxelpose_core.processor import device_name
from voxelpose_core.ray_runtime import TorchRays
from voxelpose_core.voxel import (
    Boxes,
    feature_volumes,
    implementation,
    sampling_grid,
    torch_reference,
)


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


class Benchmark:
    """The parts of the benchmark; each gives rows of a table.

    Args:
        device: where to run.
        seconds: how long a measurement takes, about; slow things are run twice at least.
        shrink: divides numbers of voxels along each edge.
    """

    def __init__(self, device: torch.device, seconds: float, shrink: int):
        self.device, self.shrink = device, shrink
        self.stopwatch = Stopwatch(device, seconds)

    def machine(self) -> list[dict[str, Any]]:
        """What this ran on."""
        return [
            {
                "device": device_name(self.device),
                "threads": torch.get_num_threads(),
                "torch": torch.__version__,
                "kernel": implementation(self.device),
                "precision": self.scene("small").estimator().description()["precision"],
                "copy_GB_s": round(self.stopwatch.copy_bandwidth(), 1),
            }
        ]

    def kernel(self) -> list[dict[str, Any]]:
        """The voxel op alone, forward and backward, against the plain loop and the reference."""
        rows = []
        bandwidth = self.stopwatch.copy_bandwidth()
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
            plain = self.stopwatch.time(loop)
            reference = self.stopwatch.time(
                lambda: torch_reference.feature_volumes(scene.heatmaps, *arguments)
            )
            ours = self.stopwatch.time(lambda: feature_volumes(scene.heatmaps, *arguments))
            on_dense = self.stopwatch.time(lambda: feature_volumes(dense, *arguments))
            inference = self.stopwatch.time(lambda: feature_volumes(scene.heatmaps, *arguments, **half))
            fixed = self.stopwatch.time(lambda: feature_volumes(scene.heatmaps, *located, **half))
        gradients = [
            self.stopwatch.backward(lambda op=op: op(leaf, *arguments))
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
            plain = self.stopwatch.time(frame_of("plain", scene))
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
        command += ["--seconds", str(self.stopwatch.seconds)]
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
        return {"times": self.stopwatch.time(frame_of("plain", self.scene(name))).values}

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
            times = self.stopwatch.in_turns(frames) | self.stopwatch.in_turns(voxels)
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
            times = self.stopwatch.time(lambda e=estimator, i=images: e.estimate_images(i))
            rows.append({"what": "frame", "views": 5, "people": people, **times.row()})
        return rows

    def _backbone_rows(self, scene: Scene, estimator: PoseEstimator) -> list[dict[str, Any]]:
        width, height = scene.config.network.image_size
        batch = torch.rand(scene.setup.views, 3, height, width, device=self.device)
        rows = []
        with torch.inference_mode():
            for what, model in (("as trained", scene.model), ("inference", estimator.model)):
                times = self.stopwatch.time(lambda m=model: m.backbone(batch))
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
        self.stopwatch.time(lambda: laps.append(estimator.estimate_keypoints(scene.keypoints).timings_ms))
        laps = laps[1:]
        stages = {key: [lap[key] for lap in laps] for key in ("proposals", "poses")}
        total = [sum(values) for values in zip(*stages.values(), strict=True)]
        medians = {key: round(float(np.median(values)), 2) for key, values in stages.items()}
        return Times(total), medians


if __name__ == "__main__":
    sys.exit(run_command(main))
