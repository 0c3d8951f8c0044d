"""What the benchmark compares with is the same computation, and the benchmark runs."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from voxelpose_core.processor import device_name
from voxelpose_core.voxel import Boxes, torch_reference

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def benchmark():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield importlib.import_module("speed")
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def original(benchmark):
    return importlib.import_module("plain_voxelpose")


@pytest.fixture(scope="module")
def scene(benchmark):
    return benchmark.Scene(benchmark.Setup((20, 16, 8), (12, 8, 16), 3, 2), torch.device("cpu"))


def test_the_plain_loop_computes_the_reference_s_volumes(original, scene):
    voxels, size = (12, 8, 16), (2000.0, 1500.0, 1800.0)
    centers = scene.centers + torch.tensor([300.0, -200, 100])
    boxes = Boxes.in_one_scene(centers, size, voxels)
    expected = torch_reference.feature_volumes(scene.heatmaps, scene.views, boxes, count_points_behind=True)
    maps = list(scene.heatmaps.unbind(1))
    for center, volume in zip(centers, expected, strict=True):
        plain = original.plain_volume(maps, scene.views, center, size, voxels)[0]
        assert volume.max() > 0.1
        assert ((plain - volume).abs() > 1e-3).float().mean() < 2e-3


def test_the_plain_frame_gives_the_model_s_poses(original, scene):
    plain = original.plain_frame(scene.model, scene.heatmaps, scene.views, scene.grid, 2)
    estimator = scene.estimator("float32", recenter=False, refine=False)
    with torch.inference_mode():
        proposals = estimator.model.propose(scene.heatmaps, scene.views, scene.grid, -1e9, 2)
        centers, settings = proposals.centers[0], estimator.settings
        ours = estimator.people.nets._poses(scene.heatmaps, scene.views, centers, 2, settings)
    assert plain.shape == (2, 17, 3)
    torch.testing.assert_close(ours, plain, rtol=0, atol=2.0)


def test_frames_are_measured_and_compared(benchmark, scene):
    bench = benchmark.Benchmark(torch.device("cpu"), seconds=0.0, shrink=8)
    estimator = scene.estimator("float32", recenter=False, refine=False)
    times, stages = bench.time_frames(estimator, scene)
    assert len(times.values) == 2 and min(times.values) > 0
    assert set(stages) == {"proposals", "poses"}
    found = benchmark.accuracy(estimator, estimator, scene)
    assert found["found"] == 0 or found["from_float32_max_mm"] == 0


def test_the_benchmark_runs(tmp_path):
    out = tmp_path / "numbers.json"
    command = [sys.executable, BENCHMARKS / "speed.py", "--out", out, "--shrink", "8"]
    done = subprocess.run(
        [*command, "--device", "cpu", "--threads", "1", "--seconds", "0", "--only", "kernel"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(out.read_text())
    assert results["device"] == device_name(torch.device("cpu"))
    assert done.stdout.startswith(f"on {results['device']} with 1 threads\n")
    rows = results["kernel"]
    assert {row["grid"] for row in rows} >= {"campus proposals", "small people"}
    assert all(row["ours"] > 0 for row in rows) and "campus proposals" in done.stdout


def test_ways_from_keypoints_are_measured_side_by_side(benchmark):
    bench = benchmark.Benchmark(torch.device("cpu"), seconds=0.0, shrink=8)
    calls = []
    functions = {name: (lambda name=name: calls.append(name)) for name in ("one", "other")}
    times = bench.stopwatch.in_turns(functions)
    assert calls == ["one", "other"] * 5
    assert all(len(wall.values) == len(cpu.values) == 2 for wall, cpu in times.values())
    scene = bench.scene("small", 3, 2)
    runtimes = [
        bench.keypoint_estimator(way, scene.rig).description().get("runtime") for way in bench.keypoint_ways()
    ]
    assert runtimes == ["onnxruntime", "PyTorch", None]
    memory = bench.keypoint_memory("rays, onnxruntime", scene)
    assert 50 < memory["peak_MiB"] < 4000
