"""`voxelpose rig diagnose`, `align`, `refine` and `from-people`: a rig and the people in it."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from voxelpose_core.command_line.frame_sources import (
    GivenRecording,
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
    load_given_rig,
    warn,
)
from voxelpose_core.command_line.rig_people_options import (
    DEFAULT_FOV_DEG,
    add_lenses,
    add_outputs,
    add_recording,
    add_unit,
    check_distance,
    check_rig_outputs,
    given_distance,
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


# --- parsers -------------------------------------------------------------------------------------------


def add_parsers(actions: argparse._SubParsersAction) -> None:
    """Add the four actions of `rig`."""
    _add_diagnose(actions)
    _add_align(actions)
    _add_refine(actions)
    _add_from_people(actions)


def _add_diagnose(actions: argparse._SubParsersAction) -> None:
    parser = actions.add_parser(
        "diagnose",
        help="compare a calibration with the people in a recording: order, turns, time offsets, disagreement "
        "per camera, focal lengths, floor (exit code 1 if anything is wrong, 3 if it cannot tell everything)",
    )
    parser.set_defaults(run=rig_diagnose)
    add_rig_options(parser, "rig")
    add_recording(parser)
    add_offsets(parser)
    parser.add_argument("--picture", metavar="PNG", help="picture of walks, disagreement and floor to write")
    parser.add_argument("--report", metavar="JSON", help="the findings as a file to write")


def _add_align(actions: argparse._SubParsersAction) -> None:
    parser = actions.add_parser(
        "align", help="give a calibration a world for people: z up, floor at 0, origin where they walk, mm"
    )
    parser.set_defaults(run=rig_align)
    add_rig_options(parser, "rig")
    add_recording(parser, required=False)
    add_offsets(parser)
    add_unit(parser)
    parser.add_argument(
        "--ground-from",
        metavar="FILE|TARGET",
        help="without people: a file with three or more points of the floor, or what lies on it: "
        "chessboard:9x6:40, aruco:4x4_50:150 or charuco:5x7:40:30:4x4_50 (sides in mm)",
    )
    add_outputs(parser)


def _add_refine(actions: argparse._SubParsersAction) -> None:
    parser = actions.add_parser(
        "refine", help="move cameras to where people agree, if held-out frames confirm it (else exit code 1)"
    )
    parser.set_defaults(run=rig_refine)
    add_rig_options(parser, "rig")
    add_recording(parser)
    add_offsets(parser)
    add_outputs(parser)


def _add_from_people(actions: argparse._SubParsersAction) -> None:
    parser = actions.add_parser(
        "from-people", help="a calibration from a person who walks to and fro for twenty seconds"
    )
    parser.set_defaults(run=rig_from_people)
    add_recording(parser)
    add_unit(parser)
    add_lenses(parser)
    add_outputs(parser)


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
    distance = given_distance(arguments)
    check_rig_outputs(arguments)
    rig = load_given_rig(arguments)
    check_distance(distance, rig)
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
    save_rig(new, arguments.out)
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
    save_rig(new, arguments.out)
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

    check_rig_outputs(arguments)
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
    save_rig(new, arguments.out)
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

    distance = given_distance(arguments)
    check_rig_outputs(arguments)
    rig = rig_without_poses(arguments, arguments.intrinsics, arguments.fov or DEFAULT_FOV_DEG)
    check_distance(distance, rig)
    given = record(arguments, rig)
    settings = FromPeopleSettings(
        height_mm=arguments.height, distance=distance, free_focal=not (arguments.intrinsics or arguments.bag)
    )
    found = rig_from_people(given.recording, given.rig.cameras, settings)
    reports.say(reports.new_rig_lines(found))
    for note in found.notes:
        warn(note)
    save_rig(found.rig, arguments.out)
    if arguments.picture:
        write_image(arguments.picture, reports.new_rig_picture(found, given))
    reports.say_written([arguments.out, arguments.picture])
    return 0


# --- words ---------------------------------------------------------------------------------------------
