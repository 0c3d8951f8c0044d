"""A bag as an iterable of messages; everything that depends on the `rosbags` package."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

from voxelpose_core.bags.definitions import message_definitions
from voxelpose_core.errors import InputError
from voxelpose_core.unreadable import UnreadableFrames

SECOND = 1_000_000_000
# Encapsulation, then std_msgs/Header: seconds and nanoseconds of the stamp come first in CDR.
_STAMP_AT, _STAMP_BYTES = 4, 8
_METADATA = "metadata.yaml"
_STORAGE = (".mcap", ".db3")


@dataclass(frozen=True)
class RawMessage:
    """A message as it is stored.

    Attributes:
        topic: its topic.
        received_ns: when the recorder got it.
        data: CDR bytes, the encapsulation header included.
    """

    topic: str
    received_ns: int
    data: bytes

    @property
    def stamp_ns(self) -> int:
        """Stamp of its std_msgs/Header, with which the message must begin; 0 where it is cut off before."""
        if len(self.data) < _STAMP_AT + _STAMP_BYTES:
            return 0
        order = "<" if self.data[1] & 1 else ">"
        seconds, nanoseconds = struct.unpack_from(f"{order}iI", self.data, _STAMP_AT)
        return seconds * SECOND + nanoseconds


class Bag:
    """A rosbag2 recording that is open; use it with `with`.

    Args:
        path: the folder of a recording, or a single .mcap or .db3 file.

    Raises:
        InputError: the package `rosbags` is missing, or the path is no recording that it can read.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        reader = _any_reader()
        if not self.path.exists():
            raise InputError(f"bag '{path}': does not exist")
        if self.path.suffix == ".bag":
            raise InputError(f"bag '{path}': is of ROS 1, expected rosbag2: rosbags-convert makes one of it")
        if self.path.is_dir() and not (self.path / _METADATA).is_file():
            raise InputError(f"bag '{path}': {_without_metadata(self.path)}")
        try:
            self._reader = reader([self.path], default_typestore=message_types())
            self._reader.open()
        except Exception as error:
            raise InputError(
                f"bag '{path}': cannot be read ({_one_line(error)}), expected "
                f"{_how_to_mend(self.path, str(error))}"
            ) from None

    def __enter__(self) -> Bag:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.close()

    @cached_property
    def types(self) -> dict[str, str]:
        """Message type, such as "sensor_msgs/msg/Image", of each topic that has messages."""
        return {
            connection.topic: connection.msgtype
            for connection in self._reader.connections
            if connection.msgcount > 0
        }

    def messages(self, topics: Collection[str]) -> Iterator[RawMessage]:
        """Messages of these topics in the order in which they were recorded.

        Of a damaged recording those that can be read; a warning (`UnreadableFrames`) tells.
        """
        wanted = [c for c in self._reader.connections if c.topic in topics]
        messages = self._reader.messages(wanted) if wanted else iter(())
        read, reason = 0, ""
        while True:
            try:
                connection, received_ns, data = next(messages)
            except StopIteration:
                break
            # rosbags raises what sqlite3, its parsers and the file system raise, too.
            except Exception as error:
                reason = f" ({_one_line(error)})"
                break
            read += 1
            yield RawMessage(connection.topic, received_ns, bytes(data))
        # Some damage ends rosbags' iteration as if that was all.
        if read < (stated := sum(connection.msgcount for connection in wanted)):
            warnings.warn(
                f"bag '{self.path}': is damaged{reason}: {read} of {stated} messages could be read on "
                f"{', '.join(sorted({connection.topic for connection in wanted}))}",
                UnreadableFrames,
            )

    def first_messages(self, topics: Collection[str]) -> dict[str, RawMessage]:
        """The first message on each of these topics; those that have none are missing."""
        there = set(topics) & set(self.types)
        found: dict[str, RawMessage] = {}
        for message in self.messages(there):
            found.setdefault(message.topic, message)
            if len(found) == len(there):
                break
        return found

    def decoded(self, message: RawMessage) -> Any:
        """An object with the message's fields; sequences of numbers are arrays.

        Raises:
            InputError: naming the topic, where the bytes are not of the topic's type.
        """
        try:
            return self._reader.deserialize(message.data, self.types[message.topic])
        except Exception as error:
            raise InputError(
                f"topic {message.topic}: message cannot be decoded ({_one_line(error)}), "
                f"expected {self.types[message.topic]}"
            ) from None


def is_bag(path: Path | str) -> bool:
    """Whether a path looks like a recording of ROS messages: a folder with metadata.yaml, or one file."""
    return Path(path).suffix in (*_STORAGE, ".bag") or (Path(path) / _METADATA).is_file()


def _storage_files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix in _STORAGE)


def _without_metadata(folder: Path) -> str:
    files = _storage_files(folder)
    if files:
        return (
            f"has no {_METADATA}, which the recorder writes when it ends: `ros2 bag reindex` makes it, or "
            f"give {' or '.join(str(file) for file in files[:2])}"
        )
    return f"is a folder without {_METADATA} and .mcap or .db3 files, expected that of a rosbag2 recording"


def _how_to_mend(path: Path, reason: str) -> str:
    """What is expected instead of a path that cannot be read."""
    if _METADATA in reason:
        return "that of a recording: `ros2 bag reindex` makes it anew"
    suffixes = {file.suffix for file in (_storage_files(path) if path.is_dir() else [path])}
    if ".mcap" in suffixes:
        return "a whole recording: `mcap recover` saves what a cut off .mcap file holds"
    if ".db3" in suffixes:
        return "a whole recording: `sqlite3 FILE.db3 .recover` saves what a damaged file holds"
    return "the folder of a rosbag2 recording, an .mcap or a .db3 file"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _any_reader() -> type[Any]:
    try:
        from rosbags.highlevel import AnyReader
    except ImportError:
        raise InputError("--bag needs the package rosbags: pip install rosbags") from None
    return AnyReader


def message_types() -> Any:
    """A typestore of `rosbags`: the messages of Humble and ours, also for bags that hold no definitions."""
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    store = get_typestore(Stores.ROS2_HUMBLE)
    for name, text in message_definitions().items():
        store.register(get_types_from_msg(text, name))
    return store
