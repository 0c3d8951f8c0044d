"""Makes the CMake files of PyPI's ROS 2 wheels point to this environment.

Some of them name two folders of the machine that built the wheels: Python's headers and Python's
site-packages. Run with the Python of the environment; a second run changes nothing.
"""

import re
import sys
import sysconfig
from pathlib import Path

BUILD_MACHINE_PYTHON = r"/opt/python/cp\d+-cp\d+"


def fix_text(text: str, include: str, site_packages: str) -> str:
    """Returns the text of a CMake file with the build machine's folders replaced by ours."""
    text = re.sub(BUILD_MACHINE_PYTHON + r"/include/python3\.\d+", lambda _: include, text)
    return re.sub(BUILD_MACHINE_PYTHON + r"/lib/python3\.\d+/site-packages", lambda _: site_packages, text)


def main() -> None:
    paths = sysconfig.get_paths()
    for file in Path(sys.prefix, "share").glob("*/cmake/*.cmake"):
        text = file.read_text()
        fixed = fix_text(text, paths["include"], paths["purelib"])
        if fixed != text:
            file.write_text(fixed)


if __name__ == "__main__":
    main()
