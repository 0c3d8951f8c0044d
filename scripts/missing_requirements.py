"""Prints those requirements of the given files that this Python does not meet, one a line.

pip cannot tell: distributions ship OpenCV, for one, without the record that pip looks for. A line
of a file reads NAME>=VERSION, or NAME>=VERSION; python_version < "VERSION".
"""

import importlib
import re
import sys
from pathlib import Path

MODULES = {"opencv-python-headless": "cv2", "pyyaml": "yaml", "rerun-sdk": "rerun"}


def numbers(version: str) -> tuple[int, ...]:
    """Returns the leading numbers of a version: "4.5.4-dev" gives (4, 5, 4)."""
    return tuple(int(part) for part in re.match(r"[\d.]*\d", version).group().split("."))


def is_met(requirement: str) -> bool:
    """Tells whether a requirement NAME>=VERSION can be imported in such a version."""
    name, minimum = requirement.split(">=")
    try:
        module = importlib.import_module(MODULES.get(name, name))
    except ImportError:
        return False
    version = getattr(module, "__version__", minimum)  # newer ones of tomli have none
    return numbers(version) >= numbers(minimum)


def for_this_python(line: str) -> str | None:
    """Returns the requirement of a line, or None if it is for older versions of Python."""
    requirement, _, marker = line.partition(";")
    older_than = re.fullmatch(r'\s*python_version < "([\d.]+)"', marker)
    if older_than and sys.version_info >= numbers(older_than[1]):
        return None
    return requirement


def main(files: list[str]) -> None:
    lines = [line.strip() for file in files for line in Path(file).read_text().splitlines()]
    wanted = [for_this_python(line) for line in lines if line and not line.startswith("#")]
    for requirement in filter(None, wanted):
        if not is_met(requirement):
            print(requirement)


if __name__ == "__main__":
    main(sys.argv[1:])
