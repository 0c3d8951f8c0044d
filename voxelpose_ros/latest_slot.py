"""Hand the newest items from one thread to another. No ROS in here."""

from __future__ import annotations

import threading
from typing import Any


class LatestSlot:
    """Hands the newest item to a worker thread; items that it was too busy for are replaced."""

    def __init__(self):
        self._changed = threading.Condition()
        self._item: Any | None = None
        self._closed = False
        self.replaced = 0

    def put(self, item: Any) -> None:
        """Never waits."""
        with self._changed:
            self.replaced += self._item is not None
            self._item = item
            self._changed.notify()

    def take(self) -> Any | None:
        """Wait for an item; None once the slot is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self._closed)
            item, self._item = self._item, None
            return None if self._closed else item

    def close(self) -> None:
        """Wake the worker for good."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class LatestOfEach:
    """Hands the newest item of each of several sources to a worker thread; the sources take turns."""

    def __init__(self):
        self._changed = threading.Condition()
        self._items: dict[str, Any] = {}
        self._closed = False

    def put(self, source: str, item: Any) -> None:
        """Never waits."""
        with self._changed:
            # A source that waits keeps its place; one that was served queues at the end.
            self._items[source] = item
            self._changed.notify()

    def take(self) -> tuple[str, Any] | None:
        """Wait for an item, of the source that has waited longest; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closed)
            if self._closed:
                return None
            source = next(iter(self._items))
            return source, self._items.pop(source)

    def close(self) -> None:
        """Wake the worker for good."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
