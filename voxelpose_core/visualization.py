"""Pictures for people: the views with the 3D skeletons projected into them, beside a 3D view."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import Callable, NamedTuple, Sequence

import cv2
import numpy as np

from voxelpose_core.errors import InputError
from voxelpose_core.estimate import Skeleton
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.coverage import propose_space
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.geometry.space import Space
from voxelpose_core.skeletons import JointSet

Color = tuple[int, int, int]

# Colours are BGR, as OpenCV draws them.
PALETTE: tuple[Color, ...] = (
    (66, 92, 238),
    (196, 146, 24),
    (66, 168, 70),
    (30, 158, 244),
    (186, 78, 152),
    (158, 158, 24),
    (136, 92, 236),
    (62, 118, 164),
    (226, 112, 98),
    (72, 190, 166),
)
UNTRACKED: Color = (140, 140, 140)
WHITE: Color = (255, 255, 255)
INK: Color = (72, 64, 58)
EMPTY_VIEW: Color = (62, 56, 52)
SKY: Color = (253, 250, 248)
GROUND: Color = (228, 222, 216)
GRID: Color = (198, 190, 182)
SPACE_EDGE: Color = (196, 150, 104)
CAMERA_EDGE: Color = (128, 114, 104)

MAX_HEIGHT, MIN_HEIGHT = 1080, 600
GAP, CORNER = 12, 12
LIMB_MM, HEAD_MM = 32.0, 95.0
MIN_KEYPOINT_SCORE = 0.15
FIELD_OF_VIEW_DEG, ELEVATION_DEG = 30.0, 26.0
NEAREST_MM = 100.0
SUBPIXEL_BITS = 4
FARTHEST_PX = 30000.0
# Enough for every camera of the usual rig; a camera far off is left outside the picture.
LARGEST_RETREAT = 1.7
ICON_SHARE = 0.038


def person_color(track_id: int) -> Color:
    """BGR colour of a person; grey where nothing tracks."""
    return PALETTE[track_id % len(PALETTE)] if track_id >= 0 else UNTRACKED


def draw_frame(
    rig: Rig,
    images: Sequence[np.ndarray | None] | None,
    skeletons: Sequence[Skeleton],
    joint_set: JointSet,
    keypoints: Sequence[np.ndarray | None] | None = None,
    caption: str = "",
) -> np.ndarray:
    """The picture of one moment: see `FramePainter`, which is faster for many."""
    return FramePainter(rig, joint_set).paint(images, skeletons, keypoints, caption)


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
        keypoints: 2D people (P, J, 3) to show as dots.
        width: of the picture, pixels, at most; images are not enlarged.

    Returns:
        (height, width, 3) uint8, BGR.
    """
    scale = min(1.0, width / camera.image_size[0])
    full_width, full_height = camera.image_size
    view = _View(camera, (round(scale * full_width), max(1, round(scale * full_height))))
    if image is not None:
        view.fill(image)
    if keypoints is not None:
        view.draw_keypoints(keypoints)
    view.draw_skeletons(skeletons, _Body.of(joint_set))
    view.draw_name()
    return view.picture


class FramePainter:
    """Paints moments of one rig, all pictures of one size.

    Args:
        rig: the cameras.
        joint_set: the J joints of skeletons and keypoints.
        space: the capture space to show; the rig's, or the proposed one, by default.
        width: of the picture, pixels.
    """

    def __init__(
        self, rig: Rig, joint_set: JointSet, space: Space | None = None, width: int = 1920
    ):
        self._rig = rig
        self._body = _Body.of(joint_set)
        self._layout = plan_layout([camera.image_size for camera in rig.cameras], width)
        self._scene = _Scene(rig, space or rig.space or propose_space(rig), self._layout.scene)

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
        """The picture of one moment.

        Args:
            images: per camera its BGR image, or None where it had no frame. None: keypoints only.
            skeletons: the people, mm.
            keypoints: per camera the 2D people (P, J, 3) to show as dots, or None.
            caption: one line for the 3D view.
            turn_deg: turns the 3D view about the vertical; a slow swing shows depth.

        Returns:
            (height, width, 3) uint8, BGR.
        """
        width, height = self.size
        picture = np.full((height, width, 3), WHITE, np.uint8)
        views = []
        for index, (camera, panel) in enumerate(zip(self._rig.cameras, self._layout.views)):
            view = _View(camera, panel.size)
            if images is not None:
                view.fill(images[index])
            if keypoints is not None and keypoints[index] is not None:
                view.draw_keypoints(keypoints[index])
            view.draw_skeletons(skeletons, self._body)
            views.append(view.picture.copy())
            view.draw_name()
            panel.paste(picture, view.picture)
        scene = self._scene.paint(skeletons, self._body, views, turn_deg)
        write_text(scene, caption, (22, 22), 19, INK)
        self._layout.scene.paste(picture, scene)
        return picture


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
        """Append a picture (H, W, 3) BGR uint8; the first one sets the size, even numbers."""
        if self._writer is None:
            size = (picture.shape[1], picture.shape[0])
            self._writer = cv2.VideoWriter(
                str(self._path), cv2.VideoWriter_fourcc(*"mp4v"), self._fps, size
            )
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


