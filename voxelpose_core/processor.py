"""What the processor, or the GPU, multiplies natively: decides in which dtype convolutions compute."""

from __future__ import annotations

import functools
import os
import platform
from pathlib import Path

import torch

# Instruction sets that decide how fast convolutions run, from best to worst. Those of
# `NATIVE_BFLOAT16` multiply bfloat16; on the others oneDNN emulates it, slower than float32.
AMX, AVX512_BF16, AVX512, AVX2, OTHER = "AMX", "AVX512-BF16", "AVX512", "AVX2", "other"
NATIVE_BFLOAT16 = (AMX, AVX512_BF16)
# What oneDNN's ONEDNN_MAX_CPU_ISA allows (DNNL_MAX_CPU_ISA is its older name). Values that are not
# listed are newer than AVX512_CORE_BF16, or DEFAULT, and limit nothing but AMX where they lack it.
_ONEDNN_LIMITS = {
    "SSE41": OTHER,
    "AVX": OTHER,
    "AVX2": AVX2,
    "AVX2_VNNI": AVX2,
    "AVX2_VNNI_2": AVX2,
    "AVX512_CORE": AVX512,
    "AVX512_CORE_VNNI": AVX512,
    "AVX512_CORE_BF16": AVX512_BF16,
    "AVX512_CORE_FP16": AVX512_BF16,
    "AVX10_1_512": AVX512_BF16,
}


def native_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the hardware multiplies it natively, else float32; in training as in inference.

    float16 is never chosen: it overflows within the 3D networks.
    """
    if device.type == "cuda":
        native = torch.cuda.get_device_capability(device) >= (8, 0)
    else:
        native = instruction_set() in NATIVE_BFLOAT16
    return torch.bfloat16 if native else torch.float32


@functools.cache
def instruction_set() -> str:
    """The best instruction set that PyTorch's convolutions use in this process: one of the above.

    That is what the processor has and neither ATEN_CPU_CAPABILITY nor ONEDNN_MAX_CPU_ISA forbids:
    with these two any x86 processor stands in for a lesser one.
    """
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or ""
    allowed = _ONEDNN_LIMITS.get(limit.upper(), AMX)
    return max(_known_to_aten(), allowed, key=(AMX, AVX512_BF16, AVX512, AVX2, OTHER).index)


def _known_to_aten() -> str:
    # ATen's capability heeds ATEN_CPU_CAPABILITY and has no level above AVX512; torch.cpu's functions
    # ask the processor, whatever the environment says. PyTorch versions without them do not use
    # what they ask for.
    capability = torch.backends.cpu.get_cpu_capability()
    if not capability.startswith("AVX512"):
        return AVX2 if capability == "AVX2" else OTHER
    for name, function in (
        (AMX, "_is_amx_tile_supported"),
        (AVX512_BF16, "_is_avx512_bf16_supported"),
    ):
        if getattr(torch.cpu, function, lambda: False)():
            return name
    return AVX512


def device_name(device: torch.device) -> str:
    """The GPU's name, or the processor's with the instruction set that convolutions use on it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{_processor_name()}, {instruction_set()}"


def _processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
