"""Fetches the demo's videos and calibration once, and prints the folder that holds them.

They are part of the Python package pose2sim (BSD-3-Clause), which is not installed for that.
"""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENT = ROOT / "requirements" / "demo.txt"
DEMOS = ("Demo_MultiPerson", "Demo_SinglePerson")


def is_wanted(member: str) -> bool:
    """Tells the videos, the calibration and the licence from the rest of the package."""
    if member.endswith("/LICENSE"):
        return True
    wanted = [f"Pose2Sim/{demo}/{part}/" for demo in DEMOS for part in ("videos", "calibration")]
    return member.startswith(tuple(wanted)) and member.endswith((".mp4", ".qca.txt"))


def fetch(folder: Path) -> None:
    """Downloads the package and unpacks what is wanted; the folder appears when it is complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
            + ["--no-deps", "--only-binary=:all:", "--dest", scratch, "-r", str(REQUIREMENT)],
            check=True,
            stdout=sys.stderr,
        )
        (wheel,) = Path(scratch).glob("*.whl")
        unpacked = Path(scratch, "unpacked")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(unpacked, [name for name in archive.namelist() if is_wanted(name)])
        shutil.rmtree(folder, ignore_errors=True)
        unpacked.rename(folder)


def main() -> int:
    # One folder a version, in the environment that needs it.
    folder = Path(sys.prefix, "demo_data", "pose2sim-0.10.49")
    if not folder.is_dir():
        print("Fetching the demo videos (50 MB, once)", file=sys.stderr)
        try:
            fetch(folder)
        except subprocess.CalledProcessError:
            print("error: the demo videos (pose2sim) could not be downloaded", file=sys.stderr)
            return 1
    print(folder / "Pose2Sim")
    return 0


if __name__ == "__main__":
    sys.exit(main())
