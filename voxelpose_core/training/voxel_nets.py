"""Training both nets on scenes that are drawn anew at every step; no recording is needed.

The nets share nothing, so each trains in a process of its own: the pose net on the people of the
scenes, the root net on a window of the capture space per scene. The learning rate follows a cosine over the
steps, or over the minutes if those are over sooner. `training/train_universal.py` and
`training/train_for_rig.py` are this with different scenes.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing

from voxelpose_core.allocator import keep_freed_memory
from voxelpose_core.datasets.random_scenes import Scenes
from voxelpose_core.devices import select_device
from voxelpose_core.errors import InputError
from voxelpose_core.models.checkpoints import save_weights
from voxelpose_core.models.cuboid_proposal import select_proposals
from voxelpose_core.models.losses import joint_loss, root_loss
from voxelpose_core.models.voxelpose import ProposalGrid, VoxelPose
from voxelpose_core.processor import device_name, native_dtype
from voxelpose_core.training.checkpoints import load_resume, require_resume, save_resume, save_whole
from voxelpose_core.training.options import TrainingOptions, add_training_options
from voxelpose_core.voxel import Boxes, box_points, feature_volumes

NETS = ("root_net", "pose_net")
# The root net trains on windows of the capture space: it is convolutional, so that the place and
# the size of the whole do not matter. Voxels of the pitch of the configuration.
WINDOW_VOXELS = (40, 40, 16)
WINDOW_JITTER = (1500.0, 1500.0, 120.0)
# Height of a window's middle above the ground, mm.
WINDOW_HEIGHT = 1000.0
# Standard deviation along each axis of the centres that the pose net is given, mm.
CENTER_JITTER = 90.0
# People that the pose net sees per scene of a step. Somewhat more than an average scene has usable
# ones, so that all are used; a constant number, so that memory is bounded and cuDNN meets one shape.
PEOPLE_PER_SCENE = 2
# Scenes per step. A GPU takes 128 (config/universal/small.yaml on an H100 of 80 GB), or as many as
# its memory holds: both nets together keep 145 MB of activations per scene, drawing it takes as much.
BATCH_CPU, BATCH_GPU = 8, 128
GPU_BYTES_PER_SCENE = 300e6
WARMUP_STEPS = 50
CHECKPOINT_SECONDS = 240
# Draws scenes on the generator's device: (count, generator) -> Scenes.
SceneSource = Callable[[int, torch.Generator], Scenes]


def add_arguments(parser: argparse.ArgumentParser, steps: int, minutes: float, lr: float) -> None:
    """The command line of a training of the voxel nets, with its defaults."""
    batch = f"{BATCH_CPU} on a CPU; on a GPU {BATCH_GPU}, or as many as fit"
    threads = "CPU threads of each net; 0: half the cores (default)"
    add_training_options(parser, steps=steps, minutes=minutes, lr=lr, batch=batch, threads=threads)


def train_nets(
    options: TrainingOptions,
    make_model: Callable[[], VoxelPose],
    make_scenes: Callable[[], SceneSource],
) -> None:
    """Train both nets, side by side, and write the weights with the command and each net's log.

    Args:
        options: how long, how fast and where.
        make_model: the model to start from, the same in every process; can be pickled.
        make_scenes: what it learns from; can be pickled.

    Raises:
        InputError: an unknown device, --resume without a checkpoint, no memory for the batch, or
            what the two functions refuse.
    """
    device = select_device(options.device)
    batch = options.batch or default_batch(device)
    options = dataclasses.replace(options, device=str(device), batch=batch)
    # Bad arguments end here, in one line, not in a process each.
    model = make_model()
    make_scenes()
    for net in NETS if options.resume else ():
        require_resume(checkpoint_path(options, net, "resume"))
    try:
        torch.multiprocessing.spawn(train_net, (options, make_model, make_scenes), nprocs=len(NETS))
    except torch.multiprocessing.ProcessRaisedException as error:
        if "OutOfMemoryError" not in str(error):
            raise
        raise InputError(
            f"--batch {batch}: {options.device} has no memory for so many scenes per step, expected "
            f"fewer: try --batch {max(1, batch // 2)}"
        ) from error
    notes: dict[str, Any] = {
        "command": f"python training/{Path(sys.argv[0]).name} {' '.join(sys.argv[1:])}",
        "torch": torch.__version__,
    }
    for net in NETS:
        result = torch.load(checkpoint_path(options, net, "done"), "cpu", weights_only=True)
        getattr(model, net).load_state_dict(result["net"])
        notes[net] = json.loads(result["notes"])
    save_weights(model, options.out, notes, half=True)
    for net in NETS:
        for kind in ("done", "resume"):
            checkpoint_path(options, net, kind).unlink(missing_ok=True)
    print(f"written: {options.out}")


def train_net(rank: int, options: TrainingOptions, make_model, make_scenes) -> None:
    """Train one of the nets to the end and leave it, with its notes, in a file."""
    name = NETS[rank]
    keep_freed_memory()
    torch.set_num_threads(options.threads or max(1, (os.cpu_count() or 1) // len(NETS)))
    device = torch.device(options.device)
    # Every step has the same shapes, so that trying all of cuDNN's convolutions once pays.
    torch.backends.cudnn.benchmark = True
    model, scenes_of = make_model().to(device), make_scenes()
    # On CPUs with bfloat16 convolutions this layout saves a sixth of a step.
    net = getattr(model, name).to(memory_format=torch.channels_last_3d)
    loss_of = {"root_net": window_loss, "pose_net": pose_loss}[name]
    measure = {"root_net": measure_proposals, "pose_net": measure_joints}[name]
    optimizer = torch.optim.Adam(net.parameters(), lr=options.lr)
    generator = torch.Generator(device).manual_seed(1000 * options.seed + rank)
    resume_file = checkpoint_path(options, name, "resume")
    done: dict[str, Any] = {"step": 0, "minutes": 0.0, "log": []}
    if options.resume:
        done = load_resume(resume_file, net, optimizer, generator)

    start = last_save = time.monotonic()
    step, minutes, log, average = done["step"], done["minutes"], done["log"], None
    while step < options.steps and minutes < options.minutes:
        for group in optimizer.param_groups:
            group["lr"] = options.learning_rate(step, minutes, WARMUP_STEPS)

        net.train()
        loss = loss_of(model, scenes_of(options.batch, generator), generator)
        if not math.isfinite(loss.item()):
            raise FloatingPointError(f"{name}: loss is {loss.item()} at step {step}")
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        if not math.isfinite(norm):
            raise FloatingPointError(f"{name}: gradient is {norm} at step {step}")
        optimizer.step()

        average = loss.item() if average is None else 0.98 * average + 0.02 * loss.item()
        if step % options.print_every == 0:
            entry = {"step": step, "minutes": minutes, "loss": average}
            if step % (10 * options.print_every) == 0:
                entry |= measure(model, scenes_of, -(-options.held_out // 3))
            log.append({key: round(value, 5) for key, value in entry.items()})
            print(name, json.dumps(log[-1]), flush=True)
        step += 1
        minutes = done["minutes"] + (time.monotonic() - start) / 60
        if time.monotonic() - last_save > CHECKPOINT_SECONDS:
            reached = {"step": step, "minutes": minutes, "log": log}
            save_resume(resume_file, net, optimizer, generator, reached)
            last_save = time.monotonic()

    held_out = measure(model, scenes_of, options.held_out)
    print(name, json.dumps(held_out), flush=True)
    notes = {
        "steps": step,
        "minutes": round(minutes, 1),
        "batch": options.batch,
        "device": device_name(device),
        "held_out": held_out,
        "log": log,
    }
    state = {key: value.contiguous() for key, value in net.state_dict().items()}
    result = {"net": state, "notes": json.dumps(notes)}
    save_whole(result, checkpoint_path(options, name, "done"))


def default_batch(device: torch.device) -> int:
    """Scenes per step: a GPU computes many at once, a CPU takes longer for each."""
    if device.type == "cpu":
        return BATCH_CPU
    memory = torch.cuda.get_device_properties(device).total_memory
    return max(BATCH_CPU, min(BATCH_GPU, int(memory / GPU_BYTES_PER_SCENE)))


def autocast(device: torch.device) -> torch.autocast:
    """Convolutions in bfloat16 where the hardware multiplies it, as in inference."""
    native = native_dtype(device) == torch.bfloat16
    return torch.autocast(device.type, torch.bfloat16, enabled=native)


def pose_loss(model: VoxelPose, scenes: Scenes, generator: torch.Generator) -> torch.Tensor:
    """(), loss of the pose net: see `pose_step`."""
    return pose_step(model, scenes, generator)[0]


def pose_step(model: VoxelPose, scenes: Scenes, generator: torch.Generator):
    """Loss and mean joint error, mm, of people of the scenes."""
    scene, person = pick_people(scenes, generator, PEOPLE_PER_SCENE * len(scenes.valid))
    jitter = torch.randn(len(scene), 3, generator=generator, device=scene.device) * CENTER_JITTER
    centers = scenes.roots[scene, person] + jitter
    joints, joint_views = scenes.joints[scene, person], scenes.joint_views[scene, person]
    volumes = model.person_volumes(scenes.heatmaps, scenes.views, centers, scene)
    points = model.person_points(centers)
    with autocast(volumes.device):
        log_probability = model.pose_net.log_probability(volumes)
    half = torch.tensor(model.config.pict_struct.grid_size, device=points.device) / 2
    inside = ((joints - centers[:, None]).abs() < half).all(dim=-1)
    # What no view shows can only be guessed: it counts little. One view leaves the depth open.
    weights = torch.tensor([0.2, 0.6, 1.0], device=points.device)[joint_views.clamp(max=2)]
    return joint_loss(log_probability, points, joints, weights * inside)


def pick_people(scenes: Scenes, generator: torch.Generator, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Indices of scene (count,) and person (count,) of people that two views or more detect, in random order.

    Fewer than `count` are repeated, each as often as the others to within one; of more, `count` are
    drawn. Where no scene has any, everybody is usable.
    """
    usable = scenes.valid & (scenes.person_views >= 2)
    scene, person = (usable if usable.any() else scenes.valid).nonzero(as_tuple=True)
    order = torch.randperm(len(scene), generator=generator, device=scene.device)
    chosen = order[torch.arange(count, device=order.device) % len(order)]
    return scene[chosen], person[chosen]


