"""Training learns, sums up, stops and goes on as it should; one process or two."""

import json
import logging
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_experiment import tiny_config, tiny_rig, write_config
from torch.nn.parallel import DistributedDataParallel

import voxelpose_core
from voxelpose_core.command import run_command
from voxelpose_core.config import load_config
from voxelpose_core.datasets.configured import open_configured
from voxelpose_core.datasets.loading import make_loader, set_epoch
from voxelpose_core.geometry.calibration_formats import PANOPTIC_TO_Z_UP
from voxelpose_core.models.voxelpose import VoxelPose
from voxelpose_core.training.experiment import Experiment, Process, start_process
from voxelpose_core.training.loops import (
    DivergedError,
    set_learning_rate,
    train_3d,
    validate_3d,
)
from voxelpose_core.training.network import TrainedNetwork

SCRIPTS = Path(__file__).resolve().parents[1] / "training"
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread():
    """These networks are so small that threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def make_network(config, seed=0):
    torch.manual_seed(seed)
    return TrainedNetwork(VoxelPose(config), config)


def freeze_batch_norm(network):
    """Keep batch norms in eval mode: then a frame does not see the others of its batch."""
    for module in network.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()
            module.train = lambda mode=True, module=module: module


def train_loader(config):
    return make_loader(open_configured(config, train=True), config, True, False)


def first_batch(config, epoch=0):
    loader = train_loader(config)
    set_epoch(loader, epoch)
    return next(iter(loader))


def alone(config, folder):
    return Experiment(config, Process(0, 1, CPU), folder)


def same_state(first, second, **tolerance):
    assert first.keys() == second.keys()
    for key, value in first.items():
        torch.testing.assert_close(value, second[key], **tolerance, msg=lambda m, k=key: f"{k}: {m}")


# --- learning -----------------------------------------------------------------------------------


def test_loss_falls_and_validation_improves(tmp_path):
    config = tiny_config(
        tmp_path,
        SYNTHETIC={"TRAIN_FRAMES": 40, "TEST_FRAMES": 12},
        LOSS={"CROSS_ENTROPY": 15.0},
    )
    experiment = alone(config, tmp_path)
    network = make_network(config)
    optimizer = torch.optim.Adam(network.parameters(), lr=config.train.lr)
    loader = train_loader(config)
    test_loader = make_loader(open_configured(config, train=False), config, False, False)
    before = validate_3d(network, test_loader, experiment)
    losses = []
    for epoch in range(4):
        set_epoch(loader, epoch)
        losses.append(train_3d(network, optimizer, loader, epoch, experiment))
    after = validate_3d(network, test_loader, experiment)
    # An untrained root net proposes nobody.
    assert before.values["recall_500"] == 0 and before.precision == 0
    assert losses[-1]["loss_3d"] < 0.4 * losses[0]["loss_3d"]
    assert losses[-1]["loss_cord"] < 0.75 * losses[0]["loss_cord"]
    assert after.values["recall_500"] > 0.8
    assert after.values["mpjpe"] < 250
    assert "recall at 500 mm" in after.table and after.values["evaluated_frames"] == 12


def double(batch):
    return batch._map(lambda tensor: tensor.double() if tensor.is_floating_point() else tensor)


def test_gradients_of_one_step_in_double_precision(tmp_path):
    """Backpropagation through both networks against finite differences of the loss."""
    config = tiny_config(
        tmp_path,
        NETWORK={"USE_GT": True},
        LOSS={"CROSS_ENTROPY": 15.0},
        MULTI_PERSON={"INITIAL_CUBE_SIZE": [8, 8, 8]},
    )
    network = make_network(config).double()
    # The quiet output layers of a fresh network would hide errors in the layers before.
    for net in (network.model.root_net, network.model.pose_net):
        torch.nn.init.normal_(net.v2v_net.output_layer.weight, std=0.05)
    batch = double(first_batch(config))
    network.train()

    def loss():
        # Running statistics have no part in the loss of a training step.
        return network(batch).loss

    value = loss()
    value.backward()
    here = value.item()
    generator = torch.Generator().manual_seed(0)
    parameters = dict(network.named_parameters())
    assert all(p.dtype == p.grad.dtype == torch.float64 for p in parameters.values())
    # One random direction in some of the tensors, first and last layers among them.
    steep = 0
    for name in [*list(parameters)[::6], *(n for n in parameters if "output_layer" in n)]:
        parameter = parameters[name]
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        direction /= direction.norm()
        expected = (parameter.grad * direction).sum().item()
        # So small that next to no ReLU changes sides on the way.
        step = 1e-6
        with torch.no_grad():
            parameter.add_(direction, alpha=step)
            slope = (loss().item() - here) / step
            parameter.add_(direction, alpha=-step)
        assert slope == pytest.approx(expected, rel=2e-3, abs=1e-6), name
        steep += abs(expected) > 1e-4
    # Biases before a batch norm have no effect; the others do.
    assert steep > 20


def test_losses_are_the_papers(tmp_path):
    """The sum of the losses, from their definitions."""
    config = tiny_config(tmp_path, NETWORK={"USE_GT": True})
    network = make_network(config)
    batch = first_batch(config)
    outcome = network.train()(batch)
    distances = []
    for frame in range(len(batch)):
        joints = outcome.joints[outcome.scene == frame]
        truth = batch.joints[frame][batch.people[frame]]
        distances.append((joints - truth).abs().mean().item())
    assert outcome.loss_cord.item() == pytest.approx(np.mean(distances), rel=1e-5)

    axes = [
        np.linspace(c - s / 2, c + s / 2, n)
        for c, s, n in zip(network.grid.center, network.grid.size, network.grid.voxels, strict=True)
    ]
    voxels = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    errors = []
    for volume, sample in zip(outcome.root_volumes.numpy(), batch.samples, strict=True):
        roots = sample.poses[:, 2]  # panoptic15's mid-hip
        squared = ((voxels[None] - roots[:, None, None, None]) ** 2).sum(axis=-1)
        target = np.exp(-squared / (2 * 200.0**2)).max(axis=0)
        errors.append(((volume - target) ** 2).mean())
    assert outcome.loss_3d.item() == pytest.approx(np.mean(errors), rel=1e-4)
    assert outcome.loss_2d.item() == 0
    total = outcome.loss_3d.item() + outcome.loss_cord.item()
    assert outcome.loss.item() == pytest.approx(total)


def test_unlabelled_joints_do_not_count(tmp_path):
    config = tiny_config(tmp_path, NETWORK={"USE_GT": True})
    network = make_network(config)
    batch = first_batch(config)
    batch.visible[:] = 0
    assert network.train()(batch).loss_cord.item() == 0
    config.loss.use_target_weight = False
    assert network(batch).loss_cord.item() > 0


def test_proposals_near_people_are_trained_on(tmp_path):
    """Every proposal within 500 mm of somebody, however weak, and no other."""
    config = tiny_config(tmp_path)
    network = make_network(config)
    batch = first_batch(config)
    volumes = torch.zeros(len(batch), *network.grid.voxels)
    low = torch.tensor(network.grid.center) - torch.tensor(network.grid.size) / 2
    pitch = torch.tensor(network.grid.size) / (torch.tensor(network.grid.voxels) - 1)
    places = ((batch.roots[:, 0] - low) / pitch).round().long()
    far = (places[0] + torch.tensor([6, 6, 4])) % torch.tensor(network.grid.voxels)
    for frame, place in enumerate(places):
        volumes[frame][tuple(place)] = 0.01
    volumes[0][tuple(far)] = 1.0
    centers, scores, scene, person = network._matched_people(volumes, batch)
    nearest = (centers - batch.roots[scene, person]).norm(dim=1)
    assert (nearest <= 500).all()
    for frame in range(len(batch)):
        assert ((scene == frame) & (person == 0) & (scores == 0.01)).sum() == 1
    assert not (scores == 1.0).any()


def test_accumulated_batches_are_one_batch(tmp_path):
    gradients = []
    for size, accumulation in ((4, 1), (2, 2), (1, 4)):
        config = tiny_config(
            tmp_path,
            SYNTHETIC={"TRAIN_FRAMES": 4},
            TRAIN={"LR": 1.0, "BATCH_SIZE": size, "ACCUMULATION": accumulation},
        )
        network = make_network(config)
        freeze_batch_norm(network)
        before = {key: value.clone() for key, value in network.state_dict().items()}
        optimizer = torch.optim.SGD(network.parameters(), lr=config.train.lr)
        loader = train_loader(config)
        train_3d(network, optimizer, loader, 0, alone(config, tmp_path))
        gradients.append({key: before[key] - value for key, value in network.state_dict().items()})
    assert max(value.abs().max() for value in gradients[0].values()) > 0
    for other in gradients[1:]:
        same_state(gradients[0], other, rtol=1e-3, atol=1e-4)


def test_mixed_precision_is_close(tmp_path):
    losses = []
    for precision in ("float32", "bfloat16"):
        config = tiny_config(tmp_path, TRAIN={"PRECISION": precision}, NETWORK={"USE_GT": True})
        network = make_network(config).train()
        outcome = network(first_batch(config))
        outcome.loss.backward()
        assert all(p.grad.dtype == torch.float32 for p in network.parameters())
        losses.append(outcome.losses())
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
    assert losses[1] != losses[0]


def test_learning_rate_over_time(tmp_path):
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=1.0)

    def rates(**settings):
        config = tiny_config(tmp_path, TRAIN={"LR": 0.01, "END_EPOCH": 4, **settings})
        for epochs in (0.0, 1.0, 2.0, 4.0, 5.0):
            set_learning_rate(optimizer, config.train, epochs)
            yield optimizer.param_groups[0]["lr"]

    assert list(rates()) == [0.01] * 5
    expected = [0.01, 0.01 * (2 + 2**0.5) / 4, 0.005, 0.0, 0.0]
    assert list(rates(LR_DECAY="cosine")) == pytest.approx(expected)


# --- when something is wrong --------------------------------------------------------------------


def test_a_loss_that_is_no_number_stops_with_the_frames(tmp_path):
    config = tiny_config(tmp_path, TRAIN={"LR": 1e30}, SYNTHETIC={"TRAIN_FRAMES": 8})
    network = make_network(config)
    optimizer = torch.optim.Adam(network.parameters(), lr=config.train.lr)
    loader = train_loader(config)
    set_epoch(loader, 3)
    with pytest.raises(DivergedError) as caught:
        train_3d(network, optimizer, loader, 3, alone(config, tmp_path))
    message = str(caught.value)
    assert "epoch 3, batch 1" in message and "checkpoint" in message and "\n" not in message
    order = list(loader.sampler)
    assert f"(synthetic/3/{order[2]}, synthetic/3/{order[3]})" in message


def test_frames_that_cannot_be_read_are_left_out_and_counted(tmp_path, caplog):
    config = tiny_config(
        tmp_path, NETWORK={"USE_GT": True}, SYNTHETIC={"TRAIN_FRAMES": 7}, TRAIN={"LR": 1e-4}
    )
    network = make_network(config)
    optimizer = torch.optim.SGD(network.parameters(), lr=config.train.lr)
    loader = train_loader(config)
    order = list(loader.sampler)
    broken = {order[0], order[1], order[2], order[6]}  # a whole batch, a half, and the last
    read = loader.dataset.frames._read
    loader.dataset.frames.__class__ = type(
        "Broken",
        (type(loader.dataset.frames),),
        {"__getitem__": lambda _, i: None if i in broken else read(i)},
    )
    with caplog.at_level(logging.WARNING):
        losses = train_3d(network, optimizer, loader, 0, alone(config, tmp_path))
    assert "4 frames could not be read" in caplog.text
    assert 0 < losses["loss_cord"] < 1000


# --- images and backbone ------------------------------------------------------------------------


def write_panoptic(folder, frames=4):
    """A sequence whose images show a bright square at each joint of two people who stand still."""
    rig = tiny_rig()
    rng = np.random.default_rng(0)
    people = np.stack([rng.uniform([x, -300, 100], [x + 400, 300, 1600], (19, 3)) for x in (-900, 600)])
    name = "160906_pizza1"
    labels = folder / name / "hdPose3d_stage1_coco19"
    labels.mkdir(parents=True)
    cameras = [
        {
            "name": camera.name,
            "type": "hd",
            "panel": 0,
            "node": node,
            "resolution": list(camera.image_size),
            "K": camera.K.tolist(),
            "distCoef": [0.0] * 5,
            # Panoptic's world is y down and in centimetres.
            "R": (camera.R @ PANOPTIC_TO_Z_UP.T).tolist(),
            "t": (camera.t / 10).reshape(3, 1).tolist(),
        }
        for node, camera in enumerate(rig.cameras)
    ]
    (folder / name / f"calibration_{name}.json").write_text(json.dumps({"cameras": cameras}))
    recorded = people @ PANOPTIC_TO_Z_UP.T / 10
    bodies = [
        {"id": i, "joints19": np.hstack([pose, np.ones((19, 1))]).ravel().tolist()}
        for i, pose in enumerate(recorded)
    ]
    for frame in range(frames):
        (labels / f"body3DScene_{frame:08d}.json").write_text(json.dumps({"bodies": bodies}))
        for camera in rig.cameras:
            image = np.zeros((*camera.image_size[::-1], 3), np.uint8)
            for x, y in camera.project(people[:, :15].reshape(-1, 3))[0]:
                cv2.rectangle(image, (int(x) - 2, int(y) - 2), (int(x) + 2, int(y) + 2), (0, 255, 255), -1)
            path = folder / name / "hdImgs" / camera.name / f"{camera.name}_{frame:08d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), image)
    return people[:, :15]


def image_config(tmp_path, **train):
    return tiny_config(
        tmp_path,
        BACKBONE_MODEL="pose_resnet",
        POSE_RESNET={"NUM_LAYERS": 18, "NUM_DECONV_FILTERS": [16, 16, 16]},
        DATASET={
            "ROOT": str(tmp_path / "data"),
            "TRAIN_DATASET": "panoptic",
            "TEST_DATASET": "panoptic",
            "TRAIN_SUBSET": "all",
            "TEST_SUBSET": "validation",
        },
        TRAIN=train,
    )


@pytest.fixture
def cameras_of_tiny_rig(monkeypatch):
    from voxelpose_core.datasets import configured

    monkeypatch.setattr(configured, "CAMERAS", tiny_rig().names)


@pytest.mark.parametrize("train_backbone", [False, True])
def test_backbone_is_frozen_unless_it_is_to_be_trained(tmp_path, cameras_of_tiny_rig, train_backbone):
    people = write_panoptic(tmp_path / "data")
    config = image_config(tmp_path, BACKBONE=train_backbone)
    network = make_network(config)
    before = {k: v.clone() for k, v in network.model.backbone.state_dict().items()}
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=1e-3)
    loader = train_loader(config)
    batch = next(iter(loader))
    assert batch.images.shape == (2, 4, 3, 192, 256) and batch.keypoints is None
    np.testing.assert_allclose(batch.joints[0].numpy(), people, atol=0.1)
    assert batch.images.max() > 200  # yellow is red and green
    assert batch.images[:, :, 2].float().mean() < 0.5 * batch.images[:, :, 0].float().mean()
    losses = [train_3d(network, optimizer, loader, epoch, alone(config, tmp_path)) for epoch in range(3)]
    after = network.model.backbone.state_dict()
    changed = [key for key, value in before.items() if not torch.equal(value, after[key])]
    assert losses[0]["loss_2d"] > 0
    if train_backbone:
        # Down to the first layer; whether three epochs lower the loss depends on the processor's rounding.
        assert {"conv1.weight", "bn1.running_mean"} <= set(changed)
        assert losses[-1]["loss_2d"] != losses[0]["loss_2d"]
    else:
        assert changed == []
        assert losses[-1]["loss_2d"] == pytest.approx(losses[0]["loss_2d"], rel=1e-4)


# --- the scripts --------------------------------------------------------------------------------


def script_environment():
    package = Path(voxelpose_core.__file__).resolve().parents[1]
    path = os.pathsep.join(filter(None, [str(package), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


def run(*command):
    return subprocess.run(
        [sys.executable, *map(str, command)],
        capture_output=True,
        text=True,
        env=script_environment(),
        timeout=1500,
    )


def train(config_file, *overrides):
    result = run(SCRIPTS / "train_3d.py", "--cfg", config_file, *overrides)
    assert result.returncode == 0, result.stderr[-3000:]
    return result


def output_of(config_file):
    config = load_config(config_file)
    return Path(config.output_dir) / "synthetic" / "multi_person_posenet_50" / config_file.stem


# Writes half of the second checkpoint, then dies as if the power went.
_KILLED = """
import os, runpy, signal, sys, torch
save, written = torch.save, []
def dying_save(state, path):
    save(state, path)
    written.append(path)
    if sum(p.name.startswith("checkpoint") for p in written) == 2:
        with open(path, "r+b") as file:
            file.truncate(os.path.getsize(path) // 2)
        os.kill(os.getpid(), signal.SIGKILL)
torch.save = dying_save
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """A run of three epochs, with pictures and curves."""
    folder = tmp_path_factory.mktemp("unbroken")
    config_file = write_config(
        folder,
        PRINT_FREQ=2,
        TRAIN={"END_EPOCH": 3},
        DEBUG={"DEBUG": True, "SAVE_BATCH_IMAGES_GT": True},
    )
    return config_file, train(config_file)


def test_what_a_run_leaves(unbroken):
    config_file, result = unbroken
    folder = output_of(config_file)
    line = next(line for line in result.stdout.splitlines() if line.startswith("epoch 1 [2/4]"))
    for word in ("time", "data", "samples/s", "2D", "3D", "coordinates", "memory"):
        assert word in line
    assert "epoch 1 [2/4]" in (folder / "train.log").read_text()
    assert load_config(folder / "train.yaml") == load_config(config_file)
    for name in ("checkpoint.pth.tar", "model_best.pth.tar", "final_state.pth.tar"):
        assert (folder / name).stat().st_size > 1e6
    pictures = {path.name for path in (folder / "pictures").iterdir()}
    for kind in ("heatmaps", "proposals", "poses", "views"):
        assert f"train_002_000002_{kind}.png" in pictures
        assert f"validation_000000_{kind}.png" in pictures
    (events,) = (config_file.parent / "log").rglob("events.out.tfevents*")
    curves = EventAccumulator(str(events)).Reload()
    # Four steps an epoch, of which every second and the last are told.
    assert [e.step for e in curves.Scalars("train/loss_cord")] == [0, 2, 3, 4, 6, 7, 8, 10, 11]
    assert [e.step for e in curves.Scalars("epoch/precision")] == [0, 1, 2]
    assert not list(folder.glob("*.partial"))


def test_validation_of_the_best_model(unbroken):
    config_file, _ = unbroken
    folder = output_of(config_file)
    values = []
    for extra in ((), ("--checkpoint", folder / "model_best.safetensors")):
        result = run(SCRIPTS / "validate_3d.py", "--cfg", config_file, *extra)
        assert result.returncode == 0, result.stderr[-3000:]
        assert "AP" in result.stdout and "MPJPE" in result.stdout
        values.append(json.loads((folder / "validation.json").read_text()))
    first, second = values
    assert first["checkpoint"].endswith("model_best.pth.tar") and first["evaluated_frames"] == 4
    assert second["checkpoint"].endswith("model_best.safetensors")
    assert first["ap"] == second["ap"] and first["people"] == second["people"]


def test_a_run_killed_while_it_writes_goes_on_as_if_nothing_was(unbroken, tmp_path):
    """The unfinished file costs its epoch; weights then are those of the unbroken run."""
    config_file = write_config(tmp_path, TRAIN={"END_EPOCH": 3, "RESUME": True})
    killed = run("-c", _KILLED, SCRIPTS / "train_3d.py", "--cfg", config_file)
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-3000:]
    folder = output_of(config_file)
    assert (folder / "checkpoint.pth.tar.partial").is_file()
    assert not (folder / "final_state.pth.tar").exists()

    resumed = train(config_file)
    assert "going on after epoch 0" in resumed.stdout
    assert "epoch 1: loss" in resumed.stdout and "epoch 0: loss" not in resumed.stdout
    states = [
        torch.load(output_of(file) / "final_state.pth.tar", weights_only=True)
        for file in (unbroken[0], config_file)
    ]
    same_state(*states, rtol=1e-5, atol=1e-6)
    # The same losses, too.
    lines = [
        [line for line in stdout.splitlines() if line.startswith("epoch 2: loss")]
        for stdout in (unbroken[1].stdout, resumed.stdout)
    ]
    assert lines[0] == lines[1] and len(lines[0]) == 1


