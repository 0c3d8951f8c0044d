"""Points of the floor in a rig's world: named by hand, or the corners of a marker or board lying there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.calibration_formats import read_document, require
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.triangulation import triangulate

# Pixels of one point in several views must meet within this, as a share of the image's longer side.
_MEETING_SHARE = 0.01
# A target that lies still is found within so many pixels in all frames.
_STILL_PX = 3.0
# Frames, spread over a recording, in which a target is looked for.
TARGET_FRAMES = 12
_SIDE_LIMITS_MM = (1.0, 10_000.0)

_TARGET_WORDS = (
    "chessboard:9x6:40 (inner corners, side of a square in mm), aruco:4x4_50:150 (dictionary, side in mm) or "
    "charuco:5x7:40:30:4x4_50 (squares, sides of square and marker in mm, dictionary)"
)


@dataclass(frozen=True, eq=False)
class FloorPoints:
    """N points of the floor.

    Attributes:
        names: N names.
        positions: (N, 3) in the world and unit of the rig.
        errors_px: (N,) distance of the given pixels from the projected point, mean over views; 0 for points
            of the world.
        unit_mm: millimetres per unit of the rig's world, where the size of a target tells; else None.
    """

    names: tuple[str, ...]
    positions: np.ndarray
    errors_px: np.ndarray
    unit_mm: float | None = None


def read_floor_points(path: str | Path, rig: Rig) -> FloorPoints:
    """Points from a YAML or JSON file.

    The file has a key `points` with, by name, either pixels in two views or more, `{cam1: [x, y], cam2: [x,
    y]}`, or a point of the rig's world, `[x, y, z]` in the unit of `rig`.

    Raises:
        InputError: naming the file, the point and what was expected; also where the rays of a point's pixels
            do not meet.
    """
    document = read_document(path)
    try:
        points = require(document, "points", "the file")
        if not isinstance(points, dict) or len(points) < 3:
            raise InputError("points: expected three or more named points of the floor")
        located = [_locate(str(name), entry, rig) for name, entry in points.items()]
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return FloorPoints(
        tuple(str(name) for name in points),
        np.array([position for position, _ in located]),
        np.array([error for _, error in located]),
    )


def _locate(name: str, entry: Any, rig: Rig) -> tuple[np.ndarray, float]:
    """Position (3,) and error, px, of one point of a file."""
    where = f"point '{name}'"
    if isinstance(entry, list):
        return _numbers(entry, 3, where, "[x, y, z] of the rig's world"), 0.0
    if not isinstance(entry, dict) or len(entry) < 2:
        raise InputError(f"{where}: expected [x, y, z], or pixels [x, y] in two views or more, by camera")
    pixels = {
        str(camera): _numbers(pixel, 2, f"{where}, camera '{camera}'", "[x, y] in pixels")
        for camera, pixel in entry.items()
    }
    for camera in pixels:
        rig.camera(camera)
    return _meet(pixels, rig, where)


def _numbers(value: Any, count: int, where: str, words: str) -> np.ndarray:
    numbers = isinstance(value, list) and len(value) == count
    if not numbers or any(isinstance(v, bool) or not isinstance(v, int | float) for v in value):
        raise InputError(f"{where}: {value!r}, expected {words}")
    array = np.array(value, np.float64)
    if not np.isfinite(array).all():
        raise InputError(f"{where}: {value!r}, expected finite numbers")
    return array


def _meet(pixels: Mapping[str, np.ndarray], rig: Rig, where: str) -> tuple[np.ndarray, float]:
    """Where the rays through one point's pixels meet, and the mean error, px; InputError if they do not."""
    cameras = [rig.camera(name) for name in pixels]
    detections = np.array([[[*pixel, 1.0]] for pixel in pixels.values()])
    (position,) = triangulate(cameras, detections)
    if not np.isfinite(position).all():
        raise InputError(f"{where}: the rays through its pixels meet behind a camera, expected one point")
    errors = [
        float(np.linalg.norm(camera.project(position[None])[0][0] - pixel))
        for camera, pixel in zip(cameras, pixels.values(), strict=True)
    ]
    limit = max(_MEETING_SHARE * max(camera.image_size) for camera in cameras)
    if max(errors) > limit:
        raise InputError(
            f"{where}: the rays through its pixels miss each other by {max(errors):.0f} px, expected at most "
            f"{limit:.0f}: is it the same point in all views?"
        )
    return position, float(np.mean(errors))


# --- targets that lie on the floor ---------------------------------------------------------------------


