"""Fixtures that all tests share."""

import os
import signal
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Folder of the recordings that tests may use but the project does not ship."""
    default = Path(__file__).resolve().parents[1].parent / "shared"
    folder = Path(os.environ.get("VOXELPOSE_SHARED", default))
    if not (folder / "data").is_dir():
        pytest.skip(f"no recordings at {folder} (set VOXELPOSE_SHARED)")
    return folder


@pytest.fixture(autouse=True)
def interrupts():
    """Tests leave Ctrl-C as it was, for later tests and the processes they start."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def ros(tmp_path):
    """Real ROS processes in a domain of their own, ended after the test."""
    from ros_processes import Ros

    ros = Ros(tmp_path)
    yield ros
    ros.close()
