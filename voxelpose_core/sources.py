"""Synchronized images from files: videos and image folders. For 2D detections see `keypoint_files`."""

from __future__ import annotations

import dataclasses
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.image_scale import is_scaled_copy, scale_note, scaled_camera
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.unreadable import Unreadable
from voxelpose_core.video_damage import damage_of
from voxelpose_core.video_times import TimedVideos, frame_times, read_images, read_together

IMAGE_SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
DEFAULT_FPS = 25.0
# FFmpeg decodes any text file whose name ends in .txt as pictures of its letters.
_TEXT_CODEC = "ansi"
# Video codecs work in blocks of so many pixels.
_CODEC_BLOCK = 16

# Index, stamp in seconds, and one image per camera: BGR uint8 (H, W, 3), or None for no frame.
FrameSet = tuple[int, float, "list[np.ndarray | None]"]


class FrameSource(Protocol):
    """Frame sets that all cameras saw together, in order; `fps` of them a second.

    Attributes:
        sizes: (width, height) of each camera's first image; None where it does not decode.
        counts: images of each camera; frame sets end with the shortest.
        stamps: seconds of each frame set.
    """

    fps: float
    stamps: Sequence[float]
    sizes: list[tuple[int, int] | None]
    counts: list[int]

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[FrameSet]: ...

    def at(self, indices: Sequence[int]) -> Iterator[FrameSet]:
        """Only these frame sets; indices rise."""
        ...

    def span(self, camera: int) -> tuple[float, float]:
        """Stamps of the first and the last frame of a camera, seconds."""
        ...

    def frames_of(self, camera: int) -> Iterator[tuple[float, np.ndarray | None]]:
        """Stamp in seconds and image of each frame of one camera, by its index; None: unreadable."""
        ...


class Videos:
    """One video per camera, all started at the same time: see `open_videos`, also for its errors."""

    def __init__(self, paths: Sequence[Path | str]):
        self._paths = [Path(path) for path in paths]
        headers = [_read_header(path) for path in self._paths]
        self.fps = headers[0][1] if headers[0][1] > 0 else DEFAULT_FPS
        self.sizes: list[tuple[int, int] | None] = [size for _, _, size in headers]
        self.counts = [count for count, _, _ in headers]
        self._length = min(self.counts)
        self.stamps: Sequence[float] = [index / self.fps for index in range(self._length)]
        for path, (count, fps, _) in zip(self._paths, headers):
            if abs(fps - headers[0][1]) > 0.01 * headers[0][1]:
                raise InputError(
                    f"video '{path}' has {fps:g} frames/s, expected {headers[0][1]:g} "
                    f"as in '{self._paths[0]}'"
                )
            if count > self._length:
                warnings.warn(
                    f"video '{path}' has {count} frames, the shortest {self._length}: stopping there"
                )

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[FrameSet]:
        return self.at(range(self._length))

    def at(self, indices: Sequence[int]) -> Iterator[FrameSet]:
        """See `FrameSource.at`."""
        return read_together([read_images(path, indices) for path in self._paths], indices, self.stamps)

    def span(self, camera: int) -> tuple[float, float]:
        """See `FrameSource.span`."""
        return 0.0, (self.counts[camera] - 1) / self.fps

    def frames_of(self, camera: int) -> Iterator[tuple[float, np.ndarray | None]]:
        """See `FrameSource.frames_of`."""
        images = read_images(self._paths[camera], range(self.counts[camera]))
        return ((index / self.fps, image) for index, image in enumerate(images))


class ImageFolders:
    """One folder of images per camera: see `open_image_folders`."""

    def __init__(self, folders: Sequence[Path | str], fps: float = DEFAULT_FPS):
        self._folders = [Path(folder) for folder in folders]
        self._frame_sets = list(zip(*_match_images(self._folders)))
        self.fps = fps
        self.sizes = [_first_size(files) for files in zip(*self._frame_sets)]
        self.counts = [len(self._frame_sets)] * len(folders)
        self.stamps: Sequence[float] = [index / fps for index in range(len(self))]

    def __len__(self) -> int:
        return len(self._frame_sets)

    def __iter__(self) -> Iterator[FrameSet]:
        return self.at(range(len(self)))

    def at(self, indices: Sequence[int]) -> Iterator[FrameSet]:
        """See `FrameSource.at`."""
        unreadable = [Unreadable(f"image folder '{folder}'") for folder in self._folders]
        try:
            for index in indices:
                files = zip(self._frame_sets[index], unreadable)
                yield index, self.stamps[index], [_read_image(file, index, own) for file, own in files]
        finally:
            for own in unreadable:
                own.tell()

    def span(self, camera: int) -> tuple[float, float]:
        """See `FrameSource.span`."""
        return 0.0, (self.counts[camera] - 1) / self.fps

    def frames_of(self, camera: int) -> Iterator[tuple[float, np.ndarray | None]]:
        """See `FrameSource.frames_of`."""
        unreadable = Unreadable(f"image folder '{self._folders[camera]}'")
        try:
            for index, files in enumerate(self._frame_sets):
                yield index / self.fps, _read_image(files[camera], index, unreadable)
        finally:
            unreadable.tell()