@dataclass(frozen=True)
class FloorTarget:
    """A printed target that lies on the floor.

    Attributes:
        kind: "chessboard", "aruco" or "charuco".
        columns, rows: inner corners of a chessboard, squares of a ChArUco board; 0 for ArUco.
        side_mm: of a square, or of an ArUco marker.
        marker_mm: of a marker in a ChArUco board; else 0.
        dictionary: name of the ArUco dictionary, for example "4x4_50"; empty for a chessboard.
    """

    kind: str
    columns: int
    rows: int
    side_mm: float
    marker_mm: float = 0.0
    dictionary: str = ""

    @classmethod
    def parse(cls, text: str) -> FloorTarget:
        """From "chessboard:9x6:40", "aruco:4x4_50:150" or "charuco:5x7:40:30:4x4_50".

        Raises:
            InputError: for another text, and for an OpenCV without ArUco.
        """
        match = re.fullmatch(
            r"chessboard:(?P<cols>\d{1,3})x(?P<rows>\d{1,3}):(?P<side>[\d.]+)"
            r"|aruco:(?P<dict>\w+):(?P<length>[\d.]+)"
            r"|charuco:(?P<ccols>\d{1,3})x(?P<crows>\d{1,3}):(?P<cside>[\d.]+):(?P<marker>[\d.]+):(?P<cdict>\w+)",
            text,
        )
        if match is None:
            raise InputError(f"'{text}', expected a file of points, {_TARGET_WORDS}")
        if match["cols"]:
            target = cls("chessboard", int(match["cols"]), int(match["rows"]), _side(match["side"], text))
            if target.columns == target.rows or min(target.columns, target.rows) < 3:
                raise InputError(
                    f"'{text}', expected at least 3 inner corners along each side, and another number along "
                    "the other: a square board looks alike from all sides"
                )
            return target
        if match["dict"]:
            target = cls("aruco", 0, 0, _side(match["length"], text), dictionary=match["dict"])
        else:
            side, marker = _side(match["cside"], text), _side(match["marker"], text)
            if marker >= side:
                raise InputError(f"'{text}', expected markers that are smaller than squares")
            target = cls("charuco", int(match["ccols"]), int(match["crows"]), side, marker, match["cdict"])
        target.opencv_dictionary()
        return target

    def opencv_dictionary(self) -> Any:
        """OpenCV's dictionary; InputError where it knows none of that name."""
        if not hasattr(cv2, "aruco") or not hasattr(cv2.aruco, "ArucoDetector"):
            raise InputError(
                f"OpenCV {cv2.__version__} has no ArUco detector, expected 4.7 or newer: use a chessboard "
                "or a file of points"
            )
        name = f"DICT_{self.dictionary.upper().replace('DICT_', '')}"
        number = getattr(cv2.aruco, name, getattr(cv2.aruco, name.replace("X", "x"), None))
        if number is None:
            known = sorted(n[5:].lower() for n in dir(cv2.aruco) if re.match(r"DICT_\dX\d_\d+$", n))
            raise InputError(f"dictionary '{self.dictionary}' is unknown, expected one of {', '.join(known)}")
        return cv2.aruco.getPredefinedDictionary(number)

    def __str__(self) -> str:
        return {"chessboard": "chessboard", "aruco": "ArUco marker", "charuco": "ChArUco board"}[self.kind]

    def detect(self, image: np.ndarray) -> dict[int, np.ndarray]:
        """By number the corners (2,), px, in a BGR image; empty where the target is not found."""
        gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        if self.kind == "chessboard":
            found, corners = cv2.findChessboardCornersSB(gray, (self.columns, self.rows), flags=0)
            return dict(enumerate(corners[:, 0].astype(np.float64))) if found else {}
        if self.kind == "aruco":
            parameters = cv2.aruco.DetectorParameters()
            parameters.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_SUBPIX
            markers, numbers, _ = cv2.aruco.ArucoDetector(self.opencv_dictionary(), parameters).detectMarkers(
                gray
            )
            if numbers is None:
                return {}
            return {
                4 * int(number) + corner: marker[0, corner].astype(np.float64)
                for marker, number in zip(markers, numbers.ravel(), strict=True)
                for corner in range(4)
            }
        corners, numbers, _, _ = cv2.aruco.CharucoDetector(self._charuco()).detectBoard(gray)
        if numbers is None:
            return {}
        places = corners.reshape(-1, 2).astype(np.float64)
        return {int(number): place for number, place in zip(numbers.ravel(), places, strict=True)}

    def _charuco(self) -> Any:
        size = (self.columns, self.rows)
        return cv2.aruco.CharucoBoard(size, self.side_mm, self.marker_mm, self.opencv_dictionary())

    def distances_mm(self, numbers: Sequence[int]) -> list[tuple[int, int, float]]:
        """Pairs of the given corners whose distance on the paper is known, mm."""
        if self.kind == "aruco":
            return [
                (a, b, self.side_mm * (2**0.5 if (b - a) == 2 else 1.0))
                for a in numbers
                for b in numbers
                if a < b and a // 4 == b // 4
            ]
        across = self.columns if self.kind == "chessboard" else self.columns - 1
        place = {n: np.array([n % across, n // across]) for n in numbers}
        return [
            (a, b, self.side_mm * float(np.linalg.norm(place[a] - place[b])))
            for a in numbers
            for b in numbers
            if a < b
        ]


def _side(text: str, whole: str) -> float:
    try:
        side = float(text)
    except ValueError:
        side = 0.0
    if not _SIDE_LIMITS_MM[0] <= side <= _SIDE_LIMITS_MM[1]:
        raise InputError(f"'{whole}': side {text}, expected millimetres")
    return side


def find_floor_target(
    target: FloorTarget, frame_sets: Iterable[Sequence[np.ndarray | None]], rig: Rig
) -> FloorPoints:
    """The corners of a target that lies still on the floor.

    Args:
        target: what lies there.
        frame_sets: images of each camera, or None; a few are enough.
        rig: the cameras.

    Raises:
        InputError: fewer than two cameras see the target, it moves, or the views do not agree on it.
    """
    seen = _median_corners(target, frame_sets, rig)
    where = f"the {target}"
    if len(seen) < 2:
        names = ", ".join(f"'{name}'" for name in seen) or "no camera"
        raise InputError(f"{where} is found by {names}, expected two cameras or more: {_TARGET_WORDS}")
    best = _counted_alike(target, seen, rig)
    numbers = sorted(n for n in set().union(*best.values()) if sum(n in own for own in best.values()) >= 2)
    if len(numbers) < 3:
        raise InputError(f"{where}: no two cameras see the same three corners, expected a clear view of it")
    located = [
        _meet({name: own[n] for name, own in best.items() if n in own}, rig, f"{where}, corner {n}")
        for n in numbers
    ]
    positions = np.array([position for position, _ in located])
    place = dict(zip(numbers, positions, strict=True))
    ratios = [mm / np.linalg.norm(place[a] - place[b]) for a, b, mm in target.distances_mm(numbers)]
    return FloorPoints(
        tuple(f"corner {number}" for number in numbers),
        positions,
        np.array([error for _, error in located]),
        float(np.median(ratios)),
    )


def _median_corners(
    target: FloorTarget, frame_sets: Iterable[Sequence[np.ndarray | None]], rig: Rig
) -> dict[str, dict[int, np.ndarray]]:
    """By camera and number the median place of each corner, px; InputError where the target moves."""
    found: dict[str, dict[int, list[np.ndarray]]] = {}
    for images in frame_sets:
        for camera, image in zip(rig.cameras, images, strict=True):
            for number, pixel in (target.detect(image) if image is not None else {}).items():
                found.setdefault(camera.name, {}).setdefault(number, []).append(pixel)
    for name, corners in found.items():
        ranges = [
            np.ptp(np.percentile(pixels, (20, 80), axis=0), axis=0).max() for pixels in corners.values()
        ]
        if np.median(ranges) > _STILL_PX:
            raise InputError(
                f"camera '{name}': the {target} moves by {np.median(ranges):.0f} px, expected one that lies "
                "still"
            )
    return {
        name: {number: np.median(pixels, axis=0) for number, pixels in corners.items()}
        for name, corners in found.items()
    }


def _counted_alike(
    target: FloorTarget, seen: dict[str, dict[int, np.ndarray]], rig: Rig
) -> dict[str, dict[int, np.ndarray]]:
    """The corners as numbered; those of a chessboard all counted from the same end."""
    if target.kind != "chessboard":
        return seen
    last = target.columns * target.rows - 1
    first, *others = seen
    alike = {first: seen[first]}
    for name in others:
        ways = seen[name], {last - n: pixel for n, pixel in seen[name].items()}
        alike[name] = min(
            ways,
            key=lambda way: _disagreement({first: seen[first], name: way}, rig),
        )
    return alike


def _disagreement(corners: dict[str, dict[int, np.ndarray]], rig: Rig) -> float:
    """Mean distance of corners from their projected triangulations, px; of four spread corners."""
    common = sorted(set.intersection(*(set(own) for own in corners.values())))
    if not common:
        return float("inf")
    chosen = common[:: max(1, len(common) // 4)]
    cameras = [rig.camera(name) for name in corners]
    detections = np.array([[[*own[n], 1.0] for n in chosen] for own in corners.values()])
    points = triangulate(cameras, detections)
    if not np.isfinite(points).all():
        return float("inf")
    gaps = [
        np.linalg.norm(camera.project(points)[0] - own[:, :2], axis=1)
        for camera, own in zip(cameras, detections, strict=True)
    ]
    return float(np.mean(gaps))
