"""Calibration files of other tools: one small reader each, every one into millimetres, z up.

A reader takes the parsed file and gives cameras. `read_cameras` finds the reader by the content
of the file, never by its name. To add a tool, write its `_is_...` and `_read_...` and add them to
`_FORMATS`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import yaml

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.camera import Camera

ImageSize = tuple[int, int]

# The largest real file known (Panoptic, 520 cameras) has 0.3 MB.
_MAX_BYTES = 4 * 2**20

# Panoptic's world is y down; a column point X there is M X' of our z-up world.
PANOPTIC_TO_Z_UP = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])


def read_document(path: str | Path) -> Any:
    """Parse a calibration file: an XML root element, or the object of a JSON or YAML file.

    Raises:
        InputError: the file is missing, unreadable, larger than 4 MiB, or none of the three.
    """
    path = Path(path)
    text = _read_text(path)
    start = text.lstrip()[:1]
    try:
        if start == "<":
            return _parse_xml(text)
        if start in ("{", "["):
            return json.loads(text, object_pairs_hook=_object_without_duplicates)
        return yaml.safe_load(text)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except RecursionError:
        raise InputError(f"{path}: is nested too deeply, expected a calibration file") from None
    except (ValueError, ElementTree.ParseError, yaml.YAMLError) as error:
        detail = " ".join(str(error).split())
        raise InputError(f"{path}: cannot be parsed ({detail})") from None


def read_cameras(document: Any, image_size: ImageSize | None = None) -> tuple[str, list[Camera]]:
    """Cameras of a parsed file of another tool.

    Args:
        document: what `read_document` gave.
        image_size: (width, height) of every camera, used where the format does not say it.

    Returns:
        the format in words, and the cameras in the order of the file.

    Raises:
        InputError: naming camera and key, when the format is unknown or a value is wrong.
    """
    for description, matches, read in _FORMATS:
        if matches(document):
            return description, read(document, image_size)
    known = "; ".join(description for description, _, _ in _FORMATS)
    raise InputError(f"is no known calibration, expected one of: rig YAML; {known}")


def require(entry: Any, key: str, where: str) -> Any:
    """`entry[key]`, or an InputError that names the key and the place."""
    if not isinstance(entry, dict):
        raise InputError(f"{where}: is {_kind(entry)}, expected keys and values")
    if key not in entry:
        raise InputError(f"{where}: key '{key}' is missing")
    return entry[key]


def number(value: Any, what: str) -> float:
    """`value` as a float, or an InputError that says what it is."""
    try:
        return float(np.asarray(value, dtype=np.float64).reshape(()))
    except (TypeError, ValueError):
        raise InputError(f"{what} is {_short(value)}, expected a number") from None


def numbers(value: Any, shape: tuple[int, ...], what: str) -> np.ndarray:
    """`value` as a float64 array of that shape (columns may come as rows), or an InputError."""
    try:
        return np.array(value, dtype=np.float64).reshape(shape)
    except (TypeError, ValueError):
        raise InputError(
            f"{what} is {_short(value)}, expected {'x'.join(map(str, shape))} numbers"
        ) from None


def parse_image_size(value: Any, what: str) -> ImageSize:
    """[width, height] in whole, positive pixels, or an InputError."""
    size = numbers(value, (2,), what)
    if not np.isfinite(size).all() or (size != np.round(size)).any() or (size <= 0).any():
        raise InputError(f"{what} is {_short(value)}, expected [width, height] in pixels")
    return int(size[0]), int(size[1])


def _read_text(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise InputError(f"{path}: has {size / 2**20:.0f} MiB, expected at most 4 MiB")
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path}: does not exist, expected a calibration file") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not text, expected a calibration file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def _parse_xml(text: str) -> ElementTree.Element:
    # A document type may define entities that grow without bound; no calibration needs one.
    if "<!DOCTYPE" in text:
        raise InputError("has a document type declaration, expected plain XML")
    # The declared encoding is that of the bytes, which are decoded already.
    return ElementTree.fromstring(text.encode("utf-8"), ElementTree.XMLParser(encoding="utf-8"))


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = {}
    for key, value in pairs:
        if key in result:
            raise InputError(f"key '{key}' appears twice")
        result[key] = value
    return result


def _kind(value: Any) -> str:
    return "empty" if value is None else f"a {type(value).__name__}"


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 40 else text[:37] + "..."


def _image_size_or(given: ImageSize | None, name: str) -> ImageSize:
    if given is None:
        raise InputError(
            f"camera '{name}': the image size is not in this format, give --image-size WxH"
        )
    return given


# --- Qualisys (.qca.txt) -------------------------------------------------------------------


def _is_qualisys(document: Any) -> bool:
    return isinstance(document, ElementTree.Element) and document.tag == "calibration"


def _read_qualisys(root: ElementTree.Element, _: ImageSize | None) -> list[Camera]:
    """Qualisys Track Manager: sensor units of 1/64 px, world z up in mm.

    The rotation is camera to world by columns with the camera's y up and z backward, which is why
    OpenCV's rotation is diag(1, -1, -1) times the matrix as its rows are written.
    """
    entries = root.findall("./cameras/camera")
    return [_qualisys_camera(entry, i) for i, entry in enumerate(entries)]


def _qualisys_camera(entry: ElementTree.Element, index: int) -> Camera:
    name = entry.get("serial") or f"camera{index}"
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
    return Camera(
        name,
        (extent("left", "right"), extent("top", "bottom")),
        [[fu, skew, cu - left], [0, fv, cv - top], [0, 0, 1]],
        [k1, k2, p1, p2, k3],
        np.diag([1.0, -1.0, -1.0]) @ np.array(pose),
        [value("transform", axis) for axis in "xyz"],
    )


# --- The original VoxelPose's Campus and Shelf JSON ----------------------------------------

_VOXELPOSE_KEYS = ("R", "T", "fx", "fy", "cx", "cy", "k", "p")


def _is_voxelpose(document: Any) -> bool:
    return (
        isinstance(document, dict)
        and bool(document)
        and all(isinstance(entry, dict) for entry in document.values())
        and any({"R", "T"} <= set(entry) or "fx" in entry for entry in document.values())
    )


def _read_voxelpose(document: dict[str, Any], image_size: ImageSize | None) -> list[Camera]:
    """{name: {R, T, fx, fy, cx, cy, k (3), p (2)}} with T the camera centre in mm."""
    return [_voxelpose_camera(name, entry, image_size) for name, entry in document.items()]


def _voxelpose_camera(name: str, entry: dict[str, Any], image_size: ImageSize | None) -> Camera:
    where = f"camera '{name}'"
    R, T, fx, fy, cx, cy, k, p = (require(entry, key, where) for key in _VOXELPOSE_KEYS)
    fx, fy, cx, cy = (
        number(v, f"{where}: {key}")
        for v, key in zip((fx, fy, cx, cy), ("fx", "fy", "cx", "cy"), strict=True)
    )
    k = numbers(k, (3,), f"{where}: k")
    p = numbers(p, (2,), f"{where}: p")
    return Camera(
        name,
        _image_size_or(image_size, name),
        [[fx, 0, cx], [0, fy, cy], [0, 0, 1]],
        [k[0], k[1], p[0], p[1], k[2]],
        numbers(R, (3, 3), f"{where}: R"),
        numbers(T, (3,), f"{where}: T"),
    )


# --- CMU Panoptic JSON ---------------------------------------------------------------------


def _panoptic_entries(document: Any) -> Any:
    return document.get("cameras") if isinstance(document, dict) else document


def _is_panoptic(document: Any) -> bool:
    entries = _panoptic_entries(document)
    return (
        isinstance(entries, list)
        and bool(entries)
        and isinstance(entries[0], dict)
        and {"panel", "node"} <= set(entries[0])
    )


def _read_panoptic(document: Any, image_size: ImageSize | None) -> list[Camera]:
    """[{panel, node, K, distCoef, R, t}] or {"cameras": [...]}: x = R X + t in cm, y down.

    The HD cameras are taken; where a file names no type, all cameras.
    """
    entries = _panoptic_entries(document)
    for index, entry in enumerate(entries):
        require(entry, "K", f"camera {index}")
    high_definition = [e for e in entries if e.get("type") == "hd"]
    return [_panoptic_camera(entry, image_size) for entry in high_definition or entries]


def _panoptic_camera(entry: dict[str, Any], image_size: ImageSize | None) -> Camera:
    name = str(entry.get("name") or _panoptic_name(entry))
    where = f"camera '{name}'"
    if "resolution" in entry:
        image_size = parse_image_size(entry["resolution"], f"{where}: resolution")
    R = numbers(require(entry, "R", where), (3, 3), f"{where}: R")
    t = numbers(require(entry, "t", where), (3,), f"{where}: t") * 10
    return Camera(
        name,
        _image_size_or(image_size, name),
        numbers(require(entry, "K", where), (3, 3), f"{where}: K"),
        numbers(require(entry, "distCoef", where), (5,), f"{where}: distCoef"),
        R @ PANOPTIC_TO_Z_UP,
        -PANOPTIC_TO_Z_UP.T @ R.T @ t,
    )


def _panoptic_name(entry: dict[str, Any]) -> str:
    panel, node = require(entry, "panel", "a camera"), require(entry, "node", "a camera")
    if not (isinstance(panel, int) and isinstance(node, int)):
        raise InputError(f"a camera: panel {panel!r}, node {node!r}, expected whole numbers")
    return f"{panel:02d}_{node:02d}"


_FORMATS: tuple[tuple[str, Callable[[Any], bool], Callable[..., list[Camera]]], ...] = (
    ("Qualisys .qca.txt (mm, z up)", _is_qualisys, _read_qualisys),
    ("Panoptic JSON (cm, y down; HD cameras)", _is_panoptic, _read_panoptic),
    ("VoxelPose Campus/Shelf JSON (mm, T is the centre)", _is_voxelpose, _read_voxelpose),
)