# --- where things go -------------------------------------------------------------------------


class Panel(NamedTuple):
    """A rectangle of the picture, pixels."""

    x: int
    y: int
    width: int
    height: int

    @property
    def size(self) -> tuple[int, int]:
        return self.width, self.height

    def paste(self, picture: np.ndarray, content: np.ndarray) -> None:
        """Put content (height, width, 3) here, with rounded corners."""
        place = picture[self.y : self.y + self.height, self.x : self.x + self.width]
        background = place.copy()
        place[:] = content
        quarter = _quarter_disc(CORNER)
        for rows, down in ((slice(0, CORNER), 1), (slice(-CORNER, None), -1)):
            for columns, right in ((slice(0, CORNER), 1), (slice(-CORNER, None), -1)):
                outside = 1.0 - quarter[::down, ::right]
                _blend(place[rows, columns], background[rows, columns], outside)


class Layout(NamedTuple):
    """Sizes and places of a picture: one panel a view, and the 3D view beside them."""

    size: tuple[int, int]
    views: tuple[Panel, ...]
    scene: Panel


def plan_layout(image_sizes: Sequence[tuple[int, int]], width: int = 1920) -> Layout:
    """The layout in which views and 3D view fill the picture best.

    Args:
        image_sizes: (width, height) of each view's image, pixels.
        width: of the picture, pixels.

    Returns:
        a layout at most 9/16 as high as it is wide.
    """
    aspect = float(np.median([w / h for w, h in image_sizes]))
    count = len(image_sizes)
    candidates = [
        _plan_grid(count, columns, share, aspect, width)
        for columns in range(1, count + 1)
        for share in np.arange(0.30, 0.66, 0.05)
    ]
    return max(candidates, key=lambda layout: _layout_quality(layout, width))


