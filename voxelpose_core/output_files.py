"""Files that a command will write, checked before it begins to work."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from voxelpose_core.errors import InputError

PICTURES = (".png", ".jpg", ".jpeg")
VIDEOS = (".mp4",)
PAGES = (".html", ".htm")
RERUN_FILES = (".rrd",)


def check_outputs(
    outputs: Mapping[str, str | Path | Sequence[str | Path] | None],
    inputs: Sequence[str | Path] = (),
    endings: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Refuse outputs that could not be written, or would replace what is read or written as well.

    Args:
        outputs: the file, or files, of each option that writes some; None where it is not given.
        inputs: files and folders that the command reads.
        endings: of the options that ask for one, those that are known.

    Raises:
        InputError: naming the option, its file, and what was expected.
    """
    taken: dict[Path, str] = {Path(path).resolve(): "the input" for path in inputs}
    folders = [Path(path) for path in inputs if Path(path).is_dir()]
    for option, given in outputs.items():
        files = [given] if isinstance(given, (str, Path)) else given or []
        for path in map(Path, files):
            known = (endings or {}).get(option, ())
            if str(path) == "-":
                raise InputError(f"{option} -: standard output is not supported, expected a file")
            if known and path.suffix.lower() not in known:
                raise InputError(f"{option} {path}: expected a file that ends in {' or '.join(known)}")
            try:
                check_writable(path)
            except InputError as error:
                raise InputError(f"{option} {error}") from None
            place = path.resolve()
            if place in taken:
                raise InputError(f"{option} {path}: is {taken[place]} as well, expected another file")
            taken[place] = option
            for folder in folders:
                if path.exists() and folder.resolve() in place.parents:
                    raise InputError(
                        f"{option} {path}: is there already, in the folder {folder} that is read, expected "
                        "another file"
                    )


def check_writable(path: Path) -> None:
    """InputError where `path` is a folder, or lies in none that can be written to."""
    if not path.parent.is_dir():
        folder = path.parent
        raise InputError(f"{path}: folder '{folder}' does not exist; mkdir -p {shlex.quote(str(folder))}")
    if path.is_dir():
        raise InputError(f"{path}: is a folder, expected a file to write")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise InputError(f"{path}: cannot be written (no permission, or a read-only file system)")
