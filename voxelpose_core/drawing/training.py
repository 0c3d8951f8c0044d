"""Pictures of one training or test frame: heatmaps and poses in the views, proposals, 3D poses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from voxelpose_core.config import DebugConfig
from voxelpose_core.datasets.base import Sample
from voxelpose_core.drawing.colors import INK, WHITE
from voxelpose_core.drawing.files import write_image
from voxelpose_core.drawing.plan import Plan
from voxelpose_core.drawing.text import write_text
from voxelpose_core.geometry.image_transform import image_to_network
from voxelpose_core.metrics import pose_distances
from voxelpose_core.models.voxelpose import ProposalGrid
from voxelpose_core.skeletons import JointSet

# Colours are BGR. Truth is green, predictions are orange.
TRUTH, PREDICTION = (70, 165, 30), (0, 100, 240)
_DARK = (44, 40, 36)
_MARGIN, _TITLE = 10, 28
_VIEW_WIDTH, _VOLUME_WIDTH, _POSES_WIDTH = 400, 640, 600
# A picture of poses shows at least this much of the world, and this much around the people, mm.
_LEAST_EXTENT, _AROUND = 2500.0, 400.0
_TICK = 1000.0


@dataclass(frozen=True)
class Scene:
    """One frame and what a network made of it.

    Attributes:
        sample: the frame with its truth, without images.
        true_joint_set: of the truth.
        joint_set: the network's J joints.
        grid: the proposal grid.
        heatmaps: (V, J, H, W) that the 3D networks see.
        true_heatmaps: (V, J, H, W) of a perfect detector, or None where that is not known.
        root_volume: (X, Y, Z) of the root net.
        poses: (P, J, 3) predicted people, mm.
        scores: (P,) their root scores.
        images: (V, 3, H', W') RGB uint8 inputs of the backbone, or None.
    """

    sample: Sample
    true_joint_set: JointSet
    joint_set: JointSet
    grid: ProposalGrid
    heatmaps: np.ndarray
    true_heatmaps: np.ndarray | None
    root_volume: np.ndarray
    poses: np.ndarray
    scores: np.ndarray
    images: np.ndarray | None = None


def save_pictures(path: Path, scene: Scene, settings: DebugConfig) -> None:
    """Write the pictures of one frame that DEBUG asks for, as PATH_*.png; the folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures = {"proposals": draw_proposals(scene), "poses": draw_poses(scene)}
    columns = {}
    if settings.save_heatmaps_pred:
        columns["input of the 3D networks"] = scene.heatmaps
    if settings.save_heatmaps_gt and scene.true_heatmaps is not None:
        columns["truth"] = scene.true_heatmaps
    if columns:
        pictures["heatmaps"] = draw_heatmaps(scene, columns)
    predictions, truth = settings.save_batch_images_pred, settings.save_batch_images_gt
    if predictions or truth:
        pictures["views"] = draw_views(scene, predictions, truth)
    for name, picture in pictures.items():
        write_image(f"{path}_{name}.png", picture)


# --- in the views -------------------------------------------------------------------------------


def draw_heatmaps(scene: Scene, columns: dict[str, np.ndarray]) -> np.ndarray:
    """Heatmaps over the images, if there are any: the strongest joint at each pixel.

    Args:
        scene: the frame.
        columns: title -> heatmaps (V, J, H, W). One kind fills two columns, several have one each.

    Returns:
        (height, width, 3) BGR.
    """
    drawn = {}
    for title, heatmaps in columns.items():
        cells = _backgrounds(scene)
        drawn[title] = [_glow(maps, cell) for maps, cell in zip(heatmaps, cells, strict=True)]
        _name_views(drawn[title], scene)
    if len(drawn) == 1:
        ((title, cells),) = drawn.items()
        return _framed(scene, _two_columns(title, cells))
    stacked = [_column(title, cells) for title, cells in drawn.items()]
    return _framed(scene, np.concatenate(stacked, axis=1))


def _glow(maps: np.ndarray, beneath: np.ndarray) -> np.ndarray:
    size = beneath.shape[1::-1]
    strongest = np.clip(cv2.resize(maps.max(axis=0), size), 0.0, 1.0)[..., None]
    colors = cv2.applyColorMap((255 * strongest).astype(np.uint8), cv2.COLORMAP_INFERNO)
    # Weak answers show as faintly as they are, so that the image stays to be seen.
    opacity = np.sqrt(strongest)
    return (beneath * (1 - opacity) + colors * opacity).astype(np.uint8)