def _plan_grid(count: int, columns: int, share: float, aspect: float, width: int) -> Layout:
    """A grid of equal cells on at most `share` of the width, the 3D view on the rest."""
    tallest = width * MAX_HEIGHT // 1920
    rows = math.ceil(count / columns)
    cell_width = (width * share - GAP * columns) / columns
    cell_height = min(cell_width / aspect, (tallest - GAP * (rows + 1)) / rows)
    cell = (int(cell_height * aspect), int(cell_height))
    height = rows * (cell[1] + GAP) + GAP
    height = max(height, width * MIN_HEIGHT // 1920)
    height += height % 2
    top = (height - rows * (cell[1] + GAP) + GAP) // 2
    views = []
    for index in range(count):
        row, column = divmod(index, columns)
        in_row = min(columns, count - row * columns)
        indent = (columns - in_row) * (cell[0] + GAP) // 2
        x = GAP + indent + column * (cell[0] + GAP)
        views.append(Panel(x, top + row * (cell[1] + GAP), *cell))
    left = GAP + columns * (cell[0] + GAP)
    scene = Panel(left, GAP, width - GAP - left, height - 2 * GAP)
    return Layout((width, height), tuple(views), scene)


def _layout_quality(layout: Layout, width: int) -> float:
    """Larger is better: large views, no empty cell, a 3D view a little wider than high."""
    area = width * width * MAX_HEIGHT / 1920
    views = sum(panel.width * panel.height for panel in layout.views) / area
    scene = layout.scene.width * layout.scene.height / area
    columns = len({panel.x for panel in layout.views if panel.y == layout.views[0].y})
    empty = -len(layout.views) % columns / len(layout.views)
    shape = abs(math.log(layout.scene.width / layout.scene.height / 1.15))
    return 1.5 * min(views, 0.4) + min(scene, 0.5) - 0.4 * empty - 0.25 * shape


# --- one camera's view ------------------------------------------------------------------------


class _View:
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
        """Show the image, or say that there is none."""
        if image is None:
            height, width = self.picture.shape[:2]
            write_text(self.picture, "no frame", (width / 2, height - 24), 16, WHITE, centered=True)
            return
        (x, y), (width, height) = self._corner, self._shown
        self.picture[y : y + height, x : x + width] = cv2.resize(
            image, self._shown, interpolation=cv2.INTER_AREA
        )

    def draw_keypoints(self, people: np.ndarray) -> None:
        """2D keypoints (P, J, 3) as white dots."""
        for person in people:
            seen = person[:, 2] >= MIN_KEYPOINT_SCORE
            for point in self._to_panel(person[seen, :2]):
                _disc(self.picture, point, 2.2 * self._unit, INK)
                _disc(self.picture, point, 1.5 * self._unit, WHITE)

    def draw_skeletons(self, skeletons: Sequence[Skeleton], body: _Body) -> None:
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
        _tag(self.picture, self._camera.name, (10, 10))

    def _draw_skeleton(
        self, skeleton: Skeleton, pixels: np.ndarray, drawable: np.ndarray, body: _Body
    ) -> None:
        color = person_color(skeleton.track_id)
        limbs = [(a, b) for a, b in body.limbs if drawable[a] and drawable[b]]
        width = 1.7 * self._unit
        neck = [*body.head, *body.shoulders]
        if body.head and body.shoulders and (drawable & skeleton.joint_valid)[neck].all():
            head = pixels[list(body.head)].mean(axis=0)
            base = pixels[list(body.shoulders)].mean(axis=0)
            _capsule(self.picture, base, head, 0.5 * width, 0.5 * width, color)
        for a, b in limbs:
            _capsule(self.picture, pixels[a], pixels[b], width + 0.8, width + 0.8, _dark(color))
        for a, b in limbs:
            sure = skeleton.joint_valid[a] and skeleton.joint_valid[b]
            shade = body.shade((a, b), color)
            _capsule(
                self.picture, pixels[a], pixels[b], width, width, shade if sure else _pale(shade)
            )
        for joint in np.flatnonzero(drawable):
            _disc(self.picture, pixels[joint], 1.5 * width, _dark(color))
            _disc(self.picture, pixels[joint], 1.5 * width - 0.8, _pale(color, 0.55))

    def _to_panel(self, pixels: np.ndarray) -> np.ndarray:
        return (pixels + 0.5) * self._scale - 0.5 + self._corner


# --- the 3D view ------------------------------------------------------------------------------


class _Scene:
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
        body: _Body,
        views: Sequence[np.ndarray],
        turn_deg: float,
    ) -> np.ndarray:
        """(height, width, 3) BGR picture; `views` are shown in the camera icons."""
        eye = self._virtual_camera(turn_deg)
        picture = self._backdrop.copy()
        self._draw_grid(picture, eye)
        self._draw_shadows(picture, eye, skeletons, body)
        self._draw_space(picture, eye)
        # The farthest first, so that the near ones cover them.
        items: list[tuple[float, Callable[[], None]]] = []
        for camera, view in zip(self._rig.cameras, views):
            depth = float(eye.to_camera(camera.C[None])[0, 2])
            items.append((depth, lambda c=camera, v=view: self._draw_camera(picture, eye, c, v)))
        for skeleton in skeletons:
            depth = float(np.median(eye.to_camera(skeleton.joints)[:, 2]))
            items.append((depth, lambda s=skeleton: self._draw_person(picture, eye, s, body)))
        for _, draw in sorted(items, key=lambda item: -item[0]):
            draw()
        return picture

    def _virtual_camera(self, turn_deg: float = 0.0) -> Camera:
        azimuth, elevation = self._azimuth + math.radians(turn_deg), math.radians(ELEVATION_DEG)
        back = np.array(
            [
                math.cos(elevation) * math.cos(azimuth),
                math.cos(elevation) * math.sin(azimuth),
                math.sin(elevation),
            ]
        )
        right = np.array([-math.sin(azimuth), math.cos(azimuth), 0.0])
        rotation = np.stack([right, np.cross(-back, right), -back])
        width, height = self._size
        focal = 0.5 * max(width, height) / math.tan(math.radians(FIELD_OF_VIEW_DEG / 2))
        cx, cy = np.array(self._size) / 2 + self._shift
        K = np.array([[focal, 0, cx], [0, focal, cy], [0, 0, 1]])
        center = self._target + self._distance * back
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
                behind = _color_at(picture, (start + end) / 2)
                _line(picture, start, end, 1, _mix(GRID, behind, min(1.0, fade**1.5)))

    def _draw_space(self, picture: np.ndarray, eye: Camera) -> None:
        """The capture space: its floor tinted, its edges thin."""
        pixels, depth = eye.project(_box_corners(self._space))
        if depth.min() <= NEAREST_MM:
            return
        _fill_polygon(picture, pixels[[0, 1, 3, 2]], SPACE_EDGE, 0.10)
        for a, b in _BOX_EDGES:
            on_floor = a < 4 and b < 4
            behind = _color_at(picture, (pixels[a] + pixels[b]) / 2)
            color = _mix(SPACE_EDGE, behind, 0.25 if on_floor else 0.6)
            _line(picture, pixels[a], pixels[b], 2 if on_floor else 1, color)

    def _draw_shadows(
        self, picture: np.ndarray, eye: Camera, skeletons: Sequence[Skeleton], body: _Body
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
                    _capsule(shadow, pixels[a] / half, pixels[b] / half, radius, radius, (110,))
        soft = cv2.GaussianBlur(shadow, (0, 0), 0.009 * self._size[0] / half)
        x, y, width, height = cv2.boundingRect(soft)
        if width and height:
            part = cv2.resize(soft[y : y + height, x : x + width], None, fx=half, fy=half)
            place = picture[half * y : half * (y + height), half * x : half * (x + width)]
            _blend(place, INK, part * (0.75 / 255.0))

    def _draw_camera(
        self, picture: np.ndarray, eye: Camera, camera: Camera, view: np.ndarray
    ) -> None:
        """A small frustum with what the camera sees on its image plane, and its name."""
        width, height = camera.image_size
        corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], float)
        rays = np.column_stack([corners, np.ones(4)]) @ np.linalg.inv(camera.K).T
        plane = (rays * self._icon_mm / max(np.ptp(rays[:, 0]), np.ptp(rays[:, 1]))) @ camera.R
        pixels, depth = eye.project(np.vstack([camera.C + plane, camera.C[None]]))
        if depth.min() <= NEAREST_MM or np.abs(pixels).max() > FARTHEST_PX:
            return
        quad, apex = pixels[:4], pixels[4]
        for corner in quad:
            _line(picture, apex, corner, 1, CAMERA_EDGE)
        # A screen between the viewer and the people must not hide them.
        _texture(picture, view, quad, 1.0 if depth.mean() > 0.95 * self._distance else 0.3)
        for a, b in ((0, 1), (1, 2), (2, 3), (3, 0)):
            _line(picture, quad[a], quad[b], 2, CAMERA_EDGE)
        _disc(picture, apex, 4.0, CAMERA_EDGE)
        low = max(quad[:, 1].max(), apex[1]) + 12
        write_text(picture, camera.name, (pixels[:, 0].mean(), low), 13, CAMERA_EDGE, centered=True)

    def _draw_person(
        self, picture: np.ndarray, eye: Camera, skeleton: Skeleton, body: _Body
    ) -> None:
        """Limbs as shaded tubes, the farthest first."""
        pixels, depth = eye.project(skeleton.joints)
        if depth.min() <= NEAREST_MM or np.abs(pixels).max() > FARTHEST_PX:
            return
        color = person_color(skeleton.track_id)
        focal = eye.K[0, 0]
        if body.torso and skeleton.joint_valid[list(body.torso)].all():
            torso = cv2.convexHull(pixels[list(body.torso)].astype(np.float32))[:, 0]
            _fill_polygon(picture, torso, color, 0.35)
        strokes = _strokes(skeleton, body, pixels, depth, color)
        for stroke in sorted(strokes, key=lambda stroke: -stroke.depths.mean()):
            radii = stroke.radius_mm * focal / stroke.depths
            _tube(picture, *stroke.ends, radii, stroke.color)
        if skeleton.track_id >= 0:
            top = pixels[pixels[:, 1].argmin()]
            above = 2.0 * HEAD_MM * focal / depth.mean() + 16.0
            _badge(picture, str(skeleton.track_id), top - [0, above], color)


