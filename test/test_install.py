"""Installations: weights and configurations are found in every kind, and a fresh one runs."""

import os
import runpy
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import setuptools

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "scripts" / "fresh_install.py"
PIP = (sys.executable, "-m", "pip")
SHOW = (
    "from voxelpose_core import resources\n"
    "print(resources.__file__)\n"
    "print(resources.find_weights('universal'))\n"
    "print(resources.find_resource('config/rigs/campus.yaml'))\n"
    "print(resources.find_resource('msg/SkeletonArray.msg'))\n"
    "print(resources.version())\n"
)


def run(*command, cwd, **variables) -> str:
    """Runs a command in a folder without the package, and without what tells where it is."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHONPATH", "PYTHONHOME", "AMENT_PREFIX_PATH", "VIRTUAL_ENV")
    }
    # Building ahead of time is optional, and each installation here would do it.
    variables = {"CXX": "false", **{name: str(value) for name, value in variables.items()}}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=kept | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def pip(*arguments, cwd, python=sys.executable, **variables) -> str:
    options = ("--disable-pip-version-check", "--no-index", "--no-deps", "--no-build-isolation")
    command, *rest = arguments
    if command == "install":
        options += ("--no-compile",)
    return run(*PIP, "--python", python, command, *options, *rest, cwd=cwd, **variables)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A copy of the source tree: an installation leaves files in it."""
    if tuple(int(part) for part in setuptools.__version__.split(".")[:2]) < (70, 1):
        pytest.skip(f"setuptools {setuptools.__version__} builds no wheel alone, 70.1 does")
    folder = tmp_path_factory.mktemp("copy") / "source"
    runpy.run_path(str(SCRIPT))["copy_source"](folder)
    return folder


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory) -> Path:
    # What an earlier build left must not get into this one.
    stale = source / build_folder() / "voxelpose_core" / "removed_module.py"
    stale.parent.mkdir(parents=True)
    stale.write_text("")
    out = tmp_path_factory.mktemp("wheel")
    pip("wheel", "-w", out, source, cwd=out)
    assert stale.parent.is_dir() and not stale.exists()
    (wheel,) = out.glob("*.whl")
    return wheel


def build_folder() -> str:
    """Where setuptools builds a package with a kernel, below the source tree."""
    distribution = setuptools.Distribution()
    distribution.has_ext_modules = lambda: True
    build = distribution.get_command_obj("build")
    build.ensure_finalized()
    return build.build_lib


@pytest.fixture(scope="module")
def other_python(tmp_path_factory) -> Path:
    """Python of a virtual environment that sees user installations."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", "--system-site-packages", folder, cwd=folder)
    return folder / "bin" / "python"


def contents(wheel: Path) -> set[str]:
    """The files of a wheel, its records left out."""
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def expected_files() -> set[str]:
    files = set()
    shared = dict.fromkeys(("weights", "config", "msg"), "voxelpose_core/share")
    places = {"voxelpose_core": ".", **shared}
    for folder, target in places.items():
        for file in (ROOT / folder).rglob("[!.]*"):
            if file.is_file() and file.suffix not in (".pyc", ".so"):
                files.add(str(Path(target, file.relative_to(ROOT))))
    return files | {"voxelpose_core/share/package.xml"}


def check_found(printed: str, inside: Path) -> None:
    *paths, version = printed.splitlines()
    assert version == run_version()
    for path in paths:
        assert Path(path).is_file()
        assert Path(path).resolve().is_relative_to(inside.resolve()), path


def run_version() -> str:
    from voxelpose_core.resources import version

    return version()


def test_the_wheel_holds_every_module_weight_and_configuration(wheel):
    assert contents(wheel) == expected_files()


def test_a_source_distribution_builds_the_same_wheel(source, wheel, tmp_path):
    build = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
    run(sys.executable, "-c", build, tmp_path, cwd=source)
    (archive,) = tmp_path.glob("*.tar.gz")
    pip("wheel", "-w", tmp_path, archive, cwd=tmp_path)
    (again,) = tmp_path.glob("*.whl")
    assert contents(again) == contents(wheel)


def test_found_with_target(wheel, tmp_path):
    pip("install", "--target", tmp_path / "there", wheel, cwd=tmp_path)
    printed = run(sys.executable, "-c", SHOW, cwd=tmp_path, PYTHONPATH=tmp_path / "there")
    check_found(printed, tmp_path / "there")


def test_found_with_prefix(wheel, tmp_path):
    pip("install", "--ignore-installed", "--prefix", tmp_path / "there", wheel, cwd=tmp_path)
    (packages,) = (tmp_path / "there").glob("**/*-packages")
    printed = run(sys.executable, "-c", SHOW, cwd=tmp_path, PYTHONPATH=packages)
    check_found(printed, tmp_path / "there")


def test_found_with_user(wheel, other_python, tmp_path):
    user = {"PYTHONUSERBASE": tmp_path / "home"}
    arguments = ("install", "--user", "--ignore-installed", wheel)
    pip(*arguments, python=other_python, cwd=tmp_path, **user)
    check_found(run(other_python, "-c", SHOW, cwd=tmp_path, **user), tmp_path / "home")


def test_found_with_editable(source, other_python, tmp_path):
    # The build needs setuptools, which the new environment may lack.
    tools = {"PYTHONPATH": Path(setuptools.__file__).parents[1]}
    pip("install", "--editable", source, python=other_python, cwd=tmp_path, **tools)
    try:
        check_found(run(other_python, "-c", SHOW, cwd=tmp_path), source)
    finally:
        run(*PIP, "--python", other_python, "uninstall", "-y", "voxelpose_ros", cwd=tmp_path)


def test_a_fresh_install_runs():
    # Newest versions, ten frames of the demo's recording: `make test-install` does more.
    done = subprocess.run([sys.executable, SCRIPT, "short"], capture_output=True, text=True)
    said = done.stdout + done.stderr
    print(said)
    if done.returncode == 77:
        pytest.skip(said.strip())
    assert done.returncode == 0, said
    assert "2 people in each of 10 frames" in said
