"""Bone lengths and rotations of a hierarchy from the joints of a person.

T frames; positions and offsets in one unit, rotations as matrices, world from bone.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from voxelpose_core.skeleton_files.bvh_tree import MIDDLES, Aim, Bone

# Shorter differences of two points have no direction, mm.
_NO_DIRECTION = 1.0


@dataclass
class PosedBone:
    """A bone with a length, and how it moves.

    Attributes:
        bone: of the hierarchy.
        offset: (3,) from the parent's beginning, in the parent's frame.
        local: (T, 3, 3) rotation in the parent's frame.
        world: (T, 3, 3).
        position: (T, 3) where forward kinematics has its beginning.
    """

    bone: Bone
    offset: np.ndarray
    local: np.ndarray
    world: np.ndarray
    position: np.ndarray


def points_of(joint_names: Sequence[str], joints: np.ndarray) -> dict[str, np.ndarray]:
    """Joints (T, J, 3) by name, with the points between them; NaN in gaps."""
    points = {name: joints[:, index] for index, name in enumerate(joint_names)}
    for name, (first, second) in MIDDLES.items():
        if first in points and second in points:
            points[name] = (points[first] + points[second]) / 2.0
    return points


def pose_bones(bones: Sequence[Bone], points: Mapping[str, np.ndarray]) -> tuple[list[PosedBone], list[str]]:
    """Lengths and rotations of bones, and the points of those left out as they were never seen.

    A bone's length is the median over all frames in which both its ends are valid. Bones are turned
    from the root on, each from where forward kinematics has it towards where the joint is, so that
    errors of constant lengths do not add up along a limb. Where a gap hides what a rotation follows,
    it goes from its last known value in the parent's frame to its next one, or stays; the root's
    position likewise.
    """
    posed: dict[str, PosedBone] = {}
    left_out = []
    for bone in bones:
        parent = posed.get(bone.parent)
        if bone.parent and parent is None:
            left_out.append(bone.point)
            continue
        if parent is None:
            offset, position = np.zeros(3), _interpolated(points[bone.point])
            above = np.tile(np.eye(3), (len(position), 1, 1))
        else:
            found = _offset(bone, parent, points)
            if found is None:
                left_out.append(bone.point)
                continue
            offset, above = found, parent.world
            position = parent.position + above @ offset
        world = _world_rotation(bone, above, position, points)
        local = above.swapaxes(1, 2) @ world
        posed[bone.name] = PosedBone(bone, offset, local, world, position)
    return list(posed.values()), left_out


def _offset(bone: Bone, parent: PosedBone, points: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """(3,) a bone's place in its parent's frame; None where it was never seen."""
    if bone.rest is None:
        relative = points[bone.point] - parent.position
        relative = (parent.world.swapaxes(1, 2) @ relative[..., None])[..., 0]
        known = np.isfinite(relative).all(axis=1)
        return np.median(relative[known], axis=0) if known.any() else None
    rest = np.array(bone.rest)
    if not rest.any():
        return rest
    lengths = np.linalg.norm(points[bone.point] - points[parent.bone.point], axis=1)
    lengths = lengths[np.isfinite(lengths)]
    return float(np.median(lengths)) * rest if len(lengths) else None


def _world_rotation(
    bone: Bone, above: np.ndarray, position: np.ndarray, points: Mapping[str, np.ndarray]
) -> np.ndarray:
    """(T, 3, 3) a bone's rotation, from its aims; that of the bone above where it has none."""
    if bone.primary is None:
        return above
    primary = _direction(bone.primary, position, points)
    secondary = None if bone.secondary is None else _direction(bone.secondary, position, points)
    # Where both aims are seen, they are the rotation; elsewhere that is a first guess to be swung.
    guess = np.full_like(above, np.nan)
    if bone.secondary is not None and secondary is not None:
        rest = _frames(np.array([bone.primary.rest]), np.array([bone.secondary.rest]))[0]
        guess = _frames(primary, secondary) @ rest.T
    guess = above @ _without_gaps(above.swapaxes(1, 2) @ guess)
    swung = _swing(guess @ np.array(bone.primary.rest), primary) @ guess
    return above @ _without_gaps(above.swapaxes(1, 2) @ swung)


def _direction(aim: Aim, position: np.ndarray, points: Mapping[str, np.ndarray]) -> np.ndarray:
    """(T, 3) unit vectors; NaN where an end is not valid, or both are in one place."""
    start = position if aim.start is None else points[aim.start]
    difference = points[aim.end] - start
    length = np.linalg.norm(difference, axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(length >= _NO_DIRECTION, difference / length, np.nan)


def _frames(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(T, 3, 3) axes as columns: `first`, the one next to `second`, their normal; NaN if parallel."""
    normal = np.cross(first, second)
    size = np.linalg.norm(normal, axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        normal = np.where(size > 1e-3, normal / size, np.nan)
    return np.stack([first, np.cross(normal, first), normal], axis=2)


def _swing(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """(T, 3, 3) shortest rotations of unit vectors (T, 3) into others; NaN where one is."""
    axis = np.cross(before, after)
    cosine = np.einsum("ti,ti->t", before, after)
    sine = np.linalg.norm(axis, axis=1)
    # Half a turn has no shortest way: any axis across.
    helper = np.where(np.abs(before[:, :1]) < 0.9, [[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]])
    axis = np.where((sine < 1e-9)[:, None], np.cross(before, helper), axis)
    length = np.linalg.norm(axis, axis=1)
    known = np.isfinite(length) & (length > 0)
    rotations = np.full((len(before), 3, 3), np.nan)
    angle = np.arctan2(sine, cosine)[known, None]
    rotations[known] = Rotation.from_rotvec(angle * axis[known] / length[known, None]).as_matrix()
    return rotations


def _without_gaps(rotations: np.ndarray) -> np.ndarray:
    """Rotations with NaN replaced: on the shortest way from the last one known to the next, or held."""
    known = np.flatnonzero(np.isfinite(rotations).all(axis=(1, 2)))
    if not len(known):
        return np.tile(np.eye(3), (len(rotations), 1, 1))
    if len(known) == len(rotations):
        return rotations
    if len(known) == 1:
        return np.tile(rotations[known[0]], (len(rotations), 1, 1))
    times = np.clip(np.arange(len(rotations)), known[0], known[-1])
    filled = Slerp(known, Rotation.from_matrix(rotations[known]))(times).as_matrix()
    filled[known] = rotations[known]
    return filled


def _interpolated(positions: np.ndarray) -> np.ndarray:
    """Positions (T, 3) with NaN replaced: linearly between those known, or held."""
    known = np.flatnonzero(np.isfinite(positions).all(axis=1))
    times = np.arange(len(positions))
    return np.column_stack([np.interp(times, known, positions[known, axis]) for axis in range(3)])


def euler_degrees(rotations: np.ndarray) -> np.ndarray:
    """(T, 3) angles about z, x, y, to be applied in that order of BVH channels, without jumps of 360."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # gimbal lock, where one of many equal answers is given
        angles = Rotation.from_matrix(rotations).as_euler("ZXY")
    return np.degrees(np.unwrap(angles, axis=0))
