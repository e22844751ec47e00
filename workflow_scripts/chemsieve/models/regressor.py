"""The regressor: an encoder, the masked mean of its last layer, and a linear head with or without layers before it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import PreTrainedModel

from chemsieve import methods
from chemsieve.models import backbone, encoders
from chemsieve.models.checkpoints import load_strictly, read_tensors, trained_names
from chemsieve.models.descriptor_head import DescriptorHead, Featuriser, unpadded
from chemsieve.models.kernel_head import KernelHead
from chemsieve.models.molformer.dropout import Dropout
from chemsieve.models.molformer.modeling import MolformerModel, masked_mean


class Scaling(nn.Module):
    """Multiply each component of (batch, ``size``) by a trained number, one at the start."""

    def __init__(self, size: int):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(size))

    def forward(self, pooled: Tensor) -> Tensor:
        return pooled * self.scale


class Regressor(nn.Module):
    """Predict one property from token ids.

    Inside, labels are standardised: ``label_mean`` and ``label_scale`` are buffers, so that a checkpoint carries them
    and :meth:`predict` answers in the label's own units.

    Args:
        encoder: the encoder.
        hidden_size: its width.
        dropout: probability before the linear head.
        head_inputs: what stands between the pooled output and the linear head, and sees descriptors too; None: nothing.
    """

    pooled: nn.Module
    label_mean: Tensor
    label_scale: Tensor
    # Names of frozen parameters that a method has made or changed: no encoder holds them, and so checkpoints do.
    made: frozenset[str] = frozenset()

    def __init__(
        self,
        encoder: PreTrainedModel,
        hidden_size: int,
        dropout: float,
        head_inputs: DescriptorHead | KernelHead | None = None,
    ):
        super().__init__()
        self.encoder = encoder
        self.pooled = nn.Identity()
        self.head_inputs = head_inputs
        # The coefficients of a kernel regression cancel each other: to drop some would leave noise alone.
        self.dropout = Dropout(0.0 if isinstance(head_inputs, KernelHead) else dropout)
        self.head = nn.Linear(hidden_size if head_inputs is None else head_inputs.out_features, 1)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)
        self.register_buffer("label_mean", torch.zeros((), dtype=torch.float64))
        self.register_buffer("label_scale", torch.ones((), dtype=torch.float64))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Standardised predictions (batch,) for ``input_ids`` and ``attention_mask`` (batch, length)."""
        pooled = self.pooled_output(input_ids, attention_mask)
        return self.readout(pooled, [] if self.head_inputs is None else unpadded(input_ids, attention_mask))

    def pooled_output(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """What :meth:`readout` takes, (batch, hidden), for the arguments of :meth:`forward`."""
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return self.pooled(masked_mean(hidden, attention_mask))

    def readout(self, pooled: Tensor, ids: Sequence[Sequence[int]]) -> Tensor:
        """Standardised predictions (batch,) of what :attr:`pooled` gives, (batch, hidden).

        ``ids``: token ids of the same molecules, which :attr:`head_inputs` reads where there is one.
        """
        return self.head(self.entering_head(pooled, ids)).squeeze(-1)

    def entering_head(self, pooled: Tensor, ids: Sequence[Sequence[int]]) -> Tensor:
        """What the linear head takes, (batch, width), for the arguments of :meth:`readout`."""
        if self.head_inputs is not None:
            pooled = self.head_inputs(pooled, ids)
        return self.dropout(pooled)

    def in_label_units(self, standardised: Tensor) -> Tensor:
        """Standardised predictions in the label's own units, float64."""
        return standardised.double() * self.label_scale + self.label_mean

    @torch.no_grad()
    def predict(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Predictions (batch,) in the label's own units, float64, for the arguments of :meth:`forward`.

        The model stays in the mode that it is in: a prediction without noise needs evaluation mode.
        """
        return self.in_label_units(self(input_ids, attention_mask))

    def scale_pooled(self) -> None:
        """Put a trained scaling vector, ones, on the encoder's pooled output."""
        self.pooled = Scaling(self.encoder.config.hidden_size).to(self.head.weight.device)

    def resize_kernel(self, count: int) -> None:
        """Make room for so many centres of a kernel regression, whose coefficients are then zero."""
        if not isinstance(self.head_inputs, KernelHead):
            raise TypeError("the regressor's head is no kernel regression")
        self.head_inputs.resize(count)
        weight = self.head.weight
        self.head.weight = nn.Parameter(weight.new_zeros(1, count), requires_grad=weight.requires_grad)
        self.head.in_features = count

    def fit_shape(self, tensors: Mapping[str, Tensor]) -> None:
        """Make room for what a checkpoint holds: a kernel regression is as large as its training set."""
        if isinstance(self.head_inputs, KernelHead) and "head_inputs.centres" in tensors:
            self.resize_kernel(len(tensors["head_inputs.centres"]))

    def set_label_scale(self, mean: float, scale: float) -> None:
        """Fix the standardisation from the training labels."""
        self.label_mean.fill_(mean)
        self.label_scale.fill_(scale)

    @torch.no_grad()
    def change_label_scale(self, mean: float, scale: float) -> None:
        """Fix another standardisation and adjust the head, so that predictions in label units stay as they are."""
        ratio = float(self.label_scale) / scale
        shift = (float(self.label_mean) - mean) / scale
        self.head.weight.mul_(ratio)
        self.head.bias.mul_(ratio).add_(shift)
        self.set_label_scale(mean, scale)


def set_dropout(model: Regressor, hidden: float | None, embedding: float | None) -> None:
    """Override the encoder's dropout probabilities; ``None`` keeps what its configuration says."""
    for name, module in model.encoder.named_modules():
        value = embedding if "embeddings" in name else hidden
        if isinstance(module, nn.Dropout) and value is not None:
            module.p = value


def disable_noise(model: Regressor) -> None:
    """Switch off, in training too, all that is random but the order of the molecules: dropout and fresh features."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(module, MolformerModel):
            module.fixed_features = True


def head_inputs(
    head: dict | None, width: int, tokenizer: Tokenizer, dropout: float
) -> DescriptorHead | KernelHead | None:
    """What ``finetune.head`` asks for, on an encoder of that width; None where that is a linear head alone.

    ``dropout`` is ``finetune.dropout.head``, which a kernel regression has on the encoder's output.
    """
    # Model folders that were written before there was a kernel say nothing of it.
    kernel = bool(head and head.get("kernel"))
    if not head or not (head["descriptors"] or head["morgan"] or kernel):
        return None
    featuriser = Featuriser(tokenizer, head["descriptors"], head["morgan"])
    if kernel:
        return KernelHead(width, featuriser, dropout)
    return DescriptorHead(width, featuriser, head["hidden"], head["dropout"])


def build(
    encoder_folder: str | Path,
    family: str,
    dropout: dict,
    base: str | Path | None = None,
    head: dict | None = None,
) -> Regressor:
    """A regressor on an encoder folder, with a fresh head (seed torch beforehand) and all parameters trainable.

    ``head`` is ``finetune.head`` of the configuration; ``base`` is a checkpoint of a fully fine-tuned regressor whose
    weights it takes instead, loaded strictly.
    """
    masked_lm = backbone.load_masked_lm(encoder_folder, family)
    encoder = encoders.load(family).backbone(masked_lm)
    width = masked_lm.config.hidden_size
    before_head = dropout.get("head") or 0.0
    inputs = head_inputs(head, width, backbone.load_tokenizer(encoder_folder), before_head)
    model = Regressor(encoder, width, before_head, inputs)
    set_dropout(model, dropout.get("hidden"), dropout.get("embedding"))
    if base is not None:
        tensors = read_tensors(base)
        model.fit_shape(tensors)
        load_strictly(model, tensors, source=str(base))
    return model


def restore(
    encoder_folder: str | Path,
    family: str,
    method: str,
    options: dict,
    checkpoint: str | Path,
    base: str | Path | None = None,
    dropout: dict | None = None,
    head: dict | None = None,
) -> Regressor:
    """A trained regressor: the encoder folder with a run's checkpoint on top, loaded strictly, evaluation mode.

    ``base`` is the fully fine-tuned regressor that an adapter was trained on, where it was not the encoder.
    ``dropout`` is that of its training, for passes with dropout; ``head`` is ``finetune.head``.
    """
    model = build(encoder_folder, family, dropout or {}, base, head)
    methods.load(method).apply(model, **options)
    tensors = read_tensors(checkpoint)
    model.fit_shape(tensors)
    load_strictly(model, tensors, trained_names(model), source=str(checkpoint))
    return model.eval()
