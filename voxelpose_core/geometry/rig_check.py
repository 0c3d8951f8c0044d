"""What looks wrong in a rig: unit, direction, height, frusta, intrinsics, and the likely cause."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.camera import FISHEYE_LIMIT, Camera
from voxelpose_core.geometry.coverage import PERSON_MM, ground_grid, views_on_grid

if TYPE_CHECKING:
    from voxelpose_core.geometry.rig import Rig

# Extents of rigs that watch people, mm.
_SPREAD_MM = (300.0, 100_000.0)
_LOW_MM = 500.0
# Cameras may be as far below the ground as the estimator's floor tolerance lets the floor be wrong: a board
# that stands on a desk makes a world whose zero is as high as the cameras on it.
_HEIGHT_MM = (-300.0, 15_000.0)
# Cameras lower than this stand on one desk, so that the others are not much higher.
_DESK_MM, _DESK_RANGE_MM = 100.0, 1000.0
_GRID_STEP_MM = 500.0
# No two cameras are nearer to each other.
_SMALLEST_SPREAD_MM = 10.0
# A person where the optical axes meet is at most so long, in sides of the image. Cameras whose
# positions are too small by a factor of ten or more stand too near to each other for people.
_LONGEST_IMAGE_SHARE = 1.2
# A camera looks up by at most this (sine of the elevation), as those near the floor do.
_UP = 0.6
# Mean angle of horizons from the nearest quarter turn, degrees: cameras that people mounted (upright,
# on their side, on their head), and poses that are not read right. Of a camera that looks within
# 30 degrees of straight down, the horizon says nothing.
_LEVEL_DEG, _CROOKED_DEG = 15.0, 20.0
# Another reading has to be better than the poses as they are by this.
_CLEARLY_DEG = 8.0
_STEEP = 0.5
# A world is a camera's if that camera's pose is the identity, but for what an adjustment moved it.
_MOVED_MM, _MOVED_SHARE, _TURNED = 20.0, 0.02, 0.03
# Measured lenses stay far below: tangential distortion of a lens that is not off its axis, and how
# far undistortion moves the corners of the image, as a factor of their distance from its middle.
_TANGENTIAL = 0.03
_CORNER_FACTORS = (0.4, 2.5)

Pose = tuple[np.ndarray, np.ndarray]


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
    world = _World.of(rig)
    unit_lines, factor = _check_unit(rig.cameras, world)
    cameras = _scaled(rig.cameras, factor)
    pose_lines = _check_poses(cameras, world)
    crooked = not pose_lines and _crookedness(cameras) > _CROOKED_DEG
    if (crooked and not _fits_people(cameras)) or any(line.startswith("pose: ") for line in pose_lines):
        unit_lines, pose_lines = _both_wrong(rig.cameras, world) or (unit_lines, pose_lines)
    lines = unit_lines + _check_doubles(cameras) + pose_lines
    if rig.space is not None and not unit_lines:
        lines += _check_space(rig)
    for camera in rig.cameras:
        lines += _check_intrinsics(camera)
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
        angle = _roll_deg(camera)
        turns = 0 if angle is None else round(angle / 90.0) % 4
        if turns and abs(angle - 90.0 * round(angle / 90.0)) < _LEVEL_DEG:
            turned.setdefault(turns, []).append(camera.name)
    lines = [
        f"{_listed(names)} turned by {90 * turns} degrees, says R"
        for turns, names in sorted(turned.items())
    ]
    readings = _readings_without_faults(rig.cameras) if lines else []
    upright = [poses for poses in readings if poses.roll < _LEVEL_DEG]
    if upright:
        cause = min(upright, key=_by_roll).reading.cause(_World.of(rig))
        lines[-1] += f"; if they are mounted upright: {cause}?"
    return lines


def _listed(names: Sequence[str]) -> str:
    quoted = [f"'{name}'" for name in names]
    if len(quoted) == 1:
        return f"camera {quoted[0]} is mounted"
    return f"cameras {', '.join(quoted[:-1])} and {quoted[-1]} are mounted"


@dataclasses.dataclass(frozen=True)
class _World:
    """The world that a rig is given in, to speak of it in the axes and unit of its file.

    Attributes:
        ground: height of the floor, mm.
        unit: of the file's lengths.
        axes: (3, 3) rotation from the file's world to the rig's.
    """

    ground: float
    unit: str
    axes: np.ndarray

    @classmethod
    def of(cls, rig: Rig) -> _World:
        return cls(rig.ground, rig.unit, np.asarray(rig.axes))

    def upward(self, up: np.ndarray | Sequence[float] = (0.0, 0.0, 1.0)) -> str:
        """Which axis of the file points along `up`, a direction (3,) in the rig's world."""
        direction = np.asarray(up) @ self.axes
        axis = int(np.abs(direction).argmax())
        return f"{'xyz'[axis]} {'up' if direction[axis] > 0 else 'down'}"

    @property
    def floor(self) -> str:
        """The height of the floor as the file would have it."""
        letter, way = self.upward().split()
        height = (1.0 if way == "up" else -1.0) * self.ground / 1000.0 + 0.0
        return f"{letter} = {height:g}" + (" m" if height else "")


