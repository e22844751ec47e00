"""What a process says of itself: memory, device."""

import resource
import sys


def peak_memory_mb() -> float:
    """Peak resident memory of this process in MB (1e6 bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e6


def device_name(device) -> str:
    """``cpu``, or the GPU's own name."""
    import torch

    return "cpu" if device.type == "cpu" else torch.cuda.get_device_name(device)
