"""Labels that are limits (<, >) in training: an error counts only where the prediction lies on the wrong side.

They are of the training molecules alone, and of language models alone: what is solved in closed form, the curvature of
influence among it, and descriptor models know measured labels.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor

from chemsieve.data.measured import ABOVE, BELOW
from chemsieve.tables import read_table

BOUNDS = {BELOW: -1, ABOVE: 1}  # of a relation; 0 is a measured label
_KEY = "bounds"


def with_limits(train: pd.DataFrame, limits: str | None) -> pd.DataFrame:
    """Training molecules, a table ``labelled``, with those of which a limit is known behind them.

    Args:
        limits: file of a table ``limited``; None: there is none, and nothing changes.
    """
    return train if limits is None else pd.concat([train, read_table(limits)], ignore_index=True)


def bounds_of(table: pd.DataFrame) -> list[int]:
    """For each molecule of a table ``labelled``, with the column ``relation`` or without: -1, 0 or 1."""
    if "relation" not in table:
        return [0] * len(table)
    return [BOUNDS.get(relation, 0) for relation in table["relation"]]


def marked(examples: list[dict], bounds: Sequence[int]) -> list[dict]:
    """Examples with their bounds; as they are where all labels are measured."""
    if not any(bounds):
        return examples
    return [{**example, "bound": bound} for example, bound in zip(examples, bounds, strict=True)]


def collated(batch: dict[str, Tensor], examples: list[dict]) -> dict[str, Tensor]:
    """A batch with the bounds (batch,) of its examples, where these have any."""
    if examples and "bound" in examples[0]:
        batch[_KEY] = torch.tensor([example["bound"] for example in examples])
    return batch


def errors(prediction: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """Prediction less label (batch,), 0 where the label is a limit and the prediction lies on its right side."""
    found = prediction.float() - batch["labels"]
    if _KEY not in batch:
        return found
    return torch.where(batch[_KEY] * found > 0, torch.zeros_like(found), found)