def _with_pose(camera: Camera, R: np.ndarray, C: np.ndarray) -> Camera:
    return dataclasses.replace(camera, R=R, C=C)


def _check_unit(cameras: Sequence[Camera], world: _World) -> tuple[list[str], float]:
    """The suspicion about the unit, and the factor that would bring the positions to mm."""
    heights = np.array([camera.C[2] for camera in cameras]) - world.ground
    spread = _spread(cameras)
    if spread > _SPREAD_MM[1] or heights.mean() > _HEIGHT_MM[1]:
        line = (
            f"unit: the cameras are {spread / 1000:.0f} m apart and {heights.mean() / 1000:.0f} m "
            f"high: {world.unit} read, were mm taken for a larger unit?"
        )
        return [line], _SPREAD_MM[1] / 10 / spread
    if np.abs(heights).max() >= _LOW_MM:
        return [], 1.0
    if spread > _SMALLEST_SPREAD_MM and _fits_people(cameras) is not False:
        faults = _pose_faults(cameras, world)
        if not faults or _ground_elsewhere(cameras, world, faults):
            return [], 1.0
    # A file in m whose positions are ten times too small would be in no unit.
    for unit, limit, factor in _LARGER_UNITS[world.unit]:
        if spread < limit:
            line = (
                f"unit: the cameras are within {spread:.3g} mm of each other and at most "
                f"{np.abs(heights).max():.3g} mm high: positions in {_UNIT_NAMES[unit]}, expected "
                f"{world.unit}? Give --unit {unit}, or write unit: {unit} in a rig YAML"
            )
            return [line], factor
    return [], 1.0


def _fits_people(cameras: Sequence[Camera]) -> bool | None:
    """Whether a person fits the images where the optical axes meet; None where they do not meet."""
    meeting = _where_axes_meet(cameras)
    if meeting is None:
        return None
    depths = np.array([camera.to_camera(meeting[None])[0, 2] for camera in cameras])
    if np.median(depths) <= 0:
        return None
    shares = [
        PERSON_MM * camera.K[1, 1] / depth / max(camera.image_size)
        for camera, depth in zip(cameras, depths, strict=True)
        if depth > 0
    ]
    return bool(np.median(shares) <= _LONGEST_IMAGE_SHARE)


def _where_axes_meet(cameras: Sequence[Camera]) -> np.ndarray | None:
    """(3,) the point nearest to all optical axes, mm; None where they are nearly parallel."""
    across = [np.eye(3) - np.outer(camera.R[2], camera.R[2]) for camera in cameras]
    system = np.sum(across, axis=0)
    if np.linalg.eigvalsh(system)[0] < 0.02 * len(cameras):
        return None
    return np.linalg.solve(system, sum(a @ c.C for a, c in zip(across, cameras, strict=True)))


