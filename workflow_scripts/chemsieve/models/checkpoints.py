"""Checkpoints: safetensors only, loaded strictly, written atomically.

A checkpoint that lacks a tensor, holds one too many, or holds one of another shape is an error, never a warning: an
audited study evaluated a model into which none of 209 tensors had been loaded.
"""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from chemsieve.errors import CheckpointMismatch, ChemsieveError
from chemsieve.runtime.files import write_atomically


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file, by name.

    Raises:
        ChemsieveError: the file is missing or is not safetensors (a pickle, for example, which is never opened).
    """
    try:
        return load_file(path)
    except FileNotFoundError:
        raise ChemsieveError(f"{path}: there is no such checkpoint file") from None
    except (SafetensorError, ValueError) as error:
        raise ChemsieveError(f"{path}: not a readable safetensors file ({error}); no other format is loaded") from None


def write_tensors(tensors: dict[str, Tensor], path: str | Path) -> None:
    """Write tensors atomically, moved to the processor and detached; a non-finite value is an error."""
    content = {}
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ChemsieveError(f"{path}: tensor {name} holds a non-finite value; the training diverged")
        content[name] = tensor.clone()  # safetensors refuses tensors that share memory
    write_atomically(path, lambda temporary: save_file(content, temporary))


def _first(names: list[str]) -> str:
    return f"{len(names)} (first: {names[0]})"


def load_strictly(module: nn.Module, tensors: dict[str, Tensor], names: list[str] | None = None, source="") -> None:
    """Copy ``tensors`` into the parameters and buffers of ``module`` that ``names`` lists (default: its state dict).

    Raises:
        CheckpointMismatch: the names differ in any way, or a shape does.
    """
    state = module.state_dict(keep_vars=True)
    wanted = list(state) if names is None else names
    missing = sorted(set(wanted) - set(tensors))
    unexpected = sorted(set(tensors) - set(wanted))
    shapes = sorted(n for n in set(wanted) & set(tensors) if state[n].shape != tensors[n].shape)
    problems = []
    if missing:
        problems.append(f"lacks {_first(missing)} of {len(wanted)} tensors")
    if unexpected:
        problems.append(f"holds {_first(unexpected)} tensors that the model has not")
    if shapes:
        name = shapes[0]
        problems.append(
            f"has {_first(shapes)} of another shape: {list(tensors[name].shape)} for {list(state[name].shape)}"
        )
    if problems:
        raise CheckpointMismatch(f"{source or 'checkpoint'} does not fit the model: it {', and it '.join(problems)}")
    with torch.no_grad():
        for name in wanted:
            state[name].copy_(tensors[name])


def trained_names(module: nn.Module) -> list[str]:
    """Names of what training can change: trainable parameters, and all persistent buffers; a shared tensor's first.

    The buffers hold the random features in force at the end of training and the label's scale; an adapter without
    them would predict with other features than it was trained with. Frozen parameters that a fine-tuning method has
    made, ``made`` of a regressor, are among the names.
    """
    made: frozenset[str] = getattr(module, "made", frozenset())
    frozen = {name for name, parameter in module.named_parameters() if not parameter.requires_grad} - made
    names: dict[int, str] = {}
    for name, tensor in module.state_dict(keep_vars=True).items():
        if name not in frozen:
            names.setdefault(id(tensor), name)
    return list(names.values())


def trained_state(module: nn.Module) -> dict[str, Tensor]:
    """A copy, on the processor, of the tensors that :func:`trained_names` lists."""
    state = module.state_dict()
    return {name: state[name].detach().to("cpu", copy=True) for name in trained_names(module)}
