"""Reading and writing weights. Nothing is ever unpickled beyond tensors and plain containers."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from voxelpose_core.config import Config, config_from_dict
from voxelpose_core.errors import InputError
from voxelpose_core.models.voxelpose import VoxelPose


def save_weights(
    model: VoxelPose, path: str | Path, notes: dict[str, Any] | None = None, half: bool = False
) -> None:
    """Write a model and its configuration as safetensors, atomically.

    Args:
        model: its `config` goes into the file's metadata.
        path: `*.safetensors`.
        notes: what a reader should know (command, steps, seed ...), JSON values.
        half: store the kernels of convolutions as float16, which halves the file; biases and batch
            norms stay float32. Loading gives float32.
    """
    metadata = {
        "config": json.dumps(model.config.to_dict()),
        "notes": json.dumps(notes or {}),
        "format": "voxelpose_ros weights 1",
    }
    state = {
        key: _stored(value.detach().cpu().contiguous(), half)
        for key, value in model.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".partial")
    save_file(state, partial, metadata=metadata)
    os.replace(partial, target)


def load_weights(path: str | Path, device: torch.device | str = "cpu") -> VoxelPose:
    """A model in eval mode from a file written by `save_weights`.

    Raises:
        InputError: naming the file, when it is missing, truncated, or not ours.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"weights {path}: no such file")
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            metadata = file.metadata() or {}
            state = {key: file.get_tensor(key) for key in file.keys()}
    except (SafetensorError, OSError) as error:
        raise InputError(f"weights {path}: cannot be read as safetensors ({error})") from None
    model = VoxelPose(_embedded_config(metadata, path))
    _load_state(model, state, path)
    return model.to(device).eval()


def read_notes(path: str | Path) -> dict[str, Any]:
    """What the writer noted beside the weights."""
    with safe_open(path, framework="pt") as file:
        return json.loads((file.metadata() or {}).get("notes", "{}"))


def _stored(value: torch.Tensor, half: bool) -> torch.Tensor:
    return value.half() if half and value.dim() > 1 else value


def _embedded_config(metadata: dict[str, str], path: Path) -> Config:
    if "config" not in metadata:
        raise InputError(
            f"weights {path}: no configuration inside, expected a file written by voxelpose_ros"
        )
    return config_from_dict(json.loads(metadata["config"]), f"weights {path}")


def _load_state(model: VoxelPose, state: dict[str, torch.Tensor], path: Path) -> None:
    expected = {
        key: value.shape
        for key, value in model.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    for key, shape in expected.items():
        if key not in state:
            raise InputError(f"weights {path}: key '{key}' is missing")
        if state[key].shape != shape:
            raise InputError(
                f"weights {path}: key '{key}' has shape {tuple(state[key].shape)}, "
                f"expected {tuple(shape)}"
            )
    unknown = sorted(set(state) - set(expected))
    if unknown:
        raise InputError(f"weights {path}: key '{unknown[0]}' is unknown to the configuration")
    model.load_state_dict(state, strict=False)
