"""onnxruntime sessions of the shipped 2D nets: verified weights, threads, and where they run."""

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


def open_session(content: bytes, threads: int, device: str) -> onnxruntime.InferenceSession:
    """A session of a net that several threads run side by side, one image each.

    Args:
        content: the ONNX file.
        threads: CPU threads of all images together, 0 for all.
        device: "cpu", "auto" or "cuda:N". Where onnxruntime cannot use CUDA, the net runs on the CPU,
            and one line says so unless the device is "auto".
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = max(1, thread_count(threads) // TYPICAL_VIEWS)
    # A thread that waits by spinning takes the core that another view needs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    wanted = providers(device)
    session = onnxruntime.InferenceSession(content, options, providers=wanted)
    if len(wanted) > 1 and CUDA not in session.get_providers():
        logger.warning(
            "the 2D detector runs on the CPU: onnxruntime could not start %s, whose CUDA and cuDNN "
            "libraries it did not find or could not use",
            CUDA,
        )
    return session


def providers(device: str) -> list[Any]:
    """What onnxruntime runs a net with, the first choice first.

    Args:
        device: "cpu", "auto" (CUDA where onnxruntime has it) or "cuda:N".

    Raises:
        InputError: for another device.
    """
    kind, _, index = device.partition(":")
    if kind not in ("auto", "cpu", "cuda") or not (index.isdigit() or device == kind):
        raise InputError(f"device '{device}' is unknown: expected auto, cpu or cuda:N")
    if kind == "cpu":
        return [CPU]
    import onnxruntime

    if CUDA in onnxruntime.get_available_providers():
        return [(CUDA, {"device_id": int(index or 0)}), CPU]
    if kind == "cuda":
        logger.warning(
            "the 2D detector runs on the CPU: this onnxruntime has no %s (install onnxruntime-gpu in "
            "place of onnxruntime)",
            CUDA,
        )
    return [CPU]
