#!/usr/bin/env python3
"""Minutes of cameras that die, stutter and jump in time, beside a node that must not mind.

    python3 benchmarks/soak.py [--seconds 900] [--out FILE]

needs this package (`. install/setup.bash`). Simulated cameras of the Shelf rig publish 2D keypoints
at 25 Hz; the node estimates with the shipped weights on the CPU. Every few seconds faults
begin: cameras die, jitter, hold their messages back and release them at once, send rubbish or
everything twice; all clocks jump; the node gets no CPU. Then follows a calm while, in which every
camera must be in the sets again within a second. Ends with exit code 1 when the node died or fell
silent, a camera was not noticed in time, or memory grew.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.executors import SingleThreadedExecutor
from std_msgs.msg import Header

from voxelpose_core.command import Parser, run_command
from voxelpose_core.geometry.rig import load_rig
from voxelpose_core.resources import find_resource
from voxelpose_core.skeletons import COCO17
from voxelpose_ros import conversions, topics
from voxelpose_ros.msg import Keypoints2DArray, SkeletonArray
from voxelpose_ros.rig_simulator import WalkingPeople, observe, walking_space

RATE_HZ = 25.0
FAULTS = ("death", "death", "death", "jitter", "burst", "rubbish", "twice", "clock", "starvation")
CALM_S = 3.0
NOTICED_WITHIN_S = 1.0
SILENT_FOR_S = 60.0
_RECORDED_FRAME_SETS = 250
_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20


@dataclass
class Fault:
    """What is wrong with some cameras (or all) for a while."""

    kind: str
    cameras: tuple[str, ...]
    until_s: float


@dataclass
class Cameras:
    """Publishes what the cameras see, with the faults of the time.

    Attributes:
        shift_ns: by how much the cameras' clocks are off.
        faults: what is wrong now.
    """

    node: rclpy.node.Node
    source: random.Random
    count: int
    shift_ns: int = 0
    faults: list[Fault] = field(default_factory=list)

    def __post_init__(self):
        rig = load_rig(find_resource("config/rigs/shelf.yaml"))
        self.rig = rig.select(rig.names[: self.count])
        self.sent = dict.fromkeys(self.rig.names, 0)
        people = WalkingPeople(walking_space(self.rig), 2, ground=self.rig.ground)
        noise = np.random.default_rng(0)
        self._recording = {camera.name: [] for camera in self.rig.cameras}
        self._publishers = {}
        self._held = {camera.name: [] for camera in self.rig.cameras}
        for camera in self.rig.cameras:
            topic = topics.expand(topics.KEYPOINTS_TOPIC, camera.name)
            self._publishers[camera.name] = self.node.create_publisher(Keypoints2DArray, topic, 10)
            for frame_set in range(_RECORDED_FRAME_SETS):
                seen = observe(people.joints(frame_set / RATE_HZ), camera, noise, 2.0, 0.02)
                message = conversions.keypoints_to_message(seen, camera, COCO17, Header())
                self._recording[camera.name].append(message)

    def publish(self, frame_set: int) -> int:
        """Publish one frame set of all cameras; its stamp in nanoseconds."""
        stamp = self.node.get_clock().now().nanoseconds + self.shift_ns
        for name in self.rig.names:
            kinds = {fault.kind for fault in self.faults if name in fault.cameras}
            if "death" in kinds:
                continue
            message = self._recording[name][frame_set % _RECORDED_FRAME_SETS]
            own = stamp + (self.source.randrange(-6_000_000, 6_000_000) if "jitter" in kinds else 0)
            message.header.stamp = conversions.to_stamp(own)
            message.camera = "nobody" if "rubbish" in kinds else name
            if "burst" in kinds:
                self._held[name].append((frame_set, message.header.stamp))
                continue
            self._release(name)
            for _ in range(1 + ("twice" in kinds)):
                self._send(name, message)
        return stamp

    def _send(self, name: str, message: Keypoints2DArray) -> None:
        self.sent[name] += 1
        self._publishers[name].publish(message)

    def _release(self, name: str) -> None:
        for frame_set, stamp in self._held[name]:
            message = self._recording[name][frame_set % _RECORDED_FRAME_SETS]
            # The message at hand may be the same one.
            kept, message.header.stamp = message.header.stamp, stamp
            self._send(name, message)
            message.header.stamp = kept
        self._held[name].clear()


@dataclass
class Watch:
    """What comes out of the node, and what that says."""

    clock: rclpy.clock.Clock
    outputs: int = 0
    people: Counter[int] = field(default_factory=Counter)
    last_output_s: float = 0.0
    longest_silence_s: float = 0.0
    memory_mb: list[float] = field(default_factory=list)
    noticed_s: list[float] = field(default_factory=list)
    missing_s: list[float] = field(default_factory=list)
    unnoticed: list[str] = field(default_factory=list)
    diagnostics: dict[str, DiagnosticStatus] = field(default_factory=dict)
    _returned: dict[str, int] = field(default_factory=dict)
    _lacking: dict[str, int] = field(default_factory=dict)

    def returned(self, camera: str, stamp_ns: int) -> None:
        """From that stamp on the camera is there again."""
        self._returned[camera] = stamp_ns
        self._lacking.pop(camera, None)

    def on_skeletons(self, message: SkeletonArray) -> None:
        """Take what the node publishes."""
        now = time.monotonic()
        if self.outputs:
            self.longest_silence_s = max(self.longest_silence_s, now - self.last_output_s)
        self.outputs += 1
        self.last_output_s = now
        self.people[len(message.skeletons)] += 1
        stamp = conversions.to_nanoseconds(message.header.stamp)
        for camera, since in list(self._returned.items()):
            if stamp < since:
                continue
            if camera in message.cameras:
                self.noticed_s.append((stamp - since) / 1e9)
                self.missing_s.append((self._lacking.pop(camera, since) - since) / 1e9)
                del self._returned[camera]
            else:
                self._lacking[camera] = stamp

    def on_diagnostics(self, message: DiagnosticArray) -> None:
        """Keep the last word on each camera."""
        self.diagnostics |= {status.name: status for status in message.status}

    def counts(self, camera: str) -> dict[str, int]:
        """What became of the camera's messages, as the node says."""
        status = self.diagnostics.get(f"voxelpose: {camera}", DiagnosticStatus())
        wanted = ("received", "used", "late", "duplicate", "unmatched", "missed")
        return {v.key: int(v.value) for v in status.values if v.key in wanted}

    def calm_is_over(self) -> None:
        """Whoever returned must have been seen, if anything came out at all."""
        for camera, since in self._returned.items():
            if self._lacking.get(camera, since) - since > NOTICED_WITHIN_S * 1e9:
                self.unnoticed.append(camera)
        self._returned.clear()
        self._lacking.clear()


