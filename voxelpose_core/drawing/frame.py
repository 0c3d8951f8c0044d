"""The picture of one frame set: every view with its skeletons, beside the 3D view."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from voxelpose_core.drawing.body import Body
from voxelpose_core.drawing.camera_view import CameraView
from voxelpose_core.drawing.colors import INK, WHITE
from voxelpose_core.drawing.layout import plan_layout
from voxelpose_core.drawing.scene_view import SceneView
from voxelpose_core.drawing.text import write_text
from voxelpose_core.geometry.coverage import propose_space
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.geometry.space import Space
from voxelpose_core.pose_types import Skeleton
from voxelpose_core.skeletons import JointSet


class FramePainter:
    """Paints frame sets of one rig, all pictures of one size.

    Args:
        rig: the cameras.
        joint_set: the J joints of skeletons and keypoints.
        space: the capture space to show; the rig's, or the proposed one, by default.
        width: of the picture, pixels.
    """

    def __init__(self, rig: Rig, joint_set: JointSet, space: Space | None = None, width: int = 1920):
        self._rig = rig
        self._body = Body.of(joint_set)
        self._layout = plan_layout([camera.image_size for camera in rig.cameras], width)
        self._scene = SceneView(rig, space or rig.space or propose_space(rig), self._layout.scene)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the pictures, even numbers."""
        return self._layout.size

    def paint(
        self,
        images: Sequence[np.ndarray | None] | None,
        skeletons: Sequence[Skeleton],
        keypoints: Sequence[np.ndarray | None] | None = None,
        caption: str = "",
        turn_deg: float = 0.0,
    ) -> np.ndarray:
        """The picture of one frame set.

        Args:
            images: per camera its BGR image, or None where it had no frame. None: keypoints only.
            skeletons: the people, mm.
            keypoints: per camera the 2D detections (P, J, 3) to show as dots, or None.
            caption: one line for the 3D view.
            turn_deg: turns the 3D view about the vertical; a slow swing shows depth.

        Returns:
            (height, width, 3) uint8, BGR.
        """
        width, height = self.size
        picture = np.full((height, width, 3), WHITE, np.uint8)
        views = []
        for index, (camera, panel) in enumerate(zip(self._rig.cameras, self._layout.views)):
            view = CameraView(camera, panel.size)
            if images is not None:
                view.fill(images[index])
            people = None if keypoints is None else keypoints[index]
            if people is not None:
                view.draw_keypoints(people)
            view.draw_skeletons(skeletons, self._body)
            views.append(view.picture.copy())
            view.draw_name()
            panel.paste(picture, view.picture)
        scene = self._scene.paint(skeletons, self._body, views, turn_deg)
        write_text(scene, caption, (22, 22), 19, INK)
        self._layout.scene.paste(picture, scene)
        return picture