def window_volumes(model: VoxelPose, scenes: Scenes, generator: torch.Generator):
    """Feature volumes and voxel positions of a window around people in each scene."""
    pitch = model.config.multi_person.voxel_pitch
    assert pitch is not None  # of fixed grids there are no windows
    size = tuple(pitch * (count - 1) for count in WINDOW_VOXELS)
    centers = scenes.focus.clone()
    centers[:, 2] = scenes.floor + WINDOW_HEIGHT
    jitter = 2 * torch.rand(centers.shape, generator=generator, device=centers.device) - 1
    centers = centers + jitter * torch.tensor(WINDOW_JITTER, device=centers.device)
    scene = torch.arange(len(centers), device=centers.device)
    windows = Boxes(centers, scene, size, WINDOW_VOXELS)
    volumes = feature_volumes(scenes.heatmaps, scenes.views, windows)
    return volumes, centers, size


def window_loss(model: VoxelPose, scenes: Scenes, generator: torch.Generator) -> torch.Tensor:
    """(), loss of the root net in windows (B, X, Y, Z) of the scenes: see `window_volumes`."""
    volumes, centers, size = window_volumes(model, scenes, generator)
    with autocast(volumes.device):
        root_volumes = model.root_net(volumes)
    # A person that one view alone shows could stand anywhere along a ray.
    findable = scenes.valid & (scenes.person_views >= 2)
    points = box_points(centers, size, WINDOW_VOXELS)
    return root_loss(root_volumes.float(), points, scenes.roots, findable)


