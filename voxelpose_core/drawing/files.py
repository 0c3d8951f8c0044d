"""Pictures and videos as files."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from voxelpose_core.errors import InputError


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
        if not self._path.parent.is_dir():
            raise InputError(f"{self._path}: folder '{self._path.parent}' does not exist")

    def write(self, picture: np.ndarray) -> None:
        """Append a picture (H, W, 3) BGR uint8; the first one sets the size, even numbers.

        Raises:
            InputError: when the video cannot be written.
        """
        if self._writer is None:
            size = (picture.shape[1], picture.shape[0])
            self._writer = cv2.VideoWriter(str(self._path), cv2.VideoWriter.fourcc(*"mp4v"), self._fps, size)
            if not self._writer.isOpened():
                self._writer = None
                raise InputError(f"{self._path}: cannot be written, expected an .mp4 file")
        self._writer.write(picture)

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
            raise InputError(f"{self._path}: the video could not be finished: is the disk full?")

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def write_image(path: Path | str, picture: np.ndarray) -> None:
    """Write a picture (H, W, 3) BGR uint8 as PNG or JPEG; InputError where that fails."""
    try:
        written = cv2.imwrite(str(path), picture)
    except cv2.error:  # an ending that names no image format
        written = False
    if not written:
        raise InputError(
            f"{path}: cannot be written, expected a .png or .jpg file on a disk that is not full"
        )
