"""`voxelpose rig diagnose`, `align`, `refine` and `from-people`: a rig and the people in it."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from voxelpose_core.atomic_files import write_whole
from voxelpose_core.command_line.frame_sources import (
    GivenRecording,
    add_detector,
    add_sources,
    given_sources,
    open_source,
    record,
    rig_without_poses,
)
from voxelpose_core.command_line.options import (
    EXIT_SUSPICIOUS,
    EXIT_UNJUDGED,
    add_offsets,
    add_rig_options,
    argument_type,
    finite_number,
    load_given_rig,
    warn,
)
from voxelpose_core.drawing.files import write_image
from voxelpose_core.errors import InputError
from voxelpose_core.geometry.rig import Rig, save_rig
from voxelpose_core.output_files import PICTURES, check_outputs
from voxelpose_core.source_matching import correction
from voxelpose_core.time_offsets import offsets_text

if TYPE_CHECKING:
    from voxelpose_core.self_calibration.diagnosis import Diagnosis
    from voxelpose_core.self_calibration.refine import Refinement
    from voxelpose_core.self_calibration.rig_faults import Fault

_DEFAULT_SECONDS, _DEFAULT_FOV_DEG = 60.0, 65.0
_HEIGHT_MM = (500.0, 2500.0)
# Smaller numbers are metres.
_LEAST_DISTANCE_MM = 30.0
_RIG_ENDINGS = (".yaml", ".yml")


# --- options -------------------------------------------------------------------------------------------


def add_parsers(actions: argparse._SubParsersAction) -> None:
    """Add the four actions of `rig`."""
    diagnose = actions.add_parser(
        "diagnose",
        help="compare a calibration with the people in a recording: order, turns, time offsets, disagreement "
        "per camera, focal lengths, floor (exit code 1 if anything is wrong, 3 if it cannot tell everything)",
    )
    diagnose.set_defaults(run=rig_diagnose)
    add_rig_options(diagnose, "rig")
    _add_recording(diagnose)
    add_offsets(diagnose)
    diagnose.add_argument(
        "--picture", metavar="PNG", help="picture of walks, disagreement and floor to write"
    )
    diagnose.add_argument("--report", metavar="JSON", help="the findings as a file to write")

    align = actions.add_parser(
        "align", help="give a calibration a world for people: z up, floor at 0, origin where they walk, mm"
    )
    align.set_defaults(run=rig_align)
    add_rig_options(align, "rig")
    _add_recording(align, required=False)
    add_offsets(align)
    _add_unit(align)
    align.add_argument(
        "--ground-from",
        metavar="FILE|TARGET",
        help="without people: a file with three or more points of the floor, or what lies on it: "
        "chessboard:9x6:40, aruco:4x4_50:150 or charuco:5x7:40:30:4x4_50 (sides in mm)",
    )
    _add_outputs(align)

    refine = actions.add_parser(
        "refine", help="move cameras to where people agree, if held-out frames confirm it (else exit code 1)"
    )
    refine.set_defaults(run=rig_refine)
    add_rig_options(refine, "rig")
    _add_recording(refine)
    add_offsets(refine)
    _add_outputs(refine)

    people = actions.add_parser(
        "from-people", help="a calibration from a person who walks to and fro for twenty seconds"
    )
    people.set_defaults(run=rig_from_people)
    _add_recording(people)
    _add_unit(people)
    lens = people.add_mutually_exclusive_group()
    lens.add_argument(
        "--intrinsics", metavar="FILE", help="calibration whose intrinsics are used, not its poses"
    )
    lens.add_argument(
        "--fov",
        type=argument_type(_field_of_view),
        metavar="DEG",
        help="guess of the field of view of the images' longer side; focal lengths are estimated "
        f"(default: {_DEFAULT_FOV_DEG:g})",
    )
    _add_outputs(people)


def _add_recording(parser: argparse.ArgumentParser, required: bool = True) -> None:
    add_sources(parser, required)
    add_detector(parser)
    parser.add_argument(
        "--seconds",
        type=argument_type(lambda text: _positive(text, "seconds")),
        default=_DEFAULT_SECONDS,
        metavar="S",
        help="how much of the recording to use, from its beginning (default: %(default)g)",
    )


def _add_unit(parser: argparse.ArgumentParser) -> None:
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


def _add_outputs(parser: argparse.ArgumentParser) -> None:
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


def _given_distance(arguments: argparse.Namespace) -> tuple[str, str, float] | None:
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


def _check_distance(distance: tuple[str, str, float] | None, rig: Rig) -> None:
    """InputError where `--distance` names no two cameras of the rig, before people are detected."""
    if distance is None:
        return
    first, second, _ = distance
    try:
        rig.select([first, second])
    except InputError as error:
        raise InputError(f"--distance: {error}") from None


def _check_rig_outputs(arguments: argparse.Namespace) -> None:
    """`--out` may name the rig that is read, which it then replaces, if that is a rig YAML; nothing else."""
    inputs: list[str | Path] = list(given_sources(arguments))
    given = getattr(arguments, "rig", None)
    if given is not None and Path(given).suffix.lower() not in _RIG_ENDINGS:
        inputs.append(given)
    endings = {"--out": _RIG_ENDINGS, "--picture": PICTURES}
    check_outputs({"--out": arguments.out, "--picture": arguments.picture}, inputs, endings)


def _write_rig(rig: Rig, path: str) -> None:
    write_whole(Path(path), lambda partial: save_rig(rig, partial))


# --- diagnose ------------------------------------------------------------------------------------------


def rig_diagnose(arguments: argparse.Namespace) -> int:
    """`voxelpose rig diagnose`: 1 if something is wrong, 3 if nothing is, but not everything can be told."""
    from voxelpose_core.command_line import rig_reports as reports
    from voxelpose_core.self_calibration.diagnosis import diagnose

    outputs = {"--picture": arguments.picture, "--report": arguments.report}
    inputs = [arguments.rig, *given_sources(arguments)]
    check_outputs(outputs, inputs, {"--picture": PICTURES, "--report": (".json",)})
    given = record(arguments, load_given_rig(arguments))
    found = diagnose(given.rig, given.recording)
    remedies = [_remedy(fault, found, given) for fault in found.faults]
    reports.say(reports.diagnosis_lines(found, given))
    for fault, remedy in zip(found.faults, remedies, strict=True):
        print(f"fault         {fault.line}" + (f"; {remedy}" if remedy else ""))
    for line in found.unknown:
        print(f"not known     {line}")
    if found.well:
        print("nothing is wrong")
    elif not found.faults:
        print("nothing wrong was found, but not everything can be judged by this recording")
    if arguments.report:
        reports.write_report(arguments.report, found, remedies)
    if arguments.picture:
        write_image(arguments.picture, reports.diagnosis_picture(found))
    reports.say_written([arguments.report, arguments.picture])
    if found.faults:
        return EXIT_SUSPICIOUS
    return EXIT_UNJUDGED if found.unknown else 0


def _remedy(fault: Fault, found: Diagnosis, given: GivenRecording) -> str:
    """What to type."""
    contradiction = found.arrangement.contradiction
    if fault.kind == "views" and contradiction is not None:
        return correction(contradiction, given.option, given.paths)
    if fault.kind != "offsets":
        return fault.remedy
    offsets = list(found.offsets_ms)
    if contradiction is not None and given.paths is None:
        # Then --cameras puts the rig into the order of the views.
        offsets = [offsets[camera] for camera in contradiction.cameras]
    return f"give --offsets-ms {offsets_text([offset - offsets[0] for offset in offsets])}"


# --- align ---------------------------------------------------------------------------------------------


def rig_align(arguments: argparse.Namespace) -> int:
    """`voxelpose rig align`."""
    if not given_sources(arguments) and arguments.ground_from is None:
        raise InputError(
            "expected people (--videos, --images, --keypoints or --bag) or points (--ground-from)"
        )
    if arguments.ground_from is not None and arguments.height is not None:
        raise InputError("--height: with --ground-from no person is measured, expected --distance")
    distance = _given_distance(arguments)
    _check_rig_outputs(arguments)
    rig = load_given_rig(arguments)
    _check_distance(distance, rig)
    if arguments.ground_from is None:
        return _align_to_people(arguments, rig, distance)
    return _align_to_points(arguments, rig, distance)


def _align_to_people(arguments: argparse.Namespace, rig: Rig, distance: tuple[str, str, float] | None) -> int:
    from voxelpose_core.command_line import rig_reports as reports
    from voxelpose_core.self_calibration.alignment import align_to_people
    from voxelpose_core.self_calibration.diagnosis import diagnose

    given = record(arguments, rig)
    found = diagnose(given.rig, given.recording, calibration=False)
    _require_order(found, given)
    aligned = align_to_people(given.rig, found.bodies, found.poses.times, arguments.height, distance)
    new = aligned.similarity.rig(rig)
    reports.say(reports.alignment_lines(rig, new, aligned))
    _write_rig(new, arguments.out)
    if arguments.picture:
        write_image(arguments.picture, reports.alignment_picture(rig, new, found, aligned))
    reports.say_written([arguments.out, arguments.picture])
    return 0


def _require_order(found: Diagnosis, given: GivenRecording) -> None:
    """InputError where the views are not those of the cameras: nothing can be measured with them."""
    for fault in found.faults:
        if fault.kind == "views" or found.arrangement.mirrored:
            raise InputError(f"{fault.line}; {_remedy(fault, found, given)}")


def _align_to_points(arguments: argparse.Namespace, rig: Rig, distance: tuple[str, str, float] | None) -> int:
    from voxelpose_core.command_line import rig_reports as reports
    from voxelpose_core.self_calibration.alignment import align_to_points

    points, fitted = _floor_points(arguments, rig)
    aligned = align_to_points(fitted, points, distance)
    new = aligned.similarity.rig(rig)
    reports.say(reports.alignment_lines(rig, new, aligned))
    _write_rig(new, arguments.out)
    if arguments.picture:
        from voxelpose_core.drawing.rig import draw_rig

        write_image(arguments.picture, draw_rig(new))
    reports.say_written([arguments.out, arguments.picture])
    return 0


def _floor_points(arguments: argparse.Namespace, rig: Rig):
    """The points that `--ground-from` names, and the rig for the images in which they are."""
    from voxelpose_core.self_calibration.floor_points import (
        TARGET_FRAMES,
        FloorTarget,
        find_floor_target,
        read_floor_points,
    )

    if Path(arguments.ground_from).exists():
        return read_floor_points(arguments.ground_from, rig), rig
    try:
        target = FloorTarget.parse(arguments.ground_from)
    except InputError as error:
        raise InputError(f"--ground-from: {error}") from None
    if not arguments.videos and not arguments.images:
        raise InputError(f"--ground-from {arguments.ground_from}: expected --videos or --images that show it")
    source = open_source(arguments, rig)
    step = max(1, len(source) // TARGET_FRAMES)
    images = (frames.images for index, frames in enumerate(source) if index % step == 0 and frames.images)
    return find_floor_target(target, images, source.rig), source.rig


# --- refine --------------------------------------------------------------------------------------------


def rig_refine(arguments: argparse.Namespace) -> int:
    """`voxelpose rig refine`: 1 if the rig stays as it is."""
    from voxelpose_core.command_line import rig_reports as reports
    from voxelpose_core.self_calibration.arrangement import find_arrangement
    from voxelpose_core.self_calibration.refine import refine

    _check_rig_outputs(arguments)
    rig = load_given_rig(arguments)
    given = record(arguments, rig)
    recording = given.recording.shifted([offset / 1000.0 for offset in given.rig.time_offsets_ms])
    arrangement = find_arrangement(given.rig, recording)
    if arrangement.mirrored:
        raise InputError(f"images of camera {', '.join(arrangement.mirrored)} are mirrored: left is right")
    if arrangement.contradiction is not None:
        hint = correction(arrangement.contradiction, given.option, given.paths)
        raise InputError(f"{arrangement.contradiction}; {hint}")
    result = refine(given.rig, recording)
    offsets = _refined_offsets(rig, result)
    reports.say(reports.refinement_lines(rig, result, offsets))
    if not result.accepted:
        print(f"refused       {result.reason}; nothing is written", file=sys.stderr)
        return EXIT_SUSPICIOUS
    poses = {camera.name: camera for camera in result.rig.cameras}
    # The intrinsics are those of the given rig, whatever the size of the images.
    cameras = (dataclasses.replace(c, R=poses[c.name].R, C=poses[c.name].C) for c in rig.cameras)
    new = dataclasses.replace(rig, cameras=tuple(cameras)).with_time_offsets(offsets)
    _write_rig(new, arguments.out)
    if arguments.picture:
        write_image(arguments.picture, reports.refinement_picture(rig, new, result, given))
    reports.say_written([arguments.out, arguments.picture])
    return 0


def _refined_offsets(rig: Rig, result: Refinement) -> list[float]:
    """Per camera the given offset and what was found beside it, where that is sure; the first is 0."""
    from voxelpose_core.self_calibration.rig_faults import is_out_of_sync

    changes = result.cameras or (None,) * len(rig)
    total = []
    for offset, change in zip(rig.time_offsets_ms, changes, strict=True):
        late = change is not None and is_out_of_sync(change.offset_ms, change.offset_sigma_ms)
        total.append(offset + change.offset_ms if late and change else offset)
    return [offset - total[0] for offset in total]


# --- from people ---------------------------------------------------------------------------------------


def rig_from_people(arguments: argparse.Namespace) -> int:
    """`voxelpose rig from-people`."""
    from voxelpose_core.command_line import rig_reports as reports
    from voxelpose_core.self_calibration.from_people import FromPeopleSettings, rig_from_people

    distance = _given_distance(arguments)
    _check_rig_outputs(arguments)
    rig = rig_without_poses(arguments, arguments.intrinsics, arguments.fov or _DEFAULT_FOV_DEG)
    _check_distance(distance, rig)
    given = record(arguments, rig)
    settings = FromPeopleSettings(
        height_mm=arguments.height, distance=distance, free_focal=not (arguments.intrinsics or arguments.bag)
    )
    found = rig_from_people(given.recording, given.rig.cameras, settings)
    reports.say(reports.new_rig_lines(found))
    for note in found.notes:
        warn(note)
    _write_rig(found.rig, arguments.out)
    if arguments.picture:
        write_image(arguments.picture, reports.new_rig_picture(found, given))
    reports.say_written([arguments.out, arguments.picture])
    return 0


# --- words ---------------------------------------------------------------------------------------------
