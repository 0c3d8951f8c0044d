"""Installs the package into a new environment as the README says, and runs it there.

    fresh_install.py short     the newest versions, ten frames of the demo's recording (`make test`)
    fresh_install.py newest    the newest versions, the whole recording, the core's tests
    fresh_install.py oldest    the same with the oldest versions that requirements/core.txt allows

Nothing is pinned, but for PyTorch with the newest versions: it is taken from the environment that
runs this, because its wheels are gigabytes where they bring CUDA (--torch index asks for the newest).
The oldest versions are what uv's "lowest-direct" finds for this Python; with Python 3.10 these are the
minimums themselves. Exit code 0: all ran; 1: something failed; 77: no package registry is reached.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = (
    "voxelpose_core",
    "requirements",
    "weights",
    "config",
    "msg",
    "test",
    "training",
    "benchmarks",
    "scripts",
)
SOURCE_FILES = ("setup.py", "pyproject.toml", "MANIFEST.in", "package.xml", "README.md", "LICENSE")
FRAMES, PEOPLE = 10, 2
OFFLINE = 77
# What pip and uv say where no registry answers.
UNREACHABLE = re.compile(
    "NewConnectionError|NameResolutionError|ConnectTimeout|ProxyError|name resolution|dns error|"
    "Network is unreachable|No route to host|Connection refused|error sending request"
)
# What PyTorch's CUDA builds need beside it.
WITH_TORCH = re.compile(r"torch|triton|nvidia[-_].*|cuda[-_].*")
# The tests that need ROS, a build of the whole package or its documentation, or that run this script.
NOT_CORE = re.compile("test_ros_.*|test_(documentation|install|package|scripts|synchronizer)")


class Failed(Exception):
    """A step did not work; the message says which, and what it printed."""


class Offline(Exception):
    """No package registry is reached."""


def copy_source(target: Path) -> None:
    """Copies what an installation and the core's tests need: nothing that was built here before."""
    unwanted = shutil.ignore_patterns("__pycache__", "lib", ".*")
    for name in SOURCE:
        shutil.copytree(ROOT / name, target / name, ignore=unwanted)
    for name in SOURCE_FILES:
        shutil.copy(ROOT / name, target / name)


