"""What all commands, training scripts and ROS executables share: arguments, errors, exit codes.

Imports nothing but Python's own modules.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from voxelpose_core.errors import InputError

# Exit codes beside 0 and those that a command documents itself. 70 is EX_SOFTWARE of sysexits.h.
EXIT_BAD_INPUT, EXIT_FAILED = 2, 70
EXIT_INTERRUPTED, EXIT_BROKEN_PIPE = 128 + signal.SIGINT, 128 + signal.SIGPIPE
DEBUG_VARIABLE = "VOXELPOSE_DEBUG"

# Imported name -> name for pip, where they differ.
_PIP_NAMES = {"cv2": "opencv-python-headless", "rerun": "rerun-sdk", "yaml": "pyyaml"}
_HOW_TO_SEE_MORE = f"run again with --debug or {DEBUG_VARIABLE}=1 for the whole traceback"

# Where a subparser leaves itself for the parser above.
_PARSER = "_parser_of_unknown"

_debug = False


class Parser(argparse.ArgumentParser):
    """An argument parser with `--debug`, one-line errors, and values that begin with a minus sign.

    argparse takes "-875,0,1000" or "-1e3" after an option for another option, because only plain
    numbers may be negative. Here every argument that begins with a minus sign and a digit is a
    value. An option that is misspelt is named beside the one that it resembles. Subparsers are of the
    same class.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.add_argument("--debug", action=_Debug, help="show the whole traceback of an unexpected error")

    def parse_args(self, args=None, namespace=None):
        found, unknown = self.parse_known_args(args, namespace)
        # The subparser whose options they should have been, whose --help lists them.
        parser = vars(found).pop(_PARSER, self)
        if unknown:
            parser.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found

    def parse_known_args(self, args=None, namespace=None):
        self._given = _join_negative_values(sys.argv[1:] if args is None else args)
        found, unknown = super().parse_known_args(self._given, namespace)
        if unknown and self._subparsers is None:
            setattr(found, _PARSER, self)
        return found, unknown

    def error(self, message: str) -> NoReturn:
        # A misspelt option is why a required one is missing.
        self.exit(EXIT_BAD_INPUT, f"error: {self._misspelt() or message} (see {self.prog} --help)\n")

    def _misspelt(self) -> str:
        """What to say of the first option given that this parser does not have; empty where there is none."""
        known = self._option_string_actions
        for argument in self._given:
            # What follows a subcommand is its parser's.
            if argument == "--" or self._subparsers is not None and not argument.startswith("-"):
                break
            name = argument.split("=")[0]
            if name.startswith("--") and not any(option.startswith(name) for option in known):
                meant = difflib.get_close_matches(name, known, n=1)
                return f"option {name} is unknown" + (f", did you mean {meant[0]}?" if meant else "")
        return ""


class _Debug(argparse.Action):
    """Takes effect at once: errors in later arguments have their traceback, too."""

    def __init__(self, option_strings: Sequence[str], dest: str, **kwargs: Any):
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, **kwargs)

    def __call__(self, *_: Any) -> None:
        global _debug
        _debug = True


def whole_number(lowest: int) -> Callable[[str], int]:
    """An argparse type: a whole number of at least `lowest`."""

    def convert(text: str) -> int:
        if not re.fullmatch(r"[+-]?\d{1,9}", text) or int(text) < lowest:
            raise argparse.ArgumentTypeError(f"'{text}', expected a whole number of at least {lowest}")
        return int(text)

    return convert


def positive_number(text: str) -> float:
    """An argparse type: a number above 0, which may be `inf`."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not number > 0:
        raise argparse.ArgumentTypeError(f"'{text}', expected a number above 0")
    return number


def _join_negative_values(arguments: Sequence[str]) -> list[str]:
    """["--space", "-1,0"] -> ["--space=-1,0"]; plain negative numbers are left to argparse."""
    joined: list[str] = []
    for argument in arguments:
        is_value = re.match(r"-\.?\d", argument) and not re.fullmatch(r"-(\d+|\d*\.\d+)", argument)
        if is_value and joined and re.fullmatch(r"--[a-z][\w-]*", joined[-1]):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def run_command(command: Callable[[], int | None], debug: bool = False) -> int:
    """Run a command and turn whatever ends it into one line on stderr and an exit code.

    Args:
        command: parses its arguments, does its work, returns its exit code (None: 0).
        debug: show the traceback of an unexpected error, for commands that have no `Parser`.

    Returns:
        The command's exit code; 2 for bad input (InputError); 70 for an error that is not the
        input's; 130 when interrupted; 141 when the reader of the output went away.
    """
    global _debug
    _debug = debug or os.environ.get(DEBUG_VARIABLE, "") not in ("", "0")
    try:
        code = command() or 0
        sys.stdout.flush()  # a full disk or a closed pipe shows here
        return code
    except SystemExit:  # argparse, after --help or a bad argument
        _discard_output()
        raise
    except KeyboardInterrupt:
        _leave_interrupts_to_the_system()
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _discard_output()
        return EXIT_BROKEN_PIPE
    except Exception as error:
        _report(error)
        return EXIT_BAD_INPUT if isinstance(error, InputError) else EXIT_FAILED


def _leave_interrupts_to_the_system() -> None:
    """Another Ctrl-C ends the process without a traceback of whatever Python is cleaning up."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _report(error: Exception) -> None:
    """Print an exception as one line, or as its traceback in debug mode."""
    if _debug and not isinstance(error, InputError):
        traceback.print_exception(error)
    else:
        print(f"error: {describe_error(error)}", file=sys.stderr)
    _discard_output()


def describe_error(error: Exception) -> str:
    """One line that says what happened and what to do about it."""
    words = _last_line(error) if _is_from_worker(error) else " ".join(str(error).split())
    if isinstance(error, InputError):
        return words
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.split(".")[0]
        return f"Python package '{package}' is missing: pip install {_PIP_NAMES.get(package, package)}"
    if isinstance(error, ImportError):
        return f"{words} ({_HOW_TO_SEE_MORE})"
    if _is_out_of_memory(error):
        return f"not enough memory: {words or 'an allocation failed'} ({_HOW_TO_SEE_MORE})"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if hasattr(error, "err") and hasattr(error, "func"):  # OpenCV's, whose text tells its build folder
        words = f"{error.err} in {error.func}"
    name = type(error).__name__
    if type(error).__module__ not in ("builtins", "__main__"):
        name = f"{type(error).__module__}.{name}"
    return f"unexpected {name}: {words or 'no message'} ({_HOW_TO_SEE_MORE})"


def _is_from_worker(error: Exception) -> bool:
    """Whether PyTorch raised it anew in this process, with the worker's traceback as its message."""
    return "Traceback (most recent call last)" in str(error)


def _last_line(error: Exception) -> str:
    """What a worker's traceback says at its end."""
    name = f"{type(error).__module__}.{type(error).__name__}"
    last = str(error).strip().splitlines()[-1]
    return last.removeprefix(f"{name}: ").removeprefix(f"{type(error).__name__}: ")


def _is_out_of_memory(error: Exception) -> bool:
    """Python's own, numpy's, and PyTorch's on CPUs and GPUs, which need not be imported."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def _discard_output() -> None:
    """Where stdout cannot take its buffer, lose that: Python's last flush would say so at length."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except (OSError, ValueError):
            pass