class Soak:
    """The node's process, the cameras, and the plan of faults."""

    def __init__(self, seconds: float, seed: int, cameras: int, folder: Path):
        self._seconds, self._source = seconds, random.Random(seed)
        self._log = folder / "node.txt"
        self.counts: Counter[str] = Counter()
        self._node = rclpy.create_node("soak")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self.cameras = Cameras(self._node, self._source, cameras)
        self.watch = Watch(self._node.get_clock())
        self._node.create_subscription(SkeletonArray, "/voxelpose/skeletons", self.watch.on_skeletons, 100)
        self._node.create_subscription(DiagnosticArray, "/diagnostics", self.watch.on_diagnostics, 100)
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "voxelpose_ros.node", "--ros-args"]
                + ["-p", f"rig_file:={find_resource('config/rigs/shelf.yaml')}"]
                + ["-p", f"cameras:=[{', '.join(self.cameras.rig.names)}]"]
                + ["-p", "input:=keypoints", "-p", "device:=cpu", "-p", "qos.depth:=25"]
                + ["-p", "estimator.recenter:=false", "-p", "estimator.refine:=false"],
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def run(self) -> None:
        """Publish, spoil, watch, for the whole time."""
        frame_set = 0
        while self.watch.outputs == 0 and self.process.poll() is None:
            frame_set = self._tick(frame_set)
        start = time.monotonic()
        self.watch.memory_mb.clear()
        while self._alive(start):
            until = time.monotonic() + self._begin_faults()
            while time.monotonic() < until and self._alive(start):
                frame_set = self._tick(frame_set)
            self._end_faults()
            until = time.monotonic() + CALM_S
            while time.monotonic() < until and self._alive(start):
                frame_set = self._tick(frame_set)
            self.watch.calm_is_over()

    def close(self) -> None:
        """End the node."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._executor.shutdown()
        self._node.destroy_node()

    def _alive(self, start: float) -> bool:
        if time.monotonic() - self.watch.last_output_s > SILENT_FOR_S:
            return False
        return self.process.poll() is None and time.monotonic() - start < self._seconds

    def _tick(self, frame_set: int) -> int:
        due = time.monotonic() + 1 / RATE_HZ
        self._stamp = self.cameras.publish(frame_set)
        for fault in list(self.cameras.faults):
            if time.monotonic() >= fault.until_s:
                self._end(fault)
        while (left := due - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left)
        if frame_set % round(RATE_HZ) == 0 and self.process.poll() is None:
            pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
            self.watch.memory_mb.append(pages * _PAGE_MB)
        return frame_set + 1

    def _begin_faults(self) -> float:
        """One to three faults that overlap; how long they last at most, seconds."""
        source, names = self._source, list(self.cameras.rig.names)
        source.shuffle(names)
        longest = source.uniform(2.0, 7.0)
        for kind in source.sample(FAULTS, source.randrange(1, 4)):
            self.counts[kind] += 1
            if kind == "clock":
                self.cameras.shift_ns += round(source.uniform(-20e9, 20e9))
            elif kind == "starvation":
                # Nothing that is measured during the faults needs the node.
                self.process.send_signal(signal.SIGSTOP)
                self._starved = Fault(kind, (), time.monotonic() + source.uniform(0.2, 1.5))
                self.cameras.faults.append(self._starved)
            elif names:
                # At least two cameras stay well.
                afflicted = (names.pop(),) if len(names) > 2 else ()
                until = time.monotonic() + source.uniform(0.5, 1.0) * longest
                self.cameras.faults.append(Fault(kind, afflicted, until))
        return longest

    def _end_faults(self) -> None:
        for fault in list(self.cameras.faults):
            self._end(fault)

    def _end(self, fault: Fault) -> None:
        self.cameras.faults.remove(fault)
        if fault.kind == "starvation":
            self.process.send_signal(signal.SIGCONT)
        elif fault.kind == "death":
            # From the next frame set on.
            for camera in fault.cameras:
                self.watch.returned(camera, self._stamp + 1)

    def report(self) -> dict:
        """Figures and verdict."""
        watch = self.watch
        memory = np.array(watch.memory_mb)
        tenth = max(len(memory) // 10, 1)
        # Python, torch and Fast DDS fill their pools in the first fifth.
        before, after = memory[2 * tenth : 3 * tenth], memory[-tenth:]
        growth = float(np.median(after) / np.median(before) - 1) if len(before) else 0.0
        return {
            "seconds": self._seconds,
            "faults": dict(self.counts),
            "outputs": watch.outputs,
            "people": dict(sorted(watch.people.items())),
            "longest_silence_s": round(watch.longest_silence_s, 2),
            "returns": len(watch.noticed_s),
            "returns_not_noticed_within_1_s": len(watch.unnoticed)
            + sum(missing > NOTICED_WITHIN_S for missing in watch.missing_s),
            "missing_after_return_s_worst": round(max(watch.missing_s, default=0.0), 3),
            "in_an_output_after_return_s_median_worst": [
                round(float(np.median(watch.noticed_s or [0.0])), 3),
                round(max(watch.noticed_s, default=0.0), 3),
            ],
            "memory_mb_after_warm_up_and_at_end": [
                round(float(np.median(before)), 1) if len(before) else None,
                round(float(np.median(after)), 1),
            ],
            "memory_growth": round(growth, 4),
            "memory_mb_every_minute": [round(mb) for mb in watch.memory_mb[::60]],
            "sent": self.cameras.sent,
            "messages": {name: watch.counts(name) for name in self.cameras.rig.names},
            "alive_at_end": self.process.poll() is None,
            "fell_silent": time.monotonic() - watch.last_output_s > SILENT_FOR_S,
            "tracebacks": self._log.read_text().count("Traceback"),
        }


def main() -> int:
    parser = Parser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=900.0)
    parser.add_argument("--cameras", type=int, default=5, help="of the five, 3 to 5")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--memory-growth", type=float, default=0.02, help="largest that passes, after warm-up"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the figures as JSON")
    arguments = parser.parse_args()
    # Speaks to no other process; the node's process inherits it.
    os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 101)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    rclpy.init()
    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(arguments.seconds, arguments.seed, arguments.cameras, Path(folder))
        try:
            soak.run()
            report = soak.report()
        finally:
            soak.close()
            rclpy.try_shutdown()
        if not report["alive_at_end"] or report["tracebacks"]:
            print((Path(folder) / "node.txt").read_text()[-4000:], file=sys.stderr)
    print(json.dumps(report, indent=1))
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=1))
    passed = (
        report["alive_at_end"]
        and not report["fell_silent"]
        and not report["tracebacks"]
        and not report["returns_not_noticed_within_1_s"]
        and report["memory_growth"] <= arguments.memory_growth
    )
    print("passed" if passed else "failed")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(run_command(main))