def _spread(cameras: Sequence[Camera]) -> float:
    """The largest distance between two cameras, mm."""
    centers = np.array([camera.C for camera in cameras])
    return float(np.linalg.norm(centers[:, None] - centers, axis=-1).max())


def _scaled(cameras: Sequence[Camera], factor: float) -> list[Camera]:
    return [_with_pose(camera, camera.R, camera.C * factor) for camera in cameras]


def _both_wrong(
    cameras: Sequence[Camera], world: _World
) -> tuple[list[str], list[str]] | None:
    """The lines on unit and direction, where a rig is faultless only with both read anew.

    The positions of inverted poses say little of the unit, so that every unit is tried.
    """
    for factor, unit in _UNITS:
        for reading in _READINGS:
            others = [_with_pose(c, *reading.reread(c)) for c in _scaled(cameras, factor)]
            plausible = _SPREAD_MM[0] <= _spread(others) <= _SPREAD_MM[1] and _is_upright(others)
            if plausible and _is_faultless(others):
                return [f"unit: {unit}?"], [f"direction: {reading.cause(world)}?"]
    return None


def _check_doubles(cameras: Sequence[Camera]) -> list[str]:
    return [
        f"cameras '{a.name}' and '{b.name}' stand at the same place: one calibration given twice?"
        for i, a in enumerate(cameras)
        for b in cameras[i + 1 :]
        if np.linalg.norm(a.C - b.C) < 10 and np.abs(a.R - b.R).max() < 0.01
    ]


def _check_poses(cameras: Sequence[Camera], world: _World) -> list[str]:
    """Faults of the poses as they are; where another reading has none, only that cause."""
    near = max(_MOVED_MM, _MOVED_SHARE * _spread(cameras))
    for camera in cameras:
        # Nobody's camera looks straight up.
        if np.abs(camera.C).max() < near and np.abs(camera.R - np.eye(3)).max() < _TURNED:
            return [
                f"direction: the world is camera {camera.name}'s (z along its optical axis), "
                f"expected {world.upward()} with the ground at {world.floor}: calibrate with the "
                "board flat on the floor as the world's origin, then run voxelpose rig check again"
            ]
    faults = _pose_faults(cameras, world)
    if faults and (line := _ground_elsewhere(cameras, world, faults)):
        return [line]
    crooked = _crookedness(cameras)
    readings = [
        poses
        for poses in _readings_without_faults(cameras)
        if poses.crooked <= max(crooked, _LEVEL_DEG)
    ]
    if faults and readings:
        cause = min(readings, key=_by_roll).reading.cause(world)
        return [f"direction: {faults[0]}; {cause}?"]
    if faults or not readings:
        return _check_single_poses(cameras, world, faults)
    # Nothing is wrong with the poses as they are, but another reading may be far more plausible.
    together, roll = _views_together(cameras, world.ground), _mean_roll(cameras)
    as_upright = [poses for poses in readings if poses.roll <= roll + _CLEARLY_DEG]
    best = max(as_upright, key=lambda r: (r.together, -r.roll), default=None)
    if best is not None and best.together > together + 1:
        cause = best.reading.cause(world)
        return [f"direction: only {together} cameras see a person at one place; {cause}?"]
    level = min(readings, key=lambda r: (r.crooked > _LEVEL_DEG, r.roll, r.crooked))
    if level.crooked < _LEVEL_DEG and level.crooked + _CLEARLY_DEG < crooked:
        return [
            f"direction: horizons are {crooked:.0f} degrees from level or upright in the mean; "
            f"{level.reading.cause(world)}?"
        ]
    return _check_single_poses(cameras, world, faults)


