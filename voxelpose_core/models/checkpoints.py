"""Reading and writing weights. Nothing is ever unpickled beyond tensors and plain containers.

Three kinds of files: weights with their configuration (`*.safetensors`, what the estimator loads),
checkpoints of a training run (`checkpoint.pth.tar`), and those of the original (`*.pth.tar`).
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from voxelpose_core.atomic_files import write_whole
from voxelpose_core.config import Config, config_from_dict
from voxelpose_core.errors import InputError
from voxelpose_core.models.ray_pose import RayConfig, RayPose
from voxelpose_core.models.voxelpose import VoxelPose

_Model = TypeVar("_Model", RayPose, VoxelPose)

# What the metadata of a file call the ray model; files without such an entry hold the voxel nets.
_RAY_MODEL = "rays"


def save_weights(
    model: VoxelPose | RayPose, path: str | Path, notes: dict[str, Any] | None = None, half: bool = False
) -> None:
    """Write a model and its configuration as safetensors, atomically.

    Args:
        model: its `config` goes into the file's metadata.
        path: `*.safetensors`.
        notes: what a reader should know (command, steps, seed ...), JSON values.
        half: store kernels and matrices as float16, which halves the file; biases and norms stay
            float32. Loading gives float32.
    """
    if isinstance(model, RayPose):
        kind, config = _RAY_MODEL, model.config.model_dump()
    else:
        kind, config = "voxelpose", model.config.to_dict()
    metadata = {
        "config": json.dumps(config),
        "model": kind,
        "notes": json.dumps(notes or {}),
        "format": "voxelpose_ros weights 1",
    }
    state = {
        key: _stored(value.detach().cpu().contiguous(), half)
        for key, value in model.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    # Its own save_file makes a file that only its owner can read.
    content = save(state, metadata=metadata)
    write_whole(Path(path), lambda partial: partial.write_bytes(content))


def load_weights(path: str | Path, device: torch.device | str = "cpu") -> VoxelPose | RayPose:
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
    if metadata.get("model") == _RAY_MODEL:
        model: RayPose | VoxelPose = RayPose(_embedded_ray_config(metadata, path))
    else:
        model = VoxelPose(_embedded_config(metadata, path))
    _load_state(model, state, path)
    return model.to(device).eval()


def load_voxel_weights(path: str | Path, device: torch.device | str = "cpu") -> VoxelPose:
    """`load_weights` of a file that must hold the voxel nets.

    Raises:
        InputError: also for weights of the ray model.
    """
    return _load_kind(VoxelPose, "the ray model, expected voxel nets, such as 'voxelpose'", path, device)


def load_ray_weights(path: str | Path, device: torch.device | str = "cpu") -> RayPose:
    """`load_weights` of a file that must hold the ray model.

    Raises:
        InputError: also for weights of the voxel nets.
    """
    return _load_kind(RayPose, "the voxel nets, expected the ray model, such as 'universal'", path, device)


def _load_kind(kind: type[_Model], otherwise: str, path: str | Path, device: torch.device | str) -> _Model:
    """`load_weights` of a file that must hold this kind of model; `otherwise` ends the error's line."""
    model = load_weights(path, device)
    if not isinstance(model, kind):
        raise InputError(f"weights {path}: they are of {otherwise}")
    return model


def _stored(value: torch.Tensor, half: bool) -> torch.Tensor:
    return value.half() if half and value.dim() > 1 else value


def _embedded_config(metadata: dict[str, str], path: Path) -> Config:
    return config_from_dict(_embedded_json(metadata, path), f"weights {path}")


def _embedded_ray_config(metadata: dict[str, str], path: Path) -> RayConfig:
    try:
        return RayConfig.model_validate(_embedded_json(metadata, path))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "configuration"
        raise InputError(f"weights {path}: {place}: {first['msg'].lower()}") from None


def _embedded_json(metadata: dict[str, str], path: Path) -> Any:
    if "config" not in metadata:
        raise InputError(f"weights {path}: no configuration inside, expected a file written by voxelpose_ros")
    try:
        return json.loads(metadata["config"])
    except (ValueError, RecursionError) as error:
        raise InputError(f"weights {path}: its configuration is no JSON ({error})") from None


def _load_state(model: torch.nn.Module, state: dict[str, torch.Tensor], path: Path) -> None:
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
                f"weights {path}: key '{key}' has shape {tuple(state[key].shape)}, expected {tuple(shape)}"
            )
    unknown = sorted(set(state) - set(expected))
    if unknown:
        raise InputError(f"weights {path}: key '{unknown[0]}' is unknown to the configuration")
    model.load_state_dict(state, strict=False)


# --- checkpoints of the original ----------------------------------------------------------------


@dataclass(frozen=True)
class LoadReport:
    """What of a checkpoint went into a model.

    Attributes:
        source: the file.
        loaded: keys of the model that got a value.
        adapted: of those, keys whose value was cut or filled up to another number of joints.
        missing: keys of the model without a value in the file.
        unknown: keys of the file that the model has not.
    """

    source: Path
    loaded: tuple[str, ...]
    adapted: tuple[str, ...]
    missing: tuple[str, ...]
    unknown: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"{self.source}: {len(self.loaded)} tensors loaded"]
        for name in ("adapted", "missing", "unknown"):
            keys = getattr(self, name)
            if keys:
                shown = ", ".join(keys[:3]) + (" ..." if len(keys) > 3 else "")
                lines.append(f"{len(keys)} {name} ({shown})")
        return ", ".join(lines)


