"""Right rigs of many kinds, and the same rigs read wrongly: what `check_rig` has to tell apart.

    PYTHONPATH=. python test/right_rigs.py --first 1000 --count 100

prints how often a right rig is called wrong, and how often a wrong one is noticed and its cause named.
The thresholds of `check_rig` were chosen on seeds below 2000; those reported are above.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Callable

import numpy as np

from voxelpose_core.datasets.generated_rigs import VIEW_COUNTS, generate_rig
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.coverage import ground_grid, views_on_grid
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.geometry.rig_check import check_rig, rig_remarks

Change = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]

Y_DOWN = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # z-up world -> y-down world
Y_UP = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
Z_DOWN = np.diag([1.0, -1.0, -1.0])

# Words that name the cause -> what (R, C) a reader takes for those of a right rig.
CHANGES: dict[str, Change] = {
    "unit: .* in metres": lambda R, C: (R, C / 1000),
    "unit: .* in centimetres": lambda R, C: (R, C / 10),
    "unit: .* mm taken for a larger unit": lambda R, C: (R, C * 1000),
    "is R camera-to-world": lambda R, C: (R.T, C),
    "is C the translation t": lambda R, C: (R, -R @ C),
    "are the poses camera-to-world": lambda R, C: (R.T, -R @ C),
    "is the world y down": lambda R, C: (R @ Y_DOWN.T, Y_DOWN @ C),
    "is the world y up": lambda R, C: (R @ Y_UP.T, Y_UP @ C),
    "is the world z down": lambda R, C: (R @ Z_DOWN, Z_DOWN @ C),
}


def changed(rig: Rig, change: Change) -> Rig:
    """The rig with (R, C) of every camera replaced by change(R, C)."""
    cameras = []
    for camera in rig.cameras:
        R, C = change(camera.R, camera.C)
        cameras.append(dataclasses.replace(camera, R=R, C=C))
    return dataclasses.replace(rig, cameras=tuple(cameras), space=None)


def camera_at(name, center, target, roll=0.0, size=(1280, 720), view_deg=70.0, fisheye=False):
    """A camera at `center` (mm) that looks at `target`, turned by `roll` radians clockwise."""
    forward = np.subtract(target, center, dtype=float)
    forward /= np.linalg.norm(forward)
    side = np.cross(forward, [0, 0, 1] if abs(forward[2]) < 0.999 else [0, 1, 0])
    side /= np.linalg.norm(side)
    down = np.cross(forward, side)
    c, s = np.cos(roll), np.sin(roll)
    half = np.radians(view_deg) / 2
    focal = max(size) / 2 / (half if fisheye else np.tan(half))
    return Camera(
        name,
        size,
        [[focal, 0, size[0] / 2], [0, focal, size[1] / 2], [0, 0, 1]],
        [0.0] * (4 if fisheye else 5),
        np.stack([c * side + s * down, c * down - s * side, forward]),
        center,
        fisheye,
    )


def _around(rng, count, radius, heights, arc=2 * np.pi):
    start = rng.uniform(0, 2 * np.pi)
    angles = start + arc * (np.arange(count) + rng.uniform(-0.25, 0.25, count)) / count
    reach = radius * rng.uniform(0.8, 1.2, count)
    return np.column_stack([np.cos(angles) * reach, np.sin(angles) * reach, rng.uniform(*heights, count)])


def _aims(rng, count, spread, heights=(600, 1200)):
    return np.column_stack([rng.uniform(-spread, spread, (count, 2)), rng.uniform(*heights, count)])


def _moved(rng, cameras, reach=2000.0):
    """The world's origin lies anywhere on the floor, its x axis points anywhere."""
    a, shift = rng.uniform(0, 2 * np.pi), np.append(rng.uniform(-reach, reach, 2), 0.0)
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    return [dataclasses.replace(c, R=c.R @ turn.T, C=turn @ c.C + shift) for c in cameras]


