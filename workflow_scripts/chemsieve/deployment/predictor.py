"""A model with what it was trained on and calibrated by: answers about any SMILES."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import pandas as pd
import torch
from rdkit import Chem
from tokenizers import Tokenizer

from chemsieve.data import chemistry
from chemsieve.data.acceptance import REFUSE, Reader, structure
from chemsieve.deployment import inference
from chemsieve.deployment.neighbours import Neighbours
from chemsieve.models import tokenization
from chemsieve.models.random_smiles import SmilesRandomiser
from chemsieve.models.regressor import Regressor


@dataclass
class _Row:
    """What becomes of one SMILES of many, at its place among them; ``reason`` is empty while it can be predicted."""

    place: int
    molecule: Chem.Mol | None
    reason: str
    smiles: str = ""
    tokens: list[int] = field(default_factory=list)
    unread: str = ""


class Predictor:
    """Predicts one property of molecules, and says how much to trust it.

    Args:
        model: plain regressor, in evaluation mode.
        neighbours: the molecules it was trained on.
        facts: what ``chemsieve.json`` of a model folder says.
        device: where the model computes.
    """

    def __init__(
        self, model: Regressor, tokenizer: Tokenizer, neighbours: Neighbours, facts: dict, device: torch.device
    ):
        self.model, self.tokenizer, self.neighbours, self.facts = model.to(device).eval(), tokenizer, neighbours, facts
        self.device = device
        self.pad_id = tokenization.special_id(tokenizer, "pad")
        most = facts["input"]["max_tokens"]
        self.randomiser = SmilesRandomiser(tokenizer, most)
        # Folders of earlier releases say nothing of it; what was meant to be read whole is refused.
        self.reader = Reader(tokenizer, most, facts["input"].get("unknown_tokens", REFUSE))

    @property
    def columns(self) -> list[str]:
        """Names of the columns that :meth:`predict` gives."""
        label = self.facts["target"]["label"]
        own = [label, *(f"{label}_{part}" for part in ("unc", "low", "high"))]
        return [*own, "nearest_training", "similarity", "in_domain", "same_molecule", "unread", "reason"]

    def predict(self, smiles: Sequence[str]) -> pd.DataFrame:
        """One row per SMILES, in order.

        Returns:
            The prediction under the label's name, its spread (``_unc``) and its conformal interval (``_low``,
            ``_high``), in label units; ``nearest_training`` and ``similarity``: id and Tanimoto similarity (ECFP4, 2048
            bits) of the most similar training molecule; ``in_domain``: whether that is similar enough, and the encoder
            reads the SMILES whole; ``same_molecule``: id of the training molecule with the same first block of the
            InChIKey, or empty; ``unread``: what the encoder does not know or its tokenizer passes over, in words, or
            empty; ``reason``: empty, or why there is no prediction and all else but ``unread`` is missing: those of
            :mod:`chemsieve.data.acceptance`, or ``not_finite`` (the model's answer is no number).
        """
        rows = self._read(smiles)
        places = [row.place for row in rows if not row.reason]
        answers = pd.DataFrame(self._answers([rows[place] for place in places]), index=places).reindex(range(len(rows)))
        wrong = np.zeros(len(rows), dtype=bool)
        wrong[places] = ~np.isfinite(answers.iloc[places, 0].to_numpy(float))
        answers.loc[wrong] = None
        for row in np.flatnonzero(wrong):
            rows[row].reason = "not_finite"
        answers.loc[[row.place for row in rows if row.unread and not row.reason], "in_domain"] = False
        answers["unread"] = [row.unread or (None if row.reason else "") for row in rows]
        answers["reason"] = [row.reason for row in rows]
        return answers

    def _read(self, smiles: Sequence[str]) -> list["_Row"]:
        """How the encoder reads each SMILES, and why not where it does not."""
        rows = [_Row(place, found.molecule, found.reason) for place, found in enumerate(map(structure, smiles))]
        parsed = [row for row in rows if not row.reason]
        for row in parsed:
            row.smiles = chemistry.canonical_smiles(cast("Chem.Mol", row.molecule), self.facts["input"]["stereo"])
        for row, reading in zip(parsed, self.reader.read([row.smiles for row in parsed]), strict=True):
            row.reason, row.unread, row.tokens = reading.reason, reading.unread.words, reading.ids
        return rows

    def _answers(self, rows: Sequence["_Row"]) -> dict[str, Sequence | np.ndarray]:
        """All columns but ``unread`` and ``reason``, of molecules that the encoder can read."""
        names = self.columns[:-2]
        if not rows:
            return {name: np.array([], dtype=object) for name in names}
        molecules = [cast("Chem.Mol", row.molecule) for row in rows]
        value, spread = self._values([row.smiles for row in rows], [row.tokens for row in rows])
        half_width = self.facts["interval"]["half_width"]
        nearest, similarity = self.neighbours.nearest(molecules)
        in_domain = (similarity >= self.facts["domain"]["similarity"]).astype(object)
        same = self.neighbours.same([chemistry.first_block(molecule) for molecule in molecules])
        columns = (value, spread, value - half_width, value + half_width, nearest, similarity, in_domain, same)
        return dict(zip(names, columns, strict=True))

    def _values(self, smiles: list[str], tokens: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
        """Predictions and their spread, each (molecules,)."""
        averaged, spread = self.facts["averaged"], self.facts["uncertainty"]
        # Random SMILES by a seed of the molecule's own, not of its place in the file.
        seeds = [zlib.crc32(text.encode()) for text in smiles]
        more = [
            self.randomiser.randomise(smiles, [(seed + number) % 2**32 for seed in seeds])
            for number in range(1, averaged["writings"])
        ]
        return inference.predict(
            self.model,
            [tokens, *more],
            averaged["draws"],
            spread["kind"],
            spread["passes"],
            spread["seed"],
            self.pad_id,
            self.device,
        )
