"""`voxelpose rig`: check, draw or convert a calibration."""

from __future__ import annotations

import argparse

from voxelpose_core.command_line import rig_people
from voxelpose_core.command_line.options import (
    EXIT_SUSPICIOUS,
    add_rig_options,
    add_space,
    add_strict,
    load_given_rig,
)
from voxelpose_core.drawing.files import write_image
from voxelpose_core.geometry.coverage import propose_space
from voxelpose_core.geometry.rig import save_rig
from voxelpose_core.geometry.rig_check import check_rig, rig_remarks
from voxelpose_core.output_files import PICTURES, check_outputs
from voxelpose_core.time_offsets import offsets_in_words


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add `rig` and its actions."""
    parser = commands.add_parser("rig", help="check, draw or convert a calibration")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    check = actions.add_parser(
        "check", help="report what looks wrong in a calibration (exit code 1 if anything does)"
    )
    check.set_defaults(run=rig_check)
    space = actions.add_parser("space", help="print the capture space proposed from the cameras")
    space.set_defaults(run=rig_space)
    convert = actions.add_parser("convert", help="write a calibration as rig YAML")
    convert.set_defaults(run=rig_convert)
    preview = actions.add_parser("preview", help="draw cameras, frusta, capture space and coverage")
    preview.set_defaults(run=rig_preview)
    rig_people.add_parsers(actions)
    for action in (check, space, convert, preview):
        add_rig_options(action, "rig")
    for action in (convert, preview):
        add_strict(action)
    convert.add_argument("out", metavar="YAML", help="the file to write")
    preview.add_argument("--out", required=True, metavar="PNG", help="the picture, *.png or *.jpg")
    for action, what in ((convert, "keep with the rig"), (preview, "show")):
        add_space(action, f"capture space to {what}, centre and size in mm")


def rig_check(arguments: argparse.Namespace) -> int:
    """`voxelpose rig check`: 1 if something looks wrong."""
    rig = load_given_rig(arguments)
    print(f"{rig.name}: {len(rig)} cameras, {rig.source}")
    for camera in rig.cameras:
        x, y, z = camera.C / 1000.0
        print(
            f"  {camera.name}: {camera.image_size[0]}x{camera.image_size[1]}, "
            f"{camera.lens}, focal length {camera.K[0, 0]:.0f} px, at {x:.2f} {y:.2f} {z:.2f} m"
        )
    if rig.has_time_offsets:
        print(f"  time offsets: {offsets_in_words(rig)}")
    suspicions = check_rig(rig)
    for remark in rig_remarks(rig):
        print(f"note: {remark}")
    for suspicion in suspicions:
        print(f"suspicious: {suspicion}")
    if not suspicions:
        print("nothing looks wrong")
    return EXIT_SUSPICIOUS if suspicions else 0


def rig_space(arguments: argparse.Namespace) -> int:
    """`voxelpose rig space`: in the form that --space takes."""
    print(propose_space(load_given_rig(arguments)))
    return 0


def rig_convert(arguments: argparse.Namespace) -> int:
    """`voxelpose rig convert`."""
    check_outputs({"YAML": arguments.out}, [arguments.rig])
    rig = load_given_rig(arguments)
    save_rig(rig, arguments.out)
    print(f"{arguments.out}: {len(rig)} cameras, read as {rig.source}")
    return 0


def rig_preview(arguments: argparse.Namespace) -> int:
    """`voxelpose rig preview`."""
    from voxelpose_core.drawing.rig import draw_rig

    check_outputs({"--out": arguments.out}, [arguments.rig], {"--out": PICTURES})
    rig = load_given_rig(arguments)
    write_image(arguments.out, draw_rig(rig))
    print(f"{arguments.out}: {len(rig)} cameras, read as {rig.source}")
    return 0
