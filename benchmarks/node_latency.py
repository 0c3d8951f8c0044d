#!/usr/bin/env python3
"""How long after the last message of a frame set the node's skeletons arrive, and its memory.

    python benchmarks/node_latency.py [--cameras 8] [--rate 30] [--people 3] [--seconds 30]

needs this package (`. install/setup.bash`). A ring of cameras around walking people publishes 2D keypoints
from this process; the node runs in one of its own, on the CPU, as it ships. Latency is measured by this
process's clock from the publishing of a frame set's last message to the arrival of its skeletons, so it
holds both transports. Frame sets of the first seconds are left out. Prints a table row and, with --out,
writes JSON; ends with exit code 1 when the node died.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import rclpy
import torch
from rclpy.executors import SingleThreadedExecutor
from std_msgs.msg import Header

from voxelpose_core.command import Parser, run_command
from voxelpose_core.datasets.random_rigs import look_at
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.rig import Rig, save_rig
from voxelpose_core.geometry.space import Space
from voxelpose_core.processor import device_name
from voxelpose_core.skeletons import COCO17
from voxelpose_ros import conversions, topics
from voxelpose_ros.msg import Keypoints2DArray, SkeletonArray
from voxelpose_ros.rig_simulator import WalkingPeople, observe

_RING_RADIUS, _RING_HEIGHT = 4500.0, 2300.0
_RECORDED_FRAME_SETS = 150
# Libraries fill their pools and the clocks of both processes settle.
_SETTLING_S = 5.0
_START_S = 120.0


def main() -> int:
    args = parse_args()
    rclpy.init()
    with tempfile.TemporaryDirectory() as folder:
        run = LatencyRun(args, Path(folder))
        try:
            alive = run.measure()
        finally:
            run.close()
            rclpy.try_shutdown()
        report = run.report()
    print(json.dumps(report))
    if args.out:
        Path(args.out).write_text(json.dumps(report, indent=2) + "\n")
    if not alive:
        print(run.log_text, file=sys.stderr)
    return 0 if alive else 1


def parse_args():
    parser = Parser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--cameras", type=int, default=8)
    parser.add_argument("--rate", type=float, default=30.0, help="frame sets per second")
    parser.add_argument("--people", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--weights", default="universal")
    parser.add_argument("--threads", type=int, default=1, help="OMP_NUM_THREADS of the node")
    parser.add_argument("--out", help="JSON to write")
    return parser.parse_args()


def ring(count: int) -> Rig:
    """Cameras around a space of 4 x 4 m that look at its middle."""
    cameras = []
    for index in range(count):
        angle = 2 * np.pi * index / count
        center = np.array([_RING_RADIUS * np.cos(angle), _RING_RADIUS * np.sin(angle), _RING_HEIGHT])
        middle = torch.tensor([0.0, 0.0, 900.0], dtype=torch.float64)
        rotation = look_at(torch.from_numpy(center), middle, torch.zeros(()).double()).numpy()
        K = [[900.0, 0.0, 639.5], [0.0, 900.0, 359.5], [0.0, 0.0, 1.0]]
        cameras.append(Camera(f"cam{index}", (1280, 720), K, np.zeros(5), rotation, center))
    return Rig(tuple(cameras), space=Space((0, 0, 1000), (4000, 4000, 2000)), name="ring")


class LatencyRun:
    """The node's process, the cameras, and what comes back."""

    def __init__(self, args, folder: Path):
        self._args, self._rig = args, ring(args.cameras)
        self._log = folder / "node.txt"
        self._node = rclpy.create_node("latency")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._recording = self._record()
        self._publishers = [
            self._node.create_publisher(Keypoints2DArray, topics.expand(topics.KEYPOINTS_TOPIC, name), 10)
            for name in self._rig.names
        ]
        self._sent: dict[int, float] = {}
        self._latency_ms: dict[int, float] = {}
        self._people: Counter[int] = Counter()
        self._node.create_subscription(SkeletonArray, "/voxelpose/skeletons", self._on_skeletons, 100)
        rig_file = folder / "ring.yaml"
        save_rig(self._rig, rig_file)
        command = [sys.executable, "-m", "voxelpose_ros.node", "--ros-args"]
        for name, value in (
            ("rig_file", rig_file),
            ("input", "keypoints"),
            ("device", "cpu"),
            ("weights", args.weights),
        ):
            command += ["-p", f"{name}:={value}"]
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                command,
                env={**os.environ, "OMP_NUM_THREADS": str(args.threads)},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def log_text(self) -> str:
        """What the node printed."""
        return self._log.read_text() if self._log.exists() else ""

    def measure(self) -> bool:
        """Publish until the time is over; whether the node lives."""
        index, until = 0, time.monotonic() + _START_S
        while not self._latency_ms and time.monotonic() < until and self._process.poll() is None:
            index = self._tick(index)
        until = time.monotonic() + _SETTLING_S
        while time.monotonic() < until and self._process.poll() is None:
            index = self._tick(index)
        self._latency_ms.clear()
        self._sent.clear()
        self._people.clear()
        until = time.monotonic() + self._args.seconds
        while time.monotonic() < until and self._process.poll() is None:
            index = self._tick(index)
        self._peak_mb = self._memory_mb("VmHWM")
        return self._process.poll() is None and bool(self._latency_ms)

    def close(self) -> None:
        """End the node."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._executor.shutdown()
        self._node.destroy_node()

    def report(self) -> dict:
        """Figures."""
        latency = np.array(list(self._latency_ms.values()) or [np.nan])
        return {
            "processor": device_name(torch.device("cpu")),
            "load": [round(load, 1) for load in os.getloadavg()],
            "cameras": len(self._rig),
            "rate_hz": self._args.rate,
            "frame_sets": len(self._sent),
            "answered": len(self._latency_ms),
            "people": dict(sorted(self._people.items())),
            "latency_ms": {f"p{q}": round(float(np.percentile(latency, q)), 1) for q in (50, 95, 99)},
            "peak_MB": self._peak_mb,
        }

    def _record(self) -> list[list[Keypoints2DArray]]:
        people = WalkingPeople(self._rig.space, self._args.people, ground=self._rig.ground)
        noise = np.random.default_rng(0)
        return [
            [
                conversions.keypoints_to_message(
                    observe(people.joints(index / self._args.rate), camera, noise, 2.0, 0.02),
                    camera,
                    COCO17,
                    Header(),
                )
                for camera in self._rig.cameras
            ]
            for index in range(_RECORDED_FRAME_SETS)
        ]

    def _tick(self, index: int) -> int:
        due = time.monotonic() + 1 / self._args.rate
        stamp = self._node.get_clock().now().nanoseconds
        messages = self._recording[index % _RECORDED_FRAME_SETS]
        for publisher, message in zip(self._publishers, messages, strict=True):
            message.header.stamp = conversions.to_stamp(stamp)
            publisher.publish(message)
        self._sent[stamp] = time.monotonic()
        while (left := due - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left)
        return index + 1

    def _on_skeletons(self, message: SkeletonArray) -> None:
        stamp = conversions.to_nanoseconds(message.header.stamp)
        if stamp in self._sent:
            self._latency_ms[stamp] = (time.monotonic() - self._sent[stamp]) * 1e3
            self._people[len(message.skeletons)] += 1

    def _memory_mb(self, key: str) -> float | None:
        try:
            text = Path(f"/proc/{self._process.pid}/status").read_text()
        except OSError:
            return None
        line = next(line for line in text.splitlines() if line.startswith(key))
        return round(int(line.split()[1]) / 1024, 1)


if __name__ == "__main__":
    sys.exit(run_command(main))
