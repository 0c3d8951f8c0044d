"""What the commands of `rig_people` print, and their pictures."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from voxelpose_core.atomic_files import write_text
from voxelpose_core.command_line.frame_sources import GivenRecording
from voxelpose_core.drawing.self_calibration import ResidualCurves, RigPlan, Walks, draw_self_calibration
from voxelpose_core.geometry.image_turns import turns_in_words
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.self_calibration.alignment import Alignment
from voxelpose_core.self_calibration.bodies import Bodies, measure_bodies, triangulate_poses
from voxelpose_core.self_calibration.correspondence import shared_poses
from voxelpose_core.self_calibration.diagnosis import Diagnosis
from voxelpose_core.self_calibration.floor import lower_ankles
from voxelpose_core.self_calibration.held_out import disagreement
from voxelpose_core.self_calibration.refine import Refinement
from voxelpose_core.time_offsets import offsets_text

if TYPE_CHECKING:
    from voxelpose_core.self_calibration.from_people import RigFromPeople

_UP = np.array([0.0, 0.0, 1.0])


def say(lines: Iterator[tuple[str, str]]) -> None:
    """Print lines, each with a name before it."""
    for name, text in lines:
        print(f"{name:<14}{text}")


def say_written(paths: Sequence[str | None]) -> None:
    """Print which files were written."""
    if any(paths):
        print(f"written       {', '.join(path for path in paths if path)}")


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def diagnosis_lines(found: Diagnosis, given: GivenRecording) -> Iterator[tuple[str, str]]:
    """What was measured; faults are printed apart."""
    rig = found.rig
    yield "rig", f"{rig.name}: {len(rig)} cameras, {rig.source}"
    people = len(set(found.poses.people.tolist()))
    yield (
        "recording",
        f"{found.seconds:.1f} s, {_count(people, 'person', 'people')} followed, "
        f"{len(found.poses)} poses seen by two cameras or more",
    )
    if turned := _turned(given):
        yield "turned", f"{turned}, for the detector"
    width = max(len(name) for name in rig.names)
    yield "cameras", f"{'':{width}}  people in    shared  {'disagreement':>18}  {'time offset':>18}"
    for camera in found.cameras:
        share = offset = "unknown"
        if not math.isnan(camera.share):
            share = f"{100 * camera.share:.1f} % {camera.pixels:6.1f} px"
        if math.isfinite(camera.offset_sigma_ms):
            offset = f"{camera.offset_ms:+.1f} +- {camera.offset_sigma_ms:.1f} ms"
        seen = f"{camera.name:{width}}  {100 * camera.seen:7.0f} %  {camera.shared:8d}"
        yield "", f"{seen}  {share:>18}  {offset:>18}"
    if found.floor is not None:
        tilt = math.degrees(math.acos(min(1.0, max(-1.0, float(found.floor.up[2])))))
        yield (
            "floor",
            f"z = {found.floor.height:.0f} mm (ground of the rig {rig.ground:g}), "
            f"up {tilt:.1f} +- {found.floor.sigma_deg:.1f} degrees off z",
        )
        for note in found.floor.notes:
            yield "", note
    if found.statures:
        yield "people", _heights(found.statures.values())


def _turned(given: GivenRecording) -> str:
    return ", ".join(
        f"{name} {turns_in_words(turns)}"
        for name, turns in zip(given.rig.names, given.turns, strict=True)
        if turns
    )


def write_report(path: str, found: Diagnosis, remedies: Sequence[str]) -> None:
    """The diagnosis as JSON; what is not known is null."""

    def plain(value: float) -> float | None:
        return float(value) if math.isfinite(value) else None

    cameras = [
        {name: plain(value) if isinstance(value, float) else value for name, value in own.items()}
        for own in map(dataclasses.asdict, found.cameras)
    ]
    floor = None
    if found.floor is not None:
        floor = {
            "up": found.floor.up.tolist(),
            "sigma_deg": found.floor.sigma_deg,
            "height_mm": found.floor.height,
        }
    content = {
        "rig": found.rig.name,
        "well": found.well,
        "faults": [
            {"fault": fault.line, "remedy": remedy}
            for fault, remedy in zip(found.faults, remedies, strict=True)
        ],
        "not_known": list(found.unknown),
        "offsets_ms": list(found.offsets_ms),
        "cameras": cameras,
        "floor": floor,
        "statures_mm": list(found.statures.values()),
    }
    write_text(Path(path), json.dumps(content, indent=1) + "\n")


def diagnosis_picture(found: Diagnosis) -> np.ndarray:
    """The rig as given, with walks, disagreement and feet."""
    walks = _walks(found.bodies)
    curves = [ResidualCurves(found.poses.times, found.disagreement.pose_shares)]
    title = f"{found.rig.name}: {_count(len(found.faults), 'fault', 'faults')}"
    if found.unknown:
        title += f", {len(found.unknown)} not known"
    # Where views are exchanged or turned, the rest is judged as if that were undone.
    undone = found.arrangement.contradiction is not None
    plans = [RigPlan("Views in the order that fits" if undone else "As given", found.rig, walks)]
    return draw_self_calibration(title, plans, curves, walks, found.rig.ground)


def _walks(bodies: Bodies, up: np.ndarray = _UP) -> Walks:
    return Walks(bodies.people, bodies.hips, lower_ankles(bodies, up))


def alignment_lines(rig: Rig, new: Rig, aligned: Alignment) -> Iterator[tuple[str, str]]:
    """Up, floor and unit, and where the cameras are now."""
    floor, similarity = aligned.floor, aligned.similarity
    yield "rig", f"{rig.name}: {len(rig)} cameras, {rig.source}"
    x, y, z = floor.up
    yield "up", f"({x:.3f}, {y:.3f}, {z:.3f}) of the given world, +- {floor.sigma_deg:.1f} degrees"
    spread = similarity.scale * floor.spread
    what = f"{floor.poses} standing poses" if floor.poses else "the points"
    yield "floor", f"from {what}, which are off it by {spread:.0f} mm"
    yield "unit", f"1 unit of the given world is {similarity.scale:.6g} mm"
    if aligned.statures:
        yield "people", _heights(aligned.statures.values())
    width = max(len(name) for name in new.names)
    for index, camera in enumerate(new.cameras):
        place = " ".join(f"{value / 1000:7.2f}" for value in camera.C)
        yield "" if index else "cameras", f"{camera.name:{width}}  now at {place} m"
    for note in aligned.notes:
        yield "note", note


def alignment_picture(rig: Rig, new: Rig, found: Diagnosis, aligned: Alignment) -> np.ndarray:
    """The rig in both worlds."""
    before, in_old = _walks(found.bodies), _walks(found.bodies, aligned.floor.up)
    to_new = aligned.similarity.points
    after = Walks(in_old.people, to_new(in_old.hips), to_new(in_old.feet))
    plans = [RigPlan("Before", rig, before), RigPlan("After", new, after)]
    curves = [ResidualCurves(found.poses.times, found.disagreement.pose_shares)]
    return draw_self_calibration(f"{rig.name}: aligned with people", plans, curves, after, 0.0)


def refinement_lines(rig: Rig, result: Refinement, offsets: Sequence[float]) -> Iterator[tuple[str, str]]:
    """How far each camera moves, how sure that is, and what held-out frames say."""
    yield "rig", f"{rig.name}: {len(rig)} cameras, {rig.source}"
    yield "recording", f"{result.seconds:.1f} s, {result.frame_sets} frame sets with shared people"
    width = max(len(name) for name in rig.names)
    for index, change in enumerate(result.cameras):
        moved = (
            f"moves {change.moved_deg:5.2f} +- {change.sigma_deg:.2f} degrees, "
            f"{change.moved_mm:5.0f} +- {change.sigma_mm:.0f} mm; disagreement on held-out frames "
            f"{100 * change.before_share:.1f} -> {100 * change.after_share:.1f} %"
        )
        yield "" if index else "cameras", f"{change.name:{width}}  {change.note or moved}"
    if result.cameras:
        yield "all", f"disagreement {100 * result.before_share:.2f} -> {100 * result.after_share:.2f} %"
    if any(offsets):
        yield "offsets", f"--offsets-ms {offsets_text(offsets)}"


def refinement_picture(rig: Rig, new: Rig, result: Refinement, given: GivenRecording) -> np.ndarray:
    """The rig before and after."""
    fitted = result.rig.cameras
    recording = given.recording.shifted([offset / 1000.0 for offset in new.time_offsets_ms])
    poses = shared_poses(recording, fitted)
    walks = _walks(measure_bodies(triangulate_poses(fitted, poses), poses.people, recording.joint_set))
    curves = [
        ResidualCurves(poses.times, disagreement(cameras, poses).pose_shares, label)
        for cameras, label in ((given.rig.cameras, "before"), (fitted, "after"))
    ]
    labels = {c.name: f"{c.moved_deg:.1f} deg, {c.moved_mm:.0f} mm" for c in result.cameras}
    plan = RigPlan("After (before: grey)", new, walks, rig, labels)
    return draw_self_calibration(f"{rig.name}: refined", [plan], curves, walks, rig.ground)


def new_rig_lines(found: RigFromPeople) -> Iterator[tuple[str, str]]:
    """A rig from people, and how sure it is."""
    seconds = float(np.ptp(found.poses.times))
    yield "recording", f"{seconds:.1f} s, {len(found.poses)} poses seen by two cameras or more"
    width = max(len(name) for name in found.rig.names)
    for view, camera in enumerate(found.rig.cameras):
        place = " ".join(f"{value / 1000:7.2f}" for value in camera.C)
        line = (
            f"{camera.name:{width}}  at {place} m +- {found.sigma_mm[view]:.0f} mm, "
            f"+- {found.sigma_deg[view]:.2f} degrees, "
            f"{found.offsets_ms[view]:+.1f} +- {found.sigma_offsets_ms[view]:.1f} ms"
        )
        if found.sigma_focal[view] > 0:
            line += f", focal length {camera.K[0, 0]:.0f} px +- {100 * found.sigma_focal[view]:.1f} %"
        yield "" if view else "cameras", line
    yield "scale", f"+- {100 * found.sigma_scale:.0f} %"
    if found.alignment.statures:
        yield "people", _heights(found.alignment.statures.values())


def new_rig_picture(found: RigFromPeople, given: GivenRecording) -> np.ndarray:
    """The rig with the people that it follows from."""
    cameras, poses = found.rig.cameras, found.poses
    joints = triangulate_poses(cameras, poses)
    walks = _walks(measure_bodies(joints, poses.people, given.recording.joint_set))
    curves = [ResidualCurves(poses.times, disagreement(cameras, poses).pose_shares)]
    return draw_self_calibration(
        "A rig from people", [RigPlan("Cameras", found.rig, walks)], curves, walks, 0.0
    )


def _heights(statures: Iterable[float]) -> str:
    return f"{', '.join(f'{stature / 1000:.2f}' for stature in statures)} m tall"