def open_videos(paths: Sequence[Path | str]) -> FrameSource:
    """Synchronized videos, one per camera, in the rig's order.

    Where their lengths differ, all stop with the shortest, and a warning says so. A frame that
    does not decode is None for its camera. Where the frames of one come at a variable rate, all go by
    the time stamps of their containers (`TimedVideos`), and a warning says so.

    Raises:
        InputError: naming the video that is missing or unreadable, or whose rate differs.
    """
    if not paths:
        raise InputError("no videos given, expected one for each camera")
    files = [Path(path) for path in paths]
    headers = [_read_header(path) for path in files]
    times = [frame_times(path, fps) if fps > 0 else None for path, (_, fps, _) in zip(files, headers)]
    varying = [f"'{path}'" for path, own in zip(files, times) if own is not None]
    if not varying:
        return Videos(paths)
    warnings.warn(
        f"variable frame rate in {len(varying)} of {len(files)} videos ({_shortened(varying)}): frames "
        "go by the time stamps of their containers"
    )
    known = [
        np.arange(count) / (fps or DEFAULT_FPS) if own is None else own
        for own, (count, fps, _) in zip(times, headers)
    ]
    return TimedVideos(files, [size for _, _, size in headers], known)


def restore_codec_crop(images: Sequence[np.ndarray | None], rig: Rig) -> list[np.ndarray | None]:
    """Give back the rim of black that encoding a video took from the right and lower edge.

    A camera of 1088 columns can leave a video of 1080, since codecs work in blocks of 16 pixels. Images
    that lack less than one block are padded to the size of their calibration, whose pixels stay
    where they are; any other size is left as it is, for the estimator to refuse.

    Args:
        images: BGR uint8 (H, W, 3), one per camera in the order of the rig, or None.
        rig: says the calibrated sizes.
    """
    return [
        image if image is None else restored_image(image, camera)
        for image, camera in zip(images, rig.cameras, strict=True)
    ]


def restored_image(image: np.ndarray, camera: Camera) -> np.ndarray:
    """One image (H, W, 3) of `restore_codec_crop`."""
    if not is_codec_crop(image.shape[1::-1], camera):
        return image
    warnings.warn(codec_crop_note(image, camera))
    return pad_codec_crop(image, camera)


def fit_rig(rig: Rig, sizes: Sequence[tuple[int, int] | None]) -> tuple[Rig, list[str]]:
    """The rig for images that are scaled copies of what it was calibrated at.

    Args:
        rig: the calibration.
        sizes: (width, height) of each camera's images, or None where it is not known.

    Returns:
        the rig with K scaled for each camera whose images have the calibrated aspect but another
        size, and one line per such camera. Other sizes are left to the estimator to refuse.
    """
    cameras, notes = [], []
    for camera, size in zip(rig.cameras, sizes, strict=True):
        if size is not None and is_scaled_copy(size, camera) and not is_codec_crop(size, camera):
            notes.append(scale_note(size, camera, "K is scaled"))
            camera = scaled_camera(camera, size)
        cameras.append(camera)
    return dataclasses.replace(rig, cameras=tuple(cameras)), notes


def natural_order(name: str) -> list[tuple[int, int | str]]:
    """Sort key that puts "2.png" before "10.png"."""
    parts = re.split(r"(\d+)", name)
    return [(0, int(part)) if part.isdigit() else (1, part) for part in parts]


def is_codec_crop(size: tuple[int, int], camera: Camera) -> bool:
    """Whether images of (width, height) px lack less than one block of the calibrated size."""
    lacking = [full - side for side, full in zip(size, camera.image_size)]
    return any(lacking) and all(0 <= pixels < _CODEC_BLOCK for pixels in lacking)


def pad_codec_crop(image: np.ndarray, camera: Camera) -> np.ndarray:
    """The image (H, W, 3) with black on the right and below, in the size of the calibration."""
    right, below = (full - side for side, full in zip(image.shape[1::-1], camera.image_size))
    return cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_CONSTANT)


