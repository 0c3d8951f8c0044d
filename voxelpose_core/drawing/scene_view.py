"""The 3D view: cameras, capture space and people, seen by a virtual camera."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import cv2
import numpy as np

from voxelpose_core.drawing.body import HEAD_MM, LIMB_MM, Body, body_strokes
from voxelpose_core.drawing.camera_view import NEAREST_MM
from voxelpose_core.drawing.colors import (
    CAMERA_EDGE,
    GRID,
    GROUND,
    INK,
    SKY,
    SPACE_EDGE,
    mix,
    person_color,
)
from voxelpose_core.drawing.layout import Panel
from voxelpose_core.drawing.strokes import (
    FARTHEST_PX,
    blend,
    color_at,
    draw_capsule,
    draw_disc,
    draw_line,
    draw_texture,
    draw_tube,
    fill_polygon,
)
from voxelpose_core.drawing.text import draw_badge, write_text
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.geometry.space import Space
from voxelpose_core.pose_types import Skeleton

FIELD_OF_VIEW_DEG, ELEVATION_DEG = 30.0, 26.0
# Enough for every camera of the usual rig; a camera far off is left outside the picture.
LARGEST_RETREAT = 1.7
ICON_SHARE = 0.038


class SceneView:
    """The rig, its ground and its people, seen by a virtual camera."""

    def __init__(self, rig: Rig, space: Space, panel: Panel):
        self._rig = rig
        self._space = space
        self._size = panel.size
        inside = space.low[2] <= rig.ground <= space.high[2]
        self._ground = rig.ground if inside else float(space.low[2])
        self._target = np.array([*space.center[:2], self._ground + 800.0])
        self._azimuth = best_azimuth([camera.C for camera in rig.cameras], self._target)
        self._shift = np.zeros(2)
        self._fit()
        self._icon_mm = ICON_SHARE * self._distance
        self._backdrop = self._paint_ground()

    def paint(
        self,
        skeletons: Sequence[Skeleton],
        body: Body,
        views: Sequence[np.ndarray],
        turn_deg: float,
    ) -> np.ndarray:
        """(height, width, 3) BGR picture; `views`, (h, w, 3) each, are shown in the camera icons."""
        eye = self._virtual_camera(turn_deg)
        picture = self._backdrop.copy()
        self._draw_grid(picture, eye)
        self._draw_shadows(picture, eye, skeletons, body)
        self._draw_space(picture, eye)
        # The farthest first, so that the near ones cover them.
        items: list[tuple[float, Callable[[], None]]] = []
        for camera, view in zip(self._rig.cameras, views):
            depth = float(eye.to_camera(camera.C[None])[0, 2])
            items.append((depth, partial(self._draw_camera, picture, eye, camera, view)))
        for skeleton in skeletons:
            depth = float(np.median(eye.to_camera(skeleton.joints)[:, 2]))
            items.append((depth, partial(self._draw_person, picture, eye, skeleton, body)))
        for _, draw in sorted(items, key=lambda item: -item[0]):
            draw()
        return picture

    def _virtual_camera(self, turn_deg: float = 0.0) -> Camera:
        rotation = looking_down(self._azimuth + math.radians(turn_deg), math.radians(ELEVATION_DEG))
        width, height = self._size
        focal = 0.5 * max(width, height) / math.tan(math.radians(FIELD_OF_VIEW_DEG / 2))
        cx, cy = np.array(self._size) / 2 + self._shift
        K = np.array([[focal, 0, cx], [0, focal, cy], [0, 0, 1]])
        center = self._target - self._distance * rotation[2]
        return Camera("3D view", self._size, K, np.zeros(5), rotation, center)

    def _fit(self) -> None:
        """Step back until the space and, within reason, the cameras fill the picture."""
        corners = _box_corners(self._space)
        centers = np.array([camera.C for camera in self._rig.cameras])
        space_only = self._distance_for(corners)
        everything = self._distance_for(np.vstack([corners, centers]))
        self._distance = min(everything, LARGEST_RETREAT * space_only)
        shown = np.vstack([corners, centers]) if self._distance == everything else corners
        pixels, _ = self._virtual_camera().project(shown)
        self._shift += np.array(self._size) / 2 - (pixels.min(axis=0) + pixels.max(axis=0)) / 2

    def _distance_for(self, points: np.ndarray) -> float:
        """The distance (mm) at which points (N, 3) just fit into the picture."""
        room = 0.86 * np.array(self._size)
        for self._distance in np.geomspace(1500.0, 150000.0, 300):
            pixels, depth = self._virtual_camera().project(points)
            if depth.min() > NEAREST_MM and (np.ptp(pixels, axis=0) < room).all():
                break
        return float(self._distance)

    def _paint_ground(self) -> np.ndarray:
        """Bright above, darker towards the viewer, and a soft light on the space."""
        width, height = self._size
        rows = np.linspace(0.0, 1.0, height)[:, None, None]
        page = np.repeat(np.array(SKY) * (1 - rows) + np.array(GROUND) * rows, width, axis=1)
        floor = np.array([[*self._space.center[:2], self._ground]])
        (middle,), _ = self._virtual_camera().project(floor)
        ys, xs = np.ogrid[:height, :width]
        far = ((xs - middle[0]) / (0.55 * width)) ** 2 + ((ys - middle[1]) / (0.33 * width)) ** 2
        page += 10.0 * np.exp(-2 * far)[..., None]
        return np.clip(page, 0, 255).astype(np.uint8)

    def _draw_grid(self, picture: np.ndarray, eye: Camera) -> None:
        """Lines of 1 m on the ground, fading with the distance from the space."""
        reach = max(np.hypot(*self._space.size[:2]) * 0.5, 0.22 * self._distance) + 2000.0
        step = 1000.0 if reach < 20000 else 5000.0
        center = self._space.center[:2]
        ticks = [np.arange(np.ceil((c - reach) / step), (c + reach) / step) * step for c in center]
        pieces = []
        for axis in (0, 1):
            along = np.linspace(center[1 - axis] - reach, center[1 - axis] + reach, 41)
            for tick in ticks[axis]:
                line = np.full((len(along), 3), self._ground)
                line[:, axis], line[:, 1 - axis] = tick, along
                pieces.append(np.stack([line[:-1], line[1:]], axis=1))
        segments = np.concatenate(pieces)
        far = np.linalg.norm(segments.mean(axis=1)[:, :2] - center, axis=1) / reach
        visible = far < 1.0
        pixels, depth = eye.project(segments[visible].reshape(-1, 3))
        pixels, depth = pixels.reshape(-1, 2, 2), depth.reshape(-1, 2)
        for (start, end), depths, fade in zip(pixels, depth, far[visible]):
            if depths.min() > NEAREST_MM:
                behind = color_at(picture, (start + end) / 2)
                draw_line(picture, start, end, 1, mix(GRID, behind, min(1.0, fade**1.5)))

    def _draw_space(self, picture: np.ndarray, eye: Camera) -> None:
        """The capture space: its floor tinted, its edges thin."""
        pixels, depth = eye.project(_box_corners(self._space))
        if depth.min() <= NEAREST_MM:
            return
        fill_polygon(picture, pixels[[0, 1, 3, 2]], SPACE_EDGE, 0.10)
        for a, b in _BOX_EDGES:
            on_floor = a < 4 and b < 4
            behind = color_at(picture, (pixels[a] + pixels[b]) / 2)
            color = mix(SPACE_EDGE, behind, 0.25 if on_floor else 0.6)
            draw_line(picture, pixels[a], pixels[b], 2 if on_floor else 1, color)

    def _draw_shadows(
        self, picture: np.ndarray, eye: Camera, skeletons: Sequence[Skeleton], body: Body
    ) -> None:
        """A soft shadow under each person, as of a lamp above."""
        half = 2
        shadow = np.zeros((self._size[1] // half, self._size[0] // half), np.uint8)
        for skeleton in skeletons:
            flat = skeleton.joints.copy()
            flat[:, 2] = self._ground
            pixels, depth = eye.project(flat)
            for a, b in body.limbs:
                if min(depth[a], depth[b]) > NEAREST_MM:
                    radius = 2.2 * LIMB_MM * eye.K[0, 0] / depth[a] / half
                    draw_capsule(shadow, pixels[a] / half, pixels[b] / half, radius, radius, (110,))
        soft = cv2.GaussianBlur(shadow, (0, 0), 0.009 * self._size[0] / half)
        x, y, width, height = cv2.boundingRect(soft)
        if width and height:
            part = cv2.resize(soft[y : y + height, x : x + width], None, fx=half, fy=half)
            place = picture[half * y : half * (y + height), half * x : half * (x + width)]
            blend(place, INK, part * (0.75 / 255.0))

    def _draw_camera(self, picture: np.ndarray, eye: Camera, camera: Camera, view: np.ndarray) -> None:
        """A small frustum with what the camera sees on its image plane, and its name."""
        plane = self._icon_mm * frustum_corners(camera)
        pixels, depth = eye.project(np.vstack([camera.C + plane, camera.C[None]]))
        if depth.min() <= NEAREST_MM or np.abs(pixels).max() > FARTHEST_PX:
            return
        quad, apex = pixels[:4], pixels[4]
        for corner in quad:
            draw_line(picture, apex, corner, 1, CAMERA_EDGE)
        # A screen between the viewer and the people must not hide them.
        draw_texture(picture, view, quad, 1.0 if depth.mean() > 0.95 * self._distance else 0.3)
        for a, b in ((0, 1), (1, 2), (2, 3), (3, 0)):
            draw_line(picture, quad[a], quad[b], 2, CAMERA_EDGE)
        draw_disc(picture, apex, 4.0, CAMERA_EDGE)
        low = max(quad[:, 1].max(), apex[1]) + 12
        write_text(picture, camera.name, (pixels[:, 0].mean(), low), 13, CAMERA_EDGE, centered=True)

    def _draw_person(self, picture: np.ndarray, eye: Camera, skeleton: Skeleton, body: Body) -> None:
        """Limbs as shaded tubes, the farthest first."""
        pixels, depth = eye.project(skeleton.joints)
        if depth.min() <= NEAREST_MM or np.abs(pixels).max() > FARTHEST_PX:
            return
        color = person_color(skeleton.track_id)
        focal = eye.K[0, 0]
        if body.torso and skeleton.joint_valid[list(body.torso)].all():
            torso = cv2.convexHull(pixels[list(body.torso)].astype(np.float32))[:, 0]
            fill_polygon(picture, torso, color, 0.35)
        strokes = body_strokes(skeleton, body, pixels, depth, color)
        for stroke in sorted(strokes, key=lambda stroke: -stroke.depths.mean()):
            radii = stroke.radius_mm * focal / stroke.depths
            draw_tube(picture, stroke.ends[0], stroke.ends[1], radii, stroke.color)
        if skeleton.track_id >= 0:
            top = pixels[pixels[:, 1].argmin()]
            above = 2.0 * HEAD_MM * focal / depth.mean() + 16.0
            draw_badge(picture, str(skeleton.track_id), top - [0, above], color)


def best_azimuth(centers: Sequence[np.ndarray], target: np.ndarray) -> float:
    """Direction (radians about z) from which to look at a rig: between two of its cameras.

    The widest gap between neighbouring cameras narrower than half a turn, so that a rig on one
    side is seen from that side.

    Args:
        centers: camera centres (3,), mm.
        target: (3,) what is looked at, mm.
    """
    offsets = np.array(centers)[:, :2] - target[:2]
    angles = np.sort(np.arctan2(offsets[:, 1], offsets[:, 0]))
    gaps = np.diff(angles, append=angles[0] + 2 * math.pi)
    gaps = np.where(gaps > math.pi, 0.0, gaps)
    widest = int(gaps.argmax())
    return float(angles[widest] + gaps[widest] / 2)


def frustum_corners(camera: Camera) -> np.ndarray:
    """(4, 3) from a camera's centre to the corners of its image plane, world axes; the longer side is 1.

    Top left first, clockwise in the image; the lens' distortion is left out.
    """
    width, height = camera.image_size
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], float)
    rays = np.column_stack([corners, np.ones(4)]) @ np.linalg.inv(camera.K).T
    return (rays / max(np.ptp(rays[:, 0]), np.ptp(rays[:, 1]))) @ camera.R


def looking_down(azimuth: float, elevation: float) -> np.ndarray:
    """(3, 3) rotation of an upright camera at that azimuth and elevation, rad, around what it looks at."""
    back = np.array(
        [
            math.cos(elevation) * math.cos(azimuth),
            math.cos(elevation) * math.sin(azimuth),
            math.sin(elevation),
        ]
    )
    right = np.array([-math.sin(azimuth), math.cos(azimuth), 0.0])
    return np.stack([right, np.cross(-back, right), -back])


def _box_corners(space: Space) -> np.ndarray:
    """(8, 3) corners, mm; the first four on the floor."""
    low, high = space.low, space.high
    return np.array(
        [[x, y, z] for z in (low[2], high[2]) for y in (low[1], high[1]) for x in (low[0], high[0])]
    )


_BOX_EDGES = tuple((a, b) for a in range(8) for b in range(a + 1, 8) if bin(a ^ b).count("1") == 1)
