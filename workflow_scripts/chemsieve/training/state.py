"""The state of an interrupted training: one safetensors file, whole or absent, from which a later run goes on.

Beside the tensors, the file's header has JSON: counters, the curve, and the identity of the training, so that only the
training that left a state resumes from it.
"""

from __future__ import annotations

import json
import logging
import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from chemsieve.models.checkpoints import load_strictly, trained_names, trained_state
from chemsieve.runtime.files import write_atomically

if TYPE_CHECKING:
    from chemsieve.training.loop import Training

log = logging.getLogger(__name__)

FORMAT = 2  # of what a state holds: to be raised with each change of it
SHARE = 0.02  # of the time that writing states may take


# -- the file ----------------------------------------------------------------------------------------------------------


def write_state(path: str | Path, identity: str, tensors: dict[str, Tensor], facts: dict) -> None:
    """Write a state atomically; ``facts`` are JSON."""
    content = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    header = {"state": json.dumps({"format": FORMAT, "identity": identity, "facts": facts})}
    write_atomically(path, lambda temporary: save_file(content, temporary, header))


def read_state(path: str | Path, identity: str) -> tuple[dict[str, Tensor], dict] | None:
    """Tensors and facts of the state that was left, or ``None`` where there is none that this training can resume."""
    if not Path(path).exists():
        return None
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {})["state"])
            if header.get("format") != FORMAT:
                log.warning("%s was written by another release and is not resumed: the training begins anew", path)
                return None
            if header["identity"] != identity:
                log.warning("%s is of another run and is not resumed", path)
                return None
            return {name: file.get_tensor(name) for name in file.keys()}, header["facts"]  # noqa: SIM118 (no mapping)
    except (SafetensorError, AttributeError, KeyError, ValueError):
        log.warning("%s cannot be read: the training begins anew", path)
        return None


@dataclass
class Saves:
    """The states of one training: in which file, under which identity, and how often.

    A state is written when ``every`` seconds have passed since the last one, and later where writing would otherwise
    take more than a fiftieth of the time; 0 writes one after each step, and ``None`` none.
    """

    path: Path
    identity: str
    every: float | None
    written: float = field(default_factory=time.perf_counter)
    cost: float = 0.0

    def due(self, step: int) -> bool:
        """Whether to write a state now, after so many steps."""
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


@dataclass
class SavesBySteps(Saves):
    """As :class:`Saves`, but ``every`` counts steps; one more state is written after the last step, ``steps``."""

    steps: int = 0
    last: int = 0  # the step after which a state was written last

    def due(self, step: int) -> bool:
        return step != self.last and (step % self.every == 0 or step == self.steps)

    def write(self, tensors: dict[str, Tensor], facts: dict) -> None:
        super().write(tensors, facts)
        self.last = facts["step"]


# -- what it holds -----------------------------------------------------------------------------------------------------


def snapshot(training: Training) -> tuple[dict[str, Tensor], dict]:
    """Everything that the rest of a training follows from, as tensors and facts for :class:`Saves`."""
    progress, average = training.progress, training.average
    tensors = named("weights.", trained_state(training.model)) | moments(training.optimizer)
    tensors |= named("generators.", generator_states()) | training.tensors()
    if average is not None:
        tensors |= {f"average.{number}": tensor for number, tensor in enumerate(average.averages)}
    for name, values in (("losses", progress.losses), ("norms", progress.norms)):
        tensors |= {name: torch.stack(values)} if values else {}
    facts = {
        "step": progress.step,
        "curve": progress.curve,
        "seconds": progress.seconds,
        "round_began": progress.round_began,
        "schedule": training.schedule.state_dict(),
        "averaged": None if average is None else average.steps,
    }
    return tensors, facts | training.facts()


def restore(training: Training, tensors: dict[str, Tensor], facts: dict, source: str) -> None:
    """Bring a training that has just been built to where :func:`snapshot` found it.

    Raises:
        CheckpointMismatch: the weights do not fit the model; ``source`` says where they come from.
    """
    progress, model, average = training.progress, training.model, training.average
    load_strictly(model, below("weights.", tensors), trained_names(model), source)
    set_moments(training.optimizer, tensors)
    training.schedule.load_state_dict(facts["schedule"])
    for group, rate in zip(training.optimizer.param_groups, training.schedule.get_last_lr(), strict=True):
        group["lr"] = rate
    if average is not None:
        average.steps = facts["averaged"]
        for number, tensor in enumerate(average.averages):
            tensor.copy_(tensors[f"average.{number}"])
    device = next(model.parameters()).device
    for name, values in (("losses", progress.losses), ("norms", progress.norms)):
        values += list(tensors[name].to(device)) if name in tensors else []
    progress.step, progress.curve = facts["step"], facts["curve"]
    progress.started = time.perf_counter() - facts["seconds"]
    progress.round_began = facts["round_began"]
    training.load(tensors, facts)
    set_generators(below("generators.", tensors))


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


# -- random numbers ----------------------------------------------------------------------------------------------------


def seed_generators(seed: int) -> None:
    """Seed every generator that a training may draw from."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 (libraries use it)
    torch.manual_seed(seed)


def generator_states() -> dict[str, Tensor]:
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


def set_generators(states: dict[str, Tensor]) -> None:
    """Set every generator to what :func:`generator_states` gave."""
    torch.set_rng_state(states["torch"])
    gauss = states["python_gauss"].tolist()
    random.setstate((3, tuple(states["python"].tolist()), gauss[0] if gauss else None))
    place, has_gauss = states["numpy_place"].tolist()
    keys = states["numpy"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", keys, place, has_gauss, states["numpy_gauss"].item()))  # noqa: NPY002
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])
