"""What the 3D view of a page shows, as JSON for templates/viewer.js."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from voxelpose_core.drawing.body import FINE_MM, FOOT_MM, HEAD_MM, LIMB_MM, Body
from voxelpose_core.drawing.colors import Color, darker, person_color
from voxelpose_core.drawing.scene_view import best_azimuth, frustum_corners
from voxelpose_core.geometry.coverage import propose_space
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.geometry.space import Space
from voxelpose_core.skeleton_files import FrameSkeletons, Recording

# Bytes of coordinates in a page; of longer recordings only every second, third ... frame set is shown.
MAX_BYTES = 3_000_000
# Marks a joint that is not valid; coordinates are 16 bits.
_MISSING, _LARGEST = -32768, 32767
# Shades of a person's colour: left and middle, right side; the same of feet, hands and faces.
_SHADES = (1.0, 0.78, 0.85, 0.66)
_EDGE_SHARE = 0.62


def scene_json(rig: Rig, recording: Recording | None = None, space: Space | None = None) -> str:
    """Rig, capture space and skeletons, to be embedded in a page.

    Coordinates are 16 bits each, in steps of 1 mm (more where the world is wider than 65 m), little
    endian, as base64. A page holds at most 3 MB of them.

    Args:
        rig: the cameras.
        recording: the skeletons; None: only the rig.
        space: the capture space; None: the rig's, or the one proposed from its cameras.
    """
    space = space or rig.space or propose_space(rig)
    inside = space.low[2] <= rig.ground <= space.high[2]
    ground = rig.ground if inside else float(space.low[2])
    target = np.array([*space.center[:2], ground])
    scene: dict[str, Any] = {
        "cameras": [
            {
                "name": camera.name,
                "center": np.round(camera.C).tolist(),
                "corners": np.round(frustum_corners(camera), 4).tolist(),
            }
            for camera in rig.cameras
        ],
        "space": {"low": space.low.tolist(), "high": space.high.tolist()},
        "ground": ground,
        "azimuth": round(best_azimuth([camera.C for camera in rig.cameras], target), 4),
        "head_mm": HEAD_MM,
        "neck_mm": LIMB_MM,
        **_skeleton_data(recording),
    }
    # A name such as "</script>" must not end the element that holds this.
    return json.dumps(scene, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def every_nth(recording: Recording) -> int:
    """Of so many frame sets a page shows one."""
    people = sum(len(frame_set.skeletons) for frame_set in recording.frame_sets)
    return max(1, -(-people * len(recording.joint_set) * 6 // MAX_BYTES))


def _skeleton_data(recording: Recording | None) -> dict[str, Any]:
    if recording is None:
        return _of_frames([], (), ()) | {"limbs": [], "head": [], "shoulders": [], "empty": ""}
    body = Body.of(recording.joint_set)
    frame_sets = recording.frame_sets[:: every_nth(recording)]
    return _of_frames(frame_sets, recording.joint_set.joint_names, _ids(frame_sets)) | {
        "limbs": _limbs(body),
        "head": list(body.head),
        "shoulders": list(body.shoulders),
        "empty": "no person in this recording",
    }


def _of_frames(
    frame_sets: Sequence[FrameSkeletons], joint_names: Sequence[str], ids: Sequence[int]
) -> dict[str, Any]:
    skeletons = [skeleton for frame_set in frame_sets for skeleton in frame_set.skeletons]
    joints = np.array([s.joints for s in skeletons]).reshape(len(skeletons), len(joint_names), 3)
    valid = np.array([s.joint_valid for s in skeletons], bool).reshape(joints.shape[:2])
    valid &= np.isfinite(joints).all(axis=2)
    origin, step, coordinates = _quantized(joints, valid)
    counts = [len(frame_set.skeletons) for frame_set in frame_sets]
    return {
        "joint_names": list(joint_names),
        "people": [_person(track_id) for track_id in ids],
        "stamps": [round(frame_set.stamp, 4) for frame_set in frame_sets],
        "frames": [frame_set.frame for frame_set in frame_sets],
        "first": next((index for index, count in enumerate(counts) if count), 0),
        "origin": origin.tolist(),
        "step": step,
        "counts": _base64(counts),
        "skeleton_people": _base64([ids.index(s.track_id) for s in skeletons]),
        "coordinates": _base64(coordinates),
    }


def _ids(frame_sets: Sequence[FrameSkeletons]) -> list[int]:
    """Track ids, those without one last."""
    found = {skeleton.track_id for frame_set in frame_sets for skeleton in frame_set.skeletons}
    return sorted(found, key=lambda track_id: (track_id < 0, track_id))


def _quantized(joints: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, int, np.ndarray]:
    """Origin (3,) in mm, step in mm, and coordinates (S, J, 3) as 16-bit numbers of steps from it."""
    if not valid.any():
        return np.zeros(3), 1, np.full(joints.shape, _MISSING)
    low, high = joints[valid].min(axis=0), joints[valid].max(axis=0)
    origin = np.round((low + high) / 2)
    step = max(1, int(np.ceil(np.abs([low - origin, high - origin]).max() / _LARGEST)))
    steps = np.round((np.where(valid[..., None], joints, origin) - origin) / step)
    return origin, step, np.where(valid[..., None], steps, _MISSING)


def _base64(values: Any) -> str:
    return base64.b64encode(np.asarray(values, np.float64).astype("<i2").tobytes()).decode("ascii")


def _limbs(body: Body) -> list[list[float]]:
    """Joint, joint, radius in mm, and which of the person's shades."""
    groups = ((body.limbs, LIMB_MM, 0), (body.feet, FOOT_MM, 2), (body.fine, FINE_MM, 2))
    return [
        [a, b, radius, shade + body.right.issuperset((a, b))]
        for limbs, radius, shade in groups
        for a, b in limbs
    ]


def _person(track_id: int) -> dict[str, Any]:
    shades = [
        darker(person_color(track_id), keep) if keep < 1 else person_color(track_id) for keep in _SHADES
    ]
    return {
        "name": person_name(track_id),
        "colors": [css_color(shade) for shade in shades],
        "edges": [css_color(darker(shade, _EDGE_SHARE)) for shade in shades],
    }


def person_name(track_id: int) -> str:
    """A person's name as in other files ("P0")."""
    return f"P{track_id}" if track_id >= 0 else "not tracked"


def css_color(color: Color) -> str:
    """A BGR colour as CSS names it."""
    blue, green, red = color
    return f"#{red:02x}{green:02x}{blue:02x}"
