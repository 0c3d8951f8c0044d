"""One camera's image with 2D detections and projected skeletons over it."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from voxelpose_core.drawing.body import Body
from voxelpose_core.drawing.colors import EMPTY_VIEW, INK, WHITE, darker, paler, person_color
from voxelpose_core.drawing.strokes import draw_capsule, draw_disc
from voxelpose_core.drawing.text import draw_tag, write_text
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.pose_types import Skeleton
from voxelpose_core.skeletons import JointSet

MIN_KEYPOINT_SCORE = 0.15
NEAREST_MM = 100.0
# More joints than this include hands and faces.
_MOST_LARGE_DOTS = 30


def draw_view(
    camera: Camera,
    image: np.ndarray | None,
    skeletons: Sequence[Skeleton],
    joint_set: JointSet,
    keypoints: np.ndarray | None = None,
    width: int = 960,
) -> np.ndarray:
    """One camera's view with what was estimated over it.

    Args:
        camera: the camera.
        image: its BGR image; None: a grey one.
        skeletons: the people, mm, who are projected with the camera's distortion.
        joint_set: the J joints of skeletons and keypoints.
        keypoints: 2D detections (P, J, 3) to show as dots.
        width: of the picture, pixels, at most; images are not enlarged.

    Returns:
        (height, width, 3) uint8, BGR.
    """
    scale = min(1.0, width / camera.image_size[0])
    full_width, full_height = camera.image_size
    view = CameraView(camera, (round(scale * full_width), max(1, round(scale * full_height))))
    if image is not None:
        view.fill(image)
    if keypoints is not None:
        view.draw_keypoints(keypoints)
    view.draw_skeletons(skeletons, Body.of(joint_set))
    view.draw_name()
    return view.picture


class CameraView:
    """A camera's image in a panel, and what is drawn over it."""

    def __init__(self, camera: Camera, size: tuple[int, int]):
        self._camera = camera
        self.picture = np.full((size[1], size[0], 3), EMPTY_VIEW, np.uint8)
        self._scale = min(size[0] / camera.image_size[0], size[1] / camera.image_size[1])
        shown = [max(1, round(side * self._scale)) for side in camera.image_size]
        self._corner = [(outer - inner) // 2 for outer, inner in zip(size, shown)]
        self._shown = tuple(shown)
        self._unit = min(size) / 300  # so that lines look alike in panels of all sizes

    def fill(self, image: np.ndarray | None) -> None:
        """Show the image, BGR uint8 (H, W, 3), or say that there is none."""
        if image is None:
            height, width = self.picture.shape[:2]
            write_text(self.picture, "no frame", (width / 2, height - 24), 16, WHITE, centered=True)
            return
        (x, y), (width, height) = self._corner, self._shown
        self.picture[y : y + height, x : x + width] = cv2.resize(
            image, self._shown, interpolation=cv2.INTER_AREA
        )

    def draw_keypoints(self, people: np.ndarray) -> None:
        """2D keypoints (P, J, 3) as white dots, small ones where there are many."""
        size = self._unit * (1.0 if people.shape[1] <= _MOST_LARGE_DOTS else 0.45)
        for person in people:
            seen = person[:, 2] >= MIN_KEYPOINT_SCORE
            for point in self._to_panel(person[seen, :2]):
                draw_disc(self.picture, point, 2.2 * size, INK)
                draw_disc(self.picture, point, 1.5 * size, WHITE)

    def draw_skeletons(self, skeletons: Sequence[Skeleton], body: Body) -> None:
        """3D skeletons, projected with the camera's distortion; the farthest first."""
        local = [self._camera.to_camera(s.joints) for s in skeletons]
        for index in np.argsort([-np.median(points[:, 2]) for points in local]):
            skeleton, points = skeletons[index], local[index]
            radius = self._camera.lens_radius(skeleton.joints)
            drawable = (points[:, 2] > NEAREST_MM) & (radius < self._camera.valid_radius)
            pixels = self._to_panel(self._camera.project(skeleton.joints)[0])
            self._draw_skeleton(skeleton, pixels, drawable, body)

    def draw_name(self) -> None:
        """The camera's name, in the top left corner."""
        draw_tag(self.picture, self._camera.name, (10, 10))

    def _draw_skeleton(
        self, skeleton: Skeleton, pixels: np.ndarray, drawable: np.ndarray, body: Body
    ) -> None:
        color = person_color(skeleton.track_id)
        limbs = [(a, b) for a, b in body.limbs if drawable[a] and drawable[b]]
        shown = drawable & skeleton.joint_valid
        width = 1.7 * self._unit
        neck = [*body.head, *body.shoulders]
        if body.head and body.shoulders and (drawable & skeleton.joint_valid)[neck].all():
            head = pixels[list(body.head)].mean(axis=0)
            base = pixels[list(body.shoulders)].mean(axis=0)
            draw_capsule(self.picture, base, head, 0.5 * width, 0.5 * width, color)
        for a, b in limbs:
            draw_capsule(self.picture, pixels[a], pixels[b], width + 0.8, width + 0.8, darker(color))
        for a, b in limbs:
            sure = skeleton.joint_valid[a] and skeleton.joint_valid[b]
            shade = body.shade((a, b), color)
            draw_capsule(self.picture, pixels[a], pixels[b], width, width, shade if sure else paler(shade))
        for outer, thickness in ((body.feet, 0.75 * width), (body.fine, max(0.22 * width, 0.5))):
            for a, b in outer:
                if shown[a] and shown[b]:
                    shade = darker(body.shade((a, b), color), 0.85)
                    draw_capsule(self.picture, pixels[a], pixels[b], thickness, thickness, shade)
        for joint in body.joints:
            if not (shown[joint] if joint in body.extra else drawable[joint]):
                continue
            radius = (0.9 if joint in body.extra else 1.5) * width
            draw_disc(self.picture, pixels[joint], radius, darker(color))
            draw_disc(self.picture, pixels[joint], radius - 0.8, paler(color, 0.55))

    def _to_panel(self, pixels: np.ndarray) -> np.ndarray:
        return (pixels + 0.5) * self._scale - 0.5 + self._corner
