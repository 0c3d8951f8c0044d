"""Files that are whole, old or new, whenever the process or the machine dies."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from voxelpose_core.errors import InputError


def write_whole(target: Path, write: Callable[[Path], object]) -> None:
    """Write a file such that it is whole, old or new, whenever the process or machine dies."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(target) as partial:
        write(partial)


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """The path to write to: a file beside the target, which takes its place when it is complete.

    If anything is raised, that file is removed and the target stays as it was. Pipes, devices, and files in
    folders that may not be changed are written themselves.
    """
    if target.exists() and not (target.is_file() and os.access(target.parent, os.W_OK)):
        yield target
        return
    target = target.resolve()  # the file that a link names, not the link
    partial = target.with_name(target.name + ".partial")
    try:
        yield partial
        _flush(partial)
        os.replace(partial, target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    _flush(target.parent)


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """The path to write to, so that the file is whole or not there (`whole_file`).

    Errors of the file system become an InputError that names the file.
    """
    try:
        with whole_file(path) as partial:
            yield partial
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from None


def write_text(path: Path, text: str) -> None:
    """Write a text file; InputError where that fails."""
    with writing(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def _flush(path: Path) -> None:
    """Wait until a file, or a folder's list of files, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
