"""Any RoBERTa- or BERT-like encoder that ``transformers`` itself knows, such as ChemBERTa; no remote code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from chemsieve.errors import CheckpointMismatch, ChemsieveError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def _build(config: dict) -> PreTrainedModel:
    from transformers import AutoConfig, AutoModelForMaskedLM

    # Eager attention: scaled-dot-product attention has no double backward and no forward-mode derivative.
    known = AutoConfig.for_model(**{k: v for k, v in config.items() if k not in ("architectures", "auto_map")})
    return AutoModelForMaskedLM.from_config(known, attn_implementation="eager")


def initialise(architecture: dict) -> PreTrainedModel:
    """A masked-language model of the given configuration keys (``model_type`` among them), from random weights."""
    try:
        return _build(architecture)
    except (ValueError, TypeError, KeyError) as error:
        raise ChemsieveError(f"encoder.architecture: {error}") from None


def load(folder: Path, config: dict) -> PreTrainedModel:
    """The masked-language model of a folder; every tensor must fit, and no tensor may be missing or left over.

    Raises:
        CheckpointMismatch: the checkpoint and the model differ.
    """
    from safetensors import SafetensorError
    from transformers import AutoModelForMaskedLM

    try:
        model, info = AutoModelForMaskedLM.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            attn_implementation="eager",
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise CheckpointMismatch(f"{folder}: the encoder does not load ({str(error).splitlines()[0]})") from None
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        # The pooler belongs to another task's layout; position ids are constants that older releases saved.
        names = [str(n) for n in info[kind] if ".pooler." not in str(n) and not str(n).endswith("position_ids")]
        if names:
            raise CheckpointMismatch(f"{folder}/model.safetensors: {kind.replace('_', ' ')}: {sorted(names)[:3]}")
    return model.float()


def backbone(model: PreTrainedModel) -> PreTrainedModel:
    """The encoder inside the masked-language model."""
    return cast("PreTrainedModel", model.base_model)


def max_tokens(config: dict) -> int:
    """Longest input, special tokens included. RoBERTa numbers positions from pad_token_id + 1, so two are lost."""
    positions = int(config["max_position_embeddings"])
    return positions - int(config.get("pad_token_id") or 0) - 1 if "roberta" in config["model_type"] else positions
