#!/usr/bin/env python3
"""A whole calibration from people: how far it is from the truth, what is refused, time and memory.

    python benchmarks/rig_from_people.py    # all generated cells; some hours on one core
    python benchmarks/rig_from_people.py --cells known focal_long --count 5
    python benchmarks/rig_from_people.py --cells --pose2sim DIR --panoptic DIR --shelf DIR

Recordings are generated (voxelpose_core/datasets/generated_recordings.py): thresholds were chosen on numbers
from 1000 on, those from 2000 on are reported. Errors of cameras are those after one similarity of the whole
rig; degrees and mm are medians and maxima over a rig's cameras, then the median over recordings. "pair" is
the median 3D error of what pairs of cameras triangulate. For data sets the given calibration is the truth.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from voxelpose_core.command import Parser, run_command
from voxelpose_core.datasets.generated_recordings import RecordingSettings, generate_recording
from voxelpose_core.datasets.predictions import read_predictions
from voxelpose_core.detectors import load_detector
from voxelpose_core.errors import InputError
from voxelpose_core.geometry.camera import Camera
from voxelpose_core.geometry.rig import Rig, load_rig
from voxelpose_core.metrics.rig_error import rig_error
from voxelpose_core.self_calibration.bodies import triangulate_poses
from voxelpose_core.self_calibration.from_people import (
    FromPeopleSettings,
    RigFromPeople,
    guessed_cameras,
    rig_from_people,
)
from voxelpose_core.self_calibration.observations import CameraDetections, Recording
from voxelpose_core.self_calibration.people_fit import zoomed
from voxelpose_core.self_calibration.recording import RecordedCameras, record_images
from voxelpose_core.skeletons import COCO17
from voxelpose_core.sources import open_videos

FIRST, COUNT = 2000, 20
PANOPTIC_VIEWS = ("00_03", "00_06", "00_12", "00_13", "00_23")
PANOPTIC_HZ, SHELF_HZ = 29.97, 25.0


@dataclass(frozen=True)
class Cell:
    """Recordings of one kind; `guess`: focal lengths are unknown and guessed so, a factor or degrees."""

    words: str
    settings: RecordingSettings
    guess: str = ""
    max_offset_s: float = 1.0


_ONE = {"offsets_ms": 1000.0}
CELLS = {
    "known": Cell("4 cameras, 1 person, 20 s, clocks up to 1 s off", RecordingSettings(**_ONE)),
    "three_people": Cell("3 people", RecordingSettings(people=3, **_ONE)),
    "noisy": Cell("4 % noise", RecordingSettings(noise=0.04, **_ONE)),
    "short": Cell("5 s", RecordingSettings(duration_s=5.0, **_ONE)),
    "two": Cell("2 cameras", RecordingSettings(cameras=2, **_ONE)),
    "fisheye": Cell("fisheyes", RecordingSettings(fisheye=True, **_ONE)),
    "sixteen": Cell("16 cameras, 15 Hz", RecordingSettings(cameras=16, rates_hz=15.0, **_ONE)),
    "focal_long": Cell("focal lengths guessed 30 % too long", RecordingSettings(distorted=False), "x1.3"),
    "focal_short": Cell("focal lengths guessed 30 % too short", RecordingSettings(distorted=False), "x0.7"),
    "fov": Cell("a guess of 60 degrees, principal point too", RecordingSettings(distorted=False), "60"),
    "standing": Cell("1 person who stands", RecordingSettings(standing=True)),
    "wrong_focal": Cell(
        "one focal length 20 % too short", RecordingSettings(focal_errors=(0.0, -0.2, 0.0, 0.0))
    ),
    "wrong_focal_long": Cell(
        "one focal length 20 % too long", RecordingSettings(focal_errors=(0.0, 0.2, 0.0, 0.0))
    ),
}


def guessed(cameras: Sequence[Camera], guess: str) -> Sequence[Camera]:
    """What the user gives."""
    if guess.startswith("x"):
        return [zoomed(camera, float(guess[1:])) for camera in cameras]
    if guess:
        sizes = [camera.image_size for camera in cameras]
        return guessed_cameras([camera.name for camera in cameras], sizes, float(guess))
    return cameras


def measured(found: RigFromPeople, truth: Rig, joints: np.ndarray) -> dict[str, float]:
    """Errors of one calibration, by their column."""
    error = rig_error(found.rig, truth, joints, similarity=True)
    focal = [
        abs(own.K[0, 0] / true.K[0, 0] - 1)
        for own, true in zip(found.rig.cameras, truth.cameras, strict=True)
    ]
    return {
        "deg": float(np.median(error.degrees)),
        "worst deg": float(error.degrees.max()),
        "mm": float(np.median(error.mm)),
        "worst mm": float(error.mm.max()),
        "pair mm": error.pair_mm,
        "scale %": 100 * abs(error.scale - 1),
        "focal %": 100 * float(np.median(focal)),
        "halves deg": float(found.halves_deg.max()),
        "halves mm": float(found.halves_mm.max()),
    }


def generated(cell: Cell, numbers: range) -> None:
    """Print one line per refusal, and the cell's row."""
    rows, refusals, seconds = [], [], []
    for number in numbers:
        made = generate_recording(number, cell.settings)
        lengths = np.linalg.norm(made.poses[0, :, 5] - made.poses[0, :, 11], axis=-1) / np.hypot(0.288, 0.046)
        settings = FromPeopleSettings(
            height_mm=float(lengths.mean()), free_focal=bool(cell.guess), max_offset_s=cell.max_offset_s
        )
        start = time.process_time()
        try:
            found = rig_from_people(made.recording, guessed(made.rig.cameras, cell.guess), settings)
        except InputError as error:
            refusals.append(str(error))
            print(f"    {number}: {error}", flush=True)
        else:
            row = measured(found, made.true_rig, made.true_joints())
            row["offset ms"] = float(np.abs(found.offsets_ms - made.offsets_ms).max())
            rows.append(row)
            print(f"    {number}: " + ", ".join(f"{k} {v:.3g}" for k, v in row.items()), flush=True)
        seconds.append(time.process_time() - start)
    text = ", ".join(f"{key} {np.median([row[key] for row in rows]):.3g}" for key in rows[0]) if rows else "-"
    worst = f"; worst of all {max(row['worst deg'] for row in rows):.2f} deg" if rows else ""
    accepted = f"{len(rows)} of {len(rows) + len(refusals)}"
    print(f"{cell.words}: {accepted}: {text}{worst}; {np.median(seconds):.0f} s CPU")
    print(f"    memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB", flush=True)


