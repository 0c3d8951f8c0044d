"""The helpers of the Makefile."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("version", ["3.10", "3.14"])
def test_paths_of_the_build_machine_are_replaced_once(version):
    fix_text = load("fix_wheel_paths").fix_text
    tag = "cp" + version.replace(".", "")
    python = f"/opt/python/{tag}-{tag}"
    text = (
        f'DIRECTORIES "{python}/include/python{version};'
        f'{python}/lib/python{version}/site-packages/numpy/_core/include;/opt/python/else"'
    )
    fixed = fix_text(text, "/usr/include/python3", "/home/me/.venv/site")
    assert fixed == (
        'DIRECTORIES "/usr/include/python3;/home/me/.venv/site/numpy/_core/include;/opt/python/else"'
    )
    assert fix_text(fixed, "/usr/include/python3", "/home/me/.venv/site") == fixed


def test_requirements_are_met_by_importable_modules_of_a_version():
    is_met = load("missing_requirements").is_met
    assert is_met("numpy>=1.21")
    assert not is_met("numpy>=999.0")
    assert not is_met("no-such-package>=0.1")
    assert is_met("opencv-python-headless>=4.5")


def test_requirements_of_other_python_versions_are_left_out():
    for_this_python = load("missing_requirements").for_this_python
    assert for_this_python('tomli>=1.1; python_version < "3.1"') is None
    assert for_this_python('tomli>=1.1; python_version < "99.0"') == "tomli>=1.1"
    assert for_this_python("numpy>=1.21") == "numpy>=1.21"


def test_missing_requirements_are_printed(tmp_path):
    file = tmp_path / "wanted.txt"
    file.write_text("# comment\nnumpy>=1.21\nno_such_package>=0.1\n\n")
    run = subprocess.run(
        [sys.executable, SCRIPTS / "missing_requirements.py", file], capture_output=True, text=True
    )
    assert run.stdout.split() == ["no_such_package>=0.1"]


@pytest.mark.parametrize(
    ("cases", "totals", "status"),
    [
        ("<testcase/><testcase><skipped/></testcase>", "1 passed, 0 failed, 1 skipped", 0),
        ("<testcase/><testcase><failure/></testcase>", "1 passed, 1 failed, 0 skipped", 1),
        ("<testcase><error/></testcase>", "0 passed, 1 failed, 0 skipped", 1),
        ("", "0 passed, 0 failed, 0 skipped", 1),
    ],
)
def test_totals(tmp_path, cases, totals, status):
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "a.xunit.xml").write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>")
    run = subprocess.run(
        [sys.executable, SCRIPTS / "test_totals.py", tmp_path], capture_output=True, text=True
    )
    assert (run.stdout.strip(), run.returncode) == (totals, status)


def test_demo_takes_only_videos_and_calibration():
    is_wanted = load("demo_data").is_wanted
    assert is_wanted("Pose2Sim/Demo_MultiPerson/videos/cam01.mp4")
    assert is_wanted("Pose2Sim/Demo_MultiPerson/calibration/Calib.qca.txt")
    assert is_wanted("pose2sim-0.10.49.dist-info/licenses/LICENSE")
    assert not is_wanted("Pose2Sim/Demo_Batch/Trial_1/videos/cam01.mp4")
    assert not is_wanted("Pose2Sim/Demo_SinglePerson/calibration/extrinsics/cam01_ext.png")
