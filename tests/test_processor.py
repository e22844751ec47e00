"""What a run says of the processor, and when bfloat16 is worth taking."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from chemsieve.runtime import processor


@pytest.fixture
def flags(monkeypatch):
    """Pretends that the processor has these flags, and the environment no limits."""
    for name in processor._LIMITS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(processor.platform, "machine", lambda: "x86_64")
    return lambda *found: monkeypatch.setattr(processor, "_flags", lambda: frozenset(found))


def test_the_instruction_set_is_said_in_one_order_with_its_limits(flags, monkeypatch):
    flags("sse2", "amx_bf16", "avx2", "avx512f")
    assert processor.instruction_set() == "x86_64 avx2 avx512f amx_bf16"
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert processor.instruction_set() == "x86_64 avx2 avx512f amx_bf16, ONEDNN_MAX_CPU_ISA=AVX2"
    flags()
    assert processor.instruction_set().startswith("x86_64, ")


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="no list of flags")
def test_flags_are_those_that_torch_sees():
    seen = torch.cpu.get_capabilities()
    for ours, theirs in (("avx2", "avx2"), ("avx512f", "avx512_f"), ("avx512_bf16", "avx512_bf16")):
        if theirs in seen:
            assert (ours in processor._flags()) == seen[theirs]


@pytest.mark.parametrize(
    ("supported", "limit", "taken"),
    [
        (True, None, True),
        (True, "ALL", True),
        (True, "AVX512_CORE_AMX", True),
        (True, "avx512_core_bf16", True),
        (True, "AVX2", False),
        (True, "AVX512_CORE_VNNI", False),
        (False, None, False),
    ],
)
def test_bfloat16_is_taken_where_it_is_native_and_not_forbidden(monkeypatch, supported, limit, taken):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: supported)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        monkeypatch.delenv(name, raising=False)
    if limit:
        monkeypatch.setenv("DNNL_MAX_CPU_ISA", limit)
    assert processor.multiplies_bfloat16() is taken


def test_it_is_light_to_import():
    code = "import sys, chemsieve.runtime.processor as p; p.instruction_set(); sys.exit('torch' in sys.modules)"
    folder = Path(processor.__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=folder, check=False).returncode == 0
