"""Batches of token ids, padded only to their own longest molecule, and their way to the device."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from chemsieve.models import tokenization
from chemsieve.training import limits


def pad(ids: Sequence[Sequence[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """Right-padded ids and attention mask, each (batch, longest), int64."""
    lengths = np.array([len(row) for row in ids])
    mask = np.arange(lengths.max()) < lengths[:, None]
    tokens = np.full(mask.shape, pad_id, dtype=np.int64)
    tokens[mask] = np.fromiter(itertools.chain.from_iterable(ids), np.int64, lengths.sum())
    return torch.from_numpy(tokens), torch.from_numpy(mask.astype(np.int64))


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on the device; to a GPU it travels by itself, from pinned memory, and the processor goes on meanwhile.

    What is computed of it waits for it, since both stand in the same queue of the GPU.
    """
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def padded(ids: Sequence[Sequence[int]], pad_id: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """What :func:`pad` gives, on the device."""
    tokens, mask = pad(ids, pad_id)
    return sent(tokens, device), sent(mask, device)


def masked_places(labels: Tensor) -> Tensor:
    """Places (masked tokens,) in a flattened batch of the tokens whose labels (batch, length) are not -100.

    Found where the labels are made, on the processor: a GPU would have to be waited for to know how many they are.
    """
    return (labels.flatten() != -100).nonzero()[:, 0]


def by_length(ids: Sequence[Sequence[int]], batch_size: int) -> Iterator[np.ndarray]:
    """Positions in batches of similar length, shortest first: little padding, for work whose order does not matter."""
    order = np.argsort([len(row) for row in ids], kind="stable")
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


class RegressionCollator:
    """Collate ``{"input_ids", "label"}`` examples into model inputs and a float32 target (batch,).

    Where they have a ``row``, their place among all, the batch has ``rows`` (batch,); where they have a ``bound``,
    ``bounds`` (batch,).
    """

    def __init__(self, pad_id: int):
        self.pad_id = pad_id

    def __call__(self, examples: list[dict]) -> dict[str, Tensor]:
        tokens, mask = pad([example["input_ids"] for example in examples], self.pad_id)
        target = torch.tensor([example["label"] for example in examples], dtype=torch.float32)
        batch = {"input_ids": tokens, "attention_mask": mask, "labels": target}
        if "row" in examples[0]:
            batch["rows"] = torch.tensor([example["row"] for example in examples])
        return limits.collated(batch, examples)


class MaskingCollator:
    """Collate ``{"input_ids"}`` examples and mask them (Devlin et al. 2019, 1810.04805).

    Each token that is not special is chosen with ``probability``; of the chosen, 80 % become the mask token, 10 % a
    random token, 10 % stay. Labels are -100 elsewhere. Draws come from ``generator``, or torch's global one. A batch
    with no chosen token gets one, since its loss would be undefined.
    """

    def __init__(self, pad_id: int, mask_id: int, special: Sequence[int], vocabulary: int, probability: float):
        self.pad_id = pad_id
        self.vocabulary = vocabulary
        self.mask_id = mask_id
        self.special = torch.tensor(list(special))
        self.ordinary = torch.tensor([index for index in range(vocabulary) if index not in set(special)])
        self.probability = probability

    @classmethod
    def of(cls, tokenizer: Tokenizer, probability: float) -> "MaskingCollator":
        """With the special tokens and the vocabulary of a tokenizer."""
        return cls(
            pad_id=tokenization.special_id(tokenizer, "pad"),
            mask_id=tokenization.special_id(tokenizer, "mask"),
            special=tokenization.special_ids(tokenizer),
            vocabulary=tokenizer.get_vocab_size(),
            probability=probability,
        )

    def __call__(self, examples: list[dict], generator: torch.Generator | None = None) -> dict[str, Tensor]:
        tokens, mask = pad([example["input_ids"] for example in examples], self.pad_id)
        candidates = ~torch.isin(tokens, self.special)
        chosen = candidates & (torch.rand(tokens.shape, generator=generator) < self.probability)
        if not chosen.any():
            chosen.view(-1)[int(candidates.view(-1).int().argmax())] = True
        labels = torch.where(chosen, tokens, -100)
        fate = torch.rand(tokens.shape, generator=generator)
        random_tokens = self.ordinary[torch.randint(len(self.ordinary), tokens.shape, generator=generator)]
        tokens = torch.where(chosen & (fate < 0.8), self.mask_id, tokens)
        tokens = torch.where(chosen & (fate >= 0.9), random_tokens, tokens)
        return {"input_ids": tokens, "attention_mask": mask, "labels": labels}
