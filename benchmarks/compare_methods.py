#!/usr/bin/env python3
"""Ray model, voxel nets and a learning-free baseline on the same 2D detections, in one table.

    python benchmarks/compare_methods.py --shelf DIR --campus DIR --rigs 2

Every frame set is given to each method in turn, in one process, so that accuracy and time come from the same
run. DIR is in the original's layout (calibration, actorsGT.mat, 2D predictions, which for Campus are
simulated). --rigs needs no data: generated rigs of 2 to 8 cameras at three levels of detector noise, on fixed
seeds (voxelpose_core/datasets/generated_rigs.py). The baseline is pair_triangulation.py beside this file; its
thresholds are chosen on other generated rigs (choose_thresholds.py).

Columns: PCP, average of the first three actors, in %; AP at 100 mm, in % (a rig's people are all labelled);
recall at 500 mm and MPJPE, of rigs over the people that two cameras see whole; false positives per frame
set, which on Shelf and Campus include people without a label; milliseconds per frame set of the 3D part, and
of CPU time, medians.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from pair_triangulation import PairTriangulation
from tqdm import tqdm

from voxelpose_core.command import Parser, run_command
from voxelpose_core.datasets.actors import ActorsDataset
from voxelpose_core.datasets.campus import Campus
from voxelpose_core.datasets.generated_rigs import LEVELS, VIEW_COUNTS, generate_rig
from voxelpose_core.datasets.shelf import Shelf
from voxelpose_core.devices import select_device
from voxelpose_core.errors import InputError
from voxelpose_core.estimator import PoseEstimator
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.keypoint_evaluation import (
    KeypointMethod,
    Predictions,
    actors_metrics,
    actors_pcp,
    rig_metrics,
)
from voxelpose_core.metrics.average_precision import DetectionMetrics
from voxelpose_core.processor import device_name

# Of Shelf's validation frames, 300..600, the half that is looked at and the half that is held out.
SHELF_RANGES = (range(300, 450), range(450, 601))
CAMPUS_FRAMES = range(751, 901)
# Makes a method for a rig; the second argument says whether its frame sets are consecutive.
Maker = Callable[[Rig, bool], KeypointMethod]


@dataclass(frozen=True)
class Row:
    """One method on one set of frame sets; NaN where a column has no meaning."""

    frames: str
    method: str
    count: int
    pcp: float
    ap100: float
    recall: float
    mpjpe: float
    false_positives: float
    ms: float
    cpu_ms: float


def main() -> int:
    args = parse_args()
    torch.set_num_threads(args.threads)
    makers = make_methods(args)
    rows: list[Row] = []
    if args.shelf:
        for frames in SHELF_RANGES:
            rows += compare_on_shelf(args, makers, frames)
        for cameras in args.shelf_cameras:
            dataset = Shelf(args.shelf, frames=SHELF_RANGES[0][:: args.step])
            rows += compare_on_actors(makers, dataset, cameras)
    if args.campus:
        campus = Campus(args.campus, frames=CAMPUS_FRAMES[:: args.step], simulated=True)
        rows += compare_on_actors(makers, campus)
    if args.rigs:
        for views in args.views:
            rows += compare_on_rigs(args, makers, views)
    if not rows:
        raise InputError("nothing to compare: give --shelf, --campus or --rigs")
    processor = f"{device_name(select_device(args.device))}, {args.threads} thread{'s' * (args.threads > 1)}"
    print(f"{processor}\n{table(rows)}")
    if args.out:
        document = {"processor": processor, "rows": [as_json(row) for row in rows]}
        Path(args.out).write_text(json.dumps(document, indent=2) + "\n")
    return 0


def parse_args() -> argparse.Namespace:
    parser = Parser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--shelf", help="folder of the Shelf data set")
    parser.add_argument(
        "--shelf-cameras",
        type=_camera_set,
        nargs="+",
        default=[],
        metavar="I,J[,...]",
        help="Shelf again with these cameras only, by number from 0",
    )
    parser.add_argument("--campus", help="folder of the Campus data set; its detections are simulated")
    parser.add_argument("--rigs", type=int, default=0, help="generated rigs per number of cameras and level")
    parser.add_argument(
        "--views", type=int, nargs="+", choices=VIEW_COUNTS, default=VIEW_COUNTS, help="cameras of these rigs"
    )
    parser.add_argument("--rays", default="universal", help="weights of the ray model, '' for none")
    parser.add_argument("--voxels", default="voxelpose", help="weights of the voxel nets, '' for none")
    parser.add_argument("--device", default="cpu", help="device of the networks: auto, cpu or cuda:N")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--step", type=int, default=1, help="every N-th frame of Shelf and Campus only")
    parser.add_argument("--out", help="JSON file to write")
    args = parser.parse_args()
    for name, least in (("rigs", 0), ("threads", 1), ("step", 1)):
        if getattr(args, name) < least:
            parser.error(f"--{name} is {getattr(args, name)}, expected at least {least}")
    return args


def _camera_set(text: str) -> tuple[int, ...]:
    cameras = tuple(int(part) for part in text.split(","))
    if len(set(cameras)) < 2:
        raise argparse.ArgumentTypeError(f"'{text}' names fewer than two cameras")
    return cameras


def make_methods(args: argparse.Namespace) -> dict[str, Maker]:
    """The methods by their names in the table."""
    weights = {"ray model": args.rays, "voxel nets": args.voxels}
    makers: dict[str, Maker] = {
        name: lambda rig, _, path=path: PoseEstimator(rig, path, args.device, detector=None)
        for name, path in weights.items()
        if path
    }
    # A step of several frames is no previous frame, either.
    makers["learning-free"] = lambda rig, consecutive: PairTriangulation(
        rig, use_previous=consecutive and args.step == 1
    )
    return makers


def compare_on_shelf(args, makers: dict[str, Maker], frames: range) -> list[Row]:
    """Rows of one range of Shelf; none, and a line that says so, where the folder has no labels for it."""
    if not set(frames) & set(Shelf(args.shelf, subset="all").frames):
        print(f"{args.shelf}: no labels in frames {_span(frames)}, left out", file=sys.stderr)
        return []
    return compare_on_actors(makers, Shelf(args.shelf, frames=frames[:: args.step]))


def compare_on_actors(
    makers: dict[str, Maker], dataset: ActorsDataset, cameras: Sequence[int] | None = None
) -> list[Row]:
    """Every method on all frames of Campus or Shelf, in order; with some of the cameras only."""
    samples = list(dataset.samples())
    title = f"{dataset.name} {_span(dataset.frames)}"
    rig, frame_sets = dataset.rig, [sample.keypoints for sample in samples]
    if cameras is not None:
        if max(cameras) >= len(rig):
            raise InputError(f"camera {max(cameras)}: {dataset.name} has {len(rig)}, counted from 0")
        title += f", cameras {', '.join(map(str, cameras))}"
        # The space stays that of all cameras.
        rig = rig.select([rig.names[index] for index in cameras])
        frame_sets = [[keypoints[index] for index in cameras] for keypoints in frame_sets]
    methods = {name: make(rig, True) for name, make in makers.items()}
    found = {name: Predictions() for name in methods}
    run(methods, found, tqdm(frame_sets, title, disable=None))
    rows = []
    for name, predictions in found.items():
        metrics = actors_metrics(predictions, dataset, samples)
        pcp = actors_pcp(predictions, dataset).average
        false = metrics.false_positives_per_frame
        rows.append(_row(title, name, predictions, metrics, false, pcp=pcp))
    return rows


def compare_on_rigs(args, makers: dict[str, Maker], views: int) -> list[Row]:
    """Every method on generated rigs of so many cameras, all levels of noise together."""
    found = {name: Predictions() for name in makers}
    frame_sets = []
    settings = [(level, number) for level in LEVELS.values() for number in range(args.rigs)]
    for level, number in tqdm(settings, f"{views} cameras", disable=None):
        rig, own = generate_rig(views, level, number)
        methods = {name: make(rig, False) for name, make in makers.items()}
        run(methods, found, [frame_set.keypoints for frame_set in own])
        frame_sets += own
    rows, title = [], f"generated, {views} cameras"
    for name, predictions in found.items():
        result = rig_metrics(predictions, frame_sets)
        metrics, false = result.metrics, result.false_positives_per_frame
        rows.append(_row(title, name, predictions, metrics, false, ap100=metrics.ap[100]))
    return rows


def run(methods: dict[str, KeypointMethod], found: dict[str, Predictions], frame_sets: Iterable) -> None:
    """Give every frame set to each method in turn, so that they share what else the computer does."""
    for keypoints in frame_sets:
        for name, method in methods.items():
            found[name].add(method, keypoints)


def _row(
    title: str,
    name: str,
    predictions: Predictions,
    metrics: DetectionMetrics,
    false_positives: float,
    pcp: float = math.nan,
    ap100: float = math.nan,
) -> Row:
    return Row(
        frames=title,
        method=name,
        count=len(predictions.poses),
        pcp=100 * pcp,
        ap100=100 * ap100,
        recall=metrics.recall_500,
        mpjpe=metrics.mpjpe,
        false_positives=false_positives,
        ms=float(np.median(predictions.wall_ms)),
        cpu_ms=float(np.median(predictions.cpu_ms)),
    )


def _span(frames) -> str:
    return f"{frames[0]}..{frames[-1]}"


def table(rows: list[Row]) -> str:
    """The rows as a Markdown table."""
    heads = ("frame sets", "method", "PCP", "AP 100", "recall", "MPJPE mm", "false pos.", "ms", "CPU ms")
    lines = [heads, ("---",) * len(heads)]
    for row in rows:
        values = (
            _text(row.pcp, 1),
            _text(row.ap100, 1),
            _text(row.recall, 3),
            _text(row.mpjpe, 1),
            _text(row.false_positives, 2),
            _text(row.ms, 1),
            _text(row.cpu_ms, 1),
        )
        lines.append((f"{row.frames} ({row.count})", row.method, *values))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _text(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def as_json(row: Row) -> dict:
    """Plain values; None for a column without a meaning."""
    return {
        key: None if isinstance(value, float) and math.isnan(value) else value
        for key, value in asdict(row).items()
    }


if __name__ == "__main__":
    sys.exit(run_command(main))
