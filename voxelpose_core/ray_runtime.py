"""Runs the ray model on numpy arrays: as fixed graphs in onnxruntime on a CPU, else in PyTorch.

The graphs lie in `voxelpose_core/models` and are written by `training/write_ray_graphs.py`. They hold no
weights: onnxruntime is given those of the model.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch

from voxelpose_core.errors import InputError
from voxelpose_core.models.ray_frame import RayFrame, RayProposals
from voxelpose_core.models.ray_pose import RayConfig, RayPose

logger = logging.getLogger(__name__)

FOLDER = Path(__file__).resolve().parent / "models"
PROPOSALS, FRAME = "ray_proposals.onnx", "ray_frame.onnx"
# Metadata of the graphs: what they were made for.
CONFIG_KEY = "config"
# The matrices are small: more threads gain nothing.
_MOST_THREADS = 2
# These of onnxruntime's optimizers would undo that vectors have their components first.
_UNDOING = ["TransposeOptimizer", "TransposeOptimizer_CPUExecutionProvider"]


class People(NamedTuple):
    """`ray_frame.People`, whose fields and shapes these are, as numpy arrays."""

    joints: np.ndarray
    covariances: np.ndarray
    confidence: np.ndarray
    support: np.ndarray
    shares: np.ndarray


class RayRuntime(Protocol):
    """What runs the model; shapes are those of `voxelpose_core/models/ray_frame.py`, as numpy arrays.

    Attributes:
        name: for people who ask what runs.
    """

    name: str

    def propose(self, cameras, directions, scores, pairs) -> tuple[np.ndarray, np.ndarray]:
        """Centres (K, 3), mm, and votes (K,): see `RayProposals.forward`."""
        ...

    def solve(self, cameras, directions, scores, centers, last, has_last) -> People:
        """See `RayFrame.forward`."""
        ...


class TorchRays:
    """The model in PyTorch, on the device where it lies.

    Args:
        model: the ray model.
    """

    name = "PyTorch"

    def __init__(self, model: RayPose):
        self._device = next(model.parameters()).device
        self._proposals = RayProposals(model.config.proposals)
        self._frame = RayFrame(model)

    def propose(self, *rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `RayRuntime.propose`."""
        centers, votes = self._run(self._proposals, rays)
        return centers, votes

    def solve(self, *rays: np.ndarray) -> People:
        """See `RayRuntime.solve`."""
        return People(*self._run(self._frame, rays))

    @torch.inference_mode()
    def _run(self, module: torch.nn.Module, arrays: tuple[np.ndarray, ...]) -> list[np.ndarray]:
        tensors = (torch.from_numpy(array).to(self._device) for array in arrays)
        return [tensor.cpu().numpy() for tensor in module(*tensors)]


class GraphRays:
    """The model as graphs in onnxruntime, on the CPU.

    Args:
        model: its weights are copied.
        folder: of the graphs.
        threads: of onnxruntime; None: as many as PyTorch may use, two at most.

    Raises:
        InputError: where the graphs are missing or damaged, or are not those of this model's
            configuration.
    """

    name = "onnxruntime"

    def __init__(self, model: RayPose, folder: Path = FOLDER, threads: int | None = None):
        import onnxruntime

        threads = threads or min(_MOST_THREADS, torch.get_num_threads())
        weights = {f"model.{key}": value for key, value in model.state_dict().items()}
        # onnxruntime does not copy them.
        self._weights = {
            name: onnxruntime.OrtValue.ortvalue_from_numpy(value.cpu().contiguous().numpy())
            for name, value in weights.items()
        }
        self._proposals = _session(folder / PROPOSALS, {}, model.config, threads)
        self._frame = _session(folder / FRAME, self._weights, model.config, threads)

    def propose(self, *rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See `RayRuntime.propose`."""
        centers, votes = _run(self._proposals, rays)
        return centers, votes

    def solve(self, *rays: np.ndarray) -> People:
        """See `RayRuntime.solve`."""
        return People(*_run(self._frame, rays))


def ray_runtime(model: RayPose) -> RayRuntime:
    """The runtime for this model where it lies: graphs on a CPU where they fit it, else PyTorch."""
    if next(model.parameters()).device.type != "cpu":
        return TorchRays(model)
    try:
        return GraphRays(model)
    except InputError as error:
        logger.warning(f"{error}; the ray model runs in PyTorch instead, which is slower")
        return TorchRays(model)


def architecture(config: RayConfig) -> dict[str, Any]:
    """What of a configuration the graphs depend on, as plain values."""
    return config.model_dump(mode="json", exclude={"confidence_threshold"})


def _session(path: Path, weights: dict[str, Any], config: RayConfig, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # A thread that waits by spinning takes the core that the detector needs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    if weights:
        options.add_external_initializers(list(weights), list(weights.values()))
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}), expected a graph") from None
    try:
        session = onnxruntime.InferenceSession(
            content,
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=_UNDOING,
        )
    # onnxruntime has a dozen exception classes, without a common base of its own.
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: does not fit the weights, or is damaged ({reason})") from None
    made_for = json.loads(session.get_modelmeta().custom_metadata_map.get(CONFIG_KEY, "null"))
    if made_for != architecture(config):
        raise InputError(f"{path}: made for another configuration than that of the weights")
    return session


def _run(session: Any, arrays: tuple[np.ndarray, ...]) -> list[np.ndarray]:
    names = (given.name for given in session.get_inputs())
    return session.run(None, dict(zip(names, arrays, strict=True)))
