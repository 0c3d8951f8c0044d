"""Timers that run, and stamps that mean something, also while simulated time stands still.

With `use_sim_time`, a node's clock is 0 until the first message on /clock, stops when the bag pauses
and jumps back when it loops; timers on that clock stop with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from builtin_interfaces.msg import Time
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.timer import Timer

from voxelpose_core.findings import Finding, clock_finding

_SAY_AGAIN_S = 10.0


def steady_timer(node: Node, period_s: float, work: Callable[[], None]) -> Timer:
    """A timer on a clock that never stops and never jumps."""
    return node.create_timer(period_s, work, clock=Clock(clock_type=ClockType.STEADY_TIME))


def now_ns(node: Node) -> int:
    """The node's time, ns; 0 before simulated time begins."""
    return node.get_clock().now().nanoseconds


def is_simulated(node: Node) -> bool:
    """Whether the node's time is that on /clock."""
    return node.get_clock().ros_time_is_active


def missing_clock(node: Node) -> Finding | None:
    """Tells that the node waits for simulated time."""
    return clock_finding(is_simulated(node), now_ns(node))


def diagnostics_stamp(node: Node) -> Time:
    """The node's time, or the system's before simulated time begins."""
    now = node.get_clock().now()
    return (now if now.nanoseconds else Clock().now()).to_msg()


def wait_for_time(node: Node) -> None:
    """Return when the node's clock runs, with a warning every 10 s until then.

    Another thread must spin the node.
    """
    say_again = 0.0
    while node.context.ok() and (missing := missing_clock(node)) is not None:
        if time.monotonic() >= say_again:
            node.get_logger().warning(missing.text)
            say_again = time.monotonic() + _SAY_AGAIN_S
        time.sleep(0.05)
