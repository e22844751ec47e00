"""Parameter groups of the optimiser: which are decayed, and rates that fall from the head to the embeddings.

Layer-wise learning rates: Howard and Ruder 2018 (1801.06146).
"""

import re

from torch import nn

_LAYER = re.compile(r"(?:^|\.)layers?\.(\d+)\.")
# Biases and the weights of normalisations, whatever a family calls these: they are not decayed.
_UNDECAYED = re.compile(r"bias|layernorm|rmsnorm|(?:^|[._])norm(?:\.|$)", re.IGNORECASE)


def decayed_names(model: nn.Module) -> set[str]:
    """Names of the parameters that weight decay acts on: all but biases and those of normalisations."""
    norms = tuple(f"{name}." for name, module in model.named_modules() if isinstance(module, nn.LayerNorm) and name)
    return {name for name, _ in model.named_parameters() if not (_UNDECAYED.search(name) or name.startswith(norms))}


def depths(model: nn.Module) -> dict[str, int]:
    """Depth of each trainable parameter: 0 for embeddings, 1, 2, ... for layers, the largest for what comes after."""
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    layers = {name: int(match[1]) + 1 for name in names if (match := _LAYER.search(name))}
    last = max(layers.values(), default=0) + 1
    return {name: layers.get(name, 0 if "embedding" in name else last) for name in names}


def groups(model: nn.Module, decayed: set[str], learning_rate: float, weight_decay: float, decay: float) -> list[dict]:
    """Parameter groups for an optimiser: rate ``learning_rate`` at the head, times ``decay`` for each depth below.

    Args:
        decayed: names of the parameters that ``weight_decay`` acts on.

    Returns:
        One group for each pair of rate and decay, the lowest rate first.
    """
    parameters, depth = dict(model.named_parameters()), depths(model)
    last = max(depth.values())
    found: dict[tuple[float, bool], list] = {}
    for name, below in depth.items():
        found.setdefault((learning_rate * decay ** (last - below), name in decayed), []).append(parameters[name])
    return [
        {"params": members, "lr": rate, "weight_decay": weight_decay * shrinks}
        for (rate, shrinks), members in sorted(found.items(), key=lambda item: item[0])
    ]
