"""Training the ray model on scenes that are drawn anew at every step; no recording is needed.

One process, everything on the training device. Candidates are the model's own proposals: those near
somebody learn poses, all of them learn confidence. The learning rate follows a cosine over the steps, or
over the minutes if those are over sooner.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from voxelpose_core.allocator import keep_freed_memory
from voxelpose_core.datasets.ray_scenes import RayScenes, RaySource, previous_poses
from voxelpose_core.devices import select_device
from voxelpose_core.models.checkpoints import save_weights
from voxelpose_core.models.ray_confidence import confidence_logits, fits, suppress, visibility
from voxelpose_core.models.ray_pose import Poses, RayPose
from voxelpose_core.models.ray_solver import UNIT, apply_symmetric
from voxelpose_core.models.rays import propose
from voxelpose_core.skeletons import COCO17
from voxelpose_core.training.checkpoints import load_resume, save_resume
from voxelpose_core.training.options import TrainingOptions, add_training_options

# A candidate so near to a person learns that person's pose; one whose pose is farther than FAR from
# everyone, in the mean of its joints, is a false positive, one nearer than CLOSE a person, mm.
NEAR, CLOSE, FAR = 350.0, 250.0, 450.0
# Candidates per scene in training.
CANDIDATES = 10
CENTER_JITTER = 40.0
# How much the joints after each stage count, the last stage last.
STAGE_WEIGHTS = (0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.5, 1.0)
# What a joint counts that no view detected, one view, two or more.
VIEW_WEIGHTS = (0.2, 0.6, 1.0)
# Share of the candidates that come with a pose of the last frame.
LAST_SHARE = 0.45
# Candidates per scene at places that people left, and their standard deviation from people, mm.
LEFT, LEFT_DEVIATION = 1, 800.0
# Degrees of freedom of the distribution of a joint's error.
FREEDOM = 6.0
# Scenes per step.
BATCH_CPU, BATCH_GPU = 24, 256
WARMUP_STEPS = 100
CHECKPOINT_SECONDS = 180


@dataclass(frozen=True)
class Candidates:
    """M candidates of B scenes.

    Attributes:
        centers: (M, 3), mm.
        scene: (M,).
        person: (M,) the nearest person of the scene.
        near: (M,) bool, that person is within 350 mm.
    """

    centers: torch.Tensor
    scene: torch.Tensor
    person: torch.Tensor
    near: torch.Tensor


def roots_of(joints: torch.Tensor) -> torch.Tensor:
    """Mid-hips (..., 3), mm, of joints (..., J, 3), mm."""
    return joints[..., list(COCO17.root), :].mean(dim=-2)


@torch.no_grad()
def draw_candidates(scenes: RayScenes, generator: torch.Generator) -> Candidates:
    """The model's own proposals, places near people that none of them finds, and places that people left."""
    proposals = propose(scenes.rays, CANDIDATES)
    centers = proposals.centers
    centers = centers + CENTER_JITTER * torch.randn(
        centers.shape, generator=generator, device=generator.device
    )
    roots = roots_of(scenes.joints)
    distance = (centers[:, :, None] - roots[:, None]).norm(dim=-1)
    distance = distance.masked_fill(~scenes.valid[:, None], torch.inf)
    distance = distance.masked_fill((proposals.votes == 0)[..., None], torch.inf)
    missed = scenes.valid & (scenes.person_views >= 2) & (distance.amin(dim=1) > NEAR)
    jitter = 90.0 * torch.randn(roots.shape, generator=generator, device=generator.device)
    scene, slot = (proposals.votes > 0).nonzero(as_tuple=True)
    missed_scene, missed_person = missed.nonzero(as_tuple=True)
    gap, person = distance[scene, slot].min(dim=1)
    left, left_scene = _places_left(roots, scenes.valid, generator)
    left_gaps = (left[:, None] - roots[left_scene]).norm(dim=-1)
    left_gap, left_person = left_gaps.masked_fill(~scenes.valid[left_scene], torch.inf).min(dim=1)
    return Candidates(
        torch.cat([centers[scene, slot], (roots + jitter)[missed_scene, missed_person], left]),
        torch.cat([scene, missed_scene, left_scene]),
        torch.cat([person, missed_person, left_person]),
        torch.cat([gap < NEAR, torch.ones_like(missed_scene, dtype=torch.bool), left_gap < NEAR]),
    )


