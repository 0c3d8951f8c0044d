"""Names of joints and of files, as other tools have them."""

from __future__ import annotations

from pathlib import Path

# Ours -> Pose2Sim's, where its marker is not named like the joint.
_MARKERS = {"mid_hip": "Hip", "head_top": "Head"}


def marker_name(joint: str) -> str:
    """A joint's name as a marker: those of Pose2Sim and its OpenSim models, such as LShoulder or RBigToe."""
    if joint in _MARKERS:
        return _MARKERS[joint]
    for side, letter in (("left_", "L"), ("right_", "R")):
        if joint.startswith(side):
            return letter + camel_case(joint.removeprefix(side))
    return camel_case(joint)


def camel_case(joint: str) -> str:
    """left_big_toe -> LeftBigToe."""
    return "".join(part[:1].upper() + part[1:] for part in joint.split("_"))


def person_path(path: Path, track_id: int, people: int) -> Path:
    """File of one person: `path` itself if there is one, else with _P and the track id before its ending."""
    return path if people == 1 else path.with_name(f"{path.stem}_P{track_id}{path.suffix}")
