"""bfloat16 is chosen only where the processor multiplies it and the environment lets it."""

import os
import subprocess
import sys

import pytest
import torch

from voxelpose_core.devices import select_dtype
from voxelpose_core.processor import device_name, instruction_set, native_dtype

CPU = torch.device("cpu")


@pytest.fixture
def processor(monkeypatch):
    """A function that makes this processor another one, in another environment."""

    def become(aten, amx, bfloat16, **environment):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: aten)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bfloat16, raising=False)
        for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        instruction_set.cache_clear()

    yield become
    monkeypatch.undo()
    instruction_set.cache_clear()


@pytest.mark.parametrize(
    "aten, amx, bfloat16, limit, expected",
    [
        ("AVX512", True, True, "", "AMX"),
        ("AVX512", False, True, "", "AVX512-BF16"),
        ("AVX512", False, True, "DEFAULT", "AVX512-BF16"),
        ("AVX512", False, False, "", "AVX512"),
        ("AVX2", False, False, "", "AVX2"),
        ("NO AVX", False, False, "", "other"),
        # ATEN_CPU_CAPABILITY=avx2 on a processor that has more.
        ("AVX2", True, True, "", "AVX2"),
        ("AVX512", True, True, "AVX2", "AVX2"),
        ("AVX512", True, True, "avx512_core", "AVX512"),
        ("AVX512", True, True, "AVX512_CORE_BF16", "AVX512-BF16"),
        ("AVX512", True, True, "AVX512_CORE_AMX", "AMX"),
        # Converts bfloat16, but does not multiply it.
        ("AVX2", False, False, "AVX2_VNNI_2", "AVX2"),
    ],
)
def test_the_effective_instruction_set_decides(processor, aten, amx, bfloat16, limit, expected):
    processor(aten, amx, bfloat16, ONEDNN_MAX_CPU_ISA=limit)
    assert instruction_set() == expected
    native = expected in ("AMX", "AVX512-BF16")
    assert native_dtype(CPU) == (torch.bfloat16 if native else torch.float32)
    assert select_dtype("auto", CPU) == native_dtype(CPU)
    assert device_name(CPU).endswith(f", {expected}")


def test_the_older_name_of_the_limit_counts_too(processor):
    processor("AVX512", True, True, DNNL_MAX_CPU_ISA="AVX2")
    assert instruction_set() == "AVX2"


def test_any_processor_stands_in_for_one_with_avx2():
    """In a process of its own: PyTorch reads the environment once."""
    if torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"):
        pytest.skip("this processor has no AVX2")
    script = """
import torch
from voxelpose_core.processor import instruction_set, native_dtype
print(instruction_set(), native_dtype(torch.device("cpu")))
"""
    for limit in ({"ATEN_CPU_CAPABILITY": "avx2"}, {"ONEDNN_MAX_CPU_ISA": "AVX2"}):
        done = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, **limit},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split() == ["AVX2", "torch.float32"]
