"""What `import voxelpose_core` offers, and the examples that show it."""

import ast
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import voxelpose_core
from voxelpose_core.resources import find_resource

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
RIG = find_resource("config/rigs/shelf.yaml")


def run(*command, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, *map(str, command)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, **options)


def test_every_public_name_is_what_its_module_has():
    for name in voxelpose_core.__all__:
        assert getattr(voxelpose_core, name).__name__ == name
    assert dir(voxelpose_core) == list(voxelpose_core.__all__)


def test_type_checkers_see_the_same_names():
    tree = ast.parse(Path(voxelpose_core.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.name: node.module.removeprefix("voxelpose_core.") for node in block.body for alias in node.names
    }
    assert seen == voxelpose_core._HOMES
    assert (Path(voxelpose_core.__file__).parent / "py.typed").is_file()


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'Skelton'"):
        _ = voxelpose_core.Skelton


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, voxelpose_core; print([m for m in ('torch', 'numpy', 'cv2') if m in sys.modules])"
    done = run("-c", code)
    assert done.returncode == 0 and done.stdout.strip() == "[]", done.stdout + done.stderr


def test_keypoints_example_finds_the_person():
    done = run(EXAMPLES / "from_keypoints.py")
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert float(line.split()[-2]) < 40


def test_images_example_says_who_is_there(tmp_path):
    files = [tmp_path / f"{index}.png" for index in range(5)]
    for file in files:
        cv2.imwrite(str(file), np.zeros((776, 1032, 3), np.uint8))
    done = run(EXAMPLES / "from_images.py", RIG, *files)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("0 people seen by camera0")
    wrong = run(EXAMPLES / "from_images.py", RIG, *files[:3])
    assert wrong.returncode == 1 and wrong.stderr.startswith("error: 3 images given")
    missing = run(EXAMPLES / "from_images.py", RIG, *files[:4], tmp_path / "none.png")
    assert missing.returncode == 1 and "none.png: cannot be read" in missing.stderr


def test_live_example_reads_videos_to_their_end(tmp_path):
    files = [tmp_path / f"{index}.avi" for index in range(5)]
    for file in files:
        writer = cv2.VideoWriter(str(file), cv2.VideoWriter_fourcc(*"MJPG"), 10, (1032, 776))
        for _ in range(2):
            writer.write(np.zeros((776, 1032, 3), np.uint8))
        writer.release()
    done = run(EXAMPLES / "live_tracking.py", RIG, *files)
    assert done.returncode == 0, done.stderr
    few = run(EXAMPLES / "live_tracking.py", RIG, *files[:3])
    assert few.returncode == 1 and few.stderr.startswith("error: 3 sources given for the 5 cameras")
    missing = run(EXAMPLES / "live_tracking.py", RIG, *files[:4], tmp_path / "none.avi")
    assert missing.returncode == 1 and "none.avi" in missing.stderr
