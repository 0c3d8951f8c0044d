#!/usr/bin/env python3
"""The demo's recording with its rig destroyed, mended by the commands alone.

    python benchmarks/destroyed_rig.py                       # detects people first; some minutes
    python benchmarks/destroyed_rig.py --detections FILE     # keeps the 2D detections there

The world is turned, one camera is turned by two degrees, two views are exchanged, and one camera is four
frames late. `rig diagnose` says what to type, `rig align` and `rig refine` do their part, and `estimate` must
find two people in every frame, with at most 1.1 times the reprojection error of the rig as it was.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from voxelpose_core import cli
from voxelpose_core.command import Parser, run_command
from voxelpose_core.detectors import load_detector
from voxelpose_core.geometry.rig import load_rig, save_rig
from voxelpose_core.self_calibration.alignment import Similarity
from voxelpose_core.sources import open_videos, restore_codec_crop

ROOT = Path(__file__).resolve().parents[1]
FPS = 60
LATE_FRAMES, LATE = 4, 3
GIVEN = (2, 1, 0, 3)
LARGEST_RATIO = 1.1


def detections(folder: Path, file: Path | None) -> dict[str, list]:
    """By "CAMERA_FRAME" the people of the demo's recording."""
    if file is not None and file.exists():
        return json.loads(file.read_text())
    rig, detector = load_rig(folder / "calibration/Calib.qca.txt"), load_detector("movenet")
    found = {}
    for frame, _, images in open_videos(sorted((folder / "videos").glob("*.mp4"))):
        for view, people in enumerate(detector.detect(restore_codec_crop(images, rig))):
            found[f"{view}_{frame}"] = [{"pred": person.round(2).tolist()} for person in people]
    if file is not None:
        file.write_text(json.dumps(found))
    return found


def destroyed_rig(rig):
    """In another world, one camera turned by two degrees."""
    cameras = list(rig.cameras)
    turn = Rotation.from_rotvec(np.radians(2.0) * np.array([0.6, 0.8, 0.0])).as_matrix()
    cameras[1] = dataclasses.replace(cameras[1], R=turn @ cameras[1].R)
    world = Rotation.from_euler("xyz", [95, 15, -40], degrees=True).as_matrix()
    return Similarity(world, 1.0, np.array([500.0, -200.0, 900.0])).rig(
        dataclasses.replace(rig, cameras=tuple(cameras))
    )


def destroyed_views(found: dict[str, list]) -> dict[str, list]:
    """Two exchanged, one late."""
    frames = 1 + max(int(key.split("_")[1]) for key in found)
    return {
        f"{view}_{frame}": found.get(f"{source}_{frame - LATE_FRAMES * (source == LATE)}", [])
        for frame in range(frames)
        for view, source in enumerate(GIVEN)
    }


def run(*words: object) -> tuple[int, str]:
    """Exit code of a command, and what it prints."""
    print(f"\n$ voxelpose {' '.join(map(str, words))}", flush=True)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = cli.main([str(word) for word in words])
    print(f"{out.getvalue()}(exit code {code})", flush=True)
    return code, out.getvalue()


def estimate(rig: Path, keypoints: Path, out: Path) -> tuple[Counter, float]:
    """Number of frames by number of people, and mean reprojection error, px."""
    _, text = run("estimate", "--rig", rig, "--keypoints", keypoints, "--fps", FPS, "--out", out)
    frames = json.loads(out.read_text())["frames"]
    people = Counter(len(frame["skeletons"]) for frame in frames)
    return people, float(re.search(r"reprojection +([\d.]+) px", text)[1])


def main() -> int:
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--detections", type=Path, metavar="FILE", help="2D detections to read or keep")
    options = parser.parse_args()
    script = ROOT / "scripts/demo_data.py"
    place = subprocess.run([sys.executable, script], check=True, capture_output=True, text=True).stdout
    folder = Path(place.strip().splitlines()[-1]) / "Demo_MultiPerson"
    found = detections(folder, options.detections)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        rig = load_rig(folder / "calibration/Calib.qca.txt")
        save_rig(rig, work / "right.yaml")
        save_rig(destroyed_rig(rig), work / "wrong.yaml")
        right, wrong = work / "right.json", work / "wrong.json"
        right.write_text(json.dumps(found))
        wrong.write_text(json.dumps(destroyed_views(found)))
        recording = ("--keypoints", wrong, "--fps", FPS)
        code, text = run("rig", "diagnose", work / "wrong.yaml", *recording)
        order = re.search(r"give (--cameras [^\n;]*)", text)[1].split()
        offsets = re.search(r"give --offsets-ms (\S+)", text)[1]
        aligned, refined = work / "aligned.yaml", work / "refined.yaml"
        given = (*recording, *order, "--offsets-ms", offsets)
        codes = [code, run("rig", "align", work / "wrong.yaml", *given, "--out", aligned)[0]]
        codes.append(run("rig", "refine", aligned, *recording, "--out", refined)[0])
        before = estimate(work / "right.yaml", right, work / "before.json")
        after = estimate(refined, wrong, work / "after.json")
    ratio = after[1] / before[1]
    print(
        f"\nframes by number of people {dict(after[0])}; reprojection {ratio:.2f} times that of the right rig"
    )
    return 0 if codes == [2, 0, 0] and set(after[0]) == {2} and ratio <= LARGEST_RATIO else 1


if __name__ == "__main__":
    sys.exit(run_command(main))
