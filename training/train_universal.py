#!/usr/bin/env python3
"""Train weights for any rig, on procedural people in random rigs. No image, no recording.

    python training/train_universal.py --out weights/universal_small.safetensors

Every step draws new scenes (voxelpose_core/datasets/random_scenes.py), trains the pose net on one
person of each, and every second step the root net on a window of the capture space around it. The
learning rate follows a cosine over `--steps`, or over `--minutes` if those are over sooner. A killed
run goes on from its last checkpoint with --resume.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from pathlib import Path

import torch

from voxelpose_core.config import load_config
from voxelpose_core.datasets.random_scenes import Scenes, sample_scenes
from voxelpose_core.errors import InputError
from voxelpose_core.memory import keep_freed_memory
from voxelpose_core.models.checkpoints import save_weights
from voxelpose_core.models.cuboid_proposal import select_proposals
from voxelpose_core.models.losses import joint_loss, root_loss
from voxelpose_core.models.voxelpose import ProposalGrid, VoxelPose
from voxelpose_core.voxel import box_points, feature_volumes

# Number of cameras of a scene, and how often it is drawn.
VIEW_COUNTS = {2: 0.10, 3: 0.25, 4: 0.25, 5: 0.20, 6: 0.10, 8: 0.10}
# The root net trains on windows of the capture space: it is convolutional, so that the place and
# the size of the whole do not matter. Voxels of the pitch of the configuration.
WINDOW_VOXELS = (40, 40, 16)
WINDOW_JITTER = (1500.0, 1500.0, 120.0)
# Standard deviation along each axis of the centres that the pose net is given, mm.
CENTER_JITTER = 90.0
WARMUP_STEPS = 50


def main() -> int:
    args = parse_args()
    config = load_config(args.cfg)
    keep_freed_memory()
    torch.set_num_threads(args.threads or os.cpu_count())
    torch.manual_seed(args.seed)
    device = torch.device(args.device)
    model = VoxelPose(config).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
    generator = torch.Generator(device).manual_seed(args.seed)
    out = Path(args.out)
    resume_file = out.with_suffix(".resume.pt")
    first_step, minutes_before, log = 0, 0.0, []
    if args.resume:
        first_step, minutes_before, log = load_resume(resume_file, model, optimizer, generator)

    start = last_save = time.monotonic()
    running: dict[str, float] = {}
    for step in range(first_step, args.steps):
        minutes = minutes_before + (time.monotonic() - start) / 60
        progress = max(step / args.steps, minutes / args.minutes)
        if progress >= 1:
            break
        warmup = min(1.0, (step + 1) / WARMUP_STEPS)
        for group in optimizer.param_groups:
            group["lr"] = args.lr * warmup * 0.5 * (1 + math.cos(math.pi * progress))

        scenes = sample_scenes(args.batch, draw_view_count(generator), generator)
        losses = train_step(model, optimizer, scenes, generator, with_root=step % 2 == 0)
        for key, value in losses.items():
            running[key] = 0.98 * running.get(key, value) + 0.02 * value

        if step % args.print_every == 0 or step == args.steps - 1:
            entry = {"step": step, "minutes": round(minutes, 2), **running}
            if step % (10 * args.print_every) == 0:
                entry |= evaluate(model, config)
            log.append(entry)
            print(json.dumps({k: round(v, 5) for k, v in entry.items()}), flush=True)
        if time.monotonic() - last_save > 240:
            save_resume(resume_file, step + 1, minutes, log, model, optimizer, generator)
            last_save = time.monotonic()

    minutes = minutes_before + (time.monotonic() - start) / 60
    final = evaluate(model, config, batches=12)
    print(json.dumps(final), flush=True)
    notes = {
        "command": "python training/train_universal.py " + " ".join(sys.argv[1:]),
        "steps": step + 1,
        "minutes": round(minutes, 1),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "torch": torch.__version__,
        "held_out": final,
        "log": log,
    }
    save_weights(model, out, notes, half=True)
    resume_file.unlink(missing_ok=True)
    return 0


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--cfg", default="config/universal/small.yaml")
    parser.add_argument("--out", required=True, help="weights to write, *.safetensors")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop by then")
    parser.add_argument("--batch", type=int, default=8, help="scenes a step")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads, 0: all cores")
    parser.add_argument("--print-every", type=int, default=20)
    parser.add_argument("--resume", action="store_true")
    return parser.parse_args()


def draw_view_count(generator: torch.Generator) -> int:
    weights = torch.tensor(list(VIEW_COUNTS.values()), device=generator.device)
    return list(VIEW_COUNTS)[int(torch.multinomial(weights, 1, generator=generator))]


def autocast(device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16)


def train_step(
    model: VoxelPose,
    optimizer: torch.optim.Optimizer,
    scenes: Scenes,
    generator: torch.Generator,
    with_root: bool,
) -> dict[str, float]:
    """One optimizer step; the two nets share nothing, so their losses are simply added."""
    model.train()
    losses = {}
    loss, error = pose_step(model, scenes, generator)
    losses |= {"pose_loss": loss.item(), "joint_error_mm": error.item()}
    if with_root:
        root = window_loss(model, scenes, generator)
        losses["root_loss"] = root.item()
        loss = loss + root
    if not math.isfinite(loss.item()):
        raise FloatingPointError(f"loss is {loss.item()}: {losses}")
    optimizer.zero_grad()
    loss.backward()
    for net in (model.root_net, model.pose_net):
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
    optimizer.step()
    return losses


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


@torch.inference_mode()
def evaluate(model: VoxelPose, config, batches: int = 4, seed: int = 10_000) -> dict[str, float]:
    """Joint error, and recall and phantoms of proposals, on held-out scenes of 3, 4 and 5 views."""
    model.eval()
    device = model.device
    generator = torch.Generator(device).manual_seed(seed)
    errors, found, people, phantoms = [], 0, 0, 0
    for batch in range(batches):
        scenes = sample_scenes(8, 3 + batch % 3, generator)
        errors.append(pose_step(model, scenes, generator)[1].item())
        volumes, centers, size = window_volumes(model, scenes, generator)
        with autocast(device):
            root_volumes = model.root_net(volumes).float()
        for index in range(len(centers)):
            grid = ProposalGrid(tuple(centers[index].tolist()), size, WINDOW_VOXELS)
            hits, inside, false = match_proposals(root_volumes[index : index + 1], grid, scenes, index)
            found, people, phantoms = found + hits, people + inside, phantoms + false
    return {
        "eval_joint_error_mm": sum(errors) / len(errors),
        "eval_recall": found / max(people, 1),
        "eval_phantoms_per_scene": phantoms / (8 * batches),
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


def save_resume(path: Path, step, minutes, log, model, optimizer, generator) -> None:
    state = {
        "step": step,
        "minutes": minutes,
        "log": json.dumps(log),
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "generator": generator.get_state(),
    }
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, path)


def load_resume(path: Path, model, optimizer, generator):
    if not path.is_file():
        raise InputError(f"--resume: no checkpoint at {path}")
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    generator.set_state(state["generator"])
    return state["step"], state["minutes"], json.loads(state["log"])


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
