"""A model with what it was trained on and calibrated by: answers about any SMILES."""

import zlib
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from tokenizers import Tokenizer

from chemsieve import tokenization
from chemsieve.data import chemistry
from chemsieve.deployment import inference
from chemsieve.deployment.neighbours import Neighbours
from chemsieve.regressor import Regressor
from chemsieve.training.writings import Writer


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
        self.writer = Writer(tokenizer, facts["input"]["max_tokens"])

    @property
    def columns(self) -> list[str]:
        """Names of the columns that :meth:`predict` gives."""
        label = self.facts["target"]["label"]
        own = [label, *(f"{label}_{part}" for part in ("unc", "low", "high"))]
        return [*own, "nearest_training", "similarity", "in_domain", "same_molecule", "reason"]

    def predict(self, smiles: Sequence[str]) -> pd.DataFrame:
        """One row per SMILES, in order.

        Returns:
            The prediction under the label's name, its spread (``_unc``) and its conformal interval (``_low``,
            ``_high``), in label units; ``nearest_training`` and ``similarity``: id and Tanimoto similarity (ECFP4, 2048
            bits) of the most similar training molecule; ``in_domain``: whether that is similar enough;
            ``same_molecule``: id of the training molecule with the same first block of the InChIKey, or empty;
            ``reason``: empty, or why there is no prediction and all else is missing: ``unparsable``, ``too_long`` (the
            encoder would have to cut the SMILES) or ``not_finite`` (the model's answer is no number).
        """
        molecules = [chemistry.parse(text.strip()) if text.strip() else None for text in smiles]
        reasons = ["unparsable" if molecule is None else "" for molecule in molecules]
        stereo, most = self.facts["input"]["stereo"], self.facts["input"]["max_tokens"]
        read = [i for i, molecule in enumerate(molecules) if molecule is not None]
        written = [chemistry.canonical_smiles(molecules[i], stereo) for i in read]
        tokens = tokenization.encode(self.tokenizer, written)
        kept = []
        for position, (i, ids) in enumerate(zip(read, tokens, strict=True)):
            if len(ids) > most:
                reasons[i] = "too_long"
            else:
                kept.append(position)
        rows = [read[position] for position in kept]
        columns = self._answers([molecules[i] for i in rows], [written[p] for p in kept], [tokens[p] for p in kept])
        frame = pd.DataFrame(columns, index=rows).reindex(range(len(molecules)))
        wrong = np.isin(np.arange(len(molecules)), rows) & ~np.isfinite(frame.iloc[:, 0].to_numpy(float))
        frame.loc[wrong] = None
        frame["reason"] = [reason or ("not_finite" if bad else "") for reason, bad in zip(reasons, wrong, strict=True)]
        return frame

    def _answers(self, molecules: list, smiles: list[str], tokens: list[list[int]]) -> dict[str, Sequence]:
        """All columns but ``reason``, of molecules that the encoder can read."""
        names = self.columns[:-1]
        if not molecules:
            return {name: np.array([], dtype=object) for name in names}
        value, spread = self._values(smiles, tokens)
        half_width = self.facts["interval"]["half_width"]
        nearest, similarity = self.neighbours.nearest(molecules)
        in_domain = (similarity >= self.facts["domain"]["similarity"]).astype(object)
        same = self.neighbours.same([chemistry.first_block(molecule) for molecule in molecules])
        columns = (value, spread, value - half_width, value + half_width, nearest, similarity, in_domain, same)
        return dict(zip(names, columns, strict=True))

    def _values(self, smiles: list[str], tokens: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
        averaged, spread = self.facts["averaged"], self.facts["uncertainty"]
        # Random SMILES by a seed of the molecule's own, not of its place in the file.
        seeds = [zlib.crc32(text.encode()) for text in smiles]
        more = [
            self.writer.rewrite(smiles, [(seed + number) % 2**32 for seed in seeds])
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