def draw_views(scene: Scene, predictions: bool = True, truth: bool = True) -> np.ndarray:
    """True and predicted people, projected into the views.

    Args:
        scene: the frame.
        predictions, truth: who is drawn.

    Returns:
        (height, width, 3) BGR.
    """
    cells = _backgrounds(scene)
    for picture, camera in zip(cells, scene.sample.rig.cameras, strict=True):
        # The network's input has the cell's shape, so that its map is the cell's.
        affine = image_to_network(camera.image_size, picture.shape[1::-1])

        def to_cell(joints: np.ndarray, camera=camera, affine=affine) -> np.ndarray:
            pixels = camera.project(joints)[0] @ affine[:, :2].T + affine[:, 2]
            return np.where(camera.sees(joints)[:, None], pixels, np.nan)

        _draw_people(picture, scene, to_cell, predictions, truth)
    _name_views(cells, scene)
    return _framed(scene, _two_columns("truth green, predictions orange", cells))


def _backgrounds(scene: Scene) -> list[np.ndarray]:
    """(height, width, 3) BGR of each view's input in the size of a cell; dark without images."""
    height, width = scene.heatmaps.shape[-2:]
    cell = (_VIEW_WIDTH, _VIEW_WIDTH * height // width)
    if scene.images is None:
        return [np.full((*cell[::-1], 3), _DARK, np.uint8) for _ in scene.sample.rig.cameras]
    return [
        cv2.resize(np.ascontiguousarray(image.transpose(1, 2, 0)[..., ::-1]), cell) for image in scene.images
    ]


def _name_views(cells: Sequence[np.ndarray], scene: Scene) -> None:
    for cell, name in zip(cells, scene.sample.rig.names, strict=True):
        write_text(cell, f"view {name}", (8, 8), 12, WHITE)


# --- in the world -------------------------------------------------------------------------------


def draw_proposals(scene: Scene) -> np.ndarray:
    """The root volume from above and from the front, with true and predicted roots.

    Returns:
        (height, width, 3) BGR: x to the right, y up above, z up below.
    """
    truth = scene.true_joint_set.root_of(scene.sample.poses)
    found = scene.joint_set.root_of(scene.poses)
    low = np.array(scene.grid.center) - np.array(scene.grid.size) / 2
    high = low + np.array(scene.grid.size)
    parts = []
    for title, axes, hidden in (("from above", [0, 1], 2), ("from the front", [0, 2], 1)):
        plan = Plan(low[axes], high[axes], _VOLUME_WIDTH)
        strongest = np.clip(scene.root_volume.max(axis=hidden).T[::-1], 0.0, 1.0)
        # The root shows weak answers too, which are all that a young network gives.
        brightness = (255 * np.sqrt(strongest)).astype(np.uint8)
        enlarged = cv2.resize(brightness, plan.size, interpolation=cv2.INTER_NEAREST)
        picture = cv2.applyColorMap(enlarged, cv2.COLORMAP_BONE)
        for points, color, radius in ((truth, TRUTH, 9), (found, PREDICTION, 5)):
            for x, y in plan.pixels(points[:, axes]):
                cv2.circle(picture, (round(x), round(y)), radius, color, 2, cv2.LINE_AA)
        width, height = (high - low)[axes] / 1000.0
        parts.append(_column(f"root volume {title}, {width:.1f} x {height:.1f} m", [picture]))
    listed = " ".join(f"{score:.2f}" for score in scene.scores[:8]) or "none"
    lines = (
        f"{len(truth)} true roots green; {len(found)} predicted orange, scores {listed}",
        f"volume from {scene.root_volume.min():.2f} to {scene.root_volume.max():.2f}; "
        "0 is black, 0.25 grey, 1 white",
    )
    notes = [_line_of_text(line, _VOLUME_WIDTH + _MARGIN) for line in lines]
    return _framed(scene, np.concatenate([*parts, *notes]))


def draw_poses(scene: Scene) -> np.ndarray:
    """True and predicted people from above and from the front, on lines 1 m apart.

    Returns:
        (height, width, 3) BGR: x to the right, y up above, z up below.
    """
    low, high = _extent(scene)
    parts = []
    for title, axes in (("from above", [0, 1]), ("from the front", [0, 2])):
        plan = Plan(low[axes], high[axes], _POSES_WIDTH)
        picture = plan.paper(_TICK)
        _draw_people(picture, scene, lambda joints, p=plan, a=axes: p.pixels(joints[:, a]))
        title = f"{title}, lines 1 m apart: truth green, predictions orange"
        parts.append(_column(title, [picture]))
    note = _line_of_text(_distances(scene), _POSES_WIDTH + _MARGIN)
    return _framed(scene, np.concatenate([*parts, note]))


def _distances(scene: Scene) -> str:
    """How many people there are, and how far each prediction is from the person nearest to it."""
    counts = f"{len(scene.sample.poses)} true people, {len(scene.poses)} predicted"
    if scene.true_joint_set != scene.joint_set or not len(scene.sample.poses):
        return counts
    distances = pose_distances(scene.poses, scene.sample.poses, scene.sample.visible)
    listed = " ".join(f"{nearest:.0f}" for nearest in distances.min(axis=1)[:8])
    return f"{counts}; mean joint errors, mm: {listed}" if listed else counts


def _extent(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Corners (3,) of the part of the world where people are, mm."""
    labelled = scene.sample.poses[scene.sample.visible]
    points = np.concatenate([labelled.reshape(-1, 3), scene.poses.reshape(-1, 3)])
    if len(points) == 0:
        points = np.array(scene.grid.center)[None]
    low, high = points.min(axis=0) - _AROUND, points.max(axis=0) + _AROUND
    middle, size = (low + high) / 2, np.maximum(high - low, _LEAST_EXTENT)
    return middle - size / 2, middle + size / 2


# --- drawing ------------------------------------------------------------------------------------


def _draw_people(
    picture: np.ndarray, scene: Scene, to_pixels, predictions: bool = True, truth: bool = True
) -> None:
    """Truth broad, predictions thin over it."""
    if truth:
        for pose, labelled in zip(scene.sample.poses, scene.sample.visible, strict=True):
            pixels = np.where(labelled[:, None], to_pixels(pose), np.nan)
            _draw_limbs(picture, pixels, scene.true_joint_set, TRUTH, 4)
    if predictions:
        for pose in scene.poses:
            _draw_limbs(picture, to_pixels(pose), scene.joint_set, PREDICTION, 2)


def _draw_limbs(picture: np.ndarray, pixels: np.ndarray, joint_set: JointSet, color, width: int) -> None:
    """The limbs between joints at (J, 2) pixels; a joint that is NaN is left out."""
    for first, second in joint_set.limbs:
        _draw_line(picture, pixels[first], pixels[second], color, width)


def _draw_line(picture: np.ndarray, start, end, color, width: int) -> None:
    ends = np.stack([start, end])
    # OpenCV's integers overflow far outside the picture.
    if np.isfinite(ends).all() and np.abs(ends).max() < 1e4:
        (x0, y0), (x1, y1) = np.round(ends).astype(int).tolist()
        cv2.line(picture, (x0, y0), (x1, y1), color, width, cv2.LINE_AA)


def _column(title: str, cells: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures of one width, one below the other, under a title."""
    width = cells[0].shape[1]
    parts = [_line_of_text(title, width)]
    for cell in cells:
        parts += [cell, np.full((_MARGIN, width, 3), WHITE, np.uint8)]
    stacked = np.concatenate(parts)
    gap = np.full((len(stacked), _MARGIN, 3), WHITE, np.uint8)
    return np.concatenate([stacked, gap], axis=1)


def _two_columns(title: str, cells: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures of one size under a title, from left to right and down."""
    empty = [np.full_like(cells[0], WHITE)] * (len(cells) % 2)
    left, right = cells[::2], [*cells[1::2], *empty]
    return np.concatenate([_column(title, left), _column("", right)], axis=1)


def _line_of_text(text: str, width: int) -> np.ndarray:
    line = np.full((_TITLE, width, 3), WHITE, np.uint8)
    write_text(line, text, (2, 7), 14, INK)
    return line


def _framed(scene: Scene, picture: np.ndarray) -> np.ndarray:
    """The picture under the frame's name, with a border."""
    headline = _line_of_text(f"frame {scene.sample.key}", picture.shape[1])
    border = (_MARGIN, _MARGIN, _MARGIN, 0)
    stacked = np.concatenate([headline, picture])
    return cv2.copyMakeBorder(stacked, *border, cv2.BORDER_CONSTANT, value=WHITE)
