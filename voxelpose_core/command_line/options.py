"""Options, their types, and messages that the subcommands share."""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from tqdm import tqdm

from voxelpose_core.errors import InputError
from voxelpose_core.geometry.rig import Rig, checked_ground, load_rig
from voxelpose_core.geometry.rig_check import report_findings
from voxelpose_core.geometry.space import Space
from voxelpose_core.time_offsets import parse_offsets

_Item = TypeVar("_Item")
# Columns of a terminal from which on there is a bar.
_WIDE = 60
# Of a command that has looked, and says what is wrong, or why it changes nothing.
EXIT_SUSPICIOUS = 1
# Of one that found nothing wrong, but could not judge everything.
EXIT_UNJUDGED = 3


def add_rig_options(parser: argparse.ArgumentParser, name: str, optional: str = "") -> None:
    """The rig, and what changes how it is read.

    Args:
        parser: of the command.
        name: "rig" or "--rig".
        optional: in words, when it need not be given.
    """
    required: dict[str, Any] = {"required": not optional} if name.startswith("-") else {}
    words = f"; {optional}" if optional else ""
    parser.add_argument(
        name, metavar="RIG", help=f"calibration: rig YAML, or the file of another tool{words}", **required
    )
    parser.add_argument(
        "--cameras", nargs="+", metavar="NAME", help="only these cameras of the rig, in this order"
    )
    parser.add_argument(
        "--image-size",
        type=argument_type(_image_size),
        metavar="WxH",
        help="size of the images, if the calibration does not state it",
    )
    parser.add_argument(
        "--unit",
        choices=("mm", "cm", "m"),
        help="unit of another tool's calibration (default: the tool's, or recognized)",
    )
    parser.add_argument(
        "--ground",
        type=argument_type(checked_ground),
        metavar="Z",
        help="height of the floor in the rig's world, mm (default: the rig's, else 0)",
    )


def add_strict(parser: argparse.ArgumentParser) -> None:
    """`--strict`."""
    parser.add_argument(
        "--strict",
        action="store_true",
        help="fail (exit code 2) if the rig or the views look wrong, instead of a warning",
    )


def add_offsets(parser: argparse.ArgumentParser) -> None:
    """`--offsets-ms`."""
    parser.add_argument(
        "--offsets-ms",
        type=argument_type(parse_offsets),
        metavar="MS,MS,...",
        help="time offset of each camera, added to its stamps, ms (default: the rig's, else 0)",
    )


def load_given_rig(arguments: argparse.Namespace) -> Rig:
    """The rig that the arguments name, as they change it; what is to be said of it goes to stderr.

    `rig check` prints what looks wrong itself; `rig space` measures.

    Raises:
        InputError: when the rig cannot be read or, with --strict, looks wrong.
    """
    return as_given(
        load_rig(arguments.rig, arguments.image_size, arguments.unit, arguments.cameras), arguments
    )


def as_given(rig: Rig, arguments: argparse.Namespace) -> Rig:
    """A rig as the arguments change it; see `load_given_rig`."""
    if arguments.ground is not None:
        rig = rig.with_ground(arguments.ground)
    if getattr(arguments, "space", None) is not None:
        rig = rig.with_space(arguments.space)
    if getattr(arguments, "offsets_ms", None) is not None:
        try:
            rig = rig.with_time_offsets(arguments.offsets_ms)
        except InputError as error:
            raise InputError(f"--offsets-ms: {error}") from None
    if hasattr(arguments, "strict"):
        report_findings(rig, warn, arguments.strict)
    else:
        for note in rig.notes:
            warn(note)
    return rig


def add_space(parser: argparse.ArgumentParser, words: str) -> None:
    """`--space`, with the help `words`."""
    parser.add_argument("--space", type=argument_type(Space.parse), metavar="CX,CY,CZ,SX,SY,SZ", help=words)


def argument_type(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """An argparse type whose InputError is shown as it is."""

    def convert(text: str) -> Any:
        try:
            return parse(text)
        except InputError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


def finite_number(text: str, expected: str, or_0: bool = False) -> float:
    """The number above 0 in an option's value.

    Args:
        text: the value.
        expected: what is expected, in words.
        or_0: 0 is allowed.

    Raises:
        InputError: it is none.
    """
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (0 < number < math.inf or or_0 and number == 0):
        raise InputError(f"'{text}', expected {expected}")
    return number


def _image_size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if match is None:
        raise InputError(f"'{text}', expected WIDTHxHEIGHT in pixels, for example 1032x776")
    return int(match[1]), int(match[2])


class _Bar(tqdm):
    """Frames per second and time left, whatever the width of the terminal, which may change."""

    @staticmethod
    def format_meter(n, total, elapsed, ncols=None, **options):  # type: ignore[override]
        options["bar_format"] = "{n_fmt} frames, {rate_noinv_fmt}, {elapsed} so far"
        if total:
            options["bar_format"] = "{percentage:3.0f} %, {rate_noinv_fmt}, {remaining} left"
            if ncols is None or ncols >= _WIDE:
                options["bar_format"] = (
                    "{percentage:3.0f} % |{bar}| {n_fmt} of {total_fmt} frames, {rate_noinv_fmt}, "
                    "{remaining} left"
                )
        return tqdm.format_meter(n, total, elapsed, ncols=ncols, **options)


def progress_bar(frames: Iterable[_Item], total: int | None = None) -> tqdm[_Item]:
    """The same frame sets, with a bar on stderr: how many, per second, time left; none without a terminal.

    Args:
        frames: the frame sets.
        total: their number; None: that of `frames`, if it has one.
    """
    return _Bar(
        frames,
        total=total,
        mininterval=0.5,
        disable=not sys.stderr.isatty(),
        unit=" frames",
        smoothing=0.1,
        dynamic_ncols=True,
    )


# Take the lines that `warn` prints, inside `kept_warnings`.
_keepers: list[list[str]] = []


def warn(line: str) -> None:
    """One line on stderr, above a progress bar."""
    tqdm.write(f"warning: {line}", file=sys.stderr)
    for keeper in _keepers:
        keeper.append(line)


@contextmanager
def kept_warnings() -> Iterator[list[str]]:
    """The lines that `warn` prints from now on, in a list that grows."""
    lines: list[str] = []
    _keepers.append(lines)
    try:
        yield lines
    finally:
        _keepers.pop()
