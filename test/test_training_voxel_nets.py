"""Training on drawn scenes, as train_for_rig.py starts it: it learns, resumes and writes weights."""

import argparse
import dataclasses
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from voxelpose_core.config import load_config
from voxelpose_core.datasets.random_scenes import OneRig, RandomRigs, RecordedPeople
from voxelpose_core.errors import InputError
from voxelpose_core.geometry.rig import load_rig
from voxelpose_core.models.checkpoints import load_weights, save_weights
from voxelpose_core.models.voxelpose import VoxelPose
from voxelpose_core.resources import find_resource
from voxelpose_core.training import voxel_nets
from voxelpose_core.training.options import TrainingOptions
from voxelpose_core.training.voxel_nets import (
    add_arguments,
    autocast,
    default_batch,
    pick_people,
    pose_step,
    train_nets,
)

SCRIPT = Path(__file__).parents[1] / "training" / "train_for_rig.py"
RIG = find_resource("config/rigs/campus.yaml")
# A training that hangs is stopped then, whatever the processor.
HANGS_S = 1500


@pytest.fixture(scope="module")
def small_weights(tmp_path_factory):
    """Random weights of a person grid that a test can afford.

    With 8^3 voxels the deepest layer would have 2^3, where oneDNN's gradients of bfloat16 kernels
    (PyTorch 2.13, AVX512-BF16) are uninitialized memory; sizes of 1, 3 and more are right.
    """
    torch.manual_seed(0)
    small = find_resource("config/universal/small.yaml")
    model = VoxelPose(load_config(small, ["PICT_STRUCT.CUBE_SIZE=[16,16,16]"]))
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_weights(model, path, {}, half=False)
    return path


def train(*arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=HANGS_S)


def test_both_nets_are_trained_and_the_weights_say_how(small_weights, tmp_path):
    out = tmp_path / "rig.safetensors"
    short = ("--steps", 2, "--batch", 2, "--threads", 1, "--held-out", 1)
    done = train(RIG, "--init", small_weights, "--out", out, *short)
    assert done.returncode == 0, done.stderr
    before, after = load_weights(small_weights), load_weights(out)
    for net in ("root_net", "pose_net"):
        changed = [
            not torch.equal(a, b)
            for a, b in zip(getattr(before, net).parameters(), getattr(after, net).parameters(), strict=True)
        ]
        assert all(changed), net
    assert not list(tmp_path.glob("*.pt")), "checkpoints of a finished training are left behind"
    lines = [line for line in done.stdout.splitlines() if line.startswith("pose_net")]
    assert "joint_error_mm" in json.loads(lines[-1].removeprefix("pose_net "))
    assert done.stdout.endswith(f"written: {out}\n")


def test_nothing_to_resume_is_said_in_one_line(small_weights, tmp_path):
    done = train(RIG, "--init", small_weights, "--out", tmp_path / "x.safetensors", "--resume")
    assert done.returncode == 2
    assert done.stderr.startswith("error: --resume: no checkpoint at ")
    assert len(done.stderr.splitlines()) == 1


def scenes_with(person_views, valid=None):
    """Drawn scenes of whose people this is said: (B, P)."""
    person_views = torch.tensor(person_views)
    count, most = person_views.shape
    scenes = RandomRigs()(count, torch.Generator().manual_seed(0))
    valid = person_views >= 0 if valid is None else torch.tensor(valid)
    people = {name: getattr(scenes, name)[:, :most] for name in ("joints", "roots", "joint_views")}
    return dataclasses.replace(scenes, valid=valid, person_views=person_views, **people)


def picked(scenes, count, seed=0):
    scene, person = pick_people(scenes, torch.Generator().manual_seed(seed), count)
    assert len(scene) == len(person) == count
    return Counter(zip(scene.tolist(), person.tolist(), strict=True))


def test_all_people_whom_two_views_detect_are_trained_on():
    # The last of the first scene does not exist.
    scenes = scenes_with([[3, 1, 2, 2], [0, 2, 1, 0]], [[True, True, True, False], [True] * 4])
    usable = {(0, 0), (0, 2), (1, 1)}
    assert picked(scenes, 3) == dict.fromkeys(usable, 1)
    # The number that a step has memory for is kept: with more of them, or with less.
    again = picked(scenes, 7)
    assert set(again) == usable and sorted(again.values()) == [2, 2, 3]
    some = [picked(scenes, 2, seed) for seed in range(20)]
    assert all(set(few) < usable and len(few) == 2 for few in some)
    assert set().union(*some) == usable


