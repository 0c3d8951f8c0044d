"""Prints those requirements of the given files that this Python does not meet, one a line.

pip cannot tell: distributions ship OpenCV, for one, without the record that pip looks for. A line
of a file reads NAME>=VERSION.
"""

import importlib
import re
import sys
from pathlib import Path

MODULES = {"opencv-python-headless": "cv2", "pyyaml": "yaml"}


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
    return numbers(module.__version__) >= numbers(minimum)


def main(files: list[str]) -> None:
    lines = [line.strip() for file in files for line in Path(file).read_text().splitlines()]
    for requirement in lines:
        if requirement and not requirement.startswith("#") and not is_met(requirement):
            print(requirement)


if __name__ == "__main__":
    main(sys.argv[1:])
