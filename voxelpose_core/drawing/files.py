"""Pictures and videos as files."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np

from voxelpose_core.atomic_files import writing
from voxelpose_core.errors import InputError

# OpenCV does not tell that a disk is full: its free bytes are looked at after so many pictures, and enough
# are left for the index at the end of the video, and for other files.
_LOOKED_EVERY, _RESERVE_BYTES = 10, 16_000_000


class VideoWriter:
    """Writes pictures as an MP4 file, for use in a with statement.

    Args:
        path: the file; its folder must exist.
        fps: pictures a second.

    Raises:
        InputError: the file cannot be written.
    """

    def __init__(self, path: Path | str, fps: float):
        self._path = Path(path)
        self._fps = fps
        self._writer: cv2.VideoWriter | None = None
        self._count = 0
        if not self._path.parent.is_dir():
            raise InputError(f"{self._path}: folder '{self._path.parent}' does not exist")

    def write(self, picture: np.ndarray) -> None:
        """Append a picture (H, W, 3) BGR uint8; the first one sets the size, even numbers.

        Raises:
            InputError: when the video cannot be written.
        """
        self._check_disk()
        if self._writer is None:
            size = (picture.shape[1], picture.shape[0])
            self._writer = cv2.VideoWriter(str(self._path), cv2.VideoWriter.fourcc(*"mp4v"), self._fps, size)
            if not self._writer.isOpened():
                self._writer = None
                raise InputError(f"{self._path}: cannot be written, expected an .mp4 file")
        self._writer.write(picture)
        self._count += 1

    def _check_disk(self) -> None:
        """End the video while there is room for its end."""
        if self._count % _LOOKED_EVERY or shutil.disk_usage(self._path.parent).free >= _RESERVE_BYTES:
            return
        self.close()
        pictures = f"{self._count} picture{'s' * (self._count != 1)}"
        raise InputError(f"{self._path}: the disk is full: the video ends after {pictures}")

    def close(self) -> None:
        """Finish the file; InputError where it cannot be read back (OpenCV does not say why)."""
        if self._writer is None:
            return
        self._writer.release()
        self._writer = None
        capture = cv2.VideoCapture(str(self._path))
        readable = capture.read()[0]
        capture.release()
        if not readable:
            self._path.unlink(missing_ok=True)
            raise InputError(f"{self._path}: the video could not be finished: is the disk full?")

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def write_image(path: Path | str, picture: np.ndarray) -> None:
    """Write a picture (H, W, 3) BGR uint8 as PNG or JPEG; InputError where that fails."""
    path = Path(path)
    try:
        encoded, data = cv2.imencode(path.suffix, picture)
    except cv2.error:  # an ending that names no image format
        encoded = False
    if not encoded:
        raise InputError(f"{path}: cannot be written, expected a .png or .jpg file")
    with writing(path) as partial:
        partial.write_bytes(data.tobytes())
