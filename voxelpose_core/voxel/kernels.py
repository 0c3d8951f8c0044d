"""Builds the compiled voxel kernels, once per machine: `python kernels.py` or when first used.

Needs nothing but a compiler: the sources include no header of PyTorch or Python, so a build takes
seconds and outlives upgrades. A library's name carries a digest of sources, compiler flags and
processor; one that was built elsewhere is never loaded.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

SOURCES = Path(__file__).parent / "csrc"
# Beside the package, for those who build ahead of time; else the user's cache.
PACKAGED = Path(__file__).parent / "lib"

# Nothing reads errno or floating-point traps, and with them loops are not vectorized. Sums keep
# their order: no -ffast-math.
_CPU_FLAGS = ["-O3", "-std=c++17", "-fPIC", "-shared", "-fno-math-errno", "-fno-trapping-math"]
# From the best to what every compiler takes.
_CPU_VARIANTS: tuple[list[str], ...] = (
    ["-march=native", "-mprefer-vector-width=512", "-fopenmp"],
    ["-march=native", "-fopenmp"],
    ["-march=native"],
    [],
)
_CUDA_FLAGS = ["-O3", "-std=c++17", "--compiler-options", "-fPIC", "-shared"]


class BuildError(RuntimeError):
    """No library: the message says in one line what is missing or went wrong."""


def cpu_library() -> Path:
    """The C++ kernel for this processor, built where it is not there yet.

    Raises:
        BuildError: no compiler, or it failed.
    """
    variants = [[*_CPU_FLAGS, *variant] for variant in _CPU_VARIANTS]
    return _library("cpu", "*.cpp", _cpp_compiler, variants, _processor())


def cuda_library(capability: tuple[int, int]) -> Path:
    """The CUDA kernel for a device of that compute capability, built where it is not there yet.

    Raises:
        BuildError: no nvcc, or it failed.
    """
    architecture = "sm_{}{}".format(*capability)
    return _library("cuda", "*.cu", _nvcc, [[*_CUDA_FLAGS, f"-arch={architecture}"]], architecture)


def _cpp_compiler() -> list[str]:
    compiler = os.environ.get("CXX") or _first_of("g++", "clang++", "c++")
    if compiler is None:
        raise BuildError("no C++ compiler (g++ or clang++)")
    return compiler.split()


def _nvcc() -> list[str]:
    home = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
    nvcc = _first_of(*([f"{home}/bin/nvcc"] if home else []), "nvcc", "/usr/local/cuda/bin/nvcc")
    if nvcc is None:
        raise BuildError("no nvcc (CUDA_HOME or PATH)")
    return [nvcc]


def _first_of(*names: str) -> str | None:
    return next((path for path in map(shutil.which, names) if path), None)


def _processor() -> str:
    """What -march=native depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine() + platform.processor()
    flags = [line for line in lines if line.startswith(("flags", "Features"))]
    return platform.machine() + "".join(flags[:1])


def _library(
    name: str,
    pattern: str,
    compiler: Callable[[], list[str]],
    variants: list[list[str]],
    target: str,
) -> Path:
    """The library of the sources that fit a pattern, found or compiled for a target."""
    digest = hashlib.sha256(repr((variants, target)).encode())
    for path in sorted(SOURCES.iterdir()):
        digest.update(path.read_bytes())
    name = f"voxel_{name}-{digest.hexdigest()[:16]}.so"
    for folder in _folders():
        if (folder / name).is_file():
            return folder / name
    commands = [[*compiler(), *variant] for variant in variants]
    for folder in reversed(_folders()):
        if _writable(folder):
            return _compile(sorted(SOURCES.glob(pattern)), commands, folder / name)
    raise BuildError(f"no folder to build in ({_folders()[-1]} cannot be written)")


def _folders() -> list[Path]:
    """Where libraries may lie: what VOXELPOSE_KERNELS says, else beside the package and a cache."""
    if "VOXELPOSE_KERNELS" in os.environ:
        return [Path(os.environ["VOXELPOSE_KERNELS"])]
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return [PACKAGED, Path(cache) / "voxelpose"]


def _writable(folder: Path) -> bool:
    """Whether the folder is there, or could be made, and is the user's own."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError:
        return False
    return os.access(folder, os.W_OK) and folder.stat().st_uid == os.getuid()


def _compile(sources: list[Path], commands: list[list[str]], library: Path) -> Path:
    """Run the first command that works. Concurrent builds are safe: the library is renamed into place."""
    error = ""
    for command in commands:
        with tempfile.TemporaryDirectory(dir=library.parent) as folder:
            partial = Path(folder) / library.name
            try:
                done = subprocess.run(
                    [*command, *map(str, sources), "-o", str(partial)],
                    capture_output=True,
                    text=True,
                )
            except OSError as failure:
                raise BuildError(f"{command[0]} cannot run: {failure.strerror}") from None
            if done.returncode == 0:
                os.replace(partial, library)
                return library
            error = next(iter(done.stderr.strip().splitlines()), f"exit {done.returncode}")
    raise BuildError(f"{Path(commands[-1][0]).name} failed: {error}")


def main() -> int:
    """Build the kernels ahead of time."""
    parser = argparse.ArgumentParser(description="Build the voxel kernels ahead of time.")
    parser.add_argument("--into", type=Path, help="folder (default: the user's cache)")
    parser.add_argument("--cuda", metavar="ARCH", help="also the CUDA kernel, such as 9.0 (H200)")
    parser.add_argument("--optional", action="store_true", help="succeed without a compiler")
    arguments = parser.parse_args()
    if arguments.cuda and not re.fullmatch(r"\d+\.\d", arguments.cuda):
        parser.error(f"--cuda: '{arguments.cuda}', expected a compute capability such as 9.0")
    if arguments.into:
        os.environ["VOXELPOSE_KERNELS"] = str(arguments.into.absolute())
    try:
        print(f"voxel kernel for this CPU: {cpu_library()}")
        if arguments.cuda:
            major, minor = arguments.cuda.split(".")
            print(f"voxel kernel for CUDA {arguments.cuda}: {cuda_library((int(major), int(minor)))}")
    except BuildError as error:
        print(f"voxel kernel not built: {error}", file=sys.stderr)
        return 0 if arguments.optional else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
