"""Any tuner of the installed peft that fits the encoder's layers, by its name and with its own options.

``tuner`` is the name under which peft knows it (lora, hira, vera, oft, ...), ``options`` are fields of its
configuration class. docs/methods.md lists those that fit, and why the others do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from chemsieve.errors import ChemsieveError
from chemsieve.methods import _tuners
from chemsieve.methods._parts import HEAD, SHARED, TARGETS, freeze, module_names, train_head

if TYPE_CHECKING:
    from torch import nn

    from chemsieve.models.regressor import Regressor

OPTIONS: dict = {
    **HEAD,
    "tuner": {"type": "string", "default": "lora", "description": "its name in peft"},
    "options": {"type": "object", "default": {}, "description": "fields of its configuration class"},
    "targets": TARGETS | {"description": "dense layers that are adapted; ln_tuning and trainable_tokens have others"},
}
# What a tuner needs to be told where nothing is said.
_USUAL: dict[str, dict[str, Any]] = {"ia3": {"feedforward_modules": []}, "frod": {"progressbar": False}}
# Tuners that take the encoder's own weights apart. The parts go into checkpoints, since another machine may find them
# with other signs, or in another order.
_DECOMPOSING = ("frod", "osf", "psoft")


def narrowed(entry: dict, path: str) -> dict:
    """JSON Schema of the options of an entry, with those of the tuner that it names.

    Args:
        path: where in the configuration the entry stands.

    Raises:
        ChemsieveError: the tuner does not fit.
    """
    name = entry.get("tuner", OPTIONS["tuner"]["default"])
    if isinstance(name, str) and name in _tuners.REFUSED:
        raise ChemsieveError(
            f"configuration: {path}.tuner: {name} does not fit: {_tuners.REFUSED[name]} (docs/methods.md)"
        )
    fitting = _tuners.fitting()
    rules = OPTIONS | {"tuner": OPTIONS["tuner"] | {"enum": fitting}}
    if name not in fitting:
        return rules
    rules["options"] = OPTIONS["options"] | {"properties": _tuners.options(name), "additionalProperties": False}
    return {key: value for key, value in rules.items() if key != "targets"} if _has_layers(name) else rules


def apply(
    model: Regressor,
    tuner: str = "lora",
    options: dict[str, Any] | None = None,
    targets: Sequence[str] = ("query", "key", "value", "intermediate"),
    head: str = "all",
) -> None:
    from peft import PeftType
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING

    if tuner not in _tuners.fitting():
        raise ChemsieveError(f"peft: there is no tuner {tuner!r} here that fits; see docs/methods.md")
    given = options or {}
    if unknown := sorted(set(given) - set(_tuners.options(tuner))):
        raise ChemsieveError(f"peft: the tuner {tuner} has no option {unknown[0]!r}")
    kind = PeftType(tuner.upper())
    freeze(model)
    before = {id(p): p.detach().clone() for p in model.encoder.parameters()}
    try:
        layers = {"target_modules": _layers(model.encoder, tuner, targets)}
        config = PEFT_TYPE_TO_CONFIG_MAPPING[kind](**layers | _USUAL.get(tuner, {}) | given)
        adapter = PEFT_TYPE_TO_TUNER_MAPPING[kind](model.encoder, config, adapter_name="default")
    except (ArithmeticError, AssertionError, ImportError, LookupError, RuntimeError, TypeError, ValueError) as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise ChemsieveError(f"peft: the tuner {tuner} cannot be put into this encoder: {said}") from None
    _attach_shared(model.encoder, adapter)
    if tuner in _DECOMPOSING:
        _keep_buffers(model.encoder)
    model.made = _made(model.encoder, before)
    train_head(model, head)


def _has_layers(tuner: str) -> bool:
    """Whether it is clear which layers a tuner adapts."""
    return tuner in (_tuners.NORMS, _tuners.EMBEDDINGS)


def _layers(encoder: nn.Module, tuner: str, roles: Sequence[str]) -> list[str]:
    """Full names of the layers that a tuner adapts."""
    from torch import nn

    kind = {_tuners.NORMS: nn.LayerNorm, _tuners.EMBEDDINGS: nn.Embedding}.get(tuner)
    if kind is None:
        return module_names(encoder, list(roles))
    found = [name for name, module in encoder.named_modules() if isinstance(module, kind)]
    return found if tuner == _tuners.NORMS else [name for name in found if name.endswith("word_embeddings")]


def _made(encoder: nn.Module, before: dict[int, Any]) -> frozenset[str]:
    """Names, below the regressor, of frozen parameters that a tuner has made or changed."""
    import torch

    return frozenset(
        f"encoder.{name}"
        for name, parameter in encoder.named_parameters()
        if not parameter.requires_grad
        and (id(parameter) not in before or not torch.equal(before[id(parameter)], parameter))
    )


def _attach_shared(encoder: nn.Module, adapter: nn.Module) -> None:
    """Make what the adapted layers share a part of the encoder, where the layers themselves do not hold it."""
    from torch import nn

    held = {id(tensor) for tensor in encoder.state_dict(keep_vars=True).values()}
    shared = {name: child for name, child in adapter.named_children() if child is not encoder}
    lacking = {
        name: child
        for name, child in shared.items()
        if any(id(tensor) not in held for tensor in child.state_dict(keep_vars=True).values())
    }
    if lacking:
        encoder.add_module(SHARED, nn.ModuleDict(lacking))


def _keep_buffers(encoder: nn.Module) -> None:
    """Let checkpoints hold all that the adapters keep beside their parameters."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for layer in [module for module in encoder.modules() if isinstance(module, BaseTunerLayer)]:
        base = set(layer.get_base_layer().modules())
        for module in layer.modules():
            for name, buffer in list(module.named_buffers(recurse=False)) if module not in base else ():
                module.register_buffer(name, buffer, persistent=True)