def test_where_two_views_detect_nobody_everybody_is_trained_on():
    scenes = scenes_with([[1, 0], [1, 0]], [[True, False], [True, True]])
    assert picked(scenes, 3) == {(0, 0): 1, (1, 0): 1, (1, 1): 1}


def test_the_volumes_of_the_pose_net_are_those_of_the_people_picked(small_weights, monkeypatch):
    model = load_weights(small_weights).eval()
    scenes = scenes_with([[2, 1], [1, 2]])
    asked = []
    regress = model.person_volumes
    monkeypatch.setattr(
        model, "person_volumes", lambda h, v, c, s: asked.append((c, s)) or regress(h, v, c, s)
    )
    loss, error = pose_step(model, scenes, torch.Generator().manual_seed(0))
    assert torch.isfinite(loss) and error > 0
    ((centers, scene),) = asked
    assert sorted(scene.tolist()) == [0, 0, 1, 1]
    offset = centers - scenes.roots[scene, scene]
    assert 0 < offset.norm(dim=-1).min() and offset.norm(dim=-1).max() < 600


def test_a_gpu_takes_as_many_scenes_as_its_memory_holds(monkeypatch):
    assert default_batch(torch.device("cpu")) == 8
    for gigabytes, batch in ((80, 128), (24, 80), (1, 8)):
        memory = SimpleNamespace(total_memory=gigabytes * 1e9)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device, m=memory: m)
        assert default_batch(torch.device("cuda")) == batch


def test_a_batch_without_memory_is_said_in_one_line(monkeypatch):
    def spawn(*arguments, **options):
        traceback = "Traceback ...\ntorch.OutOfMemoryError: CUDA out of memory."
        raise torch.multiprocessing.ProcessRaisedException(traceback, 0, 1)

    monkeypatch.setattr(torch.multiprocessing, "spawn", spawn)
    parser = argparse.ArgumentParser()
    add_arguments(parser, steps=1, minutes=1, lr=1e-3)
    args = parser.parse_args(["--out", "x.safetensors", "--device", "cpu", "--batch", "64"])
    with pytest.raises(InputError, match="^--batch 64: cpu has no memory .*--batch 32$"):
        train_nets(TrainingOptions.of(args), lambda: None, lambda: None)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_trainings_compute_in_bfloat16_where_inference_does(monkeypatch, dtype):
    monkeypatch.setattr(voxel_nets, "native_dtype", lambda device: dtype)
    with autocast(torch.device("cpu")):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == dtype


def test_people_stand_on_the_floor_of_the_rigs_space():
    rig = load_rig(RIG)
    scenes = OneRig(rig, rig.space, (800, 640), (200, 160))(4, torch.Generator().manual_seed(1))
    assert scenes.heatmaps.shape == (4, len(rig), 17, 160, 200)
    roots = scenes.roots[scenes.valid].double().numpy()
    assert (abs(roots[:, :2] - rig.space.center[:2]) < rig.space.size[:2] / 2 + 900).all()
    lowest = scenes.joints[scenes.valid][..., 2].amin(dim=1)
    assert (lowest >= rig.space.low[2] - 1).all() and (lowest < rig.space.low[2] + 400).all()
    torch.testing.assert_close(scenes.floor, torch.full((4,), float(rig.space.low[2])))


def test_recorded_people_are_turned_and_put_on_the_ground():
    pose = torch.zeros(1, 17, 3)
    pose[0, :, 2] = torch.linspace(1700, 100, 17)
    pose[0, 9, 0] = 500.0  # a wrist, half a metre from the axis
    pose += torch.tensor([3000.0, -2000.0, 900.0])
    drawn = RecordedPeople(pose)(200, torch.Generator().manual_seed(0))
    lengths = (drawn[:, 9] - drawn[:, 7]).norm(dim=-1)
    recorded = torch.isclose(lengths, (pose[0, 9] - pose[0, 7]).norm(), atol=0.1)
    assert 60 < recorded.sum() < 140
    people = drawn[recorded]
    assert people[:, [11, 12], :2].mean(dim=1).abs().max() < 0.1
    assert (people[..., 2].amin(dim=1) > 0).all()
    angles = torch.atan2(people[:, 9, 1], people[:, 9, 0])
    assert angles.std() > 1
