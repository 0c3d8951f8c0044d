"""Which video, folder or keypoint file belongs to which camera: by name where names agree, else as given.

Whether that is right shows in the 2D detections, see `ViewWatch`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.sources import natural_order
from voxelpose_core.view_check import Contradiction, ViewCheck


@dataclass(frozen=True)
class MatchedSources:
    """Videos or folders in the order of a rig's cameras.

    Attributes:
        paths: one per camera.
        note: one line where they were reordered or where their names contradict their order; else
            None.
    """

    paths: tuple[Path, ...]
    note: str | None = None


def match_sources(
    given: Sequence[Path | str], rig: Rig, option: str, in_order: bool = False
) -> MatchedSources:
    """Bring videos, image folders or keypoint files into the order of the cameras.

    If every name holds the name of exactly one camera ("cam02.mp4", "trial1_cam02", folder
    "cam02/images"; cameras that are named by numbers: "view2"), names decide. Otherwise the given order
    does; names that a shell sorted ("cam10" before "cam2") are sorted naturally first.

    Args:
        given: paths, as the user ordered them.
        rig: the cameras.
        option: of the command line, for messages: "--videos", "--images" or "--keypoints".
        in_order: names do not matter.

    Raises:
        InputError: another number than cameras, or only some of the names are those of cameras, and
            these contradict the order.
    """
    paths = tuple(Path(path) for path in given)
    labels = distinct_labels(paths)
    owners = _owners(labels, rig.names)
    if len(paths) != len(rig):
        raise InputError(_wrong_count(paths, owners, rig, option))
    if in_order:
        return MatchedSources(paths)
    if None not in owners and len(set(owners)) == len(owners):
        ordered = tuple(paths[owners.index(name)] for name in rig.names)
        return MatchedSources(ordered, _note(paths, ordered, rig, option, "by their names"))
    for label, owner, camera in zip(labels, owners, rig.names, strict=True):
        if owner not in (None, camera):
            raise InputError(
                f"{option}: '{label}' is given for camera '{camera}', but has the name of camera "
                f"'{owner}': order them as the cameras ({_listed(rig.names)}), name all of them after "
                "cameras, or add --in-order if the order is right"
            )
    return _naturally_sorted(paths, labels, rig, option)


class ContradictionError(InputError):
    """Views contradict the calibration, and were asked to be refused then."""


class ViewWatch:
    """Tells, while frame sets come and again at the end, that views contradict the calibration.

    Args:
        rig: the cameras.
        option: "--videos", "--images" or "--keypoints", for what the user should type.
        given: the paths in the order of the rig; None for keypoints.
        tell: takes the line.
        strict: raise ContradictionError with the line instead.
    """

    # Evidence comes at 5 frame sets a second at most: tell after two seconds.
    _NEW_FRAME_SETS = 10

    def __init__(
        self,
        rig: Rig,
        option: str,
        given: Sequence[Path] | None,
        tell: Callable[[str], None],
        strict: bool = False,
    ):
        self._check = ViewCheck(rig)
        self._option, self._given = option, given
        self._tell, self._strict = tell, strict
        self._told = False

    def add(self, keypoints: Sequence[np.ndarray | None], stamp: float) -> None:
        """Take the 2D detections of one frame set, per camera (P, J, 3) px or None, and its stamp, seconds;
        see `ViewCheck.add`."""
        self._check.add(keypoints, stamp)
        if not self._told and (found := self._check.contradiction(self._NEW_FRAME_SETS)):
            self._told = True
            self._say(found)

    @property
    def contradicted(self) -> bool:
        """Whether the views contradict the calibration, as far as is known."""
        return self._check.contradiction(self._NEW_FRAME_SETS) is not None

    def finish(self) -> None:
        """Say it again, or for the first time where little came."""
        self._check.finish()
        if found := self._check.contradiction():
            self._say(found)

    def _say(self, found: Contradiction) -> None:
        hint = correction(found, self._option, self._given)
        line = f"{found}; {hint}" if hint else str(found)
        if self._strict:
            raise ContradictionError(line)
        self._tell(line)


def correction(found: Contradiction, option: str, given: Sequence[Path] | None) -> str:
    """What to do so that views fit the calibration.

    Args:
        found: by `ViewCheck`, on views in the order of the rig.
        option: "--videos", "--images" or "--keypoints".
        given: the paths in the order of the rig; None for keypoints.
    """
    if found.order == tuple(range(len(found.names))):
        return "turn them back, or calibrate with them as they are"
    if given is None:
        return f"give --cameras {' '.join(found.names[camera] for camera in found.cameras)}"
    return f"give --in-order {option} {' '.join(str(given[view]) for view in found.order)}"


def _wrong_count(paths: tuple[Path, ...], owners: list[str | None], rig: Rig, option: str) -> str:
    names = {"--videos": "video", "--images": "image folder", "--keypoints": "keypoint file or folder"}
    what = names[option] if len(paths) == 1 else names[option].replace(" or folder", "s or folder") + "s"
    selected = [name for name in rig.names if name in owners]
    hint = "--cameras selects some"
    if 1 < len(paths) == len(selected):
        hint = f"these are --cameras {' '.join(selected)}"
    return (
        f"{len(paths)} {what} given for a rig of {len(rig)} cameras ({_listed(rig.names)}), expected "
        f"one per camera; {hint}"
    )


def distinct_labels(paths: Sequence[Path]) -> list[str]:
    """What tells the paths apart: their names, or the folders above them where names are the same."""
    parts = [(path.with_suffix("") if path.suffix else path).parts[::-1] for path in paths]
    for level in range(min(map(len, parts))):
        labels = [names[level] for names in parts]
        if len(set(labels)) == len(labels):
            return labels
    return [path.name for path in paths]


def _owners(labels: Sequence[str], names: Sequence[str]) -> list[str | None]:
    """Per label the one camera whose name it holds."""
    if all(name.isdigit() for name in names):
        by_number: dict[int | None, str] = {int(name): name for name in names}
        owners = [by_number.get(_last_number(label)) for label in labels]
        # Files may count from another number than cameras: only a complete match means something.
        exact = [label if label in names else None for label in labels]
        return exact if None in owners or len(set(owners)) < len(owners) else owners
    return [_owner(label, names) for label in labels]


def _owner(label: str, names: Sequence[str]) -> str | None:
    if label in names:
        return label
    held = [
        name
        for name in names
        if re.search(rf"(?<![a-z0-9]){re.escape(name.lower())}(?![a-z0-9])", label.lower())
    ]
    # Of "cam1" and "cam1_left" the longer one is meant.
    held = [name for name in held if not any(name != other and name in other for other in held)]
    return held[0] if len(held) == 1 else None


def _last_number(label: str) -> int | None:
    numbers = re.findall(r"\d+", label)
    return int(numbers[-1]) if numbers else None


def _naturally_sorted(paths: tuple[Path, ...], labels: list[str], rig: Rig, option: str) -> MatchedSources:
    """Names that only count: in natural order where a shell sorted them, else as given."""
    order = sorted(range(len(paths)), key=lambda index: natural_order(labels[index]))
    counted = len({re.sub(r"\d+", "0", label) for label in labels}) == 1
    if not counted or order == list(range(len(paths))):
        return MatchedSources(paths)
    if labels == sorted(labels):
        ordered = tuple(paths[index] for index in order)
        return MatchedSources(ordered, _note(paths, ordered, rig, option, "in natural order"))
    note = (
        f"{option}: the numbers in {_listed(labels)} are not in order; taken as given, for the cameras "
        f"{_listed(rig.names)}"
    )
    return MatchedSources(paths, note)


def _note(paths: tuple[Path, ...], ordered: tuple[Path, ...], rig: Rig, option: str, how: str) -> str | None:
    if paths == ordered:
        return None
    moved = [
        f"{after.name} is for '{camera}'"
        for before, after, camera in zip(paths, ordered, rig.names, strict=True)
        if before != after
    ]
    return f"{option}: matched with the cameras {how}: {_listed(moved, 4)} (--in-order: as given)"


def _listed(names: Sequence[str], most: int = 6) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown}, ..."
