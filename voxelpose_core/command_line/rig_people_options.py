"""Options of `voxelpose rig diagnose`, `align`, `refine` and `from-people`, and what is wrong with them."""

from __future__ import annotations

import argparse
from pathlib import Path

from voxelpose_core.command_line.frame_sources import add_detector, add_sources, given_sources
from voxelpose_core.command_line.options import argument_type, finite_number
from voxelpose_core.errors import InputError
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.output_files import PICTURES, check_outputs

_DEFAULT_SECONDS, DEFAULT_FOV_DEG = 60.0, 65.0
_HEIGHT_MM = (500.0, 2500.0)
# Smaller numbers are metres.
_LEAST_DISTANCE_MM = 30.0
_RIG_ENDINGS = (".yaml", ".yml")


def add_recording(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """Where people are seen, and how much of it is used."""
    add_sources(parser, required)
    add_detector(parser)
    parser.add_argument(
        "--seconds",
        type=argument_type(lambda text: _positive(text, "seconds")),
        default=_DEFAULT_SECONDS,
        metavar="S",
        help="how much of the recording to use, from its beginning (default: %(default)g)",
    )


def add_unit(parser: argparse.ArgumentParser) -> None:
    """`--height` or `--distance`."""
    unit = parser.add_mutually_exclusive_group()
    unit.add_argument(
        "--height",
        type=argument_type(_height),
        metavar="MM",
        help="how tall the person is, mm; of several people their mean. Sets the unit of the world",
    )
    unit.add_argument(
        "--distance",
        nargs=3,
        metavar=("CAM1", "CAM2", "MM"),
        help="distance between two cameras, mm. Sets the unit of the world",
    )


def add_lenses(parser: argparse.ArgumentParser) -> None:
    """`--intrinsics` or `--fov`."""
    lens = parser.add_mutually_exclusive_group()
    lens.add_argument(
        "--intrinsics", metavar="FILE", help="calibration whose intrinsics are used, not its poses"
    )
    lens.add_argument(
        "--fov",
        type=argument_type(_field_of_view),
        metavar="DEG",
        help="guess of the field of view of the images' longer side; focal lengths are estimated "
        f"(default: {DEFAULT_FOV_DEG:g})",
    )


def add_outputs(parser: argparse.ArgumentParser) -> None:
    """`--out` and `--picture`."""
    parser.add_argument("--out", required=True, metavar="YAML", help="the rig to write")
    parser.add_argument("--picture", metavar="PNG", help="picture of cameras, walks and floor to write")


def _height(text: str) -> float:
    height = _positive(text, "millimetres")
    if not _HEIGHT_MM[0] <= height <= _HEIGHT_MM[1]:
        raise InputError(
            f"'{text}', expected the height of people in mm, {_HEIGHT_MM[0]:g} to {_HEIGHT_MM[1]:g}, "
            "for example 1750"
        )
    return height


def _field_of_view(text: str) -> float:
    from voxelpose_core.self_calibration.from_people import check_field_of_view

    degrees = _positive(text, "degrees")
    check_field_of_view(degrees)
    return degrees


def _positive(text: str, what: str) -> float:
    return finite_number(text, f"{what}, above 0")


def given_distance(arguments: argparse.Namespace) -> tuple[str, str, float] | None:
    """Two cameras and mm, as `--distance` gives them; None without it."""
    if arguments.distance is None:
        return None
    first, second, text = arguments.distance
    try:
        apart_mm = _positive(text, "millimetres")
    except InputError as error:
        raise InputError(f"--distance: {error}") from None
    if apart_mm < _LEAST_DISTANCE_MM:
        raise InputError(
            f"--distance: '{text}', expected the distance of two cameras in mm, at least "
            f"{_LEAST_DISTANCE_MM:g}, for example 3200"
        )
    return first, second, apart_mm


def check_distance(distance: tuple[str, str, float] | None, rig: Rig) -> None:
    """InputError where `--distance` names no two cameras of the rig, before people are detected."""
    if distance is None:
        return
    first, second, _ = distance
    try:
        rig.select([first, second])
    except InputError as error:
        raise InputError(f"--distance: {error}") from None


def check_rig_outputs(arguments: argparse.Namespace) -> None:
    """`--out` may name the rig that is read, which it then replaces, if that is a rig YAML; nothing else."""
    inputs: list[str | Path] = list(given_sources(arguments))
    given = getattr(arguments, "rig", None)
    if given is not None and Path(given).suffix.lower() not in _RIG_ENDINGS:
        inputs.append(given)
    endings = {"--out": _RIG_ENDINGS, "--picture": PICTURES}
    check_outputs({"--out": arguments.out, "--picture": arguments.picture}, inputs, endings)
