"""Why a video does not open, as far as its file tells."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


def damage_of(path: Path) -> str:
    """What is wrong with a video that could not be opened, for a message after its name."""
    try:
        if not path.stat().st_size:
            return "is an empty file"
        with path.open("rb") as file:
            boxes = set(_boxes(file))
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if b"ftyp" in boxes and b"moov" not in boxes:
        return "was not finished by its recorder (MP4 without its index, 'moov'): repair or export it"
    return "cannot be read"


def _boxes(file: BinaryIO) -> Iterator[bytes]:
    """Types of the outermost boxes of an MP4 or QuickTime file (ISO/IEC 14496-12, 4.2)."""
    while len(head := file.read(8)) == 8:
        size, kind = struct.unpack(">I4s", head)
        yield kind
        left = size - 8
        if size == 1:
            (size,) = struct.unpack(">Q", file.read(8).ljust(8, b"\0"))
            left = size - 16
        # 0: to the end of the file.
        if left < 0:
            return
        file.seek(left, 1)
