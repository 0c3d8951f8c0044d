"""Installs voxelpose_core and the `voxelpose` command, for use without ROS (`pip install .`).

With ROS, package.xml and CMakeLists.txt build the whole package.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Distribution, find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
# What voxelpose_core/resources.py finds: in the source tree as it lies, in a wheel below the package.
RESOURCES = ("weights", "config", "msg", "package.xml")


def requirements(name: str) -> list[str]:
    """The requirements of requirements/NAME.txt."""
    lines = (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def copy_resources(target: Path) -> None:
    """Copy weights, configurations and the manifest into a new folder."""
    target.mkdir(parents=True)
    for name in RESOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns(".*"))
        else:
            shutil.copy(ROOT / name, target / name)


class BuildWithResources(build_py):
    """Add the resources, and the voxel kernel for this processor.

    The kernel is built when first used elsewhere, or where there is no compiler now.
    """

    def run(self):
        package = (ROOT if self.editable_mode else Path(self.build_lib)) / "voxelpose_core"
        if not self.editable_mode:
            shutil.rmtree(package, ignore_errors=True)  # what an earlier build of other sources left
        super().run()
        if not self.editable_mode:  # an editable package finds them in the source tree
            copy_resources(package / "share")
        command = [sys.executable, ROOT / "voxelpose_core/voxel/kernels.py", "--optional", "--into"]
        subprocess.run([*command, package / "voxel" / "lib"], check=True)


class DistributionWithKernel(Distribution):
    """A wheel that holds a kernel belongs to one kind of machine."""

    def has_ext_modules(self) -> bool:
        return True


setup(
    name="voxelpose_ros",
    version=re.search(r"<version>(.+)</version>", (ROOT / "package.xml").read_text()).group(1),
    description="Tracked 3D human skeletons from calibrated cameras",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="voxelpose_ros developers",
    license="MIT",
    python_requires=">=3.10",
    cmdclass={"build_py": BuildWithResources},
    distclass=DistributionWithKernel,
    packages=find_packages(include=["voxelpose_core", "voxelpose_core.*"]),
    package_data={"voxelpose_core": ["py.typed", "**/csrc/*", "models/*.onnx", "pages/templates/*"]},
    zip_safe=False,
    install_requires=requirements("core"),
    extras_require={name: requirements(name) for name in ("train", "files", "view", "test", "check")},
    entry_points={"console_scripts": ["voxelpose = voxelpose_core.__main__:main"]},
)
