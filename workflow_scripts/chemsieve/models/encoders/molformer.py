"""The MoLFormer family: the published layout on our own classes (:mod:`chemsieve.models.molformer`)."""

from pathlib import Path
from typing import cast

from transformers import PreTrainedModel

from chemsieve.errors import ChemsieveError
from chemsieve.models.checkpoints import load_strictly, read_tensors
from chemsieve.models.molformer.configuration import MolformerConfig
from chemsieve.models.molformer.modeling import MolformerForMaskedLM


def initialise(architecture: dict) -> PreTrainedModel:
    """A masked-language model of the given configuration keys, from random weights (seed torch beforehand)."""
    return _build(architecture)


def _build(architecture: dict) -> MolformerForMaskedLM:
    try:
        return MolformerForMaskedLM(MolformerConfig(**architecture))
    except (ValueError, TypeError) as error:
        raise ChemsieveError(f"encoder.architecture: {error}") from None


def load(folder: Path, config: dict) -> PreTrainedModel:
    """The masked-language model of a folder; its ``model.safetensors`` must fit exactly.

    Accepted layouts are the masked-language model (``molformer.*`` and ``lm_head.*``, as published) and one with the
    published regression head (``molformer.*`` and ``classifier.*``), whose head is left out and whose language-model
    head starts from random weights.
    """
    model = _build({key: value for key, value in config.items() if key not in ("architectures", "model_type")})
    tensors = read_tensors(folder / "model.safetensors")
    source = str(folder / "model.safetensors")
    if any(name.startswith("lm_head.") for name in tensors):
        load_strictly(model, tensors, source=source)
    else:
        backbone = {
            name.removeprefix("molformer."): t for name, t in tensors.items() if not name.startswith("classifier.")
        }
        load_strictly(model.molformer, backbone, source=source)
    return model


def backbone(model: PreTrainedModel) -> PreTrainedModel:
    """The encoder inside the masked-language model."""
    return cast("MolformerForMaskedLM", model).molformer


def max_tokens(config: dict) -> int:
    """Longest input, special tokens included."""
    return int(config.get("max_position_embeddings", 202))
