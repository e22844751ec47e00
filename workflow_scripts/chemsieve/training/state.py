"""Where an interrupted training stood: one safetensors file, whole or absent, that a later run goes on from.

Beside the tensors its header has JSON: counters, the curve, and the identity of the training, so that a state is
resumed by the very training that left it and by no other.
"""

import json
import logging
import random
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from chemsieve.runtime.files import write_atomically

log = logging.getLogger(__name__)

SHARE = 0.02  # of the time that writing states may take


def write_state(path: str | Path, identity: str, tensors: dict[str, Tensor], facts: dict) -> None:
    """Write a state atomically; ``facts`` are JSON."""
    content = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    header = {"state": json.dumps({"identity": identity, "facts": facts})}
    write_atomically(path, lambda temporary: save_file(content, temporary, header))


def read_state(path: str | Path, identity: str) -> tuple[dict[str, Tensor], dict] | None:
    """Tensors and facts of the state that was left, or ``None`` where there is none that this training can resume."""
    if not Path(path).exists():
        return None
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {})["state"])
            if header["identity"] != identity:
                log.warning("%s is of another run and is not resumed", path)
                return None
            return {name: file.get_tensor(name) for name in file.keys()}, header["facts"]  # noqa: SIM118 (no mapping)
    except (SafetensorError, KeyError, ValueError):
        log.warning("%s cannot be read: the training begins anew", path)
        return None


def named(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors with ``prefix`` before their names, for a place in a state."""
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Of a state's tensors those that :func:`named` gave with ``prefix``, by their names without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def moments(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What an optimiser keeps of each parameter, for a place in a state."""
    tensors: dict[str, Tensor] = {}
    for number, parameter in enumerate(_parameters(optimizer)):
        tensors |= named(f"moments.{number}.", optimizer.state[parameter])
    return tensors


def set_moments(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Give an optimiser back what :func:`moments` took; AdamW's count of steps stays on the processor."""
    for number, parameter in enumerate(_parameters(optimizer)):
        found = below(f"moments.{number}.", tensors)
        optimizer.state[parameter] = {k: v if k == "step" else v.to(parameter.device) for k, v in found.items()}


def _parameters(optimizer: torch.optim.Optimizer) -> list[torch.nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


@dataclass
class Saves:
    """The states of one training: where, whose, and how often.

    A state is written ``every`` so many seconds, and later where that would take more than a fiftieth of the time; 0
    writes one after each step, and ``None`` none.
    """

    path: Path
    identity: str
    every: float | None
    written: float = field(default_factory=time.perf_counter)
    cost: float = 0.0

    def due(self) -> bool:
        """Whether the next state is to be written."""
        if self.every is None:
            return False
        return time.perf_counter() - self.written >= (max(self.every, self.cost / SHARE) if self.every else 0)

    def write(self, tensors: dict[str, Tensor], facts: dict) -> None:
        began = time.perf_counter()
        write_state(self.path, self.identity, tensors, facts)
        self.written = time.perf_counter()
        self.cost = self.written - began

    def read(self) -> tuple[dict[str, Tensor], dict] | None:
        return read_state(self.path, self.identity)

    def remove(self) -> None:
        """To be called when the training's files are written: until then a kill loses nothing."""
        self.path.unlink(missing_ok=True)


# -- random numbers ----------------------------------------------------------------------------------------------------


def draws() -> dict[str, Tensor]:
    """The state of every generator that a training may draw from."""
    version, words, gauss = random.getstate()
    kind, keys, place, has_gauss, cached = np.random.get_state()  # noqa: NPY002 (libraries use it)
    assert (version, kind) == (3, "MT19937")
    found = {
        "torch": torch.get_rng_state(),
        "python": torch.tensor(words, dtype=torch.int64),
        "python_gauss": torch.tensor([] if gauss is None else [gauss], dtype=torch.float64),
        "numpy": torch.from_numpy(keys.astype(np.int64)),
        "numpy_place": torch.tensor([place, has_gauss], dtype=torch.int64),
        "numpy_gauss": torch.tensor([cached], dtype=torch.float64),
    }
    if torch.cuda.is_available():
        found["cuda"] = torch.cuda.get_rng_state()
    return found


def set_draws(state: dict[str, Tensor]) -> None:
    """Set every generator to what :func:`draws` gave."""
    torch.set_rng_state(state["torch"])
    gauss = state["python_gauss"].tolist()
    random.setstate((3, tuple(state["python"].tolist()), gauss[0] if gauss else None))
    place, has_gauss = state["numpy_place"].tolist()
    keys = state["numpy"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", keys, place, has_gauss, state["numpy_gauss"].item()))  # noqa: NPY002
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