class _Stroke(NamedTuple):
    """A tube of a body: ends (2, 2) in pixels and their depths (2,) in mm."""

    ends: np.ndarray
    depths: np.ndarray
    radius_mm: float
    color: Color


def _strokes(
    skeleton: Skeleton, body: _Body, pixels: np.ndarray, depth: np.ndarray, color: Color
) -> list[_Stroke]:
    """Limbs, neck and head of a person; pale where a joint is not valid."""
    valid = skeleton.joint_valid
    strokes = []
    for a, b in body.limbs:
        shade = body.shade((a, b), color)
        shade = shade if valid[a] and valid[b] else _pale(shade, 0.7)
        strokes.append(_Stroke(pixels[[a, b]], depth[[a, b]], LIMB_MM, shade))
    head, shoulders = list(body.head), list(body.shoulders)
    if head and valid[head].all():
        strokes.append(_stroke_between([head, head], pixels, depth, HEAD_MM, color))
        if shoulders and valid[shoulders].all():
            strokes.append(_stroke_between([shoulders, head], pixels, depth, LIMB_MM, color))
    return strokes


def _stroke_between(
    groups: Sequence[list[int]],
    pixels: np.ndarray,
    depth: np.ndarray,
    radius_mm: float,
    color: Color,
) -> _Stroke:
    """The stroke from the middle of one group of joints to the middle of another."""
    ends = np.array([pixels[group].mean(axis=0) for group in groups])
    depths = np.array([depth[group].mean() for group in groups])
    return _Stroke(ends, depths, radius_mm, color)


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


