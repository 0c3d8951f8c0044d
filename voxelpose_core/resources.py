"""Files that ship with the package: weights, configurations, rigs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from voxelpose_core.errors import InputError

_PACKAGE = Path(__file__).resolve().parent
# Weights that are loaded by name.
_WEIGHTS = {
    "universal": "universal_rays.safetensors",
    "voxelpose": "universal_small.safetensors",
}


def find_resource(name: str) -> Path:
    """Path of a shipped file such as "weights/universal_small.safetensors".

    Only the files that belong to this copy of the code are taken: in a source tree (an editable
    installation, too) those beside the package, in a wheel's installation, wherever that is, those
    in the package, and in a colcon install space those in its share folder.

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
    """Path of weights given by a shipped name ("universal") or as a file.

    Raises:
        InputError: when there is neither such a name nor such a file.
    """
    name = str(name_or_path)
    if name in _WEIGHTS:
        return find_resource(f"weights/{_WEIGHTS[name]}")
    if Path(name).is_dir():
        raise InputError(
            f"weights '{name}': is a folder, expected a file in it, or one of {', '.join(_WEIGHTS)}"
        )
    if not Path(name).is_file():
        raise InputError(
            f"weights '{name}': no such file, and no shipped weights have that name "
            f"(shipped: {', '.join(_WEIGHTS)})"
        )
    return Path(name)


def version() -> str:
    """The version that package.xml states."""
    text = find_resource("package.xml").read_text(encoding="utf-8")
    stated = re.search(r"<version>(.+)</version>", text)
    assert stated is not None  # colcon and setup.py need it too
    return stated.group(1)


def _folders() -> Iterator[Path]:
    """The folders that may hold the files, in the order in which they are searched."""
    yield _PACKAGE / "share"
    if (_PACKAGE.parent / "package.xml").is_file():
        yield _PACKAGE.parent
    for prefix in _PACKAGE.parents:
        if (prefix / "share" / "voxelpose_ros").is_dir():
            yield prefix / "share" / "voxelpose_ros"
            return
