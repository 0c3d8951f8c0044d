"""When the next frame set is published: by the clock, or when the last one was answered."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from rclpy.duration import Duration
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.publisher import Publisher

from voxelpose_core.errors import InputError
from voxelpose_ros import topics
from voxelpose_ros.conversions import to_nanoseconds
from voxelpose_ros.msg import SkeletonArray

# No new subscriber for so long: discovery is over, even on a busy machine.
_SETTLED_S = 2.0
_FLUSH_S = 2.0


def spin_beside(node: Node, work: Callable[[], None]) -> None:
    """Run `work()` in this thread while another one spins the node."""
    executor = SingleThreadedExecutor()
    executor.add_node(node)

    def spin() -> None:
        try:
            executor.spin()
        except ExternalShutdownException:
            pass

    thread = threading.Thread(target=spin, daemon=True)
    thread.start()
    try:
        work()
    finally:
        executor.shutdown()
        thread.join(timeout=5.0)


def flush(publishers: Sequence[Publisher]) -> None:
    """Wait until reliable subscribers have everything, before the process ends."""
    for publisher in publishers:
        publisher.wait_for_all_acked(Duration(seconds=_FLUSH_S))


class Pace:
    """Ticks at a rate; after a hold-up it goes on from there and does not catch up."""

    def __init__(self, rate: float):
        self._period = 1.0 / rate
        self._next = time.monotonic()

    def wait(self) -> None:
        """Sleep until the next tick."""
        now = time.monotonic()
        if now < self._next:
            time.sleep(self._next - now)
        self._next = max(self._next, now - self._period) + self._period


class Handshake:
    """Waits for whoever estimates: for its subscriptions first, then for each answer.

    Another thread must spin the node.

    Args:
        node: the publishing node.
        topic: topic of the answers, SkeletonArray.
        start_timeout_s: longest wait for the subscriptions.
        step_timeout_s: longest wait for an answer.
    """

    def __init__(self, node: Node, topic: str, start_timeout_s: float, step_timeout_s: float):
        self._node = node
        self._topic = topics.checked(topic)
        self._start_timeout_s = start_timeout_s
        self._step_timeout_s = step_timeout_s
        self._answered = threading.Condition()
        self._last_stamp_ns: int | None = None
        self._subscription = node.create_subscription(
            SkeletonArray, topic, self._on_answer, topics.sensor_qos("reliable", depth=10)
        )

    def wait_for_subscribers(
        self, publishers: Sequence[Publisher], optional: Sequence[Publisher] = ()
    ) -> None:
        """Return when whoever is there to listen hears everything.

        Args:
            publishers: each needs a subscriber.
            optional: these do not.

        Raises:
            InputError: naming the topic, when that takes too long.
        """
        start = changed = time.monotonic()
        known: list[int] = []
        while self._node.context.ok():
            missing = [p.topic_name for p in publishers if not self._is_heard(p, 1)]
            missing += [p.topic_name for p in optional if not self._is_heard(p, 0)]
            if not missing and not self._node.count_publishers(self._topic):
                missing = [self._topic]
            now = time.monotonic()
            before, known = known, [p.get_subscription_count() for p in (*publishers, *optional)]
            if missing or known != before:
                changed = now
            if now - changed > _SETTLED_S:
                return
            if now - start > self._start_timeout_s:
                raise InputError(
                    f"no node at the other end of {(missing or [self._topic])[0]} "
                    f"after {now - start:.0f} s, expected the node"
                )
            time.sleep(0.05)

    def _is_heard(self, publisher: Publisher, at_least: int) -> bool:
        """Whether it is connected to every subscription that the graph knows."""
        known = self._node.count_subscribers(publisher.topic_name)
        return publisher.get_subscription_count() >= max(known, at_least)

    def wait_for_answer(self, stamp_ns: int) -> None:
        """Return when skeletons of that frame set or a later one have come, or with a warning."""
        deadline = time.monotonic() + self._step_timeout_s
        with self._answered:
            while self._last_stamp_ns is None or self._last_stamp_ns < stamp_ns:
                if not self._node.context.ok():
                    return
                if time.monotonic() > deadline:
                    self._node.get_logger().warning(
                        f"no answer on {self._topic} within {self._step_timeout_s:g} s"
                    )
                    return
                self._answered.wait(timeout=0.1)

    def _on_answer(self, message: SkeletonArray) -> None:
        with self._answered:
            self._last_stamp_ns = to_nanoseconds(message.header.stamp)
            self._answered.notify_all()