def room(rng, roll=lambda rng: rng.normal(0, 0.05), arc=2 * np.pi, size=(1280, 720)):
    """Stands and corners around people."""
    count, radius = rng.integers(2, 9), rng.uniform(2500, 6000)
    centers = _around(rng, count, radius, (700, 3500), arc)
    aims = _aims(rng, count, radius / 4)
    return _moved(
        rng,
        [
            camera_at(f"c{i}", c, a, roll(rng), size, rng.uniform(55, 95))
            for i, (c, a) in enumerate(zip(centers, aims))
        ],
    )


def one_side(rng):
    """All cameras on one side."""
    return room(rng, arc=rng.uniform(0.8, 2.5))


def portrait(rng):
    """All cameras turned by the same quarter."""
    side = rng.choice([-1, 1]) * np.pi / 2
    return room(rng, lambda rng: side + rng.normal(0, 0.05), rng.choice([2 * np.pi, 2.0]))


def upside_down(rng):
    """Hung from a ceiling or a truss by their feet."""
    return room(rng, lambda rng: np.pi + rng.normal(0, 0.05), rng.choice([2 * np.pi, 2.0]))


def any_quarter(rng):
    """Each camera mounted in its own way."""
    return room(rng, lambda rng: rng.integers(4) * np.pi / 2 + rng.normal(0, 0.05))


def ceiling(rng):
    """Under the ceiling, tilted by up to 60 degrees from straight down, rolled anyhow."""
    count, height = rng.integers(2, 7), rng.uniform(2600, 5500)
    fisheye = bool(rng.random() < 0.3)
    reach = rng.uniform(0.2, 1.3) * height
    centers = _around(rng, count, reach, (height - 200, height + 200))
    aims = _aims(rng, count, 600, (0, 900))
    anyhow = rng.random() < 0.5
    return _moved(
        rng,
        [
            camera_at(
                f"c{i}",
                c,
                a,
                rng.uniform(0, 2 * np.pi) if anyhow else rng.normal(0, 0.05),
                (1280, 960),
                rng.uniform(140, 175) if fisheye else rng.uniform(80, 110),
                fisheye,
            )
            for i, (c, a) in enumerate(zip(centers, aims))
        ],
    )


def desktop(rng):
    """Webcams 0.5 to 2 m apart on a desk that watch who stands before it."""
    count = rng.integers(2, 5)
    xs = np.linspace(-0.5, 0.5, count) * rng.uniform(500, 2000)
    centers = np.column_stack([xs, rng.uniform(-100, 100, count), rng.uniform(700, 1400, count)])
    aims = _aims(rng, count, 300) + [0, rng.uniform(1800, 3500), 0]
    return _moved(
        rng,
        [
            camera_at(f"c{i}", c, a, rng.normal(0, 0.08), view_deg=rng.uniform(60, 90))
            for i, (c, a) in enumerate(zip(centers, aims))
        ],
        500,
    )


def board_on_desk(rng):
    """The same, with the world on a board about as high as the cameras: the floor is below zero."""
    return desktop(rng)


def _on_a_board(rng, cameras):
    lowest = min(c.C[2] for c in cameras)
    shift = lowest - rng.uniform(-250, 400)
    return tuple(dataclasses.replace(c, C=c.C - [0, 0, shift]) for c in cameras)


def wide(rng):
    """A sports hall."""
    count = rng.integers(4, 11)
    centers = _around(rng, count, rng.uniform(12000, 22000), (2500, 11000))
    aims = _aims(rng, count, 1500)
    return _moved(
        rng,
        [
            camera_at(f"c{i}", c, a, rng.normal(0, 0.03), (1920, 1080), rng.uniform(35, 60))
            for i, (c, a) in enumerate(zip(centers, aims))
        ],
        10000,
    )