def _places_left(
    roots: torch.Tensor, valid: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Places (L, 3) on the ground near people with mid-hips `roots` (B, P, 3), and their scenes (L,)."""
    some, _ = valid.nonzero(as_tuple=True)
    scene = some.unique().repeat(LEFT)
    chosen = torch.multinomial(valid[scene].to(roots.dtype), 1, generator=generator)[:, 0]
    shift = torch.randn(len(scene), 3, generator=generator, device=generator.device)
    return roots[scene, chosen] + shift * shift.new_tensor([LEFT_DEVIATION, LEFT_DEVIATION, 50.0]), scene


def run(
    model: RayPose,
    scenes: RayScenes,
    candidates: Candidates,
    generator: torch.Generator | None = None,
    last_share: float = LAST_SHARE,
) -> Poses:
    """Poses of all candidates; gradients only of those near a person.

    With a generator `last_share` of the candidates have a pose of the last frame.
    """
    near = candidates.near
    order = torch.cat([near.nonzero()[:, 0], (~near).nonzero()[:, 0]])
    back = torch.empty_like(order)
    back[order] = torch.arange(len(order), device=order.device)
    first, rest = order.split([int(near.sum()), int((~near).sum())])
    last = has_last = None
    if generator is not None:
        last, has_last = draw_last_poses(model, scenes, candidates, last_share, generator)
    parts = []
    for part, grad in ((first, torch.is_grad_enabled()), (rest, False)):
        with torch.set_grad_enabled(grad):
            parts.append(
                model(
                    scenes.rays,
                    candidates.centers[part],
                    candidates.scene[part],
                    None if last is None else last[part],
                    None if has_last is None else has_last[part],
                )
            )
    stages = tuple(torch.cat(pair)[back] for pair in zip(*(p.stages for p in parts), strict=True))
    joined = {
        name: torch.cat([getattr(part, name) for part in parts])[back]
        for name in ("joints", "precision", "log_scale", "embedding")
    }
    return Poses(stages=stages, **joined)


@torch.no_grad()
def draw_last_poses(
    model: RayPose, scenes: RayScenes, candidates: Candidates, share: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Poses of the last frame (M, J, 3), mm, of the candidates, and which have one (M,)."""
    found = model(scenes.rays, candidates.centers, candidates.scene).joints
    people = scenes.joints[candidates.scene, candidates.person]
    return previous_poses(found, people, candidates.near, share, generator)


def losses(
    model: RayPose, scenes: RayScenes, candidates: Candidates, poses: Poses
) -> dict[str, torch.Tensor]:
    """The parts of the loss, () each: "joints", "uncertainty", "confidence"."""
    near = candidates.near
    truth = scenes.joints[candidates.scene, candidates.person][near]
    views = scenes.joint_views[candidates.scene, candidates.person][near].clamp(max=2)
    weights = truth.new_tensor(VIEW_WEIGHTS)[views]
    total = weights.sum().clamp(min=1.0)
    joints = truth.new_zeros(())
    learned = poses.stages[1:]
    for stage_weight, stage in zip(STAGE_WEIGHTS[-len(learned) :], learned, strict=True):
        error = ((stage[near] - truth).square().sum(dim=-1) + 1.0).sqrt() / UNIT
        joints = joints + stage_weight * (error * weights).sum() / total
    # Likelihood of the error under the covariance of the solved system times a learned scale, in the
    # scale alone: the pose does not learn from it. Student's t, because gross errors are common.
    error = (poses.joints[near] - truth).detach()
    squared = (error * apply_symmetric(poses.precision[near].detach(), error)).sum(dim=-1)
    log_scale = poses.log_scale[near]
    scaled = torch.log1p(log_scale.exp() * squared / (FREEDOM - 2))
    uncertainty = ((FREEDOM + 3) / 2 * scaled - 1.5 * log_scale) * weights
    uncertainty = uncertainty.sum() / total
    final = poses.joints.detach()
    visible = visibility(final, candidates.scene, scenes.views)
    fit = fits(scenes.rays, final, candidates.scene)
    logits = confidence_logits(model, scenes.rays, poses, candidates.scene, visible, fit)
    label, counts = confidence_labels(scenes, candidates, final)
    confidence = sum(
        (torch.nn.functional.binary_cross_entropy_with_logits(each, label, reduction="none") * counts).sum()
        for each in logits
    ) / counts.sum().clamp(min=1.0)
    return {"joints": joints, "uncertainty": uncertainty, "confidence": confidence}


def confidence_labels(
    scenes: RayScenes, candidates: Candidates, joints: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """(M,) 1 for a pose (M, J, 3), mm, that is near a person, else 0; and (M,) 1 where it counts, which poses
    neither near nor far do not."""
    truth = scenes.joints[candidates.scene]
    gaps = (joints[:, None] - truth).norm(dim=-1).mean(dim=-1)
    gaps = gaps.masked_fill(~scenes.valid[candidates.scene], torch.inf).amin(dim=1)
    return (gaps < CLOSE).to(joints.dtype), ((gaps < CLOSE) | (gaps > FAR)).to(joints.dtype)


@torch.inference_mode()
def measure(
    model: RayPose, scenes_of: RaySource, batches: int, batch: int = 24, last_share: float = 0.0
) -> dict[str, float]:
    """Held-out figures, on seeds that no training draws: errors, recall, false positives, calibration."""
    model.eval()
    generator = torch.Generator(next(model.parameters()).device).manual_seed(2**40)
    errors, inside = [], []
    counts = np.zeros(3, int)
    scene_count = 0
    for _ in range(batches):
        scenes = scenes_of(batch, generator)
        candidates = draw_candidates(scenes, generator)
        # A generator of its own: the scenes stay the same whatever share has a last pose.
        tracks = torch.Generator(generator.device).manual_seed(2**41 + scene_count)
        poses = run(model, scenes, candidates, tracks, last_share)
        distances, calibrated = _joint_errors(scenes, candidates, poses)
        errors.append(distances)
        inside.append(calibrated)
        for index, joints in enumerate(_people(model, scenes, candidates, poses, batch)):
            counts += _person_counts(scenes, index, joints)
        scene_count += batch
    error = torch.cat(errors)
    found, people, false_positives = counts.tolist()
    model.train()
    return {
        "mean_mm": float(error.mean()),
        "median_mm": float(error.median()),
        "recall": found / max(people, 1),
        "false_positives_per_scene": false_positives / scene_count,
        "inside_95": float(torch.cat(inside).mean()),
    }


def _joint_errors(
    scenes: RayScenes, candidates: Candidates, poses: Poses
) -> tuple[torch.Tensor, torch.Tensor]:
    """Of N joints that two views see of people near candidates: errors (N,), mm, and (N,) 1 where the
    error is inside the 95 % that its covariance says, else 0."""
    truth = scenes.joints[candidates.scene, candidates.person]
    seen = scenes.joint_views[candidates.scene, candidates.person] >= 2
    mask = seen & candidates.near[:, None]
    error = poses.joints - truth
    mahalanobis = (error * apply_symmetric(poses.precision, error)).sum(-1) * poses.log_scale.exp()
    # 95 % of the errors of a Gaussian in three dimensions lie below this.
    return error.norm(dim=-1)[mask], (mahalanobis < 7.815)[mask].float()


def _people(
    model: RayPose, scenes: RayScenes, candidates: Candidates, poses: Poses, batch: int
) -> Iterator[torch.Tensor]:
    """For each scene the joints (P, J, 3), mm, of the poses that confidence and ghost suppression leave."""
    visible = visibility(poses.joints, candidates.scene, scenes.views)
    fit = fits(scenes.rays, poses.joints, candidates.scene)
    logits = confidence_logits(model, scenes.rays, poses, candidates.scene, visible, fit)
    confidence, shares = logits[1].sigmoid(), fit.mean(dim=-1)
    threshold = model.config.confidence_threshold
    for index in range(batch):
        own = candidates.scene == index
        joints = poses.joints[own]
        stays = suppress(
            joints.cpu().numpy(), confidence[own].cpu().numpy(), shares[own].cpu().numpy(), threshold
        )
        yield joints[torch.from_numpy(stays)]


def _person_counts(scenes: RayScenes, index: int, joints: torch.Tensor) -> tuple[int, int, int]:
    """Of a scene in which people with joints (P, J, 3) are found: how many people that two views see are
    found within 500 mm, how many there are, and how many of those found are nobody."""
    persons = scenes.joints[index][scenes.valid[index]]
    findable = (scenes.person_views[index] >= 2)[scenes.valid[index]]
    people = int(findable.sum())
    if not len(joints) or not len(persons):
        return 0, people, len(joints)
    gaps = (joints[:, None] - persons[None]).norm(dim=-1).mean(dim=-1)
    found = int(((gaps.amin(dim=0) < 500) & findable).sum())
    return found, people, int((gaps.amin(dim=1) > 500).sum())


def measured(model: RayPose, scenes_of: RaySource, batches: int) -> dict[str, float]:
    """`measure` without last poses, and where all candidates have one (`last_...`)."""
    with_last = measure(model, scenes_of, batches, last_share=1.0)
    return measure(model, scenes_of, batches) | {f"last_{key}": value for key, value in with_last.items()}


def add_arguments(parser: argparse.ArgumentParser, steps: int, minutes: float, lr: float) -> None:
    """The command line of a training of the ray model, with its defaults."""
    batch = f"{BATCH_CPU} on a CPU, {BATCH_GPU} on a GPU"
    threads = "CPU threads; 0: PyTorch's choice (default)"
    add_training_options(parser, steps=steps, minutes=minutes, lr=lr, batch=batch, threads=threads)


def train_to_file(options: TrainingOptions, model: RayPose, scenes_of: RaySource) -> None:
    """`train`, and write the weights with the command and the log to `options.out`."""
    model, notes = train(options, model, scenes_of)
    save_weights(model, options.out, notes, half=True)
    checkpoint_path(options).unlink()
    print(f"written: {options.out}")


def checkpoint_path(options: TrainingOptions) -> Path:
    """Where a training leaves what --resume needs."""
    return options.out.with_suffix(".resume.pt")


def train(options: TrainingOptions, model: RayPose, scenes_of: RaySource) -> tuple[RayPose, dict[str, Any]]:
    """Train to the end and return the model and notes for its file.

    Args:
        options: how long, how fast and where.
        model: to start from.
        scenes_of: what it learns from.

    Raises:
        InputError: --resume without a checkpoint.
    """
    keep_freed_memory()
    if options.threads:
        torch.set_num_threads(options.threads)
    device = select_device(options.device)
    batch = options.batch or (BATCH_CPU if device.type == "cpu" else BATCH_GPU)
    model = model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.lr, weight_decay=0.01)
    generator = torch.Generator(device).manual_seed(options.seed)
    resume_file = checkpoint_path(options)
    done: dict[str, Any] = {"step": 0, "minutes": 0.0, "log": [], "people": 0}
    if options.resume:
        done = load_resume(resume_file, model, optimizer, generator)

    def save() -> None:
        reached = {"step": step, "minutes": minutes, "log": log, "people": people}
        save_resume(resume_file, model, optimizer, generator, reached)

    start = last_save = time.monotonic()
    step, minutes, log, people = (done[name] for name in ("step", "minutes", "log", "people"))
    average: dict[str, float] = {}
    while step < options.steps and minutes < options.minutes:
        for group in optimizer.param_groups:
            group["lr"] = options.learning_rate(step, minutes, WARMUP_STEPS, 0.01)
        scenes = scenes_of(batch, generator)
        candidates = draw_candidates(scenes, generator)
        parts = losses(model, scenes, candidates, run(model, scenes, candidates, generator))
        loss = parts["joints"] + parts["uncertainty"] + parts["confidence"]
        if not math.isfinite(loss.item()):
            raise FloatingPointError(f"loss is {loss.item()} at step {step}")
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        people += int(candidates.near.sum())
        for name, part in parts.items():
            average[name] = 0.98 * average.get(name, part.item()) + 0.02 * part.item()
        if step % options.print_every == 0:
            entry = {"step": step, "minutes": minutes, "people": people} | average
            if step % (10 * options.print_every) == 0:
                entry |= measured(model, scenes_of, -(-options.held_out // 3))
            log.append({key: round(value, 5) for key, value in entry.items()})
            print(json.dumps(log[-1]), flush=True)
        step += 1
        minutes = done["minutes"] + (time.monotonic() - start) / 60
        if time.monotonic() - last_save > CHECKPOINT_SECONDS:
            save()
            last_save = time.monotonic()
    held_out = measured(model, scenes_of, options.held_out)
    print(json.dumps(held_out), flush=True)
    notes = {
        "command": f"python training/{Path(sys.argv[0]).name} {' '.join(sys.argv[1:])}",
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "steps": step,
        "minutes": round(minutes, 1),
        "people": people,
        "held_out": held_out,
        "log": log,
    }
    save()
    return model.eval(), notes
