"""A model with what it was trained on and calibrated by: answers about any SMILES."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import pandas as pd
from rdkit import Chem
from tokenizers import Tokenizer

from chemsieve.data import chemistry
from chemsieve.data.acceptance import REFUSE, Reader, structure
from chemsieve.deployment.conformal import Trend
from chemsieve.deployment.neighbours import Neighbours


@dataclass
class Row:
    """What becomes of one SMILES of many, at its place among them; ``reason`` is empty while it can be predicted.

    ``smiles`` and ``tokens`` are what the encoder reads.
    """

    place: int
    molecule: Chem.Mol | None
    reason: str
    smiles: str = ""
    tokens: list[int] = field(default_factory=list)
    unread: str = ""


class Predictor:
    """Predicts one property of molecules, and says how much to trust it; each kind of model is a subclass.

    Args:
        tokenizer: of the encoder whose reading of SMILES the model's molecules passed.
        neighbours: the molecules it was trained on.
        facts: what ``chemsieve.json`` of a model folder says.
    """

    def __init__(self, tokenizer: Tokenizer, neighbours: Neighbours, facts: dict):
        self.tokenizer, self.neighbours, self.facts = tokenizer, neighbours, facts
        # Folders of earlier releases say nothing of it; what was meant to be read whole is refused.
        self.reader = Reader(tokenizer, facts["input"]["max_tokens"], facts["input"].get("unknown_tokens", REFUSE))

    @property
    def columns(self) -> list[str]:
        """Names of the columns that :meth:`predict` gives."""
        label = self.facts["target"]["label"]
        own = [label, *(f"{label}_{part}" for part in ("unc", "low", "high"))]
        nearest = ["nearest_training", *(f"nearest_training_{part}" for part in ("identifier", "smiles"))]
        return [*own, *nearest, "similarity", "in_domain", "same_molecule", "unread", "reason"]

    @property
    def trend(self) -> Trend:
        """How the width of an interval goes with similarity; in folders of earlier releases it does not."""
        interval = self.facts["interval"]
        return Trend(interval.get("slope", 0.0), interval.get("centre", 0.0))

    def predict(self, smiles: Sequence[str]) -> pd.DataFrame:
        """One row per SMILES, in order.

        Returns:
            The prediction under the label's name, its spread (``_unc``) and its conformal interval (``_low``,
            ``_high``), in label units; ``nearest_training``, ``nearest_training_identifier``,
            ``nearest_training_smiles`` and ``similarity``: id, the user's own name, where there is one, SMILES and
            Tanimoto similarity (ECFP4, 2048 bits) of the most similar training molecule; ``in_domain``: whether that is
            similar enough, and the encoder reads the SMILES whole; ``same_molecule``: id of the training molecule with
            the same first block of the InChIKey, or empty; ``unread``: what the encoder does not know or its tokenizer
            passes over, in words, or empty; ``reason``: empty, or why there is no prediction and all else but
            ``unread`` is missing: those of :mod:`chemsieve.data.acceptance`, or ``not_finite`` (the model's answer is
            no number).
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

    def _read(self, smiles: Sequence[str]) -> list[Row]:
        """How the encoder reads each SMILES, and why not where it does not."""
        rows = [Row(place, found.molecule, found.reason) for place, found in enumerate(map(structure, smiles))]
        parsed = [row for row in rows if not row.reason]
        for row in parsed:
            given = cast("Chem.Mol", row.molecule)
            row.molecule = chemistry.standardised(given, self.facts["input"].get("standardise", chemistry.NONE))
            row.smiles = chemistry.canonical_smiles(row.molecule, self.facts["input"]["stereo"])
        for row, reading in zip(parsed, self.reader.read([row.smiles for row in parsed]), strict=True):
            row.reason, row.unread, row.tokens = reading.reason, reading.unread.words, reading.ids
        return rows

    def _answers(self, rows: Sequence[Row]) -> dict[str, Sequence | np.ndarray]:
        """All columns but ``unread`` and ``reason``, of molecules that the encoder can read."""
        names = self.columns[:-2]
        if not rows:
            return {name: np.array([], dtype=object) for name in names}
        molecules = [cast("Chem.Mol", row.molecule) for row in rows]
        value, spread = self._values(rows)
        places, similarity = self.neighbours.nearest(molecules)
        nearest = [column[places] for column in (self.neighbours.ids, self.neighbours.names, self.neighbours.smiles)]
        half_width = self.facts["interval"]["half_width"] * self.trend.widths(similarity)
        in_domain = (similarity >= self.facts["domain"]["similarity"]).astype(object)
        same = self.neighbours.same([chemistry.first_block(molecule) for molecule in molecules])
        columns = (value, spread, value - half_width, value + half_width, *nearest, similarity, in_domain, same)
        return dict(zip(names, columns, strict=True))

    def _values(self, rows: Sequence[Row]) -> tuple[np.ndarray, np.ndarray]:
        """Predictions of molecules and their spread, each (molecules,); a spread that there is none of is NaN."""
        raise NotImplementedError