def one_odd(rng):
    """A room with one camera mounted otherwise: turned, overhead, or near the floor."""
    cameras = room(rng)
    while len(cameras) < 3:
        cameras = room(rng)
    middle = np.mean([c.C for c in cameras], axis=0) * [1, 1, 0]
    odd = cameras[-1]
    kind = rng.integers(3)
    if kind == 0:
        odd = camera_at("odd", odd.C, middle + [0, 0, 900], rng.integers(1, 4) * np.pi / 2)
    elif kind == 1:
        above = middle + [*rng.uniform(-300, 300, 2), rng.uniform(2800, 4500)]
        odd = camera_at("odd", above, middle, rng.uniform(0, 2 * np.pi), view_deg=100)
    else:
        odd = camera_at("odd", odd.C * [1, 1, 0] + [0, 0, 250], middle + [0, 0, 1100], view_deg=90)
    return [*cameras[:-1], odd]


def generated(rng):
    """Of the rigs that universal weights are tested on."""
    number = int(rng.integers(10**6))
    rig, _ = generate_rig(int(rng.choice(VIEW_COUNTS)), 0.15, number, frame_sets=1)
    return list(rig.cameras)


KINDS = (
    room,
    one_side,
    portrait,
    upside_down,
    any_quarter,
    ceiling,
    desktop,
    board_on_desk,
    wide,
    one_odd,
    generated,
)


def right_rig(kind, seed: int) -> Rig:
    """The rig of a kind and seed: every camera sees people where another one sees them."""
    rng = np.random.default_rng((KINDS.index(kind), seed))
    while True:
        rig = Rig(tuple(kind(rng)), name=f"{kind.__name__}_{seed}")
        if _meets(rig):
            break
    if kind is board_on_desk:
        rig = dataclasses.replace(rig, cameras=_on_a_board(rng, rig.cameras))
    return rig


def false_alarms(rig: Rig) -> list[str]:
    """What `check_rig` says of a right rig; that its floor is elsewhere is true of some."""
    return [line for line in check_rig(rig) if not line.startswith("ground: ")]


def _meets(rig: Rig) -> bool:
    seen = views_on_grid(rig.cameras, *ground_grid(rig.cameras, 500.0))
    shared = seen.sum(axis=0) >= 2
    return all((view & shared).any() for view in seen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--first", type=int, default=1000, help="first seed")
    parser.add_argument("--count", type=int, default=100, help="rigs of each kind")
    parser.add_argument("--kinds", nargs="*", default=[k.__name__ for k in KINDS])
    parser.add_argument("--show", action="store_true", help="print the false alarms")
    args = parser.parse_args()
    totals = np.zeros((len(CHANGES), 2))
    kinds = [kind for kind in KINDS if kind.__name__ in args.kinds]
    alarms_of_all = 0
    for kind in kinds:
        rigs = [right_rig(kind, args.first + n) for n in range(args.count)]
        alarms = [lines for rig in rigs if (lines := false_alarms(rig))]
        alarms_of_all += len(alarms)
        if args.show:
            for lines in alarms:
                print("   ", lines)
        counts = np.zeros((len(CHANGES), 2))
        for row, (words, change) in enumerate(CHANGES.items()):
            for rig in rigs:
                wrong = changed(rig, change)
                lines = check_rig(wrong) or rig_remarks(wrong)
                counts[row] += bool(lines), any(re.search(words, line) for line in lines)
        totals += counts
        percent = np.round(100 * counts / args.count).astype(int)
        told = " ".join(f"{noticed}/{named}" for noticed, named in percent)
        print(f"{kind.__name__:14} false alarms {len(alarms):3} of {args.count}; {told}", flush=True)
    for (words, _), (noticed, named) in zip(CHANGES.items(), totals / args.count / len(kinds)):
        print(f"{words:40} noticed {100 * noticed:5.1f} %, named {100 * named:5.1f} %")
    print(f"false alarms: {alarms_of_all} of {args.count * len(kinds)}")


if __name__ == "__main__":
    main()
