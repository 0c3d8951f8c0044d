"""Rig, images and skeletons in the Rerun viewer, or in a file for it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from voxelpose_core.drawing.body import Body
from voxelpose_core.drawing.colors import person_color
from voxelpose_core.errors import InputError
from voxelpose_core.frame_sets import FrameSet
from voxelpose_core.geometry.coverage import propose_space
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.skeleton_files import FrameSkeletons, Recording

MM_PER_M = 1000.0
_LIMB_M, _JOINT_M = 0.018, 0.025
_JPEG_QUALITY = 80


def check_available() -> None:
    """InputError where rerun-sdk is not installed."""
    if importlib.util.find_spec("rerun") is None:
        raise InputError(
            "the Rerun viewer is not installed: pip install rerun-sdk, or give --out page.html, which does "
            "not need it"
        )


class RerunView:
    """Logs a rig, and over time its images and skeletons, to the Rerun viewer. Lengths are metres.

    Args:
        rig: the cameras.
        save: the .rrd file to write; None: a window is opened.

    Raises:
        InputError: rerun-sdk is missing, the file cannot be written or the viewer not be opened.
    """

    def __init__(self, rig: Rig, save: Path | str | None = None):
        check_available()
        import rerun

        self._rr: Any = rerun
        self._rig = rig
        self._log = rerun.RecordingStream("voxelpose")
        try:
            if save is None:
                self._log.spawn()
            else:
                self._log.save(str(save))
        except (OSError, RuntimeError) as error:
            what = f"{save}: cannot be written" if save else "the Rerun viewer cannot be opened"
            raise InputError(f"{what} ({error})") from None
        self._add_rig()

    def add_skeletons(self, recording: Recording) -> None:
        """Show all frame sets of a recording."""
        body = Body.of(recording.joint_set)
        limbs = [*body.limbs, *body.feet, *body.fine]
        for frame_set in recording.frame_sets:
            self._at(frame_set.frame, frame_set.stamp)
            self._add_people(frame_set, limbs, recording.joint_set.joint_names)

    def add_images(self, frame_sets: Iterable[FrameSet]) -> None:
        """Show the images of frame sets."""
        for frame_set in frame_sets:
            self._at(frame_set.frame, frame_set.stamp)
            for camera, image in zip(self._rig.cameras, frame_set.images or ()):
                if image is not None:
                    _, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
                    encoded = self._rr.EncodedImage(contents=jpeg.tobytes(), media_type="image/jpeg")
                    self._log.log(["world", "cameras", camera.name], encoded)

    def finish(self) -> None:
        """Wait until everything is written, and close the file."""
        self._log.flush()
        self._log.disconnect()

    def _at(self, frame: int, stamp: float) -> None:
        self._log.set_time("time", duration=stamp)
        self._log.set_time("frame", sequence=frame)

    def _add_rig(self) -> None:
        rr, space = self._rr, self._rig.space or propose_space(self._rig)
        self._log.log("world", rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
        box = rr.Boxes3D(centers=[space.center / MM_PER_M], sizes=[space.size / MM_PER_M])
        self._log.log("world/space", box, static=True)
        for camera in self._rig.cameras:
            path: list[object] = ["world", "cameras", camera.name]
            pose = rr.Transform3D(translation=camera.C / MM_PER_M, mat3x3=camera.R.T)
            lens = rr.Pinhole(
                image_from_camera=camera.K, resolution=camera.image_size, image_plane_distance=0.5
            )
            self._log.log(path, pose, static=True)
            self._log.log(path, lens, static=True)

    def _add_people(
        self, frame_set: FrameSkeletons, limbs: list[tuple[int, int]], names: tuple[str, ...]
    ) -> None:
        rr = self._rr
        strips, colors, points, point_colors, labels = [], [], [], [], []
        for skeleton in frame_set.skeletons:
            color = person_color(skeleton.track_id)[::-1]
            joints = skeleton.joints / MM_PER_M
            for a, b in limbs:
                if skeleton.joint_valid[a] and skeleton.joint_valid[b]:
                    strips.append(joints[[a, b]])
                    colors.append(color)
            for joint in np.flatnonzero(skeleton.joint_valid):
                points.append(joints[joint])
                point_colors.append(color)
                labels.append(f"P{skeleton.track_id} {names[joint]}")
        # Also without people: those of the frame set before would stay.
        self._log.log("world/people/limbs", rr.LineStrips3D(strips, colors=colors, radii=_LIMB_M))
        dots = rr.Points3D(points, colors=point_colors, radii=_JOINT_M, labels=labels, show_labels=False)
        self._log.log("world/people/joints", dots)