def _box_corners(space: Space) -> np.ndarray:
    """(8, 3) corners, mm; the first four on the floor."""
    low, high = space.low, space.high
    return np.array(
        [[x, y, z] for z in (low[2], high[2]) for y in (low[1], high[1]) for x in (low[0], high[0])]
    )


_BOX_EDGES = tuple(
    (a, b) for a in range(8) for b in range(a + 1, 8) if bin(a ^ b).count("1") == 1
)


# --- the body ---------------------------------------------------------------------------------


class _Body(NamedTuple):
    """How a joint set is drawn.

    Attributes:
        limbs: pairs of joints, without those inside the face.
        face: joints inside the head.
        head: joints whose mean is the head's middle; none where the set has its own head joints.
        shoulders: joints whose mean is the neck's lower end; none where a limb is the neck.
        torso: shoulders and hips.
        right: joints of the right side.
    """

    limbs: tuple[tuple[int, int], ...]
    face: frozenset[int]
    head: tuple[int, ...]
    shoulders: tuple[int, ...]
    torso: tuple[int, ...]
    right: frozenset[int]

    @classmethod
    def of(cls, joint_set: JointSet) -> _Body:
        names = joint_set.joint_names

        def some(*wanted: str) -> tuple[int, ...]:
            return tuple(names.index(name) for name in wanted if name in names)

        face = frozenset(some("nose", "left_eye", "right_eye", "left_ear", "right_ear"))
        return cls(
            limbs=tuple(limb for limb in joint_set.limbs if not face.issuperset(limb)),
            face=face,
            head=some("left_ear", "right_ear") or some("nose"),
            shoulders=() if "neck" in names else some("left_shoulder", "right_shoulder"),
            torso=some("left_shoulder", "right_shoulder", "right_hip", "left_hip"),
            right=frozenset(i for i, name in enumerate(names) if name.startswith("right_")),
        )

    def shade(self, limb: tuple[int, int], color: Color) -> Color:
        """The person's colour, darker on the right side of the body."""
        return _dark(color, 0.78) if self.right.issuperset(limb) else color


# --- strokes ----------------------------------------------------------------------------------


_UNIT_CIRCLE = np.stack(
    [f(np.linspace(0, 2 * math.pi, 24, endpoint=False)) for f in (np.cos, np.sin)], axis=1
)


def _mix(first: Color, second: Color, share: float) -> Color:
    """A colour `share` of the way from the first to the second."""
    return tuple(round(a + (b - a) * share) for a, b in zip(first, second))


