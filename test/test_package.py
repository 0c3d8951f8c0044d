"""The package: its manifests name what is imported, and what is in the tree gets installed."""

import ast
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OURS = {"voxelpose_core", "voxelpose_ros"}

# Imported name -> rosdep key, where they differ from ROS's rule that both are the package's name.
ROSDEP_KEYS = {
    "cv2": "python3-opencv",
    "hypothesis": "python3-hypothesis",
    "numpy": "python3-numpy",
    "onnxruntime": "python3-onnxruntime-pip",
    "pydantic": "python3-pydantic",
    "pytest": "python3-pytest",
    "scipy": "python3-scipy",
    "torch": "python3-torch",
    "tqdm": "python3-tqdm",
    "yaml": "python3-yaml",
}
# rosdep has no key for these: a comment in package.xml names them.
WITHOUT_ROSDEP_KEY = {"ezc3d", "onnx", "rerun", "rosbags", "safetensors", "tensorboard"}
# Come with what builds the package.
BUILD_TOOLS = {"setuptools"}
PIP_NAMES = {"cv2": "opencv-python-headless", "rerun": "rerun-sdk", "yaml": "pyyaml"}


def imported_packages(*folders: str) -> set[str]:
    """Returns the top-level packages, ours and Python's own left out, that files below import."""
    names: set[str] = set()
    for file in (file for folder in folders for file in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names.update(alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names.add(node.module.split(".")[0])
    return names - OURS - set(sys.stdlib_module_names)


def manifest() -> ElementTree.Element:
    return ElementTree.parse(ROOT / "package.xml").getroot()


def named_in_manifest() -> set[str]:
    return {tag.text for tag in manifest() if tag.tag == "depend" or tag.tag.endswith("_depend")}


def required_by_pip(*names: str) -> set[str]:
    text = "\n".join((ROOT / "requirements" / f"{name}.txt").read_text() for name in names)
    return set(re.findall(r"^([A-Za-z][\w-]*)", text, re.MULTILINE))


def files_below(*folders: str) -> list[Path]:
    """Returns the files to be installed of the given folders, relative to the repository's root."""
    files = [file for folder in folders for file in (ROOT / folder).rglob("[!.]*")]
    return sorted(file.relative_to(ROOT) for file in files if file.is_file() and file.suffix != ".pyc")


@pytest.fixture(scope="module")
def install_prefix() -> Path:
    prefixes = [Path(p) for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
    for prefix in prefixes:
        if (prefix / "share" / "voxelpose_ros" / "package.xml").is_file():
            return prefix
    pytest.skip("voxelpose_ros is not built and sourced (make build; . install/setup.bash)")


@pytest.fixture(scope="module")
def installed_python(install_prefix) -> Path:
    (folder,) = install_prefix.glob("**/*-packages/voxelpose_ros")
    return folder.parent


@pytest.fixture
def distribution(monkeypatch):
    """What setup.py says."""
    from distutils.core import run_setup

    import setuptools  # noqa: F401  (it provides distutils where Python has none)

    monkeypatch.chdir(ROOT)
    return run_setup("setup.py", stop_after="init")


def test_manifest_names_every_import():
    # Tests import each other, and the benchmarks that they test.
    helpers = {file.stem for folder in ("test", "benchmarks") for file in (ROOT / folder).glob("*.py")}
    imports = imported_packages("voxelpose_core", "voxelpose_ros", "launch", "test") - helpers
    imports -= BUILD_TOOLS
    keys = {ROSDEP_KEYS.get(name, name) for name in imports - WITHOUT_ROSDEP_KEY}
    assert keys - named_in_manifest() == set()
    text = (ROOT / "package.xml").read_text()
    for name in imports & WITHOUT_ROSDEP_KEY:
        assert re.search(rf"<!--[^>]*{name}", text)


def test_manifest_names_every_message_package():
    text = "".join(file.read_text() for file in (ROOT / "msg").glob("*.msg"))
    packages = set(re.findall(r"^(\w+)/\w+", text, re.MULTILINE))
    depends = {tag.text for tag in manifest() if tag.tag == "depend"}
    assert packages and packages <= depends


def test_setup_requires_every_import_of_the_core():
    imports = {PIP_NAMES.get(name, name) for name in imported_packages("voxelpose_core")}
    assert imports - required_by_pip("core", "train", "files", "view") == set()


def test_training_scripts_need_no_more_than_the_training_extra():
    assert imported_by_scripts("training") - required_by_pip("core", "train") == set()


def test_benchmarks_need_no_more_than_the_training_extra_and_ros():
    needed = imported_by_scripts("benchmarks") - required_by_pip("core", "train")
    assert needed - named_in_manifest() == set()


def imported_by_scripts(folder: str) -> set[str]:
    """What scripts of a folder import, by its name in pip, neighbours and test helpers left out."""
    scripts = {file.stem for own in (folder, "test") for file in (ROOT / own).glob("*.py")}
    return {PIP_NAMES.get(name, name) for name in imported_packages(folder) - scripts}


def test_every_requirement_is_pinned():
    pins = required_by_pip("pins")
    wanted = required_by_pip("core", "train", "test", "ros_wheels")
    assert wanted - pins == set()


def test_both_manifests_have_the_same_version_and_licence(distribution):
    assert distribution.get_version() == manifest().findtext("version")
    assert distribution.get_license() == manifest().findtext("license") == "MIT"


def test_setup_installs_every_module_of_the_core(distribution):
    packages = {
        str(file.parent).replace("/", ".")
        for file in files_below("voxelpose_core")
        if file.name == "__init__.py"
    }
    assert packages == set(distribution.packages)
    modules = {
        str(file.parent).replace("/", ".") for file in files_below("voxelpose_core") if file.suffix == ".py"
    }
    assert modules <= packages, "a folder of modules without __init__.py"


def test_core_imports_no_ros():
    script = (
        "import importlib, pkgutil, sys, voxelpose_core\n"
        "for module in pkgutil.walk_packages(voxelpose_core.__path__, 'voxelpose_core.'):\n"
        "    importlib.import_module(module.name)\n"
        "print(*sorted(name.split('.')[0] for name in sys.modules))\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    loaded = set(run.stdout.split())
    assert "voxelpose_core" in loaded
    ros = {name for name in loaded if name.startswith("rcl") or name.endswith("_msgs")}
    assert ros | (loaded & {"launch", "cv_bridge", "message_filters", "voxelpose_ros"}) == set()


def test_node_modules_leave_the_package_to_the_messages():
    # A second __init__.py in the source tree would hide the generated voxelpose_ros.msg.
    assert not (ROOT / "voxelpose_ros" / "__init__.py").exists()


def test_shared_files_are_installed(install_prefix):
    share = install_prefix / "share" / "voxelpose_ros"
    files = files_below("launch", "config", "foxglove", "rviz", "weights", "msg")
    assert files
    for file in files:
        assert (share / file).read_bytes() == (ROOT / file).read_bytes(), file


def test_python_is_installed(installed_python):
    for file in files_below("voxelpose_core", "voxelpose_ros"):
        assert (installed_python / file).read_bytes() == (ROOT / file).read_bytes(), file


def test_shared_files_are_found_in_the_install_space(install_prefix, installed_python, tmp_path):
    script = (
        "from voxelpose_core.resources import find_resource, find_weights\n"
        "print(find_weights('universal'), find_resource('rviz/voxelpose.rviz'))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(installed_python)}
    environment.pop("AMENT_PREFIX_PATH")
    command = [sys.executable, "-c", script]
    run = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    for path in run.stdout.split():
        assert Path(path).is_relative_to(install_prefix / "share" / "voxelpose_ros")


def test_messages_and_modules_share_one_package(installed_python):
    from voxelpose_ros import conversions, msg

    assert Path(msg.__file__).parents[1] == Path(conversions.__file__).parent
    for file in (ROOT / "msg").glob("*.msg"):
        assert hasattr(msg, file.stem)


def executables() -> list[tuple[str, str]]:
    text = (ROOT / "CMakeLists.txt").read_text()
    return re.findall(r"^install_python_executable\((\w+) ([\w.]+)\)", text, re.MULTILINE)


@pytest.mark.parametrize(("name", "module"), executables())
def test_executable_runs_the_main_of_a_module(name, module, install_prefix):
    tree = ast.parse((ROOT / (module.replace(".", "/") + ".py")).read_text())
    assert any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body)
    executable = install_prefix / "lib" / "voxelpose_ros" / name
    assert os.access(executable, os.X_OK)
    lines = executable.read_text().splitlines()
    interpreter = re.fullmatch(r'"exec" "(.+)" "\$0" "\$@"', lines[1]).group(1)
    assert os.access(interpreter, os.X_OK)
    assert f"from {module} import main" in lines


def test_executable_starts(install_prefix):
    executable = install_prefix / "lib" / "voxelpose_ros" / "voxelpose"
    run = subprocess.run([executable, "--help"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "estimate" in run.stdout
