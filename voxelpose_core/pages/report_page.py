"""The one-page report of a run: is the recording good, and what is not."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from voxelpose_core.camera_watch import CameraFinding
from voxelpose_core.drawing.colors import person_color
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.geometry.space import Space
from voxelpose_core.pages import charts
from voxelpose_core.pages.html import page, write_page
from voxelpose_core.pages.measures import Bone, Person, bone_names, bones_of, people_of
from voxelpose_core.pages.scene import css_color, person_name, scene_json
from voxelpose_core.results import RunReport, ViewAgreement
from voxelpose_core.skeleton_files import Recording

# People with a row, and with a column of bones.
_MOST_ROWS, _MOST_COLUMNS = 12, 6
_PICTURE_WIDTH, _JPEG_QUALITY = 1280, 82
# Of the table of cameras.
_COLUMNS = ("median", "of people's size", "detected where in view", "frames without")
# What to type, in a warning.
_CODE = re.compile(r"`([^`]+)`")


@dataclass
class Run:
    """What the report of a run is made of.

    Attributes:
        rig: the cameras.
        recording: the skeletons as estimated.
        report: what was counted.
        agreement: (T lists) per frame set and camera what `RunReport.add` returned.
        facts: lines that `estimate` prints: a word, then what it is.
        warnings: what looked wrong, a line each.
        cameras: what is wrong with single cameras; their lines are among the warnings.
        cameras_judged: whether enough people moved to tell cameras that are turned a little, or late.
        picture: of the middle frame, (H, W, 3) BGR; None: there is none.
        space: the capture space.
        partial: what ended the run before its recording did; empty: nothing.
    """

    rig: Rig
    recording: Recording
    report: RunReport
    agreement: Sequence[Sequence[ViewAgreement | None]]
    facts: Sequence[str] = ()
    warnings: Sequence[str] = ()
    cameras: Sequence[CameraFinding] = ()
    cameras_judged: bool = True
    picture: np.ndarray | None = None
    space: Space | None = None
    partial: str = ""
    people: list[Person] = field(init=False)
    stamps: np.ndarray = field(init=False)

    def __post_init__(self):
        self.people = people_of(self.recording)
        self.stamps = np.array([frame_set.stamp for frame_set in self.recording.frame_sets])


def write_report_page(path: Path | str, run: Run) -> None:
    """Write the report as one HTML file without anything to load; InputError where that fails."""
    parts = [_header(run)]
    if len(run.stamps):
        parts += [_cameras(run), _people(run), _bones(run), _timings(run)]
    parts += [_picture(run), _three_d(), _facts(run)]
    scene = scene_json(run.rig, run.recording, run.space)
    title = f"{run.rig.name}: report"
    write_page(path, page(title, f"<main>{''.join(parts)}</main>", scene, "report.css"))


# At a glance --------------------------------------------------------------------------------------


def _header(run: Run) -> str:
    tiles = "".join(
        f'<div class="tile"><b>{value}</b><span>{html.escape(words)}</span></div>'
        for value, words in _tiles(run)
    )
    frames = len(run.stamps)
    span = f", {run.stamps[-1] - run.stamps[0]:.1f} s" if frames > 1 else ""
    words = f"{len(run.rig)} cameras · {frames} frame{'s' * (frames != 1)}{span}"
    return (
        f'<header><h1>{html.escape(run.rig.name)}</h1><span class="soft">{words}</span></header>'
        f'{_verdict(run)}<div class="tiles">{tiles}</div>'
    )


def _verdict(run: Run) -> str:
    """Good, to be looked at, or bad, in a word and a colour; below it what looked wrong."""
    lines = list(dict.fromkeys([*filter(None, [run.partial]), *run.warnings]))
    kind, words = _judgement(run, len(lines))
    details = "".join(f"<li>{_with_code(line)}</li>" for line in lines)
    details = f"<ul>{details}</ul>" if details else ""
    if not run.cameras_judged and len(run.rig) > 1:
        details += (
            "<p>People moved too little, or for too short a time: a camera that is turned by some degrees, "
            "or 100 ms late, does not show. Let a person walk through the views for twenty seconds.</p>"
        )
    return f'<div class="verdict {kind}"><b>{html.escape(words)}</b>{details}</div>'


def _with_code(line: str) -> str:
    return _CODE.sub(r"<code>\1</code>", html.escape(line))


def _judgement(run: Run, warnings: int) -> tuple[str, str]:
    """Class and headline."""
    if not any(count and frames for count, frames in run.report.people.items()):
        return "bad", "✗ No person was found in 3D"
    if run.cameras:
        wrong = "; ".join(f"{' or '.join(found.cameras)}: {found.short}" for found in run.cameras)
        return "bad", f"✗ Camera{'s' * (len(run.cameras) > 1)} {wrong}"
    if run.partial:
        return "warn", "⚠ Only a part of the recording"
    if warnings:
        return "warn", f"⚠ {warnings} thing{'s' * (warnings != 1)} to look at"
    if not run.cameras_judged:
        return "unsure", "? Nothing looked wrong, but the cameras could not be judged"
    return "good", "✓ Good: the cameras agree, and nothing else looked wrong"


def _tiles(run: Run) -> list[tuple[str, str]]:
    error, report = run.report.reprojection, run.report
    with_people = report.frames - report.people[0]
    spreads = [bone.spread for person in run.people for bone in bones_of(run.recording, person)]
    joints = sum(person.frames for person in run.people)
    missing = sum(person.missing * person.frames for person in run.people) / joints if joints else np.nan
    shares = _shares(run)
    total = sum(float(np.median(values)) for values in report.stages_ms.values())
    return [
        (_percent(with_people / report.frames if report.frames else np.nan), "of the frames have people"),
        (str(len(run.people)), "people followed (track ids)"),
        (
            f"{error.median_px:.1f} px" if error.paired else "–",
            f"between skeletons and 2D detections, median; {_percent(_median(shares), 1)} of people's size",
        ),
        (
            _percent(error.paired / error.in_view if error.in_view else np.nan),
            "of people in a camera's view are detected there",
        ),
        ("± " + _percent(_median(spreads), 1), "spread of a person's bone lengths, median"),
        (_percent(missing, 1), "of people's joints are gaps"),
        (f"{total:.0f} ms" if report.stages_ms else "–", "per frame"),
    ]


# Over time ----------------------------------------------------------------------------------------


def _cameras(run: Run) -> str:
    views = [[row[index] for row in run.agreement] for index in range(len(run.rig))]
    pixels = [np.array([np.nan if view is None else view.px for view in seen]) for seen in views]
    drawn = [charts.binned(run.stamps, values)[1] for values in pixels]
    top = charts.nice_top(max((float(np.nanmax(v)) for v in drawn if np.isfinite(v).any()), default=np.nan))
    rows = []
    for index, (camera, seen) in enumerate(zip(run.rig.cameras, views)):
        there = [view for view in seen if view is not None]
        in_view, paired = sum(view.in_view for view in there), sum(view.paired for view in there)
        cells = [
            f"{_median(pixels[index]):.1f} px" if paired else "–",
            _percent(_median(_shares(run, index)), 1),
            _percent(paired / in_view if in_view else np.nan),
            str(len(seen) - len(there)),
        ]
        wrong = [found.short for found in run.cameras if camera.name in found.cameras]
        mark = " class=bad" if wrong else ""
        notes = "".join(f"<small>{html.escape(words)}</small>" for words in wrong)
        rows.append(
            f"<tr{mark}><th>{html.escape(camera.name)}{notes}</th>"
            f"<td class=chart>{charts.line_chart(run.stamps, pixels[index], top)}</td>"
            + "".join(f'<td data-label="{label}">{cell}</td>' for label, cell in zip(_COLUMNS, cells))
        )
    return (
        "<section><h2>Do the cameras agree?</h2>"
        "<p class=soft>Distance between the skeletons and each camera's 2D detections over time, "
        f"0 to {top:g} px. A camera that was knocked, is out of sync or has a wrong calibration stands "
        "out.</p>"
        "<table class='wide cameras'><tr><th>camera<th class=chart>px over time"
        f"{''.join(f'<th>{label}' for label in _COLUMNS)}</tr>{''.join(rows)}</table></section>"
    )


def _people(run: Run) -> str:
    counts = [len(frame_set.skeletons) for frame_set in run.recording.frame_sets]
    most = max(counts)
    rows = [
        f"<tr><th>people<td class=chart>{charts.step_chart(run.stamps, counts)}<td colspan=3>at most {most}"
    ]
    for person in run.people[:_MOST_ROWS]:
        shares = np.full(len(run.stamps), np.nan)
        shares[person.rows] = np.isfinite(person.joints[..., 0]).mean(axis=1)
        color = css_color(person_color(person.track_id))
        longest = person.longest_gap_s(run.stamps)
        rows.append(
            f"<tr><th>{person_name(person.track_id)}"
            f"<td class=chart>{charts.presence_chart(run.stamps, shares, color)}"
            f"<td>{len(person.rows)} frames<td>{_percent(person.missing, 1)} gaps"
            f"<td>{f'{longest:.2f} s away' if longest else ''}"
        )
    more = len(run.people) - _MOST_ROWS
    note = f"<p class=soft>{more} more, of fewer frames, are not shown.</p>" if more > 0 else ""
    return (
        "<section><h2>People over time</h2><p class=soft>Paler: joints are missing. A new number for the "
        "same person means that the person was lost in between.</p>"
        f"<table class=wide>{''.join(rows)}</table>{note}</section>"
    )


def _bones(run: Run) -> str:
    if not run.people:
        return ""
    people = run.people[:_MOST_COLUMNS]
    columns = [bones_of(run.recording, person) for person in people]
    head = "".join(f"<th>{person_name(person.track_id)}" for person in people)
    rows = [
        f"<tr><th>{name}" + "".join(_bone_cell(bones[index]) for bones in columns)
        for index, name in enumerate(bone_names(run.recording))
    ]
    return (
        "<section><h2>Bone lengths</h2><p class=soft>Median in mm, and how far they spread over time "
        "(standard deviation, from the median absolute deviation). Bones do not change: spread is error. "
        "Left and right should be alike.</p>"
        f"<div class=scroll><table><tr><th>{head}</tr>{''.join(rows)}</table></div></section>"
    )


def _bone_cell(bone: Bone) -> str:
    if not np.isfinite(bone.length):
        return "<td>–"
    if not np.isfinite(bone.spread):
        return f"<td>{bone.length:.0f}"
    return (
        f"<td>{bone.length:.0f} <span class=soft>± {_percent(bone.spread, 1)}</span>"
        f'<i class=meter style="width:{min(100.0, 500 * bone.spread):.0f}%"></i>'
    )


def _timings(run: Run) -> str:
    medians = {stage: float(np.median(values)) for stage, values in run.report.stages_ms.items()}
    total = sum(medians.values())
    if not total:
        return ""
    words = ", ".join(f"{html.escape(stage)} {ms:.1f}" for stage, ms in medians.items())
    return (
        f"<section><h2>Time per frame</h2>{charts.stage_bar(medians)}"
        f"<p class=soft>Medians in ms: {words}; together {total:.1f} ms, {1000 / total:.1f} frames per "
        "second. Reading the frames is not in it.</p></section>"
    )


# Pictures -----------------------------------------------------------------------------------------


def _picture(run: Run) -> str:
    if run.picture is None:
        return ""
    height, width = run.picture.shape[:2]
    size = min(width, _PICTURE_WIDTH), round(height * min(width, _PICTURE_WIDTH) / width)
    picture = cv2.resize(run.picture, size, interpolation=cv2.INTER_AREA)
    _, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    data = base64.b64encode(jpeg.tobytes()).decode("ascii")
    return (
        "<section><h2>The middle frame</h2>"
        f'<img alt="views and skeletons of the middle frame" src="data:image/jpeg;base64,{data}"></section>'
    )


def _three_d() -> str:
    return '<section><h2>In 3D</h2><div id="viewer"></div></section>'


def _facts(run: Run) -> str:
    rows = "".join(
        f"<tr><th>{html.escape(word)}<td>{html.escape(rest.strip())}"
        for word, _, rest in (line.partition("  ") for line in run.facts)
    )
    return f"<section><h2>The run</h2><table class=facts>{rows}</table></section>" if rows else ""


def _shares(run: Run, camera: int | None = None) -> list[float]:
    """Distances as shares of people's size, of one camera or all; without those of no pair."""
    views = [view for row in run.agreement for view in (row if camera is None else row[camera : camera + 1])]
    return [view.share for view in views if view is not None and np.isfinite(view.share)]


def _median(values: Sequence[float] | np.ndarray) -> float:
    known = np.asarray(values, float)
    known = known[np.isfinite(known)]
    return float(np.median(known)) if len(known) else np.nan


def _percent(share: float, digits: int = 0) -> str:
    return f"{100 * share:.{digits}f} %" if np.isfinite(share) else "–"
