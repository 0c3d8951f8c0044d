#!/usr/bin/env python3
"""Train weights for any rig, on procedural people in random rigs. No image, no recording.

    python training/train_universal.py --out weights/universal_small.safetensors

The two nets share nothing, so each trains in a process of its own, on scenes that are drawn anew at
every step (voxelpose_core/datasets/random_scenes.py): the pose net on one person of each scene, the
root net on a window of the capture space. The learning rate follows a cosine over `--steps`, or
over `--minutes` if those are over sooner. A killed run goes on from its last checkpoint with
--resume.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing

from voxelpose_core.config import load_config
from voxelpose_core.datasets.random_scenes import Scenes, sample_scenes
from voxelpose_core.errors import InputError
from voxelpose_core.memory import keep_freed_memory
from voxelpose_core.models.checkpoints import load_weights, save_weights
from voxelpose_core.models.cuboid_proposal import select_proposals
from voxelpose_core.models.losses import joint_loss, root_loss
from voxelpose_core.models.voxelpose import ProposalGrid, VoxelPose
from voxelpose_core.voxel import box_points, feature_volumes

NETS = ("root_net", "pose_net")
# Number of cameras of a scene, and how often it is drawn.
VIEW_COUNTS = {2: 0.10, 3: 0.25, 4: 0.25, 5: 0.20, 6: 0.10, 8: 0.10}
# The root net trains on windows of the capture space: it is convolutional, so that the place and
# the size of the whole do not matter. Voxels of the pitch of the configuration.
WINDOW_VOXELS = (40, 40, 16)
WINDOW_JITTER = (1500.0, 1500.0, 120.0)
# Standard deviation along each axis of the centres that the pose net is given, mm.
CENTER_JITTER = 90.0
WARMUP_STEPS = 50
CHECKPOINT_SECONDS = 240


def main() -> int:
    args = parse_args()
    make_model(args)  # bad arguments end here, in one line
    torch.multiprocessing.spawn(train_net, args=(args,), nprocs=len(NETS))

    model = make_model(args)
    notes: dict[str, Any] = {
        "command": "python training/train_universal.py " + " ".join(sys.argv[1:]),
        "torch": torch.__version__,
    }
    for net in NETS:
        result = torch.load(checkpoint_path(args, net, "done"), weights_only=True)
        getattr(model, net).load_state_dict(result["net"])
        notes[net] = json.loads(result["notes"])
    if args.init:
        notes["init"] = args.init
    save_weights(model, args.out, notes, half=True)
    for net in NETS:
        for kind in ("done", "resume"):
            checkpoint_path(args, net, kind).unlink(missing_ok=True)
    return 0


def train_net(rank: int, args: argparse.Namespace) -> None:
    """Train one of the nets to the end and leave it, with its notes, in a file."""
    name = NETS[rank]
    keep_freed_memory()
    torch.set_num_threads(args.threads or max(1, os.cpu_count() // len(NETS)))
    device = torch.device(args.device)
    model = make_model(args).to(device)
    # On CPUs with bfloat16 convolutions this layout saves a sixth of a step.
    net = getattr(model, name).to(memory_format=torch.channels_last_3d)
    loss_of = {"root_net": window_loss, "pose_net": pose_loss}[name]
    measure = {"root_net": measure_proposals, "pose_net": measure_joints}[name]
    optimizer = torch.optim.Adam(net.parameters(), lr=args.lr)
    generator = torch.Generator(device).manual_seed(1000 * args.seed + rank)
    first_step, minutes_before, log = 0, 0.0, []
    if args.resume:
        first_step, minutes_before, log = load_resume(args, name, net, optimizer, generator)

    start = last_save = time.monotonic()
    step, minutes, average = first_step, minutes_before, None
    while step < args.steps and minutes < args.minutes:
        progress = max(step / args.steps, minutes / args.minutes)
        warmup = min(1.0, (step + 1) / WARMUP_STEPS)
        for group in optimizer.param_groups:
            group["lr"] = args.lr * warmup * 0.5 * (1 + math.cos(math.pi * progress))

        net.train()
        scenes = sample_scenes(args.batch, draw_view_count(generator), generator)
        loss = loss_of(model, scenes, generator)
        if not math.isfinite(loss.item()):
            raise FloatingPointError(f"{name}: loss is {loss.item()} at step {step}")
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimizer.step()

        average = loss.item() if average is None else 0.98 * average + 0.02 * loss.item()
        if step % args.print_every == 0:
            entry = {"step": step, "minutes": minutes, "loss": average}
            if step % (10 * args.print_every) == 0:
                entry |= measure(model)
            log.append({key: round(value, 5) for key, value in entry.items()})
            print(name, json.dumps(log[-1]), flush=True)
        step += 1
        minutes = minutes_before + (time.monotonic() - start) / 60
        if time.monotonic() - last_save > CHECKPOINT_SECONDS:
            save_resume(args, name, step, minutes, log, net, optimizer, generator)
            last_save = time.monotonic()

    held_out = measure(model, batches=12)
    print(name, json.dumps(held_out), flush=True)
    notes = {
        "steps": step,
        "minutes": round(minutes, 1),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "held_out": held_out,
        "log": log,
    }
    state = {key: value.contiguous() for key, value in net.state_dict().items()}
    write_atomically(
        {"net": state, "notes": json.dumps(notes)}, checkpoint_path(args, name, "done")
    )


def make_model(args: argparse.Namespace) -> VoxelPose:
    """The same initial weights in every process."""
    if args.init:
        return load_weights(args.init)
    torch.manual_seed(args.seed)
    return VoxelPose(load_config(args.cfg))


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--cfg", default="config/universal/small.yaml")
    parser.add_argument("--out", required=True, help="weights to write, *.safetensors")
    parser.add_argument("--init", help="weights to start from, in place of random ones and --cfg")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop by then")
    parser.add_argument("--batch", type=int, default=8, help="scenes a step")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=0, help="a net; 0: half the cores")
    parser.add_argument("--print-every", type=int, default=20)
    parser.add_argument("--resume", action="store_true")
    return parser.parse_args()


def draw_view_count(generator: torch.Generator) -> int:
    weights = torch.tensor(list(VIEW_COUNTS.values()), device=generator.device)
    return list(VIEW_COUNTS)[int(torch.multinomial(weights, 1, generator=generator))]


def autocast(device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16)


def pose_loss(model: VoxelPose, scenes: Scenes, generator: torch.Generator) -> torch.Tensor:
    return pose_step(model, scenes, generator)[0]


def pose_step(model: VoxelPose, scenes: Scenes, generator: torch.Generator):
    """Loss and mean joint error of one person of each scene."""
    joints, centers, joint_views = pick_person(scenes, generator)
    scene = torch.arange(len(centers), device=centers.device)
    volumes = model.person_volumes(scenes.heatmaps, scenes.views, centers, scene)
    points = model.person_points(centers)
    with autocast(volumes.device):
        log_probability = model.pose_net.log_probability(volumes)
    half = torch.tensor(model.config.pict_struct.grid_size, device=points.device) / 2
    inside = ((joints - centers[:, None]).abs() < half).all(dim=-1)
    # What no view shows can only be guessed: it counts little. One view leaves the depth open.
    weights = torch.tensor([0.2, 0.6, 1.0], device=points.device)[joint_views.clamp(max=2)]
    return joint_loss(log_probability, points, joints, weights * inside)


def pick_person(scenes: Scenes, generator: torch.Generator):
    """joints (B, J, 3), jittered centre (B, 3) and views a joint (B, J) of one person a scene."""
    usable = scenes.valid & (scenes.person_views >= 2)
    order = torch.rand(usable.shape, generator=generator, device=usable.device)
    index = (order + usable).argmax(dim=1)
    scene = torch.arange(len(index), device=index.device)
    jitter = torch.randn(len(index), 3, generator=generator, device=index.device) * CENTER_JITTER
    centers = scenes.roots[scene, index] + jitter
    return scenes.joints[scene, index], centers, scenes.joint_views[scene, index]


def window_volumes(model: VoxelPose, scenes: Scenes, generator: torch.Generator):
    """Feature volumes and voxel positions of a window around people in each scene."""
    pitch = model.config.multi_person.voxel_pitch
    size = tuple(pitch * (count - 1) for count in WINDOW_VOXELS)
    centers = scenes.focus.clone()
    centers[:, 2] = 1000.0
    jitter = 2 * torch.rand(centers.shape, generator=generator, device=centers.device) - 1
    centers = centers + jitter * torch.tensor(WINDOW_JITTER, device=centers.device)
    scene = torch.arange(len(centers), device=centers.device)
    volumes = feature_volumes(scenes.heatmaps, scenes.views, centers, scene, size, WINDOW_VOXELS)
    return volumes, centers, size


def window_loss(model: VoxelPose, scenes: Scenes, generator: torch.Generator) -> torch.Tensor:
    volumes, centers, size = window_volumes(model, scenes, generator)
    with autocast(volumes.device):
        root_volumes = model.root_net(volumes)
    # A person whom one view alone shows could stand anywhere along a ray.
    findable = scenes.valid & (scenes.person_views >= 2)
    points = box_points(centers, size, WINDOW_VOXELS)
    return root_loss(root_volumes.float(), points, scenes.roots, findable)


def held_out_scenes(device: torch.device, batches: int):
    """Scenes of 3, 4 and 5 views that no training seed draws, and their generator."""
    generator = torch.Generator(device).manual_seed(2**40)
    for batch in range(batches):
        yield sample_scenes(8, 3 + batch % 3, generator), generator


@torch.inference_mode()
def measure_joints(model: VoxelPose, batches: int = 4) -> dict[str, float]:
    """Mean joint error at jittered true centres, mm."""
    model.eval()
    errors = [
        pose_step(model, scenes, generator)[1].item()
        for scenes, generator in held_out_scenes(model.device, batches)
    ]
    return {"joint_error_mm": sum(errors) / len(errors)}


@torch.inference_mode()
def measure_proposals(model: VoxelPose, batches: int = 4) -> dict[str, float]:
    """Recall of people whom two views or more detect, and proposals where nobody is."""
    model.eval()
    found, people, phantoms = 0, 0, 0
    for scenes, generator in held_out_scenes(model.device, batches):
        volumes, centers, size = window_volumes(model, scenes, generator)
        with autocast(model.device):
            root_volumes = model.root_net(volumes).float()
        for index in range(len(centers)):
            grid = ProposalGrid(tuple(centers[index].tolist()), size, WINDOW_VOXELS)
            hits, inside, false = match_proposals(
                root_volumes[index : index + 1], grid, scenes, index
            )
            found, people, phantoms = found + hits, people + inside, phantoms + false
    return {
        "recall": found / max(people, 1),
        "phantoms_per_scene": phantoms / (8 * batches),
    }


def match_proposals(root_volume, grid: ProposalGrid, scenes: Scenes, index: int):
    """Hits, findable people inside the window, and proposals near nobody."""
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


def checkpoint_path(args: argparse.Namespace, net: str, kind: str) -> Path:
    return Path(args.out).with_suffix(f".{net}.{kind}.pt")


def write_atomically(state: dict[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, path)


def save_resume(args, name, step, minutes, log, net, optimizer, generator) -> None:
    state = {
        "step": step,
        "minutes": minutes,
        "log": json.dumps(log),
        "net": net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "generator": generator.get_state(),
    }
    write_atomically(state, checkpoint_path(args, name, "resume"))


def load_resume(args, name, net, optimizer, generator) -> tuple[int, float, list]:
    path = checkpoint_path(args, name, "resume")
    if not path.is_file():
        raise InputError(f"--resume: no checkpoint at {path}")
    state = torch.load(path, weights_only=True)
    net.load_state_dict(state["net"])
    optimizer.load_state_dict(state["optimizer"])
    generator.set_state(state["generator"])
    return state["step"], state["minutes"], json.loads(state["log"])


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
