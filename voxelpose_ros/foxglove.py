"""The Foxglove layout for a rig: the shipped one, with an image panel for each camera. No ROS in here."""

from __future__ import annotations

import copy
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from voxelpose_core.atomic_files import write_whole
from voxelpose_core.geometry.rig import Rig
from voxelpose_core.resources import find_resource
from voxelpose_core.topic_names import ros_name

LAYOUT = "foxglove/voxelpose.json"
_IMAGE, _SCENE = "Image!camera", "3D!people"


def write_layout(rig: Rig, node: str) -> Path:
    """Write the rig's layout to where ROS keeps its files ($ROS_HOME, by default ~/.ros); returns its path.

    Args:
        rig: whose cameras and world frame are shown.
        node: full name of the node whose overlays are shown.

    Raises:
        OSError: where it cannot be written.
    """
    home = Path(os.environ.get("ROS_HOME") or Path.home() / ".ros")
    path = home / f"{ros_name(rig.name)}.foxglove.json"
    text = json.dumps(rig_layout(rig, node), indent=2)
    write_whole(path, lambda file: file.write_text(text + "\n"))
    return path


def rig_layout(rig: Rig, node: str) -> dict[str, Any]:
    """The shipped layout with the overlay of each camera in a panel, seen from the rig's world frame."""
    layout = json.loads(find_resource(LAYOUT).read_text())
    panels = layout["configById"]
    panels[_SCENE]["followTf"] = rig.frame
    for layer in panels[_SCENE]["layers"].values():
        layer["frameId"] = rig.frame
    panel = panels.pop(_IMAGE)
    names = [f"Image!{ros_name(camera)}" for camera in rig.names]
    for name, camera in zip(names, rig.names):
        panels[name] = copy.deepcopy(panel)
        panels[name]["foxglovePanelTitle"] = camera
        panels[name]["imageMode"]["imageTopic"] = f"{node}/overlay/{ros_name(camera)}"
    layout["layout"] = _replaced(layout["layout"], _grid(names))
    return layout


def _replaced(tree: Any, images: Any) -> Any:
    """The tree of panels with `images` in place of the shipped image panel."""
    if tree == _IMAGE:
        return images
    if isinstance(tree, Mapping):
        return {key: _replaced(value, images) for key, value in tree.items()}
    return tree


def _grid(names: Sequence[str]) -> Any:
    """Panels in rows of about as many as there are rows."""
    columns = math.ceil(math.sqrt(len(names)))
    rows = [names[start : start + columns] for start in range(0, len(names), columns)]
    return _split([_split(row, "row") for row in rows], "column")


def _split(parts: Sequence[Any], direction: str) -> Any:
    """Parts of the same size, one beside or below the other: a tree of splits in two."""
    if len(parts) == 1:
        return parts[0]
    rest = _split(parts[1:], direction)
    return {"direction": direction, "splitPercentage": 100 / len(parts), "first": parts[0], "second": rest}
