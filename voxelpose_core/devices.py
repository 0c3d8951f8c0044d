"""Where networks run, and how precisely."""

from __future__ import annotations

import torch

from voxelpose_core.errors import InputError
from voxelpose_core.processor import native_dtype


def select_device(name: str) -> torch.device:
    """torch.device of "auto", "cpu" or "cuda:N"; InputError where there is no such device."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"device '{name}' is unknown: expected auto, cpu or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"device '{name}' is not supported: expected auto, cpu or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"device '{name}': PyTorch sees {torch.cuda.device_count()} CUDA devices here, "
            "expected auto or cpu"
        )
    return device


def select_dtype(precision: str, device: torch.device) -> torch.dtype:
    """torch.dtype of "auto", "float32" or "bfloat16"; InputError for another.

    "auto" is bfloat16 where the hardware multiplies it, in training as in inference.
    """
    known = {
        "auto": native_dtype(device),
        "float32": torch.float32,
        "bfloat16": torch.bfloat16,
    }
    if precision not in known:
        raise InputError(f"precision '{precision}' is unknown: expected one of {', '.join(known)}")
    return known[precision]