def test_a_run_that_diverges_keeps_its_checkpoint(unbroken):
    """Also: a resumed run has the learning rate of its configuration."""
    config_file, _ = unbroken
    checkpoint = output_of(config_file) / "checkpoint.pth.tar"
    before = checkpoint.read_bytes()
    overrides = ("TRAIN.RESUME=true", "TRAIN.END_EPOCH=4", "TRAIN.LR=1e30", "DEBUG.DEBUG=false")
    result = run(SCRIPTS / "train_3d.py", "--cfg", config_file, *overrides)
    assert result.returncode == 2
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert "epoch 3, batch 1 (synthetic/3/" in line and "Traceback" not in result.stderr
    assert checkpoint.read_bytes() == before


def train_a_share(config_file, folder):
    """What one process of the next test does; processes are told by torchrun's variables."""
    config = load_config(config_file)
    process = start_process(config)
    share = {"rank": process.rank, "processes": process.count}
    loader = make_loader(open_configured(config, True), config, True, False, **share)
    test_loader = make_loader(open_configured(config, False), config, False, False, **share)
    network = make_network(config)
    freeze_batch_norm(network)
    model = network.model
    optimizer = torch.optim.SGD(network.parameters(), lr=config.train.lr)
    if process.count > 1:
        network = DistributedDataParallel(network)
    experiment = Experiment(config, process, folder)
    losses = []
    for epoch in range(2):
        set_epoch(loader, epoch)
        losses.append(train_3d(network, optimizer, loader, epoch, experiment))
    evaluation = validate_3d(network, test_loader, experiment)
    every = process.gather([losses])
    if process.is_main:
        torch.save(model.state_dict(), folder / "state.pth")
    # The second process finds nothing readable, and the first must not wait for it.
    if process.rank == 1:
        dataset = loader.dataset
        dataset.__class__ = type("Broken", (type(dataset),), {"__getitem__": lambda *_: None})
    last = train_3d(network, optimizer, loader, 2, experiment)
    assert (last["loss"] == 0) == (process.rank == 1)
    if process.is_main:
        result = {"losses": every, "frames": evaluation.values["evaluated_frames"]}
        (folder / "result.json").write_text(json.dumps(result))
    process.close()


