"""Rig, images and skeletons in the Rerun viewer, or in a file for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from voxelpose_core.drawing.body import FINE_MM, FOOT_MM, Body
from voxelpose_core.drawing.colors import person_color
from voxelpose_core.frame_sets import FrameSet
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.coverage import propose_space
from voxelpose_core.geometry.image_scale import scaled_camera
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.joint_set import JointSet
from voxelpose_core.pose_types import Skeleton, joints_of
from voxelpose_core.rerun_destination import RerunDestination
from voxelpose_core.ros_messages.camera_info import check_image_size
from voxelpose_core.skeleton_files import Recording
from voxelpose_core.sources import is_codec_crop, pad_codec_crop

MM_PER_M = 1000.0
_LIMB_M, _JOINT_M = 0.018, 0.025
_FOOT_M, _FINE_M = FOOT_MM / MM_PER_M / 2, FINE_MM / MM_PER_M / 2
_FINE_JOINT_M = 0.006
_LABEL_ABOVE_HEAD_MM = 250.0
_IMAGE_PLANE_M = 0.5
# Half the width of a limb over an image, points of the screen.
_SCREEN_LIMB = 1.5
_SPACE_COLOR = (115, 140, 166)
_JPEG_QUALITY = 80


class RerunView:
    """Logs a rig, and over time its images and skeletons, to the Rerun viewer. Lengths are metres.

    A time is chosen by `at_frame` or `at_time`; what is shown after that belongs to it.

    Args:
        save: the .rrd file to write.
        connect: address of a viewer that runs: HOST, HOST:PORT or a rerun+http:// URL. Without `save` and
            `connect` a window is opened, or one that is open is used.
        image_width: images that are wider are shrunk to it, px; None: they are shown as they are.
        covariances: also show the joints' covariances, as ellipsoids of one standard deviation.
        memory: how much of the computer's memory a window that is opened may fill; it drops the oldest data
            then.

    Raises:
        InputError: rerun-sdk is missing, the file cannot be written, the viewer not be opened or reached.
    """

    def __init__(
        self,
        save: Path | str | None = None,
        connect: str | None = None,
        image_width: int | None = None,
        covariances: bool = False,
        memory: str = "75%",
    ):
        self._destination = RerunDestination(save, connect, memory)
        self._log = self._destination.stream
        # Only now is it known to be installed.
        import rerun

        self._rr: Any = rerun
        self._rig: Rig | None = None
        # Those of the rig, as their images are shown.
        self._cameras: list[Camera] = []
        self._image_width = image_width
        self._covariances = covariances

    def check(self) -> None:
        """InputError when the viewer, or the file, no longer takes what it is sent; said once."""
        self._destination.check()

    def finish(self) -> None:
        """Wait until everything is written, and close the file; InputError as `check`."""
        self._destination.finish()

    # What is shown ---------------------------------------------------------------------------------

    def show_rig(self, rig: Rig) -> None:
        """Show cameras and capture space, at all times; those that were shown before are replaced."""
        rr, space = self._rr, rig.space or propose_space(rig)
        if self._rig is None or self._rig.names != rig.names:
            self._arrange(rig)
        self._rig = rig
        self._log.log("world", rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
        box = rr.Boxes3D(
            centers=[space.center / MM_PER_M],
            sizes=[space.size / MM_PER_M],
            colors=[_SPACE_COLOR],
            fill_mode=rr.components.FillMode.MajorWireframe,
        )
        self._log.log("world/space", box, static=True)
        self._cameras = [scaled_camera(c, self._shown_size(c.image_size)) for c in rig.cameras]
        for camera in self._cameras:
            path = _camera_path(camera.name)
            pose = rr.Transform3D(translation=camera.C / MM_PER_M, mat3x3=camera.R.T)
            lens = rr.Pinhole(
                image_from_camera=camera.K,
                resolution=camera.image_size,
                image_plane_distance=_IMAGE_PLANE_M,
            )
            self._log.log(path, pose, static=True)
            self._log.log(path, lens, static=True)

    def at_frame(self, frame: int, stamp: float) -> None:
        """What follows belongs to this frame number, and this time since the recording's start in seconds."""
        self._log.set_time("time", duration=stamp)
        self._log.set_time("frame", sequence=frame)

    def at_time(self, stamp_ns: int) -> None:
        """What follows belongs to this time, nanoseconds since 1970."""
        self._log.set_time("time", timestamp=np.datetime64(stamp_ns, "ns"))

    def show_image(self, camera_name: str, image: np.ndarray) -> None:
        """Show a camera's image (H, W, 3), BGR, uint8.

        Raises:
            InputError: where it is not of the size that the camera is calibrated for.
        """
        image = self._as_shown(camera_name, image)
        _, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        encoded = self._rr.EncodedImage(contents=jpeg.tobytes(), media_type="image/jpeg")
        self._log.log(_camera_path(camera_name), encoded)

    def show_skeletons(self, skeletons: Sequence[Skeleton], joint_set: JointSet) -> None:
        """Show these people, and nobody else any more."""
        rr, shape = self._rr, _shape(joint_set)
        people = _People.of(skeletons, joint_set)
        joints = people.joints / MM_PER_M
        # Also without people: those of the frame set before would stay.
        strips, colors, radii = shape.strips(joints, people.valid, people.colors)
        self._log.log("world/people/limbs", rr.LineStrips3D(strips, colors=colors, radii=radii))
        person, joint = np.nonzero(people.valid)
        dots = rr.Points3D(
            joints[people.valid],
            colors=people.colors[person],
            radii=shape.joint_radii[joint],
            labels=[f"{people.names[p]} {joint_set.joint_names[j]}" for p, j in zip(person, joint)],
            show_labels=False,
        )
        self._log.log("world/people/joints", dots)
        above = people.above_heads() / MM_PER_M
        labels = rr.Points3D(above, colors=people.colors, radii=0.0, labels=people.names, show_labels=True)
        self._log.log("world/people/ids", labels)
        for camera in self._cameras:
            self._show_over_image(camera, people, shape)
        if self._covariances:
            self._show_covariances(skeletons)

    def add_skeletons(self, recording: Recording) -> None:
        """Show all frame sets of a recording."""
        for frame_set in recording.frame_sets:
            self.at_frame(frame_set.frame, frame_set.stamp)
            self.show_skeletons(frame_set.skeletons, recording.joint_set)

    def add_images(self, frame_sets: Iterable[FrameSet], camera_names: Sequence[str]) -> None:
        """Show the images of frame sets, which are those of these cameras."""
        for frame_set in frame_sets:
            self.at_frame(frame_set.frame, frame_set.stamp)
            for camera_name, image in zip(camera_names, frame_set.images or ()):
                if image is not None:
                    self.show_image(camera_name, image)

    def _arrange(self, rig: Rig) -> None:
        """The 3D view, and beside it every camera's image with the skeletons over it."""
        import rerun.blueprint as rrb

        views = [
            rrb.Spatial2DView(
                origin=self._rr.new_entity_path(_camera_path(name)),
                contents=["$origin/**", "/world/people/ids"],
                name=name,
            )
            for name in rig.names
        ]
        scene = rrb.Spatial3DView(origin="/world", name="skeletons")
        self._log.send_blueprint(
            rrb.Blueprint(rrb.Horizontal(scene, rrb.Grid(*views), column_shares=[3, 2]), collapse_panels=True)
        )

    def _shown_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """(width, height) at which images of this size are shown, px."""
        width, height = size
        if self._image_width is None or width <= self._image_width:
            return width, height
        return self._image_width, max(1, round(height * self._image_width / width))

    def _as_shown(self, camera_name: str, image: np.ndarray) -> np.ndarray:
        """The image in the size of the camera's lens as it is shown, where the calibration is known."""
        size = image.shape[1], image.shape[0]
        if self._rig is not None and camera_name in self._rig.names:
            camera = self._rig.camera(camera_name)
            check_image_size(size, camera)
            if is_codec_crop(size, camera):
                image = pad_codec_crop(image, camera)
            size = camera.image_size
        shown = self._shown_size(size)
        if image.shape[1::-1] == shown:
            return image
        return cv2.resize(image, shown, interpolation=cv2.INTER_AREA)

    def _show_over_image(self, camera: Camera, people: _People, shape: _Shape) -> None:
        """The limbs where the camera sees them: Rerun's own projection has no lens distortion."""
        flat = people.joints.reshape(-1, 3)
        pixels = camera.project(flat)[0].reshape(*people.valid.shape, 2)
        seen = people.valid & camera.sees(flat).reshape(people.valid.shape)
        strips, colors, radii = shape.strips(pixels, seen, people.colors)
        # Negative: of the screen, whatever the size of the image.
        on_screen = -_SCREEN_LIMB / _LIMB_M * radii
        over_image = self._rr.LineStrips2D(strips, colors=colors, radii=on_screen)
        self._log.log([*_camera_path(camera.name), "people"], over_image)

    def _show_covariances(self, skeletons: Sequence[Skeleton]) -> None:
        from scipy.spatial.transform import Rotation

        given = [s for s in skeletons if s.joint_covariances is not None]
        centers = [s.joints[s.joint_valid] for s in given]
        covariances = [s.joint_covariances[s.joint_valid] for s in given if s.joint_covariances is not None]
        colors = [person_color(s.track_id)[::-1] for s in given for _ in range(s.joint_valid.sum())]
        variances, axes = np.linalg.eigh(np.concatenate([np.empty((0, 3, 3)), *covariances]))
        # A reflection is no rotation, and an ellipsoid is the same without it.
        axes[:, :, 0] *= np.sign(np.linalg.det(axes))[:, None]
        turns = Rotation.from_matrix(axes).as_quat() if len(axes) else np.empty((0, 4))
        ellipsoids = self._rr.Ellipsoids3D(
            centers=np.concatenate([np.empty((0, 3)), *centers]) / MM_PER_M,
            half_sizes=np.sqrt(np.maximum(variances, 0.0)) / MM_PER_M,
            quaternions=turns,
            colors=colors,
        )
        self._log.log("world/people/covariances", ellipsoids)


