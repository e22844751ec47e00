"""Adaptation of an encoder to molecules: by masked-language modelling, by what is computed of them, or by both.

The loss is a sum with weights (:mod:`chemsieve.training.objectives`). What is learned beside the masked tokens is
predicted from the mean of the last layer, by heads that are left behind (:mod:`chemsieve.training.heads`).
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import PreTrainedModel

from chemsieve.errors import ChemsieveError
from chemsieve.models import backbone, encoders, tokenization
from chemsieve.training.batches import MaskingCollator, by_length
from chemsieve.training.epochs import Outcome, Settings, fit
from chemsieve.training.heads import (
    Corpus,
    Standard,
    fit_linearly,
    fits,
    last_outputs,
    linear,
    losses,
    masked,
    of_table,
    standardisation,
    targets,
)
from chemsieve.training.held_out import masked_figures
from chemsieve.training.loop import Conditions
from chemsieve.training.objectives import Objectives
from chemsieve.training.state import below, named

log = logging.getLogger(__name__)

HEADS = "adaptation_heads"  # where they stand in the model, and in a batch what they are to predict


@dataclass(frozen=True)
class Masking:
    """Shares: of the tokens that are masked, of the molecules that are held out, of those that nothing is masked in.

    The held-out training molecules decide when to stop. A batch's molecules that stay whole are all of them where the
    masked tokens' loss has no weight.
    """

    probability: float
    held_out: float
    unmasked: float


@dataclass(frozen=True)
class Structures:
    """SMILES to adapt on: of the split's training molecules, and of the pool's; none of validation or test."""

    training: Sequence[str]
    pool: Sequence[str] = ()


def adapt(
    encoder_folder: str | Path,
    family: str,
    molecules: Structures,
    output_folder: str | Path,
    settings: Settings,
    masking: Masking,
    objectives: Objectives,
    conditions: Conditions,
) -> Outcome:
    """Adapt the encoder of a folder to molecules, and write the adapted encoder folder.

    The held-out molecules are drawn with the seed from the training molecules alone, so that they are the same with a
    pool and without; they are not trained on, and their masks are drawn once, so that losses of different epochs
    compare. The curve's epoch 0 is before training, with heads that are fitted to the encoder as it is. A run that was
    killed goes on from the state in ``conditions.saves``.

    Returns:
        The outcome; each curve row also has, on the held-out molecules, ``validation_loss``, the sum of all objectives;
        of masked molecules ``masked_loss`` and ``masked_accuracy``; and of whole ones ``descriptors_r2``, ``morgan_r2``
        and ``teacher_r2``, those that are learned.

    Raises:
        ChemsieveError: there are too few molecules, an objective has nothing to learn, or a loss is not finite.
    """
    tokenizer = backbone.load_tokenizer(encoder_folder)
    # Seeded before loading: a checkpoint without a language-model head gets a random one.
    torch.manual_seed(conditions.seed)
    model = backbone.load_masked_lm(encoder_folder, family).to(conditions.device)
    train, held = _divided(tokenizer, molecules, masking.held_out, conditions.seed, objectives)
    heads = linear(model.config.hidden_size, train).to(conditions.device)
    encoder = encoders.load(family).backbone(model)
    with last_outputs(encoder) as hidden, _attached(model, heads):
        learning = _Learning(
            model=model,
            heads=heads,
            encoder=encoder,
            hidden=hidden,
            train=train,
            held=held,
            standard=standardisation(train),
            collator=MaskingCollator.of(tokenizer, masking.probability),
            unmasked=masking.unmasked if objectives.masked else 1.0,
            objectives=objectives,
            conditions=conditions,
        )
        batches = learning.held_batches(settings.batch_size)
        model.eval()
        fit_linearly(heads, encoder, train, learning.collator.pad_id, learning.standard, conditions.device)
        unknown = ("train_loss", "learning_rate", "gradient_norm", "seconds", "evaluation_seconds")
        before = {"epoch": 0, **dict.fromkeys(unknown), **learning.measured(batches)}
        _say("before adaptation", before)
        with conditions.followed(settings, model):
            conditions.tell(before)
            examples = [{"input_ids": ids, "position": position} for position, ids in enumerate(train.ids)]
            outcome = fit(
                model,
                examples,
                learning.collate,
                learning.loss,
                lambda: learning.measured(batches),
                settings,
                conditions,
            )
    _say("after it", outcome.curve[outcome.best_epoch - 1])
    outcome.curve.insert(0, before)
    backbone.save_masked_lm(model.cpu(), tokenizer, output_folder)
    return outcome


@contextmanager
def _attached(model: nn.Module, heads: nn.ModuleDict) -> Iterator[None]:
    """Heads, where there are any, are a part of the model for as long as the block runs, and trained with it."""
    if not heads:
        yield
        return
    model.add_module(HEADS, heads)
    try:
        yield
    finally:
        delattr(model, HEADS)


@dataclass(frozen=True, kw_only=True)
class _Learning:
    """What is learned of which molecules, and how well."""

    model: PreTrainedModel
    heads: nn.ModuleDict
    encoder: nn.Module
    hidden: list[Tensor]
    train: Corpus
    held: Corpus
    standard: Standard
    collator: MaskingCollator
    unmasked: float
    objectives: Objectives
    conditions: Conditions

    def held_batches(self, batch_size: int) -> list[dict[str, Tensor]]:
        """The held-out molecules, masked once for all epochs."""
        generator = torch.Generator().manual_seed(self.conditions.seed)
        return [
            self.collator([{"input_ids": self.held.ids[i]} for i in batch], generator)
            for batch in by_length(self.held.ids, batch_size)
        ]

    def collate(self, examples: list[dict]) -> dict[str, Tensor]:
        """A batch for training, with what the heads are to predict."""
        batch = masked([example["input_ids"] for example in examples], self.collator, self.unmasked)
        positions = np.array([example["position"] for example in examples])
        wanted = targets(self.train, positions, self.standard)
        return batch | {name: torch.from_numpy(values) for name, values in named(f"{HEADS}.", wanted).items()}

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """The sum of the objectives over a batch."""
        inputs = {name: tensor for name, tensor in batch.items() if not name.startswith(f"{HEADS}.")}
        found, others = losses(model, self.heads, self.encoder, self.hidden, inputs, below(f"{HEADS}.", batch))
        return self._sum(found, others)

    def _sum(self, masked_loss, others: dict):
        """The weighted sum of losses, be they numbers or tensors."""
        weights = self.objectives.beside
        beside = (weight * others[of_table(name)] for name, weight in weights.items() if of_table(name) in others)
        return sum(beside, start=self.objectives.masked * masked_loss)

    def measured(self, batches: list[dict[str, Tensor]]) -> dict[str, float | None]:
        """Figures on the held-out molecules, masked as they are in the batches for the tokens, and whole for heads."""
        found = masked_figures(self.model, batches, self.conditions.device)
        pad_id = self.collator.pad_id
        measured = fits(self.heads, self.encoder, self.held, pad_id, self.standard, self.conditions.device)
        errors = {name: fit.error for name, fit in measured.items() if fit.error is not None}
        return {
            "validation_loss": self._sum(found["validation_loss"], errors),
            "masked_loss": found["validation_loss"],
            "masked_accuracy": found["masked_accuracy"],
            **{f"{name}_r2": measured[of_table(name)].r2 for name in self.objectives.beside},
        }


def _say(when: str, row: dict) -> None:
    learned = "".join(f", {name} {row[name]:.3f}" for name in row if name.endswith("_r2"))
    log.info("%s: held-out loss %.4f, accuracy %.3f%s", when, row["validation_loss"], row["masked_accuracy"], learned)


def _divided(
    tokenizer: Tokenizer, molecules: Structures, held_out: float, seed: int, objectives: Objectives
) -> tuple[Corpus, Corpus]:
    """Molecules to train on, and the held-out ones."""
    # Molecules that read the same must not stand on both sides.
    distinct = sorted(set(molecules.training))
    order = np.random.default_rng(seed).permutation(len(distinct))
    count = max(1, round(held_out * len(distinct)))
    if count >= len(distinct):
        raise ChemsieveError(f"mlm.held_out: {len(distinct)} distinct training molecules are too few to hold any out")
    further = sorted(set(molecules.pool) - set(distinct))
    log.info(
        "adapting on %d training molecules and the structures of %d pool molecules; held out: %d training molecules",
        len(distinct) - count, len(further), count,
    )  # fmt: skip
    everything = distinct + further
    learned = objectives.targets(everything)
    corpus = Corpus(
        tokenization.encode(tokenizer, everything),
        np.zeros((len(everything), 0), np.float32),
        learned,
        np.arange(len(everything)),
    )
    held, train = np.sort(order[:count]), np.sort(order[count:])
    return corpus.part(np.concatenate([train, np.arange(len(distinct), len(everything))])), corpus.part(held)