def _dark(color: Color, keep: float = 0.55) -> Color:
    return _mix((0, 0, 0), color, keep)


def _pale(color: Color, share: float = 0.5) -> Color:
    return _mix(color, WHITE, share)


def _color_at(picture: np.ndarray, point: np.ndarray) -> Color:
    height, width = picture.shape[:2]
    x, y = (int(np.clip(v, 0, side - 1)) for v, side in zip(point, (width, height)))
    return tuple(int(v) for v in picture[y, x])


def _fixed(points: np.ndarray) -> np.ndarray:
    """Pixels (..., 2) as cv2's fixed-point coordinates."""
    clipped = np.clip(points, -FARTHEST_PX, FARTHEST_PX)
    return np.round(clipped * (1 << SUBPIXEL_BITS)).astype(np.int32)


def _line(picture: np.ndarray, a: np.ndarray, b: np.ndarray, width: int, color: Color) -> None:
    start, end = (tuple(int(v) for v in point) for point in _fixed(np.array([a, b])))
    cv2.line(picture, start, end, color, width, cv2.LINE_AA, SUBPIXEL_BITS)


def _disc(picture: np.ndarray, center: np.ndarray, radius: float, color: Color) -> None:
    # As a polygon: OpenCV's circles of a few pixels look like diamonds.
    outline = np.asarray(center) + radius * _UNIT_CIRCLE
    cv2.fillConvexPoly(picture, _fixed(outline), color, cv2.LINE_AA, SUBPIXEL_BITS)


def _capsule(
    picture: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    radius_a: float,
    radius_b: float,
    color: Color,
) -> None:
    """A stroke from a to b with round ends of two radii, pixels."""
    along = b - a
    length = float(np.hypot(*along))
    if length > 1e-6:
        normal = np.array([-along[1], along[0]]) / length
        side_a, side_b = normal * radius_a, normal * radius_b
        outline = np.array([a + side_a, b + side_b, b - side_b, a - side_a])
        cv2.fillConvexPoly(picture, _fixed(outline), color, cv2.LINE_AA, SUBPIXEL_BITS)
    _disc(picture, a, radius_a, color)
    _disc(picture, b, radius_b, color)


def _tube(
    picture: np.ndarray, a: np.ndarray, b: np.ndarray, radii: np.ndarray, color: Color
) -> None:
    """A capsule lit from the upper left."""
    _capsule(picture, a, b, radii[0] + 1.2, radii[1] + 1.2, _dark(color, 0.62))
    _capsule(picture, a, b, radii[0], radii[1], color)
    lit = np.array([-0.28, -0.34])
    _capsule(
        picture,
        a + lit * radii[0],
        b + lit * radii[1],
        0.42 * radii[0],
        0.42 * radii[1],
        _pale(color, 0.38),
    )


