"""Installs voxelpose_core and the `voxelpose` command, for use without ROS (`pip install .`).

With ROS, package.xml and CMakeLists.txt build the whole package.
"""

import re
import subprocess
import sys
from pathlib import Path

from setuptools import Distribution, find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
SHARE = Path("share/voxelpose_ros")


def requirements(name: str) -> list[str]:
    """Returns the requirements of requirements/NAME.txt."""
    lines = (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def shared_files(*folders: str) -> list[tuple[str, list[str]]]:
    """Returns (destination, files) for each folder below the named ones."""
    files = [path for folder in folders for path in sorted((ROOT / folder).rglob("[!.]*"))]
    parents: dict[Path, list[str]] = {}
    for file in files:
        if file.is_file():
            relative = file.relative_to(ROOT)
            parents.setdefault(SHARE / relative.parent, []).append(str(relative))
    return [(str(parent), names) for parent, names in parents.items()]


class BuildWithKernel(build_py):
    """Adds the voxel kernel for this processor; elsewhere it is built when first used."""

    def run(self):
        super().run()
        folder = Path("voxelpose_core/voxel")
        target = ROOT / folder if self.editable_mode else Path(self.build_lib) / folder
        command = [sys.executable, ROOT / folder / "kernels.py", "--optional", "--into"]
        subprocess.run([*command, target / "lib"], check=True)


class DistributionWithKernel(Distribution):
    """A wheel that holds a kernel belongs to one kind of machine."""

    def has_ext_modules(self) -> bool:
        return True


setup(
    name="voxelpose_ros",
    version=re.search(r"<version>(.+)</version>", (ROOT / "package.xml").read_text()).group(1),
    description="Tracked 3D human skeletons from calibrated cameras",
    author="voxelpose_ros developers",
    license="MIT",
    python_requires=">=3.10",
    cmdclass={"build_py": BuildWithKernel},
    distclass=DistributionWithKernel,
    packages=find_packages(include=["voxelpose_core", "voxelpose_core.*"]),
    package_data={"voxelpose_core": ["**/csrc/*"]},
    data_files=shared_files("weights", "config"),
    install_requires=requirements("core"),
    extras_require={"train": requirements("train"), "test": requirements("test")},
    entry_points={"console_scripts": ["voxelpose = voxelpose_core.cli:main"]},
)