def load_original(model: VoxelPose, path: str | Path) -> LoadReport:
    """Load a whole model of the original: `model_best`, `final_state` or `checkpoint.pth.tar`.

    Whole-state files, bare states, and the prefix `module.` of DataParallel are understood.

    Raises:
        InputError: the file is no checkpoint, or does not fill the whole model.
    """
    return fill_module(model, read_state(path), Path(path), whole=True)


def load_backbone(model: VoxelPose, path: str | Path) -> LoadReport:
    """Load the backbone alone: a PoseResNet, one in a whole model, or a ResNet for ImageNet.

    A final layer for other joints gives its first ones, as in the original; what the file does
    not hold keeps its initialization, and the report says so.

    Raises:
        InputError: the file is no checkpoint, or nothing in it fits the backbone.
    """
    path = Path(path)
    if not hasattr(model, "backbone"):
        raise InputError(f"checkpoint {path}: the model has no backbone, expected a BACKBONE_MODEL")
    state = read_state(path)
    if any(key.startswith("backbone.") for key in state):
        state = {
            key.removeprefix("backbone."): value
            for key, value in state.items()
            if key.startswith("backbone.")
        }
    adapted = _adapt_joints(state, model.backbone.state_dict())
    report = fill_module(model.backbone, state | adapted, path, tuple(adapted))
    if not report.loaded:
        raise InputError(f"checkpoint {path}: nothing in it fits the backbone")
    return report


def read_state(path: str | Path) -> dict[str, torch.Tensor]:
    """The tensors of a `*.pth` or `*.pth.tar` file, without the prefix `module.`.

    Raises:
        InputError: the file cannot be read, or holds something else.
    """
    return state_of(read_torch_file(Path(path)), path)


def state_of(content: Any, path: str | Path) -> dict[str, torch.Tensor]:
    """The state dict in what a file holds, bare or under "state_dict", without DDP's prefix.

    Raises:
        InputError: naming the file, when there is none.
    """
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not content:
        raise InputError(f"checkpoint {path}: holds no state dict")
    for key, value in content.items():
        if not isinstance(value, torch.Tensor):
            raise InputError(f"checkpoint {path}: '{key}' is no tensor, expected a state dict")
    return {str(key).removeprefix("module."): value for key, value in content.items()}


# The original's best precision is a numpy number. These names build one and can do nothing else.
_SCALAR: Any = np.float64(0).__reduce__()[0]
_NUMPY_NUMBER: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
    np.dtype,
    type(np.dtype(np.float64)),
]


def read_torch_file(path: Path) -> Any:
    """What `torch.save` wrote, if it is tensors and plain values.

    Raises:
        InputError: naming the file, when it is missing, broken, or holds anything else.
    """
    if not path.is_file():
        raise InputError(f"checkpoint {path}: no such file")
    try:
        with torch.serialization.safe_globals(_NUMPY_NUMBER):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise InputError(
            f"checkpoint {path}: is broken, or holds more than tensors and plain values, which is not opened"
        ) from None
    # torch's readers raise whatever a broken file leads them to.
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"checkpoint {path}: cannot be read ({reason})") from None


def fill_module(
    module: torch.nn.Module,
    state: dict[str, torch.Tensor],
    path: Path,
    adapted: tuple[str, ...] = (),
    whole: bool = False,
) -> LoadReport:
    """Load what has a place, where every tensor has its place's shape and a `whole` has all.

    Raises:
        InputError: naming the file and a tensor that is missing or has another shape.
    """
    expected = module.state_dict()
    fitting = {key: value for key, value in state.items() if key in expected}
    for key, value in fitting.items():
        if value.shape != expected[key].shape:
            raise InputError(
                f"checkpoint {path}: '{key}' has shape {tuple(value.shape)}, expected "
                f"{tuple(expected[key].shape)} by the configuration"
            )
    missing = [key for key in expected if key not in state and not key.endswith("batches_tracked")]
    if whole and missing:
        raise InputError(
            f"checkpoint {path}: {len(missing)} tensors of the model are missing, such as '{missing[0]}'"
        )
    module.load_state_dict(fitting, strict=False)
    unknown = [key for key in state if key not in expected]
    return LoadReport(path, tuple(fitting), adapted, tuple(missing), tuple(unknown))


def _adapt_joints(
    state: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """The final layer for another number of joints: the first ones, then the model's own."""
    adapted: dict[str, torch.Tensor] = {}
    for key in ("final_layer.weight", "final_layer.bias"):
        if key in state and state[key].shape[1:] == expected[key].shape[1:]:
            if len(state[key]) != len(expected[key]):
                count = min(len(state[key]), len(expected[key]))
                adapted[key] = torch.cat([state[key][:count], expected[key][count:].cpu()])
    return adapted
