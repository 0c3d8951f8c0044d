"""Runs a node as a process: starts ROS, ends with one line where something is wrong."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.utilities import remove_ros_args

from voxelpose_core.command import run_command
from voxelpose_core.errors import InputError

_AGAIN_S = 0.05
_SHUTDOWN_S = 0.5


def run(
    factory: Callable[[], Any],
    work: Callable[[Any], Any] = rclpy.spin,
    args: Sequence[str] | None = None,
) -> int:
    """Make a node, let it work until it is done or is told to stop, and return the exit code.

    Args:
        factory: makes the node; its `close()`, where it has one, runs before it is destroyed.
        work: spins it.
        args: command line; sys.argv by default. `--debug` in it shows the whole traceback of an
            unexpected error, which is one line otherwise.
    """
    debug = "--debug" in (sys.argv if args is None else args)
    return run_command(lambda: _run(factory, work, args), debug)


def _run(factory: Callable[[], Any], work: Callable[[Any], Any], args: Sequence[str] | None) -> None:
    node = None
    sys.unraisablehook = _interrupt_again
    try:
        _init(args)
        node = factory()
        work(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except RuntimeError:
        # What is published while ROS shuts down fails, and a Ctrl-C in the middle of taking a message comes
        # as such an error, too; that is no news.
        if not _shuts_down():
            raise
    finally:
        # Ctrl-C under a launch comes twice, and the second would interrupt the tidying up, or what
        # Python does after it. From here on nothing but the end of the process follows.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if node is not None:
            getattr(node, "close", lambda: None)()
            node.destroy_node()
        rclpy.try_shutdown()


def _shuts_down() -> bool:
    """Whether ROS has ended, or does so now: a signal is dealt with in a thread of its own."""
    deadline = time.monotonic() + _SHUTDOWN_S
    while rclpy.ok() and time.monotonic() < deadline:
        time.sleep(0.01)
    return not rclpy.ok()


def _interrupt_again(unraisable: Any) -> None:
    """Python drops a Ctrl-C that falls into a finalizer, with a traceback: let it come once more, later."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        again = threading.Timer(_AGAIN_S, os.kill, (os.getpid(), signal.SIGINT))
        again.daemon = True
        again.start()
    else:
        sys.__unraisablehook__(unraisable)


def _init(args: Sequence[str] | None) -> None:
    try:
        rclpy.init(args=args)
    # rcl says what it could not parse, and where in its own sources that happened.
    except RuntimeError as error:
        reason = " ".join(str(error).split(", at ")[0].split())
        raise InputError(f"ROS arguments: {reason}") from None
    unknown = [given for given in remove_ros_args(args)[1:] if given != "--debug"]
    if unknown:
        raise InputError(
            f"argument '{unknown[0]}' is unknown, expected parameters as --ros-args -p NAME:=VALUE "
            "(docs/parameters.md lists them)"
        )