class _People(NamedTuple):
    """P people with at least one valid joint, of J joints.

    Attributes:
        joints: (P, J, 3) mm.
        valid: (P, J) bool.
        colors: (P, 3) RGB, uint8.
        names: those with a track have its number.
    """

    joints: np.ndarray
    valid: np.ndarray
    colors: np.ndarray
    names: list[str]

    @classmethod
    def of(cls, skeletons: Sequence[Skeleton], joint_set: JointSet) -> _People:
        people = [skeleton for skeleton in skeletons if skeleton.joint_valid.any()]
        valid = np.array([skeleton.joint_valid for skeleton in people], bool)
        colors = np.array([person_color(skeleton.track_id)[::-1] for skeleton in people], np.uint8)
        return cls(
            joints_of(people, len(joint_set)),
            valid.reshape(-1, len(joint_set)),
            colors.reshape(-1, 3),
            [f"P{skeleton.track_id}" if skeleton.track_id >= 0 else "?" for skeleton in people],
        )

    def above_heads(self) -> np.ndarray:
        """(P, 3) mm: where the names are written."""
        places = [
            [*np.median(joints[valid, :2], axis=0), joints[valid, 2].max() + _LABEL_ABOVE_HEAD_MM]
            for joints, valid in zip(self.joints, self.valid)
        ]
        return np.array(places).reshape(-1, 3)