def data_set(words: str, recording: Recording, truth: Rig, guess: str, height_mm: float | None) -> None:
    """One recording of a data set, with its intrinsics or a guess."""
    start = time.process_time()
    settings = FromPeopleSettings(height_mm=height_mm, free_focal=bool(guess), max_offset_s=0.5)
    words += f" ({guess} degrees)" if guess else ""
    try:
        found = rig_from_people(recording, guessed(truth.cameras, guess), settings)
    except InputError as error:
        print(f"{words}: {error}; {time.process_time() - start:.0f} s CPU", flush=True)
        return
    joints = triangulate_poses(truth.cameras, found.poses).reshape(-1, 3)
    row = measured(found, truth, joints[np.isfinite(joints[:, 0])])
    row["offset ms"] = float(np.abs(found.offsets_ms).max())
    text = ", ".join(f"{key} {value:.3g}" for key, value in row.items())
    print(f"{words}: {text}; {time.process_time() - start:.0f} s CPU", *found.notes, sep="\n    ", flush=True)


def shelf(folder: Path) -> tuple[Recording, Rig]:
    """OpenPose's detections, frames 300 to 449."""
    rig = load_rig(folder / "calibration_shelf.json", (1032, 776))
    frames = read_predictions(folder / "pred_shelf_openpose_coco17.json", len(rig))
    cameras = []
    for index, camera in enumerate(rig.cameras):
        own = [
            (n / SHELF_HZ, views[index]) for n, views in sorted(frames.items()) if views[index] is not None
        ]
        cameras.append(CameraDetections(camera.name, np.array([t for t, _ in own]), tuple(p for _, p in own)))
    return Recording(tuple(cameras), COCO17), rig


def panoptic(folder: Path) -> tuple[Recording, Rig]:
    """MoveNet's detections in the frames that are there."""
    rig = load_rig(folder / "camera_parameters.json").select(PANOPTIC_VIEWS)
    detector = load_detector("movenet")
    cameras = []
    for camera in rig.cameras:
        paths = sorted((folder / camera.name).glob("*.jpg"))
        stamps = [int(path.stem.rsplit("_", 1)[1]) / PANOPTIC_HZ for path in paths]
        people = detector.detect([cv2.imread(str(path)) for path in paths])
        cameras.append(CameraDetections(camera.name, np.array(stamps), tuple(people)))
    return Recording(tuple(cameras), COCO17), rig


def pose2sim(folder: Path) -> tuple[Recording, Rig]:
    """MoveNet's detections in the videos."""
    rig = load_rig(next(folder.glob("*.qca.txt")))
    frames = open_videos(sorted(folder.glob("cam*.mp4")))
    recording, _ = record_images([RecordedCameras(frames, rig.cameras)], load_detector("movenet"))
    return recording, rig


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the rows."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--cells", nargs="*", default=list(CELLS), choices=list(CELLS), help="which recordings"
    )
    parser.add_argument("--first", type=int, default=FIRST, help="number of the first recording")
    parser.add_argument("--count", type=int, default=COUNT, help="recordings per cell")
    parser.add_argument("--shelf", type=Path, help="folder of Shelf")
    parser.add_argument("--panoptic", type=Path, help="folder with camera_parameters.json and images")
    parser.add_argument("--pose2sim", type=Path, nargs="*", default=[], help="folders with videos")
    given = parser.parse_args(arguments)
    for name in given.cells:
        generated(CELLS[name], range(given.first, given.first + given.count))
    sets = [("Shelf, 6 s", shelf, given.shelf), ("Panoptic, 5 frames", panoptic, given.panoptic)]
    sets += [(f"Pose2Sim {folder.name}", pose2sim, folder) for folder in given.pose2sim]
    for words, read, folder in sets:
        if folder is not None:
            recording, rig = read(folder)
            for guess in ("", "60"):
                data_set(words, recording, rig, guess, None)
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
