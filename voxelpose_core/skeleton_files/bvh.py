"""BVH, the motion format of animation tools: a hierarchy of bones with joint angles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from voxelpose_core.atomic_files import write_text
from voxelpose_core.skeleton_files.bvh_pose import PosedBone, euler_degrees, points_of, pose_bones
from voxelpose_core.skeleton_files.bvh_tree import TRUNK, bones_of
from voxelpose_core.skeleton_files.recording import Recording
from voxelpose_core.skeleton_files.tracks import Track, Tracks, tracks_of
from voxelpose_core.skeleton_files.written import Written, write_per_person

_MM_PER_M = 1000.0
# Length of a bone's end that no joint marks, metres: for display.
_SHORT_END, _LONG_END = 0.02, 0.1


def write(path: Path, recording: Recording) -> Written:
    """Write one BVH file per person, in metres, y up: (x, y, z) of the rig as (x, z, -y), which an
    importer that turns y up into z up gives back as the rig's axes.

    The rest pose is a T-pose with bones of each person's median lengths. All files have all frames of
    the recording, so that several people stay together; BVH knows no gaps: where a joint is not valid,
    its bone turns on to the next known rotation, and before the first and after the last it stays.

    Raises:
        InputError: the joint set has no hips or shoulders, or the file cannot be written.
    """
    bones = bones_of(recording.joint_set)
    tracks = tracks_of(recording)
    whole, notes = [], []
    for track in tracks.tracks:
        if np.isfinite(_trunk(tracks, track)).all(axis=(1, 2)).any():
            whole.append(track)
        else:
            notes.append(f"person {track.track_id} has no frame with hips and shoulders: no BVH file")
    tracks.tracks = whole

    def one(target: Path, track: Track) -> list[str]:
        posed, left_out = pose_bones(bones, points_of(tracks.joint_set.joint_names, _y_up(tracks, track)))
        write_text(target, "\n".join([*_hierarchy(posed), *_motion(posed, tracks.rate_hz)]) + "\n")
        if not left_out:
            return []
        return [f"person {track.track_id} has no valid {', '.join(left_out)}: not in the BVH file"]

    written = write_per_person(path, tracks, one)
    written.notes += notes
    return written


def _trunk(tracks: Tracks, track: Track) -> np.ndarray:
    return track.joints[:, [tracks.joint_set.index(joint) for joint in TRUNK]]


def _y_up(tracks: Tracks, track: Track) -> np.ndarray:
    """(T, J, 3) joints in all frames of the recording, mm, y up."""
    joints = np.full((len(tracks.frames), *track.joints.shape[1:]), np.nan)
    joints[track.rows] = track.joints
    return joints[..., [0, 2, 1]] * [1.0, 1.0, -1.0]


def _hierarchy(posed: Sequence[PosedBone]) -> list[str]:
    children = {p.bone.name: [c for c in posed if c.bone.parent == p.bone.name] for p in posed}

    def lines(bone: PosedBone, depth: int) -> Iterator[str]:
        indent, inside = "\t" * depth, "\t" * (depth + 1)
        yield f"{indent}{'JOINT' if depth else 'ROOT'} {bone.bone.name}"
        yield f"{indent}{{"
        yield f"{inside}OFFSET {_numbers(bone.offset / _MM_PER_M)}"
        moved = "3" if depth else "6 Xposition Yposition Zposition"
        yield f"{inside}CHANNELS {moved} Zrotation Xrotation Yrotation"
        below = children[bone.bone.name]
        for child in below:
            yield from lines(child, depth + 1)
        if not below:
            yield f"{inside}End Site"
            yield f"{inside}{{"
            yield f"{inside}\tOFFSET {_numbers(_end(bone))}"
            yield f"{inside}}}"
        yield f"{indent}}}"

    return ["HIERARCHY", *lines(posed[0], 0)]


def _end(bone: PosedBone) -> np.ndarray:
    """(3,) metres: on in the same direction."""
    length = np.linalg.norm(bone.offset)
    size = _SHORT_END if bone.bone.rest is None else _LONG_END
    return size * (bone.offset / length if length > 0 else np.array([0.0, 1.0, 0.0]))


def _motion(posed: Sequence[PosedBone], rate_hz: float) -> Iterator[str]:
    ordered = _depth_first(posed)
    channels = [ordered[0].position / _MM_PER_M, *(euler_degrees(bone.local) for bone in ordered)]
    yield "MOTION"
    yield f"Frames: {len(channels[0])}"
    yield f"Frame Time: {1.0 / rate_hz:.8f}"
    for row in np.concatenate(channels, axis=1):
        yield _numbers(row)


def _depth_first(posed: Sequence[PosedBone]) -> list[PosedBone]:
    """Bones in the order in which the hierarchy names them, which is that of their channels."""

    def below(bone: PosedBone) -> Iterator[PosedBone]:
        yield bone
        for child in posed:
            if child.bone.parent == bone.bone.name:
                yield from below(child)

    return list(below(posed[0]))


def _numbers(values: np.ndarray) -> str:
    return " ".join(f"{value:.5f}" for value in values.tolist())
