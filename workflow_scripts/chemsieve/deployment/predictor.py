"""A model with what it was trained on and calibrated by: answers about any SMILES."""

import zlib
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from tokenizers import Tokenizer

from chemsieve.data import chemistry
from chemsieve.data.acceptance import REFUSE, Reader, structure
from chemsieve.deployment import inference
from chemsieve.deployment.neighbours import Neighbours
from chemsieve.models import tokenization
from chemsieve.models.regressor import Regressor
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
        most = facts["input"]["max_tokens"]
        self.writer = Writer(tokenizer, most)
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
        found = [structure(text) for text in smiles]
        reasons = [one.reason for one in found]
        parsed = [i for i, one in enumerate(found) if not one.reason]
        written = [chemistry.canonical_smiles(found[i].molecule, self.facts["input"]["stereo"]) for i in parsed]
        unread: list[str | None] = [None] * len(found)
        rows, kept = [], []
        for i, text, reading in zip(parsed, written, self.reader.read(written), strict=True):
            reasons[i], unread[i] = reading.reason, reading.unread.words or None
            if not reading.reason:
                rows.append(i)
                kept.append((text, reading.ids))
        columns = self._answers([found[i].molecule for i in rows], [text for text, _ in kept], [ids for _, ids in kept])
        frame = pd.DataFrame(columns, index=rows).reindex(range(len(found)))
        wrong = np.isin(np.arange(len(found)), rows) & ~np.isfinite(frame.iloc[:, 0].to_numpy(float))
        frame.loc[wrong] = None
        frame.loc[[i for i in rows if unread[i] and not wrong[i]], "in_domain"] = False
        reasons = [reason or ("not_finite" if bad else "") for reason, bad in zip(reasons, wrong, strict=True)]
        frame["unread"] = [said or (None if reason else "") for said, reason in zip(unread, reasons, strict=True)]
        frame["reason"] = reasons
        return frame

    def _answers(self, molecules: list, smiles: list[str], tokens: list[list[int]]) -> dict[str, Sequence]:
        """All columns but ``unread`` and ``reason``, of molecules that the encoder can read."""
        names = self.columns[:-2]
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
