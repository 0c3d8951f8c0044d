#!/usr/bin/env python3
"""Our synchronizer beside message_filters' ApproximateTimeSynchronizer, on the same stream.

    python3 benchmarks/compare_synchronizers.py [--out FILE]

needs a sourced ROS installation with message_filters, and this package (`. install/setup.bash`);
without message_filters only ours is measured. The stream is what N cameras at 30 Hz send: stamps
within +-10 ms of the frame set, up to 30 ms under way, 5 % lost; then the same with one camera dead.
"""

from __future__ import annotations

import heapq
import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from builtin_interfaces.msg import Time

from voxelpose_core.command import Parser, run_command
from voxelpose_core.synchronization.camera_statistics import SECOND
from voxelpose_core.synchronization.synchronizer import Synchronizer

try:
    import message_filters
except ImportError:
    message_filters = None

MS = SECOND // 1000
_START = 1_000 * SECOND
_POLL = 10 * MS


@dataclass(frozen=True)
class Event:
    """A message that reaches the synchronizer."""

    arrival_ns: int
    camera: int
    frame_set: int
    message: SimpleNamespace


def camera_stream(cameras: int, frame_sets: int, seed: int, dead: Sequence[int] = ()) -> list[Event]:
    """The messages of N cameras in the order of their arrival; `dead` cameras send none."""
    source = random.Random(seed)
    events = []
    for frame_set in range(frame_sets):
        for camera in range(cameras):
            jitter, delay = source.uniform(-10, 10), source.uniform(0, 30)
            if source.random() < 0.05 or camera in dead:
                continue
            stamp = _START + round(frame_set * SECOND / 30 + jitter * MS)
            header = SimpleNamespace(
                stamp=Time(sec=stamp // SECOND, nanosec=stamp % SECOND), frame_set=frame_set
            )
            message = SimpleNamespace(header=header)
            events.append(Event(stamp + round(delay * MS), camera, frame_set, message))
    return sorted(events, key=lambda event: event.arrival_ns)


class Source:
    """A filter that the stream comes from."""

    def __init__(self):
        self._callbacks = []

    def registerCallback(self, callback: Callable, *args) -> int:
        """As message_filters.SimpleFilter does."""
        self._callbacks.append((callback, args))
        return len(self._callbacks) - 1

    def send(self, message: SimpleNamespace) -> None:
        """Hand a message on."""
        for callback, args in self._callbacks:
            callback(message, *args)


def run_ours(events: Sequence[Event], cameras: int, slop_ms: float) -> dict[str, float]:
    """What our synchronizer makes of the stream; it is polled every 10 ms as the node does."""
    now = events[0].arrival_ns
    names = [f"camera{index}" for index in range(cameras)]
    synchronizer = Synchronizer(names, slop_s=slop_ms / 1e3, max_wait_s=0.1, min_cameras=2, clock=lambda: now)
    sources = [Source() for _ in names]
    synchronizer.connectInput(sources)
    sets: list[list[int]] = []
    synchronizer.registerCallback(
        lambda found: sets.append([m.header.frame_set for m in found.messages if m is not None])
    )
    polls = range(events[0].arrival_ns, events[-1].arrival_ns + SECOND, _POLL)
    timeline = heapq.merge(
        ((poll, None) for poll in polls),
        ((event.arrival_ns, event) for event in events),
        key=lambda item: item[0],
    )
    durations = []
    for _, event in timeline:
        start = time.thread_time_ns()
        if event is None:
            synchronizer.poll()
        else:
            sources[event.camera].send(event.message)
            durations.append(time.thread_time_ns() - start)
    return _summary(events, cameras, sets, durations)


def run_message_filters(
    events: Sequence[Event], cameras: int, slop_ms: float, queue: int = 10
) -> dict[str, float]:
    """What message_filters' ApproximateTimeSynchronizer makes of the stream."""
    sources = [Source() for _ in range(cameras)]
    synchronizer = message_filters.ApproximateTimeSynchronizer(sources, queue, slop_ms / 1e3)
    sets: list[list[int]] = []
    synchronizer.registerCallback(lambda *found: sets.append([m.header.frame_set for m in found]))
    durations = []
    for event in events:
        start = time.thread_time_ns()
        sources[event.camera].send(event.message)
        durations.append(time.thread_time_ns() - start)
    return _summary(events, cameras, sets, durations)


def _summary(
    events: Sequence[Event], cameras: int, sets: Sequence[Sequence[int]], durations: Sequence[int]
) -> dict[str, float]:
    """Counts, and the thread's own microseconds per message: other processes do not show in them."""
    seen: dict[int, int] = {}
    for event in events:
        seen[event.frame_set] = seen.get(event.frame_set, 0) + 1
    complete = {frame_set for frame_set, count in seen.items() if count == cameras}
    pure = [truths[0] for truths in sets if len(set(truths)) == 1]
    whole = {m[0] for m in sets if len(set(m)) == 1 and len(m) == cameras}
    microseconds = np.array(durations) / 1e3
    return {
        "frame_sets": sum(count >= 2 for count in seen.values()),
        "complete_frame_sets": len(complete),
        "complete_frame_sets_out": len(complete & whole),
        "sets_out": len(sets),
        "pure_sets_out": len(pure),
        "mean_us": round(float(microseconds.mean()), 1),
        "p99_us": round(float(np.percentile(microseconds, 99)), 1),
        "worst_us": round(float(microseconds.max()), 1),
    }


def main() -> int:
    parser = Parser(description=__doc__.split("\n")[0])
    parser.add_argument("--cameras", type=int, nargs="+", default=[3, 5, 8, 16])
    parser.add_argument("--frame-sets", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the figures as JSON")
    arguments = parser.parse_args()
    runs = [("voxelpose_ros, slop 20 ms", run_ours, 20.0)]
    if message_filters is not None:
        runs += [(f"message_filters, slop {slop} ms", run_message_filters, float(slop)) for slop in (33, 66)]
    else:
        print("message_filters is not installed: only ours is measured", file=sys.stderr)
    print(
        "cameras  dead  synchronizer               complete frame sets  complete out  sets out  "
        "of one frame set    mean us   p99 us  worst us"
    )
    rows = []
    for cameras in arguments.cameras:
        for dead in ((), (0,)):
            events = camera_stream(cameras, arguments.frame_sets, arguments.seed, dead)
            for name, run, slop_ms in runs:
                # The product of the queues that message_filters searches explodes with N.
                found = run(events, cameras, slop_ms)
                rows.append({"cameras": cameras, "dead": len(dead), "synchronizer": name, **found})
                print(
                    f"{cameras:7d}  {len(dead):4d}  {name:25s}  {found['complete_frame_sets']:19d}  "
                    f"{found['complete_frame_sets_out']:12d}  {found['sets_out']:8d}  "
                    f"{found['pure_sets_out']:16d}  {found['mean_us']:9.1f}  "
                    f"{found['p99_us']:7.1f}  {found['worst_us']:8.1f}",
                    flush=True,
                )
    if arguments.out:
        arguments.out.write_text(json.dumps(rows, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