def _ground_elsewhere(
    cameras: Sequence[Camera], world: _World, faults: Sequence[str]
) -> str | None:
    """The one line where upright cameras would be faultless above another floor.

    A wrong reading of the poses turns cameras over or leaves them without a common view. Cameras on a
    desk whose board is the world see whole people only on a floor that is lower.
    """
    lowest = min(camera.C[2] for camera in cameras)
    if lowest - world.ground >= _LOW_MM or not _is_upright(cameras):
        return None
    floor = lowest - 1000.0
    if not _is_faultless(cameras, floor):
        return None
    return f"ground: {faults[0]}; is the floor elsewhere? Give --ground Z, its height in mm"


class _Poses(NamedTuple):
    """Another reading of all poses.

    Attributes:
        reading: the reading.
        roll: angle of horizons from level, mean of the cameras, degrees; 0 where all look down.
        crooked: the same from the nearest quarter turn.
        together: cameras that see a person at one place.
    """

    reading: _Reading
    roll: float
    crooked: float
    together: int


def _readings_without_faults(cameras: Sequence[Camera]) -> list[_Poses]:
    poses = []
    for reading in _READINGS:
        others = [_with_pose(camera, *reading.reread(camera)) for camera in cameras]
        if _is_faultless(others):
            roll = 5.0 * round(_mean_roll(others) / 5.0)
            poses.append(_Poses(reading, roll, _crookedness(others), _views_together(others)))
    return poses


def _by_roll(poses: _Poses) -> tuple[float, int]:
    """The most upright first: people mount cameras upright, and wrong readings tilt them."""
    return poses.roll, -poses.together


def _check_single_poses(
    cameras: Sequence[Camera], world: _World, faults: Sequence[str]
) -> list[str]:
    """The faults, or the one camera whose pose, read in another way, leaves none."""
    crooked = np.array([_crookedness([camera]) for camera in cameras])
    telling = np.array([_roll_deg(camera) is not None for camera in cameras])
    for index, camera in enumerate(cameras):
        own = [fault for fault in faults if f"'{camera.name}'" in fault]
        others_level = (np.delete(crooked, index) < _LEVEL_DEG).all()
        enough = np.delete(telling, index).sum() >= 2
        if crooked[index] > _CROOKED_DEG and others_level and enough:
            own.append(f"camera '{camera.name}' is tilted by {crooked[index]:.0f} degrees")
        for reading in _READINGS_OF_ONE if own else ():
            others = list(cameras)
            others[index] = _with_pose(camera, *reading.reread(camera))
            roll = _roll_deg(others[index])
            upright = roll is not None and abs(roll) < _LEVEL_DEG
            if upright and _is_faultless(others, world.ground):
                cause = reading.cause(world)
                return [f"direction: {own[0]}; of camera '{camera.name}', {cause}?"]
    return [f"pose: {fault}" for fault in faults]


def _roll_deg(camera: Camera) -> float | None:
    """How far an image is turned about the optical axis, degrees: 0 upright, 180 on its head.

    None for a camera that looks so steeply down or up that its horizon says nothing.
    """
    x, y, _ = -camera.R[:, 2]
    return float(np.degrees(np.arctan2(x, y))) if np.hypot(x, y) > _STEEP else None


def _mean_roll(cameras: Sequence[Camera]) -> float:
    """Mean angle from upright, degrees; 0 where no camera tells."""
    angles = [angle for camera in cameras if (angle := _roll_deg(camera)) is not None]
    return float(np.abs(angles).mean()) if angles else 0.0


def _crookedness(cameras: Sequence[Camera]) -> float:
    """Mean angle from the nearest quarter turn, degrees; 0 where no camera tells."""
    angles = [angle for camera in cameras if (angle := _roll_deg(camera)) is not None]
    gaps = [abs(angle - 90.0 * round(angle / 90.0)) for angle in angles]
    return float(np.mean(gaps)) if gaps else 0.0


def _is_upright(cameras: Sequence[Camera]) -> bool:
    """Whether all cameras that tell are mounted upright."""
    angles = [angle for camera in cameras if (angle := _roll_deg(camera)) is not None]
    return all(abs(angle) < _CROOKED_DEG for angle in angles)


