"""Detectors in ONNX files of the user's own, recognized by what goes in and comes out, not by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from voxelpose_core.detectors import movenet_files, person_boxes, rtmo, rtmpose, yolo_pose
from voxelpose_core.detectors.one_stage import Family, OneStageDetector
from voxelpose_core.detectors.onnx_net import OnnxNet
from voxelpose_core.detectors.person_boxes import BoxFamily, PersonBoxes
from voxelpose_core.detectors.rtmpose import SimccNet, TopDownDetector
from voxelpose_core.errors import InputError

if TYPE_CHECKING:
    from voxelpose_core.detectors import Detector

_ONE_STAGE = (movenet_files, rtmo, yolo_pose)
_KNOWN = (*_ONE_STAGE, rtmpose, person_boxes)
_BOTH = "expected two files with a comma between them: POSE.onnx,PERSONS.onnx"


def file_paths(given: str) -> tuple[Path, ...]:
    """The files that a detector's name gives; empty where it looks like none.

    Args:
        given: "rtmo.onnx", or "rtmpose.onnx,rtmdet.onnx" in any order.
    """
    if Path(given).is_file():
        return (Path(given),)
    parts = [part.strip() for part in given.split(",")]
    if any(Path(part).suffix or "/" in part or Path(part).exists() for part in parts):
        return tuple(Path(part).expanduser() for part in parts if part)
    return ()


def load_detector_files(paths: Sequence[Path], threads: int = 0, device: str = "cpu") -> Detector:
    """The detector in one file, or in two: one that finds people and one that finds the joints of each.

    Args:
        paths: ONNX files.
        threads: CPU threads, 0 for all.
        device: see `onnx_session.open_session`.

    Raises:
        InputError: naming the file, when it cannot be read or run, is of no known kind, or needs another
            beside it.
    """
    if len(paths) > 2:
        raise InputError(f"detector: {len(paths)} files, expected one, or two: POSE.onnx,PERSONS.onnx")
    found = []
    for path in paths:
        net = OnnxNet(path, threads, device)
        found.append((net, recognized(net)))
    if len(found) == 2:
        return _top_down(found, threads)
    net, kind = found[0]
    if isinstance(kind, Family):
        return OneStageDetector(net, kind, threads)
    missing = "it sees one person at a time" if isinstance(kind, SimccNet) else "it finds boxes, not joints"
    raise InputError(f"detector {net.path}: {_kind_name(kind)} net, and {missing}: {_BOTH}")


def recognized(net: OnnxNet) -> Family | SimccNet | BoxFamily:
    """What kind of net it is.

    Raises:
        InputError: with its inputs and outputs, and those of the known ones, when it is none of them.
    """
    for module in _KNOWN:
        if (kind := module.recognize(net)) is not None:
            return kind
    expected = "; ".join(module.SHAPES for module in _KNOWN)
    raise InputError(f"detector {net.path}: unknown kind of net: {net.signature}; expected {expected}")


def _top_down(found: Sequence[tuple[OnnxNet, Family | SimccNet | BoxFamily]], threads: int) -> Detector:
    boxes = [PersonBoxes(net, kind) for net, kind in found if isinstance(kind, BoxFamily)]
    joints = [kind for _, kind in found if isinstance(kind, SimccNet)]
    if len(boxes) == len(joints) == 1:
        return TopDownDetector(boxes[0], joints[0], threads)
    kinds = " and ".join(f"{net.path} ({_kind_name(kind)})" for net, kind in found)
    raise InputError(
        f"detector: {kinds}, expected an RTMPose net and a person detector (RTMDet or YOLOX), or one file"
    )


def _kind_name(kind: Family | SimccNet | BoxFamily) -> str:
    return "RTMPose" if isinstance(kind, SimccNet) else kind.name