def codec_crop_note(image: np.ndarray, camera: Camera) -> str:
    """What is done to such an image (H, W, 3), for people."""
    (width, height), (full_width, full_height) = image.shape[1::-1], camera.image_size
    return (
        f"camera '{camera.name}': images of {width}x{height} are padded to the calibration's "
        f"{full_width}x{full_height}, as if a codec had cropped them on the right and below"
    )


def open_image_folders(folders: Sequence[Path | str], fps: float = DEFAULT_FPS) -> FrameSource:
    """Synchronized image folders, one per camera, in the rig's order, `fps` images per second.

    Images of the same name belong together; a camera whose folder lacks one has no frame (None) in
    that frame set, and one warning per folder counts them. Folders that share no name are matched by
    order ("2.png" before "10.png"). An image that does not decode is None for its camera.

    Raises:
        InputError: naming the folder that is missing, empty, lacks more than half of the names of the
            others, or, where no names are shared, holds another number of images.
    """
    if not folders:
        raise InputError("no image folders given, expected one for each camera")
    return ImageFolders(folders, fps)


def _read_header(path: Path) -> tuple[int, float, tuple[int, int]]:
    """(frames, frames per second, (width, height)) of a video whose first frame decodes."""
    if not path.is_file():
        if path.is_dir():
            raise InputError(f"video '{path}' is a folder, expected a video file (folders: --images)")
        raise InputError(f"video '{path}' does not exist, expected a video file")
    capture = cv2.VideoCapture(str(path))
    try:
        count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        fps = float(capture.get(cv2.CAP_PROP_FPS))
        codec = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little", signed=True)
        is_video = count > 0 and codec != _TEXT_CODEC.encode()
        readable, image = capture.read() if is_video else (False, None)
        if not readable or image is None:
            raise InputError(f"video '{path}' {damage_of(path)}, expected a video with frames")
    finally:
        capture.release()
    return count, fps, (image.shape[1], image.shape[0])


def _match_images(folders: Sequence[Path]) -> Sequence[Sequence[Path | None]]:
    """Per folder its images; entry i of each is the same frame set, None where a folder lacks it."""
    listings = [_list_images(folder) for folder in folders]
    counts = Counter(file.name for files in listings for file in files)
    if max(counts.values()) > 1:
        return _match_names(folders, listings, sorted(counts, key=natural_order))
    for folder, files in zip(folders, listings):
        if len(files) != len(listings[0]):
            raise InputError(
                f"image folder '{folder}' has {len(files)} images, expected {len(listings[0])} as in "
                f"'{folders[0]}', or the same names"
            )
    return listings


def _match_names(
    folders: Sequence[Path], listings: Sequence[list[Path]], names: Sequence[str]
) -> list[list[Path | None]]:
    """Per folder the image of each of the names, None where it lacks one."""
    matched = []
    for folder, files in zip(folders, listings):
        by_name = {file.name: file for file in files}
        lacking = [name for name in names if name not in by_name]
        if 2 * len(lacking) > len(names):
            raise InputError(
                f"image folder '{folder}' lacks {len(lacking)} of the {len(names)} images that the folders "
                f"have ({_shortened(lacking)}), expected the same names, or none of them"
            )
        if lacking:
            warnings.warn(
                f"image folder '{folder}' lacks {len(lacking)} of {len(names)} images "
                f"({_shortened(lacking)}): that camera has no frame there"
            )
        matched.append([by_name.get(name) for name in names])
    return matched


def _shortened(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def _first_size(files: Sequence[Path | None]) -> tuple[int, int] | None:
    """(width, height) of the first of the images that are there; None where it does not decode."""
    first = next((file for file in files if file is not None), None)
    image = None if first is None else cv2.imread(str(first), cv2.IMREAD_COLOR)
    return None if image is None else image.shape[1::-1]


def _list_images(folder: Path) -> list[Path]:
    if not folder.is_dir():
        if folder.exists():
            raise InputError(f"image folder '{folder}' is a file, expected a folder (videos: --videos)")
        raise InputError(f"image folder '{folder}' does not exist, expected a folder of images")
    files = [file for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES]
    if not files:
        raise InputError(f"image folder '{folder}' has no images, expected jpg, png or the like")
    return sorted(files, key=lambda file: natural_order(file.name))


def _read_image(file: Path | None, index: int, unreadable: Unreadable) -> np.ndarray | None:
    """The image of frame set `index`; None where there is none, or it cannot be read."""
    if file is None:
        return None
    image = cv2.imread(str(file), cv2.IMREAD_COLOR)
    if image is None:
        unreadable.add(index, f"the first is {file.name}")
    return image
