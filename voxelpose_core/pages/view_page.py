"""The page with the 3D view of a recording."""

from __future__ import annotations

import html
from pathlib import Path

from voxelpose_core.geometry.rig import Rig
from voxelpose_core.geometry.space import Space
from voxelpose_core.pages.html import page, write_page
from voxelpose_core.pages.scene import every_nth, scene_json
from voxelpose_core.skeleton_files import Recording


def write_view_page(
    path: Path | str, rig: Rig, recording: Recording | None = None, space: Space | None = None
) -> None:
    """Write an HTML file that shows rig and skeletons in 3D, in any browser, without network.

    Args:
        path: the file.
        rig: the cameras.
        recording: the skeletons; None: only the rig.
        space: the capture space; None: the rig's, or the one proposed from its cameras.

    Raises:
        InputError: the file cannot be written.
    """
    words = html.escape(" · ".join([f"{len(rig)} cameras", *_in_words(recording)]))
    help_line = "drag: turn, wheel or two fingers: zoom, right button: move, double click: back"
    body = (
        f'<header><h1>{html.escape(rig.name)}</h1><span class="soft">{words}</span>'
        f'<span class="soft">{help_line}</span></header>\n<main id="viewer"></main>'
    )
    title = f"{rig.name}: skeletons in 3D" if recording else f"{rig.name}: rig in 3D"
    write_page(path, page(title, body, scene_json(rig, recording, space), "view.css"))


def _in_words(recording: Recording | None) -> list[str]:
    if recording is None:
        return []
    people = {s.track_id for frame_set in recording.frame_sets for s in frame_set.skeletons} - {-1}
    frames, nth = len(recording.frame_sets), every_nth(recording)
    words = [
        f"{frames} frame{'s' * (frames != 1)}, {recording.rate_hz:.4g} per second",
        "1 person" if len(people) == 1 else f"{len(people)} people",
    ]
    if nth > 1:
        words.append(f"1 of {nth} frames shown")
    return words
