"""What a process says of itself: memory, device."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterable


def peak_memory_mb() -> float:
    """Peak resident memory of this process in MB (1e6 bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e6


def progress(items: Iterable, description: str, total: int | None = None) -> Iterable:
    """A progress bar around ``items`` where standard error is a terminal."""
    from tqdm import tqdm

    return tqdm(items, desc=description, total=total, disable=None, leave=False)


def device_name(device) -> str:
    """``cpu``, or the GPU's own name."""
    import torch

    return "cpu" if device.type == "cpu" else torch.cuda.get_device_name(device)
