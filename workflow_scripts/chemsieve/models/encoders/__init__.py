"""Encoder families (extension point): each module is one, an :class:`EncoderFamily`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from chemsieve import registry

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class EncoderFamily(Protocol):
    """A module that makes and loads the masked-language models of one family."""

    def initialise(self, architecture: dict) -> PreTrainedModel:
        """A masked-language model of the given configuration keys, from random weights (seed torch beforehand)."""

    def load(self, folder: Path, config: dict) -> PreTrainedModel:
        """The masked-language model of an encoder folder whose ``config.json`` is ``config``; it must fit exactly."""

    def backbone(self, model: PreTrainedModel) -> PreTrainedModel:
        """The encoder inside the masked-language model."""

    def max_tokens(self, config: dict) -> int:
        """Longest input, special tokens included."""


def load(name: str) -> EncoderFamily:
    """The module of one family.

    Raises:
        ChemsieveError: there is no such family.
    """
    return cast("EncoderFamily", registry.load("models.encoders", name))