class _Shape(NamedTuple):
    """How a joint set of J joints and L limbs is drawn.

    Attributes:
        limbs: (L, 2) joints.
        limb_radii: (L,) m.
        joint_radii: (J,) m.
    """

    limbs: np.ndarray
    limb_radii: np.ndarray
    joint_radii: np.ndarray

    def strips(
        self, points: np.ndarray, shown: np.ndarray, colors: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The limbs between points (P, J, D) of which both are shown (P, J): lines (S, 2, D), their colours
        out of those of the people (P, 3), and radii in m."""
        person, limb = np.nonzero(shown[:, self.limbs].all(axis=2))
        return points[person[:, None], self.limbs[limb]], colors[person], self.limb_radii[limb]


@cache
def _shape(joint_set: JointSet) -> _Shape:
    body = Body.of(joint_set)
    radii = [_LIMB_M] * len(body.limbs) + [_FOOT_M] * len(body.feet) + [_FINE_M] * len(body.fine)
    # Joints of hands and faces would be blobs.
    dots = [_JOINT_M if joint in body.joints else _FINE_JOINT_M for joint in range(len(joint_set))]
    limbs = np.array([*body.limbs, *body.feet, *body.fine], int).reshape(-1, 2)
    return _Shape(limbs, np.array(radii), np.array(dots))


def _camera_path(name: str) -> list[object]:
    return ["world", "cameras", name]
