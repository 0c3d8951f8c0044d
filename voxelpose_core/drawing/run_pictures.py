"""The video of a whole recording, and the picture of its middle."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from voxelpose_core.drawing.files import VideoWriter, write_image
from voxelpose_core.drawing.frame import FramePainter
from voxelpose_core.errors import InputError
from voxelpose_core.frame_sets import FrameSet
from voxelpose_core.pose_types import Estimate

# The 3D view of a video swings to and fro, which shows depth.
SWING_DEG, SWING_PERIOD_S = 12.0, 8.0
# Pictures for a recording that ends early: each so many times as far from its beginning as the one before.
_NEXT = 1.4


class RunPictures:
    """The video, and the picture of the middle, painted as the frame sets come.

    Whatever goes wrong with a file costs that file, and is kept in `errors`.

    Args:
        painter: of the rig.
        length: frame sets that are expected.
        fps: of the video.
        video: path; None: no video.
        picture: path of the picture of the middle; None: it is not written.
        middle: it is wanted all the same.

    Attributes:
        written: files that were finished.
        errors: a line per file that could not be written.
    """

    def __init__(
        self,
        painter: FramePainter,
        length: int,
        fps: float,
        video: Path | str | None = None,
        picture: Path | str | None = None,
        middle: bool = False,
    ):
        self._painter = painter
        self._video_path, self._picture_path = video, picture
        self._video = VideoWriter(video, fps) if video else None
        self._middles = _Middles(length) if picture or middle else None
        self._count = 0
        self.written: list[Path] = []
        self.errors: list[str] = []

    def add(self, frame_set: FrameSet, answer: Estimate) -> None:
        """Show one frame set."""
        index, self._count = self._count, self._count + 1
        is_middle = self._middles is not None and self._middles.wants(index)
        if not self._video and not is_middle:
            return
        picture = self._paint(frame_set, answer)
        if self._video:
            self._append(self._video, picture)
        if self._middles is not None and is_middle:
            self._middles.keep(index, picture)

    def finish(self) -> None:
        """Finish the video, and write the picture."""
        self._close_video(failed=False)
        picture = self.middle_picture
        if self._picture_path and picture is not None:
            try:
                write_image(self._picture_path, picture)
                self.written.append(Path(self._picture_path))
            except InputError as error:
                self.errors.append(str(error))

    @property
    def middle_picture(self) -> np.ndarray | None:
        """Of the middle of the frame sets so far, (H, W, 3) BGR; None: not wanted, or there are none."""
        return self._middles.of(self._count) if self._middles is not None else None

    def _paint(self, frame_set: FrameSet, answer: Estimate) -> np.ndarray:
        count, stamp = len(answer.skeletons), frame_set.stamp
        people = "1 person" if count == 1 else f"{count} people"
        caption = f"{people}   frame {frame_set.frame}   {stamp:.2f} s"
        turn = SWING_DEG * math.sin(2 * math.pi * stamp / SWING_PERIOD_S) if self._video_path else 0.0
        return self._painter.paint(frame_set.images, answer.skeletons, answer.keypoints, caption, turn)

    def _append(self, video: VideoWriter, picture: np.ndarray) -> None:
        try:
            video.write(picture)
        except InputError as error:
            self.errors.append(str(error))
            self._close_video(failed=True)

    def _close_video(self, failed: bool) -> None:
        video, self._video = self._video, None
        if video is None or self._video_path is None:
            return
        try:
            video.close()
            if not failed and self._count:
                self.written.append(Path(self._video_path))
        except InputError as error:
            if not failed:
                self.errors.append(str(error))


class _Middles:
    """Pictures, of which one is of the middle of a recording, also of one that ends before its time.

    Of a recording of the expected length it is exactly the middle, of a shorter one nearly: pictures far from
    half of what there is are not kept, so that few are painted.
    """

    def __init__(self, length: int):
        self._middle = length // 2
        self._pictures: dict[int, np.ndarray] = {}
        self._due = 0

    def wants(self, index: int) -> bool:
        """Whether the frame set with this index may be in the middle."""
        return index == self._middle or index < self._middle and index >= self._due

    def keep(self, index: int, picture: np.ndarray) -> None:
        """Take the picture of a frame set that is wanted."""
        self._due = max(index + 1, round(_NEXT * index))
        # Those before a quarter will be far from the middle, whenever the recording ends.
        self._pictures = {i: p for i, p in self._pictures.items() if 4 * i >= index} | {index: picture}

    def of(self, count: int) -> np.ndarray | None:
        """The one nearest to the middle of the first `count` frame sets."""
        nearest = min(self._pictures, key=lambda index: abs(index - count // 2), default=None)
        return None if nearest is None else self._pictures[nearest]
