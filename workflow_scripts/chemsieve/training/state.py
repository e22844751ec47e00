"""The state of a training: all that its rest follows from, taken while it runs and given back when it is resumed."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from chemsieve.models.checkpoints import load_strictly, trained_names, trained_state

if TYPE_CHECKING:
    from chemsieve.training.loop import Training

Value = TypeVar("Value")


def snapshot(training: Training) -> tuple[dict[str, Tensor], dict]:
    """Everything that the rest of a training follows from, as tensors and as JSON."""
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


def named(prefix: str, tensors: Mapping[str, Value]) -> dict[str, Value]:
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
    state = cast("tuple[str, np.ndarray, int, int, float]", np.random.get_state())  # noqa: NPY002 (libraries use it)
    kind, keys, place, has_gauss, cached = state
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
