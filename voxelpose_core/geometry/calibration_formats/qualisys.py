"""Qualisys Track Manager's .qca.txt: sensor units of 1/64 px, world z up in mm.

The rotation is camera to world by columns with the camera's y up and z backward, which is why
OpenCV's rotation is diag(1, -1, -1) times the matrix as its rows are written.

Marker cameras stand in the same file. Video cameras are those that Pose2Sim takes, by their model
("Miqus Video", "none"), and those with a video_resolution.

viewrotation turns a camera's view in the tool, in steps of 90 degrees. Poses say more exactly how images
are turned; it is used, as clockwise, only for cameras that look straight down or up.
"""

from __future__ import annotations

from functools import partial
from typing import Any
from xml.etree import ElementTree

import numpy as np

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.calibration_formats.values import (
    CameraEntry,
    FileContents,
    ImageSize,
    number,
    short,
)
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.image_turns import roll_turns

DESCRIPTION = "Qualisys .qca.txt (z up)"


def matches(document: Any) -> bool:
    return isinstance(document, ElementTree.Element) and document.tag == "calibration"


def read(root: ElementTree.Element, image_size: ImageSize | None) -> FileContents:
    elements = root.findall("./cameras/camera")
    any_video = any(_is_video(element) for element in elements)
    entries = []
    for index, element in enumerate(elements):
        name = element.get("serial") or f"camera{index}"
        left_out = _left_out(element, any_video)
        entries.append(CameraEntry(name, partial(_camera, name, element), left_out))
    return FileContents(entries, "mm")


def _is_video(element: ElementTree.Element) -> bool:
    model = (element.get("model") or "none").lower()
    return "video" in model or model == "none" or bool(element.get("video_resolution"))


def _left_out(element: ElementTree.Element, any_video: bool) -> str | None:
    lens = element.find("intrinsic")
    if element.get("calibrated") == "false" or (
        lens is not None and not (lens.get("focalLengthU") or "x").strip("0.")
    ):
        return "not calibrated, no lens values"
    if any_video and not _is_video(element):
        return f"a marker camera ({short(element.get('model', ''))}) beside video cameras"
    return None


def _camera(name: str, entry: ElementTree.Element) -> Camera:
    where = f"camera '{name}'"

    def value(tag: str, attribute: str) -> float:
        child = entry.find(tag)
        if child is None or child.get(attribute) is None:
            raise InputError(f"{where}: attribute '{attribute}' of <{tag}> is missing")
        return number(child.get(attribute), f"{where}: {tag} {attribute}")

    def extent(low: str, high: str) -> int:
        pixels = value("fov_video", high) - value("fov_video", low) + 1
        if not np.isfinite(pixels):
            raise InputError(f"{where}: fov_video {high} is not finite, expected pixels")
        return int(round(pixels))

    pose = [[value("transform", f"r{row}{column}") for column in "123"] for row in "123"]
    left, top = value("fov_video", "left"), value("fov_video", "top")
    fu, fv, cu, cv = (
        value("intrinsic", key) / 64
        for key in ("focalLengthU", "focalLengthV", "centerPointU", "centerPointV")
    )
    skew = value("intrinsic", "skew") / 64
    # The tool itself spells "tangental".
    k1, k2, k3, p1, p2 = (
        value("intrinsic", key)
        for key in (
            "radialDistortion1",
            "radialDistortion2",
            "radialDistortion3",
            "tangentalDistortion1",
            "tangentalDistortion2",
        )
    )
    R = np.diag([1.0, -1.0, -1.0]) @ np.array(pose)
    return Camera(
        name,
        (extent("left", "right"), extent("top", "bottom")),
        [[fu, skew, cu - left], [0.0, fv, cv - top], [0.0, 0.0, 1.0]],
        [k1, k2, p1, p2, k3],
        R,
        [value("transform", axis) for axis in "xyz"],
        quarter_turns=_quarter_turns(entry.get("viewrotation", "0"), R, where),
    )


def _quarter_turns(view_rotation: str, R: np.ndarray, where: str) -> int | None:
    degrees = number(view_rotation, f"{where}: viewrotation")
    if degrees % 90:
        raise InputError(f"{where}: viewrotation is {degrees:g}, expected 0, 90, 180 or 270")
    if roll_turns(R) is not None:
        return None
    return int(degrees // 90) % 4 or None
