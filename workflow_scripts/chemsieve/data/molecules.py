"""Which rows become molecules of the study, and which are refused and why.

A refused row is never lost: each row of the target and of the pool ends in exactly one of the two tables.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from chemsieve.data import chemistry
from chemsieve.data.acceptance import Reader, structure
from chemsieve.errors import ChemsieveError
from chemsieve.tables import TABLES, TEXT, Column

EXTRA = {"given_fold": Column(TEXT, "fold as given in the file; missing where none is given", nullable=True)}

READ = ("row", "smiles", "label_text", "given_fold", "problem", "identifier")  # columns of what is read

Record = dict[str, Any]  # a row on its way into ``molecules`` or ``rejected``; a ``reason`` refuses it

FEWEST_TARGET_MOLECULES = 10  # fewer cannot be divided into train, validation and test


def prepare(
    target: pd.DataFrame,
    pool: pd.DataFrame,
    reader: Reader,
    stereo: bool,
    pool_labels: bool = True,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Divide the rows of both files into accepted molecules and refused rows.

    A row is refused for the first of these that applies: its SMILES is too long to be parsed (``too_long``); it does
    not parse (``unparsable``); an atom stands for another group (``dummy_atom``); its label is no finite number
    (``no_label``); the encoder would have to cut it (``too_long``), or does not know a part of it (``unknown_token``,
    where the reader refuses such); it has the InChIKey of an accepted row of its file, or the canonical SMILES where
    InChI has none (``repeat``); it is in the pool and an accepted target molecule, by the first block of the InChIKey
    or of the parent's InChIKey, so that salts, charge states and stereoisomers of a target molecule cannot reach
    training through the pool (``in_target``). Salts and mixtures are kept as given: the encoder reads all their parts.
    Atom maps are in the SMILES as given and nowhere else.

    Args:
        target: as :func:`chemsieve.data.reading.read_labelled` returns it; without ``problem``, no row has one, and
            without ``identifier`` likewise.
        pool: likewise; may have no rows.
        reader: how the encoder reads.
        stereo: whether the encoder reads stereochemistry.
        pool_labels: whether the pool's labels are used; if not they are missing, whatever the file says.

    Returns:
        ``molecules`` (with the column of ``EXTRA``) and ``rejected``, target before pool, in row order.

    Raises:
        ChemsieveError: fewer than 10 target molecules are left, or all their labels are equal.
    """
    kept_target, refused_target = examine(target, Intake("target", reader, stereo))
    _check_target(kept_target, refused_target, len(target))
    kept_pool, refused_pool = examine(pool, Intake("pool", reader, stereo, pool_labels, kept_target))
    return (
        pd.DataFrame(kept_target + kept_pool)[[*TABLES["molecules"], *EXTRA]],
        pd.DataFrame(refused_target + refused_pool, columns=list(TABLES["rejected"])),
    )


@dataclass(frozen=True)
class Intake:
    """By what the rows of a file are judged.

    Attributes:
        source: what the file is to the study.
        reader: how the encoder reads.
        stereo: whether the encoder reads stereochemistry.
        labelled: whether the labels are used.
        target: accepted target molecules, which the file must not have.
    """

    source: str
    reader: Reader
    stereo: bool
    labelled: bool = True
    target: Sequence[Record] = ()


def examine(frame: pd.DataFrame, intake: Intake) -> tuple[list[Record], list[Record]]:
    """Accepted and refused rows of one file, each in row order; see :func:`prepare`."""
    frame = frame.assign(**{name: None for name in ("problem", "identifier") if name not in frame})
    records = [_describe(intake, *row) for row in frame[list(READ)].itertuples(index=False, name=None)]
    _tokenize(records, intake.reader)
    _refuse_known(records, intake)
    return [one for one in records if "reason" not in one], [one for one in records if "reason" in one]


