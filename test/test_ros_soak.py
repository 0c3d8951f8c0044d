"""The soak script in its short form: faults of all kinds, and the node goes on."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("voxelpose_ros.msg", reason="the package's messages are not built")

SOAK = Path(__file__).resolve().parents[1] / "benchmarks" / "soak.py"


def test_the_node_survives_twenty_seconds_of_faults(tmp_path):
    out = tmp_path / "soak.json"
    # Memory is flat only after minutes; here it must not run away.
    options = "--seconds 20 --cameras 3 --memory-growth 0.5".split()
    command = [sys.executable, str(SOAK), *options, "--out", str(out)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=1500)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    report = json.loads(out.read_text())
    assert report["outputs"] > 3
    assert sum(report["faults"].values()) > 1