class Environment:
    """A virtual environment in a folder, apart from the one that runs this."""

    def __init__(self, folder: Path, python: str):
        self.folder = folder
        self.variables = {
            name: value
            for name, value in os.environ.items()
            if name not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "AMENT_PREFIX_PATH")
        }
        self.run(python, "-m", "venv", folder)
        self.bin = folder / "bin"

    def run(self, *command: object, cwd: Path | None = None, online: bool = False) -> str:
        """Runs a command; returns what it printed.

        Raises:
            Offline: it failed, needs a registry, and says that none is reached.
            Failed: it failed otherwise.
        """
        done = subprocess.run(
            [str(part) for part in command],
            cwd=cwd,
            env=self.variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode == 0:
            return done.stdout
        if online and UNREACHABLE.search(done.stdout):
            raise Offline
        shown = " ".join(Path(str(part)).name for part in command[:4])
        raise Failed(f"{shown} ... ended with {done.returncode}:\n{done.stdout[-6000:]}")

    def pip(self, *arguments: object) -> None:
        # Python compiles what is imported when it first is; all of SciPy and SymPy takes half a minute.
        options = ("--disable-pip-version-check", "--retries", "2", "--no-compile")
        self.run(self.bin / "python", "-m", "pip", "install", *options, *arguments, online=True)

    def versions(self) -> dict[str, str]:
        """Name and version of what is installed."""
        listed = self.run(self.bin / "python", "-m", "pip", "list", "--format", "json")
        return {p["name"].lower(): p["version"] for p in json.loads(listed.splitlines()[0])}

    def take_torch(self) -> None:
        """Links PyTorch, and what its CUDA build needs, from the environment that runs this."""
        (packages,) = self.folder.glob("lib/python*/site-packages")
        for distribution in importlib.metadata.distributions():
            if not WITH_TORCH.fullmatch(distribution.metadata["Name"].lower()):
                continue
            for file in distribution.files or ():
                if ".." not in file.parts and file.suffix != ".pyc":
                    _link(Path(distribution.locate_file(file)), packages / file)

    def take_oldest(self) -> None:
        """Installs the oldest versions that the core's requirements allow."""
        tool = Environment(self.folder.with_name("uv"), sys.executable)
        tool.pip("uv")
        uv = (tool.bin / "uv", "pip")
        python = ("--python", self.bin / "python")
        oldest = self.folder / "oldest.txt"
        lowest = ("--resolution", "lowest-direct", "--only-binary", ":all:", "--no-annotate")
        wanted = ROOT / "requirements" / "core.txt"
        tool.run(*uv, "compile", *python, *lowest, "-o", oldest, wanted, online=True)
        tool.run(*uv, "install", *python, "-r", oldest, online=True)


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy(source, target)


def cut_videos(folder: Path, target: Path) -> list[Path]:
    """Writes the first frames of each video of a folder."""
    import cv2

    target.mkdir()
    videos = sorted(folder.glob("*.mp4"))
    for video in videos:
        capture, writer = cv2.VideoCapture(str(video)), None
        for _ in range(FRAMES):
            image = capture.read()[1]
            if writer is None:
                size = image.shape[1::-1]
                code = cv2.VideoWriter_fourcc(*"mp4v")
                writer = cv2.VideoWriter(str(target / video.name), code, 25.0, size)
            writer.write(image)
        writer.release()
    return [target / video.name for video in videos]


def estimate(environment: Environment, scratch: Path, short: bool) -> str:
    """Runs `voxelpose estimate` on the demo's recording; returns its result in words."""
    fetched = environment.run(sys.executable, ROOT / "scripts" / "demo_data.py", online=True)
    recording = Path(fetched.splitlines()[-1]) / "Demo_MultiPerson"
    videos = sorted((recording / "videos").glob("*.mp4"))
    if short:
        videos = cut_videos(recording / "videos", scratch / "videos")
    out = scratch / "skeletons.json"
    rig = recording / "calibration" / "Calib.qca.txt"
    command = (environment.bin / "voxelpose", "--debug", "estimate", "--rig", rig, "--out", out)
    environment.run(*command, "--videos", *videos, cwd=scratch)
    frames = json.loads(out.read_text())["frames"]
    counts = [len(frame["skeletons"]) for frame in frames]
    expected = FRAMES if short else 100
    if counts != [PEOPLE] * expected:
        raise Failed(f"estimate: {counts} people, expected {PEOPLE} in each of {expected} frames")
    return f"{PEOPLE} people in each of {expected} frames"


def run_tests(environment: Environment, source: Path) -> str:
    """Runs the core's tests against what is installed; returns pytest's last line."""
    tests = sorted((source / "test").glob("test_*.py"))
    tests = [file for file in tests if not NOT_CORE.fullmatch(file.stem)]
    environment.variables.setdefault("VOXELPOSE_SHARED", str(ROOT.parent / "shared"))
    # Not `python -m pytest`, which would import the package from the source.
    command = (environment.bin / "pytest", "-q", "-p", "no:cacheprovider", *tests)
    return environment.run(*command, cwd=source).splitlines()[-1]


def check(form: str, python: str, torch: str, scratch: Path) -> None:
    """Installs and runs one form, and prints what was found."""
    start = time.monotonic()
    copy_source(scratch / "source")
    environment = Environment(scratch / "environment", python)
    if form == "oldest":
        environment.take_oldest()
    elif torch == "here":
        environment.take_torch()
    environment.pip(scratch / "source")
    names = [re.match(r"[\w-]+", line)[0].lower() for line in _requirements()]
    versions = environment.versions()
    print(f"{form}:", ", ".join(f"{name} {versions[name]}" for name in names if name in versions))
    version = environment.run(environment.bin / "voxelpose", "--version", cwd=scratch).strip()
    print(f"{form}: {version}, {estimate(environment, scratch, form == 'short')}", flush=True)
    if form != "short":
        environment.pip(f"{scratch / 'source'}[train,test]")
        print(f"{form}: {run_tests(environment, scratch / 'source')}")
    print(f"{form}: {time.monotonic() - start:.0f} s", flush=True)


def _requirements() -> list[str]:
    lines = (ROOT / "requirements" / "core.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("form", choices=("short", "newest", "oldest"))
    parser.add_argument("--python", default=sys.executable, help="interpreter (default: this one)")
    parser.add_argument(
        "--torch",
        choices=("here", "index"),
        default="here",
        help="with the newest versions: PyTorch of this environment, or what pip finds",
    )
    arguments = parser.parse_args()
    in_environment = sys.prefix != sys.base_prefix and os.access(sys.prefix, os.W_OK)
    place = sys.prefix if in_environment else None  # PyTorch can be linked, not copied
    with tempfile.TemporaryDirectory(prefix="fresh_install-", dir=place) as scratch:
        try:
            check(arguments.form, arguments.python, arguments.torch, Path(scratch))
        except Offline:
            print(f"{arguments.form}: no package registry is reached: nothing was installed")
            return OFFLINE
        except Failed as error:
            print(f"{arguments.form}: FAILED: {error}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