def held_out_scenes(scenes_of: SceneSource, device: torch.device, batches: int):
    """Batches of scenes that no training seed draws, and their generator."""
    generator = torch.Generator(device).manual_seed(2**40)
    for _ in range(batches):
        yield scenes_of(8, generator), generator


@torch.inference_mode()
def measure_joints(model: VoxelPose, scenes_of: SceneSource, batches: int) -> dict[str, float]:
    """Mean joint error of people that two views or more detect, at jittered true centres, mm."""
    model.eval()
    errors = [
        pose_step(model, scenes, generator)[1].item()
        for scenes, generator in held_out_scenes(scenes_of, model.device, batches)
    ]
    return {"joint_error_mm": sum(errors) / len(errors)}


@torch.inference_mode()
def measure_proposals(model: VoxelPose, scenes_of: SceneSource, batches: int) -> dict[str, float]:
    """Recall of people that two views or more detect, and false positives."""
    model.eval()
    found, people, false_positives = 0, 0, 0
    for scenes, generator in held_out_scenes(scenes_of, model.device, batches):
        volumes, centers, size = window_volumes(model, scenes, generator)
        with autocast(model.device):
            root_volumes = model.root_net(volumes).float()
        for index in range(len(centers)):
            grid = ProposalGrid(tuple(centers[index].tolist()), size, WINDOW_VOXELS)
            hits, inside, false = match_proposals(root_volumes[index : index + 1], grid, scenes, index)
            found, people, false_positives = found + hits, people + inside, false_positives + false
    return {
        "recall": found / max(people, 1),
        "false_positives_per_scene": false_positives / (8 * batches),
    }


def match_proposals(root_volume, grid: ProposalGrid, scenes: Scenes, index: int):
    """Hits, findable people inside the window, and proposals near no person."""
    proposals = select_proposals(root_volume, grid.center, grid.size, 10, 0.3)
    centers = proposals.centers[0][proposals.valid[0]]
    half = centers.new_tensor(grid.size) / 2
    offset = (scenes.roots[index] - centers.new_tensor(grid.center)).abs()
    findable = scenes.valid[index] & (scenes.person_views[index] >= 2) & (offset < half).all(dim=-1)
    people = scenes.roots[index][findable]
    everyone = scenes.roots[index][scenes.valid[index]]
    hits = (torch.cdist(people, centers) < 300).any(dim=1).sum() if len(centers) else 0
    false = (torch.cdist(centers, everyone) > 500).all(dim=1).sum() if len(centers) else 0
    return int(hits), len(people), int(false)


def checkpoint_path(options: TrainingOptions, net: str, kind: str) -> Path:
    """Where a net leaves what --resume needs ("resume") or its result ("done")."""
    return options.out.with_suffix(f".{net}.{kind}.pt")