def test_two_processes_train_like_one_with_the_doubled_batch(tmp_path):
    """Over gloo. Batch norms are frozen: they see the frames of their own process only."""
    results, states = [], []
    for processes, batch in ((1, 2), (2, 1)):
        folder = tmp_path / f"{processes}"
        folder.mkdir()
        config_file = write_config(
            folder,
            SYNTHETIC={"TRAIN_FRAMES": 6, "TEST_FRAMES": 5},
            TRAIN={"LR": 1e-4, "BATCH_SIZE": batch},
            MULTI_PERSON={"MAX_PEOPLE_NUM": 2},
        )
        if processes == 1:
            train_a_share(config_file, folder)
        else:
            start = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", processes)
            result = run(*start, __file__, config_file, folder)
            assert result.returncode == 0, result.stderr[-3000:]
        results.append(json.loads((folder / "result.json").read_text()))
        states.append(torch.load(folder / "state.pth", weights_only=True))
    one, two = results
    assert len(two["losses"]) == 2 and one["frames"] == two["frames"] == 5
    for epoch, expected in enumerate(one["losses"][0]):
        for name, value in expected.items():
            both = np.mean([losses[epoch][name] for losses in two["losses"]])
            assert both == pytest.approx(value, rel=1e-4), (epoch, name)
    same_state(*states, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "overrides, words",
    [
        (["TRAIN.LRR=1"], ["TRAIN.LRR", "LR?"]),
        (["SYNTHETIC.RIG=nowhere.yaml"], ["nowhere.yaml"]),
    ],
)
def test_what_is_wrong_costs_one_line(tmp_path, monkeypatch, capsys, overrides, words):
    config_file = write_config(tmp_path)
    # The script sets the log up for its process.
    monkeypatch.setattr(logging.root, "handlers", [])
    monkeypatch.setattr(logging.root, "level", logging.root.level)
    monkeypatch.setattr(sys, "argv", ["train_3d.py", "--cfg", str(config_file), *overrides])
    assert run_command(runpy.run_path(str(SCRIPTS / "train_3d.py"))["main"]) == 2
    said = capsys.readouterr().err
    (line,) = [line for line in said.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in said
    for word in words:
        assert word in line


if __name__ == "__main__":
    train_a_share(sys.argv[1], Path(sys.argv[2]))
