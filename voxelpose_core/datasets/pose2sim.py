"""Recordings of Pose2Sim (Pagnon, Domalain and Reveret, JOSS 2022): videos, Qualisys file, .trc."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.rig import Rig, load_rig
from voxelpose_core.pose_types import Skeleton
from voxelpose_core.skeletons import COCO17
from voxelpose_core.sources import open_videos, restore_codec_crop

# The joints that COCO-17 and a .trc file share, and their names there.
LIMB_JOINTS = {
    f"{side}_{joint}": f"{side[0].upper()}{joint.capitalize()}"
    for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    for side in ("left", "right")
}

Frames = Callable[[int], Iterator[tuple[int, "list[np.ndarray | None]"]]]


def open_recording(folder: Path | str) -> tuple[Rig, Frames]:
    """The rig of a recording, and a function of N that iterates every N-th (frame, images).

    Args:
        folder: with one `*.qca.txt` and one `cam*.mp4` a camera.

    Raises:
        InputError: when a file is missing or unreadable.
    """
    folder = Path(folder)
    rig = load_rig(_only(folder, "*.qca.txt"))
    videos = open_videos(sorted(folder.glob("cam*.mp4")))

    def frames(step: int = 1) -> Iterator[tuple[int, list[np.ndarray | None]]]:
        for frame, _, images in videos:
            if frame % step == 0:
                yield frame, restore_codec_crop(images, rig)

    return rig, frames


def read_reference(folder: Path | str) -> dict[str, np.ndarray]:
    """Pose2Sim's own result for a recording: COCO joint name -> (F, 3), mm, z up.

    The .trc file is in metres, y up; the rig's world is z up with [Z, X, Y] of its columns.
    """
    path = _only(Path(folder), "*.trc")
    lines = path.read_text().splitlines()
    names = [name for name in lines[3].split("\t")[2:] if name.strip()]
    rows = [line.split("\t") for line in lines[5:] if line.strip()]
    values = np.array([[float(v) if v.strip() else np.nan for v in row[2:]] for row in rows])
    points = values[:, : 3 * len(names)].reshape(len(rows), len(names), 3)
    world = 1000.0 * points[:, :, [2, 0, 1]]
    return {name: world[:, names.index(trc)] for name, trc in LIMB_JOINTS.items()}


def _only(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise InputError(f"{folder}: {len(found)} files fit {pattern}, expected one")
    return found[0]


def reference_distances(
    skeletons: Sequence[Skeleton], reference: dict[str, np.ndarray], frame: int
) -> list[float]:
    """mm between the best supported skeleton and the reference, per limb joint; none after its end."""
    if frame >= len(next(iter(reference.values()))):
        return []
    best = max(skeletons, key=lambda skeleton: skeleton.joint_scores.mean())
    return [
        float(np.linalg.norm(best.joints[COCO17.index(name)] - reference[name][frame]))
        for name in LIMB_JOINTS
    ]
