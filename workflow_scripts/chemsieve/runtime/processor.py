"""The processor that numbers come from: its instruction set, and what torch may use of it.

The same training on processors with other instruction sets gives other weights (docs/results.md, Which numbers depend
on the processor), so that each run says what it ran on.
"""

import os
import platform
from functools import cache
from pathlib import Path

# Flags of Linux that decide which kernels torch, oneDNN and OpenBLAS take, from the oldest to the newest.
_FLAGS = (
    *("avx", "avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8"),
    *("asimd", "asimddp", "sve", "sve2", "bf16", "i8mm"),
)
_LIMITS = (
    *("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"),
    *("MKL_ENABLE_INSTRUCTIONS", "OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES"),
)
_WITH_BFLOAT16 = ("BF16", "AMX", "AVX10", "FP16", "ALL", "DEFAULT")  # in the names that oneDNN gives its limits


@cache
def _flags() -> frozenset[str]:
    """Flags of the processor, where the system lists them (Linux); empty elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return frozenset()
    lines = (line for line in text.splitlines() if line.lower().startswith(("flags", "features")))
    return frozenset(next(lines, "").partition(":")[2].split())


def instruction_set() -> str:
    """Architecture, extensions that change numbers, and limits that the environment sets, in one line.

    For example ``x86_64 avx avx2 fma avx512f avx512_bf16, ATEN_CPU_CAPABILITY=avx2``.
    """
    found = " ".join([platform.machine(), *(flag for flag in _FLAGS if flag in _flags())])
    limits = [f"{name}={os.environ[name]}" for name in _LIMITS if os.environ.get(name)]
    return ", ".join([found, *limits])


def multiplies_bfloat16() -> bool:
    """Whether torch multiplies bfloat16 matrices natively on this processor.

    It does not where oneDNN is kept from it by the environment: the product is then emulated, many times slower than
    that of float32.
    """
    import torch

    if not (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()):
        return False
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or "ALL"
    return any(word in limit.upper() for word in _WITH_BFLOAT16)
