"""Pages from the templates: one file each, without anything to load."""

from __future__ import annotations

import html
from functools import cache
from pathlib import Path

from voxelpose_core.atomic_files import write_text

_TEMPLATES = Path(__file__).with_name("templates")
_SCRIPTS = ("orbit.js", "viewer.js")


def page(title: str, body: str, scene: str, style: str) -> str:
    """A page with a 3D view.

    Args:
        title: text.
        body: HTML with an element of id "viewer".
        scene: of the 3D view, from `scene_json`.
        style: name of the template with the page's own CSS.
    """
    parts = {
        "title": html.escape(title),
        "style": template("page.css") + template(style),
        "body": body,
        "scene": scene,
        "script": "\n".join(template(name) for name in _SCRIPTS),
    }
    head, *rest = template("page.html").split("{{")
    # Piece by piece, so that braces in the data stay what they are.
    return head + "".join(parts[name] + after for name, after in (piece.split("}}", 1) for piece in rest))


@cache
def template(name: str) -> str:
    """The text of a file of templates/."""
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def write_page(path: Path | str, text: str) -> None:
    """Write a page, whole or not at all; InputError naming the file where that fails."""
    write_text(Path(path), text)