def _views_together(cameras: Sequence[Camera], ground: float = 0.0) -> int:
    """The number of cameras that see a person at the place that most of them see."""
    grid = ground_grid(cameras, _GRID_STEP_MM)
    return int(views_on_grid(cameras, *grid, ground).sum(axis=0).max())


def _pose_faults(cameras: Sequence[Camera], world: _World) -> list[str]:
    """Height over ground, cameras that look up, frusta that meet."""
    standing = _standing_faults(cameras, world.ground, world.floor)
    return standing + _frusta_that_do_not_meet(cameras, world.ground)


def _is_faultless(cameras: Sequence[Camera], ground: float = 0.0) -> bool:
    """No `_pose_faults`; the frusta, which take time, are looked at last."""
    return not _standing_faults(cameras, ground) and not _frusta_that_do_not_meet(cameras, ground)


def _standing_faults(
    cameras: Sequence[Camera], ground: float, floor: str = "z = 0"
) -> list[str]:
    faults = []
    on_a_desk = np.ptp([camera.C[2] for camera in cameras]) <= _DESK_RANGE_MM
    lowest = _HEIGHT_MM[0] if on_a_desk else _DESK_MM
    for camera in cameras:
        height = camera.C[2] - ground
        if not lowest <= height <= _HEIGHT_MM[1]:
            faults.append(
                f"camera '{camera.name}' is {height / 1000:.2f} m above the ground {floor}, "
                f"expected up to {_HEIGHT_MM[1] / 1000:g} m"
            )
        if camera.R[2, 2] > _UP:
            faults.append(f"camera '{camera.name}' looks up into the sky")
    return faults


def _frusta_that_do_not_meet(cameras: Sequence[Camera], ground: float) -> list[str]:
    seen = views_on_grid(cameras, *ground_grid(cameras, _GRID_STEP_MM), ground)
    shared = seen.sum(axis=0) >= 2
    lonely = [
        f"camera '{camera.name}' sees no person anywhere that another camera sees"
        for camera, view in zip(cameras, seen, strict=True)
        if not (view & shared).any()
    ]
    return lonely if len(lonely) < len(cameras) else ["no two cameras see a person at one place"]


def _transposed(camera: Camera) -> Pose:
    return camera.R.T, camera.C


def _translation_as_center(camera: Camera) -> Pose:
    return camera.R, -camera.R.T @ camera.C


def _inverted(camera: Camera) -> Pose:
    """(R | t) was read as world to camera, so that C = -R^T t, and is camera to world."""
    return camera.R.T, -camera.R @ camera.C


class _Reading(NamedTuple):
    """Another way to read the numbers of a pose.

    Attributes:
        reread: the pose read so.
        words: what would explain it; None for a world whose axis `up` is the vertical.
        up: (3,) that axis, in the rig's world.
    """

    reread: Callable[[Camera], Pose]
    words: str | None = None
    up: tuple[float, float, float] = (0.0, 0.0, 1.0)

    def cause(self, world: _World) -> str:
        """What would explain it, in the axes of the file."""
        if self.words is not None:
            return self.words
        return f"is the world {world.upward(self.up)}, expected {world.upward()}"


def _turned(*rows: tuple[float, float, float]) -> _Reading:
    """The poses in a world z up, for rows that take a point of the given world there."""
    to_z_up = np.array(rows, dtype=np.float64)
    return _Reading(lambda camera: (camera.R @ to_z_up.T, to_z_up @ camera.C), None, rows[2])


_READINGS_OF_ONE = (
    _Reading(_inverted, "are the poses camera-to-world, expected world-to-camera"),
    _Reading(_transposed, "is R camera-to-world, expected world-to-camera"),
    _Reading(
        _translation_as_center,
        "is C the translation t of x = R X + t, expected the camera centre",
    ),
)
_READINGS = (
    *_READINGS_OF_ONE,
    _turned((1, 0, 0), (0, 0, 1), (0, -1, 0)),
    _turned((1, 0, 0), (0, 0, -1), (0, 1, 0)),
    _turned((1, 0, 0), (0, -1, 0), (0, 0, -1)),
)
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


