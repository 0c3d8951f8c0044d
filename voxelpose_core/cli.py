"""The `voxelpose` command: 3D skeletons from files, and help with rigs. No ROS."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from voxelpose_core.command import Parser, run_command
from voxelpose_core.command_line import convert, dataset, estimate, rig, view
from voxelpose_core.command_line.options import warn
from voxelpose_core.resources import version

EXAMPLES = """\
examples:
  Four synchronized videos, in the order of the rig's cameras:
    voxelpose estimate --rig Calib.qca.txt --videos cam01.mp4 cam02.mp4 cam03.mp4 cam04.mp4 \\
        --out skeletons.json --video-out skeletons.mp4

  One folder of images per camera, and only some cameras of a larger rig:
    voxelpose estimate --rig calibration.json --cameras 00_03 00_06 00_12 \\
        --images 00_03/ 00_06/ 00_12/ --out skeletons.json --picture skeletons.png

  2D detections of another detector; a calibration without the image size:
    voxelpose estimate --rig calibration_shelf.json --image-size 1032x776 \\
        --keypoints keypoints.json --out skeletons.json

  Those of Pose2Sim, in folders pose/cam01_json, pose/cam02_json, ...; feet come along:
    voxelpose estimate --rig Calib.qca.txt --keypoints pose --fps 60 --out walk.trc

  Files for OpenSim, motion capture software and Blender, smoothed:
    voxelpose estimate --rig rig.yaml --videos a.mp4 b.mp4 c.mp4 --out walk.trc walk.c3d walk.bvh \\
        --fill 0.2 --smooth 6
    voxelpose convert skeletons.json --out walk.trc --smooth 6

  Skeletons in 3D: as a page to send by mail; with the videos, in the Rerun viewer:
    voxelpose view Calib.qca.txt skeletons.json --out skeletons.html
    voxelpose view Calib.qca.txt skeletons.json --videos cam*.mp4

  Check a calibration, print and draw its capture space, write it as rig YAML:
    voxelpose rig check Calib.qca.txt
    voxelpose rig space Calib.qca.txt
    voxelpose rig preview Calib.qca.txt --out rig.png
    voxelpose rig convert Calib.qca.txt rig.yaml

  Compare a calibration with the people in a recording; give it a world with floor and metres; mend it:
    voxelpose rig diagnose rig.yaml --videos cam01.mp4 cam02.mp4 cam03.mp4 cam04.mp4
    voxelpose rig align rig.yaml --videos cam*.mp4 --height 1750 --out aligned.yaml
    voxelpose rig refine aligned.yaml --videos cam*.mp4 --out refined.yaml

  Calibrate from a person who walks to and fro for twenty seconds:
    voxelpose rig from-people --videos cam*.mp4 --height 1750 --fov 65 --out rig.yaml

  Check a folder of Panoptic, Campus or Shelf:
    voxelpose dataset check data/CampusSeq1 --picture sample.png
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code (see `voxelpose_core.command`)."""
    return run_command(lambda: run(argv))


def run(argv: Sequence[str] | None = None) -> int:
    """Parse the arguments and run the subcommand; errors are raised."""
    # OpenCV and FFmpeg write to stderr on their own; what is wrong is said in our one line.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
    arguments = make_parser().parse_args(argv)
    with _plain_warnings():
        return arguments.run(arguments)


class _Version(argparse.Action):
    """Reads the version only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(f"{parser.prog} {version()}")
        parser.exit()


def make_parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    parser = Parser(
        prog="voxelpose",
        description="3D human skeletons from several calibrated cameras.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    estimate.add_parser(commands, EXAMPLES)
    convert.add_parser(commands)
    view.add_parser(commands)
    rig.add_parser(commands)
    dataset.add_parser(commands)
    return parser


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Warnings as one line each, above a progress bar."""

    def show(message: Warning | str, *_: object, **__: object) -> None:
        warn(str(message))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("default", category=UserWarning, module=r"voxelpose_core\.")
        warnings.showwarning = show
        yield


if __name__ == "__main__":
    sys.exit(main())
