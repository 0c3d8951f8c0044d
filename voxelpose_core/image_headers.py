"""What compressed images say of themselves, before anybody decodes them."""

from __future__ import annotations

import struct


def declared_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) that the header of a JPEG or PNG promises; None of anything else.

    A few kilobytes can hold thousands of millions of black pixels: whoever decodes what others
    send asks first.
    """
    if data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
        return width, height
    position = 2 if data[:2] == b"\xff\xd8" else len(data)
    while position + 9 <= len(data) and data[position] == 0xFF:
        marker, length = struct.unpack(">BH", data[position + 1 : position + 4])
        # Start of frame, of any kind of coding; C4, C8 and CC are tables.
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[position + 5 : position + 9])
            return width, height
        position += 1 if marker == 0xFF else 2 + length
    return None