def _check_space(rig: Rig) -> list[str]:
    xs = np.linspace(rig.space.low[0], rig.space.high[0], 25)
    ys = np.linspace(rig.space.low[1], rig.space.high[1], 25)
    counts = views_on_grid(rig.cameras, xs, ys, rig.ground).sum(axis=0)
    share = float((counts >= 2).mean())
    if share >= 0.25:
        return []
    return [
        f"space: two cameras or more see only {100 * share:.0f} % of it: "
        "is its centre in the rig's world, in mm?"
    ]


def _check_intrinsics(camera: Camera) -> list[str]:
    where = f"camera '{camera.name}'"
    width, height = camera.image_size
    fx, fy, cx, cy = camera.K[0, 0], camera.K[1, 1], camera.K[0, 2], camera.K[1, 2]
    lines = []
    if not (0.25 * width < cx < 0.75 * width and 0.25 * height < cy < 0.75 * height):
        lines.append(
            f"{where}: the principal point ({cx:.0f}, {cy:.0f}) is far from the middle of "
            f"{width}x{height}: K of another image size, or width and height swapped?"
        )
    if not 0.8 < fx / fy < 1.25:
        lines.append(f"{where}: focal lengths {fx:.0f} and {fy:.0f} differ: K of another crop?")
    half = max(width, height) / 2 / fx
    view = 2 * np.degrees(half if camera.fisheye else np.arctan(half))
    if not 5 < view < (250 if camera.fisheye else 150):
        lines.append(f"{where}: a field of view of {view:.0f} degrees: focal length not in pixels?")
    return lines + _check_distortion(camera)


def _check_distortion(camera: Camera) -> list[str]:
    """Whether the undistorted corners of the image make sense.

    The distortion must still grow there (of a fisheye, whose corners may lie outside the lens: at
    the nearest edge), and the corners must stay near where they are.
    """
    cause = "coefficients of another lens model, or in another order?"
    if _folds_back(camera):
        return [f"camera '{camera.name}': the distortion folds back inside the image: {cause}"]
    if camera.fisheye:
        return []
    tangential = float(np.abs(camera.distortion[2:4]).max())
    if tangential > _TANGENTIAL:
        return [
            f"camera '{camera.name}': tangential distortion of {tangential:.2g}, expected at most "
            f"{_TANGENTIAL:g}: {cause}"
        ]
    radii = np.linspace(0.0, min(camera.valid_radius, 20.0), 4000)
    corner = _corner_radius(camera)
    factor = float(np.interp(corner, camera.distorted_radius(radii), radii)) / corner
    low, high = _CORNER_FACTORS
    if low < factor < high:
        return []
    return [
        f"camera '{camera.name}': undistorted, a corner of the image is {factor:.2g} times as far "
        f"from the middle, expected {low:g} to {high:g}: {cause}"
    ]


def _corner_radius(camera: Camera) -> float:
    """How far the farthest corner of the image is from the principal point, in focal lengths."""
    focal = np.diag(camera.K)[:2]
    sides = np.maximum(np.abs(camera.K[:2, 2]), np.abs(camera.image_size - camera.K[:2, 2]))
    return float(np.linalg.norm(sides / focal))


def _folds_back(camera: Camera) -> bool:
    limit = camera.valid_radius
    if limit == (FISHEYE_LIMIT if camera.fisheye else np.inf):
        return False
    reach = _corner_radius(camera)
    if camera.fisheye:
        middle, focal = camera.K[:2, 2], np.diag(camera.K)[:2]
        reach = min(*np.abs(middle / focal), *np.abs((camera.image_size - middle) / focal))
    return bool(camera.distorted_radius(limit) < reach)
