"""onnxruntime sessions of 2D nets: verified weights, threads, and where they run."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxelpose_core.errors import InputError

if TYPE_CHECKING:
    import onnxruntime

logger = logging.getLogger(__name__)

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"
# A rig has about four views: with more threads than that, each view gets several.
TYPICAL_VIEWS = 4


def verify_sha256(path: Path, expected: str) -> bytes:
    """The file's content; InputError where it cannot be read or is not what was shipped."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}), expected weights") from None
    digest = hashlib.sha256(content).hexdigest()
    if digest != expected:
        raise InputError(
            f"{path}: damaged file of {len(content)} bytes (sha256 {digest[:12]}..., "
            f"expected {expected[:12]}...): fetch it again"
        )
    return content


def thread_count(threads: int) -> int:
    """CPU threads, all of them for 0."""
    return threads or os.cpu_count() or 1


def tensorrt_device(device: str) -> str:
    """The device with TensorRT on the GPU that another one names ("auto" and "cpu": the first)."""
    index = device.partition(":")[2]
    return f"tensorrt:{index}" if index.isdigit() else "tensorrt"


def open_session(net: bytes | str, threads: int, device: str) -> onnxruntime.InferenceSession:
    """A session of a net that several threads run side by side, one image each.

    Args:
        net: the ONNX file's content, or its path.
        threads: CPU threads of all images together, 0 for all.
        device: "cpu", "auto", "cuda:N" or "tensorrt:N". Where onnxruntime cannot use TensorRT, the net runs
            on CUDA, and where it cannot use that, on the CPU; one line says so unless the device is "auto".
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = max(1, thread_count(threads) // TYPICAL_VIEWS)
    # A thread that waits by spinning takes the core that another view needs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    wanted = providers(device)
    session = onnxruntime.InferenceSession(net, options, providers=wanted)
    first = wanted[0][0] if len(wanted) > 1 else CPU
    if first not in session.get_providers():
        logger.warning(
            "the 2D detector runs on %s: onnxruntime could not start %s, whose CUDA, cuDNN or TensorRT "
            "libraries it did not find or could not use",
            "CUDA" if CUDA in session.get_providers() else "the CPU",
            first,
        )
    return session


def providers(device: str) -> list[Any]:
    """What onnxruntime runs a net with, the first choice first.

    Args:
        device: "cpu", "auto" (CUDA where onnxruntime has it), "cuda:N" or "tensorrt:N".

    Raises:
        InputError: for another device.
    """
    kind, _, index = device.partition(":")
    if kind not in ("auto", "cpu", "cuda", "tensorrt") or not (index.isdigit() or device == kind):
        raise InputError(f"device '{device}' is unknown: expected auto, cpu or cuda:N")
    if kind == "cpu":
        return [CPU]
    import onnxruntime

    available, number = onnxruntime.get_available_providers(), int(index or 0)
    on_gpu: list[Any] = []
    if kind == "tensorrt" and TENSORRT in available:
        on_gpu.append((TENSORRT, {"device_id": number, **_kept_engines()}))
    if CUDA in available:
        on_gpu.append((CUDA, {"device_id": number}))
    missing = TENSORRT if kind == "tensorrt" else CUDA
    if kind != "auto" and missing not in available:
        logger.warning(
            "the 2D detector runs on %s: this onnxruntime has no %s (install onnxruntime-gpu in "
            "place of onnxruntime)",
            "CUDA" if on_gpu else "the CPU",
            missing,
        )
    return [*on_gpu, CPU]


def _kept_engines() -> dict[str, Any]:
    """TensorRT takes minutes to make an engine of a net; it is kept for the next start."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "voxelpose" / "tensorrt"
    try:
        cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError:
        return {}
    return {"trt_engine_cache_enable": True, "trt_engine_cache_path": str(cache)}