def _texture(
    picture: np.ndarray, content: np.ndarray, quad: np.ndarray, opacity: float
) -> None:
    """Stretch content over a quad (4, 2) of the picture."""
    height, width = picture.shape[:2]
    low = np.clip(np.floor(quad.min(axis=0)).astype(int), 0, [width, height])
    high = np.clip(np.ceil(quad.max(axis=0)).astype(int) + 1, 0, [width, height])
    size = high - low
    if (size < 2).any():
        return
    # First shrunk: warping a large image onto a small quad would leave out most of its pixels.
    shrink = min(1.0, 1.5 * float(size.max()) / max(content.shape[:2]))
    content = cv2.resize(content, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    h, w = content.shape[:2]
    source = np.array([[0, 0], [w, 0], [w, h], [0, h]], np.float32) - 0.5
    homography = cv2.getPerspectiveTransform(source, (quad - low).astype(np.float32))
    window = tuple(int(v) for v in size)
    warped = cv2.warpPerspective(content, homography, window, flags=cv2.INTER_LINEAR)
    mask = np.zeros((window[1], window[0]), np.uint8)
    cv2.fillConvexPoly(mask, _fixed(quad - low), 255, cv2.LINE_AA, SUBPIXEL_BITS)
    _blend(picture[low[1] : high[1], low[0] : high[0]], warped, mask * (opacity / 255.0))


@lru_cache
def _quarter_disc(radius: int) -> np.ndarray:
    """(radius, radius) coverage of a disc's top left quarter."""
    mask = np.zeros((radius, radius), np.uint8)
    _disc(mask, np.array([radius - 0.5, radius - 0.5]), radius, (255,))
    return mask / 255.0


def _blend(place: np.ndarray, content: np.ndarray | Color, alpha: np.ndarray) -> None:
    """Lay content (h, w, 3), or a colour, over a place of a picture; alpha (h, w), 0 to 1."""
    over = np.asarray(content, np.float32) - place
    place[:] = np.round(place + over * alpha[..., None].astype(np.float32)).astype(np.uint8)


def _fill_polygon(picture: np.ndarray, points: np.ndarray, color: Color, opacity: float) -> None:
    """A translucent convex polygon (N, 2)."""
    height, width = picture.shape[:2]
    low = np.clip(np.floor(points.min(axis=0)).astype(int) - 1, 0, [width, height])
    high = np.clip(np.ceil(points.max(axis=0)).astype(int) + 2, 0, [width, height])
    if (high <= low).any():
        return
    mask = np.zeros((high[1] - low[1], high[0] - low[0]), np.uint8)
    cv2.fillConvexPoly(mask, _fixed(points - low), 255, cv2.LINE_AA, SUBPIXEL_BITS)
    place = picture[low[1] : high[1], low[0] : high[0]]
    _blend(place, color, mask * (opacity / 255.0))


def write_text(
    picture: np.ndarray,
    text: str,
    at: Sequence[float],
    height: int,
    color: Color,
    centered: bool = False,
) -> tuple[int, int]:
    """Write one line, smoother than OpenCV does at small sizes.

    Args:
        picture: (H, W, 3), changed in place.
        text: ASCII.
        at: (x, y) of its top left corner, or of its middle when centered, pixels.
        height: of a capital letter's line, pixels.
        color: BGR.

    Returns:
        (width, height) of the text, pixels.
    """
    mask = _text_mask(text, height)
    if mask is None:
        return 0, 0
    h, w = mask.shape
    x, y = (int(round(v)) for v in at)
    if centered:
        x, y = x - w // 2, y - h // 2
    left, top = max(x, 0), max(y, 0)
    right, bottom = min(x + w, picture.shape[1]), min(y + h, picture.shape[0])
    if left < right and top < bottom:
        covered = mask[top - y : bottom - y, left - x : right - x]
        _blend(picture[top:bottom, left:right], color, covered)
    return w, h


def _text_mask(text: str, height: int) -> np.ndarray | None:
    """(h, w) float coverage of a line of text, drawn large and shrunk."""
    if not text:
        return None
    large, face = 4, cv2.FONT_HERSHEY_SIMPLEX
    scale = cv2.getFontScaleFromHeight(face, round(0.72 * height * large))
    stroke = max(1, round(0.11 * height * large))
    (width, above), below = cv2.getTextSize(text, face, scale, stroke)
    canvas = np.zeros((above + below + 2 * stroke, width + 2 * stroke), np.uint8)
    cv2.putText(canvas, text, (stroke, above + stroke), face, scale, 255, stroke, cv2.LINE_AA)
    small = (max(1, canvas.shape[1] // large), max(1, canvas.shape[0] // large))
    return cv2.resize(canvas, small, interpolation=cv2.INTER_AREA) / 255.0


def _tag(picture: np.ndarray, text: str, corner: Sequence[int]) -> None:
    """Text on a small translucent plate with round ends."""
    mask = _text_mask(text, 14)
    if mask is None:
        return
    (x, y), (h, w) = corner, mask.shape
    radius = h / 2 + 4
    plate = np.zeros(picture.shape[:2], np.uint8)[: y + h + 10]
    left, right = np.array([x + radius, y + radius]), np.array([x + w + radius, y + radius])
    _capsule(plate, left, right, radius, radius, (255,))
    _blend(picture[: plate.shape[0]], INK, plate * (0.7 / 255.0))
    write_text(picture, text, (x + radius, y + 4), 14, WHITE)


def _badge(picture: np.ndarray, text: str, center: np.ndarray, color: Color) -> None:
    """A number in a disc."""
    _disc(picture, center, 13.0, WHITE)
    _disc(picture, center, 11.5, color)
    write_text(picture, text, center, 15, WHITE, centered=True)