def _describe(
    intake: Intake,
    row: int,
    smiles: str,
    label_text: str,
    given_fold: str | None,
    problem: str | None,
    identifier: str | None,
) -> Record:
    """What is known of one row by itself; with a ``reason`` where that refuses it."""
    record = {"source": intake.source, "row": int(row), "smiles": smiles, "mapped": False, "unread": ""}
    if problem is not None:
        return _refuse(record, "unparsable", problem)
    found = structure(smiles)
    record["mapped"] = found.mapped
    mol = found.molecule
    if mol is None:
        return _refuse(record, found.reason, found.detail)
    label = finite(label_text) if intake.labelled else math.nan
    if label is None:
        return _refuse(record, "no_label", f"the label {label_text!r} is no finite number")
    inchikey = chemistry.inchikey(mol)
    block = chemistry.block_of(inchikey)
    return record | {
        "molecule_id": f"{intake.source}-{row}",
        "canonical_smiles": chemistry.canonical_smiles(mol),
        "encoder_smiles": chemistry.canonical_smiles(mol, stereo=intake.stereo),
        "inchikey": inchikey,
        "scaffold": chemistry.scaffold(mol),
        "label": label,
        "given_fold": given_fold,
        "block": block,
        "parent": chemistry.parent_block(mol, block),
        "identifier": identifier,
    }


def _tokenize(records: list[Record], reader: Reader) -> None:
    """Add to each record that is not refused what the encoder reads of it, or refuse it for that."""
    candidates = [record for record in records if "reason" not in record]
    readings = reader.read([record["encoder_smiles"] for record in candidates])
    for record, reading in zip(candidates, readings, strict=True):
        pieces = reading.unread.pieces
        record |= {"tokens": len(reading.ids), "unknown_tokens": len(pieces), "unread": " ".join(pieces)}
        if reading.reason:
            _refuse(record, reading.reason, reading.detail)


def _refuse_known(records: list[Record], intake: Intake) -> None:
    """Refuse what repeats an earlier record, or is a target molecule."""
    blocks, parents = _by(intake.target, "block"), _by(intake.target, "parent")
    first: dict[str, Record] = {}
    for record in records:
        if "reason" in record:
            continue
        key = record["inchikey"] or record["canonical_smiles"]
        if earlier := first.get(key):
            detail = f"same molecule as {earlier['molecule_id']}, which is kept"
            if intake.labelled:
                detail += f" with label {earlier['label']:g}; the label here is {record['label']:g}"
            _refuse(record, "repeat", detail)
        elif same := blocks.get(record["block"]):
            _refuse(record, "in_target", f"same InChIKey first block as {same['molecule_id']}")
        elif same := parents.get(record["parent"]):
            _refuse(record, "in_target", f"same parent molecule as {same['molecule_id']}")
        else:
            first[key] = record


def _by(records: Sequence[Record], key: str) -> dict[str, Record]:
    """The first record with each value of a key. The empty one is left out: InChI failed, which makes none equal."""
    found: dict[str, Record] = {}
    for record in records:
        found.setdefault(record[key], record)
    found.pop("", None)
    return found


def _refuse(record: Record, reason: str, detail: str) -> Record:
    record.update(reason=reason, detail=detail)
    return record


def finite(text: str) -> float | None:
    """The number that a text is, or None where it is none, infinite or not a number."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in text else None  # Python reads 1_0 as ten


def _check_target(kept: list[Record], refused: list[Record], rows: int) -> None:
    """Refuse a target set that no model can be trained on."""
    if len(kept) < FEWEST_TARGET_MOLECULES:
        raise ChemsieveError(
            f"target: {len(kept)} of {rows} rows are usable and at least {FEWEST_TARGET_MOLECULES} are needed"
            + _why(refused)
        )
    if len({record["label"] for record in kept}) == 1:
        raise ChemsieveError(f"target: all {len(kept)} labels are {kept[0]['label']:g}, so there is nothing to learn")


def check_pool(molecules: pd.DataFrame, rejected: pd.DataFrame) -> None:
    """Refuse a pool of which no row was accepted, where there is nothing to choose from.

    Args:
        molecules, rejected: as :func:`prepare` returns them.

    Raises:
        ChemsieveError: one sentence with the reasons of its rows.
    """
    if not (molecules["source"] == "pool").any():
        refused = rejected[rejected["source"] == "pool"].to_dict("records")
        raise ChemsieveError(f"pool: 0 of {len(refused)} rows are usable{_why(refused)}")


def _why(refused: list[Record]) -> str:
    """How many rows were refused for which reason, and the first of them."""
    if not refused:
        return ""
    reasons = ", ".join(f"{count} {reason}" for reason, count in Counter(r["reason"] for r in refused).items())
    return f" (refused: {reasons}; row {refused[0]['row']}: {refused[0]['detail']})"
