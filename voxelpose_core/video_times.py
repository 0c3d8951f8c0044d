"""Videos with a variable frame rate: frames go by the time stamps of their containers."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from voxelpose_core.unreadable import Unreadable

# So many frames tell whether a video has a constant rate: its header has the mean over all frames, so that
# frames that are missing anywhere make the first ones come faster than that.
_PROBED = 30
# Farther off their place at the constant rate, seconds, frames have times of their own.
_OFF_S = 0.002


def frame_times(path: Path, fps: float) -> np.ndarray | None:
    """Seconds from a video's first frame to each; None where they come at the constant rate `fps`.

    Also None where the container has no time stamps. With a variable rate the whole video is passed,
    about as fast as it decodes.
    """
    probed = _read_times(path, _PROBED)
    if len(probed) < 2 or (np.diff(probed) <= 0).any():
        return None
    if np.abs(probed - np.arange(len(probed)) / fps).max() <= _OFF_S:
        return None
    times = _read_times(path)
    return times if (np.diff(times) > 0).all() else None


def nearest_frames(times: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """(W,) index of the frame nearest to each wanted time; -1 where it is farther than half a period.

    Args:
        times: (F,) seconds of a camera's frames, rising.
        wanted: (W,) seconds.
    """
    if len(times) < 2:
        return np.where(np.abs(wanted - times[0]) <= _OFF_S, 0, -1)
    after = np.clip(np.searchsorted(times, wanted), 1, len(times) - 1)
    nearest = after - (wanted - times[after - 1] <= times[after] - wanted)
    near = np.abs(times[nearest] - wanted) <= float(np.median(np.diff(times))) / 2 + 1e-6
    return np.where(near, nearest, -1)


def read_images(path: Path, indices: Sequence[int]) -> Generator[np.ndarray | None, None, None]:
    """These frames of a video, by rising numbers; None for one that cannot be read, with a warning."""
    capture, ahead, unreadable = cv2.VideoCapture(str(path)), 0, Unreadable(f"video '{path}'")
    count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    try:
        for index in indices:
            # Seeking is faster than grabbing, but many files land on another frame.
            for skipped in range(ahead, index):
                if not capture.grab():
                    unreadable.add(skipped)
            ahead = index + 1
            readable, image = capture.read()
            if not readable:
                unreadable.add(index)
            yield image if readable else None
    finally:
        capture.release()
        unreadable.tell(count)


def read_together(
    videos: Sequence[Generator[np.ndarray | None, None, None]],
    indices: Sequence[int],
    stamps: Sequence[float],
) -> Iterator[tuple[int, float, list[np.ndarray | None]]]:
    """Index, stamp and the next image of each video, as `read_images` gives them, for each of the indices."""
    try:
        for index in indices:
            yield index, stamps[index], [next(video) for video in videos]
    finally:
        for video in videos:
            video.close()


class TimedVideos:
    """One video per camera, all started at the same time, some with a variable frame rate.

    Frame sets have the times of the first camera's frames. Each other camera has the frame that is
    nearest to that time, or none where it is farther away than half a period.

    Args:
        paths: the videos, in the order of the rig.
        sizes: (width, height) of each.
        times: per video the seconds from its first frame to each (`frame_times`).
    """

    def __init__(self, paths: Sequence[Path], sizes: Sequence[tuple[int, int]], times: Sequence[np.ndarray]):
        self._paths, self._times = paths, times
        self.sizes: list[tuple[int, int] | None] = list(sizes)
        self.counts = [len(own) for own in times]
        periods = [float(np.median(np.diff(own))) if len(own) > 1 else 0.0 for own in times]
        self.fps = 1.0 / (periods[0] or 1.0)
        end = min(own[-1] + period / 2 for own, period in zip(times, periods)) + 1e-6
        self.stamps: Sequence[float] = times[0][times[0] <= end].tolist()
        self._frames = [nearest_frames(own, np.array(self.stamps)) for own in times]

    def __len__(self) -> int:
        return len(self.stamps)

    def __iter__(self) -> Iterator[tuple[int, float, list[np.ndarray | None]]]:
        return self.at(range(len(self)))

    def at(self, indices: Sequence[int]) -> Iterator[tuple[int, float, list[np.ndarray | None]]]:
        """See `FrameSource.at`."""
        videos = [self._images(camera, indices) for camera in range(len(self._paths))]
        return read_together(videos, indices, self.stamps)

    def span(self, camera: int) -> tuple[float, float]:
        """See `FrameSource.span`."""
        return float(self._times[camera][0]), float(self._times[camera][-1])

    def frames_of(self, camera: int) -> Iterator[tuple[float, np.ndarray | None]]:
        """See `FrameSource.frames_of`."""
        images = read_images(self._paths[camera], range(self.counts[camera]))
        return zip(self._times[camera].tolist(), images)

    def _images(self, camera: int, indices: Sequence[int]) -> Generator[np.ndarray | None, None, None]:
        frames = self._frames[camera][list(indices)]
        reader = read_images(self._paths[camera], np.unique(frames[frames >= 0]).tolist())
        read, image = -1, None
        try:
            for frame in frames.tolist():
                # A camera that is slower than the first one shows the same frame twice.
                if frame >= 0 and frame != read:
                    read, image = frame, next(reader)
                yield image if frame >= 0 else None
        finally:
            reader.close()


def _read_times(path: Path, most: int | None = None) -> np.ndarray:
    """Seconds from the first frame to each of the first `most` frames, or of all."""
    times: list[float] = []
    capture = cv2.VideoCapture(str(path))
    try:
        while len(times) != most and capture.grab():
            times.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3)
    finally:
        capture.release()
    return np.array(times) - times[0] if times else np.zeros(0)
