"""What looks wrong in a rig: unit, direction, height, frusta, intrinsics, and the likely cause."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.camera_arrangement import (
    CROOKED_DEG,
    HEIGHT_MM,
    LEVEL_DEG,
    LOW_MM,
    RigWorld,
    camera_spread,
    crookedness,
    fits_people,
    is_faultless,
    is_upright,
    pose_faults,
    roll_deg,
    scaled,
    with_pose,
)
from voxelpose_core.geometry.coverage import views_on_grid
from voxelpose_core.geometry.lens_check import check_lens
from voxelpose_core.geometry.pose_readings import (
    READINGS,
    by_roll,
    check_poses,
    faultless_readings,
    ground_elsewhere,
)
from voxelpose_core.plain_numbers import plain

if TYPE_CHECKING:
    from voxelpose_core.geometry.rig import Rig
    from voxelpose_core.geometry.space import Space

# Extents of rigs that watch people, mm.
_SPREAD_MM = (300.0, 100_000.0)
# No two cameras are nearer to each other.
_SMALLEST_SPREAD_MM = 10.0


class RigFindings(NamedTuple):
    """What to say about a rig before work begins with it, in the file's own units and axes.

    Attributes:
        notes: what its reader left out or assumed (`Rig.notes`), and what is unusual (`rig_remarks`).
        wrong: what looks wrong (`check_rig`).
    """

    notes: list[str]
    wrong: list[str]


def rig_findings(rig: Rig) -> RigFindings:
    """Everything to say about a rig, one line each."""
    wrong = check_rig(rig)
    return RigFindings([*rig.notes, *_remarks(rig, wrong)], wrong)


def report_findings(rig: Rig, say: Callable[[str], object], strict: bool = False) -> None:
    """Say the findings of a rig, one line each.

    Args:
        rig: the cameras to work with.
        say: takes each line.
        strict: what looks wrong is an error; notes are not.

    Raises:
        InputError: strict, and something looks wrong.
    """
    notes, wrong = rig_findings(rig)
    if wrong and strict:
        raise InputError(f"rig '{rig.name}': {'; '.join(wrong)}")
    for line in [*notes, *wrong]:
        say(line)


def check_rig(rig: Rig) -> list[str]:
    """One line for each thing in the rig that looks wrong, with its likely cause; [] if none.

    Cameras turned by quarter turns are not wrong: `rig_remarks`. Structural faults (not a rotation, a
    missing key) never get here: loading raises InputError.
    """
    world = RigWorld.of(rig)
    unit_lines, factor = _check_unit(rig.cameras, world)
    cameras = scaled(rig.cameras, factor)
    pose_lines = check_poses(cameras, world)
    crooked = not pose_lines and crookedness(cameras) > CROOKED_DEG
    if (crooked and not fits_people(cameras)) or any(line.startswith("pose: ") for line in pose_lines):
        unit_lines, pose_lines = _both_wrong(rig.cameras, world) or (unit_lines, pose_lines)
    lines = unit_lines + _check_doubles(cameras) + pose_lines
    if rig.space is not None and not unit_lines:
        lines += _check_space(rig, rig.space)
    for camera in rig.cameras:
        lines += check_lens(camera)
    return lines


def rig_remarks(rig: Rig) -> list[str]:
    """What is unusual about a rig, though it may be right: cameras that are mounted turned."""
    return _remarks(rig, check_rig(rig))


def _remarks(rig: Rig, wrong: Sequence[str]) -> list[str]:
    """`rig_remarks`, none where `wrong`, what `check_rig` says, doubts the poses themselves."""
    if any(line.startswith(("unit: ", "direction: ", "pose: ")) for line in wrong):
        return []
    turned: dict[int, list[str]] = {}
    for camera in rig.cameras:
        angle = roll_deg(camera)
        if angle is None:
            continue
        turns = round(angle / 90.0) % 4
        if turns and abs(angle - 90.0 * round(angle / 90.0)) < LEVEL_DEG:
            turned.setdefault(turns, []).append(camera.name)
    lines = [
        f"{_listed(names)} turned by {90 * turns} degrees, says R" for turns, names in sorted(turned.items())
    ]
    readings = faultless_readings(rig.cameras) if lines else []
    upright = [poses for poses in readings if poses.roll < LEVEL_DEG]
    if upright:
        cause = min(upright, key=by_roll).reading.cause(RigWorld.of(rig))
        lines[-1] += f"; if they are mounted upright: {cause}?"
    return lines


def _listed(names: Sequence[str]) -> str:
    quoted = [f"'{name}'" for name in names]
    if len(quoted) == 1:
        return f"camera {quoted[0]} is mounted"
    return f"cameras {', '.join(quoted[:-1])} and {quoted[-1]} are mounted"


# Of a file's unit: a larger one, below which spread (mm) it is meant, and the factor between them.
_LARGER_UNITS = {
    "mm": (("m", _SPREAD_MM[0] / 3, 1000.0), ("cm", _SPREAD_MM[1] / 40, 10.0)),
    "cm": (("m", _SPREAD_MM[1] / 200, 100.0),),
    "m": (),
}
_UNIT_NAMES = {"m": "metres", "cm": "centimetres"}
_UNITS = (
    (1000.0, "positions in metres, expected mm"),
    (10.0, "positions in centimetres, expected mm"),
    (0.1, "were mm taken for cm"),
    (0.001, "were mm taken for m"),
)


def _check_unit(cameras: Sequence[Camera], world: RigWorld) -> tuple[list[str], float]:
    """The suspicion about the unit, and the factor that would bring the positions to mm."""
    heights = np.array([camera.C[2] for camera in cameras]) - world.ground
    spread = camera_spread(cameras)
    if spread > _SPREAD_MM[1] or heights.mean() > HEIGHT_MM[1]:
        line = (
            f"unit: the cameras are {spread / 1000:.0f} m apart and {heights.mean() / 1000:.0f} m "
            f"high: {world.unit} read, were mm taken for a larger unit?"
        )
        return [line], _SPREAD_MM[1] / 10 / spread
    if np.abs(heights).max() >= LOW_MM:
        return [], 1.0
    if spread > _SMALLEST_SPREAD_MM and fits_people(cameras) is not False:
        faults = pose_faults(cameras, world)
        if not faults or ground_elsewhere(cameras, world, faults):
            return [], 1.0
    # A file in m whose positions are ten times too small would be in no unit.
    for unit, limit, factor in _LARGER_UNITS[world.unit]:
        if spread < limit:
            line = (
                f"unit: the cameras are within {plain(spread)} mm of each other and at most "
                f"{plain(np.abs(heights).max())} mm high: positions in {_UNIT_NAMES[unit]}, expected "
                f"{world.unit}? Give --unit {unit}, or write unit: {unit} in a rig YAML"
            )
            return [line], factor
    return [], 1.0


def _both_wrong(cameras: Sequence[Camera], world: RigWorld) -> tuple[list[str], list[str]] | None:
    """The lines on unit and direction, where a rig is faultless only with both read anew.

    The positions of inverted poses say little of the unit, so that every unit is tried.
    """
    for factor, unit in _UNITS:
        for reading in READINGS:
            others = [with_pose(c, *reading.reread(c)) for c in scaled(cameras, factor)]
            plausible = _SPREAD_MM[0] <= camera_spread(others) <= _SPREAD_MM[1] and is_upright(others)
            if plausible and is_faultless(others):
                return [f"unit: {unit}?"], [f"direction: {reading.cause(world)}?"]
    return None


def _check_doubles(cameras: Sequence[Camera]) -> list[str]:
    return [
        f"cameras '{a.name}' and '{b.name}' stand at the same place: one calibration given twice?"
        for i, a in enumerate(cameras)
        for b in cameras[i + 1 :]
        if np.linalg.norm(a.C - b.C) < 10 and np.abs(a.R - b.R).max() < 0.01
    ]


def _check_space(rig: Rig, space: Space) -> list[str]:
    xs = np.linspace(space.low[0], space.high[0], 25)
    ys = np.linspace(space.low[1], space.high[1], 25)
    counts = views_on_grid(rig.cameras, xs, ys, rig.ground).sum(axis=0)
    share = float((counts >= 2).mean())
    if share >= 0.25:
        return []
    return [
        f"space: two cameras or more see only {100 * share:.0f} % of it: "
        "is its centre in the rig's world, in mm?"
    ]
