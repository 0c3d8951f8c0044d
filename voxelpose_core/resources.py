"""Files that ship with the package: weights, configurations, rigs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from voxelpose_core.errors import InputError

_SHARE = Path("share") / "voxelpose_ros"
# Weights that are loaded by name.
_WEIGHTS = {
    "universal": "universal_small.safetensors",
    "universal_small": "universal_small.safetensors",
}


def find_resource(name: str) -> Path:
    """Path of a shipped file such as "weights/universal_small.safetensors".

    Looks beside the source tree, in every prefix of AMENT_PREFIX_PATH (a colcon install space) and
    in Python's own prefix (a pip installation).

    Raises:
        InputError: naming the file and the folders searched.
    """
    folders = list(_folders())
    for folder in folders:
        if (folder / name).exists():
            return folder / name
    searched = ", ".join(str(folder) for folder in folders)
    raise InputError(f"{name}: not found among the shipped files, searched {searched}")


def find_weights(name_or_path: str | Path) -> Path:
    """Path of weights given by a shipped name ("universal") or as a file."""
    name = str(name_or_path)
    if name in _WEIGHTS:
        return find_resource(f"weights/{_WEIGHTS[name]}")
    if not Path(name).is_file():
        raise InputError(
            f"weights '{name}': no such file, and no shipped weights have that name "
            f"(shipped: {', '.join(_WEIGHTS)})"
        )
    return Path(name)


def _folders() -> Iterator[Path]:
    root = Path(__file__).resolve().parents[1]
    if (root / "package.xml").is_file():
        yield root
    for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep):
        if prefix:
            yield Path(prefix) / _SHARE
    yield Path(sys.prefix) / _SHARE
